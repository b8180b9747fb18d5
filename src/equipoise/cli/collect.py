"""``equipoise collect``: build an outcome table from one's own prompts."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from equipoise import api
from equipoise.atomic import check_target
from equipoise.catalog.models import Catalog
from equipoise.cli.engines import names
from equipoise.cli.numbers import amount, count, positive
from equipoise.cli.output import emit_json, note, say
from equipoise.collect.candidates import CandidatesFile, read_candidates
from equipoise.collect.graders import GRADERS, grade
from equipoise.collect.grading import ThreadedGrading, grader_of, judge_name
from equipoise.collect.job import Job, Limits
from equipoise.collect.journal import journal_path
from equipoise.collect.plan import AskedModel
from equipoise.collect.prompts import PromptRow, read_prompts
from equipoise.collect.session import Collected, collect, summary
from equipoise.config import DEFAULT_FILE, read_config
from equipoise.environment import secret
from equipoise.errors import InputError, UnknownName
from equipoise.providers import make_provider
from equipoise.tables.files import check_ending
from equipoise.types import Deployment, Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("prompts", metavar="PROMPTS", type=Path, help="JSON lines or CSV: prompt_id, prompt, answer, ...")
    add("--out", metavar="TABLE", type=Path, required=True, help="outcome table: .parquet, .csv or .jsonl")
    about = "exact, number, regex, json, python, words or judge:MODEL, unless a row names one"
    add("--grader", metavar="G", help=about)
    add("--no-grade", action="store_true", help="keep answers ungraded; a run without this grades them")
    add("--regrade", action="store_true", help="grade all answers again, without asking the models again")
    add("--partial", action="store_true", help="write the prompts that are complete, though others are not")
    add("--json", action="store_true", help="print a summary as one JSON document")
    add = parser.add_argument_group("who is asked").add_argument
    add("--candidates", metavar="FILE", type=Path, help="YAML file of candidates")
    about = "models of --base-url, or names in the candidates file or equipoise.yaml"
    add("--models", metavar="A,B", type=names, help=about)
    add("--config", metavar="F", type=Path, help="configuration with deployments of --models (default equipoise.yaml)")
    add("--base-url", metavar="URL", help="OpenAI-compatible endpoint that serves --models")
    add("--api-key-env", metavar="NAME", help="environment variable with the endpoint's key")
    add("--prices", metavar="FILE", type=Path, help="price file for --models (CSV)")
    add("--samples", metavar="K", type=count, default=0, help="sampled draws besides the greedy one (default 0)")
    add("--max-tokens", metavar="N", type=positive, default=256, help="longest answer (default 256)")
    add = parser.add_argument_group("limits").add_argument
    add("--parallel", metavar="N", type=positive, default=1, help="calls in flight per deployment (default 1)")
    add("--max-cost-usd", metavar="X", type=amount, help="most that the whole collection may cost")
    add("--max-seconds", metavar="X", type=amount, help="stop after this long")
    add("--attempts", metavar="N", type=positive, default=6, help="calls made for one answer (default 6)")
    add("--order", choices=("samples-last", "prompts"), default="samples-last", help="default: samples-last")


def run(args: argparse.Namespace) -> int:
    """Collect. 0: done, or stopped at a limit; 1: some answers could not be had; 130: interrupted."""
    check_target(args.out, inputs=(args.prompts, args.candidates, args.config, args.prices))
    check_ending(args.out)
    prompts = read_prompts(args.prompts)
    _refuse_unknown_graders(prompts, args)
    if not args.no_grade:
        _refuse_ungradable(prompts, args.grader)
    job = _job(prompts, args)
    grading = None if args.no_grade else ThreadedGrading(grade)
    try:
        collected = asyncio.run(
            collect(
                job,
                make_provider=lambda deployment: make_provider(deployment, secret=secret),
                grading=grading,
                report=note,
                rng=np.random.default_rng(),
            )
        )
    finally:
        if grading is not None:
            grading.close()
    if args.json:
        emit_json(summary(collected, job))
    _tell(collected, args, job)
    return _status(collected)


def _job(prompts: Sequence[PromptRow], args: argparse.Namespace) -> Job:
    given = _candidates(args)
    return Job(
        prompts=prompts,
        candidates=given.candidates,
        out=args.out,
        grader=args.grader,
        limits=Limits(
            parallel=args.parallel,
            max_cost_usd=args.max_cost_usd,
            max_seconds=args.max_seconds,
            attempts=args.attempts,
        ),
        order=args.order,
        regrade=args.regrade,
        partial=args.partial,
        price_note=given.price_note,
        judges=given.judges,
    )


def _refuse_unknown_graders(prompts: Sequence[PromptRow], args: argparse.Namespace) -> None:
    for name in dict.fromkeys([args.grader, *(p.grader for p in prompts)]):
        if name and name not in GRADERS and judge_name(name) is None:
            raise UnknownName("grader", name, [*GRADERS, "judge:MODEL"])


def _refuse_ungradable(prompts: Sequence[PromptRow], default: str | None) -> None:
    """Rows that lack what their grader needs, found on an empty reply: before answers are paid for."""
    for row in prompts:
        name = grader_of(row, default)
        if name in GRADERS:
            grade(row, "", name)


def _candidates(args: argparse.Namespace) -> CandidatesFile:
    if args.candidates is not None:
        return _from_file(args)
    if not args.models:
        raise InputError("no models to ask; give --candidates FILE, or --models A,B with --base-url URL")
    if not args.base_url:
        return _from_config(args)
    if args.config is not None:
        raise InputError("--config and --base-url both say where to ask; keep one")
    prices = None if args.prices is None else Catalog.from_prices_file(args.prices)
    judge = judge_name(args.grader or "")
    judges = () if judge is None else (_endpoint(judge, args, prices),)
    return CandidatesFile(tuple(_endpoint(n, args, prices) for n in args.models), judges=judges)


def _from_file(args: argparse.Namespace) -> CandidatesFile:
    for option in ("base_url", "api_key_env", "prices", "config"):
        if getattr(args, option):
            raise InputError(f"--{option.replace('_', '-')} goes with --models alone; say it in {args.candidates}")
    given = read_candidates(args.candidates)
    if not args.models:
        return given
    known = {c.name: c for c in given.candidates}
    for name in args.models:
        if name not in known:
            raise UnknownName("candidate", name, known)
    return given._replace(candidates=tuple(known[n] for n in args.models))


def _from_config(args: argparse.Namespace) -> CandidatesFile:
    """The models at their first deployment in the configuration, at its price or the catalog's."""
    file = args.config or DEFAULT_FILE
    if args.config is None and not file.exists():
        raise InputError(
            f"no place to ask --models at; give --base-url URL, --candidates FILE, or write them to {file}"
        )
    if args.api_key_env:
        raise InputError(f"--api-key-env goes with --base-url; say it in {file}")
    known = {m.name: m for m in api.models_of(read_config(file))}
    prices = None if args.prices is None else Catalog.from_prices_file(args.prices)

    def asked(name: str) -> AskedModel:
        if name not in known:
            raise UnknownName(f"model of {file}", name, known)
        return _deployed(known[name], args, file, prices)

    judge = judge_name(args.grader or "")
    judges = () if judge is None else (asked(judge),)
    return CandidatesFile(tuple(asked(n) for n in args.models), judges=judges)


