"""What a call brought back, on its way to the client."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http import HttpVersion11

from equipoise.execution import Hit, Running
from equipoise.gateway.climbing import Climbed
from equipoise.gateway.cors import may_read
from equipoise.gateway.exchange import Exchange
from equipoise.gateway.replies import JSON, SERVER
from equipoise.gateway.state import Gateway, Incoming
from equipoise.gateway.streamed_cost import with_cost

Answer = Running | Hit | Climbed
_SSE = "text/event-stream"
_PREFIX = "x-equipoise-"


async def answered(gateway: Gateway, incoming: Incoming, exchange: Exchange, running: Answer) -> web.StreamResponse:
    """Send what a call brings; log how it ended before the client can know that it has."""
    if running.stream is None:
        _end(exchange, running)
        headers = _headers(incoming, exchange, running)
        headers[_PREFIX + "cost-usd"] = f"{exchange.cost_usd():.9f}"
        headers["Content-Type"] = JSON
        return web.Response(body=running.body, headers=headers)
    exchange.first_token_s = exchange.elapsed_s
    stream = running.stream
    if exchange.tells_usage:
        stream = with_cost(stream, exchange.format, lambda: exchange.cost_usd() + running.unbilled_usd)
    return await _streamed(gateway, incoming, exchange, running, stream)


async def _streamed(
    gateway: Gateway, incoming: Incoming, exchange: Exchange, running: Answer, stream: AsyncIterator[bytes]
) -> web.StreamResponse:
    headers = _headers(incoming, exchange, running)
    headers["Content-Type"] = _SSE
    headers["Cache-Control"] = "no-cache"
    headers["X-Accel-Buffering"] = "no"  # nginx would hold streams back
    headers |= may_read(incoming.http, gateway.settings.cors_origins)  # it is on its way before its handler returns
    response = web.StreamResponse(headers=headers)
    ends_by_closing = incoming.http.version < HttpVersion11
    try:
        if ends_by_closing:
            response.force_close()
            _reset_when_closed(incoming, True)
        await response.prepare(incoming.http)
        async for chunk in stream:
            if running.over:
                _end(exchange, running)
            await _written(chunk, response, gateway.settings.write_timeout_s)
        _end(exchange, running)
        await response.write_eof()
        if ends_by_closing:
            _reset_when_closed(incoming, False)
    except (asyncio.CancelledError, ConnectionError):
        await _left(exchange, running, gateway.why_cancelled)
        raise
    except _TooSlow:
        await _left(exchange, running, "client_slow")
        _abort(incoming)
    except Exception:
        # A fault of ours: no other response fits behind half a stream, and the client must not take it for whole.
        await running.close()
        _abort(incoming)
        raise
    return response


def _reset_when_closed(incoming: Incoming, yes: bool) -> None:
    """Where a connection that is closed says that the answer is whole, one that is cut has to be told apart."""
    if (transport := incoming.http.transport) is not None:
        linger = struct.pack("ii", yes, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _abort(incoming: Incoming) -> None:
    if incoming.http.transport is not None:
        incoming.http.transport.abort()


async def _written(chunk: bytes, response: web.StreamResponse, most_s: float) -> None:
    try:
        async with asyncio.timeout(most_s):
            await response.write(chunk)
    except TimeoutError:
        raise _TooSlow from None


class _TooSlow(Exception):
    """The client does not take what is written to it."""


def _end(exchange: Exchange, running: Answer) -> None:
    exchange.waited_s = running.waited_s
    exchange.end(
        running.status,
        model=running.model,
        deployment=running.deployment,
        finish=running.finish,
        error=running.error,
    )


async def _left(exchange: Exchange, running: Answer, why: str) -> None:
    """The client went away: stop paying for an answer that nobody reads."""
    await running.close()
    exchange.waited_s = running.waited_s
    exchange.end("cancelled", model=running.model, deployment=running.deployment, error=why)


def _headers(incoming: Incoming, exchange: Exchange, running: Answer) -> dict[str, str]:
    overhead_s = exchange.elapsed_s - running.waited_s
    headers = {
        "Server": SERVER,
        "x-request-id": incoming.id,
        _PREFIX + "decision-id": exchange.decision.id,
        _PREFIX + "model": running.model,
        _PREFIX + "deployment": running.deployment,
        _PREFIX + "overhead-ms": f"{max(overhead_s, 0.0) * 1e3:.3f}",
    }
    if exchange.format == "messages":
        headers["request-id"] = incoming.id  # where Anthropic's SDKs look
    if exchange.cache is not None:
        headers[_PREFIX + "cache"] = exchange.cache
    return headers
