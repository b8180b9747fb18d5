"""Whether to ask again: the value of every further answer against that of stopping, learned backwards.

Cascade routing (arXiv 2410.10347) values a set of models by the best answer that it would bring, as if all of
them were going to be run. Here the value of one more answer includes that one may stop after it, or go on: it is
learned from the last call back to the first, on answers that were drawn for every model (fitted Q iteration; in
finance the method of Longstaff and Schwartz). Single-model routing and fixed cascades are among the policies that it
can find; a cascade that stops after its first answer is a router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from equipoise.cascades.lesson import CrossFitted, Lesson
from equipoise.cascades.pool import Seen, View, after, asked
from equipoise.cascades.scorer import Scorer, Standing, log_odds
from equipoise.numerics.logistic import Logistic, fit_logistic
from equipoise.types import Floats

# States that are looked at per number of answers seen.
_STATES = 30
_PENALTY = 1e-2
_STOP_PENALTY = 30.0


class Reach(NamedTuple):
    """How far a cascade may go: calls in all, and calls of one model."""

    calls: int
    samples: int

    def open(self, view: View, seen: Seen) -> list[int]:
        """The models that may be asked next."""
        if len(seen) >= self.calls:
            return []
        most = np.minimum(view.pool.draws, self.samples)
        return [j for j in range(len(most)) if asked(seen, j) < most[j]]


class Continuation(NamedTuple):
    """What was learned: a scorer, the value of stopping, and that of going on for every weight of cost.

    Attributes:
        gain: (calls, f + 1, w), coefficients by number of answers seen.
        weights: (w,), quality that one USD must buy.
        margin: quality by which another move must seem better than the plain one, which is the router's choice before
            the first answer and to stop after it. Of many estimates the highest is too high; the margin is for that.
    """

    scorer: Scorer
    stop: Logistic
    gain: Floats
    weights: Floats
    reach: Reach
    margin: float = 0.0

    def arrays(self) -> dict[str, Floats]:
        """What was learned, as arrays by name."""
        own = {"gain": self.gain, "weights": self.weights, "reach": np.array((*self.reach, self.margin), dtype=float)}
        return self.scorer.arrays() | self.stop.arrays("stop") | own

    @staticmethod
    def from_arrays(arrays: Mapping[str, Floats]) -> Continuation:
        """The inverse of ``arrays``."""
        return Continuation(
            scorer=Scorer.from_arrays(arrays),
            stop=Logistic.from_arrays(arrays, "stop"),
            gain=arrays["gain"],
            weights=arrays["weights"],
            reach=Reach(*(int(v) for v in arrays["reach"][:2])),
            margin=float(arrays["reach"][2]),
        )

    def stopping(self, view: View, seen: Seen, now: Standing) -> Floats:
        """Expected quality of the best answer at hand, (n,): corrected for being the best-looking of several."""
        return self.stop.chance(_at_hand(view, seen, now))

    def going_on(self, view: View, seen: Seen, now: Standing | None, model: int) -> Floats:
        """Expected utility after one more answer, before its cost, (n, w)."""
        base = view.prior[:, model] if now is None else self.stopping(view, seen, now)
        out: Floats = base[:, None] + _with_one(_outlook(view, seen, now, model)) @ self.gain[len(seen)]
        return out


def fit_continuation(lesson: Lesson, weights: Floats, reach: Reach, rng: np.random.Generator) -> Continuation:
    """Learn when to ask again, at every weight of cost at once.

    What one prompt teaches the scorer is never used to judge what the scorer picked for it: values are learned on
    scores from other prompts.
    """
    layers = _sample_states(lesson.view, reach, rng)
    reach = reach._replace(calls=len(layers) - 1)
    crossed = CrossFitted(lesson, [seen for layer in layers[2:] for seen in layer], rng)
    stop = _fit_stop(lesson, crossed, [seen for layer in layers[1:] for seen in layer])
    gain: list[Floats] = []
    for layer in reversed(layers[:-1]):
        solve = _Normal()
        values: dict[Seen, Floats] = {}
        for seen in layer:
            for model in reach.open(lesson.view, seen):
                then = after(seen, model)
                if then not in values:
                    values[then] = _value(lesson.view, crossed, (stop, gain, weights, reach), then)
                now = crossed.standing(seen)
                base = lesson.view.prior[:, model] if now is None else stop.chance(_at_hand(lesson.view, seen, now))
                solve.add(_outlook(lesson.view, seen, now, model), values[then] - base[:, None])
        gain.insert(0, solve.coefficients())
    return Continuation(crossed.whole, stop, np.stack(gain), weights, reach)


def _value(
    view: View, crossed: CrossFitted, learned: tuple[Logistic, list[Floats], Floats, Reach], seen: Seen
) -> Floats:
    """The better of stopping and going on, (n, w), with what is learned so far of later calls."""
    stop, gain, weights, reach = learned
    now = crossed.seen(seen)
    value = np.repeat(stop.chance(_at_hand(view, seen, now))[:, None], len(weights), axis=1)
    if gain:
        base = value[:, :1].copy()
        for model in reach.open(view, seen):
            further = base + _with_one(_outlook(view, seen, now, model)) @ gain[0]
            value = np.maximum(value, further - view.next_usd(seen, model)[:, None] * weights)
    return value


def _fit_stop(lesson: Lesson, crossed: CrossFitted, states: Sequence[Seen]) -> Logistic:
    found, outcome = [], []
    for seen in states:
        now = crossed.seen(seen)
        found.append(_at_hand(lesson.view, seen, now))
        outcome.append(lesson.returned(seen, now.best))
    x, y = np.concatenate(found), np.concatenate(outcome)
    return fit_logistic(x, y, _STOP_PENALTY, np.full(len(y), 4.0 * len(lesson) / len(y)))


# ---------------------------------------------------------------- states


def _sample_states(view: View, reach: Reach, rng: np.random.Generator) -> list[list[Seen]]:
    """States by number of answers seen, from none to as many as may be asked for."""
    layers: list[list[Seen]] = [[()]]
    for _ in range(reach.calls):
        grown: set[Seen] = set()
        for _ in range(_STATES * 20):
            base = layers[-1][rng.integers(len(layers[-1]))]
            models = reach.open(view, base)
            if models:
                grown.add(after(base, models[rng.integers(len(models))]))
            if len(grown) >= _STATES:
                break
        if not grown:
            break
        layers.append(sorted(grown))
    return layers


# ---------------------------------------------------------------- what values are learned from


def _at_hand(view: View, seen: Seen, now: Standing) -> Floats:
    """The best answer seen, in numbers, (n, f)."""
    odds, n = log_odds(view.prior), len(view.prior)
    had = np.minimum([asked(seen, j) for j in range(view.prior.shape[1])], 1)
    fixed = np.array([len(seen) == 1, len(seen), *had], dtype=float)
    found = [log_odds(now.chance), now.rival, now.support, odds.max(axis=1), odds.mean(axis=1)]
    return np.column_stack([*found, np.broadcast_to(fixed, (n, len(fixed)))])


def _outlook(view: View, seen: Seen, now: Standing | None, model: int) -> Floats:
    """A prompt's situation and the model that may be asked next, in numbers, (n, f)."""
    prior, odds = view.prior, log_odds(view.prior)
    n, m = prior.shape
    nothing = np.zeros(n)
    chance, rival, support, own = (
        (nothing, nothing, nothing, nothing) if now is None else (now.chance, now.rival, now.support, now.own[:, model])
    )
    stands = nothing if now is None else log_odds(chance)
    p, doubt, best = prior[:, model], chance * (1 - chance), prior.max(axis=1)
    again = float(asked(seen, model) > 0)
    this = np.eye(m)[model]
    had = np.minimum([asked(seen, j) for j in range(m)], 1)
    fixed = np.array([again, asked(seen, model), *this, *had], dtype=float)
    return np.column_stack(
        [
            np.column_stack([stands, chance, doubt, rival, rival * chance, support]),
            np.column_stack(
                [p, odds[:, model], p * (1 - chance), np.maximum(p, chance), (1 - chance) * (1 - p), p * rival]
            ),
            np.column_stack([own, chance * again, doubt * again]),
            np.column_stack([odds.max(axis=1), odds.mean(axis=1), best, best * (1 - chance)]),
            chance[:, None] * this,
            p[:, None] * this,
            np.broadcast_to(fixed, (n, len(fixed))),
        ]
    )


def _with_one(found: Floats) -> Floats:
    return np.column_stack([found, np.ones(len(found))])


class _Normal:
    """Least squares with many right-hand sides, rows added part by part."""

    def __init__(self) -> None:
        self._square: Floats | None = None
        self._cross: Floats | None = None
        self._rows = 0

    def add(self, found: Floats, values: Floats) -> None:
        x = _with_one(found)
        square, cross = x.T @ x, x.T @ values
        self._square = square if self._square is None else self._square + square
        self._cross = cross if self._cross is None else self._cross + cross
        self._rows += len(x)

    def coefficients(self) -> Floats:
        """(f + 1, sides); columns are penalised on their own scale, the constant hardly."""
        assert self._square is not None and self._cross is not None
        scale = np.sqrt(np.maximum(np.diag(self._square) / self._rows, 1e-12))
        ridge = np.full(len(scale), _PENALTY * self._rows)
        ridge[-1] = 1e-9 * self._rows
        solved = np.linalg.solve(self._square / np.outer(scale, scale) + np.diag(ridge), self._cross / scale[:, None])
        out: Floats = solved / scale[:, None]
        return out