def _deployed(model: Model, args: argparse.Namespace, file: Path, prices: Catalog | None) -> AskedModel:
    if not model.deployments:
        raise InputError(f"{file}: model '{model.name}' has no deployments; say there where it can be called")
    given = prices.get(model.name).price if prices is not None and model.name in prices else model.price
    return AskedModel(
        name=model.name,
        deployment=model.deployments[0],
        price=given,
        max_tokens=args.max_tokens,
        samples=args.samples,
    )


def _endpoint(name: str, args: argparse.Namespace, prices: Catalog | None) -> AskedModel:
    return AskedModel(
        name=name,
        deployment=Deployment(
            provider="openai_compatible", base_url=args.base_url, api_key_env=args.api_key_env, model_id=name
        ),
        price=None if prices is None else prices.get(name).price,
        max_tokens=args.max_tokens,
        samples=args.samples,
    )


def _tell(collected: Collected, args: argparse.Namespace, job: Job) -> None:
    tally = collected.tally
    for title, problems in (("no answer", tally.failures), ("no grade", tally.ungradable)):
        if problems:
            (prompt_id, model, _), why = next(iter(problems.items()))
            note(f"{title} for {len(problems)} draws; the first: prompt '{prompt_id}', {model}: {why}")
    if collected.written is not None and not args.json:
        spent = tally.spent(collected.spent_usd)
        say(f"{job.out}: {collected.written} prompts x {len(job.candidates)} models; {spent}")
    if collected.missing:
        reason = "answers are not graded" if args.no_grade and tally.stopped is None else _WHY[tally.stopped]
        again = "the same command without --no-grade" if args.no_grade else "the same command"
        partial = "" if collected.written is not None else ", or with --partial to write the complete ones"
        done = f"{collected.complete} of {len(job.prompts)} prompts are complete"
        note(f"{reason}: {done}; to go on from {journal_path(job.out)} run {again} again{partial}")


_WHY = {
    "cost": "too little is left of the spend cap for what a call may cost",
    "time": "the time is up",
    "interrupted": "interrupted",
    None: "not all answers could be had",
}


def _status(collected: Collected) -> int:
    if collected.tally.stopped == "interrupted":
        return 130
    unsolved = collected.tally.failures or collected.tally.ungradable
    return 1 if unsolved and collected.written is None else 0
