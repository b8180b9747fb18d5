"""Fake providers: scripted, slow, failing, flaky and truncating."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import orjson

from equipoise.contracts import Provider, Reply, Upstream, UpstreamCall
from equipoise.errors import ProviderError
from equipoise.testing.answers import Answer, Answering, Bill, as_document, as_frames, completion, embeddings, prompt_of
from equipoise.types import Model, WireFormat
from equipoise.wire import FORMATS, Body, SseEvent, SseParser

EVERY_FORMAT: frozenset[WireFormat] = frozenset(FORMATS)


class FakeUpstream:
    """A response that is already there. ``closed`` says whether it was given back."""

    status = 200

    def __init__(
        self, *, body: bytes = b"", frames: Sequence[tuple[bytes, int]] = (), bill: Bill | None = None
    ) -> None:
        self._body, self._frames, self._bill = body, frames, bill
        self.headers: Mapping[str, str] = {"Content-Type": "text/event-stream" if frames else "application/json"}
        self.closed = False

    async def read(self) -> bytes:
        """The body."""
        return self._body

    async def document(self) -> dict[str, Any]:
        """The body, read."""
        document: dict[str, Any] = orjson.loads(self._body)
        return document

    async def events(self) -> AsyncIterator[SseEvent]:
        """The frames as events; every one is billed as it leaves."""
        parser = SseParser()
        for frame, words in self._frames:
            if self.closed:
                return
            if self._bill is not None:
                self._bill.output_tokens += words
            for event in parser.feed(frame):
                yield event

    async def close(self) -> None:
        """Nothing more is sent or billed."""
        self.closed = True


class ScriptedProvider:
    """Answers by a mapping of prompt to answer, or by a function of the prompt. Counts its calls.

    Token counts are words: what a test expects of costs can be worked out by hand. ``bills`` is the vendor's own
    ledger: what it sent, aborted streams up to where they were aborted.
    """

    name = "scripted"

    def __init__(
        self,
        script: Mapping[str, Answer] | Answering,
        *,
        compute_s: float | None = None,
        formats: frozenset[WireFormat] = EVERY_FORMAT,
    ) -> None:
        self._script, self._compute_s = script, compute_s
        self.formats = formats
        self.calls: Counter[str] = Counter()
        self.sent: list[UpstreamCall] = []
        self.bills: list[Bill] = []
        self.closed = False

    async def send(self, call: UpstreamCall) -> Upstream:
        """The scripted answer in the format of the call."""
        self.sent.append(call)
        body = {**call.body, "model": call.deployment.model_id or call.model.name}
        if call.kind == "embeddings":
            document = embeddings(body)
            self.bills.append(Bill(call.model.name, document["usage"]["prompt_tokens"]))
            return FakeUpstream(body=orjson.dumps(document))
        chat = {**FORMATS[call.kind].to_chat(body), "model": body["model"]}
        document = completion(chat, self._answer(prompt_of(chat), call.model))
        bill = Bill(call.model.name, document["usage"]["prompt_tokens"])
        self.bills.append(bill)
        if call.stream:
            asked = {**body, "stream_options": {"include_usage": True}} if call.kind == "chat" else body
            return FakeUpstream(frames=as_frames(asked, document, call.kind), bill=bill)
        bill.output_tokens = document["usage"]["completion_tokens"]
        return FakeUpstream(body=as_document(document, call.kind))

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The scripted answer; a prompt that the script lacks is a 404 that no retry mends."""
        chat = {"model": model.name, "messages": list(messages), **options}
        document = completion(chat, self._answer(prompt_of(chat), model))
        choice, usage = document["choices"][0], document["usage"]
        return Reply(
            text=choice["message"]["content"] or "",
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            latency_s=0.001,
            compute_s=self._compute_s,
            finish=choice["finish_reason"],
            raw={},
        )

    async def close(self) -> None:
        """Nothing to release."""
        self.closed = True

    def _answer(self, prompt: str, model: Model) -> Answer:
        self.calls[prompt] += 1
        if callable(self._script):
            return self._script(prompt)
        if prompt in self._script:
            return self._script[prompt]
        raise ProviderError(f"no script for {prompt!r}", provider=self.name, model=model.name, status=404)


class SlowProvider:
    """Another provider behind a delay, before the response and between events.

    ``most_at_once``: the largest number of calls in flight.
    """

    name = "slow"

    def __init__(self, inner: Provider, *, delay_s: float, between_s: float = 0.0) -> None:
        self._inner, self._delay_s, self._between_s = inner, delay_s, between_s
        self.formats = inner.formats
        self.at_once = self.most_at_once = 0

    async def send(self, call: UpstreamCall) -> Upstream:
        """The inner provider's response, later."""
        await self._wait()
        return _Paced(await self._inner.send(call), self._between_s)

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The inner provider's answer, later."""
        await self._wait()
        return await self._inner.complete(model, messages, **options)

    async def _wait(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._delay_s)
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        """Close the inner provider."""
        await self._inner.close()


