"""Which place to call next: retries on a model, then the plan's fallbacks, then the least bad. No input or output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from equipoise.config import ExecutionConfig
from equipoise.errors import ProviderError
from equipoise.execution.balancer import Draw, Need, pick
from equipoise.execution.place import Place
from equipoise.execution.retry import REQUEST_FAULTS, Uniform, backoff_s
from equipoise.traffic import AttemptKind
from equipoise.wire import BadRequest


class Random(Draw, Uniform, Protocol):
    """What is asked of a random generator (numpy's has it)."""


class Step(NamedTuple):
    """A place to call after a wait. The place may be taken by then: ask again if it is.

    Attributes:
        forced: its breaker is open, but so are all others.
    """

    place: Place
    wait_s: float
    kind: AttemptKind
    forced: bool = False


class _Lane:
    """One model of the plan, with the places of it that are still worth a call."""

    __slots__ = ("forced", "places", "tries")

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = list(places)
        self.tries = 0
        self.forced = False


class Course:
    """The order of attempts for one request.

    Args:
        lanes: per model of the plan, in its order, the places that may serve the request.
        insist: whether to go on after the first round.
    """

    def __init__(
        self,
        lanes: Sequence[Sequence[Place]],
        need: Need,
        settings: ExecutionConfig,
        rng: Random,
        *,
        insist: bool = True,
    ) -> None:
        self._insist = insist
        self._lanes = [_Lane(places) for places in lanes if places]
        self._need, self._settings, self._rng = need, settings, rng
        self._at = 0
        self._failures: dict[str, int] = {}
        self._previous: str | None = None
        self.made = 0
        self.errors: list[ProviderError | BadRequest] = []
        self.free_in_s: float | None = None

    def next(self, now: float, left_s: float) -> Step | None:
        """The next call; None when nothing is left to try within the time that is left.

        ``free_in_s`` then says when a deployment takes calls again, if all that are left asked to wait.
        """
        if self.made >= self._settings.max_attempts or left_s <= 0.0 or not self._lanes:
            return None
        for _ in range(2 if self._insist else 1):
            while self._at < len(self._lanes):
                step = self._within(self._lanes[self._at], now, left_s)
                if step is not None:
                    return step
                self._at += 1
            if self._insist:
                self._new_round()
        return self._forced(now, left_s) if self._insist else None

    def called(self, place: Place, *, hedge: bool = False) -> None:
        """A call is made there."""
        self.made += 1
        if hedge:
            return
        self._previous = place.model.name
        for lane in self._lanes:
            if place in lane.places:
                lane.tries += 1

    def failed(self, place: Place, error: ProviderError | BadRequest) -> None:
        """It failed: what is no longer worth a call is dropped."""
        self.errors.append(error)
        lane = next((lane for lane in self._lanes if place in lane.places), None)
        if lane is None:
            return
        if isinstance(error, BadRequest):
            lane.places.remove(place)
        elif error.status in REQUEST_FAULTS and not self._need.remembered:
            lane.places.clear()
        elif not error.retryable:
            lane.places.remove(place)
        else:
            self._failures[place.label] = self._failures.get(place.label, 0) + 1

    @property
    def others(self) -> bool:
        """Whether the next call, if it is given up in time, leaves another place to call."""
        return self.made + 1 < self._settings.max_attempts and sum([len(lane.places) for lane in self._lanes]) > 1

    def open(self, place: Place, now: float, *, forced: bool = False) -> bool:
        """Whether a call may be made there now: ``forced``, also if its breaker is open."""
        return not self._asked_wait_s(place, now) if forced else self._pick([place], now) is not None

    def beside(self, place: Place, now: float) -> Place | None:
        """Where to send the same request a second time: another place of the model, else the same."""
        lane = next((lane for lane in self._lanes if place in lane.places), None)
        if lane is None or self.made >= self._settings.max_attempts:
            return None
        others = [p for p in lane.places if p is not place]
        return self._pick(others, now) or self._pick([place], now)

    def _within(self, lane: _Lane, now: float, left_s: float) -> Step | None:
        if lane.tries >= self._settings.attempts_per_model:
            return None
        fresh = [p for p in lane.places if p.label not in self._failures] if self._failures else lane.places
        if (place := self._pick(fresh, now)) is not None:
            return self._step(place, 0.0)
        if (place := self._pick(lane.places, now)) is None:
            return None
        wait = self._backoff_s(place)
        return self._step(place, wait) if wait < left_s else None

    def _new_round(self) -> None:
        self._at = 0
        for lane in self._lanes:
            lane.tries = 0

    def _forced(self, now: float, left_s: float) -> Step | None:
        """Every door is closed: wait for the first that opens soon, or try the least bad breaker.

        That is done once per model, and again where others were answered lately though most are not.
        """
        places = [(lane, place) for lane in self._lanes for place in lane.places]
        open_to = [(lane, p) for lane, p in places if not lane.forced or p.breaker.answers_some(now)]
        if not open_to:
            return None

        def closed_for(entry: tuple[_Lane, Place]) -> tuple[float, int, float, float]:
            place, breaker = entry[1], entry[1].breaker
            failures = self._failures.get(place.label, 0)
            return self._asked_wait_s(place, now), failures, breaker.opens_at(now), breaker.error_rate(now)

        lane, place = min(open_to, key=closed_for)
        wait = self._asked_wait_s(place, now)
        if wait > min(self._settings.max_backoff_s, left_s):
            self.free_in_s = wait
            return None
        if wait > 0.0:
            if place.breaker.cooling_in(now):
                # All who wait for the same moment would come at once, and most be told to wait again.
                wait += self._rng.uniform(0.0, min(self._backoff_s(place), (left_s - wait) / 2.0))
            return self._step(place, wait)
        lane.forced = True
        wait = self._backoff_s(place) if place.label in self._failures else 0.0
        return self._step(place, wait, forced=True) if wait < left_s else None

    def _asked_wait_s(self, place: Place, now: float) -> float:
        need = self._need
        return max(place.full_for(now, need.input_tokens, need.most_output), place.breaker.cooling_in(now))

    def _backoff_s(self, place: Place) -> float:
        return backoff_s(
            self._failures.get(place.label, 1),
            first_s=self._settings.backoff_s,
            longest_s=self._settings.max_backoff_s,
            rng=self._rng,
        )

    def _pick(self, places: Sequence[Place], now: float) -> Place | None:
        return pick(places, self._need, now, self._rng, home=self._settings.region)

    def _step(self, place: Place, wait: float, *, forced: bool = False) -> Step:
        kind: AttemptKind = "first"
        if self._previous is not None:
            kind = "retry" if self._previous == place.model.name else "fallback"
        return Step(place, wait, kind, forced)
