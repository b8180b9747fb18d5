"""A second call when the first is late: when it is made, what it costs, and how many there are."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from equipoise.execution import ExecutionFailed, Executor
from equipoise.execution.latency import Tail
from equipoise.testing import FakeUpstream
from equipoise.types import Deployment, Plan
from equipoise.wire import BadRequest
from tests.execution_fakes import Provided, always, chunk, executor, failed, model, read, streamed, virtually, work

PLAN = Plan(model="m")
BODY = (
    b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":4,"completion_tokens":1}}'
)
ON = {"enabled": True, "max_share": 0.1, "quantile": 0.9}


def taking(seconds: Any) -> Any:
    """Answers call number n after ``seconds(n)``."""

    async def send(number: int, call: Any) -> Any:
        await asyncio.sleep(seconds(number))
        if call.stream:
            return streamed(chunk("ok"), chunk(finish="stop"))
        return FakeUpstream(body=BODY)

    return send


async def warmed(then: Any, *, places: int = 1, stream: bool = False, **hedging: Any) -> tuple[Executor, Provided]:
    """An executor that has seen about a hundred calls of a second to every place, and the provider that now does so."""
    provider = Provided(taking(lambda n: 1.0))
    names = [f"p{i}" for i in range(places)]
    ex = executor([model("m", *names)], dict.fromkeys(names, provider), hedging={**ON, **hedging})
    for place in ex._places["m"]:
        place.tails[stream].observe(50.0)  # it has been late before
    for _ in range(100 * places):
        await read(await ex.run(PLAN, work(stream=stream), always))
    provider.calls.clear()
    provider._send = then
    return ex, provider


@pytest.mark.parametrize("stream", [False, True])
@virtually
async def test_a_call_later_than_the_usual_tail_gets_a_second_whose_answer_wins(stream: bool) -> None:
    ex, _ = await warmed(taking(lambda n: 50.0 if n == 0 else 1.0), stream=stream)
    started = asyncio.get_running_loop().time()
    running = await ex.run(PLAN, work(stream=stream), always)
    await read(running)
    assert asyncio.get_running_loop().time() - started == pytest.approx(2.001, abs=0.0005)
    assert [(a.kind, a.error, a.won) for a in running.attempts] == [
        ("first", "cancelled", False),
        ("hedge", None, True),
    ]
    first = running.attempts[0]
    assert (first.usage.input_tokens, first.usage.estimated, first.cost_usd) == (4, True, pytest.approx(12e-6))
    assert ex.status()[0].outstanding == 0


@virtually
async def test_the_first_may_still_win_and_then_the_second_is_cut_and_billed() -> None:
    ex, _ = await warmed(taking(lambda n: 1.5 if n == 0 else 9.0))
    running = await ex.run(PLAN, work(), always)
    assert [(a.kind, a.error, a.won) for a in running.attempts] == [
        ("hedge", "cancelled", False),
        ("first", None, True),
    ]
    assert running.attempts[0].cost_usd > 0


@virtually
async def test_nothing_is_hedged_before_enough_is_known_or_when_it_is_off() -> None:
    provider = Provided(taking(lambda n: 1.0 + n % 7))
    ex = executor([model("m")], {"m": provider}, hedging=ON)
    for _ in range(60):
        await ex.run(PLAN, work(), always)
    assert len(provider.calls) == 60
    off, provider = await warmed(taking(lambda n: 50.0), enabled=False)
    await off.run(PLAN, work(), always)
    assert len(provider.calls) == 1
    assert off.hedging.hedges == 0


@virtually
async def test_the_second_call_goes_to_another_deployment_where_there_is_one() -> None:
    ex, _ = await warmed(taking(lambda n: 50.0 if n == 0 else 1.0), places=2)
    running = await ex.run(PLAN, work(), always)
    assert len({a.deployment for a in running.attempts}) == 2


@pytest.mark.parametrize("share", [0.02, 0.05])
@virtually
async def test_hedges_never_exceed_their_share_of_the_calls(share: float) -> None:
    rng = np.random.default_rng(5)
    provider = Provided(taking(lambda n: float(rng.pareto(1.1))))
    ex = executor([model("m")], {"m": provider}, hedging={**ON, "max_share": share, "quantile": 0.5})
    for _ in range(1500):
        await ex.run(PLAN, work(), always)
        assert ex.hedging.hedges <= share * ex.hedging.calls
    assert ex.hedging.hedges > 0.7 * share * ex.hedging.calls
    assert len(provider.calls) == ex.hedging.calls + ex.hedging.hedges


@virtually
async def test_when_the_first_fails_the_second_is_waited_for() -> None:

    async def send(number: int, call: Any) -> Any:
        await asyncio.sleep(3.0)
        if number == 0:
            raise failed(500)
        return FakeUpstream(body=BODY)

    ex, _ = await warmed(send)
    running = await ex.run(PLAN, work(), always)
    assert [(a.kind, a.error) for a in running.attempts] == [("first", "http_500"), ("hedge", None)]


@virtually
async def test_when_both_fail_the_course_goes_on() -> None:

    async def send(number: int, call: Any) -> Any:
        await asyncio.sleep(3.0)
        raise failed(500)

    ex, _ = await warmed(send)
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, work(), always)
    kinds = [a.kind for a in caught.value.attempts]
    assert kinds[:2] == ["first", "hedge"] and "retry" in kinds
    assert len(kinds) == 6
    assert ex.status()[0].outstanding == 0


@virtually
async def test_a_late_second_call_ends_with_the_time_for_the_first() -> None:
    ex, _ = await warmed(taking(lambda n: 50.0))
    started = asyncio.get_running_loop().time()
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(PLAN, work(deadline_s=5.0), always)
    assert asyncio.get_running_loop().time() - started == pytest.approx(5.0, abs=0.001)
    assert [(a.kind, a.error) for a in caught.value.attempts] == [("first", "timeout"), ("hedge", "timeout")]


@pytest.mark.parametrize(("within_s", "calls"), [(1.9, 1), (2.5, 2)])
@virtually
async def test_no_second_call_is_made_that_could_not_answer_in_time(within_s: float, calls: int) -> None:
    ex, provider = await warmed(taking(lambda n: 50.0))
    with pytest.raises(ExecutionFailed):
        await ex.run(PLAN, work(deadline_s=within_s), always)
    assert len(provider.calls) == calls


@virtually
async def test_a_call_goes_on_though_the_request_cannot_be_said_where_the_second_would_go() -> None:
    first, other = Provided(taking(lambda n: 5.0)), Provided(taking(lambda n: 1.0))
    other.formats = frozenset({"messages"})
    ex = executor(
        [model("m", deployments=(Deployment(provider="a"), Deployment(provider="b", weight=0.001)))],
        {"a": first, "b": other},
        hedging=ON,
    )
    for late in (*[1.0] * 100, 50.0):
        ex._places["m"][0].tails[False].observe(late)
    for _ in range(20):
        running = await ex.run(PLAN, work(logprobs=True), always)
        assert [(a.kind, a.won) for a in running.attempts] == [("first", True)]
    assert ex.hedging.hedges == 0 and not other.calls, "and none is counted"


@pytest.mark.parametrize("unwritable", [0, 1])
@virtually
async def test_a_call_of_two_whose_body_cannot_be_written_is_no_attempt(unwritable: int) -> None:
    async def send(number: int, call: Any) -> Any:
        if number == unwritable:
            raise BadRequest("too deep")
        await asyncio.sleep(3.0)
        return FakeUpstream(body=BODY)

    ex, _ = await warmed(send)
    attempts: list[Any] = []
    with pytest.raises(ExecutionFailed, match="too deep") if unwritable == 0 else nullcontext():
        await ex.run(PLAN, work(), always, attempts=attempts)
    assert [(a.kind, a.won) for a in attempts] == [("first", True)] * unwritable
    assert ex.status()[0].outstanding == 0


@virtually
async def test_something_wrong_in_our_own_code_leaves_no_call_behind() -> None:

    async def send(number: int, call: Any) -> Any:
        await asyncio.sleep(50.0 if number == 0 else 1.0)
        raise RuntimeError("wrong")

    ex, _ = await warmed(send)
    attempts: list[Any] = []
    with pytest.raises(RuntimeError):
        await ex.run(PLAN, work(), always, attempts=attempts)
    assert sorted(a.kind for a in attempts) == ["first", "hedge"]
    assert ex.status()[0].outstanding == 0


@virtually
async def test_a_place_that_refused_the_second_call_is_not_called_again_for_the_request() -> None:
    async def failing(number: int, call: Any) -> Any:
        await asyncio.sleep(3.0)
        raise failed(500)

    async def refusing(number: int, call: Any) -> Any:
        raise failed(401, retryable=False)

    first, other = Provided(failing), Provided(refusing)
    places = (Deployment(provider="a"), Deployment(provider="b", weight=0.001))
    ex = executor([model("m", deployments=places)], {"a": first, "b": other}, hedging={**ON, "max_share": 1.0})
    for late in (*[1.0] * 100, 50.0):
        ex._places["m"][0].tails[False].observe(late)
    with pytest.raises(ExecutionFailed):
        await ex.run(PLAN, work(), always)
    assert ex.hedging.hedges >= 1 and len(other.calls) == 1


@virtually
async def test_a_client_that_goes_away_cuts_both() -> None:
    ex, _ = await warmed(taking(lambda n: 50.0))
    attempts: list[Any] = []
    task = asyncio.create_task(ex.run(PLAN, work(), always, attempts=attempts))
    await asyncio.sleep(5.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted((a.kind, a.error) for a in attempts) == [("first", "cancelled"), ("hedge", "cancelled")]
    assert ex.status()[0].outstanding == 0


@virtually
async def test_a_client_that_goes_away_while_the_loser_is_cut_leaves_nothing_behind() -> None:
    answer = FakeUpstream(body=BODY)

    async def send(number: int, call: Any) -> Any:
        try:
            await asyncio.sleep(50.0 if number == 0 else 1.0)
        except asyncio.CancelledError:
            await asyncio.sleep(5.0)
            raise
        return answer

    ex, _ = await warmed(send)
    attempts: list[Any] = []
    task = asyncio.create_task(ex.run(PLAN, work(), always, attempts=attempts))
    await asyncio.sleep(4.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted((a.kind, a.error, a.cost_usd > 0) for a in attempts) == [
        ("first", "cancelled", True),
        ("hedge", "cancelled", True),
    ]
    assert ex.status()[0].outstanding == 0 and answer.closed


@virtually
async def test_where_no_call_was_ever_much_later_than_the_others_a_second_is_not_worth_it() -> None:
    rng = np.random.default_rng(2)
    provider = Provided(taking(lambda n: 1.0 + 0.5 * float(rng.random())))
    ex = executor([model("m")], {"m": provider}, hedging=ON)
    for _ in range(500):
        await ex.run(PLAN, work(), always)
    assert len(provider.calls) == 500


def test_the_tail_is_the_quantile_of_the_latest_latencies() -> None:
    tail = Tail()
    for i in range(63):
        tail.observe(float(i))
    assert tail.quantile(0.5) is None
    tail.observe(63.0)
    assert tail.quantile(0.5) == 32.0
    assert tail.quantile(0.99) is None
    assert tail.quantile(1.0) is None
    for i in range(5000):
        tail.observe(1000.0 + i)
    assert tail.quantile(0.5) == pytest.approx(1000.0 + 904.0 + 2048.0)
