"""Upstreams that fail in every way: requests are answered all the same, and the bill is theirs to the micro-dollar."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from equipoise.config import ExecutionConfig
from equipoise.execution import ExecutionFailed, Executor, Running, Work
from equipoise.providers import make_provider
from equipoise.traffic import Attempt
from equipoise.types import Deployment, Model, Plan, Price
from tests.chaos.broken_upstream import ANSWER, FAULTS, Bill, BrokenUpstream
from tests.execution_fakes import always, read, text_of, words, work

PRICES = {
    "big": Price(usd_per_1m_input=3.0, usd_per_1m_output=15.0, usd_per_1m_cached_input=0.3),
    "small": Price(usd_per_1m_input=0.25, usd_per_1m_output=1.25, usd_per_1m_cached_input=0.03),
}
QUICK = {"first_token_s": 2.0, "between_tokens_s": 2.0, "total_s": 8.0, "backoff_s": 0.01, "max_backoff_s": 1.0}
PLAN = Plan(model="big", fallback=("small",))
PROMPT = "please answer this prompt of eight words"


class JumpingClock:
    """The loop's time, while Unix time jumps hours at every look."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._loop, self._rng = asyncio.get_running_loop(), rng

    def monotonic(self) -> float:
        return self._loop.time()

    def time(self) -> float:
        return 1.7e9 + float(self._rng.uniform(-1e5, 1e5))


def sometimes(rate: float, seed: int, faults: Sequence[str] = FAULTS) -> Callable[[int], str | None]:
    """Faults of all kinds, in their turn, at a rate."""
    rng = np.random.default_rng(seed)
    turn = 0

    def fault(number: int) -> str | None:
        nonlocal turn
        if rng.random() >= rate:
            return None
        turn += 1
        return faults[turn % len(faults)]

    return fault


@asynccontextmanager
async def over(upstreams: dict[str, list[BrokenUpstream]], **settings: Any) -> AsyncIterator[Executor]:
    """An executor whose models are at these upstreams, over HTTP."""
    async with AsyncExitStack() as stack:
        models, providers = {}, {}
        for name, places in upstreams.items():
            deployments = []
            for upstream in places:
                await stack.enter_async_context(upstream)
                deployments.append(Deployment(provider="openai_compatible", base_url=upstream.base_url))
            models[name] = Model(name=name, price=PRICES[name], deployments=tuple(deployments))
            for deployment in deployments:
                provider = make_provider(deployment, secret=lambda key: key)
                stack.push_async_callback(provider.close)
                providers[deployment.base_url] = provider
        yield Executor(
            models,
            lambda deployment: providers[deployment.base_url],
            ExecutionConfig(**{**QUICK, **settings}),
            clock=JumpingClock(np.random.default_rng(1)),
            rng=np.random.default_rng(2),
            tokens=words,
        )


def usd(bills: Sequence[Bill]) -> float:
    return sum(bill.usd(PRICES[bill.model]) for bill in bills)


def assert_same_ledger(attempts: Sequence[Attempt], upstreams: Sequence[BrokenUpstream]) -> None:
    """Every call of theirs is a call of ours, with the same tokens and the same price."""
    bills = [bill for upstream in upstreams for bill in upstream.bills]
    theirs = Counter((b.model, b.input_tokens, b.output_tokens, b.cached_tokens) for b in bills)
    ours = Counter(
        (a.model, a.usage.input_tokens, a.usage.output_tokens, a.usage.cached_tokens)
        for a in attempts
        if a.usage.input_tokens
    )
    assert ours == theirs
    assert sum(a.cost_usd for a in attempts) == pytest.approx(usd(bills), abs=5e-7, rel=0)
    assert len(attempts) == sum(upstream.requests for upstream in upstreams)


async def many(executor: Executor, works: Sequence[Work], attempts: list[Attempt], at_once: int = 40) -> list[Any]:
    """Run many requests to their end: the answer and its ``Running``, or the failure."""
    gate = asyncio.Semaphore(at_once)

    async def one(asked: Work) -> Any:
        async with gate:
            own: list[Attempt] = []
            try:
                running = await executor.run(PLAN, asked, always, attempts=own)
                return running, await read(running)
            except ExecutionFailed as error:
                return error, b""
            finally:
                attempts.extend(own)

    return list(await asyncio.gather(*(one(asked) for asked in works)))


