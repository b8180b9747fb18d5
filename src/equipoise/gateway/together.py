"""What is asked for in the same turn of the event loop, or in the next, is worked on together.

Nobody waits for company: a turn in which nothing else happens is over at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
            # After the tasks that are ready now, and one more look at the sockets: whoever is there may ask as well.
            loop.call_soon(loop.call_soon, self._answer)
        answer: asyncio.Future[Result] = loop.create_future()
        self._asked.append((item, answer))
        return await answer

    def _answer(self) -> None:
        asked, self._asked = [(item, answer) for item, answer in self._asked if not answer.done()], []
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
