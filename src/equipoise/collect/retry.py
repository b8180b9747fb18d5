"""How long to wait before a failed call is made again."""

from __future__ import annotations

from typing import Protocol

from equipoise.errors import ProviderError

# A server that asks for more than this is one to come back to in another run.
LONGEST_ASKED_WAIT_S = 300.0


class Uniform(Protocol):
    """The one thing that is asked of a random generator (numpy's has it)."""

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        ...


def wait_s(attempt: int, error: ProviderError, *, first_s: float, longest_s: float, rng: Uniform) -> float:
    """Exponential backoff with jitter after ``attempt`` calls, on top of what the server asked for.

    The jitter keeps workers that failed together from coming back together.
    """
    backoff = min(longest_s, first_s * 2.0 ** (attempt - 1))
    asked = min(error.retry_after_s or 0.0, LONGEST_ASKED_WAIT_S)
    return float(asked + rng.uniform(backoff / 2, backoff))
