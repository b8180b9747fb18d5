"""What looks wrong in an outcome table: errors make it unusable, warnings make conclusions doubtful."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from equipoise.errors import PriceError
from equipoise.tables.duplicates import near_duplicate_groups
from equipoise.tables.files import read_rows
from equipoise.tables.rows import Problem
from equipoise.tables.table import OutcomeTable
from equipoise.types import Bools, Floats, Ints

Severity = Literal["error", "warning", "info"]

EXAMPLES = 3
MIN_ROWS = 20  # below this, a constant column or a perfect score may well be chance
UNIT_COST_SPAN = 100.0
MIN_TOKEN_RANGE = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that looks wrong. ``count`` is the number of rows, cells or prompts that it concerns."""

    severity: Severity
    code: str
    message: str
    count: int
    examples: tuple[str, ...] = ()


def lint(
    table_or_path: OutcomeTable | str | os.PathLike[str],
    *,
    fill: Callable[[OutcomeTable], OutcomeTable] | None = None,
) -> list[Finding]:
    """Everything that looks wrong, errors first.

    A file is read without stopping at bad rows: they are reported, left out, and the rest is looked at.

    Args:
        table_or_path: a table, or the path of one.
        fill: computes missing costs first (``with_costs``); a missing price becomes a finding.

    Raises:
        TableError: when the file cannot be read as a table at all.
    """
    found: list[Finding] = []
    if isinstance(table_or_path, OutcomeTable):
        table = table_or_path
        if not len(sound_rows(len(table), (), found)):
            return found
    else:
        rows = read_rows(table_or_path)
        sound = sound_rows(len(rows), rows.problems(), found)
        if not len(sound):
            return found
        table = OutcomeTable(**{**rows.take(sound).matrices(), "name": rows.name})
    table = _filled(table, fill, found)
    for check in CHECKS:
        found.extend(check(table))
    return worst_first(found)


def _filled(
    table: OutcomeTable, fill: Callable[[OutcomeTable], OutcomeTable] | None, found: list[Finding]
) -> OutcomeTable:
    try:
        return table if fill is None else fill(table)
    except PriceError as error:
        found.append(Finding("error", error.code, str(error), 1, (error.model,)))
        return table


def sound_rows(count: int, problems: Iterable[Problem], found: list[Finding]) -> Ints:
    """Numbers of the rows of a file that have none of the problems, which are added to what was found."""
    sound = np.ones(count, dtype=bool)
    for problem in problems:
        examples = tuple(f"row {row + 1}: {problem.text(int(row))}" for row in problem.rows[:EXAMPLES])
        text = f"{problem.about}: {problem.mend}"
        found.append(Finding("error", problem.code, text, len(problem.rows), examples))
        sound[problem.rows] = False
    if not sound.any():
        found.append(Finding("error", "no_rows", "no row can be used", 0))
    return np.flatnonzero(sound)


def worst_first(found: list[Finding]) -> list[Finding]:
    """Errors, then warnings, then the rest; each in the order in which they were found."""
    return sorted(found, key=lambda finding: get_args(Severity).index(finding.severity))


# ---------------------------------------------------------------- costs


def _missing_costs(table: OutcomeTable) -> Iterator[Finding]:
    gaps = table.measured & np.isnan(table.cost_usd)
    tokens = ~np.isnan(table.input_tokens) & ~np.isnan(table.output_tokens)
    for hopeless, code, text in (
        (
            False,
            "cost_missing",
            "cost_usd is missing but can be computed from tokens: give prices with --prices FILE",
        ),
        (
            True,
            "cost_unknown",
            "cost_usd is missing, and so are token counts: only a usd_per_call price helps, or to train and evaluate "
            "with --cost none",
        ),
    ):
        cells = gaps & (~tokens if hopeless else tokens)
        if cells.any():
            severity: Severity = "warning" if hopeless else "info"
            yield Finding(severity, code, text, int(cells.sum()), _models(table, cells))


