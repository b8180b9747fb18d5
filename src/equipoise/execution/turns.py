"""Those who ask the same at the same time: one asks, the others wait for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress


class Turns:
    """What is being asked just now, by its keys. All of it happens in one event loop."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[Hashable, asyncio.Future[bool]] = {}

    async def wait(self, key: Hashable, most_s: float) -> None:
        """Wait while another asks this; for so long at most. Where that one goes away, the next to come here asks."""
        if key not in self._asked:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while (asked := self._asked.get(key)) is not None:
                    # It belongs to all who wait: none of them takes it along when it goes.
                    if not await asyncio.shield(asked):
                        return

    @contextmanager
    def asking(self, key: Hashable) -> Iterator[None]:
        """Others wait for as long as this lasts, if nobody is asking this already."""
        if key in self._asked:
            yield
            return
        asked = self._asked[key] = asyncio.get_running_loop().create_future()
        went_away = False
        try:
            yield
        except asyncio.CancelledError:
            went_away = True
            raise
        finally:
            del self._asked[key]
            asked.set_result(went_away)
