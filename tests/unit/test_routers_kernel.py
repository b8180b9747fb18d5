"""Kernel ridge: against its closed form, and what it says far from everything it has seen."""

import numpy as np
import pytest

from equipoise.numerics.coordinates import Coordinates, Point
from equipoise.numerics.experts import Examples, FoldedRidge, Kernel
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.views import Lexical
from equipoise.registry import make_router
from tests.contracts.conftest import MODELS, make_batch, make_world


def points(n, seed=0):
    rng = np.random.default_rng(seed)
    parts = (rng.normal(size=(n, k)).astype(np.float32) for k in (4, 3, 2))
    return Point(*parts)


def test_with_every_prompt_a_landmark_it_is_kernel_ridge_regression():
    point, rng = points(60), np.random.default_rng(1)
    y = rng.normal(size=(60, 2))
    kernel = Kernel((1.0, 1.0, 1.0), 1.0, landmarks=60)
    kernel.penalties = (3.0,)  # type: ignore[misc]
    kernel.learn(Examples(point, make_batch([0] * 60), grouped_folds(np.arange(60), 3)), y)
    x = np.concatenate(point, axis=1).astype(float)
    apart = np.square(x[:, None] - x[None]).sum(axis=2)
    near = np.exp(-apart / np.median(apart))
    exact = near @ np.linalg.solve(near + 3.0 * np.eye(60), y)
    assert kernel.predict(point, make_batch([0] * 60)) == pytest.approx(exact, abs=0.01)


def test_out_of_fold_predictions_have_not_seen_their_rows():
    x, y = np.random.default_rng(0).normal(size=(80, 6)), np.random.default_rng(1).normal(size=(80, 2))
    folds = grouped_folds(np.arange(80), 4)
    held_out = FoldedRidge(x, folds).held_out(y, (2.0,))[0]
    for k in range(4):
        inside = folds != k
        weights = np.linalg.solve(x[inside].T @ x[inside] + 2.0 * np.eye(6), x[inside].T @ y[inside])
        assert held_out[~inside] == pytest.approx(x[~inside] @ weights, abs=1e-8)


def test_every_target_gets_the_penalty_that_suits_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    y = np.stack([x[:, 0], rng.normal(size=400)], axis=1)
    weights, _ = FoldedRidge(x, grouped_folds(np.arange(400), 4)).solve(y, (0.1, 10.0, 1e4))
    assert weights[0, 0] == pytest.approx(1.0, abs=0.02)
    assert np.abs(weights[:, 1]).max() < 0.2


def test_far_from_everything_it_predicts_no_deviation():
    point, y = points(100), np.ones((100, 1))
    kernel = Kernel((1.0, 1.0, 1.0), 1.0)
    kernel.learn(Examples(point, make_batch([0] * 100), grouped_folds(np.arange(100), 4)), y)
    far = Point(*(part + 50 for part in point))
    batch = make_batch([0] * 100)
    assert np.abs(kernel.predict(far, batch)).max() < 1e-6 < np.abs(kernel.predict(point, batch)).mean()


def test_topics_are_the_leading_directions_of_the_words():
    world = make_world(200)
    coordinates = Coordinates.fit(world.features, "kernel")
    together = coordinates.points(world.features).topics
    assert together.shape[1] > 1
    alone = coordinates.points(world.features.take(np.array([5]))).topics
    assert alone[0] == pytest.approx(together[5], abs=1e-5)
    exact = np.linalg.svd(Lexical().fit_basis(world.features).matrix(world.features).toarray(), compute_uv=False)
    kept = together.shape[1]
    assert kept < len(exact)
    assert np.square(together).sum() > 0.97 * np.square(exact[:kept]).sum()


def test_fewer_landmarks_can_be_asked_for():
    router = make_router("kernel:landmarks=30").fit(make_world(200))
    assert len(router.state().arrays["expert0/centres"]) == 30
    assert np.isfinite(router.predict_batch(make_batch([0, 1]), MODELS).mean).all()
