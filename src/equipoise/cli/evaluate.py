"""``equipoise evaluate``: measure routers on an outcome table, with intervals and a verdict."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.catalog import notebook_pool
from equipoise.cli.engines import add_best_of, names
from equipoise.cli.output import emit_json, note, say
from equipoise.comparison import evaluate
from equipoise.engine import Engine
from equipoise.errors import InputError
from equipoise.evaluation.files import check_directory, write_evaluation
from equipoise.evaluation.results import Results, RouterRow
from equipoise.evaluation.scenario_files import write_scenarios
from equipoise.evaluation.scenarios import SCENARIOS, Contender, ScenarioReport, run_scenarios, simulate
from equipoise.evaluation.splits import KINDS
from equipoise.registry import DEFAULT_ROUTER, make_policy, make_router, policies, routers, split_specs

CASCADES = ("cascade_routing", "cascade", "cascade:test=vote", "cascade:test=agreement")

# Name, policy, router, and whether it learns from the simulated answers.
CONTENDERS = (
    ("cost-aware", "cost_aware", "static", False),
    ("quality-first", "quality_first", "static:tier_adjustment=false", False),
    ("cost-aggressive", "cost_aware:cost_weight=2", "static", False),
    ("knn, learning", "cost_aware", "knn", True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("table", metavar="TABLE", nargs="?", help="outcome table, or the name of a public data set")
    parser.add_argument(
        "--routers", metavar="A,B|all", default=DEFAULT_ROUTER, help=f"specifications (default {DEFAULT_ROUTER})"
    )
    parser.add_argument(
        "--cascades", metavar="A,B|all", help="policies that look at answers, to compare with the routers"
    )
    add_best_of(parser)
    about = "compare these models, on the prompts that all of them cover"
    parser.add_argument("--models", metavar="A,B", type=names, help=about)
    parser.add_argument("--split", choices=KINDS, default="random", help="what is held out (default random)")
    parser.add_argument("--seeds", metavar="N", type=int, default=10, help="number of splits (default 10)")
    parser.add_argument("--prices", metavar="FILE", type=Path, help="CSV of model, usd_per_1m_input, usd_per_1m_output")
    parser.add_argument("--cost", choices=("table", "none"), default="table", help="none: evaluate quality alone")
    jobs = min(2, os.cpu_count() or 1)
    parser.add_argument("--jobs", metavar="N", type=int, default=jobs, help="processes (default 2, on one core 1)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write results.json, choices.parquet, report.html")
    parser.add_argument("--scenarios", action="store_true", help="play the ten notebook scenarios; needs no table")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: evaluated, whatever the verdict."""
    if args.scenarios:
        if args.table is not None:
            raise InputError(f"--scenarios needs no table, and {args.table} is one; keep one of them")
        return _scenarios(args)
    if args.table is None:
        raise InputError("no table to evaluate; give a file or the name of a data set, or --scenarios")
    if args.out is not None:
        check_directory(args.out)
    results = evaluate(
        args.table,
        routers=_specs(args.routers),
        prices=args.prices,
        models=args.models,
        split=args.split,
        seeds=args.seeds,
        cost=args.cost != "none",
        cascades=_cascades(args.cascades),
        best_of=args.best_of,
        jobs=args.jobs,
        on_progress=note,
    )
    # Neither a disk that is full nor a reader that went away must cost the work of minutes.
    untold: OSError | None = None
    try:
        if args.json:
            emit_json(results.document())
        else:
            _print(results)
    except OSError as error:
        untold = error
    for file in write_evaluation(results, args.out) if args.out is not None else ():
        note(f"wrote {file}")
    if untold is not None:
        raise untold
    return 0


def _specs(text: str) -> list[str]:
    known = routers()
    if text != "all":
        return split_specs(text, known)
    ready = [name for name, cls in known.items() if cls.available()]
    for name in known.keys() - set(ready):
        note(f"router {name} is left out: what it needs is not installed")
    return ready


def _cascades(text: str | None) -> list[str]:
    if text is None:
        return []
    return list(CASCADES) if text == "all" else split_specs(text, policies())


def _print(results: Results) -> None:
    best = results.baselines["best_single"]
    cost = f" at {best['cost_usd']:.3g} USD a prompt" if results.priced else ""
    many = f"{results.n_prompts:,} prompts, {len(results.models)} models, split {results.split} x {results.seeds}"
    say(f"{results.table}: {many}; best single model {' or '.join(best['models'])}: {best['quality']:.3f}{cost}")
    say()
    width = max(len(row.name) for row in results.routers)
    head, cells = _columns(results)
    say(f"{'':<{width}}  {head}")
    if results.priced:
        zero = results.baselines["zero_router"]
        say(f"{'zero router':<{width}}  {'':>7}  {'':>24}  {_number(zero['aiq'], 6)}")
    for row in results.routers:
        say(f"{row.name:<{width}}  {cells(row)}")
    say()
    _print_cascades(results)
    for line in results.verdicts():
        say(line)
    for line in results.notes:
        note(f"note: {line}")


