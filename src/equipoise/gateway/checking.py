"""The checks of a route: a model is asked about an answer, under the limits and on the bill of the request."""

from __future__ import annotations

import asyncio
from functools import partial

import orjson

from equipoise.analysis.tokens import count_tokens
from equipoise.cascades.board import Given
from equipoise.cascades.checks import reward, self_check
from equipoise.cascades.live import Check
from equipoise.execution import ExecutionFailed, Work
from equipoise.execution.billing import price_of
from equipoise.gateway.serving import Route
from equipoise.gateway.waited import WaitedCalls
from equipoise.wire import FORMATS, Asked

# An answer that talks a model into a long reply is not to run up the bill.
_MOST_TOKENS = 1000
_EXPECTED_TOKENS = 4


class Checking:
    """Asks models about the answers to one request.

    Args:
        most_usd: the request's limit: a check that is expected to break it is not made, and gives no verdict.
    """

    def __init__(self, calls: WaitedCalls, work: Work, route: Route, *, most_usd: float | None) -> None:
        self._calls, self._work, self._most_usd = calls, work, most_usd
        self._settings = route.settings.checks
        asked = route.plain.models if route.judge is None else (*route.plain.models, route.judge)
        self._models = {model.name: model for model in asked}
        self._set_aside_usd = 0.0

    def checks(self) -> dict[str, Check]:
        """Those that the route names, by name."""
        about, own, judge = self._work.asked, self._settings.self_check, self._settings.reward
        found: dict[str, Check] = {}
        if own is not None:
            ask = partial(self._ask, own.timeout_s)
            found["self_check"] = self_check(ask, about.text, context=about.context_text, samples=own.samples)
        if judge is not None:
            ask = partial(self._ask, judge.timeout_s)
            found["reward"] = reward(ask, about.text, context=about.context_text, judge=judge.model)
        return found

    async def _ask(self, timeout_s: float, model: str, text: str, samples: int) -> list[Given]:
        """So many replies; none where the limit on cost is in the way, or the question holds what cannot be quoted."""
        tokens = count_tokens(text)
        if self._work.asked.images or not self._affordable(model, tokens, samples):
            return []
        work = self._work._replace(
            body={"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": _MOST_TOKENS},
            format="chat",
            asked=Asked(model=model, text=text),
            input_tokens=tokens,
            total_s=timeout_s,
            prefer=None,
            answered_by=None,
            answered_at=None,
            mixed=False,
            headers={},
        )
        async with asyncio.TaskGroup() as group:
            replies = [group.create_task(self._reply(model, work, number)) for number in range(samples)]
        return [reply.result() for reply in replies]

    def _affordable(self, model: str, tokens: int, samples: int) -> bool:
        if self._most_usd is None:
            return True
        expected = samples * price_of(self._models[model]).cost_usd(tokens, _EXPECTED_TOKENS)
        if self._calls.answers_usd + self._set_aside_usd + expected > self._most_usd:
            return False
        self._set_aside_usd += expected
        return True

    async def _reply(self, model: str, work: Work, number: int) -> Given:
        """One reply. A call that fails says nothing, and is paid as far as it is billed."""
        try:
            running = await self._calls.make(model, work, number, kind="check")
        except ExecutionFailed as error:
            return Given(model=model, text="", cost_usd=sum(a.cost_usd for a in error.attempts))
        message = FORMATS["chat"].answer_to_chat(orjson.loads(running.body or b"{}"))["choices"][0]["message"]
        return Given(model=model, text=message.get("content") or "", cost_usd=sum(a.cost_usd for a in running.attempts))
