"""A fake vendor on a loopback port, with the wire formats of OpenAI, Anthropic and Gemini, and every bad habit."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

from equipoise.testing.answers import (
    Answering,
    Bill,
    as_document,
    as_frames,
    completion,
    embeddings,
    prompt_of,
)
from equipoise.types import WireFormat
from equipoise.wire import FORMATS, BadRequest, Body

_MAX_BODY = 64 << 20


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What the fake server does instead of answering.

    Attributes:
        status: HTTP status of an error.
        body: raw body, such as half a JSON document.
        headers: of the response, such as Retry-After.
        hang_s: silence before the response.
        drop: close the connection without a response.
        content_type: of the response.
        break_after: answer a stream as usual, but after so many events do what ``then`` says.
        then: ``reset`` the connection, ``stall`` for ever, ``end`` as if all was said, or send ``garbage``.
    """

    status: int = 200
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    hang_s: float = 0.0
    drop: bool = False
    content_type: str = "application/json"
    break_after: int | None = None
    then: Literal["reset", "stall", "end", "garbage"] = "reset"


Misbehaving = Callable[[int, Mapping[str, Any]], Misbehaviour | None]


class FakeServer:
    """A vendor on a loopback port of its own. An asynchronous context manager.

    ``base_url`` is for OpenAI's formats (it ends in ``/v1``), ``root_url`` for Anthropic's and Gemini's. ``bills``
    is its own ledger: what it sent, in words; aborted streams up to where they were aborted.

    Args:
        answer: the text for a prompt (the last message), or an assistant message.
        misbehave: for the number of a call (from 0) and its request, what to do instead of answering.
        delay_s: time that every answer takes.
        between_s: time between the events of a stream.
        tells_usage: streams of chat end with their usage though nobody asked, as with some vendors.
        timings: also say llama.cpp's ``timings``: 1 ms per input word, 10 ms per output word.
    """

    def __init__(
        self,
        answer: Answering,
        *,
        misbehave: Misbehaving | None = None,
        delay_s: float = 0.0,
        between_s: float = 0.0,
        tells_usage: bool = False,
        timings: bool = False,
    ) -> None:
        self._answer, self._misbehave = answer, misbehave
        self._tells_usage, self._timings = tells_usage, timings
        self._delay_s, self._between_s = delay_s, between_s
        self._runner: web.AppRunner | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answered: Counter[tuple[str, str]] = Counter()
        self.bills: list[Bill] = []
        self.at_once = self.most_at_once = 0
        self.base_url = self.root_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/responses", self._complete)
        app.router.add_post("/v1/embeddings", self._complete)
        app.router.add_post("/v1/messages", self._complete)
        app.router.add_post("/v1beta/models/{call}", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.root_url = f"http://{host}:{port}"
        self.base_url = f"{self.root_url}/v1"
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
            if wrong is not None and wrong.break_after is None:
                return await _misbehaved(request, wrong)
            await asyncio.sleep(self._delay_s)
            return await self._answered(request, body, wrong)
        finally:
            self.at_once -= 1

    async def _answered(self, request: web.Request, body: Body, wrong: Misbehaviour | None) -> web.StreamResponse:
        kind, body, stream = _asked(request, body)
        if kind == "embeddings":
            document = embeddings(body)
            self.bills.append(Bill(body["model"], document["usage"]["prompt_tokens"]))
            return web.json_response(document)
        try:
            chat = {**FORMATS[kind].to_chat(body), "model": body["model"]}
        except BadRequest as refused:
            error = FORMATS[kind].error(400, refused.code, str(refused), refused.param)
            return web.json_response(error, status=400)
        prompt = prompt_of(chat)
        self.answered[body["model"], prompt] += 1
        document = completion(chat, self._answer(prompt), timings=self._timings)
        bill = Bill(body["model"], document["usage"]["prompt_tokens"])
        self.bills.append(bill)
        if stream:
            asked = {**body, "stream_options": {"include_usage": True}} if self._tells_usage else body
            return await self._streamed(request, as_frames(asked, document, kind), bill, wrong)
        bill.output_tokens = document["usage"]["completion_tokens"]
        return web.Response(body=as_document(document, kind), content_type="application/json")

    async def _streamed(
        self, request: web.Request, frames: list[tuple[bytes, int]], bill: Bill, wrong: Misbehaviour | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for i, (frame, words) in enumerate(frames):
            if wrong is not None and i == wrong.break_after:
                return await _broken(request, response, wrong)
            bill.output_tokens += words
            await response.write(frame)
            await asyncio.sleep(self._between_s)
        await response.write_eof()
        return response


def _asked(request: web.Request, body: Body) -> tuple[WireFormat, Body, bool]:
    """The format that a path stands for, the body with its model, and whether to stream."""
    kinds: dict[str, WireFormat] = {
        "/v1/chat/completions": "chat",
        "/v1/responses": "responses",
        "/v1/embeddings": "embeddings",
        "/v1/messages": "messages",
    }
    if request.path in kinds:
        return kinds[request.path], body, bool(body.get("stream"))
    model, _, verb = request.match_info["call"].partition(":")
    return "gemini", {**body, "model": model}, verb == "streamGenerateContent"


async def _misbehaved(request: web.Request, wrong: Misbehaviour) -> web.Response:
    await asyncio.sleep(wrong.hang_s)
    if wrong.drop and request.transport is not None:
        request.transport.abort()
    error = json.dumps({"error": {"message": "told to misbehave", "type": "fake", "code": "fake"}})
    body = error if wrong.body is None else wrong.body
    return web.Response(status=wrong.status, text=body, headers=dict(wrong.headers), content_type=wrong.content_type)


async def _broken(request: web.Request, response: web.StreamResponse, wrong: Misbehaviour) -> web.StreamResponse:
    if wrong.then == "stall":
        await asyncio.Event().wait()
    if wrong.then == "garbage":
        await response.write(b'data: {"choices": [{"del\n\n')
    if wrong.then == "reset" and request.transport is not None:
        request.transport.abort()
        return response
    await response.write_eof()
    return response


FakeOpenAIServer = FakeServer
"""The name from when it spoke OpenAI's format only."""

__all__ = ["FakeOpenAIServer", "FakeServer", "Misbehaviour", "Misbehaving"]
