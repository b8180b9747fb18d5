"""``equipoise bench``: what the gateway costs on this machine."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from equipoise.cli.numbers import amount, positive
from equipoise.cli.output import emit_json, note, say
from equipoise.gateway.bench.rounds import Plan, bare, measured, ours, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    commands = parser.add_subparsers(dest="what", metavar="gateway", required=True)
    about = "requests per second, added latency, processor time and memory, on a canned upstream"
    gateway = commands.add_parser("gateway", help=about, description=about)
    plan = Plan()
    gateway.add_argument("--rounds", metavar="N", type=positive, default=plan.rounds, help="(default 3)")
    gateway.add_argument(
        "--seconds", metavar="S", type=amount, default=plan.seconds, help="of load per server and round (default 5)"
    )
    gateway.add_argument("--connections", metavar="N", type=positive, default=plan.connections, help="(default 16)")
    about = "different prompts, asked in turn (default 2000: new to the gateway, which remembers the last ones)"
    gateway.add_argument("--prompts", metavar="N", type=positive, default=plan.prompts, help=about)
    gateway.add_argument("--out", metavar="DIR", type=Path, help="keep logs there (default: nowhere)")
    gateway.add_argument("--json", action="store_true", help="print every round as one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: measured."""
    plan = Plan(rounds=args.rounds, seconds=args.seconds, connections=args.connections, prompts=args.prompts)
    with ExitStack() as stack:
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
        folder = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = measured([*bare(), ours(folder)], plan, folder, note)
    if args.json:
        emit_json(found)
    else:
        say(table(found))
    return 0