class FailingProvider:
    """Every call fails in the same way."""

    name = "failing"

    def __init__(self, *, status: int | None = 500, code: str = "", retryable: bool = True) -> None:
        self._status, self._code, self._retryable = status, code, retryable
        self.formats = EVERY_FORMAT
        self.calls = 0

    async def send(self, call: UpstreamCall) -> Upstream:
        """Raises ProviderError."""
        raise self._error(call.model)

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """Raises ProviderError."""
        del messages, options
        raise self._error(model)

    def _error(self, model: Model) -> ProviderError:
        self.calls += 1
        return ProviderError(
            "told to fail",
            provider=self.name,
            model=model.name,
            status=self._status,
            code=self._code,
            retryable=self._retryable,
        )

    async def close(self) -> None:
        """Nothing to release."""


class FlakyProvider:
    """Another provider of which the calls with the given numbers (from 0) fail, retryably.

    They fail with a 429; with ``breaks_after``, their streams are cut after so many events instead.
    """

    name = "flaky"

    def __init__(
        self,
        inner: Provider,
        *,
        failing: Callable[[int], bool],
        retry_after_s: float | None = None,
        breaks_after: int | None = None,
    ) -> None:
        self._inner, self._failing = inner, failing
        self._retry_after_s, self._breaks_after = retry_after_s, breaks_after
        self.formats = inner.formats
        self.calls = 0

    async def send(self, call: UpstreamCall) -> Upstream:
        """The inner provider's response, a 429, or a stream that breaks."""
        if not self._fails():
            return await self._inner.send(call)
        if call.stream and self._breaks_after is not None:
            return _Breaking(await self._inner.send(call), self._breaks_after, call.model)
        raise self._limited(call.model)

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The inner provider's answer, or a 429."""
        if self._fails():
            raise self._limited(model)
        return await self._inner.complete(model, messages, **options)

    def _fails(self) -> bool:
        number, self.calls = self.calls, self.calls + 1
        return self._failing(number)

    def _limited(self, model: Model) -> ProviderError:
        return ProviderError(
            "rate limited",
            provider=self.name,
            model=model.name,
            status=429,
            retryable=True,
            retry_after_s=self._retry_after_s,
        )

    async def close(self) -> None:
        """Close the inner provider."""
        await self._inner.close()


class TruncatingProvider:
    """Another provider whose answers stop after ``characters``, finish reason ``length``.

    ``silently``: its streams end there without a word, as if the vendor had gone away politely.
    """

    name = "truncating"

    def __init__(self, inner: Provider, *, characters: int, silently: bool = False) -> None:
        self._inner, self._characters, self._silently = inner, characters, silently
        self.formats: frozenset[WireFormat] = frozenset({"chat"})

    async def send(self, call: UpstreamCall) -> Upstream:
        """The beginning of the inner provider's response."""
        inner = await self._inner.send(call)
        if call.stream:
            return _Cut(inner, self._characters, self._silently)
        document = await inner.document()
        choice = document["choices"][0]
        choice["message"]["content"] = (choice["message"]["content"] or "")[: self._characters]
        choice["finish_reason"] = "length"
        return FakeUpstream(body=orjson.dumps(document))

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The beginning of the inner provider's answer."""
        reply = await self._inner.complete(model, messages, **options)
        return reply._replace(text=reply.text[: self._characters], finish="length")

    async def close(self) -> None:
        """Close the inner provider."""
        await self._inner.close()


class _Around:
    """Another response, with its events changed."""

    def __init__(self, inner: Upstream) -> None:
        self._inner = inner
        self.status, self.headers = inner.status, inner.headers

    async def read(self) -> bytes:
        return await self._inner.read()

    async def document(self) -> dict[str, Any]:
        return await self._inner.document()

    async def close(self) -> None:
        await self._inner.close()


class _Paced(_Around):
    def __init__(self, inner: Upstream, between_s: float) -> None:
        super().__init__(inner)
        self._between_s = between_s

    async def events(self) -> AsyncIterator[SseEvent]:
        async for event in self._inner.events():
            await asyncio.sleep(self._between_s)
            yield event


class _Breaking(_Around):
    def __init__(self, inner: Upstream, after: int, model: Model) -> None:
        super().__init__(inner)
        self._after, self._model = after, model

    async def events(self) -> AsyncIterator[SseEvent]:
        left = self._after
        async for event in self._inner.events():
            if left == 0:
                await self._inner.close()
                raise ProviderError(
                    "told to break",
                    provider="flaky",
                    model=self._model.name,
                    code="connection_lost",
                    retryable=True,
                )
            left -= 1
            yield event


class _Cut(_Around):
    def __init__(self, inner: Upstream, characters: int, silently: bool) -> None:
        super().__init__(inner)
        self._left, self._silently = characters, silently

    async def events(self) -> AsyncIterator[SseEvent]:
        async for event in self._inner.events():
            chunk = _chunk(event)
            choice = chunk["choices"][0] if chunk.get("choices") else {"delta": {}}
            text = choice["delta"].get("content") or ""
            if len(text) <= self._left and (self._left or not choice.get("finish_reason")):
                self._left -= len(text)
                yield event
                continue
            if self._silently:
                await self._inner.close()
                return
            choice["delta"] = {"content": text[: self._left]}
            choice["finish_reason"] = "length"
            yield SseParser().feed(b"data: " + orjson.dumps(chunk) + b"\n\n")[0]
            yield SseParser().feed(b"data: [DONE]\n\n")[0]
            await self._inner.close()
            return


def _chunk(event: SseEvent) -> Body:
    chunk: Body = orjson.loads(event.data) if event.data.startswith(b"{") else {}
    return chunk
