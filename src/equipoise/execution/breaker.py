"""When to leave a deployment alone: a circuit breaker with an error-rate window, and what a server asked to wait."""

from __future__ import annotations

from typing import Literal, NamedTuple

from equipoise.config import ExecutionConfig
from equipoise.errors import ProviderError
from equipoise.execution.retry import LONGEST_ASKED_WAIT_S, REQUEST_FAULTS

State = Literal["closed", "open", "half_open", "cooling"]

_SLOTS = 10
_LATELY = 0.2  # of the window
_LONGEST_COOLDOWNS = 8
# The deployment is set up wrongly, or the request names a file of nobody's, or says what may not be said.
_PERHAPS_THE_REQUESTS = frozenset({403, 404})


class Admitted(NamedTuple):
    """As what a breaker let a call through.

    Attributes:
        round: how often the breaker had opened by then.
        trial: the call tries the deployment out.
    """

    round: int
    trial: bool


class Breaker:
    """Closed: calls pass. Open: none does, for a while that doubles. Half-open: one call tries it out.

    A deployment that asked to wait (429, or another status with a time) is ``cooling`` and left alone for as long as it
    said, without counting as broken.
    """

    __slots__ = (
        "_answered_at", "_calls", "_cool_s", "_cool_until", "_failures", "_open", "_open_until", "_probing", "_round",
        "_settings", "_slot", "_trips",
    )  # fmt: skip

    def __init__(self, settings: ExecutionConfig) -> None:
        self._settings = settings
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._slot = self._round = 0
        self._open = False
        self._trips = 0  # how often it opened since an answer was whole
        self._cool_s = 0.0
        self._open_until = self._cool_until = self._answered_at = float("-inf")
        self._probing = False

    def inherit(self, other: Breaker) -> None:
        """Go on from the state of another, under these settings. A call in flight there tries nothing out here."""
        self._open, self._open_until, self._trips = other._open, other._open_until, other._trips
        self._cool_s, self._cool_until = other._cool_s, other._cool_until
        self._answered_at = other._answered_at

    def state(self, now: float) -> State:
        """As of ``now``, on the clock that every call of this breaker is told."""
        if now < self._cool_until:
            return "cooling"
        if not self._open:
            return "closed"
        return "open" if now < self._open_until else "half_open"

    def admits(self, now: float) -> bool:
        """Whether a call may be made."""
        if not self._open and now >= self._cool_until:
            return True
        return self.state(now) == "half_open" and not self._probing

    def opens_at(self, now: float) -> float:
        """When calls pass again: ``now`` if they do. Of several closed doors the earliest is the least bad."""
        waiting = max(self._cool_until, self._open_until if self._open else now)
        return max(now, waiting)

    def cooling_in(self, now: float) -> float:
        """Seconds that it still asked to be left alone."""
        return max(self._cool_until - now, 0.0)

    def begin(self, now: float) -> Admitted:
        """A call is made: a trial, if the time is over for which none is. Its end is told with what this returns."""
        trial = self._open and now >= self._open_until
        self._probing = self._probing or trial
        return Admitted(self._round, trial)

    def answering(self, admitted: Admitted) -> None:
        """A call is being answered: others need not wait for the end of a long stream."""
        if self._open and self._is_news(admitted):
            self._close()

    def succeeded(self, now: float, admitted: Admitted) -> None:
        """It was answered."""
        self._cool_s = 0.0
        if not self._is_news(admitted):
            return
        self._answered_at = now
        if self._open:
            self._close()
        self._trips = 0
        self._count(now, failed=False)

    def abandoned(self, admitted: Admitted) -> None:
        """It ended without saying anything about the deployment: cancelled, or the request was at fault."""
        if admitted.trial and self._is_news(admitted):
            self._probing = False

    def failed(self, now: float, error: ProviderError, admitted: Admitted) -> None:
        """It failed."""
        self._roll(now)
        answers_others = sum(self._failures) < sum(self._calls)
        if error.status in REQUEST_FAULTS or (error.status in _PERHAPS_THE_REQUESTS and answers_others):
            self.abandoned(admitted)
            return
        if error.status == 429 or error.retry_after_s:
            self.abandoned(admitted)
            self._cool(now, error)
            return
        if not self._is_news(admitted):
            return
        self._count(now, failed=True)
        # Calls that are made though it is open, for want of another place, prove nothing by failing.
        if admitted.trial if self._open else self._broken(now):
            self._trip(now)

    def _is_news(self, admitted: Admitted) -> bool:
        """Calls that were in flight when it opened say nothing new, neither by failing nor by an answer."""
        return admitted.round == self._round

    def answers_some(self, now: float) -> bool:
        """Whether one was answered lately, to the end: another may be, though most fail."""
        return now - self._answered_at < self._settings.breaker_window_s * _LATELY

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
        if not asked:  # nor is a time that is past by our clock, or "at once", one to take at its word
            if now < self._cool_until:
                return  # it was in flight already, and says nothing new
            self._cool_s = min(self._settings.max_backoff_s, 2.0 * self._cool_s or self._settings.backoff_s)
            asked = self._cool_s
        self._cool_until = max(self._cool_until, now + min(asked, LONGEST_ASKED_WAIT_S))

    def _trip(self, now: float) -> None:
        longer = min(2**self._trips, _LONGEST_COOLDOWNS)
        self._open, self._probing = True, False
        self._trips += 1
        self._round += 1
        self._open_until = now + self._settings.breaker_cooldown_s * longer

    def _close(self) -> None:
        self._open = self._probing = False
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
