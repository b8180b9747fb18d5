"""Answers that are given again: to the same request, or to one that asks the same.

A cache belongs to one route, and there is no way to look into it without saying whose answers are looked for.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import orjson

from equipoise.config import CacheConfig
from equipoise.execution.calibration import calibrated
from equipoise.execution.clock import Clock
from equipoise.execution.running import Status
from equipoise.execution.sameness import Gist, Shape, agreement, gist
from equipoise.execution.shares import Shares
from equipoise.execution.turns import Turns
from equipoise.execution.work import Work
from equipoise.traffic import TokenUsage
from equipoise.wire import SseParser

# They name who asks, not what is asked; but a response says them again.
_ABOUT_THE_CALLER = frozenset({"model", "user", "metadata", "safety_identifier", "prompt_cache_key"})
_ABOUT_THE_CALLER_OF_RESPONSES = frozenset({"model"})
# Where the order of fields says nothing. Elsewhere it may: models answer in the order of a schema.
_SAID = frozenset({"messages", "input", "system", "instructions"})
_GOOD_ENDS = frozenset({"stop", "length", "tool_calls"})
_MOST_OF_IT = 8
_MOST_COMPARED = 16
_ENTRY_BYTES = 1024
_STANDS_IN_S = 60.0
_TURN_BYTES = 1 << 14
# The words of a prompt, and their vectors' mean.
_MEANING_BYTES = 5120


class Ask(NamedTuple):
    """What a request asks, as the cache sees it.

    Attributes:
        exact: hash of all of it.
        around: hash of all but the last user message; None where that message cannot be told from the rest.
        text: the last user message.
        limited: it says how long the answer may become, so that one of that length is whole.
    """

    exact: bytes
    around: bytes | None
    text: str
    limited: bool = True


def ask_of(work: Work, *, limits: str = "") -> Ask | None:
    """What a request asks; None for one whose answer depends on more than the request, or that cannot be sent.

    Streamed and other requests ask for different things, as do two with other ``limits`` on how they are served.
    """
    body = work.body
    if work.asked.vendor_state is not None:
        return None
    aside = _ABOUT_THE_CALLER_OF_RESPONSES if work.format == "responses" else _ABOUT_THE_CALLER
    names = sorted(body.keys() - aside)
    try:
        document = orjson.dumps({k: body[k] for k in names if k in _SAID}, option=orjson.OPT_SORT_KEYS)
        rest = orjson.dumps({k: body[k] for k in names if k not in _SAID})
    except orjson.JSONEncodeError:  # nested too deeply
        return None
    scope = f"{work.format}\0{work.asked.stream}\0{work.region}\0{limits}\0{sorted(work.headers.items())}\0".encode()
    before, quoted, after = document.rpartition(orjson.dumps(work.asked.text))
    around = _hash(scope, rest, before, after) if quoted and not work.asked.images else None
    return Ask(_hash(scope, rest, document), around, work.asked.text, work.asked.max_output_tokens is not None)


class Answered(Protocol):
    """What is asked of an answer that may be kept: a ``Running`` is one."""

    body: bytes | None
    stream: AsyncIterator[bytes] | None
    model: str
    deployment: str
    usage: TokenUsage
    finish: str | None
    continued: bool

    @property
    def status(self) -> Status:
        """``ok`` once all of it was handed over."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing more comes, though its last piece may be yet to be handed over."""
        ...

    @property
    def made_usd(self) -> float:
        """What it cost to make."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was sent.

    Attributes:
        payload: its body, or all of its stream.
        cost_usd: of what it came from: what giving it again saves.
    """

    payload: bytes
    stream: bool
    model: str
    deployment: str
    usage: TokenUsage
    finish: str | None
    cost_usd: float


