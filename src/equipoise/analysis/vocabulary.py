"""How many cue words of each group a text holds: an input of the trained classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log1p

import numpy as np

from equipoise.types import Singles

_FILE = "vocabulary.txt"
_MOST = 500
_LOGS = np.array([log1p(c) for c in range(_MOST + 1)], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Groups of cue words. ``text`` is the file they were read from; it belongs to the classifier's version."""

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    text: str

    def cues(self, texts: Sequence[Sequence[str]]) -> Singles:
        """``log(1 + distinct words)`` of every group, and the groups of the first word, shape (n, 2g)."""
        size, groups = len(self.names), self.groups
        found = [
            row * size + group
            for row, words in enumerate(texts)
            for word in filter(groups.__contains__, set(words))
            for group in groups[word]
        ]
        counts = np.bincount(np.array(found, dtype=np.intp), minlength=len(texts) * size)
        out = np.zeros((len(texts), 2 * size), dtype=np.float32)
        out[:, :size] = _LOGS.take(counts, mode="clip").reshape(len(texts), size)
        for row, words in enumerate(texts):
            for group in groups.get(words[0], ()) if words else ():
                out[row, size + group] = 1.0
        return out


@cache
def bundled_vocabulary() -> Vocabulary:
    """The groups that ship with the package."""
    return parse_vocabulary(files("equipoise.analysis").joinpath("data", _FILE).read_text(encoding="utf-8"))


def parse_vocabulary(text: str) -> Vocabulary:
    """Groups from lines ``name: words``; lines that start with # are comments."""
    lines = [line.split(":", 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    groups: dict[str, tuple[int, ...]] = {}
    for index, (_, words) in enumerate(lines):
        singular = dict.fromkeys(words.split())
        plural = (f"{word}s" for word in singular if len(word) > 2 and not word.endswith("s"))
        for word in dict.fromkeys((*singular, *plural)):
            groups[word] = (*groups.get(word, ()), index)
    return Vocabulary(names=tuple(name.strip() for name, _ in lines), groups=groups, text=text)
