"""When to leave a deployment alone: a circuit breaker with an error-rate window, and what a server asked to wait."""

from __future__ import annotations

from typing import Literal

from equipoise.config import ExecutionConfig
from equipoise.errors import ProviderError
from equipoise.execution.retry import LONGEST_ASKED_WAIT_S, REQUEST_FAULTS

State = Literal["closed", "open", "half_open", "cooling"]

NO_TRIAL = 0
_SLOTS = 10
_LONGEST_COOLDOWNS = 8
# The deployment is set up wrongly, or the request names a file of nobody's, or says what may not be said.
_PERHAPS_THE_REQUESTS = frozenset({403, 404})


class Breaker:
    """Closed: calls pass. Open: none does, for a while that doubles. Half-open: one call tries it out.

    A deployment that asked to wait (429, or another status with a time) is ``cooling`` and left alone for as long as it
    said, without counting as broken.
    """

    __slots__ = (
        "_calls", "_cool_s", "_cool_until", "_failures", "_open_until", "_opened", "_probing", "_settings", "_slot",
    )  # fmt: skip

    def __init__(self, settings: ExecutionConfig) -> None:
        self._settings = settings
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._slot = 0
        self._opened = 0
        self._cool_s = 0.0
        self._open_until = self._cool_until = float("-inf")
        self._probing = False

    def inherit(self, other: Breaker) -> None:
        """Go on from the state of another, under these settings. A call in flight there tries nothing out here."""
        self._opened, self._open_until = other._opened, other._open_until
        self._cool_s, self._cool_until = other._cool_s, other._cool_until

    def state(self, now: float) -> State:
        """As of ``now``, on the clock that every call of this breaker is told."""
        if now < self._cool_until:
            return "cooling"
        if not self._opened:
            return "closed"
        return "open" if now < self._open_until else "half_open"

    def admits(self, now: float) -> bool:
        """Whether a call may be made."""
        if not self._opened and now >= self._cool_until:
            return True
        return self.state(now) == "half_open" and not self._probing

    def opens_at(self, now: float) -> float:
        """When calls pass again: ``now`` if they do. Of several closed doors the earliest is the least bad."""
        waiting = max(self._cool_until, self._open_until if self._opened else now)
        return max(now, waiting)

    def cooling_in(self, now: float) -> float:
        """Seconds that it still asked to be left alone."""
        return max(self._cool_until - now, 0.0)

    def begin(self, now: float) -> int:
        """A call is made. What it is told it tells again when it fails or is abandoned: which trial it is, if any.

        It is one if the time is over for which none is made. Any other proves nothing by failing.
        """
        if not self._opened or now < self._open_until:
            return NO_TRIAL
        self._probing = True
        return self._opened

    def answering(self) -> None:
        """A call is being answered: others need not wait for the end of a long stream."""
        if self._opened:
            self._close()

    def succeeded(self, now: float) -> None:
        """It was answered."""
        self._cool_s = 0.0
        if self._opened:
            self._close()
        self._count(now, failed=False)

    def abandoned(self, trial: int = NO_TRIAL) -> None:
        """It ended without saying anything about the deployment: cancelled, or the request was at fault."""
        if trial and trial == self._opened:
            self._probing = False

    def failed(self, now: float, error: ProviderError, trial: int = NO_TRIAL) -> None:
        """It failed."""
        self._roll(now)
        answers_others = sum(self._failures) < sum(self._calls)
        if error.status in REQUEST_FAULTS or (error.status in _PERHAPS_THE_REQUESTS and answers_others):
            self.abandoned(trial)
            return
        if error.status == 429 or error.retry_after_s:
            self.abandoned(trial)
            self._cool(now, error)
            return
        self._count(now, failed=True)
        # Calls that were in flight when it opened say nothing new, nor do those made since for want of another place.
        if trial == self._opened if self._opened else self._broken(now):
            self._open(now)

    def error_rate(self, now: float) -> float:
        """Share of the calls in the window that failed."""
        self._roll(now)
        calls = sum(self._calls)
        return sum(self._failures) / calls if calls else 0.0

    def _broken(self, now: float) -> bool:
        settings = self._settings
        return sum(self._calls) >= settings.breaker_min_calls and self.error_rate(now) >= settings.breaker_error_rate

    def _cool(self, now: float, error: ProviderError) -> None:
        asked = error.retry_after_s
        if asked is None:
            if now < self._cool_until:
                return  # it was in flight already, and says nothing new
            self._cool_s = min(self._settings.max_backoff_s, 2.0 * self._cool_s or self._settings.backoff_s)
            asked = self._cool_s
        self._cool_until = max(self._cool_until, now + min(asked, LONGEST_ASKED_WAIT_S))

    def _open(self, now: float) -> None:
        longer = min(2**self._opened, _LONGEST_COOLDOWNS)
        self._opened += 1
        self._open_until = now + self._settings.breaker_cooldown_s * longer
        self._probing = False

    def _close(self) -> None:
        self._opened = 0
        self._probing = False
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS

    def _roll(self, now: float) -> None:
        """Forget what is older than the window."""
        slot = int(now * _SLOTS / self._settings.breaker_window_s)
        if slot <= self._slot:
            return
        for i in range(min(slot - self._slot, _SLOTS)):
            self._calls[(slot - i) % _SLOTS] = self._failures[(slot - i) % _SLOTS] = 0
        self._slot = slot

    def _count(self, now: float, *, failed: bool) -> None:
        self._roll(now)
        here = self._slot % _SLOTS
        self._calls[here] += 1
        self._failures[here] += failed
