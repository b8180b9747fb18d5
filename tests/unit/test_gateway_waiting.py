"""Who waited for another that asks the same has that much less time; calls of one request share what is left."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from equipoise.contracts import UpstreamCall
from equipoise.execution import ExecutionFailed
from equipoise.gateway.calls import _in_turn
from equipoise.gateway.waited import WaitedCalls
from tests.execution_fakes import Provided, executor, model, virtually, work


@pytest.mark.parametrize(
    ("deadline_s", "allowed_s", "left_s"), [(None, 30.0, None), (40.0, 20.0, 35.0), (3.0, 1.5, 0.0)]
)
async def test_the_time_that_one_waited_is_no_longer_there_for_calls(
    deadline_s: float | None, allowed_s: float, left_s: float | None
) -> None:
    exchange: Any = SimpleNamespace(elapsed_s=2.0, waited_s=0.0)

    async def turn(most_s: float) -> None:
        assert most_s == allowed_s
        exchange.elapsed_s += 5.0

    left = await _in_turn(exchange, work(deadline_s=deadline_s), 60.0, turn)
    assert (left.total_s, left.deadline_s, exchange.waited_s) == (55.0, left_s, 5.0)


@virtually
async def test_calls_of_one_request_take_no_more_than_is_left_of_its_time_together() -> None:
    async def hang(number: int, call: UpstreamCall) -> Any:
        await asyncio.sleep(1000.0)

    loop = asyncio.get_running_loop()
    one = executor([model("m")], {"m": Provided(hang)}, total_s=60.0, first_token_s=100.0, max_attempts=1)
    begun, asked = loop.time(), work(total_s=10.0)
    calls = WaitedCalls(one, asked, [])
    for others in (True, True, False):
        with pytest.raises(ExecutionFailed):
            await calls.make("m", asked, others=others)
    assert loop.time() - begun == pytest.approx(10.0, abs=0.5)