class Hit:
    """A cached answer. It reads like a ``Running``, of which nothing runs.

    Attributes:
        kind: ``exact``, or ``semantic`` for a request that asks the same in other words.
        likeness: agreement of the two requests; 1 for exact.
        saved_usd: what the answer cost when it was made.
    """

    def __init__(self, kept: Kept, kind: Literal["exact", "semantic"], likeness: float) -> None:
        self.kind, self.likeness = kind, likeness
        self.model, self.deployment, self.usage, self.finish = kept.model, kept.deployment, kept.usage, kept.finish
        self.saved_usd = kept.cost_usd
        self.body = None if kept.stream else kept.payload
        self.stream = self._replayed(kept.payload) if kept.stream else None
        self.over = False
        self.status: Literal["ok"] = "ok"
        self.error = None
        self.waited_s = self.unbilled_usd = 0.0

    async def close(self) -> None:
        """Nothing runs."""

    async def _replayed(self, payload: bytes) -> AsyncIterator[bytes]:
        parser = SseParser()
        for start in range(0, len(payload), _TURN_BYTES):
            events, last = parser.feed(payload[start : start + _TURN_BYTES]), start + _TURN_BYTES >= len(payload)
            events += parser.end() if last else []
            for number, event in enumerate(events, 1):
                self.over = last and number == len(events)
                yield event.raw
            await asyncio.sleep(0)  # all of it is there: others have their turn in between


# Whose it is, what stands around the last message, and what all have in common that may ask the same.
_Where = tuple[str, bytes, Shape]


@dataclass(slots=True)
class _Entry:
    kept: Kept
    expires: float
    where: _Where | None


