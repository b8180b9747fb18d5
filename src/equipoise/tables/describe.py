"""An outcome table in numbers, and those numbers as text for a terminal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from equipoise.tables.table import OutcomeTable
from equipoise.types import Floats, Ints, Strings

Z95 = 1.959963984540054
LINES = 30
NEARLY_ALL = 0.95


def describe(table: OutcomeTable) -> dict[str, Any]:
    """Counts, and for every model quality with a 95 % Wilson interval, cost, tokens and coverage; JSON-ready.

    For the intervals prompts of one group count as one, as heavy as the group is large: they may fail together.

    ``best_single`` and ``oracle`` (the best quality that any model reached, per prompt) are taken over the
    same models and prompts: ``compared`` are the models that were run on nearly every prompt, and the
    prompts that all of them were run on.
    """
    models = _models(table)
    common = _common(table)
    best = max(
        _models(common),
        key=lambda m: (m["quality"] or 0.0, -math.inf if m["cost_usd"] is None else -m["cost_usd"]),
        default=None,
    )
    return {
        "table": table.name,
        "n_prompts": len(table),
        "n_models": len(table.models),
        "n_rows": int(table.measured.sum()),
        "n_groups": len(set(table.groups)) if table.has_groups else None,
        "datasets": _counts(table.datasets),
        "splits": None if table.split is None else _counts(table.split),
        "models": models,
        "complete_models": len(table.complete_models()),
        "compared": {"models": len(common.models), "prompts": len(common)},
        "best_single": None if best is None else {k: best[k] for k in ("model", "quality", "cost_usd")},
        "oracle": _oracle(common),
    }


def _common(table: OutcomeTable) -> OutcomeTable:
    """The models with nearly full coverage (all, if there are none) on the prompts that they share."""
    covered = table.coverage()
    wide = [model for model, share in covered.items() if share >= NEARLY_ALL]
    chosen = table.only(wide or table.models)
    return chosen.take(np.flatnonzero(chosen.measured.all(axis=1)))


def _counts(labels: Strings) -> dict[str, int]:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _models(table: OutcomeTable) -> list[dict[str, Any]]:
    group = np.unique(table.groups.astype(str), return_inverse=True)[1]
    return [_model(table, j, group) for j in range(len(table.models))]


def _model(table: OutcomeTable, j: int, group: Ints) -> dict[str, Any]:
    measured = table.measured[:, j]
    quality = table.quality[measured, j]
    mean = float(quality.mean()) if len(quality) else None
    return {
        "model": table.models[j],
        "quality": mean,
        "quality_ci": list(wilson(mean, looks(group[measured]))) if mean is not None else None,
        "n": len(quality),
        "coverage": len(quality) / len(table) if len(table) else 0.0,
        **{
            name: _mean(getattr(table, name)[:, j])
            for name in ("cost_usd", "input_tokens", "output_tokens", "latency_s")
        },
        "costs_missing": int((measured & np.isnan(table.cost_usd[:, j])).sum()),
    }


def _known(values: Floats) -> Floats:
    known: Floats = values[~np.isnan(values)]
    return known


def _mean(values: Floats) -> float | None:
    known = _known(values)
    return float(known.mean()) if len(known) else None


def looks(group: Ints) -> float:
    """So many independent prompts tell as much as these, if those of one group always fail together."""
    size = np.bincount(group)
    return float(size.sum() ** 2 / (size**2).sum()) if len(group) else 0.0


def wilson(mean: float, n: float) -> tuple[float, float]:
    """The 95 % Wilson interval of a share. For graded quality in [0, 1] it is wider than it need be."""
    if n == 0:
        return 0.0, 1.0
    spread = Z95 * math.sqrt(mean * (1 - mean) / n + Z95**2 / (4 * n * n))
    middle = mean + Z95**2 / (2 * n)
    scale = 1 + Z95**2 / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _oracle(table: OutcomeTable) -> dict[str, Any]:
    """The best quality on every prompt, at the least cost among the models that reach it."""
    if not table.quality.size:
        return {"quality": None, "cost_usd": None, "unsolved": 0}
    top = table.quality.max(axis=1)
    cost = np.where(table.quality == top[:, None], table.cost_usd, np.inf).min(axis=1)  # NaN where one is unknown
    return {
        "quality": float(top.mean()),
        "cost_usd": None if np.isnan(cost).any() else float(cost.mean()),
        "unsolved": int((top <= 0).sum()),
    }


# ---------------------------------------------------------------- text


def describe_text(summary: dict[str, Any]) -> str:
    """What ``describe`` returned, for a terminal."""
    lines = [
        f"{summary['table']}: {summary['n_prompts']:,} prompts x {summary['n_models']} models, "
        f"{summary['n_rows']:,} outcomes",
        "",
        *_model_lines(summary["models"]),
        "",
        *_verdict(summary),
        "",
        f"datasets ({len(summary['datasets'])}):",
        *_listing(summary["datasets"]),
    ]
    if summary["splits"]:
        lines.append(
            "splits: " + ", ".join(f"{name or '(none)'} {count:,}" for name, count in summary["splits"].items())
        )
    if summary["n_groups"]:
        lines.append(f"groups: {summary['n_groups']:,}")
    return "\n".join(lines)


def _model_lines(models: list[dict[str, Any]]) -> list[str]:
    width = max([5, *(len(m["model"]) for m in models)])
    head = f"{'model':<{width}}  quality  95 % interval   USD/1k calls  in tok  out tok  coverage"
    ranked = sorted(models, key=lambda m: -(m["quality"] if m["quality"] is not None else -1.0))
    return [head, *(_model_line(m, width) for m in ranked)]


def _model_line(m: dict[str, Any], width: int) -> str:
    low, high = m["quality_ci"] or (math.nan, math.nan)
    cost = "-" if m["cost_usd"] is None else f"{m['cost_usd'] * 1000:.4g}"
    if m["cost_usd"] is not None and m["costs_missing"]:
        cost += "*"
    tokens = ["-" if m[k] is None else f"{m[k]:,.0f}" for k in ("input_tokens", "output_tokens")]
    quality = math.nan if m["quality"] is None else m["quality"]
    return (
        f"{m['model']:<{width}}  {quality:>7.4f}  {low:.4f}-{high:.4f}  {cost:>13}  "
        f"{tokens[0]:>6}  {tokens[1]:>7}  {m['coverage']:>8.1%}"
    )


def _verdict(summary: dict[str, Any]) -> list[str]:
    best, oracle, compared = summary["best_single"], summary["oracle"], summary["compared"]
    lines = []
    if any(m["cost_usd"] is not None and m["costs_missing"] for m in summary["models"]):
        lines.append("* mean of the known costs; some are missing")
    if best is None or best["quality"] is None or oracle["quality"] is None:
        return [*lines, "no prompt was answered by every model: nothing can be compared"]
    if compared["models"] < summary["n_models"] or compared["prompts"] < summary["n_prompts"]:
        many, coverage = compared["models"], [m["coverage"] for m in summary["models"]]
        which = "with nearly full coverage" if max(coverage) >= NEARLY_ALL else "though none has full coverage"
        lines.append(f"compared: {many} model{'s' * (many > 1)} {which}, on {compared['prompts']:,} prompts")
    lines.append(f"best single model: {best['model']}, quality {best['quality']:.4f}{_per_1k(best)}")
    lines.append(
        f"oracle (best model for each prompt): quality {oracle['quality']:.4f}{_per_1k(oracle)}; "
        f"routing can gain at most {oracle['quality'] - best['quality']:.4f}"
    )
    lines.append(f"prompts that no model solves: {oracle['unsolved']:,}")
    return lines


def _per_1k(known: dict[str, Any]) -> str:
    return "" if known["cost_usd"] is None else f", USD {known['cost_usd'] * 1000:.4g} per 1k calls"


def _listing(counts: dict[str, int]) -> list[str]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    width = max(len(name) for name, _ in ranked[:LINES]) if ranked else 0
    lines = [f"  {name:<{width}}  {count:>7,}" for name, count in ranked[:LINES]]
    rest = ranked[LINES:]
    if rest:
        lines.append(f"  and {len(rest)} more with {sum(count for _, count in rest):,} prompts")
    return lines
