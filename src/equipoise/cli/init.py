"""``equipoise init``: write a commented configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

from equipoise.atomic import write_whole
from equipoise.cli.output import emit_json, say
from equipoise.config import DEFAULT_FILE, EXAMPLE, json_schema
from equipoise.errors import InputError

NAME = "init"
HELP = "write a commented equipoise.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--out", metavar="FILE", type=Path, default=DEFAULT_FILE, help="(default equipoise.yaml)")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of equipoise.yaml instead")


def run(args: argparse.Namespace) -> int:
    """0: written."""
    if args.schema:
        emit_json(json_schema())
        return 0
    if args.out.exists() and not args.force:
        raise InputError(f"{args.out} exists; give --force to overwrite it, or --out another file")
    write_whole(args.out, lambda file: file.write(EXAMPLE.encode()))
    say(f"wrote {args.out}; try: equipoise route 'What is 17 * 23?' --explain")
    return 0
