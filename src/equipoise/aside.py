"""Work on large things, done aside: whoever waits for the event loop is not to wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

# What is done with less takes no longer than a thread is worth.
LARGE_BYTES = 1 << 15
# What is done with more may take seconds. It waits for its like, rather than that all others wait for it.
HUGE_BYTES = 1 << 20
_HUGE_AT_ONCE = 2
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
        return await asyncio.to_thread(work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_few_threads(), partial(work, *args, **kwargs))


@cache
def _few_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_HUGE_AT_ONCE, thread_name_prefix="equipoise-huge")
