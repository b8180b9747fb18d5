"""How the gateway is doing, for load balancers and for monitoring."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from equipoise.gateway.metrics import CONTENT_TYPE
from equipoise.gateway.replies import SERVER, as_json
from equipoise.gateway.state import Gateway, Incoming

_LOOK_S = 1.0


async def healthz(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """The process lives."""
    del gateway
    return as_json({"status": "ok"}, incoming)


async def readyz(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Whether new requests should be sent here, and what is wrong. Details are in the log and at /admin/status."""
    reasons = ["draining: no new requests are taken"] if gateway.draining else []
    document = {"ready": not reasons, "reasons": reasons, "warnings": warnings(gateway)}
    return as_json(document, incoming, status=503 if reasons else 200)


def warnings(gateway: Gateway) -> list[str]:
    """What is wrong without keeping requests from being served."""
    found = []
    if gateway.trouble is not None:
        found.append("configuration: the changed file cannot be used, the one before is served")
    if gateway.lacking():
        found.append("providers: some cannot be called, their keys are missing")
    # Half-open: nothing says that it is over until a call is answered.
    if any(place.state in ("open", "half_open") for place in gateway.live.executor.status()):
        found.append("providers: some fail, and are not called but to try them out")
    if gateway.log.status.trouble is not None:
        found.append("decision log: entries cannot be kept as they should be just now")
    if gateway.keys.stale:
        found.append("keys: the file cannot be read just now, the known ones are served")
    if gateway.traces.failing:
        found.append("traces: the collector takes no spans just now, and they are lost")
    return found


async def tell_warnings(gateway: Gateway, every_s: float = _LOOK_S) -> None:
    """Say in the log what there is to warn of, once, and when it is over, until cancelled."""
    known: list[str] = []
    while True:
        found = warnings(gateway)
        for reason in found:
            if reason not in known:
                gateway.lines.say("warning", level="warning", reason=reason)
        for reason in known:
            if reason not in found:
                gateway.lines.say("warning is over", reason=reason)
        known = found
        await asyncio.sleep(every_s)


async def metrics(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Prometheus' text format."""
    headers = {"Server": SERVER, "Content-Type": CONTENT_TYPE, "x-request-id": incoming.id}
    return web.Response(body=gateway.metrics.text(), headers=headers)


def status_of(gateway: Gateway) -> dict[str, Any]:
    """Everything, for whoever runs it."""
    live = gateway.live
    return {
        "started": gateway.started,
        "draining": gateway.draining,
        "in_flight": gateway.in_flight - 1,  # but for the one that asks
        "warnings": warnings(gateway),
        "configuration": {"trouble": gateway.trouble, "routes": [r.name for r in live.serving.routes]},
        "lacking": list(gateway.lacking()),
        "deployments": [place._asdict() for place in live.executor.status()],
        "tenants": [standing._asdict() for standing in gateway.allowances.standings()],
        "log": gateway.log.status._asdict(),
    }
