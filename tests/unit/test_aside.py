"""Large work is done in threads, which take short turns with the event loop as long as it lasts."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from equipoise.aside import HUGE_BYTES, LARGE_BYTES, aside


@pytest.mark.parametrize("size", [LARGE_BYTES + 1, HUGE_BYTES + 1])
def test_threads_take_short_turns_while_something_large_is_worked_on(size: int) -> None:
    usual = sys.getswitchinterval()

    async def two() -> list[float]:
        both = threading.Barrier(2)

        def work() -> float:
            both.wait(30)
            return sys.getswitchinterval()

        return list(await asyncio.gather(aside(size, work), aside(size, work)))

    assert all(during < usual for during in asyncio.run(two()))
    assert sys.getswitchinterval() == usual


def test_turns_are_as_usual_again_after_work_that_fails() -> None:
    usual = sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(aside(LARGE_BYTES + 1, lambda: 1 / 0))
    assert sys.getswitchinterval() == usual


def test_what_is_small_is_worked_on_where_it_is_asked_for() -> None:
    assert asyncio.run(aside(LARGE_BYTES, threading.get_ident)) == threading.get_ident()
