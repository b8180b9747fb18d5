"""What is asked for within a few turns of the event loop is worked on together.

That takes less time than one by one: the code and what it reads stay at hand. Nobody waits for company: where nothing
else happens, a few turns are over in microseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_TURNS = 10
# The loop does nothing else meanwhile, and a stream should not be held up.
_MOST_AT_ONCE = 32


class Together(Generic[Item, Result]):
    """Gathers what tasks ask for at about the same time.

    Args:
        work: results, or errors to raise, for some items in their order.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result | Exception]]) -> None:
        self._work = work
        self._asked: list[tuple[Item, asyncio.Future[Result]]] = []

    async def ask(self, item: Item) -> Result:
        """The result for an item.

        Raises:
            Exception: the one that stands in its place.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._look_around, loop, _TURNS)
        answer: asyncio.Future[Result] = loop.create_future()
        self._asked.append((item, answer))
        return await answer

    def _look_around(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        """Let the tasks that are ready now, and those that the sockets bring in the turns to come, ask as well."""
        if turns > 1:
            loop.call_soon(self._look_around, loop, turns - 1)
        else:
            self._answer(loop)

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = [(item, answer) for item, answer in self._asked if not answer.done()]
        asked, self._asked = waiting[:_MOST_AT_ONCE], waiting[_MOST_AT_ONCE:]
        if self._asked:
            loop.call_soon(self._answer, loop)
        if not asked:
            return
        try:
            results = self._work([item for item, _ in asked])
        except Exception as error:  # noqa: BLE001  (it is raised where the item came from)
            results = [error] * len(asked)
        for (_, answer), result in zip(asked, results, strict=True):
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
