"""The endpoints that call a model: read, decide, log, execute, answer. The walk of a request, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

from aiohttp import web

from equipoise.aside import aside
from equipoise.errors import NoModel, ProviderError
from equipoise.execution import AnswerCache, ExecutionFailed, Hit, Running, Work, ask_of
from equipoise.execution.cache import Ask
from equipoise.gateway.allowances import NOTHING, Account, expected_usd
from equipoise.gateway.answer import Answer, answered
from equipoise.gateway.climbing import Climbed, climbed
from equipoise.gateway.conversation import Conversation
from equipoise.gateway.decide import Decided
from equipoise.gateway.edge import read_body
from equipoise.gateway.exchange import Exchange, kept_prompt
from equipoise.gateway.problems import CONTEXT_LENGTH, TOO_LONG, Problem
from equipoise.gateway.serving import Route, Target
from equipoise.gateway.state import Gateway, Handler, Incoming, Live
from equipoise.gateway.steering import Steering, steering_of
from equipoise.types import Decision, WireFormat
from equipoise.wire import FORMATS, Asked, Body

_PASSED_ON = ("anthropic-beta", "anthropic-user-profile-id")
# How OpenRouter and LiteLLM are told of models to take instead: none that was decided on, limited or priced here.
_FURTHER_MODELS = ("models", "fallbacks")
# What is wrong here rather than at a provider: texts of these errors name variables and files.
_OUR_FAULTS = frozenset({"no_key", "worker"})


class Call(NamedTuple):
    """A request that was understood, and the configuration that it began with."""

    live: Live
    incoming: Incoming
    body: Body
    size: int
    format: WireFormat
    asked: Asked
    said: Steering
    target: Target
    conversation: Conversation


class Lookup(NamedTuple):
    """What is looked for in a cache, and kept there.

    Attributes:
        decision: where another is carried out for want of budget, or another model answers, that stands in for it.
        anew: whatever is kept, a model is to be asked.
    """

    cache: AnswerCache
    tenant: str
    ask: Ask
    decision: Decision
    anew: bool

    def find(self) -> Hit | None:
        """An answer that may be given again."""
        return None if self.anew else self.cache.find(self.tenant, self.ask)


def calling(format: WireFormat) -> Handler:
    """The handler of the endpoint that speaks a format."""

    async def handler(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
        live = gateway.live
        live.users += 1
        account = gateway.allowances.of(incoming.caller.tenant)
        try:
            account.enter(answers_kept=bool(live.caches))
            call = await _understood(gateway, live, incoming, format)
            decided = await _decided(gateway, call, call.said)
            work = _work_of(call, decided.decision)
            lookup = await _lookup_of(call, work, decided.decision)
            hit = None if lookup is None else lookup.find()
            if hit is None:
                decided = await _within_budget(gateway, call, account, decided)
            prompt = await kept_prompt(gateway, call.asked)
            reserved = NOTHING if hit is not None else account.reserve(decided.decision, call.asked)
            settle = partial(account.settle, reserved)
            exchange = Exchange(gateway, incoming, format, call.asked, decided, prompt, settle)
            try:
                if hit is None:
                    running = await _executed(gateway, exchange, call, work, lookup)
                else:
                    running = _given_again(exchange, call, hit)
                return await answered(gateway, incoming, exchange, running)
            except asyncio.CancelledError:
                exchange.end("cancelled", error=gateway.why_cancelled)
                raise
            except Exception:
                exchange.end("failed", error="internal_error")  # unless it had ended: then that is what counts
                raise
        finally:
            live.users -= 1

    handler.__doc__ = f"Call a model in the format `{format}`."
    return handler


async def _understood(gateway: Gateway, live: Live, incoming: Incoming, format: WireFormat) -> Call:
    body, size = await read_body(incoming.http, gateway.settings)
    if "model" in incoming.variables:
        body["model"] = incoming.variables["model"]
    asked = await aside(size, FORMATS[format].read, body)
    for field in _FURTHER_MODELS:
        if body.get(field):
            told = f"'{field}' names further models; the configuration says which there are, so leave it out"
            raise Problem(400, f"{field}_unsupported_request", told, param=field)
    said = steering_of(incoming.http.headers)
    target = live.serving.target(asked.model)
    if isinstance(target, Route):
        _check_routable(asked, format)
    tenant, names = incoming.caller.tenant, live.serving.targets
    conversation = Conversation(live.sessions, tenant, target, asked, said, names, sealed=format == "responses")
    return Call(live, incoming, body, size, format, asked, said, target, conversation)


async def _decided(gateway: Gateway, call: Call, said: Steering) -> Decided:
    conversation, tenant = call.conversation, call.incoming.caller.tenant
    found = await gateway.deciding.decide(call.target, call.asked, said, conversation.warm, tenant=tenant)
    return Decided(conversation.kept(found.decision), found.took_s, found.degraded)


async def _within_budget(gateway: Gateway, call: Call, account: Account, found: Decided) -> Decided:
    """The decision, or where that would cost more than is left of the tenant's budget, a cheaper one."""
    if account.budget is None:
        return found
    left = account.left_usd
    if left <= 0.0:
        raise _over_budget(account, call, found)
    if expected_usd(found.decision, call.asked.n) <= left:
        return found
    try:
        again = await _decided(gateway, call, call.said._replace(max_cost_usd=left))
    except Problem as problem:
        if problem.code != NoModel.code:
            raise
        if account.budget is None:  # a reload has taken it away meanwhile
            return found
        raise _over_budget(account, call, found) from None
    return again._replace(took_s=found.took_s + again.took_s)


