"""Which deployment of a model to call: the better of two drawn by weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from equipoise.execution.place import Place

# Below this ratio two places count as equally fast, and the weights decide.
_CLEARLY = 1.5


class Draw(Protocol):
    """The one thing that is asked of a random generator (numpy's has it)."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


class Need(NamedTuple):
    """What a request asks of the place that it is sent to.

    Attributes:
        input_tokens, most_output: for tpm limits: what is sent, and how long the answer may become.
        region: where the data may go; None is anywhere.
        prefer: label of the place that holds the conversation in its prompt cache.
        remembered: it leans on what one of the places remembers, and the others refuse.
    """

    input_tokens: int
    region: str | None = None
    prefer: str | None = None
    remembered: bool = False
    most_output: float = math.inf


def may_serve(place: Place, need: Need) -> bool:
    """Whether the request's data may go there."""
    return need.region is None or place.deployment.region == need.region


def pick(places: Sequence[Place], need: Need, now: float, rng: Draw, *, home: str | None = None) -> Place | None:
    """A place that takes a call now; None when all are open, cooling or full.

    Places in the region ``home`` come first. Two are drawn by weight, and the second is taken where it is
    clearly better: fewer calls in flight for its weight, and faster answers. Where they are alike, calls are
    shared as the weights say.
    """
    ready = [p for p in places if p.breaker.admits(now) and not p.full_for(now, need.input_tokens, need.most_output)]
    if home is not None and len(ready) > 1:
        ready = [p for p in ready if p.deployment.region == home] or ready
    if len(ready) < 2:
        return ready[0] if ready else None
    first = next((p for p in ready if p.label == need.prefer), None) or _drawn(ready, rng)
    second = _drawn([p for p in ready if p is not first], rng)
    fastest = min([p.latency.mean for p in ready if p.latency.mean == p.latency.mean], default=1.0)
    lighter = min(first.deployment.weight, second.deployment.weight)

    def load(place: Place) -> float:
        """Expected time to an answer: latency times calls in flight, for its weight. An unknown one is the best."""
        return place.latency.expected(now, fastest) * (1.0 + place.outstanding * lighter / place.deployment.weight)

    return second if load(first) > _CLEARLY * load(second) else first


def _drawn(places: Sequence[Place], rng: Draw) -> Place:
    if len(places) == 1:
        return places[0]
    left = rng.random() * sum(p.deployment.weight for p in places)
    for place in places:
        left -= place.deployment.weight
        if left < 0.0:
            return place
    return places[-1]
