"""``equipoise COMMAND``: finds the command, runs it, turns errors into one line and an exit status.

Exit status: 0 done, 1 the check failed, 2 bad usage or bad input, 130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from equipoise.cli.output import note
from equipoise.errors import EquipoiseError, PriceError, UnknownName
from equipoise.version import __version__

COMMANDS = {
    "init": "write a commented equipoise.yaml",
    "serve": "run the gateway: an OpenAI- and Anthropic-compatible server that routes",
    "route": "decide which model should answer a prompt",
    "collect": "build an outcome table from your own prompts",
    "table": "describe, lint or convert an outcome table",
    "datasets": "public outcome tables, by name",
    "train": "learn a router from an outcome table, or from votes between two models",
    "evaluate": "measure routers on an outcome table, with intervals",
    "calibrate": "set a policy on rows that the router has not seen",
    "models": "take models into a router file and out of it, without training the others again",
    "keys": "make, list and revoke API keys of the gateway",
    "log": "export, follow or prune the log of decisions",
    "bench": "measure the gateway on this machine, against a direct call and a bare proxy",
    "routers": "list routers and policies with their parameters",
}


class _Parser(argparse.ArgumentParser):
    """Usage errors are one line that says what is wrong and where help is."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class, but an unknown option is refused at once, with the nearest known one."""
        found, rest = super().parse_known_args(args, namespace)
        unknown = next((a.split("=")[0] for a in rest if a.startswith("--") and a != "--"), None)
        if unknown is not None:
            known = dict.fromkeys(re.findall(r"--[a-z][a-z-]*", self.format_usage()))
            near = difflib.get_close_matches(unknown, known, n=1)
            self.error(f"unknown option {unknown}" + (f"; did you mean {near[0]}?" if near else ""))
        return found, rest

    def error(self, message: str) -> NoReturn:
        note(f"{self.prog}: {message}; see: {self.prog} --help")
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    _open_standard_streams()
    if argv is None:
        _heed_sigterm(os._exit)
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(prog="equipoise", description="Route every prompt to the cheapest LLM that is good enough.")
    parser.add_argument("--version", action="version", version=f"equipoise {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    asked = next((a for a in arguments if not a.startswith("-")), None)
    if asked is not None and asked not in COMMANDS:
        note(f"equipoise: {UnknownName('command', asked, COMMANDS)}; see: equipoise --help")
        return 2
    command, args = f"equipoise {asked}", argparse.Namespace()
    try:
        gc.disable()  # what imports make stays: to look for garbage among it would take a tenth of their time
        try:
            chosen = _load(commands, asked)
        finally:
            gc.enable()
        if argv is None:
            _heed_sigterm(sys.exit)
        args = parser.parse_args(arguments)
        status = int(chosen[args.command].run(args))
        sys.stdout.flush()
        return status
    except EquipoiseError as error:
        note(f"{command}: {' '.join(str(error).split())}{_remedy(error, args)}")
        return 2
    except KeyboardInterrupt:
        note(f"{command}: interrupted; nothing was written under a final name")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        note(f"{command}: {where}{error.strerror or error}")
        return 2


def _open_standard_streams() -> None:
    """Open on nothing those that are closed: a file or socket would take their place, and get what is written there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _heed_sigterm(end: Callable[[int], object]) -> None:
    """Let SIGTERM clean up as Ctrl-C does: begun files go, started processes end. It also ends the first process of a
    container, which without a handler does not heed it.

    Args:
        end: `sys.exit`; `os._exit` while imports go on, which leave nothing to clean up, and some of which do not bear
            an exception.
    """
    signal.signal(signal.SIGTERM, lambda *_: end(128 + signal.SIGTERM))


def _remedy(error: EquipoiseError, args: argparse.Namespace) -> str:
    """By which of its options the command that ran can be told a missing price, or do without."""
    if not isinstance(error, PriceError):
        return ""
    ways = []
    if "prices" in args:
        ways.append("give them beside 'model' in a CSV file for --prices")
    # Cascades cannot be had without costs.
    if "cost" in args and not getattr(args, "cascades", None):
        ways.append("leave costs out with --cost none")
    if not ways and "policy" in args:
        ways.append("decide without costs by --policy quality_first")
    return "; " + ", or ".join(ways) if ways else ""


def _load(commands: Any, asked: str | None) -> dict[str, Any]:
    """Import the module of the command that is asked for; the others only lend their name to the help."""
    loaded: dict[str, Any] = {}
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        if name == asked:
            loaded[name] = importlib.import_module(f"equipoise.cli.{name}")
            loaded[name].add_arguments(command)
    return loaded


if __name__ == "__main__":
    raise SystemExit(main())
