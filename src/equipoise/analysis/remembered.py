"""What a function makes of words, where most words of a prompt were in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")
MOST_WORDS = 32_768
LONGEST_WORD = 64


class Remembered(dict[str, Made]):
    """Looks words up, and makes what is missing.

    It is all forgotten when it holds ``MOST_WORDS``; longer ones than ``LONGEST_WORD`` are not kept. To look up takes
    half of the time that ``lru_cache`` does.

    Args:
        make: a pure function of a word.
    """

    def __init__(self, make: Callable[[str], Made]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, word: str) -> Made:
        made = self._make(word)
        if len(word) <= LONGEST_WORD:
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = made
        return made
