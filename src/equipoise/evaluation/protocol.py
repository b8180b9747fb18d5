"""The evaluation of routers on an outcome table, end to end.

Per seed: fit on 60 % of the prompts, choose operating points on 20 %, look at the remaining 20 % once.
Everything is compared on the same prompts, and intervals come from resampling whole groups of prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypedDict, Unpack

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.cascades.pool import Pool, pool_of
from equipoise.contracts import Router
from equipoise.errors import InputError, NotEnoughData, PriceError, UnknownName
from equipoise.estimates import CostModel
from equipoise.evaluation.bootstrap import LEAST_SEEDS, Resamples
from equipoise.evaluation.climbing import answer_policy
from equipoise.evaluation.compare import cascade_rows
from equipoise.evaluation.fold import CONTROL, CostLearner, FoldResult, Study
from equipoise.evaluation.results import Results
from equipoise.evaluation.scoring import SHARES, best_single_usd, score_fold
from equipoise.evaluation.splits import (
    KINDS,
    Kind,
    Split,
    dataset_splits,
    model_splits,
    random_split,
    table_split,
)
from equipoise.evaluation.summary import Evaluated, baseline_rows, router_rows
from equipoise.evaluation.workers import run_folds
from equipoise.numerics.folds import numbered
from equipoise.registry import Spec, make_router
from equipoise.tables import OutcomeTable
from equipoise.tables.answers import Answers
from equipoise.tables.duplicates import merge_groups, near_duplicate_groups
from equipoise.types import FeatureBatch, Ints, Model, Outcomes

NEARLY_COMPLETE = 0.99
LEAST_PROMPTS = 50
# So that each of the three parts of a split gets one.
LEAST_GROUPS = 5
MOST_MODELS = 255
MOST_SEEDS = 1000
TIMED_ANALYSES = 50
COST_FEATURES = frozenset({"structure"})


class TextAnalyzer(Protocol):
    """Turns prompts into features."""

    def analyze_batch(self, requests: Sequence[str], needs: frozenset[str]) -> FeatureBatch:
        """Features of many prompts."""
        ...


class Options(TypedDict, total=False):
    """Keyword options of ``evaluate``; see ``Settings`` for their meaning and defaults."""

    models: Sequence[str] | None
    split: Kind
    seeds: int
    cost: bool
    jobs: int
    replicates: int
    usd_per_core_hour: float
    build: Callable[[Spec], Router]
    cost_model: Callable[[], CostLearner]
    analyzer: TextAnalyzer | None
    on_progress: Callable[[str], None]
    cascades: Sequence[Spec]
    answers: Answers | None


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to evaluate.

    Attributes:
        models: the models to compare; None takes all that were measured on (nearly) all prompts.
        split: ``random``, ``dataset`` (each left out once), ``model`` (each held out once) or ``table`` (its column).
        seeds: number of random splits, and at most so many held-out models.
        cost: False evaluates quality alone.
        jobs: processes that work on seeds side by side.
        replicates: of the bootstrap.
        usd_per_core_hour: price of the machine that routes; the router's own time is added to its bill.
        build: makes a router from its specification.
        cost_model: makes the estimator of costs.
        analyzer: makes the features; the default one if None.
        on_progress: is told what is being done.
        cascades: policies that look at answers, to compare with the routers.
        answers: the answers behind the table, row for row; needed for cascades.
    """

    models: Sequence[str] | None = None
    split: Kind = "random"
    seeds: int = 10
    cost: bool = True
    jobs: int = 1
    replicates: int = 1000
    usd_per_core_hour: float = 0.05
    build: Callable[[Spec], Router] = make_router
    cost_model: Callable[[], CostLearner] = CostModel
    analyzer: TextAnalyzer | None = None
    on_progress: Callable[[str], None] = _silent
    cascades: Sequence[Spec] = ()
    answers: Answers | None = None

    def __post_init__(self) -> None:
        if self.split not in KINDS:
            raise UnknownName("split", str(self.split), KINDS)
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise InputError(f"seeds must lie between 1 and {MOST_SEEDS}, not {self.seeds}")
        if not 0 <= self.replicates <= 100_000:
            raise InputError(f"replicates must lie between 0 and 100000, not {self.replicates}")
        if self.cascades and not self.cost:
            raise InputError("cascades trade answers for money: they cannot be evaluated without costs")
        if self.cascades and self.answers is None:
            raise InputError("cascades need the sampled answers behind the table; see docs/cascades.md")
        if self.jobs < 1:
            raise InputError(f"jobs must be at least 1, not {self.jobs}")


