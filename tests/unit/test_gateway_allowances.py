"""What tenants may ask for and spend."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.config import BudgetConfig, TenantConfig
from equipoise.gateway.allowances import Account, Allowances, Reserved, days_of, expected_usd
from equipoise.gateway.problems import Problem
from equipoise.traffic import Attempt, Outcome, TokenUsage
from equipoise.types import Candidate, Constraints, Decision, Plan, Step
from equipoise.wire import FORMATS, Asked

_DAY = 86400.0
_MID_NOVEMBER = datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now, self.steady = _MID_NOVEMBER, 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.steady

    def go_on(self, seconds: float) -> None:
        self.now, self.steady = self.now + seconds, self.steady + seconds


def decided(usd: float | None, *, tokens: int = 100) -> Decision:
    candidate = Candidate(model="m", quality=None, cost_usd=usd, latency_s=None, output_tokens=None, probability=1.0)
    return Decision(
        id="x",
        plan=Plan(model="m"),
        confidence=1.0,
        method="named",
        reasons=(),
        candidates=(candidate,),
        constraints=Constraints(),
        features={"input_tokens": tokens},
        draw=0.0,
        versions={},
    )


def ended(clock: Hands, usd: float, *, tokens: int = 150, written: int = 0) -> Outcome:
    usage = TokenUsage(input_tokens=tokens, output_tokens=written)
    attempt = Attempt(model="m", deployment="d", kind="first", started=0.0, latency_s=0.1, usage=usage, cost_usd=usd)
    return Outcome(decision_id="x", status="ok", finished=clock.now, attempts=(attempt,), cost_usd=usd)


def account(clock: Hands, spent: dict[int, float] | None = None, **limits: Any) -> Account:
    allowances = Allowances(clock, {"a": spent or {}})
    allowances.limit({"a": TenantConfig(**limits)})
    return allowances.of("a")


def hold(one: Account, decision: Decision, answers: int = 1) -> Reserved:
    return one.reserve(decision, Asked("m", "Hello", n=answers, max_output_tokens=50))


def refused(call: Any, *args: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*args)
    assert caught.value.status == 429
    return caught.value


def monthly(usd: float) -> BudgetConfig:
    return BudgetConfig(usd=usd)


def test_requests_beyond_those_of_a_minute_are_told_when_to_come_again() -> None:
    clock = Hands()
    one = account(clock, rpm=3)
    for _ in range(3):
        one.enter()
        clock.go_on(1.0)
    problem = refused(one.enter)
    assert (problem.code, problem.retry_after_s) == ("tenant_rate_limited", 58.0)
    assert str(problem) == "tenant 'a' may send 3 requests a minute; try again in 58 s"
    clock.go_on(57.7)
    assert str(refused(one.enter)).endswith("try again in 1 s")
    clock.go_on(0.3)
    one.enter()
    refused(one.enter)


def test_tokens_are_set_aside_as_expected_and_counted_as_they_were() -> None:
    clock = Hands()
    one = account(clock, tpm=300)
    first, second = hold(one, decided(0.0)), hold(one, decided(0.0))
    assert refused(hold, one, decided(0.0)).code == "tenant_rate_limited"
    one.settle(first, ended(clock, 0.0, tokens=20))
    third = hold(one, decided(0.0))
    assert one.standing().tokens_last_minute == 20 + 2 * (100 + 15)
    for reserved in (second, third):
        one.settle(reserved, ended(clock, 0.0, tokens=140))
    assert one.standing().tokens_last_minute == 300
    refused(hold, one, decided(0.0, tokens=1))


def test_answers_are_taken_to_be_as_long_as_few_were_and_no_longer_than_they_may_be() -> None:
    clock = Hands()
    one = account(clock, tpm=1 << 40)
    for _ in range(3):
        one.settle(hold(one, decided(0.0)), ended(clock, 0.0, tokens=100, written=700))
    before = one.standing().tokens_last_minute
    assert before == 3 * 800
    hold(one, decided(0.0))
    one.reserve(decided(0.0), Asked("m", "Hello"))
    assert one.standing().tokens_last_minute == before + (100 + 50) + (100 + 700)


def test_what_is_refused_for_its_tokens_sets_nothing_aside() -> None:
    one = account(Hands(), tpm=300, budget=monthly(1.0))
    hold(one, decided(0.25, tokens=200))
    refused(hold, one, decided(0.25, tokens=200))
    assert one.standing().reserved_usd == 0.25 and one.standing().tokens_last_minute == 215


def test_how_long_answers_are_is_remembered_over_a_reload_and_what_is_in_flight_stays_where_it_was_counted() -> None:
    clock = Hands()
    allowances = Allowances(clock, {})
    limits = {"a": TenantConfig(tpm=10_000)}
    allowances.limit(limits)
    one = allowances.of("a")
    one.settle(hold(one, decided(0.0)), ended(clock, 0.0, tokens=100, written=40))
    allowances.limit(limits)
    held = hold(one, decided(0.0))
    assert one.standing().tokens_last_minute == 140 + 140
    allowances.limit({})
    allowances.limit(limits)
    hold(one, decided(0.0))
    one.settle(held, ended(clock, 0.0, tokens=500))
    assert one.standing().tokens_last_minute == 150


def test_vectors_are_not_taken_for_an_answer_that_has_tokens() -> None:
    one = account(Hands(), tpm=300)
    one.reserve(decided(0.0), FORMATS["embeddings"].read({"model": "m", "input": "Hello"}))
    assert one.standing().tokens_last_minute == 100


def test_requests_at_the_same_time_cannot_spend_a_budget_together() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    for _ in range(10):
        hold(one, decided(0.1 - 1e-9))
    problem = refused(hold, one, decided(0.1))
    assert (problem.code, problem.retry_after_s, dict(problem.headers)) == ("tenant_rate_limited", 1.0, {})
    assert "in flight" in str(problem)


def test_several_answers_are_set_aside_as_so_many() -> None:
    one = account(Hands(), budget=monthly(1.0), tpm=10_000)
    hold(one, decided(0.1), 10)
    assert one.left_usd == 0.0 and one.standing().tokens_last_minute == 100 + 10 * 50
    assert "in flight" in str(refused(hold, one, decided(0.1)))


@pytest.mark.parametrize(
    ("adaptive", "limit", "usd"), [(False, None, 0.43), (True, None, 0.41), (False, 0.25, 0.25), (False, 0.5, 0.43)]
)
def test_of_a_cascade_all_steps_are_set_aside_as_far_as_it_may_take_them(
    adaptive: bool, limit: float | None, usd: float
) -> None:
    steps = (Step(model="m", samples=3, test="vote"), Step(model="dear"))
    plan = Plan(model="m", fallback=("other",), steps=steps[: 1 if adaptive else 2], adaptive=adaptive)
    (candidate,) = decided(0.01).candidates
    more = [
        replace(candidate, model=name, cost_usd=cost, refused=refused)
        for name, cost, refused in (("dear", 0.4, None), ("unknown", None, None), ("barred", 9.0, "too dear"))
    ]
    limits = Constraints(max_cost_usd=limit)
    cascade = replace(decided(0.01), plan=plan, candidates=(candidate, *more), constraints=limits)
    one = account(Hands(), budget=monthly(10.0))
    hold(one, cascade, 2)
    assert one.standing().reserved_usd == pytest.approx(2 * usd)


def test_a_model_that_is_asked_several_times_costs_what_its_candidate_does() -> None:
    (alone,) = decided(0.01).candidates
    several = replace(alone, model="m*3", cost_usd=0.03)
    plan = Plan(model="m*3", steps=(Step(model="m", samples=3, test="vote"),))
    for one in (alone, replace(alone, refused="lacks quality")):
        assert expected_usd(replace(decided(0.01), plan=plan, candidates=(one, several)), 1) == 0.03


def test_a_request_that_costs_more_than_is_unspent_is_not_told_to_wait_for_others() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    one.settle(hold(one, decided(0.9)), ended(clock, 0.9))
    hold(one, decided(0.05))
    assert refused(hold, one, decided(0.1)).code == "tenant_rate_limited"
    problem = refused(hold, one, decided(0.125))
    assert (problem.code, problem.retry_after_s) == ("budget_exceeded", None)
    assert "less than this request is expected to cost" in str(problem)


def test_what_is_too_dear_for_what_is_left_is_told_when_the_month_is_over() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    one.settle(hold(one, decided(0.9)), ended(clock, 0.75))
    assert one.left_usd == pytest.approx(0.25)
    problem = refused(hold, one, decided(0.3))
    assert str(problem) == (
        "tenant 'a' has 0.250000 of its 1 USD left for this month, less than this request is expected to cost; "
        "the next month begins on 2026-12-01 (UTC)"
    )
    assert problem.retry_after_s is None and problem.headers["x-should-retry"] == "false"
    assert one.standing().resets == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    one.settle(hold(one, decided(0.2)), ended(clock, 0.5))
    assert "spent its 1 USD for this month; the next month begins on 2026-12-01" in str(refused(one.enter))
    clock.go_on(15.5 * _DAY)
    one.enter()
    assert one.left_usd == 1.0


def test_once_none_is_in_flight_no_request_is_told_to_wait_for_one() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    for held in [hold(one, decided(usd)) for usd in (0.1, 0.2, 0.3)]:
        one.settle(held, ended(clock, 0.1))
    assert "in flight" not in str(refused(hold, one, decided(0.8)))
    one.settle(hold(one, decided(0.7)), ended(clock, 0.7))
    assert str(refused(one.enter)).startswith("tenant 'a' spent its 1 USD")


def test_where_all_is_spent_nothing_is_to_come_of_what_is_in_flight() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    first, _ = hold(one, decided(0.5)), hold(one, decided(0.25))
    one.settle(first, ended(clock, 1.0))
    assert refused(one.enter).code == "budget_exceeded"


def test_a_days_budget_is_that_of_the_day_and_earlier_days_count_to_the_month() -> None:
    clock = Hands()
    today = int(clock.now // _DAY)
    spent = {today - 1: 3.0, today: 1.0, today - 20: 100.0}
    assert account(clock, spent, budget=BudgetConfig(usd=5.0, per="day")).left_usd == 4.0
    assert account(clock, spent, budget=monthly(5.0)).left_usd == 1.0


def test_a_bill_counts_for_the_day_on_which_its_request_ended() -> None:
    clock = Hands()
    one = account(clock, budget=BudgetConfig(usd=1.0, per="day"))
    held, outcome = hold(one, decided(0.5)), ended(clock, 0.5)
    clock.go_on(_DAY)
    one.settle(held, outcome)
    assert one.left_usd == 1.0


def test_a_clock_that_jumps_does_not_forget_what_was_spent() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    one.settle(hold(one, decided(0.5)), ended(clock, 0.5))
    clock.now += 400 * _DAY
    one.settle(hold(one, decided(0.5)), ended(clock, 0.5))
    clock.now -= 400 * _DAY
    assert one.left_usd == 0.5


def test_days_long_past_are_forgotten_and_none_of_this_month() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(31.0))
    for _ in range(200):
        clock.go_on(_DAY)
        one.settle(hold(one, decided(1.0)), ended(clock, 1.0))
        today = datetime.fromtimestamp(clock.now, UTC)
        assert one.standing().spent_usd == today.day - 15 * (today.month == 11)
    assert len(one._spent) <= 62


def test_limits_that_change_find_what_was_counted() -> None:
    clock = Hands()
    allowances = Allowances(clock, {})
    one = allowances.of("a")
    one.settle(hold(one, decided(0.5)), ended(clock, 0.5))
    allowances.limit({"a": TenantConfig(rpm=2, budget=monthly(2.0))})
    assert one.left_usd == 1.5
    one.enter()
    one.enter()
    allowances.limit({"a": TenantConfig(rpm=3, budget=monthly(1.0))})
    one.enter()
    refused(one.enter)
    held = hold(one, decided(0.25))
    allowances.limit({})
    one.enter()
    one.settle(held, ended(clock, 0.25))
    assert one.left_usd == float("inf") and allowances.standings() == []


def test_a_star_limits_each_tenant_that_is_not_named_by_itself() -> None:
    allowances = Allowances(Hands(), {})
    allowances.limit({"*": TenantConfig(rpm=1), "free": TenantConfig()})
    for tenant in ("b", "a"):
        allowances.of(tenant).enter()
        refused(allowances.of(tenant).enter)
    for _ in range(10):
        allowances.of("free").enter()
    assert [standing.tenant for standing in allowances.standings()] == ["a", "b"]


def test_a_cost_that_nobody_can_expect_counts_once_it_is_billed() -> None:
    clock = Hands()
    one = account(clock, budget=monthly(1.0))
    one.settle(hold(one, decided(None)), ended(clock, 1.5))
    refused(one.enter)


@given(st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 0.4), st.booleans())))
def test_whatever_the_order_bills_add_up_and_nothing_stays_set_aside(steps: list[tuple[float, float, bool]]) -> None:
    clock = Hands()
    one = account(clock, budget=monthly(3.0), tpm=1 << 40)
    flying, billed = [], 0.0
    for expected, bill, waits in steps:
        try:
            flying.append((hold(one, decided(expected)), bill))
        except Problem:
            assert expected > one.left_usd
        if flying and not waits:
            held, bill = flying.pop(0)
            one.settle(held, ended(clock, bill))
            billed += bill
    for held, bill in flying:
        one.settle(held, ended(clock, bill))
        billed += bill
    assert one.standing().spent_usd == pytest.approx(billed)
    assert one.standing().reserved_usd == 0.0


@given(st.integers(0, 60_000), st.floats(0, _DAY, exclude_max=True))
def test_every_time_is_in_one_month_that_begins_where_the_one_before_ends(day: int, second: float) -> None:
    month = days_of("month", day * _DAY + second)
    (today,) = days_of("day", day * _DAY + second)
    assert today in month and 0 <= day * _DAY + second - today * _DAY < _DAY
    first = datetime.fromtimestamp(month.start * _DAY, UTC)
    after = datetime.fromtimestamp(month.stop * _DAY, UTC)
    assert (first.day, after.day) == (1, 1) and 28 <= len(month) <= 31
