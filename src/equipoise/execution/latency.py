"""How fast a deployment answers: a moving mean for balancing, and the tail for hedging."""

from __future__ import annotations

import math
from collections import deque

_MEMORY_S = 10.0
_LEAST_MEMORY = 10
_FORGIVEN_S = 30.0
# An answer that is so much faster than the mean is no reason to believe that for longer.
_MUCH_FASTER = 0.5
_KEPT = 4096
_FEWEST = 64
# Sorted again when so many times as many are known as have come since.
_STALE = 32


class Latency:
    """Moving mean of the time to the first content of a stream, or to the whole of another answer.

    It is that of the last seconds, or of the last few answers where those are older: one alone says little.

    Attributes:
        mean: seconds; NaN before the first observation.
    """

    __slots__ = ("_at", "_seen", "_slow_at", "mean")

    def __init__(self) -> None:
        self.mean = math.nan
        self._at = self._slow_at = 0.0
        self._seen = 0

    def observe(self, now: float, seconds: float) -> None:
        """An answer took that long."""
        self._seen += 1
        if not seconds < _MUCH_FASTER * self.mean:
            self._slow_at = now
        if self._seen == 1:
            self.mean = seconds
        else:
            fresh = 1.0 - math.exp(-max(now - self._at, 0.01) / _MEMORY_S)
            self.mean += max(min(fresh, 1.0 / _LEAST_MEMORY), 1.0 / self._seen) * (seconds - self.mean)
        self._at = now

    def at_least(self, now: float, seconds: float) -> None:
        """A call was given up after that long: its answer would have taken longer."""
        if not seconds <= self.mean:
            self.observe(now, seconds)

    def expected(self, now: float, fastest: float) -> float:
        """The mean, or more and more that of the fastest where no answer was slow lately: so a place is tried again."""
        if self._seen == 0:
            return fastest
        return fastest + (self.mean - fastest) * math.exp(-max(now - self._slow_at, 0.0) / _FORGIVEN_S)


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
        if n < _FEWEST or n * (1.0 - q) < 2.0:
            return None
        if self._since * _STALE >= n or not self._sorted:
            self._sorted = sorted(self._latest)
            self._since = 0
        return self._sorted[min(int(q * len(self._sorted)), len(self._sorted) - 1)]

    def late_after(self, q: float, within_s: float = math.inf) -> float | None:
        """The time after which a second call is worth its price; None where there is none.

        It is worth nothing where no answer took so much longer than the quantile that a usual one, asked for then,
        would have come first; nor where that would come after ``within_s``.
        """
        late, usual = self.quantile(q), self.quantile(0.5)
        if late is None or usual is None or min(self._sorted[-1], within_s) <= late + usual:
            return None
        return late
