"""The endpoints that call a model: read, decide, log, execute, answer. The walk of a request, in one place."""

from __future__ import annotations

import asyncio

from aiohttp import web

from equipoise.execution import ExecutionFailed, Work
from equipoise.gateway.answer import answered
from equipoise.gateway.decide import Decided, decide, is_long, request_of
from equipoise.gateway.edge import read_body
from equipoise.gateway.exchange import Exchange
from equipoise.gateway.problems import Problem
from equipoise.gateway.serving import Route, Target
from equipoise.gateway.state import Gateway, Handler, Incoming, Live
from equipoise.gateway.steering import Steering, steering_of
from equipoise.types import WireFormat
from equipoise.wire import FORMATS, Asked


def calling(format: WireFormat) -> Handler:
    """The handler of the endpoint that speaks a format."""

    async def handler(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
        live = gateway.live
        live.users += 1
        try:
            return await _served(gateway, live, incoming, format)
        finally:
            live.users -= 1

    handler.__doc__ = f"Call a model in the format `{format}`."
    return handler


async def _served(gateway: Gateway, live: Live, incoming: Incoming, format: WireFormat) -> web.StreamResponse:
    body = await read_body(incoming.http, gateway.settings)
    asked = FORMATS[format].read(body)
    said = steering_of(incoming.http.headers)
    target = live.serving.target(asked.model)
    if format == "embeddings" and isinstance(target, Route):
        told = f"'{asked.model}' is a route; embeddings of different models do not mix, so name a model"
        raise Problem(400, "embeddings_need_a_model", told, param="model")
    decided = await _decided(gateway, target, asked, said)
    exchange = Exchange(gateway, incoming, format, asked, decided)
    work = Work(
        body=body,
        format=format,
        asked=asked,
        input_tokens=int(decided.decision.features["input_tokens"]),
        region=decided.decision.constraints.region,
    )
    try:
        return await _executed(gateway, live, incoming, exchange, work)
    except asyncio.CancelledError:
        exchange.end("cancelled", error="client_gone")
        raise


async def _decided(gateway: Gateway, target: Target, asked: Asked, said: Steering) -> Decided:
    def deciding() -> Decided:
        return decide(target, request_of(target, asked, said, None), gateway.logger)

    # Other requests are not to wait for a long text.
    return await asyncio.to_thread(deciding) if is_long(asked) else deciding()


async def _executed(
    gateway: Gateway, live: Live, incoming: Incoming, exchange: Exchange, work: Work
) -> web.StreamResponse:
    plan = exchange.decision.plan
    able = {c.model for c in exchange.decision.candidates if c.refused is None} | {plan.model}
    begun = gateway.clock.monotonic()
    try:
        running = await live.executor.run(plan, work, able.__contains__, attempts=exchange.attempts)
    except ExecutionFailed as error:
        exchange.waited_s = gateway.clock.monotonic() - begun
        exchange.end("failed", error=error.code)
        said = " ".join(str(error).split())
        headers = {"x-equipoise-decision-id": exchange.decision.id}
        raise Problem(error.status, error.code, said, retry_after_s=error.retry_after_s, headers=headers) from None
    return await answered(gateway, incoming, exchange, running)
