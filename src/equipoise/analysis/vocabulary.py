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
_LOGS = tuple(log1p(c) for c in range(_MOST + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Groups of cue words. ``text`` is the file they were read from; it belongs to the classifier's version."""

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    text: str

    def cues(self, words: Sequence[str]) -> Singles:
        """``log(1 + distinct words)`` of every group, and the groups of the first word, shape (2g,)."""
        size, groups = len(self.names), self.groups
        out = [0] * (2 * size)
        for word in filter(groups.__contains__, set(words)):
            for group in groups[word]:
                out[group] += 1
        logs = [_LOGS[c] if c <= _MOST else _LOGS[_MOST] for c in out]
        for group in groups.get(words[0], ()) if words else ():
            logs[size + group] = 1.0
        return np.array(logs, dtype=np.float32)


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
