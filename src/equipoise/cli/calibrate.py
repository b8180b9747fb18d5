"""``equipoise calibrate``: set a policy on rows that the router has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from equipoise import api
from equipoise.atomic import check_target
from equipoise.cli.engines import inputs_of
from equipoise.cli.numbers import amount
from equipoise.cli.output import emit_json, note, say
from equipoise.errors import NotEnoughData
from equipoise.evaluation.splits import merge_groups
from equipoise.numerics.folds import grouped_folds
from equipoise.tables.duplicates import near_duplicate_groups

NAME = "calibrate"
HELP = "set a policy on rows that the router has not seen"
_FOLDS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("table", metavar="TABLE", help="outcome table, or the name of a public data set")
    parser.add_argument("--router", metavar="SPEC", required=True, help="such as linear or knn:k=50")
    parser.add_argument("--budget-usd", metavar="X", type=amount, required=True, help="promised mean cost of a request")
    parser.add_argument("--prices", metavar="FILE", type=Path, help="CSV of model, usd_per_1m_input, usd_per_1m_output")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="router file to write, policy included")
    parser.add_argument("--json", action="store_true", help="print a summary as one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: router and calibrated policy are written. A quarter of the prompts calibrates, the rest trains."""
    check_target(args.out, inputs=inputs_of(args))
    table = api.open_table(args.table, prices=args.prices)
    folds = grouped_folds(merge_groups(table.groups, near_duplicate_groups(table.prompts)), _FOLDS)
    fit, held = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    if not len(fit) or not len(held):
        raise NotEnoughData(
            f"{table.name}: {len(table)} prompts fall into too few groups to hold some out; add prompts"
        )
    note(f"learning '{args.router}' from {len(fit)} prompts, calibrating on {len(held)}")
    policy = {"type": "budget", "mean_cost_usd": args.budget_usd}
    engine = api.train(table.take(fit), router=args.router, policy=policy, cost=False)
    engine.calibrate(table.take(held))
    engine.save(args.out)
    summary = {
        "out": str(args.out),
        "fitted_on": len(fit),
        "calibrated_on": len(held),
        "mean_cost_usd": args.budget_usd,
        **engine.policy.state().meta,
    }
    if args.json:
        emit_json(summary)
    else:
        say(f"wrote {args.out}: mean cost {args.budget_usd:g} USD, calibrated on {len(held)} prompts")
    return 0
