"""Curve metrics: examples worked by hand, and laws that hold for every curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from equipoise.evaluation import metrics
from equipoise.numerics import hull as hulls

COST = st.integers(1, 1000).map(lambda v: v / 100)
QUALITY = st.integers(0, 100).map(lambda v: v / 100)
POINTS = st.lists(st.tuples(COST, QUALITY), min_size=1, max_size=25)


def arrays(points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(points, dtype=float)
    return values[:, 0], values[:, 1]


def test_the_hull_skips_dominated_and_concave_points() -> None:
    c = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    q = np.array([0.2, 0.3, 0.8, 0.7, 0.9])
    upper = hulls.hull(c, q)
    assert upper.cost.tolist() == [1.0, 3.0, 5.0]
    assert upper.quality.tolist() == [0.2, 0.8, 0.9]


def test_of_equally_cheap_points_the_hull_starts_at_the_best() -> None:
    upper = hulls.hull(np.array([1.0, 1.0, 2.0]), np.array([0.1, 0.5, 0.4]))
    assert upper.cost.tolist() == [1.0]
    assert upper.quality.tolist() == [0.5]


def test_aiq_by_hand() -> None:
    # From (1, .2) straight to (3, .8), flat to 5: (2 * .5 + 2 * .8) / 4.
    c, q = np.array([1.0, 3.0, 2.0]), np.array([0.2, 0.8, 0.3])
    assert hulls.aiq(c, q, 1.0, 5.0) == pytest.approx(0.65, abs=1e-15)


def test_aiq_cuts_the_curve_at_both_ends_of_the_range() -> None:
    # The line q = c / 10 over [2, 4].
    assert hulls.aiq(np.array([0.0, 10.0]), np.array([0.0, 1.0]), 2.0, 4.0) == pytest.approx(0.3, abs=1e-15)


def test_a_constant_router_scores_its_quality_wherever_the_range_starts() -> None:
    for c_min in (0.01, 0.2, 0.5):
        assert hulls.aiq(np.array([c_min]), np.array([0.8]), c_min, 1.0) == pytest.approx(0.8, abs=1e-15)


def test_a_curve_that_starts_right_of_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match="cheapest single model"):
        hulls.aiq(np.array([2.0]), np.array([0.5]), 1.0, 3.0)


def test_an_empty_range_has_no_aiq() -> None:
    assert np.isnan(hulls.aiq(np.array([1.0]), np.array([0.5]), 1.0, 1.0))


def test_qnc_counts_operating_points_and_the_share_counts_mixtures() -> None:
    c, q = np.array([1.0, 2.0, 4.0]), np.array([0.4, 0.6, 0.8])
    best = (8.0, 0.7)
    assert metrics.qnc(c, q, best) == 0.5
    assert metrics.cost_at_quality_share(c, q, best) == pytest.approx(3.0 / 8.0)
    assert metrics.cost_at_quality_share(c, q, best, 0.5) == pytest.approx(1.0 / 8.0)
    assert metrics.qnc(c, q, (8.0, 0.9)) == float("inf")
    assert metrics.cost_at_quality_share(c, q, (8.0, 0.9)) == float("inf")
    assert metrics.perf_gain(q, 0.7) == pytest.approx(0.8 / 0.7 - 1)


def test_regret_by_hand() -> None:
    rows = np.arange(2)
    quality = np.array([[1.0, 0.0], [0.5, 1.0]])
    cost = np.array([[1.0, 0.1], [1.0, 0.1]])
    chosen = np.array([0, 0])
    assert metrics.regret(quality, quality[rows, chosen]) == pytest.approx(0.25)
    # u = [[0, -.1], [-.5, .9]] at weight 1.
    assert metrics.regret(quality - cost, (quality - cost)[rows, chosen]) == pytest.approx((0.0 + 1.4) / 2)


def test_a_coin_between_two_models_is_a_straight_line() -> None:
    assert metrics.random_at_cost(2.0, (1.0, 0.2), (5.0, 0.6)) == pytest.approx(0.3)
    assert metrics.random_at_cost(9.0, (1.0, 0.2), (5.0, 0.6)) == pytest.approx(0.6)


def test_apgr_by_hand() -> None:
    # Cumulative gains 1, 1, 2 of 2: trapezoids (0 + .5) / 2, .5, (.5 + 1) / 2, each a third wide.
    score, gain = np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 1.0])
    assert metrics.apgr(score, gain)[0] == pytest.approx((0.25 + 0.5 + 0.75) / 3)


def test_apgr_of_equal_scores_is_one_half() -> None:
    assert metrics.apgr(np.zeros(7), np.array([1.0, 0, 0, -1, 1, 1, 0]))[0] == pytest.approx(0.5)


def test_without_a_gap_there_is_no_apgr() -> None:
    assert np.isnan(metrics.apgr(np.arange(2.0), np.array([1.0, -1.0]))[0])
    assert np.isnan(metrics.cpt(np.arange(2.0), np.array([1.0, -1.0]), 0.5))


def test_apgr_of_random_scores_is_about_one_half() -> None:
    rng = np.random.default_rng(0)
    gain = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.5, 0.4], size=2000)
    draws = [metrics.apgr(rng.random(2000), gain)[0] for _ in range(50)]
    assert abs(np.mean(draws) - 0.5) < 0.02


def test_apgr_under_weights_equals_apgr_of_repeated_prompts() -> None:
    score, gain = np.array([3.0, 2.0, 2.0, 1.0]), np.array([1.0, 0.0, 1.0, -0.5])
    weights = np.array([[2.0, 1.0, 0.0, 3.0]])
    repeat = weights[0].astype(int)
    expected = metrics.apgr(np.repeat(score, repeat), np.repeat(gain, repeat))[0]
    assert metrics.apgr(score, gain, weights)[0] == pytest.approx(expected)


def test_cpt_is_the_first_crossing_of_a_curve_that_goes_up_and_down() -> None:
    # Recovered: 0, 1, .5, 1 at thirds. Half of the gap is reached half-way to the first prompt.
    score, gain = np.array([3.0, 2.0, 1.0]), np.array([1.0, -0.5, 0.5])
    assert metrics.cpt(score, gain, 0.5) == pytest.approx(1 / 6)
    assert metrics.cpt(score, gain, 1.0) == pytest.approx(1 / 3)
    assert metrics.cpt(score, gain, 0.0) == 0.0


def test_calibration_error_by_hand() -> None:
    estimated = np.array([[0.2, 0.2], [0.9, np.nan]])
    observed = np.array([[0.0, 1.0], [1.0, 1.0]])
    # Bin of .2: two cases, mean outcome .5; bin of .9: one case, outcome 1.
    assert metrics.ece(estimated, observed) == pytest.approx((2 * 0.3 + 0.1) / 3)
    assert metrics.brier(estimated, observed) == pytest.approx((0.04 + 0.64 + 0.01) / 3)


def test_interval_coverage_tells_honest_from_overconfident_estimates() -> None:
    rng = np.random.default_rng(1)
    cells = np.repeat(np.arange(200), 30)
    centre = rng.normal(0, 0.1, 200)[cells][:, None]
    observed = 0.5 + centre + rng.normal(0, 0.1, (6000, 1))
    mean = np.full((6000, 1), 0.5)
    assert metrics.interval_coverage(mean, np.full_like(mean, 0.1), observed, cells) == pytest.approx(0.9, abs=0.06)
    assert metrics.interval_coverage(mean, np.full_like(mean, 1e-6), observed, cells) < 0.5


def test_what_estimates_know_of_single_prompts_does_not_pass_for_uncertainty() -> None:
    """Nine in ten intervals hold where estimates are perfect and say so, though prompts differ in difficulty."""
    rng = np.random.default_rng(0)
    chance = rng.random((30_000, 2))
    observed = (rng.random(chance.shape) < chance).astype(float)
    cells = np.repeat(np.arange(600), 50)
    assert metrics.interval_coverage(chance, np.zeros(chance.shape), observed, cells) == pytest.approx(0.9, abs=0.02)


def test_entropy_of_shares() -> None:
    assert metrics.share_entropy(np.array([0.5, 0.25, 0.25, 0.0])) == pytest.approx(1.5)
    assert metrics.share_entropy(np.array([1.0, 0.0])) == 0.0


@given(POINTS)
def test_the_hull_dominates_every_point_and_is_concave_and_rising(points: list[tuple[float, float]]) -> None:
    c, q = arrays(points)
    upper = hulls.hull(c, q)
    assert np.all(hulls.height(upper, c) >= q - 1e-12)
    assert np.all(np.diff(upper.cost) > 0)
    assert np.all(np.diff(upper.quality) > 0)
    slopes = np.diff(upper.quality) / np.diff(upper.cost)
    assert np.all(np.diff(slopes) < 0)
    assert all((a, b) in set(points) for a, b in zip(upper.cost, upper.quality, strict=True))


@given(POINTS)
def test_the_hull_of_a_hull_is_itself(points: list[tuple[float, float]]) -> None:
    once = hulls.hull(*arrays(points))
    twice = hulls.hull(*once)
    assert once.cost.tolist() == twice.cost.tolist()
    assert once.quality.tolist() == twice.quality.tolist()


@given(POINTS, st.randoms(use_true_random=False))
def test_aiq_is_bounded_and_ignores_the_order_of_points(points: list[tuple[float, float]], random) -> None:  # type: ignore[no-untyped-def]
    c, q = arrays(points)
    value = float(hulls.aiq(c, q, c.min(), c.max() + 1))
    assert q.min() - 1e-12 <= value <= q.max() + 1e-12
    random.shuffle(points)
    assert hulls.aiq(*arrays(points), c.min(), c.max() + 1) == pytest.approx(value, abs=1e-12)


@given(POINTS, st.tuples(COST, QUALITY))
def test_one_more_operating_point_never_lowers_aiq(
    points: list[tuple[float, float]], extra: tuple[float, float]
) -> None:
    c, q = arrays(points)
    more = arrays([*points, extra])
    assert hulls.aiq(*more, c.min(), 11.0) >= hulls.aiq(c, q, c.min(), 11.0) - 1e-12 if extra[0] >= c.min() else True


@given(POINTS, st.floats(-0.5, 0.5), st.floats(0.1, 10))
def test_aiq_moves_with_quality_and_not_with_the_currency(
    points: list[tuple[float, float]], shift: float, rate: float
) -> None:
    c, q = arrays(points)
    plain = hulls.aiq(c, q, c.min(), 11.0)
    assert hulls.aiq(c, q + shift, c.min(), 11.0) == pytest.approx(plain + shift, abs=1e-9)
    assert hulls.aiq(c * rate, q, c.min() * rate, 11.0 * rate) == pytest.approx(plain, abs=1e-9)


@given(hnp.arrays(float, st.tuples(st.just(3), st.integers(2, 12)), elements=COST), st.integers(0, 2**31))
@settings(max_examples=50)
def test_many_curves_at_once_equal_one_at_a_time(costs: np.ndarray, seed: int) -> None:
    qualities = np.random.default_rng(seed).random(costs.shape).round(2)
    low, high = costs.min(axis=1), costs.max(axis=1) + 1
    together = hulls.aiq(costs, qualities, low, high)
    apart = [float(hulls.aiq(costs[i], qualities[i], low[i], high[i])) for i in range(3)]
    assert together.tolist() == pytest.approx(apart, abs=1e-12)


SCORED = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])), min_size=2, max_size=30)


@given(SCORED, st.integers(-5, 5))
def test_apgr_ignores_shifts_of_the_score_and_reverses_with_it(scored: list[tuple[int, float]], shift: int) -> None:
    score, gain = arrays([(float(s), g) for s, g in scored])
    value = metrics.apgr(score, gain)[0]
    if abs(gain.sum()) < 0.25:
        return
    assert metrics.apgr(score * 2 + shift, gain)[0] == pytest.approx(value)
    assert metrics.apgr(-score, gain)[0] == pytest.approx(1 - value)


@given(SCORED)
def test_apgr_is_the_area_under_the_recovery_curve(scored: list[tuple[int, float]]) -> None:
    score, gain = arrays([(float(s), g) for s, g in scored])
    if abs(gain.sum()) < 0.25:
        return
    u, r = (row[0] for row in metrics.recovery(score, gain))
    grid = np.linspace(0, 1, 20001)
    assert metrics.apgr(score, gain)[0] == pytest.approx(float(np.trapezoid(np.interp(grid, u, r), grid)), abs=1e-3)
