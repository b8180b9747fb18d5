"""From scores per fold to one row per router."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from equipoise.evaluation import metrics
from equipoise.evaluation.bootstrap import (
    Difference,
    difference,
    holm,
    over_datasets,
    percentile_interval,
)
from equipoise.evaluation.fold import CONTROL, FoldResult, Method, Study, strong_over_weak
from equipoise.evaluation.objectives import Objectives, objectives
from equipoise.evaluation.results import AtBest, BudgetKept, DatasetRow, RouterRow
from equipoise.evaluation.scoring import SHARES, FoldScore, Score, headline
from equipoise.evaluation.verdict import Evidence, too_few, verdict
from equipoise.types import Floats, Ints

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """All folds with their scores, ready to be summarised."""

    study: Study
    folds: Sequence[FoldResult]
    scores: Sequence[FoldScore]
    names: tuple[str, ...]
    dataset_names: tuple[str, ...]
    bills: Mapping[str, float]
    by_dataset: bool

    @property
    def no_verdict(self) -> str | None:
        """Why there can be none; None where there can."""
        groups = self.study.outcomes.groups
        tested = groups[np.concatenate([f.split.test for f in self.folds])]
        return too_few(len(np.unique(groups)), len(np.unique(tested)))

    @property
    def test_share(self) -> float:
        """Test size over training size, mean over folds."""
        return float(np.mean([len(f.split.test) / len(f.split.train) for f in self.folds]))

    def best_name(self) -> str:
        """The best single model; where folds differ, all that are it in some, that of most folds first."""
        return " or ".join(_by_frequency(self.study, [f.best_single for f in self.folds]))


def _by_frequency(study: Study, columns: Sequence[int]) -> list[str]:
    return [study.models[j].name for j, _ in Counter(columns).most_common()]


def router_rows(evaluated: Evaluated) -> tuple[RouterRow, ...]:
    """One row per router, then per baseline, with Holm's correction over the routers."""
    rows = [_Row(evaluated, name).row() for name in evaluated.names]
    own = [i for i, row in enumerate(rows) if not row.is_baseline and row.name != "auto"]
    corrected = dict(zip(own, holm([rows[i].p_value for i in own]), strict=True))
    rows = [replace(row, p_holm=corrected.get(i, NAN)) for i, row in enumerate(rows)]
    return tuple(replace(row, verdict=_verdict(evaluated, row)) for row in rows)


def baseline_rows(evaluated: Evaluated) -> dict[str, Any]:
    """Best single, cheapest, oracle, random and the zero router; then every single model."""
    folds, scores, study = evaluated.folds, evaluated.scores, evaluated.study
    costs = np.array([[p.cost_usd for p in s.singles] for s in scores])
    qualities = np.array([[p.quality for p in s.singles] for s in scores])
    best = np.array([f.best_single for f in folds])
    each = np.arange(len(folds))
    cheap = np.argmin(costs, axis=1)

    def priced(value: Any) -> float | None:
        return float(np.mean(value)) if study.priced else None

    def single(columns: Ints) -> dict[str, Any]:
        found = _by_frequency(study, columns.tolist())
        return {
            "model": found[0],
            "models": found,
            "quality": float(qualities[each, columns].mean()),
            "cost_usd": priced(costs[each, columns]),
        }

    return {
        "best_single": single(best),
        "cheapest": single(cheap) if study.priced else None,
        "oracle": {
            "quality": float(np.mean([s.oracle.quality for s in scores])),
            "cost_usd": priced([s.oracle.cost_usd for s in scores]),
            "aiq": priced([s.oracle_aiq for s in scores]),
        },
        "random": {"quality": float(qualities.mean()), "cost_usd": priced(costs)},
        "zero_router": _zero(evaluated) if study.priced else None,
        "single_models": [
            {"model": n, "quality": float(q), "cost_usd": priced(c)}
            for n, q, c in zip((m.name for m in study.models), qualities.mean(axis=0), costs.T, strict=True)
        ],
    }


