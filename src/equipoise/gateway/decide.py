"""From what was asked to a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from equipoise.analysis.tokens import count_tokens
from equipoise.api import request_with
from equipoise.aside import in_thread
from equipoise.errors import ContractError, NoModel
from equipoise.execution.clock import Clock
from equipoise.gateway.logs import Lines
from equipoise.gateway.own_threads import OwnThreads
from equipoise.gateway.problems import CONTEXT_LENGTH, TOO_LONG, Problem
from equipoise.gateway.serving import Named, Route, Target, TimedDecision, decided_by
from equipoise.gateway.steering import Steering
from equipoise.gateway.together import Together
from equipoise.policy.constraints import UNKNOWN, lacking
from equipoise.request import MOST_CHARACTERS, check_prompt
from equipoise.storage.ids import new_id
from equipoise.types import Constraints, Decision, Request, Warm
from equipoise.wire import Asked

# What an image counts for, about the middle of what vendors bill for one of a million pixels.
IMAGE_TOKENS = 1000
# Longer texts are worked on in a thread: other requests are not to wait for them.
LONG_CHARACTERS = 20_000
_END = MOST_CHARACTERS // 2
_REMEMBERED_CONTEXTS = 64


class Decided(NamedTuple):
    """A decision.

    Attributes:
        took_s: what of the processor's time it took; its share, where several were made together.
        degraded: the router failed, and the decision was made without it.
    """

    decision: Decision
    took_s: float
    degraded: bool = False


def request_of(target: Target, asked: Asked, said: Steering, warm: Warm | None = None, *, tenant: str) -> Request:
    """What to route, under the limits of the route and those of the caller.

    Raises:
        InputError: the prompt is empty.
        Problem: the region is not the route's.
    """
    text, between = _routed_by(asked.text)
    check_prompt(text)
    context = sum(_context_tokens(one, tenant) for one in (asked.context_text, between) if one)
    return Request(
        text=text,
        constraints=_limits(target, asked, said),
        urgency=said.urgency,
        max_output_tokens=asked.max_output_tokens,
        user=said.user or asked.user,
        session=said.session,
        context_tokens=context + asked.images * IMAGE_TOKENS,
        warm=warm,
        tenant=tenant,
    )


def _routed_by(text: str) -> tuple[str, str]:
    """A prompt as far as it is routed by, and what of it only takes room: there are windows of a million tokens."""
    if len(text) <= MOST_CHARACTERS:
        return text, ""
    return text[:_END] + text[-_END:], text[_END:-_END]


def _context_tokens(text: str, tenant: str) -> int:
    return count_tokens(text) if len(text) > LONG_CHARACTERS else _remembered_tokens(text, tenant)


@lru_cache(maxsize=_REMEMBERED_CONTEXTS)
def _remembered_tokens(text: str, _tenant: str) -> int:
    """Most requests of an application bring along the same system prompt and tools."""
    return count_tokens(text)


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
    if asked.n > 1 and limits.max_cost_usd is not None:
        # Costs are expected of one answer; so many cost no more than as many times that.
        limits = replace(limits, max_cost_usd=limits.max_cost_usd / asked.n)
    # A model asked for by name is believed to be able: the caller chose it.
    if asked.capabilities and isinstance(target, Route):
        limits = replace(limits, capabilities=limits.capabilities | asked.capabilities)
    return limits


class Deciding:
    """Makes the decisions of a gateway: those that are asked for at about the same time together.

    Args:
        clock: says what deciding takes.
        in_flight: how many requests are being served.
    """

    def __init__(self, lines: Lines, clock: Clock, in_flight: Callable[[], int]) -> None:
        self._lines, self._clock, self._in_flight = lines, clock, in_flight
        self._together = Together(self._decide_all)

    async def decide(
        self, target: Target, asked: Asked, said: Steering, warm: Warm | None = None, *, tenant: str
    ) -> Decided:
        """Choose a model for a tenant's request. A router that fails is done without.

        Raises:
            InputError: the prompt is empty.
            Problem: no model can serve the request, with the reasons.
        """
        make = partial(request_of, target, asked, said, warm, tenant=tenant)
        long = len(asked.text) + len(asked.context_text) > LONG_CHARACTERS
        if isinstance(target, Route) and target.threads is not None:
            request = await in_thread(make) if long else make()
            found = await self._decide_in_threads(target.threads, request, said.timeout_s)
            settle = partial(self._settled, target, request, *found)
            return _unless_refused(await in_thread(settle) if long else settle())
        if long:
            return await in_thread(self._decide_alone, target, make)
        if self._in_flight() < 2:
            return self._decide_alone(target, make)
        return await self._together.ask((target, make()))

    @staticmethod
    async def _decide_in_threads(
        threads: OwnThreads[Request, TimedDecision], request: Request, timeout_s: float | None
    ) -> TimedDecision:
        """The decision of an engine that may take long; a client's own time is not all for it."""
        try:
            return await threads.ask(request, most_s=None if timeout_s is None else timeout_s / 2)
        except TimeoutError as error:
            return TimedDecision(error, 0.0)

    def _decide_alone(self, target: Target, make: Callable[[], Request]) -> Decided:
        (found,) = self._decide(target, [make()])
        return _unless_refused(found)

    def _decide_all(self, asked: Sequence[tuple[Target, Request]]) -> list[Decided | Problem]:
        by_target: dict[int, list[int]] = {}
        for place, (target, _) in enumerate(asked):
            by_target.setdefault(id(target), []).append(place)
        found: dict[int, Decided | Problem] = {}
        for places in by_target.values():
            target = asked[places[0]][0]
            found.update(zip(places, self._decide(target, [asked[place][1] for place in places]), strict=True))
        return [found[place] for place in range(len(asked))]

    def _decide(self, target: Target, requests: Sequence[Request]) -> list[Decided | Problem]:
        begun = self._clock.monotonic()
        found = _chosen(target, requests)
        took_s = (self._clock.monotonic() - begun) / len(requests)
        return [self._settled(target, *one, took_s) for one in zip(requests, found, strict=True)]

    def _settled(
        self, target: Target, request: Request, found: Decision | Exception, took_s: float
    ) -> Decided | Problem:
        degraded = False
        if isinstance(found, Exception) and (not isinstance(found, NoModel) or _nothing_known(found)):
            why = {"reason": str(found)} if isinstance(found, ContractError) else {}
            self._lines.failed("the router failed; deciding without it", found, route=target.name, **why)
            found, degraded = _plainly(target, request), True
        return refusal(found, target, request) if isinstance(found, NoModel) else Decided(found, took_s, degraded)


