"""``equipoise datasets``: public outcome tables by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from equipoise import environment
from equipoise.cli.output import emit_json, note, say
from equipoise.datasets import public
from equipoise.datasets.registry import DATASETS, PublicDataset
from equipoise.errors import InputError
from equipoise.tables.files import read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    commands = parser.add_subparsers(dest="action", metavar="list|get|path", required=True)
    listing = commands.add_parser("list", help="every known data set, its licence, and where it lies if it is here")
    get = commands.add_parser("get", help="download a data set, check it, and convert it to an outcome table")
    get.add_argument("name", metavar="NAME", help="as listed")
    get.add_argument("--out", metavar="FOLDER", type=Path, help="where to put it (default: the cache folder)")
    path = commands.add_parser("path", help="where the data set lies on this machine")
    path.add_argument("name", metavar="NAME", help="as listed")
    for sub in (listing, get, path):
        sub.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: done."""
    if args.action == "list":
        return _list(args.json)
    if args.action == "get":
        _check_out(args.name, args.out)
        file = public.get(args.name, args.out or environment.cache_folder(), public.fetch_https, notice=note)
    else:
        file = public.path(args.name, environment.data_folders())
    if args.json:
        table = read_table(file)
        emit_json({"name": args.name, "path": str(file), "n_prompts": len(table), "models": table.models})
    else:
        say(str(file))
    return 0


def _check_out(name: str, out: Path | None) -> None:
    if out is not None and public.dataset(name).ships:
        place = public.path(name, ())
        raise InputError(f"the data set '{name}' is part of the package, {place}; leave --out out, or copy that file")


def _list(as_json: bool) -> int:
    places = environment.data_folders()
    found = [(known, public.find(known.name, places)) for known in DATASETS.values()]
    if as_json:
        emit_json(
            [
                {
                    "name": known.name,
                    "about": known.about,
                    "licence": known.licence,
                    "source": known.source,
                    "download": not known.by_hand and not known.ships,
                    "path": None if file is None else str(file),
                }
                for known, file in found
            ]
        )
        return 0
    for known, file in found:
        say(f"{known.name}\n    {known.about}\n    {known.licence}; {known.source}\n    {_here(known, file, places)}")
    return 0


def _here(known: PublicDataset, file: Path | None, places: tuple[Path, ...]) -> str:
    if file is not None:
        return str(file)
    larger = public.whole(known.name, places)
    if larger is not None:
        return f"part of {larger}"
    return "not here; see 'path'" if known.by_hand or known.ships else "not here; 'get' downloads it"
