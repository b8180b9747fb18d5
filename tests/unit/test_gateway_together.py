"""What tasks ask for within a few turns of the event loop is worked on together, and each gets its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from equipoise.gateway.together import Together


class Doubling:
    """Doubles numbers, refuses odd ones, and remembers which came together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        return [ValueError(f"{n} is odd") if n % 2 else 2 * n for n in numbers]


async def test_those_who_ask_in_one_turn_are_answered_together() -> None:
    work = Doubling()
    together = Together(work)
    assert await asyncio.gather(*(together.ask(n) for n in (2, 4, 6))) == [4, 8, 12]
    assert work.batches == [[2, 4, 6]]


async def test_who_comes_a_turn_later_joins_them() -> None:
    work = Doubling()
    together = Together(work)

    async def later() -> int:
        await asyncio.sleep(0)
        return await together.ask(4)

    assert await asyncio.gather(together.ask(2), later()) == [4, 8]
    assert work.batches == [[2, 4]]


async def test_one_alone_does_not_wait_for_company() -> None:
    work, turns = Doubling(), 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    assert await Together(work).ask(2) == 4
    counting.cancel()
    assert work.batches == [[2]] and turns <= 12


async def test_many_are_answered_in_parts_so_that_others_get_their_turn() -> None:
    work, seen = Doubling(), list[int]()

    async def watch() -> None:
        while True:
            await asyncio.sleep(0)
            seen.append(len(work.batches))

    watching = asyncio.create_task(watch())
    together = Together(work)
    assert await asyncio.gather(*(together.ask(2 * n) for n in range(100))) == [4 * n for n in range(100)]
    watching.cancel()
    assert [n for batch in work.batches for n in batch] == [2 * n for n in range(100)]
    assert {1, 2, 3} <= set(seen), "between the parts the loop went on"


async def test_an_error_is_raised_only_where_it_belongs() -> None:
    together = Together(Doubling())
    found = await asyncio.gather(*(together.ask(n) for n in (2, 3, 4)), return_exceptions=True)
    assert found[0] == 4 and isinstance(found[1], ValueError) and found[2] == 8


async def test_work_that_fails_fails_for_all_and_the_next_turn_is_a_new_one() -> None:
    calls = 0

    def work(numbers: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return list(numbers)

    together = Together(work)
    found = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
    assert [type(one) for one in found] == [ZeroDivisionError, ZeroDivisionError]
    assert await together.ask(3) == 3


async def test_who_has_left_is_not_worked_for() -> None:
    work = Doubling()
    together = Together(work)
    asking = [asyncio.create_task(together.ask(n)) for n in (2, 4)]
    asyncio.get_running_loop().call_soon(asking[0].cancel)
    with pytest.raises(asyncio.CancelledError):
        await asking[0]
    assert await asking[1] == 8
    assert work.batches == [[4]]
