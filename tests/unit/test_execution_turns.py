"""One asks, the others who want to know the same wait."""

from __future__ import annotations

import asyncio

import pytest

from equipoise.execution.turns import Turns
from tests.execution_fakes import virtually


async def ask(turns: Turns, said: list[float], *, takes_s: float, most_s: float = 100.0, fails: bool = False) -> None:
    """Wait for the turn, then ask; ``said`` is told when."""
    await turns.wait("key", most_s)
    with turns.asking("key"):
        said.append(asyncio.get_running_loop().time())
        await asyncio.sleep(takes_s)
        if fails:
            raise ValueError


@virtually
async def test_the_others_wait_until_the_first_is_over_whether_or_not_it_failed() -> None:
    for fails in (False, True):
        turns, said, now = Turns(), list[float](), asyncio.get_running_loop().time()
        first = asyncio.create_task(ask(turns, said, takes_s=3.0, fails=fails))
        others = [asyncio.create_task(ask(turns, said, takes_s=3.0)) for _ in range(3)]
        await asyncio.gather(*others)
        assert isinstance(first.exception(), ValueError) is fails
        assert said == pytest.approx([now, *[now + 3.0] * 3]), "together then: the next may not be lucky either"


@virtually
async def test_where_the_first_goes_away_one_of_the_others_asks_in_its_place() -> None:
    turns, said, now = Turns(), list[float](), asyncio.get_running_loop().time()
    first = asyncio.create_task(ask(turns, said, takes_s=9.0))
    others = [asyncio.create_task(ask(turns, said, takes_s=2.0)) for _ in range(3)]
    await asyncio.sleep(1.0)
    first.cancel()
    await asyncio.gather(*others)
    assert first.cancelled() and said == pytest.approx([now, now + 1.0, now + 3.0, now + 3.0])


@virtually
async def test_who_waits_may_go_away_and_waits_no_longer_than_it_has_time() -> None:
    turns, said, now = Turns(), list[float](), asyncio.get_running_loop().time()
    first = asyncio.create_task(ask(turns, said, takes_s=9.0))
    hurried = asyncio.create_task(ask(turns, said, takes_s=1.0, most_s=4.0))
    leaves = asyncio.create_task(ask(turns, said, takes_s=1.0))
    await asyncio.sleep(2.0)
    leaves.cancel()
    await asyncio.gather(first, hurried)
    assert said == pytest.approx([now, now + 4.0])
    await ask(turns, said, takes_s=0.0)
    assert said[-1] == pytest.approx(now + 9.0)
