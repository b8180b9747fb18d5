"""``equipoise routers``: what is registered, with its parameters."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from equipoise import registry
from equipoise.cli.output import emit_json, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: listed."""
    kinds = {"routers": registry.routers(), "policies": registry.policies()}
    if args.json:
        emit_json({kind: {name: _described(cls) for name, cls in known.items()} for kind, known in kinds.items()})
        return 0
    for kind, known in kinds.items():
        say(f"{kind}:")
        for name, cls in known.items():
            described = _described(cls)
            say(f"  {name:<16} {described['about']}")
            for parameter, default in described["parameters"].items():
                say(f"      {parameter} = {default}")
    return 0


def _described(cls: type[Any]) -> dict[str, Any]:
    about = (cls.__doc__ or "").strip().splitlines()[0].replace("``", "`")
    parameters = {
        name: "required" if default is dataclasses.MISSING else default
        for name, (_, default) in registry.parameters(cls).items()
    }
    return {"about": about, "parameters": parameters, "needs": sorted(getattr(cls, "needs", ()))}
