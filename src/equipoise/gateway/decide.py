"""From what was asked to a decision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from equipoise.analysis.tokens import count_tokens
from equipoise.api import request_with
from equipoise.engine import check_prompt
from equipoise.errors import NoModel
from equipoise.gateway.logs import Lines
from equipoise.gateway.problems import Problem
from equipoise.gateway.serving import Named, Route, Target
from equipoise.gateway.steering import Steering
from equipoise.types import Constraints, Decision, Model, Request, Warm
from equipoise.wire import Asked

# What an image counts for, about the middle of what vendors bill for one of a million pixels.
IMAGE_TOKENS = 1000
_LONG_CHARACTERS = 20_000


class Decided(NamedTuple):
    """A decision. ``degraded``: the router failed, and the decision was made without it."""

    decision: Decision
    degraded: bool = False


def is_long(asked: Asked) -> bool:
    """Whether deciding takes long enough that other requests should not wait for it."""
    return len(asked.text) + len(asked.context_text) > _LONG_CHARACTERS


def request_of(target: Target, asked: Asked, said: Steering, warm: Warm | None) -> Request:
    """What to route, under the limits of the route and those of the caller.

    Raises:
        InputError: the prompt is too long.
        Problem: the region is not the route's.
    """
    check_prompt(asked.text)
    context = count_tokens(asked.context_text) if asked.context_text else 0
    return Request(
        text=asked.text,
        constraints=_limits(target, asked, said),
        urgency=said.urgency,
        max_output_tokens=asked.max_output_tokens,
        user=said.user or asked.user,
        session=said.session,
        context_tokens=context + asked.images * IMAGE_TOKENS,
        warm=warm,
    )


def _limits(target: Target, asked: Asked, said: Steering) -> Constraints:
    limits = target.limits
    if said.max_cost_usd is not None or said.max_latency_s is not None or said.min_quality is not None:
        given = {"max_cost_usd": said.max_cost_usd, "max_latency_s": said.max_latency_s}
        limits = request_with(limits, "", **given, min_quality=said.min_quality).constraints
    if said.region is not None and said.region != limits.region:
        if limits.region is not None:
            told = f"route '{target.name}' stays in region {limits.region}; leave x-equipoise-region out"
            raise Problem(400, "region_not_allowed", told, param="x-equipoise-region")
        limits = replace(limits, region=said.region)
    # A model asked for by name is believed to be able: the caller chose it.
    if asked.capabilities and isinstance(target, Route):
        limits = replace(limits, capabilities=limits.capabilities | asked.capabilities)
    return limits


def decide(target: Target, request: Request, lines: Lines) -> Decided:
    """Choose a model. A router that fails is done without.

    Raises:
        Problem: no model can serve the request, with the reasons.
    """
    if isinstance(target, Named):
        return Decided(_plainly(target, request))
    try:
        return Decided(target.engine.decide(request))
    except NoModel as error:
        raise refusal(error, request, target) from None
    except Exception as error:  # noqa: BLE001  (routers can be anyone's code; a request is not to fail with them)
        lines.failed("the router failed; deciding without it", error, route=target.name)
        return Decided(_plainly(target, request), degraded=True)


def _plainly(target: Target, request: Request) -> Decision:
    try:
        return target.plain.decide(request, os.urandom(16).hex())
    except NoModel as error:
        raise refusal(error, request, target) from None


def refusal(error: NoModel, request: Request, target: Target) -> Problem:
    """Why no model can serve a request: its length, where that is the reason for all, else each model's."""
    features = target.plain.features(request)
    windows = _windows(target.plain.models)
    needed = features.input_tokens + features.output_tokens
    if windows and all(window is not None and needed > window for window in windows.values()):
        held = ", ".join(f"{name} {window}" for name, window in windows.items())
        said = f"the prompt has about {features.input_tokens:.0f} tokens, which no context window holds ({held})"
        return Problem(400, "context_length_exceeded", said + "; shorten it", param="messages")
    return Problem(400, error.code, " ".join(str(error).split()))


def _windows(models: Sequence[Model]) -> dict[str, int | None]:
    return {model.name: model.context_window for model in models}
