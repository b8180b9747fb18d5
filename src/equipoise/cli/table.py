"""``equipoise table``: look at an outcome table, check it, or convert one from another format."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from equipoise.atomic import check_target
from equipoise.catalog import Catalog, default_catalog
from equipoise.cli.output import emit_json, note, say
from equipoise.datasets import public
from equipoise.datasets.registry import DATASETS
from equipoise.environment import data_folders
from equipoise.tables.convert import FORMATS, convert, detect_format
from equipoise.tables.costs import with_costs
from equipoise.tables.describe import describe, describe_text
from equipoise.tables.files import check_ending, read_table, write_table
from equipoise.tables.lint import lint
from equipoise.tables.table import OutcomeTable
from equipoise.tables.vote_lint import lint_votes
from equipoise.tables.votes import is_vote_table
from equipoise.types import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    commands = parser.add_subparsers(dest="action", metavar="describe|lint|convert", required=True)
    about = {
        "describe": "counts, and for every model quality, cost, tokens and coverage",
        "lint": "everything that looks wrong, in votes, too; exit status 1 if any of it is an error",
        "convert": "read another project's format, write an outcome table",
    }
    for action, text in about.items():
        sub = commands.add_parser(action, help=text, description=text)
        named = "" if action == "convert" else ", or the name of a public data set"
        sub.add_argument("table", metavar="TABLE", type=Path, help=f"parquet, CSV or JSON lines file{named}")
        sub.add_argument("--prices", metavar="F", type=Path, help="price file; missing costs are computed from it")
        sub.add_argument("--json", action="store_true", help="print one JSON document")
        if action == "convert":
            names = [known.name for known in FORMATS]
            listed = "; ".join(f"{known.name}: {known.about}" for known in FORMATS)
            sub.add_argument(
                "--format", metavar="F", choices=names, help=f"found from the content by default. {listed}"
            )
            sub.add_argument("--out", metavar="F", type=Path, required=True, help=".parquet, .csv or .jsonl")


def run(args: argparse.Namespace) -> int:
    """0: done; 1: lint found an error."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "describe": _describe,
        "lint": _lint,
        "convert": _convert,
    }
    return actions[args.action](args)


def _describe(args: argparse.Namespace) -> int:
    summary = describe(_priced(read_table(_file(args.table)), args.prices))
    if args.json:
        emit_json(summary)
    else:
        say(describe_text(summary))
    return 0


def _lint(args: argparse.Namespace) -> int:
    prices, file = args.prices, _file(args.table)
    if is_vote_table(file):
        findings = lint_votes(file)
    else:
        findings = lint(file, fill=(lambda table: _priced(table, prices)) if prices else None)
    wrong = sum(finding.severity == "error" for finding in findings)
    if args.json:
        emit_json({"table": str(args.table), "errors": wrong, "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            say(f"{finding.severity} {finding.code}: {finding.message} [{finding.count:,}]")
            for example in finding.examples:
                say(f"    {example}")
        say(f"{args.table}: {_plural(wrong, 'error')}, {_plural(len(findings) - wrong, 'other finding')}")
    return 1 if wrong else 0


def _convert(args: argparse.Namespace) -> int:
    check_target(args.out, inputs=(args.table, args.prices))
    check_ending(args.out)
    chosen = args.format or detect_format(args.table)
    table = _priced(convert(args.table, format=chosen), args.prices)
    write_table(table, args.out)
    caution = next(known.caution for known in FORMATS if known.name == chosen)
    if caution:
        note(f"note: {caution}")
    if args.json:
        emit_json({"format": chosen, "out": str(args.out), **describe(table)})
    else:
        sizes = f"{_plural(len(table), 'prompt')} x {_plural(len(table.models), 'model')}"
        say(f"{args.out}: {sizes}, read as '{chosen}'")
    return 0


def _file(given: Path) -> Path:
    """The file, or that of the data set of this name."""
    if given.exists() or str(given) not in DATASETS:
        return given
    return public.path(str(given), data_folders())


def _priced(table: OutcomeTable, prices: Path | None) -> OutcomeTable:
    """Missing costs filled in if a price file was given."""
    if prices is None:
        return table
    given = Catalog.from_prices_file(prices)
    models = (given.get(name) for name in given.names())
    return with_costs(table, prices={m.name: m.price for m in models if m.price is not None}, find=_in_catalog)


def _in_catalog(name: str) -> Model | None:
    catalog = default_catalog()
    return catalog.get(name) if name in catalog else None


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
