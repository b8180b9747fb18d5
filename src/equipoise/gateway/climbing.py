"""Plans of several steps: each answer is waited for and tested, and the accepted one goes to the client."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from equipoise.aside import aside
from equipoise.cascades.board import Given
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.live import Returned, climb
from equipoise.errors import ProviderError
from equipoise.execution import ExecutionFailed, Executor, Running, Work
from equipoise.execution.failure import failure
from equipoise.gateway.checking import Checking
from equipoise.gateway.serving import Route
from equipoise.gateway.waited import WaitedCalls
from equipoise.traffic import Attempt, TokenUsage
from equipoise.types import Decision, Plan
from equipoise.wire import FORMATS, NO_NAMES, BadAnswer, Body, dumps, long_names, restore


@dataclass(frozen=True, slots=True)
class _Kept:
    """One answer of one call; ``said`` is it in the client's format."""

    running: Running
    answer: Body
    said: Body


class Climbed:
    """The accepted answer. It reads like a ``Running``, of which nothing runs.

    Args:
        attempts: all calls for it, checks included.

    Attributes:
        beside: models whose answers were not returned, and what they read for them.
        makeshift: it was not accepted, but the model that was to better it could not be had.
        stands_in: it is a fallback's, since no model that the plan asks could be had.
    """

    continued = False

    def __init__(self, returned: Returned, work: Work, waited_s: float, attempts: Sequence[Attempt]) -> None:
        self.makeshift, self.stands_in = returned.makeshift, returned.stands_in
        kept: _Kept = returned.answer.kept
        running = kept.running
        self.model, self.deployment, self.finish = running.model, running.deployment, running.finish
        self.usage: TokenUsage = running.usage
        self.status: Literal["ok"] = "ok"
        self.error = None
        self.over, self.unbilled_usd = False, 0.0
        self.waited_s, self.made_usd = waited_s, sum(attempt.cost_usd for attempt in attempts)
        answers = [a for a in attempts if a.error is None and a.kind != "check" and a.model != self.model]
        self.beside = {attempt.model: attempt.usage for attempt in answers}
        self.body = None if work.asked.stream else dumps(kept.said)
        self.stream = self._streamed(kept.answer, work, running) if work.asked.stream else None

    async def close(self) -> None:
        """Nothing runs."""

    async def _streamed(self, answer: Body, work: Work, running: Running) -> AsyncIterator[bytes]:
        frames = await aside(len(running.body or b""), _frames, answer, work, running)
        for number, frame in enumerate(frames, 1):
            self.over = number == len(frames)
            yield frame


async def climbed(executor: Executor, decision: Decision, work: Work, attempts: list[Attempt], route: Route) -> Climbed:
    """Carry out a plan of several steps.

    Args:
        attempts: is filled with every call made, checks included; only those of the returned answer have won.

    Raises:
        ExecutionFailed: no step brought an answer.
    """
    policy = route.engine.policy
    guide = policy if isinstance(policy, AnswerPolicy) else None
    calls = WaitedCalls(executor, work, attempts)
    chat = await aside(work.size, FORMATS[work.format].to_chat, work.body)
    steps = _Steps(calls, work, chat, decision.plan, signals=guide is not None and bool(guide.signals))
    checks = Checking(calls, work, route, most_usd=decision.constraints.max_cost_usd).checks()
    of_returned: set[int] = set()
    try:
        # Checks keep their time limits themselves, so that what they cost until then is counted.
        returned = await climb(decision, steps.ask, policy=guide, checks=checks, check_timeout_s=None)
        of_returned = {id(attempt) for attempt in returned.answer.kept.running.attempts}
    except ProviderError:
        if steps.failed is None:
            raise
        raise steps.failed from None
    finally:
        attempts[:] = [a if id(a) in of_returned else replace(a, won=False) for a in attempts]
    return Climbed(returned, work, calls.waited_s, attempts)