def _zero_costs(table: OutcomeTable) -> Iterator[Finding]:
    with np.errstate(invalid="ignore"):
        cells = (table.cost_usd == 0) & ((table.output_tokens > 0) | (table.input_tokens > 0))
    if cells.any():
        text = "cost_usd is 0 although tokens were used; leave unknown costs empty"
        yield Finding("error", "zero_cost", text, int(cells.sum()), _models(table, cells))


def _unit_costs(table: OutcomeTable) -> Iterator[Finding]:
    """Cost per token that varies a hundredfold within a model: no price list does that."""
    tokens = np.nan_to_num(table.input_tokens) + np.nan_to_num(table.output_tokens)
    known = ~np.isnan(table.input_tokens) & ~np.isnan(table.output_tokens) & (tokens > 0) & (table.cost_usd > 0)
    unit = np.where(known, table.cost_usd, np.nan) / np.where(known, tokens, np.nan)
    for j, model in enumerate(table.models):
        values = unit[known[:, j], j]
        if len(values) < 2 or values.max() <= UNIT_COST_SPAN * values.min():
            continue
        middle = float(np.median(values))
        far = known[:, j] & ((unit[:, j] > 10 * middle) | (unit[:, j] < middle / 10))
        text = (
            f"{model}: a million tokens cost from ${values.min() * 1e6:.3g} to ${values.max() * 1e6:.3g}; "
            "check units, prices and token counts"
        )
        yield Finding("warning", "cost_tokens", text, max(int(far.sum()), 1), _prompts(table, far))


# ---------------------------------------------------------------- tokens


def _constant_tokens(table: OutcomeTable) -> Iterator[Finding]:
    for j, model in enumerate(table.models):
        values = table.output_tokens[:, j]
        values = values[~np.isnan(values)]
        if len(values) < MIN_ROWS:
            continue
        distinct, counts = np.unique(values, return_counts=True)
        top = int(counts.argmax())
        share = counts[top] / len(values)
        if share > 0.5 and distinct[top] > 1:
            text = f"{model}: output_tokens is {distinct[top]:g} in {share:.0%} of rows; were tokens counted?"
            yield Finding("warning", "constant_tokens", text, int(counts[top]))


def _made_up_tokens(table: OutcomeTable) -> Iterator[Finding]:
    """Token counts that are a straight line over the prompt's characters or words were not counted."""
    lengths = {
        "characters": np.array([len(text) for text in table.prompts], dtype=float),
        "words": np.array([text.count(" ") + text.count("\n") + 1 for text in table.prompts], dtype=float),
    }
    for column in ("input_tokens", "output_tokens"):
        cells: Floats = getattr(table, column)
        hits: dict[str, list[str]] = {}
        for j, model in enumerate(table.models):
            known = ~np.isnan(cells[:, j])
            for unit, length in lengths.items():
                if known.sum() >= MIN_ROWS and _straight(length[known], cells[known, j]):
                    hits.setdefault(unit, []).append(model)
        for unit, models in hits.items():
            text = f"{column} is a straight line over the number of {unit} of the prompt: estimated, not counted"
            yield Finding("warning", "made_up_tokens", text, len(models), tuple(models[:EXAMPLES]))


def _straight(x: Floats, y: Floats) -> bool:
    """Whether y is a linear function of x up to rounding."""
    if np.ptp(x) == 0 or np.ptp(y) < MIN_TOKEN_RANGE:
        return False
    slope = float(np.cov(x, y, bias=True)[0, 1] / np.var(x))
    rest = y - slope * (x - x.mean()) - y.mean()
    return bool(np.abs(rest).max() <= 1.01)


# ---------------------------------------------------------------- quality


