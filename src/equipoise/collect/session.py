"""One collection from the outside: journal, providers, signals, and what is handed over at the end."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from equipoise.collect.grading import Grading, JudgedGrading, judge_name
from equipoise.collect.job import Job
from equipoise.collect.journal import Journal, journal_path
from equipoise.collect.judge import Judge
from equipoise.collect.outcome import complete_prompts, draw_rows, table_rows, write_answers
from equipoise.collect.plan import AskedModel, deployment_key
from equipoise.collect.progress import Tally
from equipoise.collect.runner import Collection
from equipoise.contracts import Provider
from equipoise.errors import ConfigError, UnknownName
from equipoise.execution.retry import Uniform
from equipoise.tables import OutcomeTable, write_table
from equipoise.tables.answers import answers_path
from equipoise.types import Deployment

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Collected:
    """How a collection went. ``written``: prompts in the table; None when no table was written."""

    tally: Tally
    spent_usd: float
    complete: int
    missing: int
    written: int | None


async def collect(
    job: Job,
    *,
    make_provider: Callable[[Deployment], Provider],
    grading: Grading | None,
    report: Callable[[str], None],
    rng: Uniform,
) -> Collected:
    """Run a collection to its end, or until a limit or a signal stops it. Resumes what the journal holds.

    With ``grading`` None answers are kept ungraded, to be graded by a later run.
    """
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(Journal(journal_path(job.out)))
        journal.admit(job.candidates, job.prompts)
        providers: dict[str, Provider] = {}

        def provider_of(candidate: AskedModel) -> Provider:
            key = deployment_key(candidate.deployment)
            if key not in providers:
                providers[key] = make_provider(candidate.deployment)
                stack.push_async_callback(providers[key].close)
            return providers[key]

        if not job.regrade:
            for candidate in job.candidates:
                provider_of(candidate)
        if grading is not None:
            first_s = job.limits.first_wait_s
            judges = [Judge(candidate=c, provider=provider_of(c), rng=rng, first_wait_s=first_s) for c in _judges(job)]
            grading = JudgedGrading(grading, {j.candidate.name: j for j in judges})
        collection = Collection(job, journal=journal, providers=providers, grading=grading, report=report, rng=rng)
        tally = await _with_signals(collection, report)
        return _hand_over(job, journal, tally)


def summary(collected: Collected, job: Job) -> dict[str, Any]:
    """The JSON of a collection."""
    return {
        **collected.tally.summary(collected.spent_usd),
        "prompts": len(job.prompts),
        "complete_prompts": collected.complete,
        "table": None if collected.written is None else str(job.out),
        "table_prompts": collected.written or 0,
        "answers": str(answers_path(job.out)),
        "journal": str(journal_path(job.out)),
    }


def _judges(job: Job) -> list[AskedModel]:
    """The judges that the job's graders name."""
    known = {c.name: c for c in (*job.candidates, *job.judges)}
    graders = {p.grader or job.grader or "" for p in job.prompts}
    names = sorted({name for name in map(judge_name, graders) if name})
    for name in names:
        if name not in known:
            raise UnknownName("judge", name, known)
        if job.limits.max_cost_usd is not None and known[name].most_usd("") is None:
            raise ConfigError(f"judge '{name}' has no price, which a spend cap needs; give it price or rates")
    return [known[n] for n in names]


async def _with_signals(collection: Collection, report: Callable[[str], None]) -> Tally:
    loop = asyncio.get_running_loop()
    run = asyncio.ensure_future(collection.run())

    def interrupted() -> None:
        if collection.tally.stopped == "interrupted":
            run.cancel()
            return
        report("stopping: calls in flight may end; interrupt again to drop them")
        collection.stop("interrupted")

    # Elsewhere Python hands out no signals, and who runs a loop there has other ways to stop it.
    handled = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
    for number in handled:
        loop.add_signal_handler(number, interrupted)
    try:
        return await run
    except asyncio.CancelledError:
        if collection.tally.stopped != "interrupted":
            raise
        return collection.tally
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _hand_over(job: Job, journal: Journal, tally: Tally) -> Collected:
    rows = draw_rows(job.prompts, job.candidates, journal)
    write_answers(rows, answers_path(job.out), note=job.price_note)
    whole, rest = complete_prompts(job.prompts, job.candidates, rows)
    written = None
    if whole and (job.partial or not rest):
        table = table_rows(whole, job.candidates, rows)
        write_table(OutcomeTable.from_rows(table, name=str(job.out)), job.out)
        written = len(whole)
    return Collected(tally, journal.spent_usd, len(whole), len(rest), written)
