"""How many cue words of each group a text holds: an input of the trained classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from equipoise.types import Singles

_FILE = "vocabulary.txt"
_MOST = 500
_LOGS = np.log1p(np.arange(_MOST + 1)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Groups of cue words. ``text`` is the file they were read from; it belongs to the classifier's version."""

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    text: str

    def cues(self, texts: Sequence[Sequence[str]]) -> Singles:
        """For the words of every text, ``log(1 + distinct words)`` of each group, and the groups of the first word.

        The shape is (n, 2g).
        """
        groups, width = self.groups, len(self.names)
        counted: list[int] = []
        firsts: list[int] = []
        for row, words in enumerate(texts):
            start = 2 * width * row
            known = filter(groups.__contains__, set(words))
            counted += [start + group for word in known for group in groups[word]]
            if words and words[0] in groups:
                firsts += [start + width + group for group in groups[words[0]]]
        counts = np.bincount(np.array(counted, dtype=np.int64), minlength=2 * width * len(texts))
        out = _LOGS.take(counts, mode="clip")
        out[firsts] = 1.0
        return out.reshape(len(texts), 2 * width)


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
