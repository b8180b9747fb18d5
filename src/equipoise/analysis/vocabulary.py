"""How many cue words of each group a text holds: an input of the trained classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log1p

import numpy as np

from equipoise.types import Singles

_FILE = "vocabulary.txt"
_WORD = re.compile(r"[^\W_][\w'/-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Groups of cue words. ``text`` is the file they were read from; it belongs to the classifier's version."""

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    text: str

    def cues(self, text: str) -> Singles:
        """``log(1 + distinct words)`` of every group, and the group of the first word (one-hot), shape (2g,)."""
        size = len(self.names)
        words = _WORD.findall(text.lower())
        counts = [0] * size
        for word in set(words):
            for group in self._of(word):
                counts[group] += 1
        first = [0.0] * size
        if words:
            for group in self._of(words[0]):
                first[group] = 1.0
        return np.array([log1p(c) for c in counts] + first, dtype=np.float32)

    def _of(self, word: str) -> tuple[int, ...]:
        found = self.groups.get(word)
        if found is None:
            found = self.groups.get(word[:-1], ()) if word[-1] == "s" and len(word) > 3 else ()
        return found


@cache
def bundled_vocabulary() -> Vocabulary:
    """The groups that ship with the package."""
    return parse_vocabulary(files("equipoise.analysis").joinpath("data", _FILE).read_text(encoding="utf-8"))


def parse_vocabulary(text: str) -> Vocabulary:
    """Groups from lines ``name: words``; lines that start with # are comments."""
    lines = [line.split(":", 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    groups: dict[str, tuple[int, ...]] = {}
    for index, (_, words) in enumerate(lines):
        for word in dict.fromkeys(words.split()):
            groups[word] = (*groups.get(word, ()), index)
    return Vocabulary(names=tuple(name.strip() for name, _ in lines), groups=groups, text=text)
