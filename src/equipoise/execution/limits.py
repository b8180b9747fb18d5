"""How much was sent in the last minute: the rpm and tpm limits of a deployment, or of a tenant."""

from __future__ import annotations

import math
from collections import deque

_MINUTE = 60
# What an answer is taken for before the first was seen, but for no more than this share of the limit.
_UNSEEN_TOKENS = 500.0
_UNSEEN_SHARE = 0.05
# Answers end in the order of their length, so that the long ones are still being written: this many deviations more.
_LONGER = 2.0
_REMEMBERED = 50


class Second:
    """What was taken within one second."""

    __slots__ = ("amount", "at", "counted")

    def __init__(self, at: int) -> None:
        self.at, self.amount, self.counted = at, 0.0, True


class MinuteWindow:
    """A limit on the sum of any 60 seconds, to the second: a second counts until it is wholly a minute old.

    What is taken is reserved before a call is made, so that concurrent calls cannot all pass; ``settle``
    corrects it when the true amount is known.
    """

    __slots__ = ("_seconds", "_total", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._seconds: deque[Second] = deque()
        self._total = 0.0

    def free_in(self, now: float, amount: float) -> float:
        """Seconds until ``amount`` fits; 0 if it does now.

        An amount above the limit fits an empty window: it could never be sent otherwise.
        """
        self._forget(now)
        most = max(self.limit - amount, 0.0)
        left = self._total
        if left <= most:
            return 0.0
        for second in self._seconds:
            left -= second.amount
            if left <= most:
                return max(second.at + _MINUTE + 1 - now, 0.0)
        return float(_MINUTE + 1)

    def total(self, now: float) -> float:
        """The amount of the last minute."""
        self._forget(now)
        return self._total

    def take(self, now: float, amount: float) -> Second:
        """Count an amount. The second that it belongs to is what ``settle`` takes."""
        self._forget(now)
        at = int(now)
        if not self._seconds or self._seconds[-1].at < at:
            self._seconds.append(Second(at))
        second = self._seconds[-1]
        second.amount += amount
        self._total += amount
        return second

    def settle(self, second: Second, more: float) -> None:
        """The amount taken in that second was larger by ``more``, or smaller where negative."""
        second.amount += more
        if second.counted:
            self._total += more

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0].at + _MINUTE + 1 <= now:
            old = self._seconds.popleft()
            old.counted = False
            self._total -= old.amount
        if not self._seconds:
            self._total = 0.0


class Lengths:
    """How long answers are: what to reserve for the next, of a limit of so many tokens a minute.

    Attributes:
        likely: tokens that few answers exceed.
    """

    __slots__ = ("_mean", "_seen", "_square", "likely")

    def __init__(self, limit: float = math.inf) -> None:
        self._mean = self._square = 0.0
        self._seen = 0
        self.likely = min(_UNSEEN_TOKENS, _UNSEEN_SHARE * limit)

    def observe(self, tokens: int) -> None:
        """An answer had that many."""
        self._seen = min(self._seen + 1, _REMEMBERED)
        self._mean += (tokens - self._mean) / self._seen
        self._square += (tokens * tokens - self._square) / self._seen
        self.likely = self._mean + _LONGER * math.sqrt(max(self._square - self._mean * self._mean, 0.0))
