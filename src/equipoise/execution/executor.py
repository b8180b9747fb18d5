"""From a plan to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from equipoise.config import ExecutionConfig
from equipoise.contracts import Provider
from equipoise.execution.balancer import Need, may_serve
from equipoise.execution.billing import price_of
from equipoise.execution.breaker import State
from equipoise.execution.call import Count, Meter
from equipoise.execution.client_stream import ClientStream
from equipoise.execution.clock import Clock
from equipoise.execution.course import Course, Random
from equipoise.execution.hedge import Hedging
from equipoise.execution.place import Place, places_of
from equipoise.execution.pursuit import Pursuit
from equipoise.execution.running import Running
from equipoise.execution.stream import Stream
from equipoise.execution.work import Work
from equipoise.traffic import Attempt
from equipoise.types import Deployment, Model, Plan


class PlaceStatus(NamedTuple):
    """How a deployment is doing."""

    model: str
    deployment: str
    state: State
    outstanding: int
    calls: int
    error_rate: float
    latency_s: float


class Executor:
    """Calls models: retries, fallbacks, breakers, balancing, limits, hedging, streams, and the bill of it all.

    Args:
        models: by name.
        providers: opens the provider of a deployment.
        clock: the module ``time`` is one.
        rng: for balancing and jitter.
        tokens: counts those of a text, where a provider does not say them.
        inherit: an executor whose place this one takes: what it has seen of the deployments that stay is kept.

    Raises:
        ConfigError: a model that can be called has no price.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        providers: Callable[[Deployment], Provider],
        settings: ExecutionConfig,
        *,
        clock: Clock,
        rng: Random,
        tokens: Count,
        inherit: Executor | None = None,
    ) -> None:
        self._settings, self._clock, self._rng, self._count = settings, clock, rng, tokens
        self._places: dict[str, tuple[Place, ...]] = {}
        for name, model in models.items():
            if model.deployments:
                price_of(model)
            self._places[name] = places_of(model, providers, settings)
        self.hedging = Hedging(settings.hedging)
        if inherit is not None:
            self._take_from(inherit)

    @property
    def total_s(self) -> float:
        """The time for all of a request."""
        return self._settings.total_s

    async def run(
        self,
        plan: Plan,
        work: Work,
        allowed: Callable[[str], bool],
        *,
        attempts: list[Attempt] | None = None,
        insist: bool = True,
    ) -> Running:
        """Carry out a plan. Returns when there is an answer, or the first content of a stream.

        Args:
            allowed: whether a model can serve this request at all. Only models of the plan are asked.
            attempts: is filled with every call made, also when this is cancelled.
            insist: go round again where all models failed, and knock at closed doors. Not where others are asked next.

        Raises:
            ExecutionFailed: no attempt brought an answer.
        """
        attempts = [] if attempts is None else attempts
        remembered = work.asked.vendor_state is not None
        need = Need(work.input_tokens, work.region, work.prefer, remembered, work.asked.most_output)
        lanes = [
            [place for place in self._places.get(name, ()) if may_serve(place, need)]
            for name in dict.fromkeys((plan.model, *plan.fallback))
            if allowed(name)
        ]
        course = Course(lanes, need, self._settings, self._rng, insist=insist)
        meter = Meter(self._clock, self._count, attempts)
        pursuit = Pursuit(course, work, self._settings, self.hedging, meter)
        call = await pursuit.call()
        running = Running(call, attempts, pursuit.waited_s)
        if call.reader is None:
            running.body = call.payload
            running.complete()
            return running
        running.stream = Stream(
            running,
            ClientStream(work, call.request.kind, running.model),
            successor=pursuit.go_on,
            between_s=self._settings.between_tokens_s,
            deadline=pursuit.deadline,
            clock=self._clock,
        )
        return running

    def status(self) -> list[PlaceStatus]:
        """How every deployment is doing."""
        now = self._clock.monotonic()
        return [
            PlaceStatus(
                place.model.name,
                place.label,
                place.breaker.state(now),
                place.outstanding,
                place.calls,
                place.breaker.error_rate(now),
                place.latency.mean,
            )
            for places in self._places.values()
            for place in places
        ]

    def _take_from(self, other: Executor) -> None:
        before = [place for places in other._places.values() for place in places]
        for places in self._places.values():
            for place in places:
                known = next((one for one in before if place.is_where(one)), None)
                if known is not None:
                    before.remove(known)
                    place.inherit(known)