def _unless_refused(found: Decided | Problem) -> Decided:
    if isinstance(found, Problem):
        raise found
    return found


def _chosen(target: Target, requests: Sequence[Request]) -> Sequence[Decision | Exception]:
    if isinstance(target, Named):
        return [_plainly(target, request) for request in requests]
    return decided_by(target.engine, requests)


def _nothing_known(found: NoModel) -> bool:
    """Whether the router knew no model. At the start it knew some: it fails, not the request."""
    return set(found.refused.values()) == {UNKNOWN}


def _plainly(target: Target, request: Request) -> Decision | NoModel:
    try:
        return target.plain.decide(request, new_id())
    except NoModel as error:
        return error


def refusal(error: NoModel, target: Target, request: Request) -> Problem:
    """Why no model can serve a request: its length, where a shorter one could be served, else each model's reason."""
    lacks = {model.name: lacking(request.constraints, model) for model in target.plain.models}
    windows = {model.name: model.context_window for model in target.plain.models if lacks[model.name] is None}
    held = {name: window for name, window in windows.items() if window is not None}
    needed = error.input_tokens + error.output_tokens
    if held and len(held) == len(windows) and needed > max(held.values()):
        each = ", ".join(f"{name} {held[name]}" if name in held else f"{name} {lack}" for name, lack in lacks.items())
        said = f"{TOO_LONG}: about {needed:.0f} tokens > {max(held.values())} maximum, with its answer. "
        said += f"No context window holds it ({each}); reduce the length of the messages"
        return Problem(400, CONTEXT_LENGTH, said, param="messages")
    return Problem(400, error.code, " ".join(str(error).split()))