def _over_budget(account: Account, call: Call, found: Decided) -> Problem:
    costs = [candidate.cost_usd or 0.0 for candidate in found.decision.candidates if candidate.refused is None]
    return account.over_budget(call.asked.n * min(costs, default=0.0))


def _check_routable(asked: Asked, format: WireFormat) -> None:
    """Refuse what no route can serve, since it belongs to one model or one vendor."""
    if format == "embeddings":
        told = f"'{asked.model}' is a route; embeddings of different models do not mix, so name a model"
        raise Problem(400, "embeddings_need_a_model", told, param="model")
    state = asked.vendor_state
    if state is not None:
        told = f"'{state}' leans on what one vendor remembers; send the whole conversation, or name a model"
        raise Problem(400, f"{state}_unsupported_request", told, param=state)


def _work_of(call: Call, decision: Decision) -> Work:
    headers = call.incoming.http.headers
    return Work(
        body=call.body,
        size=call.size,
        format=call.format,
        asked=call.asked,
        input_tokens=int(decision.features["input_tokens"]),
        region=decision.constraints.region,
        prefer=call.conversation.deployment,
        answered_by=call.conversation.answered_by,
        answered_at=call.conversation.answered_at,
        mixed=call.conversation.mixed,
        headers={name: ",".join(headers.getall(name)) for name in _PASSED_ON if name in headers},
    )


async def _lookup_of(call: Call, work: Work, decision: Decision) -> Lookup | None:
    """Where a request's answers are kept; None where they are not."""
    cache = call.live.caches.get(call.target.name)
    if cache is None or not call.said.cache or "no-store" in (wishes := _cache_control(call.incoming.http)):
        return None
    ask = await aside(work.size, ask_of, work, limits=repr(decision.constraints))
    tenant = call.incoming.caller.tenant
    return None if ask is None else Lookup(cache, tenant, ask, decision, anew="no-cache" in wishes)


def _given_again(exchange: Exchange, call: Call, hit: Hit) -> Hit:
    exchange.cache, exchange.saved_usd, hit.waited_s = hit.kind, hit.saved_usd, exchange.waited_s
    exchange.on_answer = lambda: call.conversation.answered(hit, call.target)
    return hit


