"""``equipoise models``: take models into a router file and out of it, without training the others again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from equipoise import api
from equipoise.atomic import check_target
from equipoise.catalog import Catalog, default_catalog
from equipoise.cli.numbers import positive
from equipoise.cli.output import emit_json, note, say
from equipoise.engine import Engine
from equipoise.errors import InputError, PriceError
from equipoise.tables import OutcomeTable
from equipoise.types import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    commands = parser.add_subparsers(dest="action", metavar="list|try|add|retire", required=True)
    about = {
        "list": "the models that a router file knows",
        "try": "the prompts of a table that would tell most of a new model, given its answers in the table so far",
        "add": "take in one more model from its outcomes on some prompts, or from published scores",
        "retire": "take a model out",
    }
    subs = {action: commands.add_parser(action, help=text, description=text) for action, text in about.items()}
    for action in ("try", "add"):
        subs[action].add_argument("table", metavar="TABLE", help="outcome table; what known models did helps, too")
    for action, sub in subs.items():
        sub.add_argument("--router-file", metavar="FILE", type=Path, required=True, help="a file of `equipoise train`")
        if action != "list":
            sub.add_argument("--model", metavar="NAME", required=True, help="the model that comes or goes")
        if action in ("add", "retire"):
            sub.add_argument("--out", metavar="FILE", type=Path, required=True, help="router file to write")
        sub.add_argument("--json", action="store_true", help="print one JSON document")
    subs["try"].add_argument("-n", metavar="N", type=positive, default=10, help="how many prompts (default 10)")
    subs["add"].add_argument("--prices", metavar="FILE", type=Path, help="CSV of model, usd_per_1m_input, ...")
    subs["add"].add_argument(
        "--scores", metavar="A=X,B=Y", type=_scores, help="published mean quality by data set of TABLE, from 0 to 1"
    )


def run(args: argparse.Namespace) -> int:
    """0: done."""
    actions: dict[str, Callable[[argparse.Namespace, Engine], None]] = {
        "list": _list, "try": _try, "add": _add, "retire": _retire
    }  # fmt: skip
    if args.action in ("add", "retire"):
        check_target(args.out, inputs=(Path(args.table), args.prices) if args.action == "add" else ())
    actions[args.action](args, api.load(args.router_file))
    return 0


def _list(args: argparse.Namespace, engine: Engine) -> None:
    if args.json:
        emit_json({"models": [m.name for m in engine.models], "versions": engine.versions})
        return
    for model in engine.models:
        say(model.name)


def _try(args: argparse.Namespace, engine: Engine) -> None:
    table = api.open_table(args.table, cost=False)
    ids = engine.prompts_to_try(args.model, table, args.n)
    if not ids:
        note(f"{table.name}: nothing to try, '{args.model}' answered every prompt")
    text = dict(zip(map(str, table.prompt_ids), map(str, table.prompts), strict=True))
    if args.json:
        emit_json({"model": args.model, "prompts": [{"prompt_id": i, "prompt": text[i]} for i in ids]})
        return
    for i in ids:
        say(f"{i}\t{' '.join(text[i].split())}")


def _add(args: argparse.Namespace, engine: Engine) -> None:
    table = api.open_table(args.table, cost=False)
    if args.scores is None:
        table.only([args.model])  # a name that is misspelt is told before a price is asked for
    engine.add_model(_newcomer(args.model, table, args.prices), table, scores=args.scores)
    _written(args, engine, "with")


def _retire(args: argparse.Namespace, engine: Engine) -> None:
    if len(engine.models) == 1:
        raise InputError(f"{args.router_file}: '{args.model}' is the last model of the file; there must be one")
    _written(args, engine.without(args.model), "without")


def _written(args: argparse.Namespace, engine: Engine, how: str) -> None:
    engine.save(args.out)
    if engine.policy.settled():
        note(f"policy '{engine.policy.name}' was set with the models that were; to keep its promise, calibrate again")
    if args.json:
        emit_json({"out": str(args.out), "models": [m.name for m in engine.models]})
    else:
        say(f"wrote {args.out}: {how} {args.model}, {len(engine.models)} models")


def _newcomer(name: str, table: OutcomeTable, prices: Path | None) -> Model:
    """What is known of a model beside its outcomes. What its calls cost must be known, or they could not be weighed.

    Prices that are given win; then costs that were measured, as for the models that were trained on; then the catalog.
    """
    own = None if prices is None else Catalog.from_prices_file(prices)
    if own is not None and name in own and own.get(name).price is not None:
        return own.get(name)
    catalog = default_catalog()
    known = catalog.get(name) if name in catalog else Model(name=name)
    answered, costly = _cells(table, name)
    if answered and costly == answered:
        return replace(known, price=None)
    if known.price is not None:
        return known
    gap = f"{table.name} tells the cost_usd of {costly} of its {answered} answers" if costly else ""
    raise PriceError(name, gap or f"{table.name} holds no cost_usd of its answers")


def _cells(table: OutcomeTable, name: str) -> tuple[int, int]:
    """How many prompts a model answered, and of how many answers the cost is known."""
    if name not in table.models:
        return 0, 0
    own = table.only([name])
    return int(own.measured.sum()), int((own.measured & ~np.isnan(own.cost_usd)).sum())


def _scores(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise argparse.ArgumentTypeError(f"'{part}' is not of the form DATASET=SCORE")
    return found
