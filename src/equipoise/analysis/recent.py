"""What was found in the last prompts: an agent asks with the same one at every step, an application in many runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Self

from equipoise.analysis.analyzer import Analyzer, as_asked
from equipoise.types import Features, Request

MOST_PROMPTS = 512
LONGEST = 20_000


class Recent:
    """An analyzer, and what it found in the last ``MOST_PROMPTS`` prompts, in the memory of the process only.

    A prompt is found again for the same tenant alone: how soon an answer comes is to tell nobody what others ask. Of
    more than ``LONGEST`` characters none is kept. Safe to use from several threads.
    """

    def __init__(self, analyzer: Analyzer, needs: frozenset[str]) -> None:
        self.analyzer, self.needs = analyzer, needs
        self._kept: OrderedDict[tuple[str, str], Features] = OrderedDict()

    def __reduce__(self) -> tuple[type[Self], tuple[Analyzer, frozenset[str]]]:
        """A copy remembers nothing: pickled, prompts would leave the process."""
        return type(self), (self.analyzer, self.needs)

    def rows(self, requests: Sequence[Request]) -> list[Features]:
        """By request, bit for bit what the analyzer finds."""
        keys = [(request.tenant, request.text) for request in requests]
        found: dict[tuple[str, str], Features] = {}
        missing = []
        for key in dict.fromkeys(keys):
            row = self._kept.pop(key, None)  # put back below, as one used last
            if row is None:
                missing.append(key)
            else:
                found[key] = row
        if missing:
            found.update(zip(missing, self.analyzer.texts([text for _, text in missing], self.needs), strict=True))
        for key, row in found.items():
            if len(key[1]) <= LONGEST:
                self._kept[key] = row
        while len(self._kept) > MOST_PROMPTS:
            self._kept.popitem(last=False)
        return [as_asked(found[key], request) for key, request in zip(keys, requests, strict=True)]
