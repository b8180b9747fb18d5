"""The options by which commands name an engine, and how a decision is printed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from equipoise import api
from equipoise.cli.output import note, say
from equipoise.config import DEFAULT_FILE, read_config
from equipoise.engine import Engine
from equipoise.errors import ConfigError, InputError, UnknownName
from equipoise.types import Candidate, Constraints, Decision


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """``--router-file``, ``--config`` and ``--route``."""
    parser.add_argument("--router-file", metavar="FILE", type=Path, help="a file that `equipoise train` wrote")
    parser.add_argument("--config", metavar="F", type=Path, help="configuration (default equipoise.yaml, if there)")
    parser.add_argument("--route", metavar="NAME", help="route of the configuration (default auto)")
    parser.add_argument("--policy", metavar="SPEC", help="policy to decide by, such as cost_aware:cost_weight=2")


def add_best_of(parser: argparse.ArgumentParser) -> None:
    """``--best-of``."""
    told = "more candidates: every model asked N times, or those named; needs sampled answers beside the table"
    parser.add_argument("--best-of", metavar="N|A*N,B*N", type=_best_of, default=(), help=told)


def names(text: str) -> list[str]:
    """What ``--models`` names: one model at least, and each once.

    Raises:
        InputError: it does not.
    """
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found or len(set(found)) < len(found):
        raise InputError(f"--models '{text}': name every model once, separated by commas")
    return found


def _best_of(text: str) -> int | tuple[str, ...]:
    if not text.strip().isdecimal():
        return tuple(name.strip() for name in text.split(","))
    if int(text) < 2:
        raise argparse.ArgumentTypeError(f"best of {text} is a plain call; give 2 or more")
    return int(text)


def engine_of(args: argparse.Namespace) -> tuple[Engine, Constraints]:
    """The engine that the options name; the built-in pool where they name none."""
    if args.router_file is not None:
        for option in ("config", "route"):
            if getattr(args, option) is not None:
                raise InputError(f"--{option} does not go with --router-file, which says all; keep one")
        engine, limits = api.load(args.router_file), Constraints()
    elif args.config is not None or DEFAULT_FILE.exists():
        engine, limits = _configured(args.config or DEFAULT_FILE, args.route or "auto")
    elif args.route not in (None, "auto"):
        raise InputError(f"no {DEFAULT_FILE} here that could hold route '{args.route}'; give --config FILE")
    else:
        engine, limits = api.pool_engine(args.policy or "cost_aware"), Constraints()
        note("no equipoise.yaml here: using the built-in pool 'notebook' and its published priors")
    return (engine.with_policy(args.policy) if args.policy else engine), limits


def _configured(file: Path, route: str) -> tuple[Engine, Constraints]:
    config = read_config(file)
    try:
        return api.engine_from(config, route, folder=file.parent)
    except (ConfigError, UnknownName) as error:
        raise ConfigError(f"{file}: {error}") from None


def as_document(decision: Decision) -> dict[str, Any]:
    """A decision as JSON."""
    document = asdict(decision)
    document["model"] = decision.model
    document["constraints"]["capabilities"] = sorted(decision.constraints.capabilities)
    for candidate in document["candidates"]:
        if candidate["quality"] is not None:
            mean, std = candidate["quality"]
            candidate["quality"] = {"mean": mean, "std": std}
    return document


def explain(decision: Decision) -> None:
    """A decision for people: the choice, the reasons, and every model beside it."""
    f: Mapping[str, Any] = decision.features
    say(f"{decision.model}  (confidence {decision.confidence:.2f}, {decision.method})")
    for reason in decision.reasons:
        say(f"  {reason}")
    say(
        f"  prompt: {f['domain']}, {f['task_type']}, {f['words']} words, {f['input_tokens']} tokens in, "
        f"about {f['output_tokens']:.0f} out, difficulty {f['difficulty']:.2f}"
    )
    width = max(len("model"), *(len(c.model) for c in decision.candidates))
    say(f"  {'model':<{width}}  quality          cost USD  latency s  probability")
    for candidate in sorted(decision.candidates, key=_rank):
        say("  " + _row(candidate, width))


def _rank(candidate: Candidate) -> tuple[bool, float, float]:
    utility = candidate.utility if candidate.utility is not None else float("-inf")
    return candidate.refused is not None, -candidate.probability, -utility


def _row(c: Candidate, width: int) -> str:
    quality = f"{c.quality.mean:.3f} +- {c.quality.std:.3f}" if c.quality is not None else "not known"
    cost = f"{c.cost_usd:.3g}" if c.cost_usd is not None else "not known"
    latency = f"{c.latency_s:.2f}" if c.latency_s is not None else "-"
    tail = f"refused: {c.refused}" if c.refused is not None else f"{c.probability:.2f}"
    return f"{c.model:<{width}}  {quality:<16} {cost:>9}  {latency:>9}  {tail}"
