"""``equipoise route``: decide which model should answer a prompt."""

from __future__ import annotations

import argparse
import sys

from equipoise.api import request_with
from equipoise.cli.engines import add_engine_arguments, as_document, engine_of, explain
from equipoise.cli.numbers import limit, share
from equipoise.cli.output import emit_json, note, say
from equipoise.errors import InputError, NoModel
from equipoise.policy.constraints import UNKNOWN
from equipoise.request import MOST_CHARACTERS, check_prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("text", metavar="TEXT", help="the prompt; - reads standard input")
    add_engine_arguments(parser)
    parser.add_argument("--max-cost-usd", metavar="X", type=limit, help="refuse dearer models")
    parser.add_argument("--max-latency-s", metavar="X", type=limit, help="refuse slower models")
    parser.add_argument("--min-quality", metavar="X", type=share, help="refuse models expected to be worse")
    parser.add_argument("--explain", action="store_true", help="show every model that was considered")
    parser.add_argument("--json", action="store_true", help="print the decision as one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: decided."""
    text = _standard_input() if args.text == "-" else args.text
    check_prompt(text)
    engine, limits = engine_of(args)
    request = request_with(
        limits,
        text,
        max_cost_usd=args.max_cost_usd,
        max_latency_s=args.max_latency_s,
        min_quality=args.min_quality,
    )
    try:
        decision = engine.decide(request)
    except NoModel as error:
        if {*error.refused.values()} != {UNKNOWN}:
            raise
        name = engine.router.name
        said = f"router '{name}' knows none of {', '.join(error.refused)}; train it on a table that has them"
        raise InputError(f"{said}, or give the models 'quality' and take router 'static'") from None
    if args.json:
        emit_json(as_document(decision))
    elif args.explain:
        explain(decision)
    else:
        if decision.selected.refused is not None:
            note(decision.reasons[0])
        say(decision.model)
    return 0


def _standard_input() -> str:
    try:
        return sys.stdin.read(MOST_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not {error.encoding} text ({error.reason}); convert it") from None
