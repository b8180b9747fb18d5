"""Makes the calls of a collection: parallel per deployment, breadth first, within a budget, resumable."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.collect.budget import Budget
from equipoise.collect.grading import Grading, grader_of, judge_name
from equipoise.collect.job import Job, Limits
from equipoise.collect.journal import Answer, Grade, Journal, prompt_sha
from equipoise.collect.plan import MAYBE_BILLED, AskedModel, Draw, deployment_key, draws
from equipoise.collect.progress import Tally
from equipoise.contracts import Provider, Reply
from equipoise.errors import ConfigError, ProviderError
from equipoise.execution.retry import Uniform, wait_s
from equipoise.wire.usage import cached_tokens

# The server refused this one prompt (too long, say), which tells nothing about the next one.
_PROMPT_FAULTS = frozenset({400, 413, 422})


class Collection:
    """One run over a journal. ``run`` makes what is missing; ``stop`` ends it early and cleanly."""

    def __init__(
        self,
        job: Job,
        *,
        journal: Journal,
        providers: Mapping[str, Provider],
        grading: Grading | None,
        report: Callable[[str], None],
        rng: Uniform,
    ) -> None:
        self._journal, self._providers, self._grading = journal, providers, grading
        self._limits, self._report, self._rng, self._regrade = job.limits, report, rng, job.regrade
        self._prompts = {p.prompt_id: p for p in job.prompts}
        self._graders = {} if grading is None else {p.prompt_id: grader_of(p, job.grader) for p in job.prompts}
        self._draws = list(draws(job.prompts, job.candidates, order=job.order))
        self._budget = Budget(job.limits.max_cost_usd, spent_usd=journal.spent_usd)
        self._grading_slots = asyncio.Semaphore(job.limits.grades_at_once)
        self._stopped = asyncio.Event()
        self._moved = asyncio.Condition()
        # Unfinished draws by row, in ascending order of row: the first key is the slowest row.
        self._open_rows: dict[int, int] = {}
        self._grade_tasks: set[asyncio.Task[None]] = set()
        self.tally = Tally(self._draws, journal)
        if job.limits.max_cost_usd is not None:
            _refuse_unpriced(job.candidates)

    def stop(self, reason: str) -> None:
        """No new calls; those in flight get ``grace_s`` to end. The first reason is kept."""
        if self.tally.stopped is None:
            self.tally.stopped = reason
        self._stopped.set()

    async def run(self) -> Tally:
        """Make every draw that the journal lacks, grade what is ungraded, and say how it went."""
        todo = [d for d in self._draws if d.key not in self._journal.answers and not self._regrade]
        for draw in todo:
            self._open_rows[draw.row] = self._open_rows.get(draw.row, 0) + 1
        lanes = _lanes(todo, self._limits)
        timer = self._start_timer()
        ticker = asyncio.create_task(self._tick())
        try:
            self._grade_old()
            workers = [asyncio.create_task(self._work(lane)) for lane in lanes for _ in range(lane.workers)]
            await self._until_done_or_stopped(workers)
            await self._until_done_or_stopped(list(self._grade_tasks))
        finally:
            ticker.cancel()
            if timer is not None:
                timer.cancel()
            # Nobody may write to the journal once its owner closes it.
            await _cancelled(self._grade_tasks)
            self._journal.sync()
        self._report(self.tally.line(self._budget.spent_usd))
        return self.tally

    # ------------------------------------------------------------ calling

    async def _work(self, lane: _Lane) -> None:
        while not self._stopped.is_set() and lane.draws:
            draw = lane.draws.popleft()
            try:
                if await self._may_start(draw, lane):
                    await self._make(draw, lane)
            finally:
                await self._close_row(draw.row)

    async def _may_start(self, draw: Draw, lane: _Lane) -> bool:
        async with self._moved:
            # A stop wakes nobody who waits here, so the wait is short.
            while not self._stopped.is_set() and draw.row > next(iter(self._open_rows)) + self._limits.lookahead:
                await _wait(self._moved, 0.5)
        if lane.abandoned:
            self.tally.failed(draw.key, lane.abandoned)
            return False
        return not self._stopped.is_set()

    async def _close_row(self, row: int) -> None:
        self._open_rows[row] -= 1
        if not self._open_rows[row]:
            del self._open_rows[row]
        async with self._moved:
            self._moved.notify_all()

    async def _make(self, draw: Draw, lane: _Lane) -> None:
        most = draw.candidate.most_usd(draw.prompt.prompt) or 0.0
        for attempt in range(1, self._limits.attempts + 1):
            if await self._rest(lane.resume_at - asyncio.get_running_loop().time()):
                return
            if not await self._budget.reserve(most):
                self.stop("cost")
                return
            error = await self._call(draw, lane, most)
            if error is None:
                lane.failures = 0
                return
            if not error.retryable or attempt == self._limits.attempts or lane.abandoned:
                self._give_up(draw, lane, error)
                return
            if not lane.told:
                lane.told = True
                self._report(f"{error}; trying again")
            wait = self._wait_s(attempt, error)
            if error.retry_after_s is not None:
                # What the server asks of one caller holds for all: the other workers wait too.
                lane.resume_at = max(lane.resume_at, asyncio.get_running_loop().time() + wait)
            if await self._rest(wait):
                return

    async def _call(self, draw: Draw, lane: _Lane, most: float) -> ProviderError | None:
        candidate = draw.candidate
        spent = 0.0
        try:
            reply = await self._providers[lane.deployment].complete(
                candidate.model, candidate.messages(draw.prompt.prompt), **candidate.options(draw.sample)
            )
            answer = _answer(draw, reply)
            self._journal.add_answer(answer)
            spent = answer.cost_usd or 0.0
        except ProviderError as error:
            if error.vendor_code in MAYBE_BILLED:
                spent = most
                self._journal.add_lost(draw.key, code=error.vendor_code, cost_usd=most)
            return error
        except asyncio.CancelledError:
            spent = most
            self._journal.add_lost(draw.key, code="cancelled", cost_usd=most)
            raise
        finally:
            await self._budget.settle(most, spent)
        self.tally.answered(answer)
        self._start_grading(answer)
        return None

    def _give_up(self, draw: Draw, lane: _Lane, error: ProviderError) -> None:
        self.tally.failed(draw.key, str(error))
        if error.status in _PROMPT_FAULTS:
            return
        lane.failures += 1
        if lane.failures >= self._limits.give_up_after and not lane.abandoned:
            lane.abandoned = str(error)
            self._report(f"{lane.failures} draws in a row failed, so no more are asked there: {error}")

    def _wait_s(self, attempt: int, error: ProviderError) -> float:
        limits = self._limits
        return wait_s(attempt, error, first_s=limits.first_wait_s, longest_s=limits.max_wait_s, rng=self._rng)

    async def _rest(self, seconds: float) -> bool:
        """Sleep; True when the run was stopped meanwhile."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
            except TimeoutError:
                return False
        return self._stopped.is_set()

    # ------------------------------------------------------------ grading

    def _grade_old(self) -> None:
        if self._grading is None:
            return
        for draw in self._draws:
            answer, grade = self._journal.answers.get(draw.key), self._journal.grades.get(draw.key)
            if answer is None:
                continue
            if self._regrade or grade is None or grade.grader != self._graders[draw.prompt.prompt_id]:
                self._start_grading(answer)

    def _start_grading(self, answer: Answer) -> None:
        if self._grading is None:
            return
        task = asyncio.create_task(self._grade(answer, self._grading))
        self._grade_tasks.add(task)
        task.add_done_callback(self._graded)

    def _graded(self, task: asyncio.Task[None]) -> None:
        """Forget a task that is done. One that failed is kept for `run` to raise, and nothing more is paid for."""
        if task.cancelled() or task.exception() is None:
            self._grade_tasks.discard(task)
        else:
            self._stopped.set()

    async def _grade(self, answer: Answer, grading: Grading) -> None:
        row, grader = self._prompts[answer.prompt_id], self._graders[answer.prompt_id]
        most = grading.most_usd(row, answer.answer, grader)
        async with self._grading_slots:
            # A judge's call is a call like others: after a stop there is none.
            if self._stopped.is_set() and judge_name(grader):
                return
            if not await self._budget.reserve(most):
                self.stop("cost")
                return
            spent = 0.0
            try:
                graded = await grading.grade(row, answer.answer, grader)
                spent = graded.cost_usd
            except asyncio.CancelledError:
                spent = most
                if most:
                    self._journal.add_lost(answer.key, code="cancelled", cost_usd=most)
                raise
            finally:
                await self._budget.settle(most, spent)
        if graded.quality is None:
            self.tally.ungraded(answer.key, graded.problem)
            if graded.cost_usd:
                self._journal.add_lost(answer.key, code="judge", cost_usd=graded.cost_usd)
            return
        grade = Grade(
            prompt_id=answer.prompt_id,
            candidate=answer.candidate,
            sample=answer.sample,
            grader=grader,
            quality=graded.quality,
            cost_usd=graded.cost_usd,
            time=time.time(),
        )
        self._journal.add_grade(grade)
        self.tally.graded(grade)

    # ------------------------------------------------------------ the end

    async def _until_done_or_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        stop: asyncio.Future[Any] = asyncio.create_task(self._stopped.wait())
        everything: asyncio.Future[Any] = asyncio.gather(*tasks)
        try:
            await asyncio.wait({everything, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                await asyncio.wait({everything}, timeout=self._limits.grace_s)
            if everything.done():
                everything.result()
        finally:
            stop.cancel()
            everything.cancel()
            await _cancelled(tasks)

    def _start_timer(self) -> asyncio.TimerHandle | None:
        if self._limits.max_seconds is None:
            return None
        return asyncio.get_running_loop().call_later(self._limits.max_seconds, self.stop, "time")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            self._report(self.tally.line(self._budget.spent_usd))


@dataclass(slots=True)
class _Lane:
    """The queue of one deployment."""

    deployment: str
    draws: deque[Draw]
    workers: int
    failures: int = 0
    abandoned: str = ""
    told: bool = False  # that something failed: whoever watches need not wait until it is given up
    resume_at: float = 0.0


def _lanes(todo: Iterable[Draw], limits: Limits) -> list[_Lane]:
    queues: dict[str, deque[Draw]] = {}
    for draw in todo:
        queues.setdefault(deployment_key(draw.candidate.deployment), deque()).append(draw)
    return [_Lane(k, q, min(limits.parallel, len(q))) for k, q in queues.items()]


def _answer(draw: Draw, reply: Reply) -> Answer:
    timings = reply.raw.get("timings")
    prompt_id, candidate, sample = draw.key
    return Answer(
        prompt_id=prompt_id,
        candidate=candidate,
        sample=sample,
        prompt_sha=prompt_sha(draw.prompt),
        temperature=draw.candidate.draw_temperature(sample),
        answer=reply.text,
        finish=reply.finish,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cached_tokens=cached_tokens(reply.raw),
        latency_s=round(reply.latency_s, 6),
        compute_s=reply.compute_s,
        cost_usd=draw.candidate.cost_usd(reply, sample=sample),
        time=round(time.time(), 3),
        timings=timings if isinstance(timings, dict) else {},
    )


def _refuse_unpriced(candidates: Iterable[AskedModel]) -> None:
    for candidate in candidates:
        if candidate.most_usd("") is None:
            raise ConfigError(
                f"candidate '{candidate.name}' has no price, which a spend cap needs; give it price or rates"
            )


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def _wait(condition: asyncio.Condition, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await condition.wait()
    except TimeoutError:
        return