def _print_cascades(results: Results) -> None:
    """Each cascade against single-model routing."""
    if not results.cascades:
        return
    width = max(len(c.row.name) for c in results.cascades)
    rival = f"'{results.cascades[0].router}'"
    heads = f"{'AIQ':>6}  {'over the zero router':>24}  {'over ' + rival:>24}  {'cost of best quality':>20}"
    against = f"cheaper than {rival}"
    say(f"{'':<{width}}  {heads}  {against:>20}  calls")
    for c in results.cascades:
        low, high = c.saving_ci
        saving = f"{c.saving:z.0%} [{low * 100:z.0f}, {high * 100:z.0f}]" if low == low else _share(c.saving, 0)
        say(
            f"{c.row.name:<{width}}  {_number(c.row.aiq, 6)}  {_interval(c.row.delta_aiq, c.row.delta_aiq_ci):>24}  "
            f"{_interval(c.aiq_gain, c.aiq_gain_ci):>{max(24, len(rival) + 5)}}  "
            f"{_share(c.cost_share, 20)}  {saving:>{max(20, len(against))}}  {c.calls:>5.2f}"
        )
    say()


def _columns(results: Results) -> tuple[str, Any]:
    head = f"{'quality':>7}  {'gain over best single':>24}"
    if results.priced:
        head += f"  {'AIQ':>6}  {'over the zero router':>24}  {'QNC':>5}  {'saving':>6}  {'with gain':>9}"
    if len(results.models) == 2:
        head += f"  {'APGR':>5}  {'CPT50':>5}  {'CPT80':>5}"

    def cells(row: RouterRow) -> str:
        text = f"{row.quality:>7.3f}  {_interval(row.quality_gain, row.quality_gain_ci):>24}"
        if results.priced:
            at = row.at_best_quality if row.at_best_quality is not None and row.at_best_quality.reached > 0 else None
            text += f"  {_number(row.aiq, 6)}  {_interval(row.delta_aiq, row.delta_aiq_ci):>24}  {_share(row.qnc, 5)}"
            text += f"  {'-':>6}  {'-':>9}" if at is None else f"  {_share(at.saving, 6)}  {at.quality_change:>+9.3f}"
        if len(results.models) == 2:
            text += "".join(f"  {_number(v, 5)}" for v in (row.apgr, row.cpt50, row.cpt80))
        return text

    return head, cells


def _interval(value: float, interval: tuple[float, float]) -> str:
    if value != value:
        return "-"
    low, high = interval
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" if low == low else f"{value:+.3f}"


def _share(value: float | None, width: int) -> str:
    known = value is not None and value == value and value != float("inf")
    return f"{value:>z{width}.0%}" if known else f"{'-':>{width}}"


def _number(value: float | None, width: int) -> str:
    known = value is not None and value == value and value != float("inf")
    return f"{value:>{width}.3f}" if known else f"{'-':>{width}}"


# ---------------------------------------------------------------- scenarios


def _scenarios(args: argparse.Namespace) -> int:
    models = list(notebook_pool().find())
    contenders = [_contender(*row) for row in CONTENDERS]
    report = run_scenarios(contenders, models)
    written = write_scenarios(report, args.out) if args.out is not None else ()
    if args.json:
        emit_json(report.document())
    else:
        _print_scenarios(report)
    for file in written:
        note(f"wrote {file}")
    return 0


def _contender(name: str, policy: str, router: str, learns: bool) -> Contender:
    pool = list(notebook_pool().find())
    engine = Engine(router=make_router(router), policy=make_policy(policy), models=pool, analyzer=Analyzer.notebook())
    if learns:
        _teach(engine)
    return Contender(
        name=name,
        decide=engine.decide,
        learn=(lambda request, model, quality: engine.learn(request.text, model, quality)) if learns else None,
    )


def _teach(engine: Engine) -> None:
    """Show a learner every model's simulated answer to every scenario once; it knows nothing by itself."""
    prior = Engine(router=make_router("static"), policy=engine.policy, models=engine.models, analyzer=engine.analyzer)
    rng = np.random.default_rng(1)
    for scenario in SCENARIOS:
        for candidate in prior.decide(scenario.request()).candidates:
            if candidate.quality is not None:
                _, quality, _ = simulate(0.0, candidate.quality.mean, 0.0, rng)
                engine.learn(scenario.prompt, candidate.model, quality)


def _print_scenarios(report: ScenarioReport) -> None:
    width = max(len(r.contender) for r in report.comparison)
    say(f"{'':<{width}}  {'cost USD':>9}  {'quality':>7}  {'latency s':>9}  {'utility':>8}  {'violations':>10}  saving")
    for r in report.comparison:
        say(
            f"{r.contender:<{width}}  {r.mean_cost_usd:>9.5f}  {r.mean_quality:>7.3f}  {r.mean_latency_s:>9.2f}  "
            f"{r.mean_utility:>8.3f}  {r.violation_rate:>10.2f}  {r.saving:>6.0%}"
        )
    say()
    say("best by " + ", ".join(f"{measure}: {name}" for measure, name in report.best().items()))
