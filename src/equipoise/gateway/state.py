"""What the handlers of all endpoints share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web

from equipoise.config import ServerConfig
from equipoise.execution import AnswerCache, Executor, Sessions
from equipoise.execution.clock import Clock
from equipoise.gateway.allowances import Allowances
from equipoise.gateway.auth import Gate
from equipoise.gateway.decide import Deciding
from equipoise.gateway.logs import Lines
from equipoise.gateway.metrics import Metrics
from equipoise.gateway.serving import Serving
from equipoise.gateway.traces import Traces
from equipoise.storage.decisions import DecisionLog
from equipoise.storage.keys import KeyInfo, KeyStore
from equipoise.types import WireFormat


@dataclass(slots=True, eq=False)
class Live:
    """A configuration in use.

    Attributes:
        caches: of the routes that keep answers.
        sessions: who answered the conversations so far.
        users: requests that began with it and go on.
    """

    serving: Serving
    executor: Executor
    caches: Mapping[str, AnswerCache]
    sessions: Sessions
    users: int = 0


@dataclass(slots=True)
class Gateway:
    """The parts of a running gateway.

    Attributes:
        live: what new requests are served by; replaced by a reload.
        reload: reads the configuration again; returns what is wrong with it, or None.
        trouble: why the configuration that the files hold is not the one that is served.
        lacking: what providers lack to be called, such as their keys.
        draining: no new requests are to come; those in flight are served.
        cutting: those in flight are cut.
    """

    live: Live
    settings: ServerConfig
    log: DecisionLog
    keys: KeyStore
    gate: Gate
    allowances: Allowances
    metrics: Metrics
    lines: Lines
    traces: Traces
    deciding: Deciding
    lacking: Callable[[], Sequence[str]]
    clock: Clock = time
    reload: Callable[[], Awaitable[str | None]] = field(init=False)
    trouble: str | None = None
    draining: bool = False
    cutting: bool = False
    in_flight: int = 0
    started: float = field(default_factory=time.time)

    @property
    def why_cancelled(self) -> str:
        """The code of a request that was cancelled: by whom."""
        return "gateway_stopped" if self.cutting else "client_gone"


class Incoming(NamedTuple):
    """One request at its endpoint.

    Attributes:
        begun: when its head was there, on the clock that never goes back.
        variables: parts of the path.
    """

    http: web.BaseRequest
    caller: KeyInfo
    id: str
    begun: float
    variables: Mapping[str, str]


Handler = Callable[[Gateway, Incoming], Awaitable[web.StreamResponse]]


class Endpoint(NamedTuple):
    """A method and a path, who may use it, and what it does.

    Attributes:
        path: a segment ``{name}`` stands for any.
        scope: that a key needs; None is open to all.
        format: in whose shape errors are told; None: of the vendor whose client asks.
    """

    method: str
    path: str
    scope: str | None
    handler: Handler
    format: WireFormat | None = None
