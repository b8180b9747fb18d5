"""One fold of an evaluation: fit on the fit rows, choose on the calibration rows, look at the test rows once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from equipoise.cascades.lesson import expected_quality
from equipoise.cascades.play import Played
from equipoise.cascades.pool import Pool
from equipoise.contracts import Router, estimates_of
from equipoise.errors import MissingExtra, NotEnoughData
from equipoise.evaluation import metrics
from equipoise.evaluation.baselines import PREFIX, Guess, by_chance, by_label, length_label, topic_label
from equipoise.evaluation.climbing import Climb, Ground, climb
from equipoise.evaluation.splits import Split
from equipoise.numerics import hull as hulls
from equipoise.numerics.frontier import MOST_POINTS, Choices, Walk, choose, distinct, walk, weight_grid
from equipoise.policy.choice import best
from equipoise.registry import Spec
from equipoise.tables.answers import Answers
from equipoise.tables.table import at_measured_levels
from equipoise.types import Bools, Expected, FeatureBatch, Floats, Ints, Model, Outcomes

TIMED_DECISIONS = 200
BUDGET_SHARES = (0.25, 0.5)
# Points on either way from point 0, where the share of strong calls takes cost's place: both ways have an end.
_LEAST_WAY = 3
CONTROL = PREFIX + "shuffled"


class CostLearner(Protocol):
    """Learns what a call of every model costs on a prompt."""

    def fit(self, outcomes: Outcomes) -> Self:
        """Replace what was learned."""
        ...

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Expected:
        """Expected cost of every prompt under every model."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All that a fold needs: the whole table with its features, and what to evaluate.

    Attributes:
        expected: means of sampled answers to learn from, where there are such; judged is by the outcomes.
        datasets: number of every prompt's data set.
        calls: whether the cost of a call is one for the strong and zero for the weak of two models.
        cascades: policies that look at answers, by name.
        answers: the answers behind the outcomes, and how they read; there where there are cascades.
    """

    outcomes: Outcomes
    expected: Floats | None
    datasets: Ints
    models: tuple[Model, ...]
    routers: tuple[tuple[str, Spec], ...]
    priced: bool
    build: Callable[[Spec], Router]
    cost_model: Callable[[], CostLearner]
    regret_shares: tuple[float, ...] = (0.1, 1.0, 10.0)
    cascades: tuple[tuple[str, Spec], ...] = ()
    answers: tuple[Answers, Pool] | None = None

    @property
    def calls(self) -> bool:
        """Whether two models are compared without prices, so that the share of strong calls takes cost's place."""
        return not self.priced and len(self.models) == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Honesty:
    """How far the quality estimates on the test rows can be believed."""

    ece: float
    brier: float
    coverage: float
    bins: metrics.Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A promise made on calibration rows: mean cost at most ``budget_usd``."""

    share: float
    budget_usd: float
    promised_usd: float
    point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What a router or baseline did in one fold. ``t`` operating points by rising weight of cost.

    Attributes:
        choices: chosen column of every test row, shape (t, n).
        nested: the operating points on the hull of the calibration rows.
        area: what ``auto`` selects by: mean height of that hull; without prices the share of the gap that is recovered
            on the calibration rows over all shares of strong calls, or, of more than two models, the quality there.
        at_best: the cheapest point that matched the best single model on the calibration rows, if any did.
        regret_points: operating point for each regret weight.
        score: estimated gain of the strong over the weak model, where there are two.
        weights: of cost, by operating point; empty for cascades. Of strong calls, first from 0 to infinity (always the
            weak model), then from 0 to minus infinity (always the strong one).
        paid: of a cascade, whose ``choices`` are the models whose answers were returned.
    """

    choices: Choices
    nested: Ints
    area: float
    at_best: int | None
    budgets: tuple[Budget, ...]
    regret_points: tuple[int, ...]
    score: Floats | None = None
    honesty: Honesty | None = None
    fit_s: float = 0.0
    decide_s: float = 0.0
    selected: str | None = None
    weights: Floats = field(default_factory=lambda: np.empty(0))
    paid: Played | None = None

    def measured(self, quality: Floats, cost: Floats) -> tuple[Floats, Floats]:
        """Quality and cost of every test row at every operating point, (t, n), given those of the table's test rows."""
        if self.paid is not None:
            return self.paid.quality, self.paid.cost_usd
        rows, picked = np.arange(len(quality)), self.choices.astype(np.int64)
        return quality[rows, picked], cost[rows, picked]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """What one fold found; ``skipped`` names the routers that could not be fitted, with the reason.

    Of two models the best single one is the strong one.
    """

    split: Split
    best_single: int
    zero: Ints
    regret_weights: tuple[float, ...]
    methods: dict[str, Method]
    skipped: dict[str, str] = field(default_factory=dict)


