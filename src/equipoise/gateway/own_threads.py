"""What may take long, or never end, in threads of its own: nobody else waits for it, and who asks only so long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Generic, TypeVar

from equipoise.aside import in_turns

Item = TypeVar("Item")
Result = TypeVar("Result")
_THREADS = 8
_MOST_AT_ONCE = 32


async def in_own_thread(work: Callable[[], Result]) -> Result:
    """What it comes to, as by ``asyncio.to_thread``; but the process may end before, also if it never does.

    Raises:
        Exception: what it raises.
    """
    made: Future[Result] = Future()
    made.set_running_or_notify_cancel()

    def run() -> None:
        try:
            made.set_result(work())
        except BaseException as error:  # noqa: BLE001  (it is raised where it is waited for)
            made.set_exception(error)

    Thread(target=run, name="equipoise-own", daemon=True).start()
    return await asyncio.wrap_future(made)


class OwnThreads(Generic[Item, Result]):
    """Works on items in threads, on those together that come at once or while all threads are out.

    No thread can be stopped: one that takes too long goes on. While all of them are like that, nobody waits.

    Args:
        work: results for some items in their order. What goes wrong is a result, too: it raises nothing.
        limit_s: longest wait for a result.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], limit_s: float) -> None:
        self._work, self._limit_s = work, limit_s
        self._asked: list[tuple[Item, asyncio.Future[Result]]] = []
        self._out: list[float] = []  # since when, in order

    async def ask(self, item: Item, *, most_s: float | None = None) -> Result:
        """The result for an item.

        Args:
            most_s: of the caller, where that is less than the limit.

        Raises:
            TimeoutError: there was none in time.
        """
        loop = asyncio.get_running_loop()
        if len(self._out) == _THREADS and loop.time() - self._out[-1] >= self._limit_s:
            raise TimeoutError
        answer: asyncio.Future[Result] = loop.create_future()
        self._asked.append((item, answer))
        loop.call_soon(self._send, loop)
        async with asyncio.timeout(self._limit_s if most_s is None else min(most_s, self._limit_s)):
            return await answer

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send out what waits, as long as there are threads."""
        self._asked = [one for one in self._asked if not one[1].done()]
        while self._asked and len(self._out) < _THREADS:
            asked, self._asked = self._asked[:_MOST_AT_ONCE], self._asked[_MOST_AT_ONCE:]
            since = loop.time()
            # One that hangs must not keep the process from ending, as the threads of an executor do.
            Thread(target=self._run, args=(loop, asked, since), name="equipoise-own", daemon=True).start()
            self._out.append(since)  # after that: where no thread can be had, none is out

    def _run(
        self, loop: asyncio.AbstractEventLoop, asked: Sequence[tuple[Item, asyncio.Future[Result]]], since: float
    ) -> None:
        results: Sequence[Result] = ()
        try:
            results = in_turns(self._work, [item for item, _ in asked])
        finally:  # also where it ends its thread, which is its right
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._came, loop, asked, results, since)

    def _came(
        self,
        loop: asyncio.AbstractEventLoop,
        asked: Sequence[tuple[Item, asyncio.Future[Result]]],
        results: Sequence[Result],
        since: float,
    ) -> None:
        self._out.remove(since)
        for (_, answer), result in zip(asked, results, strict=False):
            if not answer.done():
                answer.set_result(result)
        self._send(loop)
