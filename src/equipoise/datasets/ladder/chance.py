"""Seeded draws that stay the same from one numpy version to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np

T = TypeVar("T")


class Chance:
    """Draws built on uniform doubles alone, the one numpy stream that versions do not change."""

    def __init__(self, seed: int, name: str) -> None:
        self._generator = np.random.Generator(np.random.PCG64([seed, crc32(name.encode())]))

    def random(self) -> float:
        """A number in [0, 1)."""
        return float(self._generator.random())

    def randrange(self, start: int, stop: int) -> int:
        """A whole number in [start, stop)."""
        return start + int(self.random() * (stop - start))

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.randrange(0, len(items))]

    def shuffle(self, items: list[T]) -> None:
        """Put the items in random order, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.randrange(0, last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, items: Sequence[T], size: int) -> list[T]:
        """`size` different items."""
        pool = list(items)
        self.shuffle(pool)
        return pool[:size]
