"""report.html: one file that opens offline and says in words and pictures what was found."""

from __future__ import annotations

import html
from collections.abc import Sequence

from equipoise.evaluation import points
from equipoise.evaluation.bootstrap import Interval
from equipoise.evaluation.plots import calibration_plot, frontier_plot, gain_plot, shares_plot, shown
from equipoise.evaluation.results import CascadeRow, DatasetChange, Results, RouterRow

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --good: #0a7d4f; }
@media (prefers-color-scheme: dark) { :root { --good: #41c48c; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
p { max-width: 62rem; } h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .4rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; } td.words { text-align: left; }
tr.baseline { opacity: .75; } .wide { overflow-x: auto; }
.verdict { background: var(--soft); border-left: 4px solid var(--good); padding: .6rem 1rem; }
.verdict li { margin: .2rem 0; } svg { max-width: 100%; height: auto; } small { opacity: .8; }
"""

TERMS = (
    ("quality", "mean quality on test prompts when cost does not matter (operating point 0)"),
    ("gain", "that quality minus the best single model's, with a 95 % interval"),
    (
        "AIQ",
        "mean height of the upper concave hull of (mean cost, mean quality) between the cheapest and the dearest "
        "single model, flat to the right. The cheapest single model's point is part of every curve: any router "
        "can be mixed with it by a coin",
    ),
    ("over zero", "AIQ minus that of the zero router: the hull of the single models, chosen on training prompts"),
    ("QNC", "least cost of an operating point as good as the best single model, over that model's cost"),
    ("saving", "cost saved at the cheapest operating point that matched the best single model on calibration prompts"),
    ("with gain", "the gain at that point: what the saving costs in quality"),
    ("95 %", "cost of 95 % of the best single model's quality, over that model's cost"),
    ("p", "two-sided, of AIQ over zero (without prices, of the gain), corrected over all routers by Holm's method"),
    ("APGR", "two models: share of the quality gap recovered, averaged over all shares of strong calls; chance is 0.5"),
    ("CPT", "two models: share of strong calls that recovers 50 or 80 % of the gap"),
)


def report_html(results: Results) -> str:
    """The whole report as one HTML document without outside references."""
    e = html.escape
    # Costs are drawn as shares of the best single model's.
    drawn = results.priced and results.traded and results.baselines["best_single"]["cost_usd"] > 0
    parts = [
        f"<h1>Routing on {e(results.table)}</h1>",
        f"<p>{results.n_prompts:,} prompts, {len(results.models)} models, {_folds(results)}.</p>",
        _verdicts(results),
        "<h2>Frontier</h2>" if drawn else "<h2>Quality</h2>",
        frontier_plot(results) + points.described(results, shown(results)) if drawn else gain_plot(results),
        "<h2>Routers and baselines</h2>",
        _routers(results),
        _cascades(results),
        _picks(results),
        "<h2>Single models and limits</h2>",
        _singles(results),
        "<h2>Who gets the prompts</h2>",
        f"<p>{_headline_words(results)}</p>",
        shares_plot(results),
        "<h2>Data sets</h2>",
        _datasets(results),
        "<h2>Can the estimates be believed?</h2>",
        calibration_plot(results),
        _honesty(results),
        _budgets(results),
        "<h2>How this was computed</h2>",
        _method(results),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Routing on {e(results.table)}</title><style>{STYLE}{points.STYLE}</style></head>\n<body>\n"
        + "\n".join(p for p in parts if p)
        + "\n</body></html>\n"
    )


def _verdicts(results: Results) -> str:
    rows = [r for r in results.routers if not r.is_baseline]
    said = [(r.name, r.verdict) for r in rows] + [(c.row.name, c.verdict) for c in results.cascades]
    items = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(verdict)}.</li>" for name, verdict in said)
    return f'<div class="verdict"><ul>{items}</ul></div>'


def _folds(results: Results) -> str:
    many = results.seeds
    return {
        "random": f"{many} random split" + "s" * (many > 1),
        "dataset": f"{many} data sets, each left out once",
        "model": f"{many} of them held out in turn",
        "table": f"the table's own split, {many} seeds",
    }[results.split]


def _headline_words(results: Results) -> str:
    if results.priced:
        return "At the operating point chosen to match the best single model on calibration prompts."
    return "At the operating point of highest estimated quality."


def _routers(results: Results) -> str:
    head = ["", "quality", "gain"]
    if results.priced:
        head += ["AIQ", "over zero", "QNC", "95 %", "saving", "with gain"]
    if len(results.models) == 2:
        head += ["APGR", "CPT 50", "CPT 80"]
    head += ["p, corrected", "decision, µs", "fit, s"]
    body = [_row([r.name, *_cells(r, results)], "baseline" if r.is_baseline else "") for r in results.routers]
    terms = "; ".join(f"<b>{a}</b> {b}" for a, b in TERMS if any(name.startswith(a) for name in head))
    return _table(head, body) + f"<p><small>{terms}.</small></p>"


def _cascades(results: Results) -> str:
    """Cascades against single-model routing."""
    if not results.cascades:
        return ""
    rival = results.cascades[0].router
    shares = [e.share for e in results.cascades[0].equal_cost]
    head = ["", "AIQ", "over zero", f"over {rival}", "cost of equal quality", f"the same of {rival}", "saved"]
    head += ["calls", "latency, s"]
    body = [_row(_cascade_cells(c)) for c in results.cascades]
    at_cost = [_row([c.row.name, *(_ci(e.gain, e.gain_ci) for e in c.equal_cost)]) for c in results.cascades]
    by_set = [
        _row([d.dataset, *(_change(c.datasets[i]) for c in results.cascades)])
        for i, d in enumerate(results.cascades[0].datasets)
    ]
    words = (
        "A cascade looks at answers before it returns one, and pays for all of them. Cost of equal quality: the least "
        "mean cost at which it, or a mix of its operating points and single models, has the quality of the best single "
        "model, over that model's cost. Calls and latency at the point chosen on calibration prompts. "
        "Intervals stand alone; a verdict asks for p-values that are corrected over the cascades by Holm's method."
    )
    return (
        f"<h2>Cascades against router {html.escape(rival)}</h2>{_table(head, body)}<p><small>{words}</small></p>"
        "<h3>Quality gained at equal cost</h3>"
        + _table(["", *(f"{share:g}" for share in shares)], at_cost)
        + "<p><small>Cost: this share of the way from the cheapest to the best single model's.</small></p>"
        "<h3>When each wins</h3>"
        + _table(["", *(c.row.name for c in results.cascades)], by_set)
        + "<p><small>Change of quality in points, and cost over the router's, at both headline points.</small></p>"
    )


def _picks(results: Results) -> str:
    """Hypervolume of every method, and operating points of the best router to pick from."""
    rows = [r for r in (*results.routers, *(c.row for c in results.cascades)) if r.objectives is not None]
    if not rows:
        return ""
    volumes = [
        _row([r.name, _n(o.hypervolume), _ci(o.gain, o.gain_ci)], "baseline" if r.is_baseline else "")
        for r in rows
        if (o := r.objectives) is not None
    ]
    best = max((r for r in shown(results) if r.objectives and r.objectives.picks), key=lambda r: r.aiq, default=None)
    measured = ", ".join(rows[0].objectives.measured) if rows[0].objectives else ""
    words = (
        f"Share of the space of {measured} that the operating points cover; cost and latency count on a log scale "
        "between the extremes of the single models. Gain: over the single models."
    )
    text = f"<h2>Objectives</h2>{_table(['', 'hypervolume', 'gain'], volumes)}<p><small>{words}</small></p>"
    if best is None or best.objectives is None:
        return text
    head = ["cost_weight", "quality", "cost per prompt, USD", "latency, s", "on the frontier"]
    body = [
        _row(
            [
                f"{p.cost_weight:.6g}",
                _n(p.quality),
                _money(p.cost_usd),
                _n(p.latency_s, 2),
                "yes" if p.on_frontier else "",
            ]
        )
        for p in best.objectives.picks
    ]
    how = (
        f"Pick a row of router {html.escape(best.name)} and put its weight into the policy: "
        "<code>policy: {type: cost_aware, form: linear, cost_weight: ...}</code>; or name a mean cost: "
        "<code>policy: {type: budget, mean_cost_usd: ...}</code>."
    )
    return text + f"<h3>Pick a point</h3>{_table(head, body)}<p><small>{how}</small></p>"


def _change(change: DatasetChange) -> str:
    return f"{change.quality_change * 100:+.1f} at {_percent(change.cost_ratio)}"


def _cells(row: RouterRow, results: Results) -> list[str]:
    cells = [_n(row.quality), _ci(row.quality_gain, row.quality_gain_ci)]
    if results.priced:
        at = row.at_best_quality
        cells += [_n(row.aiq), _ci(row.delta_aiq, row.delta_aiq_ci), _n(row.qnc), _n(row.cost_share_at_95)]
        if at is not None and at.reached > 0:
            cells += [_percent_ci(at.saving, at.saving_ci), _ci(at.quality_change, at.quality_change_ci)]
        else:
            cells += ["–", "–"]
    if len(results.models) == 2:
        cells += [_n(row.apgr), _n(row.cpt50), _n(row.cpt80)]
    return [*cells, _n(row.p_holm), _n(row.decide_us_p50, 0), _n(row.fit_s, 2)]


def _cascade_cells(c: CascadeRow) -> list[str]:
    return [
        c.row.name,
        _n(c.row.aiq),
        _ci(c.row.delta_aiq, c.row.delta_aiq_ci),
        _ci(c.aiq_gain, c.aiq_gain_ci),
        *(_percent(v) for v in (c.cost_share, c.router_cost_share)),
        _percent_ci(c.saving, c.saving_ci),
        _n(c.calls, 2),
        _n(c.latency_s, 2),
    ]


def _singles(results: Results) -> str:
    named = [(s["model"], s) for s in results.baselines["single_models"]]
    others = [("oracle (best model for every prompt)", results.baselines["oracle"])]
    others.append(("a model at random", results.baselines["random"]))
    body = [
        _row([name, _n(s["quality"]), _money(s.get("cost_usd"))])
        for name, s in sorted(named, key=lambda item: -item[1]["quality"]) + others
    ]
    return _table(["", "quality", "cost per prompt, USD"], body)


def _datasets(results: Results) -> str:
    rows = shown(results)
    first = rows[0].datasets
    head = ["", "test prompts", "best single", *(r.name for r in rows)]
    by_name = [{d.dataset: d for d in r.datasets} for r in rows]
    body = [
        _row(
            [
                d.dataset,
                f"{d.prompts:,}",
                _n(d.best_single_quality),
                *(_with_share(b[d.dataset].quality, b[d.dataset].cost_share) for b in by_name),
            ]
        )
        for d in first
    ]
    worst = [min(r.datasets, key=lambda d: d.quality - d.best_single_quality) for r in rows]
    lines = "; ".join(
        f"{html.escape(r.name)}: {html.escape(w.dataset)} ({(w.quality - w.best_single_quality) * 100:+.1f} points)"
        for r, w in zip(rows, worst, strict=True)
    )
    share = " (in brackets: cost as a share of the best single model's)" if results.priced else ""
    return _table(head, body) + f"<p><small>Quality{share}, test prompts of all seeds. Worst: {lines}.</small></p>"


def _with_share(quality: float, share: float) -> str:
    return _n(quality) if share != share else f"{_n(quality)} ({share:.0%})"


def _honesty(results: Results) -> str:
    body = [
        _row([r.name, _n(r.ece), _n(r.brier), _percent(r.coverage), _n(r.share_entropy_bits, 2)])
        for r in shown(results)
    ]
    words = (
        "Calibration error and Brier score of quality estimates; coverage of their 90 % intervals over data sets "
        "and models; entropy of the model shares in bits (0: one model gets everything)."
    )
    return _table(["", "ECE", "Brier", "coverage", "share entropy"], body) + f"<p><small>{words}</small></p>"


def _budgets(results: Results) -> str:
    body = [
        _row([r.name, _percent(b.share_of_best), *(_money(v) for v in (b.budget_usd, b.promised_usd, b.realised_usd))])
        for r in shown(results)
        for b in r.budgets
    ]
    head = ["", "budget, of best single", "budget, USD", "promised on calibration", "realised on test"]
    return "<h2>Budgets: promised and kept</h2>" + _table(head, body) if body else ""


def _method(results: Results) -> str:
    usd = results.timing["usd_per_core_hour"]
    lines = [
        "Prompts that share a group or are near duplicates stay on one side of every split. Routers are fitted "
        "on fit prompts, operating points are chosen on calibration prompts, and test prompts are looked at once.",
        "An operating point is a weight of cost: the model with the highest estimated quality minus weight times "
        "estimated cost is chosen; at most 100 weights, from 0 to infinity. Quality and cost shown are the measured "
        "ones of the chosen models.",
        "The best single model is the one with the highest mean quality on training prompts.",
        f"A router's own time, analysis included, is billed at {usd:g} USD per core-hour.",
        f"Intervals are 95 % and hold both a paired bootstrap over groups of prompts ({results.replicates:,} "
        "replicates, hulls rebuilt in each) and, from five seeds on, the corrected resampled t over seeds. The "
        "interval of AIQ over the zero router also holds that of the frontier whose points were chosen on "
        "calibration prompts. p-values are corrected over routers by Holm's method; a verdict needs interval and "
        "p-value.",
        "The control is the first router fitted on qualities dealt to the wrong prompts. <b>auto</b> is the router "
        "with the best calibration frontier in each seed.",
        "choices.parquet holds every choice, so that all of this can be computed again with other code.",
    ]
    items = "".join(f"<li>{line}</li>" for line in [*lines, *(html.escape(n) for n in results.notes)])
    return f"<ul>{items}</ul>"


# ---------------------------------------------------------------- cells


def _table(head: Sequence[str], body: Sequence[str]) -> str:
    cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _row(cells: Sequence[str], css: str = "") -> str:
    return f'<tr class="{css}">' + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>"


def _n(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value or value in (float("inf"), float("-inf")) else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:z.0%}"


def _money(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3g}"


def _ci(value: float, ci: Interval) -> str:
    if value != value:
        return "–"
    return f"{value:+.3f}{_span(f'{ci.low:+.3f}', f'{ci.high:+.3f}')}"


def _percent_ci(value: float, ci: Interval) -> str:
    return _percent(value) + _span(f"{ci.low * 100:z.0f}", f"{ci.high * 100:z.0f}")


def _span(low: str, high: str) -> str:
    """An interval that no line breaks, if there is one."""
    return "" if "nan" in low else f" [{low},\N{NO-BREAK SPACE}{high}]"
