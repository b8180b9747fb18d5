"""The two clocks that execution reads; the module ``time`` is one."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Durations are differences of ``monotonic``. ``time`` may jump; it only dates what is written down."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def time(self) -> float:
        """Unix time."""
        ...
