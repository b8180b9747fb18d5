"""``equipoise train``: learn a router from an outcome table."""

from __future__ import annotations

import argparse
from pathlib import Path

from equipoise import api
from equipoise.atomic import check_target
from equipoise.cascades.best_of import with_their_best
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cli.engines import add_best_of, names
from equipoise.cli.output import emit_json, note, say
from equipoise.errors import InputError
from equipoise.registry import DEFAULT_ROUTER, DEFAULT_VOTES_ROUTER, make_policy, make_router
from equipoise.tables.votes import is_vote_table, read_votes

_POLICY = "cost_aware:form=linear,cost_weight=0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("table", metavar="TABLE", help="outcome or vote table, or the name of a public data set")
    parser.add_argument(
        "--router",
        metavar="SPEC",
        help=f"such as linear or knn:k=50, see: equipoise routers "
        f"(default {DEFAULT_ROUTER}, for votes {DEFAULT_VOTES_ROUTER})",
    )
    parser.add_argument(
        "--policy",
        metavar="SPEC",
        help=f"policy to decide by (default {_POLICY}; quality_first with --cost none or votes)",
    )
    parser.add_argument("--models", metavar="A,B", type=names, help="only these models of the table")
    add_best_of(parser)
    parser.add_argument("--prices", metavar="FILE", type=Path, help="CSV of model, usd_per_1m_input, usd_per_1m_output")
    parser.add_argument("--cost", choices=("table", "none"), default="table", help="none: costs are not needed")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="router file to write")
    parser.add_argument("--json", action="store_true", help="print a summary as one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: the router file is written."""
    check_target(args.out, inputs=(Path(args.table), args.prices))
    router = args.router or DEFAULT_ROUTER
    make_router(router)  # what is misspelt is refused before a large table is read
    if is_vote_table(args.table):
        return _votes(args)
    policy = args.policy or ("quality_first" if args.cost == "none" else _POLICY)
    table = api.open_table(args.table, prices=args.prices, cost=args.cost != "none", best_of=args.best_of)
    answers = api.open_answers(args.table, table) if isinstance(make_policy(policy), AnswerPolicy) else None
    if args.models:
        table = table.only(with_their_best(args.models, table.models))
    note(f"learning '{router}' from {len(table)} prompts and {len(table.models)} models")
    engine = api.train(table, router=router, policy=policy, cost=False, answers=answers)
    engine.save(args.out)
    if args.json:
        emit_json({"out": str(args.out), "prompts": len(table), "models": table.models, "versions": engine.versions})
    else:
        say(f"wrote {args.out}; try: equipoise route 'What is 17 * 23?' --router-file {args.out} --explain")
    return 0


def _votes(args: argparse.Namespace) -> int:
    for option in ("models", "prices", "best-of"):
        if getattr(args, option.replace("-", "_")) not in (None, ()):
            raise InputError(f"--{option} does not go with a vote table; leave it out")
    votes, router = read_votes(args.table), args.router or DEFAULT_VOTES_ROUTER
    note(f"learning '{router}' from {len(votes)} votes between {len(votes.models)} models")
    engine = api.train_votes(votes, router=router, policy=args.policy or "quality_first")
    engine.save(args.out)
    if args.json:
        emit_json({"out": str(args.out), "votes": len(votes), "models": votes.models, "versions": engine.versions})
    else:
        say(f"wrote {args.out}; try: equipoise route 'What is 17 * 23?' --router-file {args.out} --explain")
    return 0
