"""What can be asked for by name, routes and models, and how long a prompt is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from equipoise.aside import aside
from equipoise.gateway.decide import request_of
from equipoise.gateway.edge import read_body
from equipoise.gateway.problems import Problem
from equipoise.gateway.replies import as_json
from equipoise.gateway.serving import Route, Serving, Target
from equipoise.gateway.state import Gateway, Incoming
from equipoise.gateway.steering import Steering
from equipoise.wire import FORMATS, Body

_MOST_LISTED = 1000
_CREATED, _CREATED_ISO = 1704067200, "2024-01-01T00:00:00Z"


async def models(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """All routes and models, as the vendor whose client asks lists them."""
    serving = gateway.live.serving
    if not is_anthropics(incoming.http):
        return as_json({"object": "list", "data": [_openai(t) for t in serving.targets.values()]}, incoming)
    page, more = _page(serving, incoming.http.query)
    ends = {"first_id": page[0].name if page else None, "last_id": page[-1].name if page else None}
    return as_json({"data": [_anthropic(t) for t in page], "has_more": more, **ends}, incoming)


async def model(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """One route or model."""
    target = gateway.live.serving.target(incoming.variables["name"])
    return as_json(_anthropic(target) if is_anthropics(incoming.http) else _openai(target), incoming)


async def count(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Input tokens of a message, by our count: the model that will answer is not known yet."""
    body, size = await read_body(incoming.http, gateway.settings)
    return as_json({"input_tokens": await aside(size, _counted, gateway.live.serving, body, incoming)}, incoming)


def _counted(serving: Serving, body: Body, incoming: Incoming) -> int:
    asked = FORMATS["messages"].read({"max_tokens": 1, **body})
    target = serving.target(asked.model)
    request = request_of(target, asked, Steering(), tenant=incoming.caller.tenant)
    return int(target.plain.features(request).input_tokens)


def _page(serving: Serving, query: Mapping[str, str]) -> tuple[list[Target], bool]:
    """The part of the list that Anthropic's SDKs ask for, and whether there is more in the direction they go.

    Raises:
        Problem: ``limit`` is no number from 1 to 1000.
        UnknownName: nothing has the name that the page is to follow or to precede.
    """
    names = list(serving.targets)
    limit = _limit(query.get("limit", str(_MOST_LISTED)))
    if "before_id" in query:
        names = names[: names.index(serving.target(query["before_id"]).name)]
        page = names[-limit:]
    else:
        if "after_id" in query:
            names = names[names.index(serving.target(query["after_id"]).name) + 1 :]
        page = names[:limit]
    return [serving.targets[name] for name in page], len(page) < len(names)


def _limit(value: str) -> int:
    if re.fullmatch("[0-9]{1,4}", value) and 1 <= int(value) <= _MOST_LISTED:
        return int(value)
    raise Problem(400, "out_of_range", f"'limit' is '{value[:20]}'; give 1 to {_MOST_LISTED}", param="limit")


def is_anthropics(request: web.BaseRequest) -> bool:
    """Whether a client of Anthropic's asks."""
    return "anthropic-version" in request.headers


def _openai(target: Target) -> dict[str, Any]:
    owner = "equipoise" if isinstance(target, Route) else target.plain.models[0].deployments[0].provider
    return {"id": target.name, "object": "model", "created": _CREATED, "owned_by": owner}


def _anthropic(target: Target) -> dict[str, Any]:
    told = {"type": "model", "id": target.name, "display_name": target.name, "created_at": _CREATED_ISO}
    model = None if isinstance(target, Route) else target.plain.models[0]
    window, most = (None, None) if model is None else (model.context_window, model.max_output_tokens)
    return {**told, "lifecycle": "active", "max_input_tokens": window, "max_tokens": most}