def evaluate(table: OutcomeTable, *, routers: Sequence[Spec], **options: Unpack[Options]) -> Results:
    """Evaluate routers on an outcome table against baselines, with intervals and a verdict for each.

    Args:
        table: outcomes with costs filled in (``equipoise.tables.with_costs``), unless ``cost=False``.
        routers: router specifications; the first one is also fitted on shuffled qualities, as a control.
        **options: see ``Settings``.

    Raises:
        PriceError: a cost is missing.
        NotEnoughData: too few prompts, groups, models or data sets for the split.
        UnknownName: a router, a split or a model that does not exist.
    """
    settings = Settings(**options)
    named = _named(routers, settings.build)
    climbs = _named(settings.cascades, answer_policy) if settings.cascades else ()
    notes: list[str] = []
    table, answers = _usable(table, settings, notes)
    settings.on_progress(f"analysing {len(table)} prompts")
    started = time.perf_counter()
    features, analyze_s = _analyse(table, settings.analyzer or Analyzer(), [settings.build(spec) for _, spec in named])
    analysed = time.perf_counter()
    groups = merge_groups(table.groups, near_duplicate_groups(table.prompts))
    if (independent := len(np.unique(groups))) < LEAST_GROUPS:
        raise NotEnoughData(
            f"{table.name}: {len(table)} prompts fall into {independent} independent groups (prompts that share a "
            f"group or are near duplicates), needed are {LEAST_GROUPS} or more; add prompts"
        )
    study = replace(_study(table, features, groups, named, settings), cascades=climbs, answers=answers)
    splits = _splits(table, groups, settings)
    folds = _run(study, splits, settings)
    fitted = time.perf_counter()
    settings.on_progress("computing intervals")
    evaluated = _scored(study, folds, groups, settings, analyze_s, sorted(set(table.datasets)))
    _note_skipped(evaluated, notes)
    if table.expected is not None:
        notes.append(
            "routers and baselines learn from the mean quality of the sampled answers beside the table; "
            "all are judged by the table's own"
        )
    rows, baselines = router_rows(evaluated), baseline_rows(evaluated)
    if settings.cost and not np.isfinite(baselines["zero_router"]["aiq"]):
        notes.append("all models cost the same in a split: there is no frontier, and routers are judged by quality")
    cascades = cascade_rows(evaluated, rows) if climbs else ()
    done = time.perf_counter()
    return Results(
        table=table.name,
        n_prompts=len(table),
        models=table.models,
        split=settings.split,
        seeds=len(folds),
        priced=settings.cost,
        replicates=settings.replicates,
        baselines=baselines,
        routers=tuple(row for row in rows if row.name not in dict(climbs)),
        cascades=cascades,
        fold_labels=tuple(_label(s, table.models) for s in splits),
        notes=tuple(notes),
        timing={
            "analysis_s": analysed - started,
            "routers_s": fitted - analysed,
            "intervals_s": done - fitted,
            "analyze_us_p50": analyze_s * 1e6,
            "usd_per_core_hour": settings.usd_per_core_hour,
        },
        shares=SHARES,
        folds=tuple(folds),
        prompt_ids=table.prompt_ids,
    )


