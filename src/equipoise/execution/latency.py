"""How fast a deployment answers: a moving mean for balancing, and the tail for hedging."""

from __future__ import annotations

import math
from collections import deque

_MEMORY_S = 10.0
_FORGIVEN_S = 60.0
_KEPT = 1024
_FEWEST = 64
_REFRESH = 32


class Latency:
    """Moving mean of the time to the first content of a stream, or to the whole of another answer.

    An old mean counts for less and less, so that a place that was slow once is tried again.
    """

    __slots__ = ("_at", "_mean")

    def __init__(self) -> None:
        self._mean = math.nan
        self._at = 0.0

    def observe(self, now: float, seconds: float) -> None:
        """An answer took that long."""
        if self._mean != self._mean:
            self._mean = seconds
        else:
            kept = math.exp(-max(now - self._at, 0.01) / _MEMORY_S)
            self._mean = kept * self._mean + (1.0 - kept) * seconds
        self._at = now

    def at_least(self, now: float, seconds: float) -> None:
        """A call was given up after that long: its answer would have taken longer."""
        if not seconds <= self._mean:
            self.observe(now, seconds)

    def mean(self, now: float) -> float:
        """Seconds; NaN before the first observation."""
        return self._mean * math.exp(-max(now - self._at, 0.0) / _FORGIVEN_S)


class Tail:
    """A high quantile of the latest latencies."""

    __slots__ = ("_latest", "_since", "_sorted")

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_KEPT)
        self._sorted: list[float] = []
        self._since = 0

    def observe(self, seconds: float) -> None:
        """An answer took that long."""
        self._latest.append(seconds)
        self._since += 1

    def quantile(self, q: float) -> float | None:
        """The time that a share ``q`` of the answers did not exceed; None while too few were seen.

        Too few: fewer than 64, or too few to have seen twice what lies beyond the quantile.
        """
        n = len(self._latest)
        if n < max(_FEWEST, 2.0 / (1.0 - q)):
            return None
        if self._since >= _REFRESH or not self._sorted:
            self._sorted = sorted(self._latest)
            self._since = 0
        return self._sorted[min(int(q * len(self._sorted)), len(self._sorted) - 1)]

    def late_after(self, q: float) -> float | None:
        """The time after which a second call is worth its price; None where there is none.

        It is worth nothing where no answer took so much longer than the quantile that a usual one, asked for then,
        would have come first.
        """
        late, usual = self.quantile(q), self.quantile(0.5)
        if late is None or usual is None or self._sorted[-1] <= late + usual:
            return None
        return late