def _zero(evaluated: Evaluated) -> dict[str, Any]:
    aiq = np.stack([s.zero_aiq for s in evaluated.scores]).mean(axis=0)
    used = Counter(int(j) for f in evaluated.folds for j in f.zero)
    return {
        "aiq": float(aiq[0]),
        "aiq_ci": percentile_interval(aiq[1:]),
        "models": [evaluated.study.models[j].name for j in sorted(used)],
        "frontier": _band([s.zero_band for s in evaluated.scores]),
    }


def _band(bands: Sequence[Floats]) -> dict[str, Floats]:
    """Mean height over folds at ``SHARES``, with a bootstrap band; unknown where any fold's curve has not begun."""
    mean = np.mean(np.stack(bands), axis=0)
    begun = np.isfinite(mean).all(axis=0)
    low, high = np.full(len(SHARES), NAN), np.full(len(SHARES), NAN)
    if begun.any() and len(mean) > 1:
        low[begun], high[begun] = np.quantile(mean[1:, begun], [0.025, 0.975], axis=0)
    return {"quality": mean[0], "low": low, "high": high}


def _verdict(evaluated: Evaluated, row: RouterRow) -> str:
    return evaluated.no_verdict or verdict(
        Evidence(
            best_single=evaluated.best_name(),
            traded=bool(np.isfinite(row.delta_aiq)),
            gain=row.quality_gain,
            gain_ci=row.quality_gain_ci,
            delta_aiq_ci=row.delta_aiq_ci,
            p_holm=row.p_holm,
            over_control=row.delta_over_control_ci,
            at_best=row.at_best_quality,
        )
    )


