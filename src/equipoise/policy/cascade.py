"""Cheap models first; their answer is returned if it passes a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from equipoise.cascades.acceptance import Acceptance, Learned, Trust, plain_test
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.fixed import Climbed, Ladder, Stage, search_ladders, stages_to_try, thresholds
from equipoise.cascades.lesson import CrossFitted, Lesson
from equipoise.cascades.play import play
from equipoise.cascades.pool import Seen, View
from equipoise.cascades.scorer import Scorer
from equipoise.contracts import Choice, Situation
from equipoise.errors import ConfigError, NotEnoughData, UnknownName
from equipoise.numerics.risk import last_safe, loss_p_value
from equipoise.policy.cost_aware import CostAware
from equipoise.tables.answers import CHECKS, SIGNALS
from equipoise.types import Bools, State, Step

TESTS = ("scorer", "vote", "agreement", *SIGNALS, *CHECKS)


@dataclass(kw_only=True)
class Cascade(AnswerPolicy):
    """Asks cheap models first and returns their answer if it passes a test, else goes on to the next step.

    The score that an answer must reach is chosen on calibration prompts, such that the mean quality lost against
    always asking the last model is at most ``max_loss``, with the stated confidence (learn then test: a fixed
    sequence from the strictest threshold on). If no threshold keeps the promise, the last model is asked at once.

    Args:
        steps: models in order, each as NAME or NAME*ANSWERS; searched on the training prompts if not given.
        test: ``scorer`` (learned), ``vote``, ``agreement``, or a recorded signal such as ``logprob_mean``.
        samples: most answers that a step of a searched cascade asks for.
        max_steps: most steps of a searched cascade.
        max_loss: most mean quality that may be lost against always asking the last model.
        confidence: that the promise holds.
        cost_weight: for prompts that are routed to a single model, as before it has learned from answers.
    """

    name = "cascade"
    quick = True

    steps: tuple[str, ...] = ()
    test: str = "scorer"
    samples: Annotated[int, Ge(1), Le(20)] = 3
    max_steps: Annotated[int, Ge(1), Le(4)] = 3
    max_loss: Annotated[float, Gt(0), Lt(1)] = 0.02
    confidence: Annotated[float, Gt(0), Lt(1)] = 0.95

    _ladders: tuple[Ladder, ...] = field(default=(), init=False, repr=False, compare=False)
    _scorer: Scorer | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.test not in TESTS:
            raise UnknownName("acceptance test", self.test, TESTS)

    # ------------------------------------------------------------ learning

    def learn_answers(self, lesson: Lesson, names: Sequence[str], rng: np.random.Generator) -> Self:
        """Fit the scorer, if the test is one, and find the thresholds (and the steps) worth trying.

        Raises:
            NotEnoughData: too few prompts.
            UnknownName: a step names a model without answers.
            ConfigError: a step asks for more answers than were drawn, or the signal was not recorded.
        """
        self.refuse_few(lesson)
        self._refuse_unrecorded(lesson.view)
        tries = self._tries(lesson.view, names)
        trust = self._trained(lesson, tries, rng)
        if self.steps:
            only = tries[0]
            scores = [trust(Ladder(only).seen(k)).score for k in range(1, len(only))]
            at = thresholds(np.concatenate(scores)) if scores else [0.0]
            self._ladders = tuple(Ladder(only, (t,) * (len(only) - 1)) for t in (2.0, *at))
        else:
            self._ladders = tuple(search_ladders(lesson, tries, trust, checks=self.test in CHECKS))
        self.names, self.signals, self.point = tuple(names), lesson.view.pool.signals, 0
        return self

    def _tries(self, view: View, names: Sequence[str]) -> list[tuple[Stage, ...]]:
        if not self.steps:
            return stages_to_try(view, samples=self.samples, steps=self.max_steps)
        stages = []
        for step in self.steps:
            model, _, count = step.partition("*")
            if model not in names:
                raise UnknownName("model in the steps of policy 'cascade'", model, names)
            if count and not count.isdigit():
                raise ConfigError(f"policy 'cascade', step '{step}': write NAME or NAME*ANSWERS, such as {model}*3")
            stage = Stage(names.index(model), int(count or 1))
            drawn = int(view.pool.draws[stage.model])
            if not 1 <= stage.samples <= drawn:
                raise ConfigError(f"policy 'cascade', step '{step}': {drawn} answers of every prompt are there to ask")
            stages.append(stage)
        if len({stage.model for stage in stages}) < len(stages):
            raise ConfigError("policy 'cascade': a model stands twice in the steps; ask it once for more answers")
        return [tuple(stages)]

    def _refuse_unrecorded(self, view: View) -> None:
        kept = (*view.pool.signals, *view.pool.checks)
        if self.test in (*SIGNALS, *CHECKS) and self.test not in kept:
            columns = f"'{self.test}' and 'check_usd'" if self.test in CHECKS else f"'{self.test}'"
            raise ConfigError(
                f"policy 'cascade': the answers hold no '{self.test}'; record {columns}, or use another test "
                f"({', '.join(('scorer', 'vote', 'agreement', *kept))})"
            )

    def _trained(
        self, lesson: Lesson, tries: Sequence[tuple[Stage, ...]], rng: np.random.Generator
    ) -> Callable[[Seen], Trust]:
        """The test on the lesson's own prompts; a learned one by scorers that did not learn from them."""
        self._scorer = None
        if self.test != "scorer":
            test = self.acceptance()
            return lambda seen: test.trust(lesson.view, seen)
        states = sorted({Ladder(t).seen(k) for t in tries for k in range(1, len(t) + 1)})
        crossed = CrossFitted(lesson, states, rng)
        self._scorer = crossed.whole
        return lambda seen: Trust(*crossed.seen(seen)[:2])

    def calibrate_answers(self, lesson: Lesson) -> Self:
        """The cheapest operating point whose loss against the last model is within the promise."""
        cascade, last = self.bound(lesson.view), self._last()
        target = lesson.answers.quality[:, last, 0]
        played = [play(cascade, point, lesson.answers) for point in range(self.points)]
        lost = (target - p.quality for p in played)
        # What is lost on one prompt lies in [-1, 1]; the test wants [0, 1].
        p_values = (loss_p_value((loss + 1) / 2, (self.max_loss + 1) / 2, lesson.groups) for loss in lost)
        # The ladders stand from the dearest to the cheapest on the prompts that they were learned from.
        kept = range(last_safe(p_values, self.confidence))
        if kept:
            self.point = min(kept, key=lambda point: float(played[point].cost_usd.mean()))
        else:
            self._ladders, self.point = (Ladder((Stage(last),)),), 0
        return self

    def _last(self) -> int:
        """The model that answers are measured against: that of the last step of the best ladder."""
        return self._ladders[0].stages[-1].model

    # ------------------------------------------------------------ deciding

    @property
    def points(self) -> int:
        """How many operating points there are."""
        return len(self._ladders)

    def bound(self, view: View) -> Climbed:
        """The cascade on the given prompts."""
        return Climbed(self._ladders, self.acceptance(), view)

    def acceptance(self) -> Acceptance:
        """The acceptance test."""
        if self.test == "scorer":
            if self._scorer is None:
                raise NotEnoughData("policy 'cascade' has not learned from answers; train it on a table that has them")
            return Learned(self._scorer)
        return plain_test(self.test)

    def choose(self, situation: Situation) -> Choice:
        """The model of the first step that may be taken; a single model where none may."""
        single = CostAware(form="linear", cost_weight=self.cost_weight).choose(situation)
        probability = single.probability.copy()
        free = np.ones(len(probability), dtype=bool)
        for column, stage, _ in self._rungs(situation):
            take = free & _may_take(situation, column, stage)
            probability[take] = np.eye(probability.shape[1])[column]
            free &= ~take
        return Choice(probability, single.utility, single.confidence)

    def steps_from(self, situation: Situation, picked: int, row: int = 0) -> tuple[Step, ...]:
        """The steps that may be taken, if the picked model is that of the first; none for one plain call."""
        rungs = [rung for rung in self._rungs(situation) if _may_take(situation, rung[0], rung[1])[row]]
        if not rungs or rungs[0][0] != picked or (len(rungs) == 1 and rungs[0][1].samples == 1):
            return ()
        ends = [*(at for _, _, at in rungs[:-1]), None]
        return tuple(
            Step(model=self.names[stage.model], samples=stage.samples, test=self.test, accept_at=at)
            for (_, stage, _), at in zip(rungs, ends, strict=True)
        )

    def _rungs(self, situation: Situation) -> list[tuple[int, Stage, float | None]]:
        """Column of the model in the situation, stage and threshold of every step whose model is there."""
        if not self.learned:
            return []
        ladder, models = self._ladders[self.point], list(situation.models)
        ends = (*ladder.accept_at, None)
        named = [(self.names[stage.model], stage, at) for stage, at in zip(ladder.stages, ends, strict=True)]
        return [(models.index(name), stage, at) for name, stage, at in named if name in models]

    @property
    def asks(self) -> tuple[str, ...]:
        """The models of its steps."""
        return tuple(self.names[stage.model] for stage in self._ladders[self.point].stages) if self.learned else ()

    def settled(self) -> dict[str, Any]:
        """The steps that are asked, and the score from which the answer of each is returned."""
        if not self.learned:
            return {}
        ladder = self._ladders[self.point]
        ends = (*ladder.accept_at, None)
        steps = [
            {"model": self.names[stage.model], "samples": stage.samples, "accept_at": at}
            for stage, at in zip(ladder.stages, ends, strict=True)
        ]
        return {"steps": steps}

    # ------------------------------------------------------------ state

    def state(self) -> State:
        """Ladders, the chosen one, and the scorer."""
        ladders = [
            {"stages": [list(s) for s in each.stages], "accept_at": list(each.accept_at)} for each in self._ladders
        ]
        arrays = {} if self._scorer is None else self._scorer.arrays()
        return State(arrays, self.meta() | {"ladders": ladders})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self.remember(state.meta)
        self._ladders = tuple(
            Ladder(tuple(Stage(*s) for s in each["stages"]), tuple(each["accept_at"])) for each in state.meta["ladders"]
        )
        self._scorer = Scorer.from_arrays(state.arrays) if state.arrays else None
        return self


def _may_take(situation: Situation, column: int, stage: Stage) -> Bools:
    """In which rows the model of a step is allowed, and all the answers that it asks for within the limit on cost."""
    allowed = situation.allowed[:, column]
    if situation.max_cost_usd is None:
        return allowed
    may: Bools = allowed & ~(stage.samples * situation.cost_usd[:, column] > situation.max_cost_usd)
    return may
