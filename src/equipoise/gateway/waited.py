"""Calls that are waited for, one model each, several of which are made for one request."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Literal

from equipoise.execution import Executor, Running, Work
from equipoise.traffic import Attempt
from equipoise.types import Plan
from equipoise.wire import Body

# Draws beside the first are to differ from it.
_DRAW_TEMPERATURE = 0.8


class WaitedCalls:
    """Makes the calls of one request, within the time that there is for all of them.

    Args:
        work: the request, and what is left of its time.
        attempts: is filled with every call made.

    Attributes:
        waited_s: time during which a call was out.
        answers_usd: what the answers cost so far, without checks.
    """

    def __init__(self, executor: Executor, work: Work, attempts: list[Attempt]) -> None:
        self._executor, self._attempts = executor, attempts
        self._now = asyncio.get_running_loop().time
        self._own_until = self._now() + (executor.total_s if work.total_s is None else work.total_s)
        self._until = math.inf if work.deadline_s is None else self._now() + work.deadline_s
        self._out, self._since = 0, 0.0
        self.waited_s = self.answers_usd = 0.0

    async def make(
        self, model: str, work: Work, number: int = 0, *, kind: Literal["check"] | None = None, others: bool = False
    ) -> Running:
        """One answer of a model.

        Args:
            work: what to ask; not streamed. Its ``total_s`` is what of the gateway's time it may take.
            number: of the draw, from 0.
            kind: what the attempts are called, beside the usual.
            others: there are other models to ask: half of the time left is kept for them, and this one not insisted on.

        Raises:
            ExecutionFailed: there is none.
        """
        if number:
            work = work._replace(body=_drawn_apart(work.body, number))
        share = 0.5 if others else 1.0
        own_s, left_s = (share * (until - self._now()) for until in (self._own_until, self._until))
        insist = not others and kind is None  # an answer can be had without a check
        own_s = own_s if work.total_s is None else min(own_s, work.total_s)
        work = work._replace(deadline_s=None if left_s == math.inf else left_s, total_s=own_s)
        made: list[Attempt] = []
        self._went()
        try:
            plan = Plan(model=model)
            return await self._executor.run(plan, work, model.__eq__, attempts=made, insist=insist)
        finally:
            self._came()
            if kind is None:
                self._attempts += made
                self.answers_usd += sum(attempt.cost_usd for attempt in made)
            else:
                self._attempts += [replace(attempt, kind=kind) for attempt in made]

    def _went(self) -> None:
        if not self._out:
            self._since = self._now()
        self._out += 1

    def _came(self) -> None:
        self._out -= 1
        if not self._out:
            self.waited_s += self._now() - self._since


def _drawn_apart(body: Body, number: int) -> Body:
    """The request for a further draw: at temperature 0, or with the seed of the first, it would say the same again."""
    seed = body.get("seed")
    apart = {"temperature": body.get("temperature") or _DRAW_TEMPERATURE}
    return {**body, **apart, "seed": seed + number} if isinstance(seed, int) else {**body, **apart}
