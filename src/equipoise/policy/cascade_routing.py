"""After every answer: stop, or ask whichever model is worth most now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge, Gt, Le

from equipoise.cascades.continuation import Continuation, Reach
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import Routed, play
from equipoise.cascades.pool import View, nothing_drawn
from equipoise.cascades.tuning import tuned
from equipoise.contracts import Choice, Situation
from equipoise.errors import ConfigError, NotEnoughData
from equipoise.numerics.frontier import walk
from equipoise.policy.choice import certain
from equipoise.policy.cost_aware import CostAware
from equipoise.types import Floats, State, Step

_WEIGHTS = 24


@dataclass(kw_only=True)
class CascadeRouting(AnswerPolicy):
    """Begins with the model of the highest value, and after every answer stops or asks whichever model is worth most.

    The value of a further answer is the expected quality after it, stopping or going on from there as is best, minus
    ``cost_weight`` times the costs on the way: learned from graded answers of all models, see ``docs/cascades.md``.
    With ``max_calls`` 1 it is a router; it never pays for an answer that it does not expect to be worth it.

    Args:
        max_calls: most answers that one request may pay for.
        samples: most answers of one model.
        mean_cost_usd: a promised mean cost instead of ``cost_weight``: the weight is chosen on calibration prompts.
        cost_weight: quality that one USD must buy.
    """

    name = "cascade_routing"
    quick = True
    adaptive: ClassVar[bool] = True

    max_calls: Annotated[int, Ge(1), Le(12)] = 5
    samples: Annotated[int, Ge(1), Le(12)] = 3
    mean_cost_usd: Annotated[float, Gt(0)] | None = None

    _learned: Continuation | None = field(default=None, init=False, repr=False, compare=False)

    # ------------------------------------------------------------ learning

    def learn_answers(self, lesson: Lesson, names: Sequence[str], rng: np.random.Generator) -> Self:
        """Learn the scorer and the value of asking again, for a range of weights and for ``cost_weight``.

        Raises:
            NotEnoughData: too few prompts.
        """
        self.refuse_few(lesson)
        weights = weights_to_try(lesson.view, self.cost_weight)
        self._learned = tuned(lesson, weights, Reach(self.max_calls, self.samples), rng)
        self.names, self.signals = tuple(names), lesson.view.pool.signals
        self.point = int(np.argmin(np.abs(weights - self.cost_weight)))
        return self

    def calibrate_answers(self, lesson: Lesson) -> Self:
        """With ``mean_cost_usd``, the operating point of highest quality within it on these prompts.

        Raises:
            ConfigError: the cheapest operating point costs more.
        """
        if self.mean_cost_usd is None:
            return self
        cascade = self.bound(lesson.view)
        played = [play(cascade, point, lesson.answers) for point in range(self.points)]
        costs = [float(p.cost_usd.mean()) for p in played]
        within = [point for point, cost in enumerate(costs) if cost <= self.mean_cost_usd]
        if not within:
            raise ConfigError(
                f"policy 'cascade_routing': mean_cost_usd {self.mean_cost_usd:g} is below {min(costs):.3g}, what its "
                "cheapest operating point costs; raise it"
            )
        self.point = max(within, key=lambda point: float(played[point].quality.mean()))
        return self

    # ------------------------------------------------------------ deciding

    @property
    def points(self) -> int:
        """How many operating points there are."""
        return 0 if self._learned is None else len(self._learned.weights)

    def bound(self, view: View) -> Routed:
        """The cascade on the given prompts."""
        if self._learned is None:
            raise NotEnoughData(
                "policy 'cascade_routing' has not learned from answers; train it on a table that has them"
            )
        return Routed(self._learned, view)

    def choose(self, situation: Situation) -> Choice:
        """The model to begin with; by quality and cost alone before it has learned from answers."""
        if self._learned is None or not set(self.names) <= set(situation.models):
            return CostAware(form="linear", cost_weight=self.cost_weight).choose(situation)
        columns = [situation.models.index(name) for name in self.names]
        prior, rows = situation.quality[:, columns], np.arange(len(situation.quality))
        pool = nothing_drawn(len(rows), np.full(len(columns), self.samples), self.signals)
        bound = self.bound(View(pool, np.nan_to_num(prior, nan=0.5), situation.cost_usd[:, columns]))
        worth = bound.worth((), rows, self.point, situation.allowed[:, columns])[:, 1:]
        utility = np.full(situation.quality.shape, np.nan)
        utility[:, columns] = np.where(np.isnan(prior), np.nan, worth)
        utility = np.where(situation.allowed, utility, np.nan)
        unknown = np.isnan(utility).all(axis=1)
        utility[unknown] = np.where(situation.allowed, situation.quality, np.nan)[unknown]
        return Choice(certain(utility, situation.cost_usd), utility, np.clip(np.nanmax(utility, axis=1), 0.0, 1.0))

    def steps_from(self, situation: Situation, picked: int, row: int = 0) -> tuple[Step, ...]:
        """The first step; what follows depends on its answer."""
        del row
        name = situation.models[picked] if len(situation.models) else ""
        if self._learned is None or name not in self.names or self.max_calls == 1:
            return ()
        return (Step(model=name, test="value"),)

    def settled(self) -> dict[str, Any]:
        """The weight of the operating point, how far it looks ahead and how clear an advantage must be."""
        if self._learned is None:
            return {}
        weights, reach, margin = self._learned.weights, self._learned.reach, self._learned.margin
        weight = float(weights[self.point])
        return {"cost_weight": weight, "max_calls": reach.calls, "samples": reach.samples, "margin": margin}

    # ------------------------------------------------------------ state

    def state(self) -> State:
        """Scorer, values and the chosen operating point."""
        arrays = {} if self._learned is None else self._learned.arrays()
        return State(arrays, self.meta())

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self.remember(state.meta)
        self._learned = Continuation.from_arrays(state.arrays) if state.arrays else None
        return self


def weights_to_try(view: View, wanted: float) -> Floats:
    """0, the wanted weight, and a range around the weights at which a router's choices change."""
    turns = walk(view.prior, view.cost_usd).until
    turns = turns[np.isfinite(turns) & (turns > 0)]
    if not len(turns):
        return np.unique([0.0, wanted])
    low, high = np.quantile(turns, [0.05, 0.9])
    # Below the weights at which a router turns, cascades still buy second opinions.
    return np.unique([0.0, wanted, *np.geomspace(low / 20, high, _WEIGHTS)])
