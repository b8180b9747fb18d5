"""One request to a model on its way: what its log entries, its metrics and its trace are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from equipoise.aside import aside
from equipoise.gateway.decide import Decided
from equipoise.gateway.serving import Route
from equipoise.gateway.state import Gateway, Incoming
from equipoise.storage.keys import PREFIX
from equipoise.storage.redact import redact
from equipoise.traffic import Attempt, Outcome
from equipoise.types import WireFormat
from equipoise.wire import Asked

Status = Literal["ok", "failed", "cancelled", "interrupted"]
Cached = Literal["exact", "semantic", "miss"]


class Exchange:
    """Follows a request from its decision to its end. ``attempts`` fills as calls are made for it.

    The client waits for as little of it as can be: what only this process knows is told once the answer is written. The
    loop comes to that before anything that is sent to it from then on.

    Args:
        settle: takes what the request took, for the account of its tenant.

    Attributes:
        format: what the client speaks.
        routing_usd: what deciding cost, at the price of this machine's cores.
        waited_s: time that was spent waiting for providers.
        cache, saved_usd: what the cache had, where it was asked.
        on_answer: called when an answer is over and written.
    """

    def __init__(
        self,
        gateway: Gateway,
        incoming: Incoming,
        format: WireFormat,
        asked: Asked,
        decided: Decided,
        prompt: str | None,
        settle: Callable[[Outcome], None],
    ) -> None:
        self._gateway, self._incoming, self.format = gateway, incoming, format
        self._asked, self.decision = asked, decided.decision
        self.received = gateway.clock.time()
        self.routing_usd = decided.took_s * gateway.settings.usd_per_core_hour / 3600.0
        self.attempts: list[Attempt] = []
        self.waited_s = 0.0
        self.cache: Cached | None = None
        self.saved_usd = 0.0
        self.first_token_s: float | None = None
        self.outcome: Outcome | None = None
        self.on_answer: Callable[[], None] | None = None
        self._settle = settle
        # Before anything is sent: a gateway that is killed then knows of every call that a vendor may bill.
        tenant = incoming.caller.tenant
        log_decision(gateway, decided, asked, prompt, tenant=tenant, format=format, received=self.received)

    @property
    def tells_usage(self) -> bool:
        """Whether a stream to the client ends with its usage: of chat completions, where it asked for that."""
        return self._asked.include_usage

    @property
    def elapsed_s(self) -> float:
        """Since the request came."""
        return self._gateway.clock.monotonic() - self._incoming.begun

    def cost_usd(self) -> float:
        """What the request has cost so far."""
        return sum([a.cost_usd for a in self.attempts]) + self.routing_usd

    def end(
        self,
        status: Status,
        *,
        model: str | None = None,
        deployment: str | None = None,
        finish: str | None = None,
        error: str | None = None,
    ) -> Outcome:
        """The request is over: log it, count it, tell it. Only the first end counts."""
        if self.outcome is not None:
            return self.outcome
        gateway, elapsed_s = self._gateway, self.elapsed_s
        self.outcome = outcome = Outcome(
            decision_id=self.decision.id,
            status=status,
            finished=gateway.clock.time(),
            model=model,
            deployment=deployment,
            attempts=tuple(self.attempts),
            cost_usd=self.cost_usd(),
            routing_usd=self.routing_usd,
            saved_usd=self.saved_usd,
            latency_s=elapsed_s,
            first_token_s=self.first_token_s,
            overhead_s=max(elapsed_s - self.waited_s, 0.0),
            cache=self.cache,
            finish=finish,
            error=error,
        )
        gateway.log.finish(outcome)
        asyncio.get_running_loop().call_soon(self._told, outcome)
        return outcome

    def _told(self, outcome: Outcome) -> None:
        """Let all know who count, learn and watch."""
        gateway, route = self._gateway, self._asked.model
        operation = "embeddings" if self.format == "embeddings" else "chat"
        self._settle(outcome)
        if self.on_answer is not None:
            self.on_answer()
        if outcome.status == "ok" or outcome.cost_usd > outcome.routing_usd:
            self._bill(outcome.cost_usd)
        gateway.metrics.served(outcome, operation=operation, route=route)
        trace_id = gateway.traces.request(outcome, self._incoming.http.headers, operation=operation, route=route)
        self._tell(outcome, trace_id)

    def _bill(self, cost_usd: float) -> None:
        """Tell the bill to the policy that the route has now: after a reload, decisions are that one's."""
        target = self._gateway.live.serving.targets.get(self._asked.model)
        if isinstance(target, Route):
            try:
                target.engine.policy.paid(cost_usd)
            except Exception as error:  # noqa: BLE001  (policies can be anyone's code; others are yet to be told)
                self._gateway.lines.failed("the policy failed to take a bill", error, route=target.name)

    def _tell(self, outcome: Outcome, trace_id: str | None) -> None:
        """The line of the request in the log of the process."""
        lines = self._gateway.settings.request_lines
        if lines == "none" or (lines == "failed" and outcome.status == "ok"):
            return
        tokens = [(a.usage.input_tokens, a.usage.output_tokens) for a in outcome.attempts]
        caller = self._incoming.caller
        self._gateway.lines.say(
            "request",
            level="info" if outcome.status in ("ok", "cancelled") else "warning",
            request_id=self._incoming.id,
            decision_id=outcome.decision_id,
            trace_id=trace_id,
            tenant=caller.tenant,
            key=PREFIX + caller.id if caller.id else None,
            route=self._asked.model,
            format=self.format,
            stream=self._asked.stream,
            status=outcome.status,
            error=outcome.error,
            model=outcome.model,
            deployment=outcome.deployment,
            attempts=len(outcome.attempts),
            input_tokens=sum([i for i, _ in tokens]),
            output_tokens=sum([o for _, o in tokens]),
            cost_usd=outcome.cost_usd,
            cache=outcome.cache,
            latency_ms=round(outcome.latency_s * 1e3, 3),
            overhead_ms=round(outcome.overhead_s * 1e3, 3),
        )


def log_decision(
    gateway: Gateway,
    decided: Decided,
    asked: Asked,
    prompt: str | None,
    *,
    tenant: str,
    format: WireFormat,
    received: float,
) -> None:
    """Log and count a decision, with the prompt as it is kept."""
    gateway.log.record(
        decided.decision, tenant=tenant, route=asked.model, format=format, prompt=prompt, received=received
    )
    if decided.degraded:
        gateway.metrics.count("degraded", asked.model)


async def kept_prompt(gateway: Gateway, asked: Asked) -> str | None:
    """A prompt as the log is to keep it."""
    kept = gateway.live.serving.config.log.prompts
    if kept == "redacted":
        return await redacted(asked.text)
    return asked.text if kept == "full" else None


async def redacted(text: str) -> str:
    """A text without what tells people apart."""
    return await aside(len(text), redact, text)
