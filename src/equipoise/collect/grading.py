"""Grading answers while the collection goes on: in threads, since a sandboxed test run blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from equipoise.collect.prompts import PromptRow
from equipoise.errors import InputError


class Graded(NamedTuple):
    """A quality in [0, 1], or None when no grade could be had; and what grading cost."""

    quality: float | None
    cost_usd: float = 0.0
    problem: str = ""


class Grading(Protocol):
    """Grades answers, by the name of a grader."""

    async def grade(self, row: PromptRow, answer: str, grader: str) -> Graded:
        """The grade of one answer."""
        ...

    def most_usd(self, row: PromptRow, answer: str, grader: str) -> float:
        """The most that the grade can cost: set aside under the spend cap."""
        ...


class AnswerJudge(Protocol):
    """A model that grades."""

    async def grade(self, row: PromptRow, answer: str) -> Graded:
        """The grade of one answer."""
        ...

    def most_usd(self, row: PromptRow, answer: str) -> float:
        """The most that the grade can cost."""
        ...


class JudgedGrading:
    """Sends ``judge:NAME`` to a model and every other grader to ``local``."""

    def __init__(self, local: Grading, judges: Mapping[str, AnswerJudge]) -> None:
        self._local, self._judges = local, judges

    async def grade(self, row: PromptRow, answer: str, grader: str) -> Graded:
        """The grade of one answer."""
        judge = self._judges.get(judge_name(grader) or "")
        return await (self._local.grade(row, answer, grader) if judge is None else judge.grade(row, answer))

    def most_usd(self, row: PromptRow, answer: str, grader: str) -> float:
        """What a judge can cost; local graders are free."""
        judge = self._judges.get(judge_name(grader) or "")
        return 0.0 if judge is None else judge.most_usd(row, answer)


class ThreadedGrading:
    """Runs a blocking grader in a few threads."""

    def __init__(self, grade: Callable[[PromptRow, str, str], float], *, threads: int = 2) -> None:
        self._grade = grade
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="grade")

    async def grade(self, row: PromptRow, answer: str, grader: str) -> Graded:
        """The grade of one answer. A grader that cannot grade the row leaves it ungraded, never at zero."""
        loop = asyncio.get_running_loop()
        try:
            quality = await loop.run_in_executor(self._pool, self._grade, row, answer, grader)
        except InputError as error:
            return Graded(None, problem=str(error))
        if not 0.0 <= quality <= 1.0:
            return Graded(None, problem=f"grader '{grader}' gave {quality!r}, which is not in [0, 1]")
        return Graded(float(quality))

    def most_usd(self, row: PromptRow, answer: str, grader: str) -> float:
        """Local grading costs nothing."""
        del row, answer, grader
        return 0.0

    def close(self) -> None:
        """Let the threads end; grades not begun are dropped (they cost nothing and are made on resume)."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def grader_of(row: PromptRow, default: str | None) -> str:
    """The grader of a row: its own, else the collection's.

    Raises:
        InputError: neither names one.
    """
    name = row.grader or default
    if not name:
        raise InputError(f"prompt '{row.prompt_id}' names no grader; give one with --grader, or in the prompts file")
    return name


def judge_name(grader: str) -> str | None:
    """The model of ``judge:MODEL``; None for other graders."""
    kind, _, name = grader.partition(":")
    return name if kind == "judge" and name else None
