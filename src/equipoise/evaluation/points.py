"""Points of the drawn frontier that can be clicked: what each came to, and the command that gives it.

A point is a link to its description, so a click, or Tab and Enter, shows it without any script. The script adds what
links cannot do: it copies, marks the point that was chosen, and walks along a curve by the arrow keys.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from equipoise.evaluation.objectives import Pick
from equipoise.evaluation.results import Results, RouterRow

STYLE = """
a.spot circle { stroke-width: 10; stroke: transparent; cursor: pointer; }
a.spot:hover circle, a.spot:focus circle, a.spot[aria-current] circle { stroke: currentColor; stroke-width: 2.5; }
a.spot:focus { outline: none; }
.point { display: none; scroll-margin-top: 36rem; background: var(--soft); border-left: 4px solid var(--good);
  padding: .6rem 1rem; } .point:target { display: block; }
.point p { margin: .2rem 0; } .point button { margin-left: .5rem; }
.point code { user-select: all; overflow-wrap: anywhere; }
"""

SCRIPT = """
const spots = [...document.querySelectorAll('a.spot')];
const reach = spot => [...spot.parentNode.children].forEach(s => s.setAttribute('tabindex', s === spot ? 0 : -1));
document.querySelectorAll('g.curve').forEach(curve => reach(curve.firstElementChild));
spots.forEach(spot => spot.addEventListener('keydown', pressed => {
  const step = {ArrowRight: 'previousElementSibling', ArrowLeft: 'nextElementSibling'}[pressed.key];
  if (!step) return;
  pressed.preventDefault();
  if (spot[step]) { reach(spot[step]); spot[step].focus(); }
}));
const mark = () => spots.forEach(spot => {
  if (spot.getAttribute('href') === location.hash) { spot.setAttribute('aria-current', 'true'); reach(spot); }
  else spot.removeAttribute('aria-current');
});
addEventListener('hashchange', mark); mark();
document.querySelectorAll('.point button').forEach(button => {
  button.hidden = false;
  button.addEventListener('click', () => {
    const code = button.previousElementSibling;
    getSelection().selectAllChildren(code);
    const done = () => { button.textContent = 'Copied'; setTimeout(() => { button.textContent = 'Copy'; }, 1500); };
    const old = () => { if (document.execCommand('copy')) done(); };
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, old); else old();
  });
});
"""

HINT = (
    "Click a point of a curve (or reach it by Tab, the arrow keys and Enter) to see what it came to on test prompts, "
    "and the command that gives it."
)


class Spot(NamedTuple):
    """One operating point of a router, by the name of its description on the page."""

    anchor: str
    router: str
    pick: Pick


def spots(rows: Sequence[RouterRow]) -> list[list[Spot]]:
    """For every row the points of its frontier, by falling cost; none for rows that have no weights of cost."""
    return [
        [
            Spot(f"point-{k}-{i}", row.name, pick)
            for i, pick in enumerate(row.objectives.picks if row.objectives is not None else ())
            if pick.on_frontier
        ]
        for k, row in enumerate(rows)
    ]


def described(results: Results, rows: Sequence[RouterRow]) -> str:
    """The descriptions of all points, each shown once it is chosen, and the script."""
    found = [spot for curve in spots(rows) for spot in curve]
    if not found:
        return ""
    blocks = "\n".join(_description(results, spot) for spot in found)
    return f"<p><small>{HINT}</small></p>\n{blocks}\n<script>{SCRIPT}</script>"


def policy_of(pick: Pick) -> str:
    """The policy that chooses this point, as ``--policy`` takes it."""
    return f"cost_aware:form=linear,cost_weight={pick.cost_weight:.6g}"


def command(results: Results, spot: Spot) -> str:
    """The command line that trains the router and writes it with the policy that chooses this point."""
    options = ("--router", spot.router, "--policy", policy_of(spot.pick), "--out", "router.npz")
    return shlex.join(("equipoise", "train", *results.source, *options))


def told(results: Results, pick: Pick) -> str:
    """Quality, cost and saving of a point in words."""
    best = results.baselines["best_single"]
    change = 1 - pick.cost_usd / best["cost_usd"]
    name = " or ".join(best["models"])
    waited = f", {pick.latency_s:.2f} s" if pick.latency_s == pick.latency_s else ""
    return (
        f"quality {pick.quality:.3f} ({(pick.quality - best['quality']) * 100:+.1f} points against {name}), "
        f"{pick.cost_usd:.3g} USD a prompt ({abs(change):.0%} {'saved' if change >= 0 else 'more'}){waited}"
    )


def _description(results: Results, spot: Spot) -> str:
    e = html.escape
    pick = spot.pick
    config = f"policy: {{type: cost_aware, form: linear, cost_weight: {pick.cost_weight:.6g}}}"
    codes = "".join(
        f'<p>{label} <code>{e(text)}</code><button type="button" hidden>Copy</button></p>'
        for label, text in (
            ("Command:", command(results, spot)),
            ("Policy:", policy_of(pick)),
            ("In equipoise.yaml:", config),
        )
    )
    return (
        f'<div class="point" id="{spot.anchor}" tabindex="-1"><p><b>{e(spot.router)}</b>: {e(told(results, pick))}.</p>'
        f"{codes}<p><small>Measured with routers that had not seen the test prompts; the command learns from all "
        "prompts of the table.</small></p></div>"
    )
