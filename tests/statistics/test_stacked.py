"""Whether the intervals of ``stacked`` hold what they promise, on worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from equipoise.registry import make_router
from tests.contracts.conftest import MODELS, make_batch, make_world

ROUTER = "stacked:trees=40,landmarks=200"


def graded(n, seed):
    """A world in which the chance of success depends smoothly on two directions of the embedding."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, n)
    batch = make_batch(kinds, seed)
    tilt = np.clip(2.0 * batch.embedding[:, 2:3], -1, 1)
    levels = np.where(kinds[:, None] == 0, [0.8, 0.3, 0.6], [0.3, 0.8, 0.6])
    chance = np.clip(levels + tilt * [0.15, 0.15, -0.3], 0.02, 0.98)
    quality = (rng.random((n, 3)) < chance).astype(float)
    base = make_world(n, seed)
    return replace(base, features=batch, quality=quality), chance


@pytest.fixture(scope="module")
def estimates():
    fit, _ = graded(1500, 1)
    fresh, chance = graded(3000, 2)
    router = make_router(ROUTER).fit(fit)
    return router.predict_batch(fresh.features, MODELS), fresh.quality, chance


def test_mean_quality_of_a_kind_of_prompts_lies_in_its_interval(estimates):
    (mean, std), _, chance = estimates
    cells = [
        (mean[i::10, j].mean(), std[i::10, j].mean(), chance[i::10, j].mean()) for i in range(10) for j in range(3)
    ]
    inside = np.mean([abs(m - t) <= 1.645 * s for m, s, t in cells])
    assert inside >= 0.85


def test_intervals_are_no_wider_than_they_need_be(estimates):
    (_, std), quality, _ = estimates
    assert np.all(std < 0.5 * quality.std(axis=0))


def test_estimates_are_calibrated_and_better_than_means(estimates):
    (mean, _), quality, chance = estimates
    assert np.square(mean - chance).mean() < 0.3 * np.square(quality.mean(axis=0) - chance).mean()
    for low in np.arange(0.2, 0.8, 0.2):
        here = (mean >= low) & (mean < low + 0.2)
        if here.sum() > 300:
            assert quality[here].mean() == pytest.approx(mean[here].mean(), abs=0.07)


def test_without_anything_to_know_the_single_models_are_left():
    world = make_world(800)
    world.quality[:] = (np.random.default_rng(0).random((800, 3)) < [0.8, 0.6, 0.4]).astype(float)
    mean = make_router(ROUTER).fit(world).predict_batch(make_batch([0, 1] * 200, seed=4), MODELS).mean
    assert np.mean(mean.argmax(axis=1) == 0) > 0.97
