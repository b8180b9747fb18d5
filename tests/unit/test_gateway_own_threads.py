"""What may take long is worked on in threads, for as long as it may take: nobody else waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from equipoise.gateway.own_threads import _MOST_AT_ONCE, _THREADS, OwnThreads, in_own_thread
from tests.gateway_world import eventually


class Doubling:
    """Doubles numbers, once it is let; 0 ends its thread. It remembers which came together."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        if 0 in numbers:
            raise SystemExit
        self.let.wait()
        return [2 * n for n in numbers]


@pytest.fixture
def work() -> Iterator[Doubling]:
    work = Doubling()
    yield work
    work.let.set()


async def all_out(threads: OwnThreads[int, int], work: Doubling) -> list[asyncio.Task[int]]:
    """Every thread asked for one number."""
    asking = []
    for n in range(1, _THREADS + 1):
        asking.append(asyncio.create_task(threads.ask(n)))
        await eventually(lambda n=n: len(work.batches) == n)
    return asking


async def test_each_gets_its_own_result(work: Doubling) -> None:
    threads = OwnThreads(work, 600.0)
    work.let.set()
    assert await asyncio.gather(*(threads.ask(n) for n in range(1, 100))) == list(range(2, 200, 2))
    assert sum(work.batches, []) == list(range(1, 100))
    assert max(map(len, work.batches)) <= _MOST_AT_ONCE


async def test_what_comes_while_all_threads_are_out_goes_together(work: Doubling) -> None:
    threads = OwnThreads(work, 600.0)
    asking = await all_out(threads, work)
    later = [asyncio.create_task(threads.ask(n)) for n in (91, 92, 93)]
    await asyncio.sleep(0)
    work.let.set()
    assert await asyncio.gather(*later) == [182, 184, 186]
    await asyncio.gather(*asking)
    assert work.batches == [[n] for n in range(1, _THREADS + 1)] + [[91, 92, 93]]


async def test_nobody_waits_longer_than_the_limit(work: Doubling) -> None:
    with pytest.raises(TimeoutError):
        await OwnThreads(work, 0.01).ask(1)


async def test_nobody_waits_longer_than_the_caller_has(work: Doubling) -> None:
    with pytest.raises(TimeoutError):
        await OwnThreads(work, 600.0).ask(1, most_s=0.01)


async def test_while_all_threads_take_too_long_nobody_waits_and_afterwards_all_is_as_before(work: Doubling) -> None:
    threads = OwnThreads(work, 0.01)
    for n in range(1, _THREADS + 1):
        with pytest.raises(TimeoutError):
            await threads.ask(n)
    await asyncio.sleep(0.01)  # the last was asked a little before its thread set out
    waited = asyncio.get_running_loop().create_task(threads.ask(50))
    await asyncio.sleep(0)
    assert isinstance(waited.exception(), TimeoutError), "at once"
    work.let.set()
    await eventually(lambda: not threads._out)
    threads._limit_s = 600.0
    assert await threads.ask(4) == 8
    assert [50] not in work.batches


async def test_what_nobody_waits_for_any_more_is_not_worked_on(work: Doubling) -> None:
    threads = OwnThreads(work, 600.0)
    asking = await all_out(threads, work)
    gone = asyncio.create_task(threads.ask(50))
    await asyncio.sleep(0)
    gone.cancel()
    work.let.set()
    assert await threads.ask(51) == 102
    await asyncio.gather(*asking)
    assert [51] in work.batches and [50] not in work.batches


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_work_that_ends_its_thread_takes_none_away(work: Doubling) -> None:
    threads = OwnThreads(work, 0.01)
    for _ in range(_THREADS + 1):
        with pytest.raises(TimeoutError):
            await threads.ask(0)
        await eventually(lambda: not threads._out)
    threads._limit_s = 600.0
    work.let.set()
    assert await threads.ask(4) == 8


def test_a_thread_that_hangs_does_not_keep_the_loop_from_ending(work: Doubling) -> None:
    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await OwnThreads(work, 0.01).ask(1)

    asyncio.run(ask())
    work.let.set()


async def test_a_thread_of_its_own_brings_a_result_or_an_error() -> None:
    assert await in_own_thread(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(lambda: 1 // 0)


def test_a_thread_of_its_own_does_not_keep_the_loop_from_ending() -> None:
    end = threading.Event()

    async def wait() -> None:
        async with asyncio.timeout(0.01):
            await in_own_thread(end.wait)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    end.set()
