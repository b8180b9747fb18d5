"""Plots of an evaluation as inline SVG that is readable on light and dark pages."""

from __future__ import annotations

import html
import io
import warnings
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from equipoise.evaluation.points import Spot, spots
from equipoise.evaluation.results import Results, RouterRow

# Mid tones that stand out on white and on black (after Okabe and Ito).
COLOURS = ("#0a84c6", "#e07b00", "#119e75", "#cc6699", "#8c6bd1", "#b39700", "#d5493a", "#5b8ba8")
DASHES = ("-", "-.", ":")
GREY = "#8a8a8a"
# Stands for the page's text colour; replaced by currentColor in the SVG.
INK = "#010203"
SVG_DPI = 72


def frontier_plot(results: Results) -> str:
    """Quality against relative cost: every router with its band, the zero router, the label and the single models."""
    fig, ax = _figure(8.6, 4.8)
    rows = shown(results)
    _curves(ax, results, rows)
    best = results.baselines["best_single"]
    costs = [single["cost_usd"] for single in results.baselines["single_models"]]
    # A logarithm has no place for models that are free: they stand at the left edge.
    edge = 0.8 * min(cost for cost in costs if cost > 0)
    singles = {
        single["model"]: (100 * max(single["cost_usd"], edge) / best["cost_usd"], single["quality"])
        for single in results.baselines["single_models"]
    }
    ax.plot(*zip(*singles.values(), strict=True), "o", color=INK, markersize=3.5, clip_on=False, label="single models")
    ax.axhline(best["quality"], color=INK, linewidth=0.6, alpha=0.5, label="quality of the best one")
    ax.set_xscale("log")
    ticks = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    ax.set_xticks(ticks, labels=[f"{tick} %" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("mean cost, as a share of the best single model's (logarithmic)")
    ax.set_ylabel("mean quality")
    ax.set_xlim(100 * edge / best["cost_usd"], 100 * max(2.2, 1.1 * max(costs) / best["cost_usd"]))
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    curves = spots(rows)
    places = [[(100 * max(s.pick.cost_usd, edge) / best["cost_usd"], s.pick.quality) for s in c] for c in curves]
    name_dots(ax, singles, [place for curve in places for place in curve])
    drawn = _svg(fig, "Quality against cost", "frontier")
    # Where points lie over one another, a click meets that of the best router.
    order = sorted(zip(rows, curves, places, COLOURS * 9, strict=False), key=lambda drawn: drawn[0].aiq)
    links = "".join(_links(ax, curve, at, colour) for _, curve, at, colour in order)
    # What an image holds is not looked at by those who cannot see it; links are.
    return drawn.replace('role="img"', 'role="group"', 1).replace("</svg>", f"{links}</svg>")


def _curves(ax: Axes, results: Results, rows: Sequence[RouterRow]) -> None:
    """The zero router, what knows the data set's label, and the routers."""
    x = results.shares * 100
    zero = results.baselines["zero_router"]["frontier"]
    ax.fill_between(x, zero["low"], zero["high"], color=GREY, alpha=0.15, linewidth=0)
    ax.plot(x, zero["quality"], color=GREY, linestyle="--", label="zero router (mix of single models)")
    label = next((r for r in results.routers if r.name == "baseline:dataset_label"), None)
    if label is not None:
        ax.plot(x, label.frontier["quality"], color=GREY, linestyle=":", label="data set label")
    for k, (row, colour) in enumerate(zip(rows, COLOURS * 9, strict=False)):
        # Bands of many curves would hide one another; colours that return come with another dash.
        if len(rows) <= len(COLOURS):
            ax.fill_between(x, row.frontier["low"], row.frontier["high"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(x, row.frontier["quality"], DASHES[k // len(COLOURS) % len(DASHES)], color=colour, label=row.name)


def name_dots(ax: Axes, named: Mapping[str, tuple[float, float]], others: Sequence[tuple[float, float]] = ()) -> None:
    """Write the names of some dots where they hide least: other names, dots and the edge of the picture.

    Limits and scales of the axes must be set.
    """
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    to_points = 72 / figure.dpi
    places = ax.transData.transform([*named.values(), *others]) * to_points
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    inside = [float(side) * to_points for side in ax.get_window_extent().extents]
    for name, place, (x, y) in zip(named, named.values(), places, strict=False):
        width, height = 4.0 * len(name), 8.0  # of letters of size 7, about
        corners = [(x + aside, y + up) for up in (-10, 2) for aside in (4, -4 - width)]
        boxes = [(at, foot, at + width, foot + height) for at, foot in corners]
        hidden = [sum(_overlap(box, one) for one in taken) + width * height - _overlap(box, inside) for box in boxes]
        best = int(np.argmin(hidden))
        taken.append(boxes[best])
        aside, side = (4, "left") if best % 2 == 0 else (-4, "right")
        offset = (aside, -9 if best < 2 else 4)
        ax.annotate(name, place, offset, textcoords="offset points", fontsize=7, ha=side).set_in_layout(False)


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    return max(0.0, width) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))


def _links(ax: Axes, curve: Sequence[Spot], at: Sequence[tuple[float, float]], colour: str) -> str:
    """The points of one curve as links, at the places where the saved figure has them."""
    if not curve:
        return ""
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    height = figure.get_figheight() * SVG_DPI
    places = ax.transData.transform(at)
    drawn = []
    for spot, (share, quality), (left, up) in zip(curve, at, places * SVG_DPI / figure.dpi, strict=True):
        said = html.escape(f"{spot.router}: quality {quality:.3f} at {share:.3g} % of the best single model's cost")
        drawn.append(
            f'<a class="spot" href="#{spot.anchor}" aria-label="{said}"><title>{said}</title>'
            f'<circle cx="{left:.1f}" cy="{height - up:.1f}" r="4" fill="{colour}"/></a>'
        )
    return f'<g class="curve" role="group" aria-label="{html.escape(curve[0].router)}">{"".join(drawn)}</g>\n'


def gain_plot(results: Results) -> str:
    """Quality gained over the best single model, with intervals: what there is to show without prices."""
    rows = [r for r in results.routers if r.name != "baseline:random"]
    fig, ax = _figure(8.6, 0.9 + 0.33 * len(rows))
    at = np.arange(len(rows))[::-1]
    for y, row in zip(at, rows, strict=True):
        colour = GREY if row.is_baseline else COLOURS[0]
        low, high = row.quality_gain_ci
        ax.plot([low * 100, high * 100], [y, y], color=colour, linewidth=2)
        ax.plot(row.quality_gain * 100, y, "o", color=colour)
    ax.axvline(0, color=INK, linewidth=0.6)
    ax.set_yticks(at, labels=[r.name for r in rows])
    ax.set_xlabel("quality gained over the best single model, points, with 95 % interval")
    return _svg(fig, "Quality gained over the best single model", "gain")


def calibration_plot(results: Results) -> str:
    """Observed against estimated quality."""
    fig, ax = _figure(4.6, 4.2)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for row, colour in zip(shown(results), COLOURS * 9, strict=False):
        if row.reliability is not None:
            ax.plot(
                row.reliability.estimated, row.reliability.observed, "o-", color=colour, markersize=4, label=row.name
            )
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="estimated quality", ylabel="observed quality")
    ax.legend(fontsize=8, frameon=False)
    return _svg(fig, "Calibration of quality estimates", "calibration")


def shares_plot(results: Results) -> str:
    """Who gets the prompts, per router."""
    rows = [*shown(results), *(r for r in results.routers if r.name == "baseline:dataset_label")]
    fig, ax = _figure(8.6, 1.1 + 0.4 * len(rows))
    at = np.arange(len(rows))[::-1]
    left = np.zeros(len(rows))
    tones = COLOURS * (1 + len(results.models) // len(COLOURS))
    for k, model in enumerate(results.models):
        share = np.array([r.model_shares[model] for r in rows]) * 100
        if share.max() > 0:
            faded = 1.0 if k < len(COLOURS) else 0.55
            ax.barh(at, share, left=left, color=tones[k], alpha=faded, label=model, height=0.7)
        left += share
    ax.set_yticks(at, labels=[r.name for r in rows])
    ax.set(xlim=(0, 100), xlabel="share of prompts, %")
    ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(fig, "Model shares", "shares")


def shown(results: Results) -> list[RouterRow]:
    """The routers and cascades that are drawn: no baselines, and not the automatic choice, which equals one of them."""
    return [*(r for r in results.routers if not r.is_baseline and r.name != "auto"), *(c.row for c in results.cascades)]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(fig)
    ax = fig.add_subplot()
    fig.patch.set_alpha(0)
    ax.patch.set_alpha(0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=GREY, alpha=0.25, linewidth=0.5)
    return fig, ax


def _svg(fig: Figure, title: str, salt: str) -> str:
    for artist in fig.findobj(mpl.text.Text):
        artist.set_color(INK)
    for ax in fig.axes:
        ax.tick_params(color=INK, labelcolor=INK)
        for spine in ax.spines.values():
            spine.set_edgecolor(INK)
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # The page draws the text, in fonts of its own.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        fig.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    body = text[text.index("<svg") :].replace(INK, "currentColor")
    return body.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
