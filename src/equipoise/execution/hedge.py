"""A second call when the first is slower than its place usually is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from equipoise.config import HedgingConfig
from equipoise.errors import ProviderError
from equipoise.execution.call import Call
from equipoise.execution.place import End, Place
from equipoise.wire import BadRequest

# Where most calls take equally long, they are not all late.
_SLACK = 1.001
_MOST_CREDIT = 10.0

# A call, and what brings its answer.
Begun = tuple[Call, Coroutine[Any, Any, None]]


class Hedging:
    """When to make a second call, and how many were made: never more than ``max_share`` of the calls.

    What is not used is saved for ten hedges at most, so that a bad hour does not double its own load.
    """

    __slots__ = ("_credit", "_quantile", "_settings", "calls", "hedges")

    def __init__(self, settings: HedgingConfig) -> None:
        self._settings = settings
        # Were more calls late than may be hedged, which of them are would be left to chance.
        self._quantile = max(settings.quantile, 1.0 - settings.max_share)
        self._credit = 0.0
        self.calls = self.hedges = 0

    def delay_s(self, place: Place, *, stream: bool, within_s: float) -> float | None:
        """After how long a call there is late; None where a second one is not worth it, or too little is known.

        Args:
            within_s: the time that there is for both.
        """
        if not self._settings.enabled:
            return None
        self.calls += 1
        self._credit = min(self._credit + self._settings.max_share, _MOST_CREDIT)
        late = place.tails[stream].late_after(self._quantile, within_s)
        return None if late is None else late * _SLACK

    def spend(self) -> bool:
        """Whether one more call is within the share; if so, it counts."""
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        self.hedges += 1
        return True


async def race(first: Begun, delay_s: float, second: Callable[[Callable[[], bool]], Awaitable[Begun | None]]) -> Call:
    """The call that answers first. The other is cut and billed, and so are both when this is cancelled.

    Args:
        second: makes the other call when the first is late, or declines. It is told how to see whether it still is.

    Raises:
        ProviderError: all failed; it is the first call's error.
    """
    task = asyncio.create_task(first[1])
    running = {task: first[0]}
    winner: Call | None = None
    try:
        await asyncio.wait(running, timeout=delay_s)
        if not task.done() and (other := await second(lambda: not task.done())) is not None:
            running[asyncio.create_task(other[1])] = other[0]
        winner = await _winner(running)
    finally:
        try:
            await _cut(running)
        except asyncio.CancelledError:
            if winner is not None:  # nobody is there any more to be given the answer
                winner.settle(End.CANCELLED)
                await winner.close()
            raise
    return winner


async def _winner(running: dict[asyncio.Task[None], Call]) -> Call:
    first = next(iter(running.values()))
    failed: ProviderError | None = None
    while running:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda t: running[t] is not first):
            error = task.exception()
            if error is not None and not isinstance(error, ProviderError | BadRequest):
                raise error  # what still runs is cut, this one included
            call = running.pop(task)
            if error is None:
                if call is not first and first in running.values():
                    first.outrun()
                return call
            if isinstance(error, BadRequest):
                if call is first:
                    raise error
                call.withdraw()
                continue
            call.settle(End.FAILED, error)
            await call.close()
            if failed is None or call is first:
                failed = error
    assert failed is not None
    raise failed


async def _cut(running: dict[asyncio.Task[None], Call]) -> None:
    if not running:
        return
    for task in running:
        task.cancel()
    try:
        await asyncio.wait(running)
    finally:
        for task, call in running.items():
            # Not before: until it hears that it is cancelled, a request may still leave.
            call.settle(End.CANCELLED)
            await call.close()
            if task.done() and not task.cancelled():
                task.exception()  # it ended in the same moment: looked at, so that nothing warns of it
