"""``equipoise init``: write a commented configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

from equipoise.atomic import write_whole
from equipoise.cli.output import say
from equipoise.config import DEFAULT_FILE, EXAMPLE
from equipoise.errors import InputError

NAME = "init"
HELP = "write a commented equipoise.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--out", metavar="FILE", type=Path, default=DEFAULT_FILE, help="(default equipoise.yaml)")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")


def run(args: argparse.Namespace) -> int:
    """0: written."""
    if args.out.exists() and not args.force:
        raise InputError(f"{args.out} exists; give --force to overwrite it, or --out another file")
    write_whole(args.out, lambda file: file.write(EXAMPLE.encode()))
    say(f"wrote {args.out}; try: equipoise route 'What is 17 * 23?' --explain")
    return 0