def run_fold(study: Study, split: Split) -> FoldResult:
    """Fit, calibrate and apply every router, cascade and baseline of the study on one split."""
    fold = Fold(study, split)
    methods: dict[str, Method] = {}
    skipped: dict[str, str] = {}
    for name, spec in study.routers:
        try:
            methods[name] = fold.router(spec)
        except (NotEnoughData, MissingExtra) as error:
            skipped[name] = str(error)
    winner = max(methods, key=lambda name: methods[name].area) if methods else None
    if winner is not None and len(methods) > 1:
        methods["auto"] = replace(methods[winner], fit_s=sum(m.fit_s for m in methods.values()), selected=winner)
    if winner is not None and study.cascades:
        methods |= fold.cascades(dict(study.routers)[winner], skipped)
    methods |= fold.baselines()
    return FoldResult(
        split=split,
        best_single=fold.best,
        zero=fold.zero(),
        regret_weights=fold.regret_weights,
        methods=methods,
        skipped=skipped,
    )


class Fold:
    """What the methods of one fold share: training rows, cost estimates, the best single model."""

    def __init__(self, study: Study, split: Split) -> None:
        self.study, self.split = study, split
        self.rng = np.random.default_rng([len(split.fit), split.test[0], split.fit[0], 6])
        self.quality = study.outcomes.quality
        self.taught = self._taught()
        known = replace(study.outcomes, quality=self.taught)
        self.train = known.mapped(self.train_matrix).take(split.fit)
        self.rows = np.concatenate([split.calibrate, split.test])
        self.batch = study.outcomes.features.take(self.rows)
        means, usd = self.quality[split.train].mean(axis=0), study.outcomes.cost_usd
        usd = np.zeros_like(means) if usd is None else usd[split.train].mean(axis=0)
        self.best = int(best(means[None], usd[None])[0])
        self.cost = self._true_cost()
        self.cost_hat = self._estimated_cost()
        self.regret_weights = self._regret_weights(means)

    def _taught(self) -> Floats:
        """The qualities to learn from: on the fit rows, and by them alone, what sampled answers lead to expect."""
        taught = self.train_matrix(self.quality).copy()
        if self.study.expected is not None:
            fit = self.split.fit
            taught[fit] = at_measured_levels(self.study.expected[fit], taught[fit])
        return taught

    def _true_cost(self) -> Floats:
        if self.study.calls:
            calls = np.zeros(self.quality.shape)
            calls[:, self.best] = 1.0
            return calls
        cost: Floats | None = self.study.outcomes.cost_usd
        if cost is None or not self.study.priced:
            return np.zeros(self.quality.shape)
        return cost

    def _estimated_cost(self) -> Floats:
        if not self.study.priced:
            known: Floats = self.cost[self.rows]
            return known
        learned = self.study.cost_model().fit(self.train)
        cost: Floats = learned.predict_batch(self.batch, self.study.models).cost_usd
        return cost

    def _regret_weights(self, quality: Floats) -> tuple[float, ...]:
        """No weight, then the exchange rate between the cheapest and the best single model, scaled."""
        cost = self.cost[self.split.train].mean(axis=0)
        span = cost[self.best] - cost.min()
        if not self.study.priced or span <= 0:
            return (0.0,)
        rate = float((quality[self.best] - quality[int(np.argmin(cost))]) / span)
        return tuple(rate * share for share in self.study.regret_shares) if rate > 0 else (0.0,)

    def zero(self) -> Ints:
        """The single models on the hull of the training rows."""
        cost, quality = (v[self.split.train].mean(axis=0) for v in (self.cost, self.quality))
        upper = hulls.hull(cost, quality)
        kept = set(zip(upper.cost, upper.quality, strict=True))
        return np.array([j for j in range(len(cost)) if (cost[j], quality[j]) in kept], dtype=np.int64)

    # ------------------------------------------------------------ methods

    def router(self, spec: Spec) -> Method:
        """A router from its specification, fitted, timed and applied."""
        router, fit_s = self._fitted(spec, self.train)
        quality, std = self._estimates(router, self.batch)
        method = self._apply(Guess(quality, self.cost_hat), fit_s=fit_s)
        return replace(method, honesty=self._honesty(quality, std), decide_s=self._time(router))

    def cascades(self, router: Spec, skipped: dict[str, str]) -> dict[str, Method]:
        """The cascades, which know of a prompt what the given router expects of every model on it."""
        if self.study.answers is None:
            return {}
        expected = expected_quality(lambda: self.study.build(router), self.train, self.study.models)
        whole, _ = self._fitted(router, self.train)
        usual = self.study.cost_model().fit(self.train)
        cost = usual.predict_batch(self.train.features, self.study.models).cost_usd
        ground = Ground(
            answers=self.study.answers,
            names=[m.name for m in self.study.models],
            fit=(self.split.fit, expected, cost),
            rows=(self.rows, self._estimates(whole, self.batch)[0], self.cost_hat),
            groups=self.study.outcomes.groups,
        )
        found: dict[str, Method] = {}
        for name, spec in self.study.cascades:
            try:
                done = climb(ground, spec)
            except NotEnoughData as error:
                skipped[name] = str(error)
                continue
            found[name] = self._climbed(done)
        return found

    def _climbed(self, done: Climb) -> Method:
        k = len(self.split.calibrate)
        seen, tested = (done.played.prompts(part) for part in (slice(k), slice(k, None)))
        choices = tested.model.astype(np.min_scalar_type(tested.model.max(initial=0)))
        method = self.method(choices, seen.quality.mean(axis=1), seen.cost_usd.mean(axis=1))
        return replace(method, paid=tested, fit_s=done.fit_s, decide_s=done.decide_s)

    def baselines(self) -> dict[str, Method]:
        """The baselines that are reported like routers."""
        fit = self.split.fit
        quality, cost = self.taught, self.train_matrix(self.cost)
        words = self.study.outcomes.features.words
        lengths = length_label(words, fit)
        made = {
            "dataset_label": by_label(self.study.datasets, fit, quality, cost),
            "prompt_length": by_label(lengths, fit, quality, cost),
            "topic": by_label(topic_label(self.study.outcomes.features), fit, quality, cost),
        }
        named = {PREFIX + k: self._apply(Guess(g.quality[self.rows], g.cost[self.rows])) for k, g in made.items()}
        named[PREFIX + "random"] = self._apply(by_chance(self.cost_hat, self.rng))
        if self.study.routers:
            shuffled = self._shuffled()
            if shuffled is not None:
                named[CONTROL] = shuffled
        return named

    def train_matrix(self, values: Floats) -> Floats:
        """The values with the held-out model's unseen fit rows blanked."""
        hidden, shown = self.split.hidden, self.split.shown
        if hidden is None or shown is None:
            return values
        blanked = values.copy()
        blanked[np.setdiff1d(self.split.fit, shown), hidden] = np.nan
        return blanked

    def _shuffled(self) -> Method | None:
        """The first router fitted on qualities dealt to the wrong prompts: it can know no more than their means."""
        order = self.rng.permutation(len(self.train))
        dealt = replace(
            self.train,
            quality=self.train.quality[order],
            cost_usd=None if self.train.cost_usd is None else self.train.cost_usd[order],
        )
        try:
            router, fit_s = self._fitted(self.study.routers[0][1], dealt)
        except (NotEnoughData, MissingExtra):
            return None
        return self._apply(Guess(self._estimates(router, self.batch)[0], self.cost_hat), fit_s=fit_s)

    def _fitted(self, spec: Spec, outcomes: Outcomes) -> tuple[Router, float]:
        start = time.perf_counter()
        router = self.study.build(spec).fit(outcomes)
        return router, time.perf_counter() - start

    def _estimates(self, router: Router, batch: FeatureBatch) -> tuple[Floats, Floats]:
        mean, std = estimates_of(router, batch, self.study.models)
        silent: Bools = np.all(np.isnan(mean), axis=1)
        # Where a router says nothing at all, the best single model is what is left.
        mean = np.where(silent[:, None] & (np.arange(mean.shape[1]) == self.best), 0.5, mean)
        return np.asarray(mean, dtype=float), std

    def _time(self, router: Router) -> float:
        """Median seconds of one decision, given its features: estimate, trade off, choose."""
        first = len(self.split.calibrate)
        taken = []
        for i in range(first, min(first + TIMED_DECISIONS, len(self.rows))):
            one, cost = self.batch.take(np.array([i])), self.cost_hat[i]
            start = time.perf_counter()
            estimates = router.predict_batch(one, self.study.models)
            np.argmax(estimates.mean[0] - cost)
            taken.append(time.perf_counter() - start)
        return float(np.median(taken))

    def _honesty(self, estimated: Floats, std: Floats) -> Honesty:
        test = slice(len(self.split.calibrate), None)
        e, s, observed = estimated[test], np.asarray(std, dtype=float)[test], self.quality[self.split.test]
        return Honesty(
            ece=metrics.ece(e, observed),
            brier=metrics.brier(e, observed),
            coverage=metrics.interval_coverage(e, s, observed, self.study.datasets[self.split.test]),
            bins=metrics.reliability(e, observed),
        )

    # ------------------------------------------------------------ from estimates to choices

    def _apply(self, guess: Guess, *, fit_s: float = 0.0) -> Method:
        k = len(self.split.calibrate)
        every, weights = self._points(guess)
        kept = distinct(every)
        rising = weights[kept][weights[kept] >= 0]
        cal_quality, cal_cost = self._calibration(every[kept][:, :k])
        score = strong_over_weak(guess.quality, self.best) if len(self.study.models) == 2 else None
        method = self.method(every[kept][:, k:], cal_quality, cal_cost)
        return replace(
            method,
            area=self._recovered(score[:k]) if self.study.calls and score is not None else method.area,
            regret_points=tuple(int(np.searchsorted(rising, w, "right")) - 1 for w in self.regret_weights),
            score=None if score is None else score[k:],
            fit_s=fit_s,
            weights=weights[kept],
        )

    def _points(self, guess: Guess) -> tuple[Choices, Floats]:
        """Choices at every operating point, calibration rows first, and the weights of cost."""
        walked = walk(guess.quality, guess.cost)
        if not self.study.priced and not self.study.calls:
            return choose(walked, np.zeros(1)), np.zeros(1)
        seen = self._seen(walked)
        if not self.study.calls:
            weights = weight_grid(seen, also=self.regret_weights)
            return choose(walked, weights), weights
        # From point 0 on, a weight of the strong model's calls leads to the weak model alone; a weight of the weak
        # one's, that is, one below zero, to the strong model alone. Both ways share the points by how much turns there.
        turned = walk(guess.quality, 1.0 - guess.cost)
        ways = seen, self._seen(turned)
        turns = [int(np.isfinite(way.until).sum()) for way in ways]
        first = round(MOST_POINTS * turns[0] / max(sum(turns), 1))
        first = min(max(first, _LEAST_WAY), MOST_POINTS - _LEAST_WAY)
        weights = weight_grid(ways[0], also=self.regret_weights, points=first)
        back = weight_grid(ways[1], points=MOST_POINTS + 1 - first)[1:]
        here, beyond = choose(walked, weights), choose(turned, back)
        new = np.any(beyond != here[0], axis=1)
        return np.vstack([here, beyond[new]]), np.concatenate([weights, -back[new]])

    def _seen(self, walked: Walk) -> Walk:
        """The walk of the calibration rows."""
        k = len(self.split.calibrate)
        return Walk(walked.model[:k], walked.until[:k])

    def method(self, choices: Choices, quality: Floats, cost: Floats) -> Method:
        """A method from its choices on the test rows, and what its points came to on the calibration rows."""
        nested, area = self._nested(cost, quality)
        return Method(
            choices=choices,
            nested=nested,
            area=area,
            at_best=self._at_best(cost, quality),
            budgets=self._budgets(cost, quality),
            regret_points=tuple(int(np.argmax(quality - w * cost)) for w in self.regret_weights),
        )

    def _recovered(self, score: Floats) -> float:
        """APGR on the calibration rows: quality at one operating point would say nothing of the others."""
        gain = strong_over_weak(self.quality[self.split.calibrate], self.best)
        found = float(metrics.apgr(score, gain)[0])
        return found if np.isfinite(found) else 0.5

    def _calibration(self, choices: Choices) -> tuple[Floats, Floats]:
        rows = self.split.calibrate
        picked = choices.astype(np.int64)
        return self.quality[rows, picked].mean(axis=1), self.cost[rows, picked].mean(axis=1)

    def _nested(self, cost: Floats, quality: Floats) -> tuple[Ints, float]:
        if not self.study.priced:
            return np.arange(len(cost)), float(quality[0])
        upper = hulls.hull(cost, quality)
        kept = set(zip(upper.cost, upper.quality, strict=True))
        points = np.array([i for i in range(len(cost)) if (cost[i], quality[i]) in kept], dtype=np.int64)
        singles = self.cost[self.split.calibrate].mean(axis=0)
        cheap = int(np.argmin(singles))
        cheap_quality = float(self.quality[self.split.calibrate, cheap].mean())
        with_cheap = (np.append(cost, singles[cheap]), np.append(quality, cheap_quality))
        area = float(hulls.aiq(*with_cheap, float(singles.min()), float(singles.max())))
        return points, area if np.isfinite(area) else float(quality[0])

    def _at_best(self, cost: Floats, quality: Floats) -> int | None:
        goal = self.quality[self.split.calibrate, self.best].mean()
        reached = np.flatnonzero(quality >= goal)
        return int(reached[np.argmin(cost[reached])]) if len(reached) and self.study.priced else None

    def _budgets(self, cost: Floats, quality: Floats) -> tuple[Budget, ...]:
        if not self.study.priced:
            return ()
        best_cost = float(self.cost[self.split.calibrate, self.best].mean())
        found = []
        for share in BUDGET_SHARES:
            within = np.flatnonzero(cost <= share * best_cost)
            if len(within):
                point = int(within[np.argmax(quality[within])])
                found.append(
                    Budget(
                        share=share,
                        budget_usd=share * best_cost,
                        promised_usd=float(cost[point]),
                        point=point,
                    )
                )
        return tuple(found)


def strong_over_weak(quality: Floats, strong: int) -> Floats:
    """How much better the strong one of two models is on every prompt, shape (n,)."""
    gain: Floats = quality[:, strong] - quality[:, 1 - strong]
    return gain
