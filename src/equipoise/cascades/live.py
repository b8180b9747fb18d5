"""A cascade, live: step after step, until an answer is good enough.

The caller makes the calls; this module only says which, and which answer to return. No answer makes it crash: what
cannot be judged is not trusted, and the cascade goes on to the next model and says so.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from equipoise.cascades.acceptance import Acceptance, Trust, plain_test
from equipoise.cascades.board import Board, Given
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.play import STOP
from equipoise.errors import ConfigError, ProviderError
from equipoise.tables.answers import CHECKS
from equipoise.types import Candidate, Decision, Step


class Checked(NamedTuple):
    """What a check (a judge, a reward model, self-verification) says of an answer, in [0, 1], and what it cost.

    ``score`` is None where it came to no verdict: the answer is then not trusted.
    """

    score: float | None
    cost_usd: float = 0.0


Call = Callable[[str, int], Awaitable[Sequence[Given]]]
Check = Callable[[Given], Awaitable[Checked]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a plan came to.

    Attributes:
        answer: the one to return; it is among those that were paid for.
        asked: every answer, in the order in which they came.
        cost_usd: of all answers and checks.
        score: of the returned answer, as its test gave it; None where it was taken untested.
        notes: what happened on the way, in plain words.
        makeshift: it was not accepted, but the model that was to better it could not be had.
        stands_in: it is a fallback's, since no model that the plan asks could be had.
    """

    answer: Given
    asked: tuple[Given, ...]
    cost_usd: float
    score: float | None
    notes: tuple[str, ...]
    makeshift: bool = False
    stands_in: bool = False


async def climb(
    decision: Decision,
    call: Call,
    *,
    policy: AnswerPolicy | None = None,
    checks: Mapping[str, Check] | None = None,
    check_timeout_s: float | None = 10.0,
) -> Returned:
    """Execute the plan of a decision, cascade or not.

    Args:
        call: asks a model for so many answers; raises ``ProviderError`` when it cannot be had.
        policy: the one that decided; plans that test by ``vote``, ``agreement`` or a signal do without.
        checks: by name, for a plan whose test is one of them.
        check_timeout_s: after which a check is given up; None for those that keep the time themselves.

    Raises:
        ProviderError: neither a model of the plan nor a fallback gave an answer.
        ConfigError: the plan needs a policy that has learned from answers.
    """
    plan = decision.plan
    steps = plan.steps or (Step(model=plan.model),)
    guide: _Guide = _Adaptive(policy) if plan.adaptive else _Fixed(policy, steps)
    run = _Run(decision, call, Board.of(decision, policy))
    name = steps[0].test
    check = (checks or {}).get(name)
    if name in CHECKS and check is None:
        run.note(f"there is no check '{name}' here; no answer is trusted")
    step: Step | None = steps[0]
    while step is not None:
        await run.ask(step)
        if check is not None:
            await run.check(name, check, check_timeout_s)
        step = run.following(guide)
    stands_in = not run.answered
    for fallback in plan.fallback:
        if run.may_ask(fallback):
            await run.ask(Step(model=fallback))
    return replace(run.returned(), stands_in=stands_in)


class _Guide(Protocol):
    """Says what comes next, and which answer is the best so far."""

    def judge(self, board: Board) -> tuple[Trust, Step | None]:
        """The best answer so far; the next step, None to return it."""
        ...

    def escalate(self, board: Board) -> Step | None:
        """The next step where the answers cannot be judged."""
        ...


class _Fixed:
    """The steps of the plan, one after the other."""

    def __init__(self, policy: AnswerPolicy | None, steps: Sequence[Step]) -> None:
        self._steps, self._done = list(steps), 1
        self._test = acceptance(steps[0].test, policy) if len(steps) > 1 or steps[0].samples > 1 else None

    def judge(self, board: Board) -> tuple[Trust, Step | None]:
        if self._test is None:
            return Trust(np.array([0]), np.array([np.nan])), None
        trust = self._test.trust(board.view(), board.seen())
        at = self._steps[self._done - 1].accept_at
        passed = at is None or bool(trust.score[0] >= at)
        return trust, None if passed else self.escalate(board)

    def escalate(self, board: Board) -> Step | None:
        del board
        self._done += 1
        return self._steps[self._done - 1] if self._done <= len(self._steps) else None


class _Adaptive:
    """Whatever the policy names once it has seen the answers."""

    def __init__(self, policy: AnswerPolicy | None) -> None:
        if policy is None or not policy.learned:
            raise ConfigError("this plan is made up as answers come in: give the policy that decided, as policy=")
        self._policy = policy

    def judge(self, board: Board) -> tuple[Trust, Step | None]:
        move = self._policy.bound(board.view()).move(board.seen(), np.array([0]), self._policy.point)
        ask = int(move.ask[0])
        step = None if ask == STOP else Step(model=self._policy.names[ask], samples=move.samples)
        return Trust(move.best, move.score), step

    def escalate(self, board: Board) -> Step | None:
        name = board.dearest_unasked()
        return None if name is None else Step(model=name)


