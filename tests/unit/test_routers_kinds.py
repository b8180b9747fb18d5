"""Kinds of prompts: the data set is known in training and predicted afterwards."""

from dataclasses import replace

import numpy as np
import pytest

from equipoise.registry import make_router
from tests.contracts.conftest import MODELS, make_batch, make_world


def test_the_data_set_tells_what_the_qualities_of_few_prompts_cannot():
    world = make_world(n=120, seed=3)
    kinds = (world.features.embedding[:, 0] < world.features.embedding[:, 1]).astype(np.int64)
    noise = (np.random.default_rng(0).random(world.quality.shape) < world.quality).astype(float)
    router = make_router("kinds").fit(replace(world, quality=noise, datasets=kinds))
    means = np.stack([noise[kinds == k].mean(axis=0) for k in (0, 1)])
    asked = [0, 1] * 30
    said = router.predict_batch(make_batch(asked, seed=5), MODELS).mean
    assert np.abs(said - means[asked]).mean() < 0.12


def test_without_data_sets_clusters_take_their_place():
    router = make_router("kinds").fit(make_world(n=600))
    best = router.predict_batch(make_batch([0, 1] * 30, seed=5), MODELS).mean.argmax(axis=1)
    assert np.mean(best[::2] == best[0]) > 0.8
    assert best[0] != best[1]


def test_a_data_set_of_few_rows_is_pulled_to_what_is_usual():
    world = make_world(n=400)
    kinds = np.zeros(400, dtype=np.int64)
    kinds[:3] = 1
    router = make_router("kinds").fit(replace(world, datasets=kinds))
    said = router.predict_batch(make_batch([0, 1] * 30, seed=5), MODELS).mean
    assert said == pytest.approx(np.tile(world.quality.mean(axis=0), (60, 1)), abs=0.1)
