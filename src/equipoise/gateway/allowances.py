"""What tenants may ask for and spend: requests and tokens of a minute, USD of a day or a month.

What a request is expected to take is set aside when it was decided, so that requests at the same time cannot all pass,
and corrected once its bill is known. What is spent is counted of all tenants: a budget may come with a reload.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from equipoise.config import BudgetConfig, TenantConfig
from equipoise.execution.clock import Clock
from equipoise.execution.limits import Lengths, MinuteWindow, Second
from equipoise.gateway.problems import Problem
from equipoise.storage.store import DAY_S
from equipoise.traffic import Outcome
from equipoise.types import Decision
from equipoise.wire import Asked

EVERY_OTHER = "*"
_NO_LIMITS = TenantConfig()
_MOST_DAYS = 62
_IN_FLIGHT_S = 1.0
_DIGITS = 9  # of USD: ten times 0.1 is 1


class Standing(NamedTuple):
    """How a tenant that has limits stands. What has no limit is not counted, but for what is spent, of this month.

    Attributes:
        reserved_usd: what requests in flight are expected to cost.
        resets: when the budget's day or month is over.
    """

    tenant: str
    rpm: int | None
    requests_last_minute: int | None
    tpm: int | None
    tokens_last_minute: int | None
    budget_usd: float | None
    spent_usd: float
    reserved_usd: float
    resets: float


class Reserved(NamedTuple):
    """What is set aside for a request: tokens of a second, and USD."""

    usd: float
    tokens: float = 0.0
    window: MinuteWindow | None = None
    second: Second | None = None


NOTHING = Reserved(0.0)


class Allowances:
    """Keeps the accounts of a gateway's tenants. For one thread.

    Args:
        spent: USD by tenant and day, of this month, before the gateway was started.
    """

    def __init__(self, clock: Clock, spent: Mapping[str, Mapping[int, float]]) -> None:
        self._clock = clock
        self._limits: Mapping[str, TenantConfig] = {}
        self._accounts = {tenant: Account(tenant, clock, dict(days)) for tenant, days in spent.items()}

    def limit(self, limits: Mapping[str, TenantConfig]) -> None:
        """Set the limits that hold from now on. What was counted goes on."""
        self._limits = limits
        for account in self._accounts.values():
            account.limit(self._limits_of(account.tenant))

    def of(self, tenant: str) -> Account:
        """The account of a tenant."""
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(tenant, self._clock, {})
            account.limit(self._limits_of(tenant))
        return account

    def standings(self) -> list[Standing]:
        """How the tenants stand that have limits and have asked for something, by name."""
        limited = [account for account in self._accounts.values() if account.limits != _NO_LIMITS]
        return sorted(account.standing() for account in limited)

    def _limits_of(self, tenant: str) -> TenantConfig:
        return self._limits.get(tenant) or self._limits.get(EVERY_OTHER, _NO_LIMITS)


class Account:
    """What one tenant may ask for and spend, and what it has."""

    def __init__(self, tenant: str, clock: Clock, spent: dict[int, float]) -> None:
        self.tenant, self._clock, self._spent = tenant, clock, spent
        self.limits = _NO_LIMITS
        self.budget: BudgetConfig | None = None
        self._requests: MinuteWindow | None = None
        self._tokens: MinuteWindow | None = None
        self._lengths = Lengths()
        self._reserved_usd = 0.0

    def limit(self, limits: TenantConfig) -> None:
        """Set the limits that hold from now on."""
        self.limits, self.budget = limits, limits.budget
        self._requests = _window(limits.rpm, self._requests)
        if limits.tpm is not None and self._tokens is None:
            self._lengths = Lengths(limits.tpm)
        self._tokens = _window(limits.tpm, self._tokens)

    def enter(self, *, answers_kept: bool = False) -> None:
        """Count a request that is about to be read.

        Args:
            answers_kept: there are answers that cost nothing, so that it may be served where nothing is left to spend.

        Raises:
            Problem: 429: it is one too many, or nothing is left to spend.
        """
        if self._requests is not None:
            self._take(self._requests, 1.0, "requests")
        if not answers_kept and self.left_usd <= 0.0:
            raise self.over_budget()

    @property
    def left_usd(self) -> float:
        """What is neither spent nor set aside; without a budget there is no end to it."""
        if self.budget is None:
            return math.inf
        return round(self.budget.usd - self._spent_in(self._period()) - self._reserved_usd, _DIGITS)

    def reserve(self, decision: Decision, asked: Asked) -> Reserved:
        """Set aside what a decision is expected to take.

        Raises:
            Problem: 429: these are too many tokens for this minute, or more USD than are left.
        """
        window = self._tokens
        if self.budget is None and window is None:
            return NOTHING
        usd = expected_usd(decision, asked.n)
        if usd > self.left_usd:
            raise self.over_budget(usd)
        reserved = Reserved(usd)
        if window is not None:
            tokens = decision.features["input_tokens"] + min(self._lengths.likely, asked.most_output)
            reserved = Reserved(usd, tokens, window, self._take(window, tokens, "tokens"))
        self._reserved_usd = round(self._reserved_usd + usd, _DIGITS)
        return reserved

    def settle(self, reserved: Reserved, outcome: Outcome) -> None:
        """A request is over: what it took counts in place of what was set aside."""
        self._reserved_usd = round(self._reserved_usd - reserved.usd, _DIGITS)
        if reserved.window is not None and reserved.second is not None:
            read = sum([a.usage.input_tokens for a in outcome.attempts])
            written = sum([a.usage.output_tokens for a in outcome.attempts])
            reserved.window.settle(reserved.second, read + written - reserved.tokens)
            if written:
                self._lengths.observe(written)
        spent, day = self._spent, int(outcome.finished // DAY_S)
        spent[day] = spent.get(day, 0.0) + outcome.cost_usd
        if len(spent) > _MOST_DAYS:
            del spent[min(spent)]

    def over_budget(self, usd: float = 0.0) -> Problem:
        """What to answer where a request would cost more than is left: ``usd`` at least."""
        budget = self.budget
        assert budget is not None
        period = self._period()
        unspent = round(budget.usd - self._spent_in(period), _DIGITS)
        left = f"has {unspent:.6f} of its {budget.usd:g} USD left" if unspent > 0.0 else f"spent its {budget.usd:g} USD"
        said = f"tenant '{self.tenant}' {left} for this {budget.per}"
        if unspent > 0.0 and self._reserved_usd > 0.0 and usd <= unspent:
            # What requests in flight leave over is known once they are over.
            told = f"{said}, and its requests in flight may need that; try again"
            return Problem(429, "tenant_rate_limited", told, retry_after_s=_IN_FLIGHT_S)
        if unspent > 0.0:
            said += ", less than this request is expected to cost"
        ends = datetime.fromtimestamp(period.stop * DAY_S, UTC)
        said += f"; the next {budget.per} begins on {ends:%Y-%m-%d} (UTC)"
        # The vendors' own clients heed this. In Retry-After it would be days, which others silently sleep through.
        return Problem(429, "budget_exceeded", said, headers={"x-should-retry": "false"})

    def standing(self) -> Standing:
        """How the tenant stands."""
        budget, now, period = self.budget, self._clock.monotonic(), self._period()
        return Standing(
            self.tenant,
            self.limits.rpm,
            None if self._requests is None else round(self._requests.total(now)),
            self.limits.tpm,
            None if self._tokens is None else round(self._tokens.total(now)),
            None if budget is None else budget.usd,
            self._spent_in(period),
            self._reserved_usd,
            period.stop * DAY_S,
        )

    def _take(self, window: MinuteWindow, amount: float, what: str) -> Second:
        now = self._clock.monotonic()
        wait_s = window.free_in(now, amount)
        if wait_s > 0.0:
            again = f"try again in {math.ceil(wait_s)} s"
            said = f"tenant '{self.tenant}' may send {window.limit:g} {what} a minute; {again}"
            raise Problem(429, "tenant_rate_limited", said, retry_after_s=wait_s)
        return window.take(now, amount)

    def _spent_in(self, period: range) -> float:
        return sum([usd for day, usd in self._spent.items() if day in period])

    def _period(self) -> range:
        return days_of("month" if self.budget is None else self.budget.per, self._clock.time())


def days_of(per: str, now: float) -> range:
    """The days, since 1970, of the day or month in which a time lies (UTC)."""
    today = int(now // DAY_S)
    if per == "day":
        return range(today, today + 1)
    date = datetime.fromtimestamp(today * DAY_S, UTC)
    first = today - date.day + 1
    return range(first, first + monthrange(date.year, date.month)[1])


def expected_usd(decision: Decision, answers: int) -> float:
    """The most that so many answers are expected to cost. Where nobody knows, the bill counts once it is there.

    Of a plan of several steps it is what all of them cost, within the limit that it keeps itself; of one that is made
    up as answers come in, an answer of every model that may be asked.
    """
    plan, limit = decision.plan, decision.constraints.max_cost_usd
    usd = decision.selected.cost_usd or 0.0
    if plan.steps:
        costs = {c.model: c.cost_usd or 0.0 for c in decision.candidates if c.refused is None}
        asked = [(s.model, s.samples) for s in plan.steps]
        if plan.adaptive:
            asked = [(model, 1) for model in costs]
        of_all = sum([samples * costs.get(model, 0.0) for model, samples in asked])
        usd = max(usd, of_all if limit is None else min(of_all, limit))
    return round(answers * usd, _DIGITS)


def _window(limit: int | None, before: MinuteWindow | None) -> MinuteWindow | None:
    if limit is None or before is None:
        return None if limit is None else MinuteWindow(limit)
    before.limit = limit
    return before
