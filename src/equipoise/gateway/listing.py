"""What can be asked for by name, routes and models, and how long a prompt is."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from equipoise.gateway.decide import request_of
from equipoise.gateway.edge import read_body
from equipoise.gateway.replies import as_json
from equipoise.gateway.serving import Route, Target
from equipoise.gateway.state import Gateway, Incoming
from equipoise.gateway.steering import Steering
from equipoise.wire import FORMATS

_CREATED, _CREATED_ISO = 1704067200, "2024-01-01T00:00:00Z"


async def models(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """All routes and models, as the vendor whose client asks lists them."""
    targets = list(gateway.live.serving.targets.values())
    describe = _anthropic if is_anthropics(incoming.http) else _openai
    listed = [describe(target) for target in targets]
    if not is_anthropics(incoming.http):
        return as_json({"object": "list", "data": listed}, incoming)
    ends = {"first_id": targets[0].name, "last_id": targets[-1].name}
    return as_json({"data": listed, "has_more": False, **ends}, incoming)


async def model(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """One route or model."""
    target = gateway.live.serving.target(incoming.variables["name"])
    return as_json(_anthropic(target) if is_anthropics(incoming.http) else _openai(target), incoming)


async def count(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Input tokens of a message, by our count: the model that will answer is not known yet."""
    body = await read_body(incoming.http, gateway.settings)
    asked = FORMATS["messages"].read({"max_tokens": 1, **body})
    target = gateway.live.serving.target(asked.model)
    request = request_of(target, asked, Steering(), None)
    return as_json({"input_tokens": int(target.plain.features(request).input_tokens)}, incoming)


def is_anthropics(request: web.BaseRequest) -> bool:
    """Whether a client of Anthropic's asks."""
    return "anthropic-version" in request.headers


def _openai(target: Target) -> dict[str, Any]:
    owner = "equipoise" if isinstance(target, Route) else target.plain.models[0].deployments[0].provider
    return {"id": target.name, "object": "model", "created": _CREATED, "owned_by": owner}


def _anthropic(target: Target) -> dict[str, Any]:
    return {"type": "model", "id": target.name, "display_name": target.name, "created_at": _CREATED_ISO}
