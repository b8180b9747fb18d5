"""What an evaluation found: rows for every router, baselines, the choices behind them, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from equipoise.errors import UnknownName
from equipoise.evaluation.bootstrap import Interval
from equipoise.evaluation.fold import FoldResult
from equipoise.evaluation.metrics import Reliability
from equipoise.evaluation.objectives import Objectives
from equipoise.types import Floats, Strings


@dataclass(frozen=True, slots=True, kw_only=True)
class AtBest:
    """The cheapest operating point that matched the best single model on calibration rows, seen on test rows.

    Attributes:
        reached: share of the seeds in which there was such a point; elsewhere the best single model is used.
        saving: share of the best single model's cost that was saved.
        quality_change: quality gained or lost against the best single model.
        random_quality: of a coin between the cheapest and the best single model at the same mean cost.
    """

    reached: float
    quality: float
    cost_usd: float
    saving: float
    saving_ci: Interval
    quality_change: float
    quality_change_ci: Interval
    random_quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetKept:
    """A budget set on calibration rows, and what it came to on test rows; means over seeds."""

    share_of_best: float
    budget_usd: float
    promised_usd: float
    realised_usd: float
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow:
    """One data set at the headline operating point."""

    dataset: str
    prompts: int
    quality: float
    best_single_quality: float
    cost_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRow:
    """One router or baseline. Means over seeds; NaN or None where a measure does not apply."""

    name: str
    spec: Any
    quality: float
    quality_gain: float
    quality_gain_ci: Interval
    aiq: float
    delta_aiq: float
    delta_aiq_ci: Interval
    perf_gain: float
    qnc: float
    apgr: float | None
    cpt50: float | None
    cpt80: float | None
    regret: Mapping[str, float]
    decide_us_p50: float | None
    fit_s: float | None
    aiq_nested: float
    apgr_ci: Interval | None
    cost_share_at_best_quality: float
    cost_share_at_95: float
    at_best_quality: AtBest | None
    budgets: tuple[BudgetKept, ...]
    p_value: float
    p_holm: float
    over_datasets: Mapping[str, float] | None
    delta_over_control: float | None
    delta_over_control_ci: Interval | None
    ece: float | None
    brier: float | None
    coverage: float | None
    reliability: Reliability | None
    model_shares: Mapping[str, float]
    share_entropy_bits: float
    datasets: tuple[DatasetRow, ...]
    decision_cost_usd: float
    selected: Mapping[str, int] | None
    frontier: Mapping[str, Floats]
    operating_points: float
    verdict: str
    objectives: Objectives | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether this is a baseline that is reported like a router."""
        return self.name.startswith("baseline:")


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualCost:
    """A cascade and a router at the same mean cost, each mixed by a coin with what it can be mixed with.

    ``share``: how far that cost is on the way from the cheapest single model's to the best single model's.
    """

    share: float
    quality: float
    router_quality: float
    gain: float
    gain_ci: Interval
    p_value: float
    p_holm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChange:
    """What a cascade changes on one data set against a router, each at its headline operating point."""

    dataset: str
    prompts: int
    quality_change: float
    cost_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRow:
    """One cascade: all that is said of a router, and how it compares with single-model routing.

    Attributes:
        router: what it is compared with: the router that calibration prompts choose, where there are several.
        cost_share: cost at which the hull has the best single model's quality, as a share of that model's cost.
        saving: share of the router's cost saved at that quality.
        aiq_gain: its AIQ minus the router's: the trade-off over all costs.
        saving_p, aiq_gain_p: of no difference; ``_holm`` corrected over all cascades.
        calls: answers paid for per prompt, at the headline operating point.
        latency_s: per prompt there, step after step.
    """

    row: RouterRow
    router: str
    cost_share: float
    router_cost_share: float
    saving: float
    saving_ci: Interval
    saving_p: float
    saving_p_holm: float
    aiq_gain: float
    aiq_gain_ci: Interval
    aiq_gain_p: float
    aiq_gain_p_holm: float
    equal_cost: tuple[EqualCost, ...]
    datasets: tuple[DatasetChange, ...]
    calls: float
    latency_s: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The outcome of ``evaluate``. ``document()`` is what results.json holds.

    Attributes:
        priced: whether costs were evaluated.
        baselines: best_single, cheapest, oracle, random, zero_router and every single model.
        folds: the choices themselves, one entry per seed, for choices.parquet.
        prompt_ids: of all prompts, by row number.
        cascades: policies that look at answers, where such were evaluated.
        source: arguments by which a command finds the same table and models again.
    """

    table: str
    n_prompts: int
    models: tuple[str, ...]
    split: str
    seeds: int
    priced: bool
    replicates: int
    baselines: Mapping[str, Any]
    routers: tuple[RouterRow, ...]
    fold_labels: tuple[str, ...]
    notes: tuple[str, ...]
    timing: Mapping[str, float]
    shares: Floats
    folds: tuple[FoldResult, ...] = field(repr=False)
    prompt_ids: Strings = field(repr=False)
    cascades: tuple[CascadeRow, ...] = ()
    source: tuple[str, ...] = ("TABLE",)

    def __repr__(self) -> str:
        size = f"{self.n_prompts} prompts, {len(self.models)} models, {self.split} x {self.seeds}"
        return "\n  ".join([f"Results({self.table!r}, {size})", *self.verdicts()])

    @property
    def traded(self) -> bool:
        """Whether there is a frontier of quality and cost: costs are known, and differ between models."""
        zero = self.baselines["zero_router"]
        return zero is not None and zero["aiq"] == zero["aiq"]

    def router(self, name: str) -> RouterRow:
        """The row of one router by name.

        Raises:
            UnknownName: no router of this name was evaluated.
        """
        rows = {row.name: row for row in self.routers}
        if name not in rows:
            raise UnknownName("router of these results", name, rows)
        return rows[name]

    def verdicts(self) -> list[str]:
        """One line per router and cascade, baselines left out."""
        routers = [f"{row.name}: {row.verdict}" for row in self.routers if not row.is_baseline]
        return [*routers, *(f"{c.row.name}: {c.verdict}" for c in self.cascades)]

    def document(self) -> dict[str, Any]:
        """Everything but the choices, as JSON types and arrays; NaN and infinity become null when written."""
        return {
            "table": self.table,
            "n_prompts": self.n_prompts,
            "models": list(self.models),
            "split": self.split,
            "seeds": self.seeds,
            "cost": self.priced,
            "baselines": dict(self.baselines),
            "routers": [_plain_row(row) for row in self.routers],
            "cascades": [_plain_row(c.row) | {"against_router": _plain_fields(c)} for c in self.cascades],
            "folds": list(self.fold_labels),
            "bootstrap_replicates": self.replicates,
            "frontier_cost_shares": self.shares,
            "timing": dict(self.timing),
            "notes": list(self.notes),
        }


def _plain_fields(cascade: CascadeRow) -> dict[str, Any]:
    out = asdict(cascade)
    del out["row"]
    return _known_intervals(out)


def _known_intervals(out: dict[str, Any]) -> dict[str, Any]:
    """An unknown interval is null, not a pair of nulls."""
    return {k: None if isinstance(v, Interval) and v.low != v.low else v for k, v in out.items()}


def _plain_row(row: RouterRow) -> dict[str, Any]:
    out = _known_intervals(asdict(row))
    if row.reliability is not None:
        out["reliability"] = row.reliability._asdict()
    if row.objectives is not None:
        out["objectives"] = _known_intervals(out["objectives"]) | {"picks": [p._asdict() for p in row.objectives.picks]}
    return out