def _named(specs: Sequence[Spec], build: Callable[[Spec], object]) -> tuple[tuple[str, Spec], ...]:
    """Routers or cascades by a unique name; building each once finds mistakes before any work is done."""
    if isinstance(specs, str):
        raise InputError(f"'{specs}' is one text; give a list, such as {[specs]}")
    named: dict[str, Spec] = {}
    for spec in specs:
        build(spec)
        name = spec if isinstance(spec, str) else _spec_name(spec)
        if name in named:
            raise InputError(f"'{name}' is given twice; give each router and cascade once")
        if name == "auto" or name.startswith("baseline:"):
            raise InputError(f"a router cannot be called '{name}': that name is taken by the evaluation")
        named[name] = spec
    if not named:
        raise InputError("no router to evaluate; name at least one")
    return tuple(named.items())


def _spec_name(spec: Mapping[str, object]) -> str:
    rest = ",".join(f"{k}={v}" for k, v in spec.items() if k != "type")
    return f"{spec.get('type', '?')}:{rest}" if rest else str(spec.get("type", "?"))


def _usable(
    table: OutcomeTable, settings: Settings, notes: list[str]
) -> tuple[OutcomeTable, tuple[Answers, Pool] | None]:
    """The models to compare, on the prompts that all of them were measured on; with answers, if there are cascades."""
    table = _compared(table, settings, notes)
    covered = table.measured.all(axis=1)
    answers = settings.answers.only(table.models) if settings.cascades and settings.answers is not None else None
    if answers is not None:
        covered &= (answers.count > 0).all(axis=1)
    if not covered.all():
        notes.append(f"{np.sum(~covered)} prompts are left out: not all models were measured on them")
    table = table.take(np.flatnonzero(covered))
    if len(table) < LEAST_PROMPTS:
        how = "measured" if answers is None else "measured, and have graded answers beside the table,"
        raise NotEnoughData(
            f"{table.name}: {len(table)} prompts were {how} with all models, needed are {LEAST_PROMPTS} or more"
        )
    if settings.cost:
        missing = np.isnan(table.cost_usd).any(axis=0)
        if missing.any():
            raise PriceError(table.models[int(np.argmax(missing))])
    if answers is None:
        return table, None
    answers = answers.take(np.flatnonzero(covered))
    answers.require_costs()
    return table, (answers, pool_of(answers))


def _compared(table: OutcomeTable, settings: Settings, notes: list[str]) -> OutcomeTable:
    """The models to compare."""
    if settings.models is not None:
        table = table.only(settings.models)
    else:
        coverage = table.coverage()
        kept = [m for m in table.models if coverage[m] >= NEARLY_COMPLETE]
        for model in table.models:
            if model not in kept:
                notes.append(
                    f"model {model} is left out: it was measured on {coverage[model]:.1%} of the prompts; "
                    "name it in --models to compare on the prompts that it covers"
                )
        table = table.only(kept)
    if not 2 <= len(table.models) <= MOST_MODELS:
        raise NotEnoughData(
            f"{table.name}: {len(table.models)} models can be compared, needed are 2 to {MOST_MODELS}; "
            "name them with --models, or collect the missing outcomes"
        )
    return table


def _analyse(table: OutcomeTable, analyzer: TextAnalyzer, routers: Sequence[Router]) -> tuple[FeatureBatch, float]:
    """Features of the whole table, and the median seconds that one prompt takes by itself."""
    needs = frozenset(COST_FEATURES).union(*(r.needs for r in routers))
    features = analyzer.analyze_batch(list(table.prompts), needs)
    taken = []
    for text in table.prompts[:TIMED_ANALYSES]:
        start = time.perf_counter()
        analyzer.analyze_batch([text], needs)
        taken.append(time.perf_counter() - start)
    return features, float(np.median(taken))