async def _executed(gateway: Gateway, exchange: Exchange, call: Call, work: Work, lookup: Lookup | None) -> Answer:
    most_s = call.said.timeout_s
    if most_s is not None:
        work = work._replace(deadline_s=max(most_s - exchange.elapsed_s, 0.0))
    if lookup is None:
        return await _run(gateway, exchange, call, work)
    cache, tenant, ask = lookup.cache, lookup.tenant, lookup.ask
    # The first words of a stream would wait for another's last.
    in_turn = not lookup.anew and not work.asked.stream
    if in_turn:
        work = await _in_turn(exchange, work, call.live.executor.total_s, partial(cache.turn, tenant, ask))
        if (hit := cache.same(tenant, ask)) is not None:
            return _given_again(exchange, call, hit)
    exchange.cache = "miss"
    with cache.asking(tenant, ask) if in_turn else nullcontext():
        running = await _run(gateway, exchange, call, work)
        cut = exchange.decision is not lookup.decision
        if isinstance(running, Running):
            cache.keep(tenant, ask, running, stands_in=cut or running.model != lookup.decision.model)
        elif not running.makeshift:
            cache.keep(tenant, ask, running, stands_in=cut or running.stands_in)
    return running


async def _in_turn(exchange: Exchange, work: Work, total_s: float, turn: Callable[[float], Awaitable[None]]) -> Work:
    """The work and what is left of its time, once nobody else is asking the same, or half of that is over."""
    begun, deadline_s = exchange.elapsed_s, work.deadline_s
    try:
        await turn((total_s if deadline_s is None else min(total_s, deadline_s)) / 2)
    finally:
        exchange.waited_s = waited_s = exchange.elapsed_s - begun
    return work._replace(
        total_s=total_s - waited_s,
        deadline_s=None if deadline_s is None else max(deadline_s - waited_s, 0.0),
    )


def _cache_control(request: web.BaseRequest) -> set[str]:
    """What a client says of caches as HTTP has it."""
    said = ",".join(request.headers.getall("Cache-Control", ()))
    return {wish.strip().lower() for wish in said.split(",")}


async def _run(gateway: Gateway, exchange: Exchange, call: Call, work: Work) -> Running | Climbed:
    plan, target = exchange.decision.plan, call.target
    able = {c.model for c in exchange.decision.candidates if c.refused is None} | {plan.model}
    begun = gateway.clock.monotonic()
    running: Running | Climbed
    try:
        if plan.steps and isinstance(target, Route):
            running = await climbed(call.live.executor, exchange.decision, work, exchange.attempts, target)
        else:
            running = await call.live.executor.run(plan, work, able.__contains__, attempts=exchange.attempts)
    except asyncio.CancelledError:
        exchange.waited_s += gateway.clock.monotonic() - begun
        raise
    except ExecutionFailed as error:
        exchange.waited_s += gateway.clock.monotonic() - begun
        exchange.end("failed", error=error.code)
        said = _told(gateway, error)
        cost = f"{exchange.cost_usd():.9f}"
        headers = {"x-equipoise-decision-id": exchange.decision.id, "x-equipoise-cost-usd": cost}
        param = getattr(error.error, "param", None) if error.status < 500 else None
        raise Problem(
            error.status, error.code, said, param=param, retry_after_s=error.retry_after_s, headers=headers
        ) from None
    running.waited_s += exchange.waited_s
    exchange.on_answer = lambda: call.conversation.answered(running, target)
    return running


def _told(gateway: Gateway, failed: ExecutionFailed) -> str:
    """What a client may know of a failure."""
    said, error = " ".join(str(failed).split()), failed.error
    if not isinstance(error, ProviderError) or error.vendor_code not in _OUR_FAULTS:
        return f"{TOO_LONG}: {said}" if failed.code == CONTEXT_LENGTH else said
    gateway.lines.say("a provider cannot be called", level="error", reason=said)
    return f"{error.provider}/{error.model}: the gateway cannot call it; its log says why"
