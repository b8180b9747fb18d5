"""A vendor on a loopback port that breaks in every way, and keeps its own ledger.

It bills what it accepted: the input of every request that it did not refuse with a status, and every word of the
answer that it delivered. An answer that it could not deliver whole, where nobody streams, has no billed output.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from equipoise.types import Price

ANSWER = "one two three four five six seven eight nine ten"
FAULTS = (
    "500",
    "503",
    "429",
    "reset",
    "stall",
    "half json",
    "wrong type",
    "not an answer",
    "slow loris",
    "stream reset",
    "stream stall",
    "stream end",
    "stream garbage",
    "stream error",
)
CACHED_SHARE = 0.5


@dataclass(slots=True)
class Bill:
    """What one call costs."""

    model: str
    input_tokens: int
    output_tokens: int = 0
    cached_tokens: int = 0

    def usd(self, price: Price) -> float:
        return price.cost_usd(self.input_tokens, self.output_tokens, cached_tokens=self.cached_tokens)


class BrokenUpstream:
    """Chat completions with faults. An asynchronous context manager.

    Args:
        fault: for the number of a request (from 0), what goes wrong, or None.
        says_usage: whether it tells the usage of whole answers.
        delay_s: for the number of a request, the time before its answer begins.
    """

    def __init__(
        self,
        fault: Callable[[int], str | None],
        *,
        says_usage: bool = True,
        delay_s: Callable[[int], float] = lambda n: 0.0,
    ) -> None:
        self._fault, self._says_usage, self._delay_s = fault, says_usage, delay_s
        self._runner: web.AppRunner | None = None
        self.bills: list[Bill] = []
        self.faults: Counter[str] = Counter()
        self.requests = 0
        self.base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number, self.requests = self.requests, self.requests + 1
        fault = self._fault(number)
        if fault is not None:
            self.faults[fault] += 1
        if fault in ("500", "503", "429"):
            headers = {"Retry-After": "0.05"} if fault == "429" else {}
            return web.Response(status=int(fault), text='{"error": {"message": "no"}}', headers=headers)
        bill = Bill(body["model"], sum(len(m["content"].split()) for m in body["messages"]))
        self.bills.append(bill)
        await asyncio.sleep(self._delay_s(number))
        if fault in ("reset", "stall") or (fault is not None and body.get("stream", False) != _is_streamed(fault)):
            return await _nothing(request, stall=fault == "stall")
        return await (self._streamed if body.get("stream") else self._whole)(request, bill, fault)

    async def _whole(self, request: web.Request, bill: Bill, fault: str | None) -> web.StreamResponse:
        document: dict[str, Any] = {
            "id": "c",
            "object": "chat.completion",
            "model": bill.model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
        }
        if fault == "not an answer":
            return web.json_response({"choices": []})
        if fault == "half json":
            return web.Response(body=orjson.dumps(document)[:-20], content_type="application/json")
        if fault == "wrong type":
            return web.Response(text="<html>a proxy's page</html>", content_type="text/html")
        self._deliver(bill, len(ANSWER.split()))
        if self._says_usage:
            document["usage"] = self._usage(bill)
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    async def _streamed(self, request: web.Request, bill: Bill, fault: str | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        words = ANSWER.split()
        for i, word in enumerate(words):
            if fault is not None and i == 4:
                return await _broken(request, response, fault)
            bill.output_tokens += 1
            await response.write(_event({"content": word if i == 0 else f" {word}"}))
        if self._says_usage:
            self._deliver(bill, len(words))
        await response.write(_event({}, finish="stop"))
        if self._says_usage:
            said = {"id": "c", "choices": [], "usage": self._usage(bill)}
            await response.write(b"data: " + orjson.dumps(said) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    def _deliver(self, bill: Bill, words: int) -> None:
        bill.output_tokens = words
        if self._says_usage:
            bill.cached_tokens = int(bill.input_tokens * CACHED_SHARE)

    def _usage(self, bill: Bill) -> dict[str, Any]:
        return {
            "prompt_tokens": bill.input_tokens,
            "completion_tokens": bill.output_tokens,
            "total_tokens": bill.input_tokens + bill.output_tokens,
            "prompt_tokens_details": {"cached_tokens": bill.cached_tokens},
        }


def _is_streamed(fault: str) -> bool:
    return fault.startswith("stream") or fault == "slow loris"


async def _nothing(request: web.Request, *, stall: bool) -> web.StreamResponse:
    if stall:
        await asyncio.Event().wait()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _broken(request: web.Request, response: web.StreamResponse, fault: str) -> web.StreamResponse:
    assert request.transport is not None
    if fault == "stream stall":
        await asyncio.Event().wait()
    if fault == "slow loris":
        while True:
            await response.write(b"d")
            await asyncio.sleep(0.05)
    if fault == "stream garbage":
        await response.write(b'data: {"choices": [{"del\n\n')
    if fault == "stream error":
        await response.write(b'data: {"error": {"message": "overloaded", "code": "503"}}\n\n')
    if fault == "stream reset":
        await asyncio.sleep(0.02)  # what was sent before a reset must have been read, or nobody knows of it
        request.transport.abort()
    return response


def _event(delta: dict[str, Any], *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"
