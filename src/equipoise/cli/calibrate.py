"""``equipoise calibrate``: set a policy on rows that the router has not seen."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equipoise import api
from equipoise.atomic import check_target
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cli.engines import names
from equipoise.cli.numbers import amount, share
from equipoise.cli.output import emit_json, note, say
from equipoise.contracts import Policy
from equipoise.engine import Engine
from equipoise.errors import InputError, NotEnoughData
from equipoise.numerics.folds import grouped_folds
from equipoise.registry import DEFAULT_ROUTER, Spec, make_policy, make_router, spec_of
from equipoise.tables import OutcomeTable
from equipoise.tables.answers import Answers
from equipoise.tables.costs import rows_to_calibrate

_FOLDS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("table", metavar="TABLE", help="outcome table, or the name of a public data set")
    parser.add_argument(
        "--router",
        metavar="SPEC",
        default=DEFAULT_ROUTER,
        help=f"such as linear or knn:k=50 (default {DEFAULT_ROUTER})",
    )
    promise = parser.add_mutually_exclusive_group(required=True)
    promise.add_argument(
        "--budget-usd", metavar="X", type=amount, help="promised mean cost of a request: policy budget"
    )
    promise.add_argument(
        "--floor", metavar="X", type=share, help="promised share of the best single model's quality: policy floor"
    )
    promise.add_argument(
        "--policy", metavar="SPEC", help="such as cascade:max_loss=0.05, which needs sampled answers beside the table"
    )
    parser.add_argument("--confidence", metavar="X", type=share, help="with --floor: that it holds (default 0.95)")
    parser.add_argument("--models", metavar="A,B", type=names, help="only these models of the table")
    parser.add_argument("--prices", metavar="FILE", type=Path, help="CSV of model, usd_per_1m_input, usd_per_1m_output")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="router file to write, policy included")
    parser.add_argument("--json", action="store_true", help="print a summary as one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: router and calibrated policy are written."""
    check_target(args.out, inputs=(Path(args.table), args.prices))
    make_router(args.router)  # what is misspelt is refused before a large table is read
    policy = _policy(args)
    made = make_policy(policy)
    looks = isinstance(made, AnswerPolicy)
    if not looks and type(made).calibrate is Policy.calibrate:
        raise InputError(f"policy '{made.name}' has nothing to calibrate; write it with: equipoise train --policy")
    table = api.open_table(args.table, prices=args.prices)
    answers = api.open_answers(args.table, table) if looks else None
    if args.models:
        table = table.only(args.models)
    if answers is None:
        engine, counts = _held_out(args, table.tied(), policy)
    else:
        engine, counts = _taught(args, table, policy, answers)
    engine.save(args.out)
    settled = engine.policy.settled()
    if args.json:
        emit_json({"out": str(args.out), "policy": spec_of(engine.policy), **counts, **settled})
    else:
        say(f"wrote {args.out}: policy {made.name}, {_in_words(settled)}")
    return 0


def _policy(args: argparse.Namespace) -> Spec:
    if args.floor is None:
        if args.confidence is not None:
            raise InputError("--confidence goes with --floor; write it into --policy, such as cascade:confidence=0.9")
        policy: Spec = args.policy or {"type": "budget", "mean_cost_usd": args.budget_usd}
        return policy
    return {"type": "floor", "floor": args.floor, "confidence": 0.95 if args.confidence is None else args.confidence}


def _held_out(args: argparse.Namespace, table: OutcomeTable, policy: Spec) -> tuple[Engine, dict[str, int]]:
    """A quarter of the prompts calibrates, the rest trains the router. Groups of the table stay on one side."""
    folds = grouped_folds(table.groups.astype(np.int64), _FOLDS)
    fit, held = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    if not len(fit) or not len(held):
        raise NotEnoughData(
            f"{table.name}: {len(table)} prompts fall into too few groups to hold some out; add prompts"
        )
    known = table.take(held)
    known = known.take(rows_to_calibrate(known))
    note(f"learning '{args.router}' from {len(fit)} prompts, calibrating on {len(known)}")
    engine = api.train(table.take(fit), router=args.router, policy=policy, cost=False)
    engine.calibrate(known)
    return engine, {"fitted_on": len(fit), "calibrated_on": len(known)}


def _taught(
    args: argparse.Namespace, table: OutcomeTable, policy: Spec, answers: Answers
) -> tuple[Engine, dict[str, int]]:
    """A policy that looks at answers holds out what it is calibrated on by itself, as in ``equipoise train``."""
    drawn = int(answers.count.sum())
    note(f"learning '{args.router}' from {len(table)} prompts, and when to return an answer from {drawn} answers")
    engine = api.train(table, router=args.router, policy=policy, cost=False, answers=answers)
    return engine, {"fitted_on": len(table), "answers": drawn}


def _in_words(settled: Mapping[str, Any]) -> str:
    steps = settled.get("steps")
    if steps is None:
        return ", ".join(f"{name} {value:.4g}" for name, value in settled.items() if isinstance(value, float | int))
    if len(steps) == 1:
        return f"asks {steps[0]['model']} at once: no step before it could be shown to keep the promise"
    return "asks " + ", then ".join(
        f"{step['model']}*{step['samples']}"
        + ("" if step["accept_at"] is None else f" (returned from a score of {step['accept_at']:.3g} on)")
        for step in steps
    )
