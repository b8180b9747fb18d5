"""What is kept for several tenants within one bound, so that none drives out what another has kept."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heapreplace
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
# Where there is too much, a hundredth of all is made free, for to look for the largest takes time with many tenants.
_SPARE = 100


class Shares(Generic[Thing]):
    """Things by tenant and key. Where there are too many, the longest unused of the tenant that holds most goes.

    Args:
        most: how many.
        most_bytes: how large all of them may be.
        gone: called with whatever goes.
    """

    __slots__ = ("_bytes_of", "_gone", "_kept", "_most", "_most_bytes", "bytes", "count")

    def __init__(
        self, most: int, most_bytes: float = math.inf, *, gone: Callable[[str, bytes, Thing], None] | None = None
    ) -> None:
        self._most, self._most_bytes, self._gone = most, most_bytes, gone
        self._kept: dict[str, OrderedDict[bytes, tuple[Thing, int]]] = {}
        self._bytes_of: dict[str, int] = {}
        self.count = self.bytes = 0

    def get(self, tenant: str, key: bytes) -> Thing | None:
        """A thing that is kept, which is used by that."""
        kept = self._kept.get(tenant)
        found = None if kept is None else kept.get(key)
        if kept is None or found is None:
            return None
        kept.move_to_end(key)
        return found[0]

    def put(self, tenant: str, key: bytes, thing: Thing, size: int = 0) -> None:
        """Keep a thing, in place of what had its key."""
        self.drop(tenant, key)
        if tenant not in self._kept:
            self._kept[tenant], self._bytes_of[tenant] = OrderedDict(), 0
        self._kept[tenant][key] = thing, size
        self._bytes_of[tenant] += size
        self.count, self.bytes = self.count + 1, self.bytes + size
        if self.count > self._most:
            left = self._most - self._most // _SPARE
            self._drop_from_largest(lambda one: len(self._kept[one]), lambda: self.count > left)
        if self.bytes > self._most_bytes:
            left_bytes = self._most_bytes - self._most_bytes / _SPARE
            self._drop_from_largest(self._bytes_of.__getitem__, lambda: self.bytes > left_bytes)

    def drop(self, tenant: str, key: bytes) -> None:
        """Forget a thing, if it is there."""
        kept = self._kept.get(tenant)
        found = None if kept is None else kept.pop(key, None)
        if kept is None or found is None:
            return
        thing, size = found
        self._bytes_of[tenant] -= size
        self.count, self.bytes = self.count - 1, self.bytes - size
        if not kept:
            del self._kept[tenant], self._bytes_of[tenant]
        if self._gone is not None:
            self._gone(tenant, key, thing)

    def _drop_from_largest(self, held: Callable[[str], int], too_much: Callable[[], bool]) -> None:
        largest = [(-held(tenant), tenant) for tenant in self._kept]
        heapify(largest)
        while too_much():
            tenant = largest[0][1]
            self.drop(tenant, next(iter(self._kept[tenant])))
            if tenant in self._kept:
                heapreplace(largest, (-held(tenant), tenant))
            else:
                heappop(largest)
