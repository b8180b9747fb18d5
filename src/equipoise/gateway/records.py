"""Endpoints about decisions: make one without a call, look one up, say how good its answer was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from equipoise.aside import aside
from equipoise.errors import InputError
from equipoise.gateway.edge import read_body
from equipoise.gateway.exchange import kept_prompt, log_decision, redacted
from equipoise.gateway.problems import Problem
from equipoise.gateway.replies import as_json
from equipoise.gateway.state import Gateway, Incoming
from equipoise.gateway.steering import steering_of
from equipoise.storage.decisions import MOST_TEXT
from equipoise.storage.reading import Record, document_of
from equipoise.traffic import Feedback
from equipoise.types import Model, Price, WireFormat
from equipoise.wire import FORMATS, Body

_THUMBS = {"up": 1.0, "down": 0.0}
_FEEDBACK_FIELDS = ("decision_id", "reward", "thumb", "source", "comment")


async def route(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """The decision without the call. The body is that of a chat completion or of a response."""
    body, size = await read_body(incoming.http, gateway.settings)
    format: WireFormat = "responses" if "input" in body and "messages" not in body else "chat"
    asked = await aside(size, FORMATS[format].read, {"model": "auto", **body})
    target = gateway.live.serving.target(asked.model)
    said, tenant = steering_of(incoming.http.headers), incoming.caller.tenant
    decided = await gateway.deciding.decide(target, asked, said, tenant=tenant)
    received = gateway.clock.time()
    prompt = await kept_prompt(gateway, asked)
    log_decision(gateway, decided, asked, prompt, tenant=tenant, format=format, received=received)
    record = Record(decided.decision, tenant, asked.model, format, received, prompt, None, ())
    response = as_json(_document(record, gateway.live.serving.models), incoming)
    response.headers["x-equipoise-decision-id"] = decided.decision.id
    response.headers["x-equipoise-model"] = decided.decision.model
    return response


async def look_up(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Everything known about a decision of the caller's tenant."""
    wanted = incoming.variables["id"]
    tenant = None if "admin" in incoming.caller.scopes else incoming.caller.tenant
    # Where a journal of some size is yet to be moved, it is looked through: other requests are not to wait for that.
    record = await asyncio.to_thread(gateway.log.get, wanted, tenant)
    if record is None:
        raise _unknown("id")
    return as_json(_document(record, gateway.live.serving.models), incoming)


async def feedback(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """How good an answer was."""
    body, _ = await read_body(incoming.http, gateway.settings)
    said = _feedback(body, gateway.clock.time())
    comment = None if gateway.live.serving.config.log.prompts == "full" else said.comment
    # A longer one is refused, whatever it says.
    if comment is not None and len(comment) <= MOST_TEXT["comment"]:
        said = replace(said, comment=await redacted(comment))
    try:
        known = await asyncio.to_thread(gateway.log.feedback, said, tenant=incoming.caller.tenant)
    except InputError as error:
        raise Problem(400, "bad_feedback", str(error)) from None
    if not known:
        gateway.metrics.count("feedback", "unknown_decision")
        raise _unknown("decision_id")
    gateway.metrics.count("feedback", "joined")
    return as_json({"decision_id": said.decision_id, "reward": said.reward, "source": said.source}, incoming)


def _unknown(param: str) -> Problem:
    return Problem(404, "decision_not_found", "no such decision; its id is in x-equipoise-decision-id", param=param)


def _feedback(body: Body, now: float) -> Feedback:
    for field in body:
        if field not in _FEEDBACK_FIELDS:
            known = ", ".join(_FEEDBACK_FIELDS)
            raise Problem(400, "bad_feedback", f"unknown field '{field[:40]}'; known: {known}", param=field[:40])
    return Feedback(
        decision_id=_text(body, "decision_id") or "",
        reward=_reward(body),
        received=now,
        source=_text(body, "source", "user") or "",
        comment=_text(body, "comment"),
    )


def _text(body: Body, field: str, default: str | None = None) -> str | None:
    value = body.get(field, default)
    if value is not None and not isinstance(value, str):
        raise Problem(400, "bad_feedback", f"{field} should be a string", param=field)
    return value


def _reward(body: Body) -> float:
    reward, thumb = body.get("reward"), body.get("thumb")
    if (reward is None) == (thumb is None):
        raise Problem(400, "bad_feedback", "give either reward, a number from 0 to 1, or thumb, 'up' or 'down'")
    if thumb is not None:
        if not isinstance(thumb, str) or thumb not in _THUMBS:
            raise Problem(400, "bad_feedback", "thumb should be 'up' or 'down'", param="thumb")
        return _THUMBS[thumb]
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not 0.0 <= reward <= 1.0:
        raise Problem(400, "bad_feedback", "reward should be a number from 0 to 1", param="reward")
    return float(reward)


# ---------------------------------------------------------------- explaining


def _document(record: Record, models: Mapping[str, Model]) -> dict[str, Any]:
    document = document_of(record)
    document["decision_id"], document["model"] = record.decision.id, record.decision.model
    document["counterfactuals"] = _counterfactuals(record, models)
    return document


def _counterfactuals(record: Record, models: Mapping[str, Model]) -> list[dict[str, Any]]:
    """What every other model would have meant: expected against the chosen one, and at the tokens really used."""
    chosen = record.decision.selected
    others = [c for c in record.decision.candidates if c.model != chosen.model]
    used = _tokens(record)
    found = []
    for other in others:
        model = models.get(other.model)
        price = None if model is None else model.price
        found.append(
            {
                "model": other.model,
                "refused": other.refused,
                "probability": other.probability,
                "expected_quality_difference": _difference(
                    other.quality and other.quality.mean, chosen.quality and chosen.quality.mean
                ),
                "expected_cost_difference_usd": _difference(other.cost_usd, chosen.cost_usd),
                "expected_latency_difference_s": _difference(other.latency_s, chosen.latency_s),
                "utility_difference": _difference(other.utility, chosen.utility),
                "cost_at_actual_tokens_usd": None if price is None or used is None else _cost(price, *used),
            }
        )
    return found


def _cost(price: Price, input_tokens: int, output_tokens: int) -> float | None:
    """None where compute time is paid for: what an answer would have taken, nobody knows."""
    return None if price.usd_per_compute_s else price.cost_usd(input_tokens, output_tokens)


def _difference(other: float | None, chosen: float | None) -> float | None:
    return None if other is None or chosen is None else other - chosen


def _tokens(record: Record) -> tuple[int, int] | None:
    """Input and output tokens of the answer that was returned."""
    attempts = () if record.outcome is None else record.outcome.attempts
    return next(((a.usage.input_tokens, a.usage.output_tokens) for a in attempts if a.won), None)
