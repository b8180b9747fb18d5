"""From estimates to choices at every weight of cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.evaluation.baselines import by_label, length_label
from equipoise.numerics.frontier import choose, distinct, routed_area, walk, weight_grid


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_the_walk_chooses_what_the_argmax_chooses(seed: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    quality, cost = rng.random((20, models)), rng.random((20, models)) + 0.01
    weights = np.unique(np.concatenate([[0.0], rng.exponential(2, 15), [np.inf]]))
    chosen = choose(walk(quality, cost), weights)
    for t, weight in enumerate(weights[:-1]):
        assert chosen[t].tolist() == np.argmax(quality - weight * cost, axis=1).tolist()
    assert chosen[-1].tolist() == np.argmin(cost, axis=1).tolist()


def test_equal_qualities_go_to_the_cheaper_model() -> None:
    chosen = choose(walk(np.array([[0.5, 0.5, 0.4]]), np.array([[3.0, 2.0, 1.0]])), np.array([0.0, np.inf]))
    assert chosen[:, 0].tolist() == [1, 2]


def test_of_more_than_256_models_the_chosen_one_keeps_its_number() -> None:
    quality, cost = np.zeros((1, 300)), np.linspace(1.0, 2.0, 300)[None]
    quality[0, 299] = 1.0
    assert choose(walk(quality, cost), np.array([0.0, np.inf]))[:, 0].tolist() == [299, 0]
    assert routed_area(quality, cost, quality, cost) == pytest.approx(0.5)


def test_models_of_unknown_quality_are_never_chosen() -> None:
    quality = np.array([[np.nan, 0.3, 0.5]])
    chosen = choose(walk(quality, np.array([[0.1, 1.0, 2.0]])), np.array([0.0, 0.1, 1.0, np.inf]))
    assert chosen[:, 0].tolist() == [2, 2, 1, 1]
    with pytest.raises(ValueError, match="no model"):
        walk(np.full((1, 2), np.nan), np.ones((1, 2)))


def test_the_grid_holds_both_ends_the_asked_weights_and_at_most_a_hundred() -> None:
    rng = np.random.default_rng(0)
    grid = weight_grid(walk(rng.random((500, 5)), rng.random((500, 5))), also=(0.7, 1.3))
    assert len(grid) == 100 and grid[0] == 0 and grid[-1] == np.inf
    assert {0.7, 1.3} <= set(grid.tolist()) and np.all(np.diff(grid) > 0)


def test_cost_falls_and_equal_points_are_dropped() -> None:
    rng = np.random.default_rng(1)
    quality, cost = rng.random((200, 4)), np.tile([1.0, 2.0, 3.0, 4.0], (200, 1))
    walked = walk(quality, cost)
    chosen = choose(walked, weight_grid(walked))
    means = cost[np.arange(200), chosen].mean(axis=1)
    assert np.all(np.diff(means) <= 1e-12)
    kept = distinct(np.repeat(chosen[:5], 3, axis=0))
    assert kept.tolist() == [0, 3, 6, 9, 12]


def test_label_means_ignore_test_rows_and_unknown_cells() -> None:
    quality = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 0.0], [9.0, 9.0]])
    guess = by_label(np.array([0, 0, 1, 2]), np.array([0, 1, 2]), quality, quality)
    assert guess.quality[0].tolist() == [0.5, 1.0]
    assert guess.quality[2].tolist() == [1.0, 0.0]
    assert guess.quality[3].tolist() == pytest.approx([2 / 3, 0.5])


def test_lengths_fall_into_ten_classes_of_equal_size() -> None:
    label = length_label(np.arange(1000.0), np.arange(1000))
    assert np.bincount(label).tolist() == pytest.approx([100] * 10, abs=1)
