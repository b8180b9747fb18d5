"""Retries, fallbacks and failures, on a virtual clock: waiting takes no time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from equipoise.errors import ConfigError
from equipoise.execution import ExecutionFailed, Executor
from equipoise.execution.failure import failure
from equipoise.testing import FailingProvider, FakeUpstream, ScriptedProvider, SlowProvider
from equipoise.traffic import Attempt
from equipoise.types import Deployment, Model, Plan, WireFormat
from equipoise.wire import BadRequest
from tests.execution_fakes import (
    Hanging,
    Provided,
    always,
    answering,
    chunk,
    executor,
    failed,
    model,
    raising,
    read,
    text_of,
    virtually,
    work,
)

PLAN = Plan(model="big", fallback=("small",))


def kinds(attempts: list[Attempt]) -> list[tuple[str, str, str | None]]:
    return [(a.deployment, a.kind, a.error) for a in attempts]


@virtually
async def test_an_answer_passes_through_untouched_with_one_attempt() -> None:
    running = await executor([model("big")], {"big": answering()}).run(Plan(model="big"), work(), always)
    assert text_of(await read(running)) == "hello there my friend"
    assert (running.status, running.model, running.finish) == ("ok", "big", "stop")
    (attempt,) = running.attempts
    assert (attempt.kind, attempt.won, attempt.status, attempt.error) == ("first", True, 200, None)
    assert (attempt.usage.input_tokens, attempt.usage.output_tokens, attempt.usage.estimated) == (4, 4, False)
    assert attempt.cost_usd == pytest.approx(4 * 3e-6 + 4 * 15e-6)


@virtually
async def test_a_failure_is_retried_on_another_deployment_at_once() -> None:
    ex = executor([model("big", "a", "b")], {"a": FailingProvider(), "b": answering()})
    retried = 0
    for _ in range(8):
        running = await ex.run(Plan(model="big"), work(), always)
        assert running.deployment == "big/b"
        retried += len(running.attempts) == 2
    assert retried
    assert asyncio.get_running_loop().time() == 0.0


@virtually
async def test_a_retry_on_the_same_deployment_waits_with_jitter() -> None:
    def once(number: int, call: Any) -> Any:
        if number == 0:
            raise failed(503)
        return FakeUpstream(body=b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    running = await executor([model("big")], {"big": Provided(once)}, backoff_s=1.0).run(
        Plan(model="big"), work(), always
    )
    assert kinds(running.attempts) == [("big/big", "first", "http_503"), ("big/big", "retry", None)]
    assert 0.5 <= asyncio.get_running_loop().time() <= 1.0
    assert running.waited_s == pytest.approx(asyncio.get_running_loop().time())


@virtually
async def test_a_model_that_fails_is_tried_again_and_then_the_fallback() -> None:
    ex = executor([model("big"), model("small")], {"big": FailingProvider(), "small": answering()})
    running = await ex.run(PLAN, work(), always)
    assert kinds(running.attempts) == [
        ("big/big", "first", "http_500"),
        ("big/big", "retry", "http_500"),
        ("small/small", "fallback", None),
    ]
    assert running.model == "small"
    assert [a.won for a in running.attempts] == [False, False, True]


@virtually
async def test_a_model_that_cannot_serve_the_request_is_never_called() -> None:
    tiny = answering()
    ex = executor(
        [model("big"), model("tiny"), model("small")],
        {"big": FailingProvider(), "tiny": tiny, "small": answering()},
    )
    plan = Plan(model="big", fallback=("tiny", "small"))
    running = await ex.run(plan, work(), lambda name: name != "tiny")
    assert running.model == "small"
    with pytest.raises(ExecutionFailed):
        await ex.run(Plan(model="big", fallback=("tiny",)), work(), lambda name: name != "tiny")
    assert not tiny.sent


@virtually
async def test_the_request_goes_to_its_region_only() -> None:
    deployments = (Deployment(provider="us", region="us"), Deployment(provider="eu", region="eu"))
    us = answering()
    ex = executor([model("big", deployments=deployments)], {"us": us, "eu": FailingProvider()})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="big"), work(region="eu"), always)
    assert {a.deployment for a in caught.value.attempts} == {"big/eu"}
    assert not us.sent


@virtually
async def test_a_refused_request_is_not_sent_again_to_the_model_but_to_the_next() -> None:
    ex = executor([model("big"), model("small")], {"big": raising(failed(400, retryable=False)), "small": answering()})
    running = await ex.run(PLAN, work(), always)
    assert kinds(running.attempts) == [("big/big", "first", "http_400"), ("small/small", "fallback", None)]


@virtually
async def test_a_refusal_is_what_the_client_is_told_when_nothing_else_answers() -> None:
    refusal = failed(422, code="bad_schema", retryable=False)
    ex = executor([model("big"), model("small")], {"big": raising(refusal), "small": FailingProvider()})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, work(), always)
    assert (caught.value.status, caught.value.code) == (422, "bad_schema")
    assert caught.value.error is refusal


@virtually
async def test_a_deployment_whose_key_is_refused_is_not_tried_twice() -> None:
    bad = raising(failed(401, retryable=False))
    with pytest.raises(ExecutionFailed) as caught:
        await executor([model("big")], {"big": bad}).run(Plan(model="big"), work(), always)
    assert len(bad.calls) == 1
    assert (caught.value.status, caught.value.code) == (502, "provider_error")


@virtually
async def test_attempts_go_round_again_until_the_most_that_are_allowed() -> None:
    ex = executor(
        [model("big"), model("small")],
        {"big": FailingProvider(), "small": FailingProvider()},
        max_attempts=7,
        attempts_per_model=2,
    )
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, work(), always)
    assert [a.model for a in caught.value.attempts] == ["big", "big", "small", "small", "big", "big", "small"]
    assert (caught.value.status, caught.value.code) == (502, "provider_error")


@virtually
async def test_a_stalled_answer_leaves_time_for_another_model() -> None:
    slow = SlowProvider(answering(), delay_s=1000)
    ex = executor([model("big"), model("small")], {"big": slow, "small": answering()}, attempts_per_model=1)
    running = await ex.run(PLAN, work(deadline_s=20.0), always)
    assert running.model == "small"
    assert asyncio.get_running_loop().time() == pytest.approx(10.0)
    assert kinds(running.attempts)[0] == ("big/big", "first", "timeout")


@virtually
async def test_the_last_place_may_use_all_of_the_time() -> None:
    slow = SlowProvider(answering(), delay_s=19)
    running = await executor([model("big")], {"big": slow}).run(Plan(model="big"), work(deadline_s=20.0), always)
    assert running.status == "ok"


@pytest.mark.parametrize(("out_of_time", "told"), [(True, (504, "timeout")), (False, (502, "provider_error"))])
def test_time_that_ran_out_is_a_timeout_whatever_the_last_call_met_in_the_rest_of_it(
    out_of_time: bool, told: tuple[int, str]
) -> None:
    met = [failed(None, code="timeout"), failed(None, code="connection")]
    error = failure(met, [], free_in_s=None, out_of_time=out_of_time)
    assert (error.status, error.code) == told


@virtually
async def test_no_call_is_made_in_the_last_moment_of_a_deadline() -> None:
    with pytest.raises(ExecutionFailed) as caught:
        await executor([model("big")], {"big": answering()}).run(Plan(model="big"), work(deadline_s=0.009), always)
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (504, "timeout", ())


@virtually
async def test_the_last_call_that_may_be_made_has_all_of_the_time_that_is_left() -> None:
    slow, slower = SlowProvider(answering(), delay_s=1000), SlowProvider(answering(), delay_s=9)
    ex = executor([model("big"), model("small")], {"big": slow, "small": slower}, attempts_per_model=1, max_attempts=2)
    running = await ex.run(PLAN, work(deadline_s=20.0), always)
    assert running.model == "small"


@virtually
async def test_a_deadline_that_passes_is_a_timeout_with_every_attempt_billed() -> None:
    slow = SlowProvider(answering(), delay_s=1000)
    with pytest.raises(ExecutionFailed) as caught:
        await executor([model("big")], {"big": slow}).run(Plan(model="big"), work(deadline_s=5.0), always)
    assert (caught.value.status, caught.value.code) == (504, "timeout")
    assert asyncio.get_running_loop().time() <= 5.0
    (attempt,) = caught.value.attempts
    assert (attempt.usage.input_tokens, attempt.usage.output_tokens, attempt.usage.estimated) == (4, 0, True)


@virtually
async def test_a_429_is_waited_for_as_long_as_it_asks() -> None:
    def limited(number: int, call: Any) -> Any:
        if asyncio.get_running_loop().time() < 3.0:
            raise failed(429, after=3.0)
        return FakeUpstream(body=b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    provider = Provided(limited)
    running = await executor([model("big")], {"big": provider}).run(Plan(model="big"), work(), always)
    assert running.status == "ok"
    assert len(provider.calls) == 2
    assert 3.0 <= asyncio.get_running_loop().time() < 3.25


@virtually
async def test_requests_that_wait_for_the_same_moment_do_not_come_all_at_once() -> None:
    now, left, at = asyncio.get_running_loop().time, 10.0, 0.0

    async def ten_a_second(number: int, call: Any) -> Any:
        nonlocal left, at
        left, at = min(left + 10.0 * (now() - at), 10.0), now()
        passes, left = left >= 1.0, left - (left >= 1.0)
        await asyncio.sleep(0.05)
        if not passes:
            raise failed(429, after=1.0)
        return FakeUpstream(body=b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    provider = Provided(ten_a_second)
    ex = executor([model("big")], {"big": provider})
    asked = [ex.run(Plan(model="big"), work(), always) for _ in range(150)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(not isinstance(one, BaseException) for one in done) >= 148
    assert len(provider.calls) < 4 * 150


@virtually
async def test_a_429_that_asks_for_longer_than_we_wait_is_passed_on_without_another_call() -> None:
    limited = raising(failed(429, after=60.0))
    ex = executor([model("big")], {"big": limited})
    for calls in (1, 1):
        with pytest.raises(ExecutionFailed) as caught:
            await ex.run(Plan(model="big"), work(), always)
        assert (caught.value.status, caught.value.code) == (429, "rate_limited")
        assert caught.value.retry_after_s == pytest.approx(60.0)
        assert len(limited.calls) == calls


@virtually
async def test_an_outage_is_told_as_one_though_another_model_is_at_its_limit() -> None:
    ex = executor([model("big"), model("small")], {"big": FailingProvider(), "small": raising(failed(429, after=60.0))})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, work(), always)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (502, "provider_error", None)


@virtually
async def test_connecting_is_given_up_before_the_attempt_is() -> None:
    provider = Provided(lambda n, call: FakeUpstream(body=b'{"choices":[{"message":{"content":"ok"}}]}'))
    ex = executor([model("big")], {"big": provider}, connect_s=10.0)
    for deadline_s in (None, 5.0):
        await ex.run(Plan(model="big"), work(deadline_s=deadline_s), always)
    assert [call.connect_s for call in provider.calls] == [10.0, pytest.approx(4.5)]


@virtually
async def test_a_model_that_is_cooling_is_passed_over_for_the_fallback() -> None:
    limited = raising(failed(429, after=60.0))
    ex = executor([model("big"), model("small")], {"big": limited, "small": answering()})
    for _ in range(3):
        assert (await ex.run(PLAN, work(), always)).model == "small"
    assert len(limited.calls) == 1


@virtually
async def test_an_open_breaker_sends_requests_to_the_fallback_without_a_call() -> None:
    failing = FailingProvider()
    ex = executor([model("big"), model("small")], {"big": failing, "small": answering()}, breaker_min_calls=4)
    for _ in range(5):
        assert (await ex.run(PLAN, work(), always)).model == "small"
    assert failing.calls == 4
    assert ex.status()[0].state == "open"


@pytest.mark.parametrize(("deadline_s", "state"), [(2.0, "closed"), (None, "open")])
@pytest.mark.parametrize("stream", [False, True])
@virtually
async def test_a_caller_with_little_time_closes_no_deployment_to_others(
    stream: bool, deadline_s: float | None, state: str
) -> None:
    slow = SlowProvider(answering(), delay_s=1000)
    ex = executor([model("big")], {"big": slow}, breaker_min_calls=2, max_attempts=1, total_s=20.0)
    for _ in range(2):
        with pytest.raises(ExecutionFailed, match="no answer within"):
            await ex.run(Plan(model="big"), work(deadline_s=deadline_s, stream=stream), always)
    assert ex.status()[0].state == state


@virtually
async def test_what_fails_at_once_counts_though_the_caller_had_little_time() -> None:
    refusing = raising(failed(None, code="connection"))
    ex = executor([model("big")], {"big": refusing}, breaker_min_calls=2, max_attempts=1)
    for _ in range(2):
        with pytest.raises(ExecutionFailed):
            await ex.run(Plan(model="big"), work(deadline_s=2.0), always)
    assert ex.status()[0].state == "open"


@virtually
async def test_when_all_breakers_are_open_the_least_bad_deployment_is_tried() -> None:
    broken = FailingProvider()
    healed = Provided(lambda n, call: _answer_after(n, 4))
    ex = executor(
        [model("big"), model("small")],
        {"big": broken, "small": healed},
        breaker_min_calls=2,
        max_attempts=4,
        backoff_s=0.01,
    )
    with pytest.raises(ExecutionFailed):
        await ex.run(PLAN, work(), always)
    assert [s.state for s in ex.status()] == ["open", "open"]
    before = broken.calls + len(healed.calls)
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, work(), always)
    assert len(caught.value.attempts) == 2, "the least bad of each model, once"
    assert broken.calls + len(healed.calls) == before + 2
    healed._send = lambda n, call: _answer_after(n, 0)
    assert (await ex.run(PLAN, work(), always)).model == "small"


@pytest.mark.parametrize(("fails", "answered", "most_calls"), [(0.6, 0.9, 3.0), (1.0, 0.0, 1.7)])
@virtually
async def test_when_all_breakers_are_open_calls_are_repeated_only_where_others_are_answered(
    fails: float, answered: float, most_calls: float
) -> None:
    rng = np.random.default_rng(3)

    async def send(number: int, call: Any) -> FakeUpstream:
        await asyncio.sleep(0.1)
        return _answer_after(0, failures=int(number > 100 and rng.random() < fails))

    provider = Provided(send)
    ex = executor([model("big", "a", "b")], {"a": provider, "b": provider})
    asked = []
    for _ in range(900):
        await asyncio.sleep(0.1)
        asked.append(asyncio.create_task(ex.run(Plan(model="big"), work(), always)))
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(not isinstance(one, ExecutionFailed) for one in done[100:]) >= answered * 800
    assert len(provider.calls) < most_calls * 900


@virtually
@pytest.mark.parametrize(
    ("said", "finish"), [("end_turn", "end_turn"), ("it quotes the prompt", "other"), (101 * "x", "other")]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_of_why_an_answer_ended_no_more_than_a_word_is_kept(said: str, finish: str, stream: bool) -> None:
    choice = {"index": 0, "finish_reason": said}
    whole = orjson.dumps({"choices": [{**choice, "message": {"content": "ok"}}]})
    begun = orjson.dumps({"choices": [{"index": 0, "delta": {"content": "ok"}}]})
    ended = orjson.dumps({"choices": [{**choice, "delta": {}}]})
    frames = [(b"data: " + data + b"\n\n", 0) for data in (begun, ended, b"[DONE]")] if stream else []
    provider = Provided(lambda number, call: FakeUpstream(body=whole, frames=frames))
    running = await executor([model("big")], {"big": provider}).run(Plan(model="big"), work(stream=stream), always)
    if running.stream is not None:
        assert said.encode() in b"".join([piece async for piece in running.stream])
    assert running.finish == finish


def _answer_after(number: int, failures: int) -> FakeUpstream:
    if number < failures:
        raise failed(500)
    return FakeUpstream(body=b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')


@virtually
async def test_a_deployment_that_is_full_waits_for_its_minute_when_that_is_soon_and_else_refuses() -> None:
    deployments = (Deployment(provider="big", rpm=1),)
    ex = executor([model("big", deployments=deployments)], {"big": answering()}, max_backoff_s=8.0)
    await ex.run(Plan(model="big"), work(), always)
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="big"), work(), always)
    assert (caught.value.status, caught.value.code) == (429, "rate_limited")
    assert caught.value.retry_after_s == pytest.approx(61.0)
    assert not caught.value.attempts
    await asyncio.sleep(55.0)
    assert (await ex.run(Plan(model="big"), work(), always)).status == "ok"
    assert asyncio.get_running_loop().time() == pytest.approx(61.0)


@virtually
async def test_concurrent_requests_never_pass_a_limit_together() -> None:
    deployments = (Deployment(provider="big", rpm=10),)
    slow = SlowProvider(answering(), delay_s=1.0)
    ex = executor([model("big", deployments=deployments)], {"big": slow}, max_backoff_s=8.0)
    done = await asyncio.gather(*(ex.run(Plan(model="big"), work(), always) for _ in range(40)), return_exceptions=True)
    assert slow.most_at_once == 10
    assert sum(isinstance(d, ExecutionFailed) for d in done) == 30


@virtually
async def test_a_request_that_bounds_its_answer_takes_no_more_of_a_token_limit_than_that() -> None:
    deployments = (Deployment(provider="big", tpm=20_000),)
    slow = SlowProvider(answering(), delay_s=20.0)
    ex = executor([model("big", deployments=deployments)], {"big": slow}, max_backoff_s=1.0)

    def ask() -> asyncio.Task[Any]:
        # Of an answer without a bound 500 tokens would be expected, and of these not three would fit.
        return asyncio.create_task(ex.run(Plan(model="big"), work(input_tokens=6_600, max_tokens=8), always))

    first = ask()
    await asyncio.sleep(10.0)
    others = [ask(), ask()]
    await asyncio.sleep(1.0)
    with pytest.raises(ExecutionFailed) as caught:
        await ask()
    assert caught.value.retry_after_s == pytest.approx(50.0), "once the first is a minute old"
    await asyncio.gather(first, *others)
    assert slow.most_at_once == 3


@pytest.mark.parametrize("broken", [False, True])
async def test_large_requests_that_are_translated_aside_never_pass_a_limit_together(broken: bool) -> None:
    provider = answering(formats=frozenset({"responses"}))
    ex = executor([model("big", deployments=(Deployment(provider="big", rpm=3),))], {"big": provider})
    if broken:
        (place,), now = ex._places["big"], asyncio.get_running_loop().time()
        for _ in range(20):
            place.breaker.failed(now, failed(500), place.breaker.begin(now))
        assert place.breaker.state(now) == "open"
    large = [ex.run(Plan(model="big"), work(size=1 << 20), always) for _ in range(10)]
    done = await asyncio.gather(*large, return_exceptions=True)
    assert sum(isinstance(d, ExecutionFailed) for d in done) == 7 and len(provider.sent) == 3


@virtually
async def test_no_deployment_at_all_is_said_as_such() -> None:
    ex = executor([model("big")], {"big": answering()})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="big"), work(), lambda name: False)
    assert (caught.value.status, caught.value.code, caught.value.error) == (503, "no_deployment", None)


class Particular(ScriptedProvider):
    """One whose models call functions by Responses alone."""

    def speaks(self, model: Model, body: Mapping[str, Any]) -> frozenset[WireFormat]:
        return self.formats - {"chat"} if body.get("tools") else self.formats


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_is_asked_in_a_format_in_which_it_takes_the_request(stream: bool) -> None:
    provider = Particular(lambda prompt: "ok", formats=frozenset({"chat", "responses"}))
    ex = executor([model("big")], {"big": provider})
    cases: list[tuple[dict[str, Any], str]] = [({}, "chat")]
    cases.append(({"tools": [{"type": "function", "function": {"name": "f"}}]}, "responses"))
    for more, kind in cases:
        running = await ex.run(Plan(model="big"), work(stream=stream, **more), always)
        assert text_of(await read(running)) == "ok" and running.status == "ok"
        assert (provider.sent[-1].kind, provider.sent[-1].translated) == (kind, kind == "responses")


@virtually
async def test_a_format_that_no_deployment_speaks_is_the_requests_fault_and_billed_nothing() -> None:
    chat_only = answering(formats=frozenset({"chat"}))
    with pytest.raises(ExecutionFailed) as caught:
        await executor([model("big")], {"big": chat_only}).run(
            Plan(model="big"), work(format="embeddings", input="some text"), always
        )
    assert (caught.value.status, caught.value.code) == (400, "unsupported_by_format")
    assert not caught.value.attempts


@virtually
async def test_a_request_that_leans_on_one_vendors_memory_is_refused_rather_than_sent_to_that_vendor() -> None:
    said = b'{"type":"message","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}'
    claude = Provided(lambda n, call: FakeUpstream(body=said), formats=frozenset({"messages"}))
    ex = executor([model("big"), model("small")], {"big": answering(formats=frozenset({"chat"})), "small": claude})
    threaded = work(format="messages", thread={"type": "create"})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, threaded, always)
    assert (caught.value.status, caught.value.code) == (400, "thread_unsupported_request")
    assert not claude.calls
    assert (await ex.run(Plan(model="small"), threaded, always)).model == "small"


@virtually
async def test_a_response_that_one_deployment_remembers_is_gone_on_from_there() -> None:
    def unknown(number: int, call: Any) -> Any:
        raise failed(400, code="previous_response_not_found", retryable=False)

    said = b'{"object":"response","status":"completed","output":[]}'
    stranger = Provided(unknown, formats=frozenset({"responses"}))
    knowing = Provided(lambda n, call: FakeUpstream(body=said), formats=frozenset({"responses"}))
    ex = executor([model("big", "a", "b", "c")], {"a": stranger, "b": knowing, "c": stranger})
    asked = work(format="responses", input="Go on", previous_response_id="resp_1")
    for _ in range(10):
        assert (await ex.run(Plan(model="big"), asked, always)).deployment == "big/b"
    assert stranger.calls and all(s.state == "closed" for s in ex.status())
    with pytest.raises(ExecutionFailed, match="told to fail"):
        await executor([model("big", "a", "c")], {"a": stranger, "c": stranger}).run(Plan(model="big"), asked, always)


@virtually
async def test_a_body_that_cannot_be_sent_is_no_attempt() -> None:
    def unsendable(number: int, call: Any) -> Any:
        raise BadRequest("not JSON", code="not_json")

    ex = executor([model("big")], {"big": Provided(unsendable)})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="big"), work(), always)
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (400, "not_json", ())
    assert ex.status()[0].outstanding == 0


@pytest.mark.parametrize("begun", [True, False])
@virtually
async def test_only_requests_that_left_count_towards_a_limit(begun: bool) -> None:
    def send(number: int, call: Any) -> Any:
        if number == 0:
            raise BadRequest("not JSON", code="not_json")
        if number == 1:
            call.sent.begun = begun
            raise failed(None, code="connection")
        return FakeUpstream(body=b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    provider = Provided(send)
    ex = executor([model("big", deployments=(Deployment(provider="big", rpm=1),))], {"big": provider})
    for code in ("not_json", "provider_error" if begun else None):
        with contextlib.nullcontext() if code is None else pytest.raises(ExecutionFailed):
            await ex.run(Plan(model="big"), work(), always)
    assert len(provider.calls) == (2 if begun else 3)


@virtually
async def test_a_cancelled_request_leaves_its_bill_behind() -> None:
    attempts: list[Attempt] = []
    provider = Provided(lambda n, call: Hanging())
    ex = executor([model("big")], {"big": provider})
    task = asyncio.create_task(ex.run(Plan(model="big"), work(), always, attempts=attempts))
    await asyncio.sleep(2.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (attempt,) = attempts
    assert (attempt.error, attempt.won, attempt.latency_s) == ("cancelled", False, pytest.approx(2.0))
    assert attempt.cost_usd == pytest.approx(4 * 3e-6)
    assert ex.status()[0].outstanding == 0


@virtually
async def test_embeddings_pass_through_with_their_usage() -> None:
    ex = executor([model("big")], {"big": answering()})
    running = await ex.run(Plan(model="big"), work(format="embeddings", input="three small words"), always)
    assert running.usage.input_tokens == 3
    assert b'"embedding"' in (running.body or b"")


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b"{}", b'{"choices": []}', b'{"error": "x"}', b"<html>", b"\xff\xfe"], ids=repr
)
@virtually
async def test_an_answer_that_is_none_is_a_failure_that_is_billed_for_its_input(body: bytes) -> None:
    bad = Provided(lambda n, call: FakeUpstream(body=body))
    ex = executor([model("big"), model("small")], {"big": bad, "small": answering()}, attempts_per_model=1)
    running = await ex.run(PLAN, work(), always)
    assert running.model == "small"
    assert running.attempts[0].error == "bad_response"
    assert running.attempts[0].cost_usd == pytest.approx(4 * 3e-6)


@virtually
async def test_a_model_that_can_be_called_needs_a_price() -> None:
    with pytest.raises(ConfigError, match="model 'big' has no price"):
        executor([model("big", price=None)], {"big": answering()})
    executor([model("big", price=None, deployments=())], {})


@virtually
async def test_a_new_executor_inherits_what_was_seen_of_deployments_that_stay() -> None:
    before = executor([model("big"), model("small")], {"big": FailingProvider(), "small": answering()})
    for _ in range(10):
        await before.run(PLAN, work(), always)
    assert [s.state for s in before.status()] == ["open", "closed"]
    moved = model("small", deployments=(Deployment(provider="small", base_url="http://elsewhere/v1"),))
    after = Executor(
        {"big": model("big"), "small": moved},
        lambda d: answering(),
        before._settings,
        clock=before._clock,
        rng=before._rng,
        tokens=len,
        inherit=before,
    )
    big, small = after.status()
    assert (big.state, small.state) == ("open", "closed")
    assert small.latency_s != small.latency_s, "another place under the same label has another latency"


@virtually
async def test_limits_and_breakers_hold_on_where_only_weights_limits_and_the_order_change() -> None:
    def at(n: int, **more: Any) -> Deployment:
        return Deployment(provider="p", base_url=f"http://host{n}", **more)

    async def asked(ex: Executor) -> list[str]:
        running = await ex.run(Plan(model="m"), work(), always)
        return [str(a.deployment) for a in running.attempts]

    provider = answering()
    before = executor([model("m", deployments=(at(1, rpm=3), at(2, rpm=1)))], {"p": provider})
    for _ in range(4):
        await asked(before)
    changed = model("m", deployments=(at(2, rpm=1, weight=9.0), at(1, rpm=5)))
    after = Executor(
        {"m": changed},
        lambda d: provider,
        before._settings,
        clock=before._clock,
        rng=before._rng,
        tokens=len,
        inherit=before,
    )
    assert [await asked(after) for _ in range(2)] == [["m/p#2"]] * 2, "the other is at its limit, whatever it weighs"
    with pytest.raises(ExecutionFailed, match="at its limit"):
        await asked(after)


@virtually
async def test_a_long_stream_that_tries_a_deployment_out_sends_no_other_request_away() -> None:
    down = True

    def send(number: int, call: Any) -> Any:
        if down:
            raise failed(500)
        return Hanging([chunk("a long answer")])

    ex = executor([model("big"), model("small")], {"big": Provided(send), "small": answering()}, breaker_min_calls=1)
    await ex.run(PLAN, work(), always)
    assert ex.status()[0].state == "open"
    await asyncio.sleep(20.0)
    down = False
    first = await ex.run(PLAN, work(stream=True), always)
    second = await ex.run(PLAN, work(stream=True), always)
    assert (first.model, second.model) == ("big", "big")
    await first.close()
    await second.close()