def acceptance(name: str, policy: AnswerPolicy | None) -> Acceptance:
    """The acceptance test of a plan by name.

    Raises:
        ConfigError: a learned test without the policy that learned it.
    """
    if name != "scorer":
        return plain_test(name)
    learned = getattr(policy, "acceptance", None)
    if learned is None:
        raise ConfigError("this plan tests answers by a learned scorer: give the policy that decided, as policy=")
    test: Acceptance = learned()
    return test


class _Run:
    """One request on its way through its plan."""

    def __init__(self, decision: Decision, call: Call, board: Board) -> None:
        self._limits, self._call, self._board = decision.constraints, call, board
        self._candidates: dict[str, Candidate] = {c.model: c for c in decision.candidates}
        self._spent = 0.0
        self._waited = 0.0
        self._notes: list[str] = []
        self._trust: Trust | None = None
        self._failed: ProviderError | None = None
        self._lost: set[str] = set()
        self._lost_last = False

    def note(self, text: str) -> None:
        """Keep what happened, in plain words."""
        self._notes.append(text)

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return bool(self._board.given)

    def may_ask(self, fallback: str) -> bool:
        """Whether there is no answer yet, and this model has not failed already."""
        return not self.answered and fallback not in self._lost

    async def ask(self, step: Step) -> None:
        """One step; a model that cannot be had is left out from here on."""
        started = asyncio.get_running_loop().time()
        try:
            answers = await self._call(step.model, step.samples)
        except ProviderError as error:
            self._failed = error
            self._spent += error.cost_usd
            self._waited += asyncio.get_running_loop().time() - started
            self._lost.add(step.model)
            self._lost_last = True
            self.note(f"{step.model} could not be had ({error})")
            self._board.leave_out(step.model)
            return
        self._lost_last = False
        self._board.add(step.model, answers)
        self._spent += sum(a.cost_usd for a in answers)
        self._waited += max((a.latency_s for a in answers), default=0.0)

    async def check(self, name: str, check: Check, timeout_s: float | None) -> None:
        """Check the answers that have not been, at once; one that cannot be checked in time is not trusted."""
        given, now = self._board.given, asyncio.get_running_loop().time
        started, unchecked = now(), [i for i, answer in enumerate(given) if name not in answer.signals]
        scores = await asyncio.gather(*(self._score(name, check, timeout_s, given[i]) for i in unchecked))
        self._waited += now() - started
        for i, score in zip(unchecked, scores, strict=True):
            given[i] = replace(given[i], signals={**given[i].signals, name: score})

    async def _score(self, name: str, check: Check, timeout_s: float | None, answer: Given) -> float:
        try:
            async with asyncio.timeout(timeout_s):
                score, cost = await check(answer)
            self._spent += cost
            if score is not None and 0.0 <= score <= 1.0:
                return float(score)
            why = "it gave no verdict" if score is None else f"its score {score:g} is not in [0, 1]"
        except Exception as error:  # noqa: BLE001  (checks can be anyone's code; a request is not to fail with them)
            self._spent += error.cost_usd if isinstance(error, ProviderError) else 0.0
            limit = "time" if timeout_s is None else f"{timeout_s:g} s"
            why = f"no word in {limit}" if isinstance(error, TimeoutError) else str(error)
        self.note(f"'{name}' could not check the answer of {answer.model} ({why}); not trusted")
        return math.nan

    def following(self, guide: _Guide) -> Step | None:
        """The next step; None to return what is there."""
        if not self._board.given:
            return guide.escalate(self._board)
        try:
            self._trust, step = guide.judge(self._board)
        except Exception as error:  # noqa: BLE001  (policies can be anyone's code; a request is not to fail with them)
            self.note(f"the answers could not be judged ({type(error).__name__}: {error}); going on")
            self._trust, step = None, guide.escalate(self._board)
        return step if step is not None and self._within_limits(step) else None

    def _within_limits(self, step: Step) -> bool:
        """Whether the request's own limits leave room for one more step."""
        candidate = self._candidates.get(step.model)
        usd = self._spent + step.samples * (candidate.cost_usd or 0.0 if candidate else 0.0)
        seconds = self._waited + (candidate.latency_s or 0.0 if candidate else 0.0)
        limits = (("cost", usd, self._limits.max_cost_usd), ("time", seconds, self._limits.max_latency_s))
        broken = [(what, value, most) for what, value, most in limits if most is not None and value > most]
        for what, value, most in broken:
            self.note(f"stopped before {step.model}: it would break the limit on {what} ({value:.3g} > {most:g})")
        return not broken

    def returned(self) -> Returned:
        """The best answer by its test; the last one where none could be judged."""
        given = self._board.given
        if not given:
            if self._failed is None:
                raise ValueError("a call brought back no answer")
            raise self._failed
        best, score = len(given) - 1, None
        if self._trust is not None:
            best = self._board.order()[int(self._trust.best[0])]
            score = None if np.isnan(self._trust.score[0]) else float(self._trust.score[0])
        return Returned(
            answer=given[best],
            asked=tuple(given),
            cost_usd=self._spent,
            score=score,
            notes=tuple(self._notes),
            makeshift=self._lost_last,
        )


__all__ = ["Call", "Check", "Checked", "Given", "Returned", "climb"]