class _Steps:
    """Makes the calls. All are chat completions, not streamed, whatever the client speaks."""

    def __init__(self, calls: WaitedCalls, work: Work, chat: Body, plan: Plan, *, signals: bool) -> None:
        self._calls = calls
        self._ahead, self._beside = {step.model for step in plan.steps}, set(plan.fallback)
        self._adaptive = plan.adaptive
        chat = {**chat, "stream": False}
        chat.pop("stream_options", None)
        self._signals = signals and work.format == "chat" and not chat.get("logprobs")
        if self._signals:
            chat |= {"logprobs": True, "top_logprobs": 2}
        translated = work.format != "chat"
        waited = work.asked._replace(stream=False)
        self._names = long_names(work.body) if work.format == "messages" else NO_NAMES
        self._work = work._replace(body=chat, format="chat", asked=waited, translated=translated)
        self._client, self._asked = FORMATS[work.format] if translated else None, work.asked
        self.failed: ExecutionFailed | None = None

    async def ask(self, model: str, samples: int) -> list[Given]:
        """So many answers of a model; fewer where some of the calls fail.

        Raises:
            ProviderError: none could be had.
        """
        for models in (self._ahead, self._beside):
            models.discard(model)
        answers = await asyncio.gather(*(self._one(model, i) for i in range(samples)), return_exceptions=True)
        given = [answer for answer in answers if isinstance(answer, Given)]
        failed = [error for error in answers if isinstance(error, ExecutionFailed)]
        lost_usd = sum(attempt.cost_usd for error in failed for attempt in error.attempts)
        if given:
            if not self._adaptive:
                self._beside.clear()  # they are asked for want of any answer
            return [replace(given[0], cost_usd=given[0].cost_usd + lost_usd), *given[1:]]
        if failed:
            self.failed = error = failed[0]
            said = str(error)
            told = ProviderError(said, provider="gateway", model=model, status=error.status, code=error.code)
            told.cost_usd = lost_usd
            raise told
        raise next(error for error in answers if isinstance(error, BaseException))

    async def _one(self, model: str, number: int) -> Given:
        running = await self._calls.make(model, self._work, number, others=bool(self._ahead or self._beside))
        payload = running.body or b"{}"
        return await aside(len(payload), self._given, model, running, payload)

    def _given(self, model: str, running: Running, payload: bytes) -> Given:
        answer = FORMATS["chat"].answer_to_chat(orjson.loads(payload))
        for choice in answer["choices"]:
            restore(choice["message"].get("tool_calls"), self._names)
        choice = answer["choices"][0]
        signals = self._signals_of(choice)
        return Given(
            model=model,
            text=choice["message"].get("content") or "",
            finish=running.finish or "stop",
            cost_usd=sum(a.cost_usd for a in running.attempts),
            latency_s=sum(a.latency_s for a in running.attempts),
            signals=signals,
            kept=_Kept(running, answer, self._said(answer, running)),
        )

    def _said(self, answer: Body, running: Running) -> Body:
        """The answer in the client's format; one that cannot be said there is none."""
        if self._client is None:
            return answer
        try:
            return self._client.answer_from_chat(answer, running.model, self._asked)
        except BadAnswer as error:
            wrong = ProviderError(str(error), provider=running.deployment, model=running.model, code="bad_response")
            raise failure([wrong], running.attempts, free_in_s=None) from None

    def _signals_of(self, choice: dict[str, Any]) -> Mapping[str, float]:
        """What the token probabilities say, taken out of the answer again: the client did not ask for them."""
        if not self._signals:
            return {}
        try:
            return _sureness(choice.pop("logprobs", None))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
            return {}  # they are not what they should be, so they say nothing


def _frames(answer: Body, work: Work, running: Running) -> list[bytes]:
    encoder = FORMATS[work.format].encoder(running.model, work.asked, work.input_tokens)
    frames = [frame for chunk in _chunks(answer) for frame in encoder.feed(chunk)]
    return frames + encoder.end(running.usage)


def _sureness(logprobs: Any) -> dict[str, float]:
    tokens = (logprobs or {}).get("content") or []
    chances = [float(token["logprob"]) for token in tokens]
    if not chances:
        return {}
    margins = [_margin(token["top_logprobs"]) for token in tokens if len(token.get("top_logprobs") or ()) > 1]
    found = {"logprob_mean": sum(chances) / len(chances), "logprob_min": min(chances)}
    if margins:
        found |= {"margin_mean": sum(margins) / len(margins), "margin_min": min(margins)}
    return found


def _margin(best: list[dict[str, Any]]) -> float:
    """By how much the likeliest token was likelier than the next, as a difference of chances."""
    first, second = sorted((math.exp(float(token["logprob"])) for token in best), reverse=True)[:2]
    return first - second


def _chunks(answer: Body) -> list[Body]:
    """A chat completion as the chunks of a stream: all of it at once, then why it ended."""
    head = {"id": answer.get("id"), "object": "chat.completion.chunk", "created": answer.get("created")}
    head["model"] = answer.get("model")
    chunks: list[Body] = []
    for choice in answer["choices"]:
        delta = dict(choice["message"])
        if delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
        index, finish = choice.get("index", 0), choice.get("finish_reason")
        said = {"index": index, "delta": delta, "finish_reason": None}
        if choice.get("logprobs") is not None:
            said["logprobs"] = choice["logprobs"]
        chunks.append({**head, "choices": [said]})
        chunks.append({**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish}]})
    return chunks
