"""Draw the frontier of an evaluation as a picture: what the picture in README.md is made by.

python examples/frontier.py REPORT/results.json frontier.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equipoise.evaluation.plots import name_dots

COLOURS = ("#0a84c6", "#e07b00", "#119e75", "#cc6699", "#8c6bd1")


def numbers(values: list[float | None]) -> np.ndarray:
    """JSON has no NaN: unknown numbers are null."""
    return np.array([np.nan if v is None else v for v in values])


def draw(results: dict[str, Any], target: Path) -> None:
    """Quality against cost: routers with their intervals, coin-flips between models, and the models themselves."""
    figure = Figure(figsize=(8.6, 4.6), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x = 100 * numbers(results["frontier_cost_shares"])
    best, zero = results["baselines"]["best_single"], results["baselines"]["zero_router"]
    if zero is None or zero["aiq"] is None:
        sys.exit("no frontier to draw: costs are not known, or the same for all models")
    axes.plot(x, numbers(zero["frontier"]["quality"]), "--", color="#8a8a8a", label="coin-flips between models")
    shown = [r for r in results["routers"] if not r["name"].startswith("baseline:") and r["name"] != "auto"]
    for router, colour in zip(shown, COLOURS * len(shown), strict=False):
        band = {key: numbers(values) for key, values in router["frontier"].items()}
        axes.fill_between(x, band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, band["quality"], color=colour, label=router["name"])
    curves = numbers(zero["frontier"]["quality"])
    models = results["baselines"]["single_models"]
    weakest = min(model["quality"] for model in models)
    bottom = max(np.nanmin(curves) - 1.5 * (np.nanmax(curves) - np.nanmin(curves)), weakest - 0.05)
    shown_models = [model for model in models if model["quality"] > bottom]
    dots = {m["model"]: (100 * m["cost_usd"] / best["cost_usd"], m["quality"]) for m in shown_models}
    axes.plot(*zip(*dots.values(), strict=True), "o", color="#222222", markersize=4)
    if len(shown_models) < len(models):
        note = f"{len(models) - len(shown_models)} weaker models lie below the picture"
        axes.annotate(note, (0.01, 0.02), xycoords="axes fraction", fontsize=7, color="#666666")
    axes.set_ylim(bottom=bottom)
    axes.set_xscale("log")
    left = 0.7 * x[~np.isnan(curves)].min()
    axes.set_xlim(left=left)
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if left <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, labels=[f"{t} %" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"mean cost, as a share of that of {' or '.join(best['models'])}, the best single model")
    axes.set_ylabel("mean quality on held-out prompts")
    axes.set_title(f"{results['table']}: {results['n_prompts']:,} prompts, {results['seeds']} splits", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    name_dots(axes, dots)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/frontier.py REPORT/results.json PICTURE.png")
    mpl.rcParams["font.family"] = "DejaVu Sans"
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