class AnswerCache:
    """The cached answers of one route. The least recently used go first, of the tenant that holds most.

    Attributes:
        threshold: how much two prompts must agree to have one answer.
        entries: what is kept, by tenant and request.

    Raises:
        ConfigError: no threshold can be shown to keep the rate of false hits.
    """

    def __init__(self, settings: CacheConfig, *, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self.threshold = threshold_of(settings)
        self.entries: Shares[_Entry] = Shares(settings.max_entries, settings.max_bytes, gone=self._forget)
        self._meanings: dict[_Where, _Meanings] = {}
        self._turns = Turns()

    async def turn(self, tenant: str, ask: Ask, most_s: float) -> None:
        """Wait while a tenant's other request asks the same, whose answer may then be found; for so long at most."""
        await self._turns.wait((tenant, ask.exact), most_s)

    def asking(self, tenant: str, ask: Ask) -> AbstractContextManager[None]:
        """While this lasts, others of the tenant's wait that come to ask the same."""
        return self._turns.asking((tenant, ask.exact))

    def find(self, tenant: str, ask: Ask) -> Hit | None:
        """An answer of the tenant's to the same request, else to one that asks the same."""
        if (same := self.same(tenant, ask)) is not None:
            return same
        where, asked = self._meant(tenant, ask)
        meanings = None if where is None else self._meanings.get(where)
        if asked is None or meanings is None:
            return None
        for exact, likeness in meanings.nearest(asked, self.threshold):
            if (kept := self._fresh(tenant, exact)) is not None:
                return Hit(kept, "semantic", likeness)
        return None

    def same(self, tenant: str, ask: Ask) -> Hit | None:
        """An answer of the tenant's to the same request."""
        kept = self._fresh(tenant, ask.exact)
        return None if kept is None else Hit(kept, "exact", 1.0)

    def _meant(self, tenant: str, ask: Ask) -> tuple[_Where | None, Gist | None]:
        """With what else it is compared, and what it asks; None for a request that is not compared."""
        asked = gist(ask.text) if self._settings.semantic and ask.around is not None else None
        if asked is None or ask.around is None:
            return None, None
        return (tenant, ask.around, asked.shape), asked

    def _fresh(self, tenant: str, exact: bytes) -> Kept | None:
        entry = self.entries.get(tenant, exact)
        if entry is None:
            return None
        if self._clock.monotonic() >= entry.expires:
            self.entries.drop(tenant, exact)
            return None
        return entry.kept

    def keep(self, tenant: str, ask: Ask, running: Answered, *, stands_in: bool = False) -> None:
        """Keep an answer once all of it was handed over. Call this before its stream is read.

        Args:
            stands_in: its model took the place of another that could not be had: it is not kept for long.
        """
        ttl_s = min(self._settings.ttl_s, _STANDS_IN_S) if stands_in else self._settings.ttl_s
        if running.stream is not None:
            running.stream = self._recorded(tenant, ask, running, running.stream, ttl_s)
        elif running.body is not None:
            self._keep(tenant, ask, running, running.body, ttl_s)

    def _keep(self, tenant: str, ask: Ask, running: Answered, payload: bytes, ttl_s: float) -> None:
        if running.status != "ok" or running.finish not in _GOOD_ENDS or running.continued:
            return
        if running.finish == "length" and not ask.limited:
            return
        stream = running.stream is not None
        kept = Kept(payload, stream, running.model, running.deployment, running.usage, running.finish, running.made_usd)
        self._put(tenant, ask, kept, ttl_s)

    async def _recorded(
        self, tenant: str, ask: Ask, running: Answered, stream: AsyncIterator[bytes], ttl_s: float
    ) -> AsyncIterator[bytes]:
        """A stream, which is kept at its end, unless it is too long. A client may leave with the last of it."""
        frames: list[bytes] | None = []
        size = 0
        async for frame in stream:
            if frames is not None:
                size += len(frame)
                frames.append(frame)
                frames = frames if size * _MOST_OF_IT <= self._settings.max_bytes else None
            if frames is not None and running.over:
                self._keep(tenant, ask, running, b"".join(frames), ttl_s)
                frames = None
            yield frame
        if frames is not None:
            self._keep(tenant, ask, running, b"".join(frames), ttl_s)

    def _put(self, tenant: str, ask: Ask, kept: Kept, ttl_s: float) -> None:
        settings = self._settings
        where, asked = self._meant(tenant, ask)
        size = len(kept.payload) + len(ask.text) + _ENTRY_BYTES + (_MEANING_BYTES if asked is not None else 0)
        if size * _MOST_OF_IT > settings.max_bytes:
            return
        self.entries.drop(tenant, ask.exact)
        if where is not None and asked is not None:
            self._meanings.setdefault(where, _Meanings()).add(ask.exact, asked)
        self.entries.put(tenant, ask.exact, _Entry(kept, self._clock.monotonic() + ttl_s, where), size)

    def _forget(self, _tenant: str, exact: bytes, entry: _Entry) -> None:
        if entry.where is not None:
            meanings = self._meanings[entry.where]
            meanings.remove(exact)
            if not len(meanings):
                del self._meanings[entry.where]


def threshold_of(settings: CacheConfig) -> float:
    """How much two prompts must agree. What was calibrated once is remembered; at first it takes half a second.

    Raises:
        ConfigError: no threshold can be shown to keep the rate of false hits.
    """
    if not settings.semantic:
        return 1.0
    return settings.threshold or calibrated(settings.false_hit_rate).value


class _Meanings:
    """Requests of one tenant that differ in their last message only, and what those are about."""

    __slots__ = ("_centres", "_exact", "_gists", "_places")

    def __init__(self) -> None:
        self._exact: list[bytes] = []
        self._gists: list[Gist] = []
        self._places: dict[bytes, int] = {}
        self._centres = np.empty((0, 0), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._exact)

    def add(self, exact: bytes, about: Gist) -> None:
        centre, n = about.centre(), len(self._exact)
        if n >= len(self._centres):
            self._make_room(max(1, 2 * n), len(centre))
        self._centres[n] = centre
        self._places[exact] = n
        self._exact.append(exact)
        self._gists.append(about)

    def remove(self, exact: bytes) -> None:
        i, last = self._places[exact], len(self._exact) - 1
        self._exact[i], self._gists[i] = self._exact[last], self._gists[last]
        self._centres[i] = self._centres[last]
        self._places[self._exact[i]] = i
        del self._exact[last], self._gists[last], self._places[exact]
        if 4 * last <= len(self._centres):
            self._make_room(2 * last, self._centres.shape[1])

    def _make_room(self, rows: int, columns: int) -> None:
        before, n = self._centres, min(len(self._exact), rows)
        self._centres = np.empty((rows, columns), dtype=np.float32)
        if n:
            self._centres[:n] = before[:n]

    def nearest(self, about: Gist, threshold: float) -> list[tuple[bytes, float]]:
        """Those that agree, best first. Only the nearest are compared word by word."""
        n = len(self._exact)
        near: Iterable[int] = range(n)
        if n > _MOST_COMPARED:
            near = np.argpartition(-(self._centres[:n] @ about.centre()), _MOST_COMPARED)[:_MOST_COMPARED].tolist()
        scored = [(self._exact[i], agreement(about, self._gists[i])) for i in near]
        return sorted((s for s in scored if s[1] >= threshold), key=lambda s: -s[1])


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
