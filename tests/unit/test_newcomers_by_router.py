"""A new model gets a shape of its own from routers that make it of the known ones, and nobody else changes."""

import numpy as np
import pytest

from equipoise.numerics.kinship import combination
from equipoise.registry import make_router
from equipoise.types import Model
from tests.contracts.conftest import MODELS, make_batch, one_row, smaller
from tests.contracts.test_router_contract import fitted

NEW = [Model(name="newcomer")]
KIND = np.array([0, 1] * 100)
SHAPED = ["linear", "knn", "cluster", "kinds", "kernel", "tfidf", "boosted", "stacked", "factorization", "neural"]


def joined(name):
    """A router that knows three models, and took in one that is good at the first kind of prompts alone."""
    router = fitted(name, n=600)
    scores = np.where(KIND == 0, 0.85, 0.35)
    return router.add_model("newcomer", make_batch(KIND, seed=21), scores, benchmark=KIND)


@pytest.mark.parametrize("name", SHAPED)
def test_scores_by_kind_shape_what_is_expected_of_a_new_model_on_prompts_without_a_label(name):
    mean = joined(name).predict_batch(make_batch([0] * 40 + [1] * 40, seed=22), NEW).mean[:, 0]
    assert mean[:40].mean() - mean[40:].mean() > 0.25
    assert mean.mean() == pytest.approx(0.6, abs=0.12)


@pytest.mark.parametrize("name", SHAPED)
def test_a_new_model_survives_saving_and_goes_on_learning(name):
    router, batch = joined(name), make_batch([0] * 30, seed=23)
    again = make_router(smaller(name)).restore(router.state())
    before = router.predict_batch(batch, [*MODELS, *NEW]).mean
    assert np.array_equal(before, again.predict_batch(batch, [*MODELS, *NEW]).mean)
    for i in range(30):
        again.learn(one_row(batch, i), "newcomer", 0.0)
    assert again.predict_batch(batch, NEW).mean.mean() < before[:, 3].mean()


@pytest.mark.parametrize("name", ["linear", "kinds", "stacked", "knn"])
def test_a_model_that_joins_from_single_observations_takes_nothing_from_the_fitted_ones(name):
    router, batch = fitted(name, n=600), make_batch([0, 1] * 30, seed=24)
    before = router.predict_batch(batch, MODELS).mean
    router.learn(one_row(batch), "newcomer", 0.0)
    assert np.abs(router.predict_batch(batch, MODELS).mean - before).max() < 0.01


def test_without_evidence_a_new_model_is_the_mean_of_the_known_ones():
    known = np.random.default_rng(0).random((4, 3))
    weights = combination(known, known.mean(axis=1))
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0], abs=1e-6)


def test_with_much_evidence_a_new_model_is_what_it_is_made_of():
    known = np.random.default_rng(1).random((5000, 3))
    weights = combination(known, 0.7 * known[:, 0] + 0.2 * known[:, 2] + 0.05)
    assert weights == pytest.approx([0.7, 0.0, 0.2, 0.05], abs=0.03)
