"""When a deployment is left alone, and when it is tried again."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from equipoise.config import ExecutionConfig
from equipoise.errors import ProviderError
from equipoise.execution.breaker import Admitted, Breaker
from tests.execution_fakes import failed

SETTINGS = ExecutionConfig(breaker_min_calls=4, breaker_error_rate=0.5, breaker_window_s=10, breaker_cooldown_s=5)


def fail(breaker: Breaker, now: float, error: ProviderError | None = None) -> None:
    """A call that fails at once."""
    breaker.failed(now, error or failed(), breaker.begin(now))


def succeed(breaker: Breaker, now: float) -> None:
    """A call that is answered at once."""
    breaker.succeeded(now, breaker.begin(now))


def broken(now: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(4):
        fail(breaker, now)
    return breaker


def test_it_opens_only_when_enough_calls_failed_at_the_rate() -> None:
    breaker = Breaker(SETTINGS)
    for failing in (True, False, True):
        fail(breaker, 0.0) if failing else succeed(breaker, 0.0)
    assert breaker.state(0.0) == "closed"
    succeed(breaker, 0.0)
    assert breaker.error_rate(0.0) == 0.5
    assert breaker.state(0.0) == "closed"
    fail(breaker, 0.0)
    assert breaker.state(0.0) == "open"
    assert not breaker.admits(0.0)


def test_failures_older_than_the_window_are_forgotten() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        fail(breaker, 0.0)
    assert breaker.error_rate(1.0) == 1.0
    assert breaker.error_rate(11.0) == 0.0, "also where nothing was called since"
    for second in range(1, 4):
        succeed(breaker, 11.0 + second)
    fail(breaker, 15.0)
    assert breaker.error_rate(15.0) == 0.25
    assert breaker.state(15.0) == "closed"


def test_after_its_cooldown_one_call_tries_it_out_and_success_closes_it() -> None:
    breaker = broken()
    assert breaker.state(4.9) == "open"
    assert breaker.state(5.0) == "half_open"
    assert breaker.admits(5.0)
    trial = breaker.begin(5.0)
    assert not breaker.admits(5.0), "a second call while the first tries it out"
    breaker.succeeded(5.5, trial)
    assert breaker.state(5.5) == "closed"
    assert breaker.error_rate(5.5) == 0.0


def test_an_answer_that_has_begun_closes_it_for_the_others() -> None:
    breaker = broken()
    trial = breaker.begin(5.0)
    breaker.answering(trial)
    assert breaker.state(5.0) == "closed" and breaker.admits(5.0)
    breaker.failed(6.0, failed(), trial)
    assert breaker.state(6.0) == "closed", "one stream that broke is one failure"


def test_a_deployment_whose_answers_begin_and_break_off_is_left_alone_for_longer_and_longer() -> None:
    breaker, now, waits = broken(), 0.0, []
    for _ in range(4):
        waits.append(breaker.opens_at(now) - now)
        now = breaker.opens_at(now)
        for _ in range(4):
            call = breaker.begin(now)
            breaker.answering(call)
            breaker.failed(now, failed(), call)
    assert waits == [5.0, 10.0, 20.0, 40.0]
    now = breaker.opens_at(now)
    succeed(breaker, now)
    for _ in range(4):
        fail(breaker, now)
    assert breaker.opens_at(now) == now + 5.0, "an answer that was whole makes an end of that"


def test_a_failed_trial_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, now, waits = broken(), 0.0, []
    for _ in range(6):
        waits.append(breaker.opens_at(now) - now)
        now = breaker.opens_at(now)
        fail(breaker, now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 40.0, 40.0]


def test_calls_in_flight_when_it_opens_do_not_keep_it_open_for_longer() -> None:
    breaker = Breaker(SETTINGS)
    for call in [breaker.begin(0.0) for _ in range(60)]:
        breaker.failed(1.0, failed(), call)
    assert breaker.opens_at(1.0) == 6.0


def test_answers_that_were_on_their_way_when_it_opened_do_not_close_it() -> None:
    breaker = Breaker(SETTINGS)
    calls = [breaker.begin(0.0) for _ in range(6)]
    for call in calls[:4]:
        breaker.failed(1.0, failed(), call)
    breaker.answering(calls[4])
    breaker.succeeded(1.0, calls[5])
    assert breaker.state(1.0) == "open"
    breaker.answering(breaker.begin(6.0))
    breaker.failed(7.0, failed(), calls[4])
    assert breaker.error_rate(7.0) == 0.0, "nor does it matter afterwards what becomes of them"


def test_calls_that_are_made_though_it_is_open_do_not_keep_it_open_for_longer() -> None:
    breaker = broken()
    for call in [breaker.begin(1.0) for _ in range(20)]:
        breaker.failed(1.5, failed(), call)
    assert breaker.opens_at(1.5) == 5.0 and breaker.admits(5.0)
    breaker.answering(breaker.begin(2.0))
    assert breaker.state(2.0) == "closed", "but one that is answered closes it"


def test_a_trial_that_was_abandoned_lets_the_next_call_try() -> None:
    breaker = broken()
    breaker.abandoned(breaker.begin(5.0))
    assert breaker.admits(5.0)


def test_what_becomes_of_older_calls_says_nothing_about_a_trial() -> None:
    breaker = Breaker(SETTINGS)
    older = [breaker.begin(0.0) for _ in range(8)]
    for trial in older[:4]:
        breaker.failed(1.0, failed(), trial)
    trial = breaker.begin(6.0)
    breaker.failed(6.1, failed(), older[4])
    breaker.abandoned(older[5])
    breaker.failed(6.2, failed(429, after=0.1), older[6])
    breaker.failed(6.2, failed(400), older[7])
    assert breaker.state(6.5) == "half_open" and not breaker.admits(6.5), "one call is trying it out"
    breaker.failed(7.0, failed(), trial)
    assert breaker.opens_at(7.0) == 17.0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_at_fault_says_nothing_about_the_deployment(status: int) -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(20):
        fail(breaker, 0.0, failed(status, retryable=False))
    assert breaker.state(0.0) == "closed"


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize(("answered_at", "state"), [(None, "open"), (0.0, "closed"), (-20.0, "open")])
def test_what_one_caller_may_not_have_or_names_wrongly_is_not_the_fault_of_a_deployment_that_answers_others(
    status: int, answered_at: float | None, state: str
) -> None:
    breaker = Breaker(SETTINGS)
    if answered_at is not None:
        succeed(breaker, 100.0 + answered_at)
    for _ in range(20):
        fail(breaker, 100.0, failed(status, retryable=False))
    assert breaker.state(100.0) == state


def test_a_429_cools_it_for_as_long_as_it_asked_without_breaking_it() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(10):
        fail(breaker, 0.0, failed(429, after=3.0))
    assert breaker.state(2.9) == "cooling"
    assert not breaker.admits(2.9)
    assert breaker.admits(3.0)
    assert breaker.state(3.0) == "closed"


@pytest.mark.parametrize("after", [None, 0.0])
def test_429s_without_a_time_cool_it_longer_and_longer_until_a_success(after: float | None) -> None:
    breaker, now, waits = Breaker(ExecutionConfig(backoff_s=0.5, max_backoff_s=3.0)), 0.0, []
    for _ in range(5):
        fail(breaker, now, failed(429, after=after))
        waits.append(breaker.cooling_in(now))
        now += waits[-1]
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    succeed(breaker, now)
    fail(breaker, now, failed(429))
    assert breaker.cooling_in(now) == 0.5


def test_429s_of_calls_that_were_in_flight_together_cool_it_once() -> None:
    breaker = Breaker(ExecutionConfig(backoff_s=0.5))
    for _ in range(50):
        fail(breaker, 0.0, failed(429))
    assert breaker.cooling_in(0.0) == 0.5


def test_a_deployment_that_says_429_for_days_stays_one_that_is_asked_now_and_then() -> None:
    breaker, now = Breaker(SETTINGS), 0.0
    for _ in range(20_000):
        fail(breaker, now, failed(429))
        now += SETTINGS.max_backoff_s
    assert breaker.cooling_in(now - 1.0) == 1.0


def test_no_server_can_ask_to_be_left_alone_for_ever() -> None:
    breaker = Breaker(SETTINGS)
    fail(breaker, 0.0, failed(429, after=1e9))
    assert breaker.admits(300.0)


ENDS = ("answers", "fails", "429", "is abandoned", "is refused")


@given(st.lists(st.tuples(st.sampled_from(("begins", *ENDS)), st.integers(0, 9), st.floats(0.0, 9.0)), max_size=80))
@example([("begins", 0, 0.0)] * 9 + [("fails", 0, 0.0)] * 4 + [("begins", 0, 5.0)] + [("is abandoned", 0, 0.0)] * 5)
def test_whatever_calls_come_to_only_one_tries_it_out_at_a_time_and_in_the_end_one_may(
    steps: list[tuple[str, int, float]],
) -> None:
    breaker, now, calls = Breaker(SETTINGS), 0.0, list[Admitted]()
    for what, which, later in steps:
        now += later
        if what == "begins":
            if breaker.admits(now):
                calls.append(breaker.begin(now))
        elif calls:
            _end(breaker, what, now, calls.pop(which % len(calls)))
        assert breaker.opens_at(now) - now <= 8 * SETTINGS.breaker_cooldown_s
        assert sum(call.trial and breaker.state(now) == "half_open" for call in calls) <= 1
    for call in calls:
        _end(breaker, "is abandoned", now, call)
    assert breaker.admits(now + 8 * SETTINGS.breaker_cooldown_s)


def _end(breaker: Breaker, how: str, now: float, call: Admitted) -> None:
    if how == "answers":
        breaker.answering(call)
        breaker.succeeded(now, call)
    elif how == "is abandoned":
        breaker.abandoned(call)
    else:
        breaker.failed(now, failed({"fails": 500, "429": 429, "is refused": 400}[how]), call)
