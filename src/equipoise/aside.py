"""Work on large things, done aside: whoever waits for the event loop is not to wait for that."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from threading import Lock
from typing import ParamSpec, TypeVar

# What is done with less takes no longer than a thread is worth.
LARGE_BYTES = 1 << 15
# What is done with more may take seconds. It waits for its like, rather than that all others wait for it.
HUGE_BYTES = 1 << 20
_HUGE_AT_ONCE = 2
# Of the usual 5 ms the event loop would wait several.
_TURN_S = 0.0005
P = ParamSpec("P")
T = TypeVar("T")


async def aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of work on something of that size: here and now, or where it is large, from a thread.

    Threads take turns, so that others go on meanwhile; but one step of a library, such as to parse all of a document,
    is one turn.
    """
    if size <= LARGE_BYTES:
        return work(*args, **kwargs)
    if size <= HUGE_BYTES:
        return await in_thread(work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_few_threads(), partial(in_turns, work, *args, **kwargs))


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of work from a thread that takes short turns with the event loop."""
    return await asyncio.to_thread(partial(in_turns, work, *args, **kwargs))


def in_turns(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Work while the threads of the process take short turns.

    Always to take short ones would cost a twentieth of what is served, since the log is moved in a thread.
    """
    with _SHORT_TURNS:
        return work(*args, **kwargs)


class _ShortTurns:
    """The interpreter's switch interval, short while anybody is within."""

    def __init__(self) -> None:
        self._lock, self._within, self._usual_s = Lock(), 0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(_TURN_S)
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                sys.setswitchinterval(self._usual_s)


_SHORT_TURNS = _ShortTurns()


@cache
def _few_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_HUGE_AT_ONCE, thread_name_prefix="equipoise-huge")
