"""Executors over fake providers, for tests of execution."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from equipoise.config import ExecutionConfig
from equipoise.contracts import Provider, Upstream, UpstreamCall
from equipoise.errors import ProviderError
from equipoise.execution import Executor, Hit, Running, Work
from equipoise.testing import FakeUpstream, ScriptedProvider
from equipoise.testing.virtual_time import VirtualClock, run_virtually
from equipoise.types import Deployment, Model, Price, WireFormat
from equipoise.wire import FORMATS, SseEvent

PRICE = Price(usd_per_1m_input=3.0, usd_per_1m_output=15.0, usd_per_1m_cached_input=0.3)


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs on a clock which never waits."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        run_virtually(test(*args, **options))

    return run


@dataclass
class Hands:
    """A clock that stands still until it is set."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


def words(text: str) -> int:
    """Tokens as the fake vendors count them."""
    return len(text.split())


def model(name: str, *providers: str, **facts: Any) -> Model:
    """A model with one deployment for each provider name."""
    deployments = facts.pop("deployments", tuple(Deployment(provider=p) for p in providers or (name,)))
    return Model(name=name, price=facts.pop("price", PRICE), deployments=deployments, **facts)


def executor(
    models: Sequence[Model], providers: Mapping[str, Provider], clock: Any = None, **settings: Any
) -> Executor:
    """An executor that finds providers by the deployment's provider name."""
    return Executor(
        {m.name: m for m in models},
        lambda deployment: providers[deployment.provider],
        ExecutionConfig(**settings),
        clock=clock or VirtualClock(asyncio.get_running_loop()),
        rng=np.random.default_rng(7),
        tokens=words,
    )


def work(prompt: str = "say hello to me", *, format: WireFormat = "chat", stream: bool = False, **more: Any) -> Work:
    """One request: ``deadline_s`` and other fields of Work, or fields of the body."""
    fields = {k: more.pop(k) for k in list(more) if k in Work._fields}
    body: dict[str, Any] = {"model": "auto", **more}
    if format in ("chat", "messages"):
        body.setdefault("messages", [{"role": "user", "content": prompt}])
    if format != "embeddings":
        body["stream"] = stream
    if format == "messages":
        body.setdefault("max_tokens", 100)
    said = " ".join(str(m["content"]) for m in body.get("messages", ())) or prompt
    fields.setdefault("input_tokens", words(said))
    return Work(body=body, format=format, asked=FORMATS[format].read(body), **fields)


def always(model: str) -> bool:
    """Every model can serve."""
    del model
    return True


async def read(running: Running | Hit) -> bytes:
    """All of an answer."""
    if running.stream is None:
        return running.body or b""
    return b"".join([frame async for frame in running.stream])


def text_of(answer: bytes) -> str:
    """What a chat answer says, streamed or not."""
    if answer.startswith(b"{"):
        return str(orjson.loads(answer)["choices"][0]["message"]["content"])
    said = []
    for line in answer.split(b"\n"):
        if line.startswith(b"data: {"):
            chunk = orjson.loads(line[6:])
            said += [c["delta"].get("content") or "" for c in chunk.get("choices", [])]
    return "".join(said)


class Provided:
    """A provider made of one function: what it returns is the response, what it raises is the failure."""

    name = "provided"

    def __init__(
        self,
        send: Callable[[int, UpstreamCall], Any],
        *,
        formats: frozenset[WireFormat] = frozenset({"chat", "embeddings"}),
    ) -> None:
        self._send = send
        self.formats = formats
        self.calls: list[UpstreamCall] = []

    async def send(self, call: UpstreamCall) -> Upstream:
        number = len(self.calls)
        self.calls.append(call)
        found = self._send(number, call)
        return await found if asyncio.iscoroutine(found) else found

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to release."""


def failed(status: int | None = 500, *, code: str = "", retryable: bool = True, after: float | None = None) -> Any:
    """A provider error."""
    return ProviderError(
        "told to fail", provider="p", model="m", status=status, code=code, retryable=retryable, retry_after_s=after
    )


def raising(error: ProviderError) -> Provided:
    """A provider that always fails so."""

    def send(number: int, call: UpstreamCall) -> Any:
        raise error

    return Provided(send)


def answering(text: str = "hello there my friend", **options: Any) -> ScriptedProvider:
    """A provider that always answers so."""
    return ScriptedProvider(lambda prompt: text, **options)


class Hanging:
    """A response that sends some events and then nothing more."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, events: Sequence[SseEvent] = ()) -> None:
        self._events = events
        self.closed = False

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def document(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def events(self) -> AsyncIterator[SseEvent]:
        for event in self._events:
            yield event
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


def chunk(content: str | None = None, *, finish: str | None = None, index: int = 0, **delta: Any) -> SseEvent:
    """A chat chunk as an event."""
    said = {**({} if content is None else {"content": content}), **delta}
    document = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up",
        "choices": [{"index": index, "delta": said, "finish_reason": finish}],
    }
    data = orjson.dumps(document)
    return SseEvent(b"data: " + data + b"\n\n", "", data)


def streamed(*events: SseEvent) -> FakeUpstream:
    """A stream that is already there."""
    return FakeUpstream(frames=[(event.raw, 0) for event in events])