class _Row:
    """The summary of one method."""

    def __init__(self, evaluated: Evaluated, name: str) -> None:
        self.e, self.name = evaluated, name
        self.study = evaluated.study
        self.methods: list[Method] = [f.methods[name] for f in evaluated.folds]
        self.scores: list[Score] = [s.methods[name] for s in evaluated.scores]
        self.pairs = list(zip(evaluated.folds, self.methods, self.scores, evaluated.scores, strict=True))

    def row(self) -> RouterRow:
        delta = self.delta()
        gain = self.judge([s.gain for s in self.scores])
        primary = delta if self.traded else gain
        first = self.methods[0]
        apgr = self.apgr()
        control = self.over_control()
        return RouterRow(
            name=self.name,
            spec=dict((*self.study.routers, *self.study.cascades)).get(self.name),
            quality=self.mean(float(s.qualities[0]) for s in self.scores),
            quality_gain=gain.mean,
            quality_gain_ci=gain.interval,
            aiq=self.mean(float(s.aiq[0]) for s in self.scores),
            delta_aiq=delta.mean,
            delta_aiq_ci=delta.interval,
            aiq_nested=self.mean(float(s.nested_aiq[0]) for s in self.scores),
            apgr=apgr.mean if apgr else None,
            apgr_ci=apgr.interval if apgr else None,
            cpt50=self.cpt(0.5),
            cpt80=self.cpt(0.8),
            regret=self.regret(),
            decide_us_p50=float(np.median([m.decide_s for m in self.methods])) * 1e6 if first.decide_s else None,
            fit_s=self.mean(m.fit_s for m in self.methods) if first.fit_s else None,
            at_best_quality=self.at_best(),
            budgets=self.budgets(),
            p_value=primary.p,
            p_holm=NAN,
            over_datasets=self.over_datasets(),
            delta_over_control=control.mean if control else None,
            delta_over_control_ci=control.interval if control else None,
            datasets=self.datasets(),
            decision_cost_usd=self.e.bills.get(self.name, 0.0),
            selected=dict(Counter(m.selected for m in self.methods if m.selected)) or None,
            frontier=_band([s.band for s in self.scores]) if self.study.priced else {},
            operating_points=self.mean(len(m.choices) for m in self.methods),
            verdict="",
            objectives=self.objectives(),
            **self.curve_measures(),
            **self.honesty(),
            **self.shares(),
        )

    @property
    def traded(self) -> bool:
        """Whether quality is traded for cost: costs are known, and in no fold the same for all models."""
        return all(np.isfinite(s.zero_aiq[0]) for s in self.e.scores)

    @staticmethod
    def mean(values: Any) -> float:
        return float(np.mean(list(values)))

    def judge(self, by_seed: Sequence[Floats]) -> Difference:
        return difference(np.stack(by_seed), self.e.test_share)

    def delta(self) -> Difference:
        """AIQ over the zero router's. The interval also holds that of the frontier chosen on calibration rows.

        A hull over test points takes the best of many noisy points and flatters the curve a little; the
        nested frontier is free of that, so an advantage counts only if it shows in both.
        """
        zero = [s.zero_aiq for s in self.e.scores]
        every = self.judge([s.aiq - z for s, z in zip(self.scores, zero, strict=True)])
        nested = self.judge([s.nested_aiq - z for s, z in zip(self.scores, zero, strict=True)])
        return every._replace(interval=every.interval.join(nested.interval), p=float(np.fmax(every.p, nested.p)))

    def over_control(self) -> Difference | None:
        """Against the control: in frontier area, or in quality where nothing is traded."""
        if self.name == CONTROL or CONTROL not in self.e.names:
            return None
        control = [s.methods[CONTROL] for s in self.e.scores]
        pairs = list(zip(self.scores, control, strict=True))
        return self.judge([s.aiq - c.aiq if self.traded else s.gain - c.gain for s, c in pairs])

    def curve_measures(self) -> dict[str, Any]:
        bests = [s.singles[f.best_single] for f, s in zip(self.e.folds, self.e.scores, strict=True)]
        gain = self.mean(metrics.perf_gain(s.qualities, b.quality) for s, b in zip(self.scores, bests, strict=True))
        if not self.study.priced:
            return {"perf_gain": gain, "qnc": NAN, "cost_share_at_best_quality": NAN, "cost_share_at_95": NAN}
        curves = [(s.costs, s.qualities, (b.cost_usd, b.quality)) for s, b in zip(self.scores, bests, strict=True)]
        return {
            "perf_gain": gain,
            "qnc": self.mean(metrics.qnc(*c) for c in curves),
            "cost_share_at_best_quality": self.mean(metrics.cost_at_quality_share(*c) for c in curves),
            "cost_share_at_95": self.mean(metrics.cost_at_quality_share(*c, 0.95) for c in curves),
        }

    def objectives(self) -> Objectives | None:
        if not self.study.priced:
            return None
        bill = self.e.bills.get(self.name, 0.0)
        return objectives(self.study, list(self.e.folds), self.name, bill=bill, test_share=self.e.test_share)

    def apgr(self) -> Difference | None:
        values = [s.apgr for s in self.scores if s.apgr is not None]
        return self.judge(values) if values else None

    def cpt(self, target: float) -> float | None:
        found = []
        for fold, method, _, _ in self.pairs:
            if method.score is None:
                return None
            gain = strong_over_weak(self.study.outcomes.quality[fold.split.test], fold.best_single)
            found.append(metrics.cpt(method.score, gain, target))
        return self.mean(found)

    def regret(self) -> dict[str, float]:
        """Mean regret by weight of cost; the weights are named by their share of the exchange rate.

        Seeds in which the cheapest model is the best have no such rate, and are left out where others have one.
        """
        rated = [pair for pair in self.pairs if len(pair[0].regret_weights) > 1]
        shares = self.study.regret_shares if rated else (0.0,)
        out: dict[str, float] = {}
        for k, share in enumerate(shares):
            values = []
            for fold, method, _, _ in rated or self.pairs:
                test, known = fold.split.test, self.study.outcomes.cost_usd
                quality = self.study.outcomes.quality[test]
                cost = np.zeros_like(quality) if known is None else known[test]
                weight, point = fold.regret_weights[k], method.regret_points[k]
                got = [v[point] for v in method.measured(quality, cost)]
                values.append(metrics.regret(quality - weight * cost, got[0] - weight * got[1]))
            out[f"{share:g}"] = self.mean(values)
        return out

    def at_best(self) -> AtBest | None:
        if not self.study.priced:
            return None
        saving, kept = self.judge([s.saving for s in self.scores]), self.judge([s.kept for s in self.scores])
        cost, quality, chance = [], [], []
        for fold, method, score, whole in self.pairs:
            best = whole.singles[fold.best_single]
            point = (best.cost_usd, best.quality)
            if method.at_best is not None:
                point = (float(score.costs[method.at_best]), float(score.qualities[method.at_best]))
            cheap = min(whole.singles, key=lambda p: (p.cost_usd, -p.quality))
            cost.append(point[0])
            quality.append(point[1])
            chance.append(metrics.random_at_cost(point[0], cheap, best))
        return AtBest(
            reached=self.mean(m.at_best is not None for m in self.methods),
            quality=self.mean(quality),
            cost_usd=self.mean(cost),
            saving=saving.mean,
            saving_ci=saving.interval,
            quality_change=kept.mean,
            quality_change_ci=kept.interval,
            random_quality=self.mean(chance),
        )

    def budgets(self) -> tuple[BudgetKept, ...]:
        kept: dict[float, list[tuple[float, float, float, float]]] = {}
        for _, method, score, _ in self.pairs:
            for b in method.budgets:
                seen = (
                    b.budget_usd,
                    b.promised_usd,
                    float(score.costs[b.point]),
                    float(score.qualities[b.point]),
                )
                kept.setdefault(b.share, []).append(seen)
        out = []
        for share, values in kept.items():
            budget, promised, realised, quality = (float(v) for v in np.mean(values, axis=0))
            out.append(
                BudgetKept(
                    share_of_best=share,
                    budget_usd=budget,
                    promised_usd=promised,
                    realised_usd=realised,
                    quality=quality,
                )
            )
        return tuple(out)

    def over_datasets(self) -> dict[str, float] | None:
        if not self.e.by_dataset:
            return None
        if self.traded:
            values = [float(s.aiq[0] - w.zero_aiq[0]) for s, w in zip(self.scores, self.e.scores, strict=True)]
        else:
            values = [float(s.gain[0]) for s in self.scores]
        return dict(over_datasets(np.array(values))._asdict())

    def honesty(self) -> dict[str, Any]:
        found = [m.honesty for m in self.methods if m.honesty is not None]
        if not found:
            return {"ece": None, "brier": None, "coverage": None, "reliability": None}
        pooled = [np.concatenate([h.bins[i] for h in found]) for i in range(3)]
        where = metrics.bin_of(pooled[0])
        count = np.bincount(where, weights=pooled[2], minlength=metrics.BINS)
        full = count > 0
        sums = [np.bincount(where, weights=v * pooled[2], minlength=metrics.BINS) for v in pooled[:2]]
        means = [total[full] / count[full] for total in sums]
        return {
            "ece": self.mean(h.ece for h in found),
            "brier": self.mean(h.brier for h in found),
            "coverage": self.mean(h.coverage for h in found),
            "reliability": metrics.Reliability(means[0], means[1], count[full].astype(np.int64)),
        }

    def shares(self) -> dict[str, Any]:
        m = len(self.study.models)
        counts = np.zeros(m)
        for fold, method, _, _ in self.pairs:
            chosen = headline(self.study, fold, method).chosen
            counts += np.bincount(chosen, minlength=m) / len(chosen) / len(self.pairs)
        named = {model.name: float(c) for model, c in zip(self.study.models, counts, strict=True)}
        return {"model_shares": named, "share_entropy_bits": metrics.share_entropy(counts)}

    def datasets(self) -> tuple[DatasetRow, ...]:
        k = len(self.e.dataset_names)
        sums = np.zeros((5, k))
        cost = self.study.outcomes.cost_usd
        for fold, method, _, _ in self.pairs:
            test = fold.split.test
            found = headline(self.study, fold, method)
            quality, label = self.study.outcomes.quality[test], self.study.datasets[test]
            columns = [np.ones(len(test)), found.quality, quality[:, fold.best_single]]
            if cost is not None:
                columns += [found.cost_usd, cost[test, fold.best_single]]
            for i, values in enumerate(columns):
                sums[i] += np.bincount(label, weights=values, minlength=k)
        out = []
        for j in np.flatnonzero(sums[0]):
            n, q, b, c, cb = (float(v) for v in sums[:, j])
            out.append(
                DatasetRow(
                    dataset=self.e.dataset_names[j],
                    prompts=int(n),
                    quality=q / n,
                    best_single_quality=b / n,
                    cost_share=c / cb if cb > 0 else NAN,
                )
            )
        return tuple(out)
