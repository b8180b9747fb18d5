"""The cost of a call and the running account."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.catalog import Usage, call_cost_usd
from equipoise.errors import InputError, PriceError
from equipoise.types import Model, Price

TOKENS = st.integers(0, 10_000_000)
USD = st.floats(0, 1000)


@st.composite
def prices(draw: st.DrawFn, *, discounted: bool = False) -> Price:
    full = draw(USD)
    cached = draw(st.none() | st.floats(0, full if discounted else 1000))
    return Price(
        usd_per_1m_input=full,
        usd_per_1m_output=draw(USD),
        usd_per_1m_cached_input=cached,
        usd_per_call=draw(st.floats(0, 1)),
        usd_per_compute_s=draw(st.floats(0, 1)),
    )


def priced(price: Price | None) -> Model:
    return Model(name="m", price=price)


@given(prices(), TOKENS, TOKENS, TOKENS, TOKENS)
def test_cost_is_additive_in_tokens_once_the_fee_per_call_is_set_apart(
    price: Price, in1: int, out1: int, in2: int, out2: int
) -> None:
    def variable(tokens_in: int, tokens_out: int) -> float:
        return call_cost_usd(priced(price), tokens_in, tokens_out, compute_s=0.0) - price.usd_per_call

    both = variable(in1 + in2, out1 + out2)
    assert both == pytest.approx(variable(in1, out1) + variable(in2, out2), rel=1e-9, abs=1e-9)


@given(prices(), TOKENS, TOKENS, st.floats(0, 1), st.floats(0, 1e4))
def test_cost_is_never_negative(price: Price, tokens_in: int, out: int, share: float, compute: float) -> None:
    cached = int(tokens_in * share)
    assert call_cost_usd(priced(price), tokens_in, out, cached_tokens=cached, compute_s=compute) >= 0


@given(prices(discounted=True), TOKENS, TOKENS, st.floats(0, 1))
def test_cached_tokens_never_cost_more_unless_the_price_says_so(
    price: Price, tokens_in: int, out: int, share: float
) -> None:
    cached = call_cost_usd(priced(price), tokens_in, out, cached_tokens=int(tokens_in * share), compute_s=0.0)
    assert cached <= call_cost_usd(priced(price), tokens_in, out, compute_s=0.0) * (1 + 1e-12)


def test_a_cached_price_above_the_full_price_is_followed() -> None:
    odd = priced(Price(usd_per_1m_input=1.0, usd_per_1m_output=1.0, usd_per_1m_cached_input=2.0))
    assert call_cost_usd(odd, 1_000_000, 0, cached_tokens=1_000_000) == 2.0


def test_cost_counts_every_part_of_the_price() -> None:
    price = Price(
        usd_per_1m_input=2.0,
        usd_per_1m_output=8.0,
        usd_per_1m_cached_input=0.5,
        usd_per_call=0.01,
        usd_per_compute_s=0.1,
    )
    cost = call_cost_usd(priced(price), 1000, 500, cached_tokens=400, compute_s=2.0)
    assert cost == pytest.approx((600 * 2 + 400 * 0.5 + 500 * 8) / 1e6 + 0.01 + 0.2)


def test_a_missing_price_is_an_error_never_zero() -> None:
    with pytest.raises(PriceError, match="'m'"):
        call_cost_usd(priced(None), 0, 0)


def test_unmeasured_compute_is_an_error_where_compute_is_priced() -> None:
    model = priced(Price(usd_per_compute_s=0.1))
    with pytest.raises(PriceError, match="compute_s"):
        call_cost_usd(model, 10, 10)
    assert call_cost_usd(model, 10, 10, compute_s=2.0) == pytest.approx(0.2)


@pytest.mark.parametrize("bad", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (float("nan"), 0, 0), (1, 0, 2)])
def test_impossible_token_counts_are_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(InputError):
        call_cost_usd(priced(Price()), bad[0], bad[1], cached_tokens=bad[2])


# ---------------------------------------------------------------- usage


def test_an_empty_account_has_no_mean() -> None:
    summary = Usage().summary()
    assert (summary.total_cost_usd, summary.calls, summary.mean_cost_usd) == (0.0, 0, None)


def test_the_account_sums_calls_costs_and_tokens_by_model() -> None:
    usage = Usage()
    usage.record("a", 0.1, 10, 1)
    usage.record("a", 0.3, 20, 2)
    usage.record(Model(name="b"), 0.2, 5, 7)
    s = usage.summary()
    assert s.total_cost_usd == pytest.approx(0.6)
    assert s.mean_cost_usd == pytest.approx(0.2)
    assert s.cost_by_model == pytest.approx({"a": 0.4, "b": 0.2})
    assert s.mean_cost_by_model == pytest.approx({"a": 0.2, "b": 0.2})
    assert s.calls_by_model == {"a": 2, "b": 1}
    assert (s.input_tokens_by_model, s.output_tokens_by_model) == ({"a": 30, "b": 5}, {"a": 3, "b": 7})
    assert (s.calls, s.input_tokens, s.output_tokens) == (3, 35, 10)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10), TOKENS, TOKENS), max_size=30))
def test_the_totals_are_the_sums_over_models(calls: list[tuple[str, float, int, int]]) -> None:
    usage = Usage()
    for call in calls:
        usage.record(*call)
    s = usage.summary()
    assert s.total_cost_usd == pytest.approx(sum(c[1] for c in calls))
    assert s.total_cost_usd == pytest.approx(sum(s.cost_by_model.values()))
    assert s.calls == len(calls) == sum(s.calls_by_model.values())
    assert s.input_tokens == sum(c[2] for c in calls)


@pytest.mark.parametrize("bad", [(-0.1, 1, 1), (float("nan"), 1, 1), (0.1, -1, 1), (0.1, 1, -1)])
def test_impossible_figures_are_refused_and_not_recorded(bad: tuple[float, int, int]) -> None:
    usage = Usage()
    with pytest.raises(InputError):
        usage.record("a", *bad)
    assert usage.summary().calls == 0


def test_recording_from_many_threads_loses_nothing() -> None:
    usage = Usage()

    def work(i: int) -> None:
        for _ in range(200):
            usage.record(f"m{i % 3}", 0.5, 2, 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    s = usage.summary()
    assert (s.calls, s.total_cost_usd, s.input_tokens, s.output_tokens) == (4800, 2400.0, 9600, 4800)


def test_a_summary_does_not_change_afterwards() -> None:
    usage = Usage()
    usage.record("a", 1.0, 1, 1)
    before = usage.summary()
    usage.record("a", 1.0, 1, 1)
    assert before.calls == 1 and usage.summary().calls == 2
