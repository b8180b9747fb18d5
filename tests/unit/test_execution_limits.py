"""No minute holds more than its limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from equipoise.execution.limits import MinuteWindow
from equipoise.execution.retry import backoff_s, wait_s
from tests.execution_fakes import failed

STEPS = st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 6)), min_size=1, max_size=60)


@given(STEPS)
def test_what_is_admitted_in_any_sixty_seconds_stays_within_the_limit(steps: list[tuple[float, int]]) -> None:
    window, now, taken = MinuteWindow(10), 0.0, []
    for pause, amount in steps:
        now += pause
        if not window.free_in(now, amount):
            window.take(now, amount)
            taken.append((now, amount))
    for start, _ in taken:
        assert sum(a for at, a in taken if start <= at < start + 60.0) <= 10


@given(STEPS)
def test_after_the_wait_that_it_tells_the_amount_fits(steps: list[tuple[float, int]]) -> None:
    window, now = MinuteWindow(10), 0.0
    for pause, amount in steps:
        now += pause
        now += window.free_in(now, amount)
        assert window.free_in(now, amount) == 0.0
        window.take(now, amount)


def test_an_amount_above_the_limit_fits_an_empty_window_only() -> None:
    window = MinuteWindow(10)
    assert window.free_in(0.0, 50) == 0.0
    window.take(0.0, 50)
    assert window.free_in(1.0, 1) == 60.0
    assert window.free_in(61.0, 1) == 0.0


def test_settling_counts_in_the_second_of_the_reservation() -> None:
    window = MinuteWindow(10)
    second = window.take(0.0, 8)
    window.take(30.0, 1)
    window.settle(second, -6)
    assert window.free_in(30.0, 7) == 0.0
    assert window.free_in(30.0, 8) > 0.0
    assert window.free_in(61.0, 9) == 0.0


def test_settling_what_is_a_minute_old_changes_nothing() -> None:
    window = MinuteWindow(10)
    second = window.take(0.0, 8)
    assert window.free_in(70.0, 10) == 0.0
    window.settle(second, 100)
    assert window.free_in(70.0, 10) == 0.0
    window.take(70.0, 4)
    for more in (100, -100):
        window.settle(second, more)
        assert window.total(70.0) == 4


class Highest:
    def uniform(self, low: float, high: float) -> float:
        return high


def test_backoff_doubles_up_to_its_bound_and_what_the_server_asks_comes_on_top() -> None:
    waits = [backoff_s(n, first_s=1.0, longest_s=5.0, rng=Highest()) for n in range(1, 6)]
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert wait_s(1, failed(429, after=7.0), first_s=1.0, longest_s=5.0, rng=Highest()) == 8.0
    assert wait_s(1, failed(429, after=1e6), first_s=1.0, longest_s=5.0, rng=Highest()) == 301.0
