"""For tests of programs that use Equipoise: fake providers, and a fake server with OpenAI's wire format."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from equipoise.contracts import Provider, Reply
from equipoise.errors import ProviderError
from equipoise.types import Model

Answering = Callable[[str], str]


class ScriptedProvider:
    """Answers by a mapping of prompt to answer, or by a function of the prompt. Counts its calls.

    Token counts are words: what a test expects of costs can be worked out by hand.
    """

    name = "scripted"

    def __init__(self, script: Mapping[str, str] | Answering, *, compute_s: float | None = None) -> None:
        self._script, self._compute_s = script, compute_s
        self.calls: Counter[str] = Counter()
        self.closed = False

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The scripted answer; a prompt that the script lacks is a 404 that no retry mends."""
        prompt = str(messages[-1]["content"])
        self.calls[prompt] += 1
        if callable(self._script):
            text = self._script(prompt)
        elif prompt in self._script:
            text = self._script[prompt]
        else:
            raise ProviderError(f"no script for {prompt!r}", provider=self.name, model=model.name, status=404)
        words = text.split()
        limit = options.get("max_tokens")
        finish = "stop" if limit is None or len(words) <= limit else "length"
        return Reply(
            text=text if finish == "stop" else " ".join(words[:limit]),
            input_tokens=sum(len(str(m["content"]).split()) for m in messages),
            output_tokens=len(words) if finish == "stop" else int(limit or 0),
            latency_s=0.001,
            compute_s=self._compute_s,
            finish=finish,
            raw={},
        )

    async def close(self) -> None:
        """Nothing to release."""
        self.closed = True


class SlowProvider:
    """Another provider behind a delay. ``most_at_once``: the largest number of calls in flight."""

    name = "slow"

    def __init__(self, inner: Provider, *, delay_s: float) -> None:
        self._inner, self._delay_s = inner, delay_s
        self.at_once = self.most_at_once = 0

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The inner provider's answer, later."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._delay_s)
            return await self._inner.complete(model, messages, **options)
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
        self.calls = 0

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """Raises ProviderError."""
        del messages, options
        self.calls += 1
        raise ProviderError(
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
    """Another provider of which the calls with the given numbers (from 0) fail, retryably."""

    name = "flaky"

    def __init__(self, inner: Provider, *, failing: Callable[[int], bool], retry_after_s: float | None = None) -> None:
        self._inner, self._failing, self._retry_after_s = inner, failing, retry_after_s
        self.calls = 0

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The inner provider's answer, or a 429."""
        number, self.calls = self.calls, self.calls + 1
        if self._failing(number):
            raise ProviderError(
                "rate limited",
                provider=self.name,
                model=model.name,
                status=429,
                retryable=True,
                retry_after_s=self._retry_after_s,
            )
        return await self._inner.complete(model, messages, **options)

    async def close(self) -> None:
        """Close the inner provider."""
        await self._inner.close()


class TruncatingProvider:
    """Another provider whose answers stop after ``characters``, finish reason ``length``."""

    name = "truncating"

    def __init__(self, inner: Provider, *, characters: int) -> None:
        self._inner, self._characters = inner, characters

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """The beginning of the inner provider's answer."""
        reply = await self._inner.complete(model, messages, **options)
        return reply._replace(text=reply.text[: self._characters], finish="length")

    async def close(self) -> None:
        """Close the inner provider."""
        await self._inner.close()


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What the fake server does instead of answering.

    Attributes:
        status: HTTP status of an error.
        body: raw body, such as half a JSON document.
        headers: of the response, such as Retry-After.
        hang_s: silence before the response.
        drop: close the connection without a response.
    """

    status: int = 200
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    hang_s: float = 0.0
    drop: bool = False


class FakeOpenAIServer:
    """Chat completions on a loopback port of its own. An asynchronous context manager.

    Args:
        answer: the text for a prompt (the last message).
        misbehave: for the number of a call (from 0) and its request, what to do instead of answering.
        delay_s: time that every answer takes.
        timings: also say llama.cpp's ``timings``: 1 ms per input word, 10 ms per output word.
    """

    def __init__(
        self,
        answer: Answering,
        *,
        misbehave: Callable[[int, Mapping[str, Any]], Misbehaviour | None] | None = None,
        delay_s: float = 0.0,
        timings: bool = False,
    ) -> None:
        self._answer, self._misbehave, self._delay_s, self._timings = answer, misbehave, delay_s, timings
        self._runner: web.AppRunner | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answered: Counter[tuple[str, str]] = Counter()
        self.at_once = self.most_at_once = 0
        self.base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number = len(self.requests)
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            wrong = self._misbehave(number, body) if self._misbehave else None
            if wrong is not None:
                return await _misbehaved(request, wrong)
            await asyncio.sleep(self._delay_s)
            return self._completion(body)
        finally:
            self.at_once -= 1

    def _completion(self, body: Mapping[str, Any]) -> web.Response:
        prompt = body["messages"][-1]["content"]
        text = self._answer(prompt)
        self.answered[body["model"], prompt] += 1
        inputs, outputs = sum(len(m["content"].split()) for m in body["messages"]), len(text.split())
        document: dict[str, Any] = {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": inputs,
                "completion_tokens": outputs,
                "total_tokens": inputs + outputs,
            },
        }
        if self._timings:
            document["timings"] = {
                "cache_n": 0,
                "prompt_n": inputs,
                "prompt_ms": inputs * 1.0,
                "predicted_n": outputs,
                "predicted_ms": outputs * 10.0,
            }
        return web.json_response(document)


async def _misbehaved(request: web.Request, wrong: Misbehaviour) -> web.Response:
    await asyncio.sleep(wrong.hang_s)
    if wrong.drop and request.transport is not None:
        request.transport.abort()
    error = json.dumps({"error": {"message": "told to misbehave", "type": "fake", "code": "fake"}})
    body = error if wrong.body is None else wrong.body
    return web.Response(status=wrong.status, text=body, headers=dict(wrong.headers), content_type="application/json")


__all__ = [
    "FailingProvider",
    "FakeOpenAIServer",
    "FlakyProvider",
    "Misbehaviour",
    "ScriptedProvider",
    "SlowProvider",
    "TruncatingProvider",
]
