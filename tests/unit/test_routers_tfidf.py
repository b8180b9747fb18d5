"""The lexical router reads words and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from equipoise.registry import make_router
from tests.contracts.conftest import MODELS, make_batch, make_world

UNKNOWN = 63


def taught():
    """A world in which one word never comes up."""
    world = make_world(400)
    indices = world.features.lexical.indices
    indices[indices == UNKNOWN] = UNKNOWN - 1
    return world


@pytest.fixture(scope="module")
def router():
    return make_router("tfidf").fit(taught())


def test_words_alone_tell_the_kinds_apart(router):
    batch = make_batch([0, 1] * 30, seed=5)
    best = router.predict_batch(batch, MODELS).mean.argmax(axis=1)
    assert np.mean(best == np.array([0, 1] * 30)) > 0.7


def test_words_that_training_did_not_know_leave_the_models_means(router):
    batch = make_batch([0, 0], seed=6)
    rows = batch.lexical
    strange = type(rows)(rows.indptr, np.full_like(rows.indices, UNKNOWN), rows.values, rows.width)
    mean = router.predict_batch(replace(batch, lexical=strange), MODELS).mean
    assert mean[0] == pytest.approx(taught().quality.mean(axis=0), abs=1e-6)


def test_one_prompt_is_predicted_as_among_others(router):
    batch = make_batch([0, 1, 1], seed=7)
    together = router.predict_batch(batch, MODELS).mean
    alone = [router.predict_batch(batch.take(np.array([i])), MODELS).mean[0] for i in range(3)]
    assert np.array(alone) == pytest.approx(together, abs=1e-5)
