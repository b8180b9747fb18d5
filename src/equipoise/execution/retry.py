"""How long to wait before a failed call is made again."""

from __future__ import annotations

from typing import Protocol

from equipoise.errors import ProviderError

# A server that asks for more than this is one to come back to in another run.
LONGEST_ASKED_WAIT_S = 300.0
# The request is at fault: another call of it fails too, and says nothing about the server.
REQUEST_FAULTS = frozenset({400, 405, 413, 414, 415, 422})


class Uniform(Protocol):
    """The one thing that is asked of a random generator (numpy's has it)."""

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        ...


def backoff_s(attempt: int, *, first_s: float, longest_s: float, rng: Uniform) -> float:
    """Exponential backoff with jitter after ``attempt`` calls.

    The jitter keeps callers that failed together from coming back together.
    """
    backoff = min(longest_s, first_s * 2.0 ** (attempt - 1))
    return float(rng.uniform(backoff / 2, backoff))


def wait_s(attempt: int, error: ProviderError, *, first_s: float, longest_s: float, rng: Uniform) -> float:
    """Backoff on top of what the server asked for."""
    asked = min(error.retry_after_s or 0.0, LONGEST_ASKED_WAIT_S)
    return asked + backoff_s(attempt, first_s=first_s, longest_s=longest_s, rng=rng)
