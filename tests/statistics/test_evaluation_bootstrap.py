"""Intervals and tests against formulas worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.evaluation import bootstrap


def test_every_seed_and_method_sees_the_same_weights() -> None:
    resamples = bootstrap.Resamples(np.array([0, 1, 1, 2]), replicates=5)
    together, part = resamples.of(np.array([0, 1, 2, 3])), resamples.of(np.array([1, 2]))
    assert together[0].tolist() == [0.25] * 4
    assert np.allclose(together[:, 1], together[:, 2])
    assert np.allclose(part, 0.5)
    assert np.allclose(together.sum(axis=1), 1)


def test_the_corrected_t_is_wider_than_the_naive_one() -> None:
    differences = np.array([0.01, 0.02, 0.03, 0.02, 0.02])
    corrected, p = bootstrap.corrected_t(differences, 0.25)
    naive, _ = bootstrap.corrected_t(differences, 0.0)
    spread = np.sqrt(np.var(differences, ddof=1) * (1 / 5 + 0.25))
    assert corrected.high - 0.02 == pytest.approx(2.7764451 * spread)
    assert corrected.low < naive.low and corrected.high > naive.high
    assert 0 < p < 0.05


def test_too_few_seeds_say_nothing_about_seeds() -> None:
    interval, p = bootstrap.corrected_t(np.array([0.1, 0.2]), 0.25)
    assert np.isnan(interval.low) and np.isnan(p)
    joined = bootstrap.Interval(-1.0, 1.0).join(interval)
    assert joined == bootstrap.Interval(-1.0, 1.0)


def test_a_difference_reports_the_envelope_of_both_intervals() -> None:
    rng = np.random.default_rng(0)
    by_seed = np.hstack([np.array([[0.1], [0.3], [0.2], [0.15], [0.25]]), rng.normal(0.2, 0.01, (5, 100))])
    found = bootstrap.difference(by_seed, 0.25)
    assert found.interval.low == min(found.bootstrap.low, found.resampled_t.low)
    assert found.interval.high == max(found.bootstrap.high, found.resampled_t.high)
    assert found.mean == pytest.approx(0.2)


def test_holm_by_hand_and_unknown_p_values_do_not_count() -> None:
    assert bootstrap.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    corrected = bootstrap.holm([0.02, float("nan"), 0.9])
    assert corrected[0] == pytest.approx(0.04) and np.isnan(corrected[1]) and corrected[2] == pytest.approx(0.9)


def test_tests_over_data_sets() -> None:
    found = bootstrap.over_datasets(np.array([0.1, 0.2, 0.05, 0.3, 0.15, 0.12, 0.0]))
    assert (found.above, found.below) == (6, 0)
    assert found.sign_p == pytest.approx(2 / 64)
    assert found.wilcoxon_p == pytest.approx(2 / 64)
    assert bootstrap.over_datasets(np.array([1e-16, -1e-16, 3e-16])).sign_p == 1.0


def test_rounding_is_no_difference() -> None:
    found = bootstrap.difference(np.full((5, 50), 2e-16), 0.25)
    assert found.interval == bootstrap.Interval(0.0, 0.0) and found.p == 1.0
