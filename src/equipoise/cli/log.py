"""``equipoise log``: the decisions that the gateway has logged."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from equipoise.atomic import check_target
from equipoise.cli.numbers import amount, limit, positive
from equipoise.cli.output import emit_json, note, say
from equipoise.cli.places import Place, add_config_argument, storage_of
from equipoise.errors import InputError
from equipoise.json_text import json_text
from equipoise.storage.decisions import catch_up
from equipoise.storage.export import export_log
from equipoise.storage.reading import LogReader, Record, document_of
from equipoise.storage.sqlite import SqliteStore

_DAY_S = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    commands = parser.add_subparsers(dest="action", metavar="export|tail|prune", required=True)
    about = {
        "export": "write all decisions, outcomes and feedback to one parquet file",
        "tail": "show the latest decisions",
        "prune": "remove old decisions, with all that belongs to them",
    }
    subs = {action: commands.add_parser(action, help=text, description=text) for action, text in about.items()}
    subs["export"].add_argument("--out", metavar="FILE", type=Path, required=True, help="parquet file to write")
    subs["export"].add_argument("--days", metavar="D", type=amount, help="only the decisions of the last D days")
    subs["tail"].add_argument("-n", metavar="N", type=positive, default=10, help="how many (default 10)")
    subs["tail"].add_argument(
        "--follow", action="store_true", help="then go on with each call that ends; with --json one document per line"
    )
    subs["prune"].add_argument("--days", metavar="D", type=limit, required=True, help="keep the last D days")
    for sub in subs.values():
        add_config_argument(sub)
        sub.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: done."""
    place = storage_of(args)
    if args.action == "export":
        check_target(args.out, inputs=(place.path, args.config))
        if args.out.suffix.lower() != ".parquet":
            raise InputError(f"{args.out}: the log is written as parquet; name it .parquet")
    # What a killed gateway left in its journal belongs to the log; a running one moves it there itself.
    catch_up(place.url, place.folder)
    if args.action == "prune":
        return _prune(place, args)
    with closing(LogReader(place.url, folder=place.folder)) as log:
        return _export(log, args) if args.action == "export" else _tail(log, args)


def _export(log: LogReader, args: argparse.Namespace) -> int:
    since = 0.0 if args.days is None else time.time() - args.days * _DAY_S
    rows = export_log(log, args.out, since=since)
    if args.json:
        emit_json({"out": str(args.out), "decisions": rows})
    else:
        say(f"wrote {rows} decisions to {args.out}")
    return 0


def _prune(place: Place, args: argparse.Namespace) -> int:
    with closing(SqliteStore(place.path)) as store:
        removed = store.prune(time.time() - args.days * _DAY_S)
    if args.json:
        emit_json({"removed": removed})
    else:
        say(f"removed {removed} decisions older than {args.days:g} days")
    return 0


def _tail(log: LogReader, args: argparse.Namespace) -> int:
    _, position = log.finished_after(None)
    records = log.tail(args.n)
    if args.json and not args.follow:
        emit_json([document_of(record) for record in records])
        return 0
    if not records:
        note("no decisions yet")
    try:
        while True:
            for record in records:
                say(json_text(document_of(record)) if args.json else _line(record))
            if not args.follow:
                return 0
            sys.stdout.flush()
            time.sleep(0.5)
            records, position = log.finished_after(position)
    except KeyboardInterrupt:
        return 0


def _line(record: Record) -> str:
    when = datetime.fromtimestamp(record.received, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = [when, record.decision.id, f"{record.route} -> {record.decision.model}"]
    outcome = record.outcome
    if outcome is None:
        parts.append("no outcome")
    else:
        parts += [outcome.status, f"{outcome.cost_usd:.3g} USD", f"{outcome.latency_s:.2f} s"]
        if outcome.model not in (None, record.decision.model):
            parts.append(f"answered by {outcome.model}")
        if outcome.error is not None:
            parts.append(outcome.error)
    parts += [f"{f.source}: {f.reward:g}" for f in record.feedback]
    return "  ".join(parts)