def _coverage(table: OutcomeTable) -> Iterator[Finding]:
    measured = table.measured
    missing = (~measured).sum(axis=0)
    if not missing.any():
        return
    worst = [j for j in np.argsort(-missing, kind="stable") if missing[j]]
    examples = tuple(f"{table.models[j]}: {measured[:, j].mean():.1%}" for j in worst[:EXAMPLES])
    text = (
        f"{len(worst)} of {len(table.models)} models were not run on every prompt: their averages are over "
        "different prompts; compare complete models only (--models)"
    )
    yield Finding("warning", "coverage", text, int(missing.sum()), examples)


def _constant_quality(table: OutcomeTable) -> Iterator[Finding]:
    for j, model in enumerate(table.models):
        values = table.quality[table.measured[:, j], j]
        if len(values) >= MIN_ROWS and np.ptp(values) == 0:
            text = f"{model}: quality is {values[0]:g} on every prompt; check the grader"
            yield Finding("warning", "constant_quality", text, len(values))


def _identical_models(table: OutcomeTable) -> Iterator[Finding]:
    """Two models with the same outcomes on every prompt: one model under two names, or a copied column."""
    seen: dict[bytes, int] = {}
    for j, model in enumerate(table.models):
        column = np.ascontiguousarray(table.quality[:, j])
        known = column[~np.isnan(column)]
        if len(known) < MIN_ROWS or np.ptp(known) == 0:
            continue
        twin = seen.setdefault(column.tobytes(), j)
        if twin == j:
            continue
        tokens = table.output_tokens[:, [twin, j]]
        same = bool(np.array_equal(tokens[:, 0], tokens[:, 1]) and not np.isnan(tokens).all())
        text = f"{table.models[twin]} and {model} have the same quality on every prompt"
        text += " and the same output_tokens: one of them is a copy" if same else "; is one of them a copy?"
        yield Finding("error" if same else "warning", "identical_models", text, len(known))


# ---------------------------------------------------------------- prompts


def _near_duplicates(table: OutcomeTable) -> Iterator[Finding]:
    """Prompts that say the same thing but may fall on both sides of a split."""
    cluster = near_duplicate_groups(table.prompts)
    group = np.unique(table.groups, return_inverse=True)[1]
    dataset = np.unique(table.datasets, return_inverse=True)[1]
    torn = _varies(cluster, group)
    if not torn.any():
        return
    across = _varies(cluster, dataset) & torn
    of = torn[cluster]
    examples = []
    for c in np.flatnonzero(torn)[np.argsort(~across[torn], kind="stable")][:EXAMPLES]:
        ids = table.prompt_ids[cluster == c]
        examples.append(", ".join(map(str, ids[:4])) + (", ..." if len(ids) > 4 else ""))
    text = (
        f"{int(of.sum()):,} prompts have a near duplicate in another group ({int(torn.sum()):,} clusters, "
        f"{int(across.sum()):,} of them across data sets); a column 'group' keeps them on one side of a split"
    )
    yield Finding("warning", "near_duplicates", text, int(of.sum()), tuple(examples))


def _varies(cluster: Ints, label: Ints) -> Bools:
    """For every cluster whether it holds more than one label."""
    low = np.full(int(cluster.max()) + 1, np.iinfo(np.int64).max)
    high = np.full(int(cluster.max()) + 1, -1)
    np.minimum.at(low, cluster, label)
    np.maximum.at(high, cluster, label)
    return np.asarray(low != high)


def _models(table: OutcomeTable, cells: Bools) -> tuple[str, ...]:
    counts = cells.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:EXAMPLES]
    return tuple(f"{table.models[j]}: {counts[j]:,} rows" for j in order if counts[j])


def _prompts(table: OutcomeTable, rows: Bools) -> tuple[str, ...]:
    return tuple(f"prompt_id {table.prompt_ids[i]}" for i in np.flatnonzero(rows)[:EXAMPLES])


CHECKS: tuple[Callable[[OutcomeTable], Iterator[Finding]], ...] = (
    _zero_costs,
    _missing_costs,
    _unit_costs,
    _constant_tokens,
    _made_up_tokens,
    _coverage,
    _constant_quality,
    _identical_models,
    _near_duplicates,
)
