"""scenarios.json and six plots of a scenario report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equipoise.evaluation.files import staged
from equipoise.evaluation.plots import COLOURS
from equipoise.evaluation.scenarios import TIERS, ScenarioReport
from equipoise.json_text import json_text

Draw = Callable[[Axes, ScenarioReport], None]
# Share of an axis within which dots cannot have a label each.
_SAME_PLACE = 0.08


def write_scenarios(report: ScenarioReport, out: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write scenarios.json and the six PNG plots into the directory ``out``, all or none."""
    names = (*(f"{name}.png" for name in PLOTS), "scenarios.json")
    with staged(out, names) as stage:
        for name, draw in PLOTS.items():
            fig = Figure(figsize=(7.2, 4.6), layout="constrained")
            FigureCanvasAgg(fig)
            draw(fig.add_subplot(), report)
            fig.savefig(stage / f"{name}.png", dpi=110)
        text = json_text(report.document(), indent=1)
        (stage / "scenarios.json").write_text(text + "\n", encoding="utf-8")
    return tuple(Path(out) / name for name in names)


def _cost_quality(ax: Axes, report: ScenarioReport) -> None:
    rows = report.comparison
    places = {r.contender: (r.mean_cost_usd, r.mean_quality) for r in rows}
    _dots(ax, places, [r.mean_utility for r in rows], "viridis", "mean utility")
    ax.set(title="Cost against quality", xlabel="mean cost, USD", ylabel="mean quality")
    ax.set_xlim(left=0)  # nothing costs less


def _tier_usage(ax: Axes, report: ScenarioReport) -> None:
    rows = report.comparison
    width = 0.8 / len(TIERS)
    for k, tier in enumerate(TIERS):
        at = np.arange(len(rows)) + (k - (len(TIERS) - 1) / 2) * width
        ax.bar(at, [r.tiers[tier] for r in rows], width, color=COLOURS[k], label=tier)
    _name_bars(ax, report)
    ax.set(title="Tiers used", ylabel="requests")
    ax.legend(frameon=False)


def _violations(ax: Axes, report: ScenarioReport) -> None:
    _bars(ax, report, [r.violation_rate for r in report.comparison], COLOURS[6])
    ax.set(title="Constraint violations", ylabel="violations per request")


def _utility(ax: Axes, report: ScenarioReport) -> None:
    _bars(ax, report, [r.mean_utility for r in report.comparison], COLOURS[2])
    ax.set(title="Utility: quality per thousandth of a dollar", ylabel="mean utility")


def _by_kind(ax: Axes, report: ScenarioReport) -> None:
    rows = report.comparison
    kinds = list(rows[0].utility_by_kind)
    values = np.array([[r.utility_by_kind[k] for r in rows] for k in kinds])
    picture = ax.imshow(values, cmap="YlOrRd", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for i in range(len(kinds)):
        for j in range(len(rows)):
            ink = "white" if values[i, j] > middle else "black"
            ax.text(j, i, f"{values[i, j]:.3g}", ha="center", va="center", color=ink, size=8)
    ax.figure.colorbar(picture, ax=ax)
    _name_bars(ax, report)
    ax.set_yticks(np.arange(len(kinds)), labels=kinds, size=8)
    ax.set_title("Utility by kind of request")


def _latency_cost(ax: Axes, report: ScenarioReport) -> None:
    rows = report.comparison
    places = {r.contender: (r.mean_latency_s, r.mean_cost_usd) for r in rows}
    _dots(ax, places, [r.mean_quality for r in rows], "plasma", "mean quality")
    ax.set(title="Latency against cost", xlabel="mean latency, s", ylabel="mean cost, USD")
    ax.set(xlim=(0, None), ylim=(0, None))


def _dots(ax: Axes, places: dict[str, tuple[float, float]], tone: list[float], tones: str, what: str) -> None:
    """A named dot for every contender; its tone tells one thing more."""
    across, up = zip(*places.values(), strict=True)
    dots = ax.scatter(across, up, s=90, c=tone, cmap=tones)
    _name_dots(ax, places)
    ax.figure.colorbar(dots, ax=ax, label=what)
    ax.margins(0.25)
    dots.set_clip_on(False)


def _name_dots(ax: Axes, places: dict[str, tuple[float, float]]) -> None:
    """Names beside dots; dots that lie close together share one label, a line for each."""
    at = np.array(list(places.values()))
    near = at / np.maximum(np.ptp(at, axis=0), 1e-12)
    left = list(range(len(at)))
    while left:
        close = [k for k in left if np.abs(near[k] - near[left[0]]).max() < _SAME_PLACE]
        names = [name for k, name in enumerate(places) if k in close]
        ax.annotate("\n".join(names), at[close].max(axis=0), xytext=(6, 5), textcoords="offset points", size=8)
        left = [k for k in left if k not in close]


def _bars(ax: Axes, report: ScenarioReport, values: list[float], colour: str) -> None:
    ax.bar(np.arange(len(values)), values, color=colour)
    _name_bars(ax, report)


def _name_bars(ax: Axes, report: ScenarioReport) -> None:
    names = [r.contender for r in report.comparison]
    ax.set_xticks(np.arange(len(names)), labels=names, rotation=30, ha="right", size=8)


PLOTS: dict[str, Draw] = {
    "cost_quality": _cost_quality,
    "tier_usage": _tier_usage,
    "violations": _violations,
    "utility": _utility,
    "utility_by_kind": _by_kind,
    "latency_cost": _latency_cost,
}
