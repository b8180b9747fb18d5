"""Stacking: directions, gaps, weights, spreads; and what is left where nobody knows anything."""

import numpy as np
import pytest

from equipoise.numerics.stacking import combined, directions, filled, spreads, weigh
from equipoise.registry import make_router
from tests.contracts.conftest import MODELS, make_batch, make_world


def test_directions_are_orthonormal_and_the_first_is_what_models_share():
    basis = directions(np.random.default_rng(0).normal(size=(200, 5)))
    assert basis.T @ basis == pytest.approx(np.eye(5), abs=1e-9)
    assert np.allclose(basis[:, 0], basis[0, 0])


def test_the_second_direction_is_the_most_predictable_difference():
    rng = np.random.default_rng(1)
    lead = rng.normal(size=(300, 1)) @ np.array([[1.0, -1.0, 0.0, 0.0]])
    basis = directions(lead + 0.01 * rng.normal(size=(300, 4)))
    assert np.abs(basis[:, 1]) == pytest.approx([0.7071, 0.7071, 0.0, 0.0], abs=0.02)


def test_gaps_are_filled_by_what_the_row_has_in_common_and_later_by_predictions():
    quality = np.array([[1.0, np.nan], [0.0, 0.0]])
    first = filled(quality, np.array([0.5, 0.5]))
    assert first[0, 0] == 0.5 and 0 < first[0, 1] < 0.5
    assert filled(quality, np.array([0.5, 0.5]), np.full((2, 2), 0.3))[0, 1] == 0.3


def experts(noise, n=2000, seed=0, columns=1):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, columns))
    return [truth + s * rng.normal(size=(n, columns)) for s in noise], truth + rng.normal(size=(n, columns))


def everywhere(parts, y):
    """Weights where all rows are of one region, shape (k, r)."""
    weights = weigh(parts, y, np.ones((len(y), 1)), np.arange(len(y)) % 4)
    assert weights.shape == (1, len(parts), y.shape[1])
    return weights[0]


def test_better_experts_weigh_more_and_none_weighs_less_than_nothing():
    held_out, y = experts([0.2, 3.0])
    held_out.append(-y)
    weights = everywhere(held_out, y)[:, 0]
    assert weights[0] > weights[1] > 0
    assert weights[2] == 0.0


def test_the_stack_predicts_better_than_each_expert_and_than_their_mean():
    held_out, y = experts([0.8, 0.9, 3.0])
    fresh, truth = experts([0.8, 0.9, 3.0], seed=1)

    def error(p):
        return float(np.square(p - truth).mean())

    stack = combined(fresh, everywhere(held_out, y)[None], np.ones((len(truth), 1)))
    assert error(stack) < min(error(np.mean(fresh, axis=0)), *map(error, fresh))


def test_a_direction_that_nobody_predicts_gets_nothing():
    rng = np.random.default_rng(0)
    weights = everywhere([-np.abs(rng.normal(size=(500, 2))) for _ in range(3)], np.abs(rng.normal(size=(500, 2))))
    assert np.all(weights == 0.0)


def test_what_weights_promise_by_luck_is_scaled_away_and_what_they_keep_is_not():
    lucky, unscaled = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        parts, y = list(rng.normal(size=(6, 120, 3))), rng.normal(size=(120, 3))
        weights = everywhere(parts, y)
        lucky.append(weights[:, 1:].sum())
        unscaled.append(weights[:, :1].sum() * 2)
    assert np.mean(lucky) < 0.5 * np.mean(unscaled)
    held_out, y = experts([0.5, 0.8], n=400, columns=2)
    kept = everywhere(held_out, y)
    assert kept[:, 1].sum() == pytest.approx(kept[:, 0].sum(), rel=0.15)


def by_region(seed, apart):
    """Two experts, of which the first knows region 0 and the second region 1, if ``apart``; else both know both."""
    rng = np.random.default_rng(seed)
    member, truth = np.eye(2)[np.arange(3000) % 2], rng.normal(size=(3000, 2))
    lost = 3.0 * member[:, ::-1] if apart else np.full((3000, 2), 1.0)
    parts = [truth + lost[:, i : i + 1] * rng.normal(size=truth.shape) for i in range(2)]
    return parts, truth + rng.normal(size=truth.shape), member


def test_an_expert_weighs_more_where_it_knows_more():
    parts, y, member = by_region(0, apart=True)
    weights = weigh(parts, y, member, np.arange(3000) % 5)
    assert np.all(weights[[0, 1], [0, 1]] > 3 * weights[[0, 1], [1, 0]])
    fresh, truth, member = by_region(1, apart=True)
    same = np.broadcast_to(everywhere(parts, y), weights.shape)
    errors = [np.square(combined(fresh, w, member) - truth).mean() for w in (weights, same)]
    assert errors[0] < 0.95 * errors[1]


def test_where_experts_know_the_same_everywhere_regions_do_not_differ():
    parts, y, member = by_region(0, apart=False)
    weights = weigh(parts, y, member, np.arange(3000) % 5)
    assert np.array_equal(weights[0], weights[1])


def test_a_row_between_two_regions_is_weighed_by_both():
    weights = np.array([[[1.0]], [[3.0]]])
    assert combined([np.ones((2, 1))], weights, np.array([[1.0, 0.0], [0.5, 0.5]]))[:, 0] == pytest.approx([1.0, 2.0])


def test_spreads_hold_what_regions_are_off_by():
    rng = np.random.default_rng(2)
    cells = np.repeat(np.arange(40), 50)
    off = 0.1 * rng.normal(size=40)
    residual = (off[cells] + 0.4 * rng.normal(size=2000))[:, None]
    spread = spreads(residual, np.ones(residual.shape, dtype=bool), cells)
    assert spread[0] == pytest.approx(0.1, abs=0.04)
    none = spreads(0.4 * rng.normal(size=(2000, 1)), np.ones((2000, 1), dtype=bool), cells)
    assert none[0] < 0.05


def test_shuffled_outcomes_leave_the_models_means():
    world = make_world(400)
    world.quality[:] = world.quality[np.random.default_rng(0).permutation(400)]
    mean = make_router("stacked:trees=40").fit(world).predict_batch(make_batch([0, 1] * 20, seed=3), MODELS).mean
    assert np.abs(mean - world.quality.mean(axis=0)).mean() < 0.06


def test_missing_features_at_decision_time_leave_the_models_levels():
    world = make_world(200)
    router = make_router("stacked:trees=20").fit(world)
    batch = make_batch([0, 1])
    bare = type(batch)(**{k: getattr(batch, k) for k in batch.__dataclass_fields__ if k not in ("embedding", "form")})
    assert router.predict_batch(bare, MODELS).mean[0] == pytest.approx(world.quality.mean(axis=0))
