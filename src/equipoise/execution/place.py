"""One deployment as it is doing now: calls in flight, breaker, limits, latency."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from equipoise.config import ExecutionConfig
from equipoise.contracts import Choosy, Provider
from equipoise.errors import ProviderError
from equipoise.execution.breaker import Admitted, Breaker
from equipoise.execution.latency import Latency, Tail
from equipoise.execution.limits import Lengths, MinuteWindow, Second
from equipoise.traffic import TokenUsage
from equipoise.types import Deployment, Model, WireFormat


class Place:
    """A model at a deployment, and what was seen of it."""

    __slots__ = (
        "breaker", "calls", "deployment", "label", "latency", "model", "outstanding", "provider",
        "requests", "tails", "tokens", "_choosy", "_lengths",
    )  # fmt: skip

    def __init__(
        self, model: Model, deployment: Deployment, provider: Provider, label: str, settings: ExecutionConfig
    ) -> None:
        self.model, self.deployment, self.provider, self.label = model, deployment, provider, label
        self._choosy = provider if isinstance(provider, Choosy) else None
        self.breaker = Breaker(settings)
        self.latency = Latency()
        self.tails = {False: Tail(), True: Tail()}
        self.requests = None if deployment.rpm is None else MinuteWindow(deployment.rpm)
        self.tokens = None if deployment.tpm is None else MinuteWindow(deployment.tpm)
        self.outstanding = self.calls = 0
        self._lengths = Lengths(deployment.tpm or math.inf)

    def formats(self, body: Mapping[str, Any]) -> frozenset[WireFormat]:
        """Those in which the model may be asked this here."""
        return self.provider.formats if self._choosy is None else self._choosy.speaks(self.model, body)

    def is_where(self, other: Place) -> bool:
        """Whether calls go to the same server, for the same model, whatever the weights and limits of the two."""
        mine = replace(
            self.deployment, weight=other.deployment.weight, rpm=other.deployment.rpm, tpm=other.deployment.tpm
        )
        return self.model.name == other.model.name and mine == other.deployment

    def inherit(self, other: Place) -> None:
        """Go on from what another place has seen, the calls in flight there excepted."""
        self.latency, self.tails, self._lengths = other.latency, other.tails, other._lengths
        self.requests = _goes_on(self.requests, other.requests)
        self.tokens = _goes_on(self.tokens, other.tokens)
        self.breaker.inherit(other.breaker)

    def full_for(self, now: float, input_tokens: int, most_output: float = math.inf) -> float:
        """Seconds until its rpm and tpm limits admit a call with that input, and no more output; 0 if they do."""
        wait = 0.0
        if self.requests is not None:
            wait = self.requests.free_in(now, 1.0)
        if self.tokens is not None:
            wait = max(wait, self.tokens.free_in(now, input_tokens + min(self._lengths.likely, most_output)))
        return wait

    def begin(self, now: float, input_tokens: int, most_output: float = math.inf) -> Lease:
        """A call is made here. Every lease must be ended."""
        self.outstanding += 1
        self.calls += 1
        admitted = self.breaker.begin(now)
        request = None if self.requests is None else self.requests.take(now, 1.0)
        expected = input_tokens + min(self._lengths.likely, most_output)
        tokens = None if self.tokens is None else self.tokens.take(now, expected)
        return Lease(self, now, request, tokens, expected, admitted)

    def used(self, output_tokens: int) -> None:
        """An answer had that many tokens: what to reserve for the next."""
        self._lengths.observe(output_tokens)


def _goes_on(window: MinuteWindow | None, before: MinuteWindow | None) -> MinuteWindow | None:
    """What was sent in the last minute counts under a new limit, too."""
    if window is None or before is None:
        return window
    before.limit = window.limit
    return before


class End(Enum):
    """How a call ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    GIVEN_UP = "given up"  # since the caller's time was over: it says nothing about the place
    CANCELLED = "cancelled"


class Lease:
    """One call in flight."""

    __slots__ = ("_admitted", "_answered", "_expected", "_open", "_request", "_tokens", "began", "place")

    def __init__(
        self,
        place: Place,
        began: float,
        request: Second | None,
        tokens: Second | None,
        expected: float,
        admitted: Admitted,
    ) -> None:
        self.place, self.began, self._admitted = place, began, admitted
        self._request, self._tokens, self._expected, self._open = request, tokens, expected, True
        self._answered = False

    def answering(self, now: float, *, stream: bool, hedge: bool) -> None:
        """Its first content is there (of a stream), or the whole answer: the latency that balancing looks at."""
        self._answered = True
        seconds = max(now - self.began, 0.0)
        self.place.breaker.answering(self._admitted)
        self.place.latency.observe(now, seconds)
        if not hedge:  # those are the faster of two, and would make the tail look shorter
            self.place.tails[stream].observe(seconds)

    def outrun(self, now: float, *, stream: bool) -> None:
        """A hedge was faster: its own answer would have taken at least this long."""
        self._answered = True
        seconds = max(now - self.began, 0.0)
        self.place.latency.at_least(now, seconds)
        self.place.tails[stream].observe(seconds)

    def end(
        self, now: float, how: End, usage: TokenUsage, error: ProviderError | None = None, *, left: bool = True
    ) -> None:
        """The call is over. Only the first end counts.

        Args:
            left: something was sent, which a limit counts.
        """
        if not self._open:
            return
        self._open = False
        place = self.place
        place.outstanding -= 1
        if place.requests is not None and self._request is not None and not left:
            place.requests.settle(self._request, -1.0)
        if place.tokens is not None and self._tokens is not None:
            place.tokens.settle(self._tokens, usage.input_tokens + usage.output_tokens - self._expected)
        if how is End.ANSWERED:
            place.used(usage.output_tokens)
            place.breaker.succeeded(now, self._admitted)
        elif how is End.FAILED and error is not None:
            place.breaker.failed(now, error, self._admitted)
        else:
            place.breaker.abandoned(self._admitted)
        if error is not None and error.vendor_code == "timeout" and not self._answered:
            place.latency.at_least(now, max(now - self.began, 0.0))


def places_of(
    model: Model, providers: Callable[[Deployment], Provider], settings: ExecutionConfig
) -> tuple[Place, ...]:
    """All places of a model, each with a label of its own: ``model/provider``, and what else tells it apart."""
    return tuple(
        Place(model, deployment, providers(deployment), label, settings)
        for deployment, label in zip(model.deployments, _labels(model), strict=True)
    )


def _labels(model: Model) -> Sequence[str]:
    plain = [f"{model.name}/{d.provider}" for d in model.deployments]
    if len(set(plain)) < len(plain):
        plain = [
            f"{label}@{d.region}" if d.region else label for label, d in zip(plain, model.deployments, strict=True)
        ]
    repeated = {label for label, n in Counter(plain).items() if n > 1}
    return [f"{label}#{i}" if label in repeated else label for i, label in enumerate(plain, 1)]