@pytest.mark.parametrize("says_usage", [True, False])
async def test_with_a_fifth_of_all_calls_failing_in_every_way_all_are_answered_and_the_ledger_is_exact(
    says_usage: bool,
) -> None:
    upstreams = [BrokenUpstream(sometimes(0.2, seed), says_usage=says_usage) for seed in range(3)]
    works = [work(PROMPT, stream=i % 2 == 0) for i in range(1000)]
    attempts: list[Attempt] = []
    patient = {"first_token_s": 4.0, "between_tokens_s": 4.0, "total_s": 24.0}  # a slow machine is not to count
    async with over({"big": upstreams[:2], "small": upstreams[2:]}, **patient) as executor:
        done = await many(executor, works, attempts)
        assert all(place.outstanding == 0 for place in executor.status())
    ok = [(r, answer) for r, answer in done if isinstance(r, Running) and r.status == "ok"]
    assert len(ok) >= 0.999 * len(works)
    for running, answer in ok:
        said = text_of(answer)
        assert said == ANSWER or (running.continued and said.startswith("one two three four"))
        assert said.endswith("eight nine ten")
    for running, answer in done:
        assert running.status != "interrupted" or b"stream_interrupted" in answer
    met = sum((u.faults for u in upstreams), Counter())
    assert set(met) == set(FAULTS), "every fault was met"
    assert sum(met.values()) > 0.15 * len(attempts)
    assert {a.kind for a in attempts} == {"first", "retry", "fallback"}
    assert_same_ledger(attempts, upstreams)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_model_that_always_fails_in_one_way_costs_no_answer(fault: str) -> None:
    upstreams = [BrokenUpstream(lambda n: fault), BrokenUpstream(lambda n: None)]
    streams = fault.startswith("stream") or fault == "slow loris"
    works = [work(PROMPT, stream=streams) for _ in range(12)]
    attempts: list[Attempt] = []
    # Only what never ends of itself has to be given up soon; the others may take their time on a busy machine.
    patience_s = 1.0 if "stall" in fault or fault == "slow loris" else 60.0
    settings: dict[str, Any] = {"attempts_per_model": 1, "total_s": 3 * patience_s}
    settings |= {"first_token_s": patience_s, "between_tokens_s": patience_s}
    async with over({"big": upstreams[:1], "small": upstreams[1:]}, **settings) as executor:
        done = await many(executor, works, attempts)
    assert [r.status for r, _ in done] == ["ok"] * len(works)
    assert all(r.model == "small" for r, _ in done)
    if streams:
        assert all(text_of(answer) == f"one two three four{ANSWER}" for _, answer in done)
        assert all(b": continued by small\n" in answer for _, answer in done)
    assert_same_ledger(attempts, upstreams)


async def test_a_storm_of_429s_is_ridden_out_without_asking_before_the_time_that_they_say() -> None:
    upstream = BrokenUpstream(lambda n: "429" if n < 60 else None)
    attempts: list[Attempt] = []
    async with over({"big": [upstream]}, max_attempts=20, attempts_per_model=10) as executor:
        done = await many(executor, [work(PROMPT) for _ in range(30)], attempts, at_once=30)
    assert [r.status for r, _ in done] == ["ok"] * 30
    assert upstream.faults == {"429": 60}
    assert_same_ledger(attempts, [upstream])


async def test_hedged_calls_are_billed_win_or_lose() -> None:
    upstream = BrokenUpstream(lambda n: None, delay_s=lambda n: 60.0 if n % 16 == 15 else 0.0)
    attempts: list[Attempt] = []
    hedging = {"enabled": True, "max_share": 0.2, "quantile": 0.9}
    async with over({"big": [upstream]}, hedging=hedging, total_s=120.0) as executor:
        for place in executor._places["big"]:
            for late in (*[0.4] * 1000, *[9.0] * 20):
                place.tails[False].observe(late)
        for _ in range(80):
            running = await executor.run(PLAN, work(PROMPT), always, attempts=attempts)
            assert text_of(await read(running)) == ANSWER
    lost = [a for a in attempts if a.error == "cancelled"]
    assert len(lost) == executor.hedging.hedges >= 4
    assert all(a.kind == "first" and a.cost_usd > 0 and a.usage.estimated for a in lost)
    assert_same_ledger(attempts, [upstream])


async def test_a_client_that_leaves_in_the_middle_is_billed_what_it_got() -> None:
    upstream = BrokenUpstream(lambda n: "stream stall")
    attempts: list[Attempt] = []
    async with over({"big": [upstream]}) as executor:
        for _ in range(20):
            running = await executor.run(PLAN, work(PROMPT, stream=True), always, attempts=attempts)
            assert running.stream is not None
            said = 0
            async for frame in running.stream:
                said += frame.count(b'"content"')
                if said == 4:
                    break
            await running.close()
        assert executor.status()[0].outstanding == 0
    assert {(a.error, a.usage.output_tokens) for a in attempts} == {("cancelled", 4)}
    assert_same_ledger(attempts, [upstream])


async def test_a_client_that_leaves_before_the_answer_is_billed_its_input() -> None:
    upstream = BrokenUpstream(lambda n: "stall")
    attempts: list[Attempt] = []
    async with over({"big": [upstream]}) as executor:
        tasks = [asyncio.create_task(executor.run(PLAN, work(PROMPT), always, attempts=attempts)) for _ in range(20)]
        async with asyncio.timeout(10.0):
            while upstream.requests < 20:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert executor.status()[0].outstanding == 0
    assert len(attempts) == 20
    assert_same_ledger(attempts, [upstream])


async def test_nothing_listens_costs_nothing() -> None:
    upstream = BrokenUpstream(lambda n: None)
    async with upstream:
        gone = upstream.base_url
    provider = make_provider(Deployment(provider="openai_compatible", base_url=gone), secret=lambda key: key)
    places = (Deployment(provider="openai_compatible", base_url=gone),)
    executor = Executor(
        {"big": Model(name="big", price=PRICES["big"], deployments=places)},
        lambda deployment: provider,
        ExecutionConfig(backoff_s=0.01, max_attempts=3),
        clock=JumpingClock(np.random.default_rng(1)),
        rng=np.random.default_rng(2),
        tokens=words,
    )
    with pytest.raises(ExecutionFailed) as caught:
        await executor.run(PLAN, work(PROMPT), always)
    await provider.close()
    assert [(a.error, a.cost_usd) for a in caught.value.attempts] == [("connection", 0.0)] * 3
