"""Cascades against single-model routing, on the same prompts: at equal quality, at equal cost, and by data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from equipoise.evaluation.bootstrap import Difference, difference, holm
from equipoise.evaluation.fold import FoldResult
from equipoise.evaluation.results import CascadeRow, DatasetChange, EqualCost, RouterRow
from equipoise.evaluation.scoring import EQUAL_COSTS, Headline, Level, headline
from equipoise.evaluation.summary import Evaluated
from equipoise.types import Floats


def cascade_rows(evaluated: Evaluated, rows: Sequence[RouterRow]) -> tuple[CascadeRow, ...]:
    """One row per cascade, against the router that calibration prompts would have chosen.

    Args:
        evaluated: folds and scores.
        rows: of routers and cascades alike.
    """
    named = {name for name, _ in evaluated.study.cascades}
    routers = [row.name for row in rows if row.name not in named and not row.is_baseline]
    rival = "auto" if "auto" in routers else routers[0]
    best = evaluated.best_name()
    found = [_Pair(evaluated, row, rival).row() for row in rows if row.name in named]
    return tuple(replace(row, verdict=evaluated.no_verdict or verdict_of(row, best)) for row in _corrected(found))


def _corrected(rows: Sequence[CascadeRow]) -> list[CascadeRow]:
    """With Holm's correction over the cascades, and for what is gained at equal cost over all costs as well."""
    saving, area = holm([row.saving_p for row in rows]), holm([row.aiq_gain_p for row in rows])
    at_cost = iter(holm([e.p_value for row in rows for e in row.equal_cost]))
    return [
        replace(
            row,
            saving_p_holm=saving[i],
            aiq_gain_p_holm=area[i],
            equal_cost=tuple(replace(e, p_holm=next(at_cost)) for e in row.equal_cost),
        )
        for i, row in enumerate(rows)
    ]


def verdict_of(row: CascadeRow, best: str) -> str:
    """One sentence on what a cascade is worth beside the router; ``best`` names the best single model."""
    if row.saving_ci.gained(row.saving_p_holm):
        cheaper = f"{row.saving:.0%} {row.saving_ci.told('.0f', 100)} cheaper than router '{row.router}'"
        return f"reaches the quality of {best} {cheaper}"
    how = "dearer" if row.saving_ci.high < 0 else "no cheaper"
    text = f"{how} than router '{row.router}' at the quality of {best}"
    if row.aiq_gain_ci.gained(row.aiq_gain_p_holm):
        text += f", but a better trade-off over all costs (AIQ {row.aiq_gain:+.3f} {row.aiq_gain_ci.told('+.3f')})"
    better = [e for e in row.equal_cost if e.gain_ci.gained(e.p_holm)]
    if not better:
        return text
    top = max(better, key=lambda e: e.gain)
    points = f"{top.gain * 100:+.1f} points {top.gain_ci.told('+.1f', 100)}"
    return f"{text}; {points} better at {_place(top.share, best)}"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A cascade and a router."""

    e: Evaluated
    cascade: RouterRow
    rival: str

    def row(self) -> CascadeRow:
        saving = self._judged([1 - a.cost / b.cost for a, b in self._levels()])
        area = self._judged([s.methods[self.cascade.name].aiq - s.methods[self.rival].aiq for s in self.e.scores])
        return CascadeRow(
            row=self.cascade,
            router=self.rival,
            aiq_gain=area.mean,
            aiq_gain_ci=area.interval,
            aiq_gain_p=area.p,
            aiq_gain_p_holm=area.p,
            cost_share=self._mean([a.cost for a, _ in self._levels()]),
            router_cost_share=self._mean([b.cost for _, b in self._levels()]),
            saving=saving.mean,
            saving_ci=saving.interval,
            saving_p=saving.p,
            saving_p_holm=saving.p,
            equal_cost=self._equal_cost(),
            datasets=self._datasets(),
            verdict="",
            **self._effort(),
        )

    def _levels(self) -> list[tuple[Level, Level]]:
        pairs = [(s.methods[self.cascade.name].level, s.methods[self.rival].level) for s in self.e.scores]
        return [(a, b) for a, b in pairs if a is not None and b is not None]

    def _judged(self, by_seed: Sequence[Floats]) -> Difference:
        return difference(np.stack(by_seed), self.e.test_share)

    @staticmethod
    def _mean(by_seed: Sequence[Floats]) -> float:
        return float(np.mean([values[0] for values in by_seed]))

    def _equal_cost(self) -> tuple[EqualCost, ...]:
        out = []
        for k, share in enumerate(EQUAL_COSTS):
            gain = self._judged([a.quality[:, k] - b.quality[:, k] for a, b in self._levels()])
            out.append(
                EqualCost(
                    share=float(share),
                    quality=self._mean([a.quality[:, k] for a, _ in self._levels()]),
                    router_quality=self._mean([b.quality[:, k] for _, b in self._levels()]),
                    gain=gain.mean,
                    gain_ci=gain.interval,
                    p_value=gain.p,
                    p_holm=gain.p,
                )
            )
        return tuple(out)

    def _effort(self) -> dict[str, float]:
        """Calls and latency at the headline point, means over seeds."""
        calls, latency = [], []
        for fold in self.e.folds:
            method = fold.methods[self.cascade.name]
            if method.paid is None or method.at_best is None:
                calls.append(1.0)
                continue
            calls.append(float(method.paid.calls[method.at_best].mean()))
            latency.append(float(np.nanmean(method.paid.latency_s[method.at_best])))
        return {"calls": float(np.mean(calls)), "latency_s": float(np.mean(latency)) if latency else float("nan")}

    def _datasets(self) -> tuple[DatasetChange, ...]:
        """Quality and cost of the cascade against the router's by data set, at both headline points."""
        sums = np.zeros((5, len(self.e.dataset_names)))
        for fold in self.e.folds:
            label = self.e.study.datasets[fold.split.test]
            mine, theirs = (self._headline(fold, name) for name in (self.cascade.name, self.rival))
            found = (np.ones(len(label)), mine.quality, theirs.quality, mine.cost_usd, theirs.cost_usd)
            for i, values in enumerate(found):
                sums[i] += np.bincount(label, weights=values, minlength=sums.shape[1])
        return tuple(
            DatasetChange(
                dataset=self.e.dataset_names[j],
                prompts=int(n),
                quality_change=(mine - theirs) / n,
                cost_ratio=paid / rival if rival > 0 else float("nan"),
            )
            for j, (n, mine, theirs, paid, rival) in enumerate(sums.T.tolist())
            if n
        )

    def _headline(self, fold: FoldResult, name: str) -> Headline:
        return headline(self.e.study, fold, fold.methods[name])


def _place(share: float, best: str) -> str:
    if share == 1:
        return f"the cost of {best}"
    return f"{share:g} times the way from the cheapest model's cost to that of {best}"