def _study(
    table: OutcomeTable,
    features: FeatureBatch,
    groups: Ints,
    named: tuple[tuple[str, Spec], ...],
    settings: Settings,
) -> Study:
    def tokens(values: np.ndarray) -> np.ndarray | None:
        return None if np.isnan(values).all() else values

    datasets = numbered(table.datasets.astype(str))
    outcomes = Outcomes(
        features=features,
        models=table.models,
        quality=table.quality,
        groups=groups,
        cost_usd=table.cost_usd if settings.cost else None,
        input_tokens=tokens(table.input_tokens),
        output_tokens=tokens(table.output_tokens),
        latency_s=tokens(table.latency_s),
        datasets=datasets,
    )
    return Study(
        outcomes=outcomes,
        expected=table.expected,
        datasets=datasets,
        models=tuple(Model(name=name) for name in table.models),
        routers=named,
        priced=settings.cost,
        build=settings.build,
        cost_model=settings.cost_model,
    )


def _splits(table: OutcomeTable, groups: Ints, settings: Settings) -> list[Split]:
    if settings.split == "dataset":
        return dataset_splits(groups, table.datasets)
    if settings.split == "model":
        strongest_first = np.argsort(-table.quality.mean(axis=0), kind="stable")
        return model_splits(groups, [int(j) for j in strongest_first[: settings.seeds]])
    if settings.split == "table":
        return [table_split(table.split, groups, seed) for seed in range(settings.seeds)]
    return [random_split(groups, seed) for seed in range(settings.seeds)]


def _run(study: Study, splits: Sequence[Split], settings: Settings) -> list[FoldResult]:
    folds = []
    for k, fold in enumerate(run_folds(study, splits, jobs=settings.jobs), start=1):
        folds.append(fold)
        settings.on_progress(f"split {k} of {len(splits)} done")
    return folds


def _scored(
    study: Study,
    folds: Sequence[FoldResult],
    groups: Ints,
    settings: Settings,
    analyze_s: float,
    dataset_names: Sequence[str],
) -> Evaluated:
    names = _common_names(study, folds)
    usd_per_s = settings.usd_per_core_hour / 3600
    bills = {
        name: (float(np.median([f.methods[name].decide_s for f in folds])) + analyze_s) * usd_per_s
        for name in names
        if folds[0].methods[name].decide_s
    }
    folds = [replace(f, methods={name: f.methods[name] for name in names}) for f in folds]
    resamples, usd = Resamples(groups, replicates=settings.replicates), best_single_usd(study, folds)
    return Evaluated(
        study=study,
        folds=folds,
        scores=[score_fold(study, f, resamples.of(f.split.test), bills, usd) for f in folds],
        names=names,
        dataset_names=tuple(dataset_names),
        bills=bills,
        by_dataset=settings.split == "dataset",
    )


def _common_names(study: Study, folds: Sequence[FoldResult]) -> tuple[str, ...]:
    """Methods that every fold has; a router that could not be fitted once is left out everywhere."""
    names = [n for n in folds[0].methods if all(n in f.methods for f in folds)]
    if not any(name in dict(study.routers) for name in names):
        reasons = {name: text for f in folds for name, text in f.skipped.items()}
        raise NotEnoughData("no router could be fitted: " + "; ".join(f"{n}: {t}" for n, t in reasons.items()))
    return tuple(names)


def _note_skipped(evaluated: Evaluated, notes: list[str]) -> None:
    reasons: dict[str, str] = {}
    for fold in evaluated.folds:
        reasons |= fold.skipped
    notes.extend(f"router {name} is left out: {text}" for name, text in reasons.items())
    many = len(evaluated.folds)
    if many < LEAST_SEEDS and evaluated.by_dataset:
        notes.append(
            f"{many} data sets: intervals and verdicts hold for more prompts of these, not for another data set; "
            f"that takes {LEAST_SEEDS} or more"
        )
    elif many < LEAST_SEEDS:
        notes.append(
            f"{many} seed{'s' * (many > 1)}: intervals tell which prompts were tested, not which were trained on; "
            f"that takes {LEAST_SEEDS} or more"
        )
    if CONTROL not in evaluated.names:
        notes.append("there is no control: the first router could not be fitted on shuffled qualities")


def _label(split: Split, models: Sequence[str]) -> str:
    return split.label if split.hidden is None else models[split.hidden]
