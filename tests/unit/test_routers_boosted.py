"""Trees: what they learn, that walking them at once is walking them one by one, and that they stop in time."""

import numpy as np
import pytest

from equipoise.numerics.experts import Boost, Examples
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.trees import Binned, Grower, Growth, Trees
from equipoise.registry import make_router
from tests.contracts.conftest import MODELS, make_batch, make_world


def grown(x, y, trees=60, **growth):
    grower = Grower(Binned.of(x), y, Growth(**growth), np.random.default_rng(0))
    for _ in range(trees):
        grower.grow()
    return grower.trees()


def problem(n=600, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    y = np.stack([np.sign(x[:, 0] * x[:, 1]), 0.5 * (x[:, 2] > 0.3)], axis=1)
    return x, y - y.mean(axis=0)


def walked(trees: Trees, row):
    """The definition: question by question, tree by tree."""
    total = np.zeros(trees.leaves.shape[1])
    for t in range(len(trees.column) // trees.depth):
        leaf = 0
        for level in range(trees.depth):
            q = t * trees.depth + level
            leaf |= int(row[trees.column[q]] > trees.threshold[q]) << level
        total += trees.leaves[(t << trees.depth) + leaf]
    return total


def test_trees_find_an_interaction_that_no_line_can():
    x, y = problem()
    new, truth = problem(seed=1)
    error = np.square(grown(x, y, trees=300, rate=0.1).predict(new) - truth).mean(axis=0)
    assert np.all(error < 0.4 * truth.var(axis=0))


def test_all_trees_at_once_give_what_each_gives_alone():
    x, y = problem()
    trees = grown(x, y)
    together = trees.predict(x[:40])
    assert together == pytest.approx(np.array([walked(trees, row) for row in x[:40]]), abs=1e-5)
    assert np.array_equal(trees.predict(x[:1]), together[:1])


def test_a_range_of_trees_adds_up_to_the_whole():
    x, y = problem()
    grower = Grower(Binned.of(x), y, Growth(), np.random.default_rng(0))
    for _ in range(20):
        grower.grow()
    parts = grower.trees(until=7).predict(x) + grower.trees(since=7).predict(x)
    assert parts == pytest.approx(grower.trees().predict(x), abs=1e-5)


def test_every_tree_lowers_the_error_on_what_it_has_seen():
    x, y = problem()
    errors = [np.square(y - grown(x, y, trees=t, rows=1.0).predict(x)).sum() for t in (1, 5, 20, 60)]
    assert errors == sorted(errors, reverse=True)


def test_columns_that_never_vary_are_asked_nothing():
    x, y = problem()
    x[:, 3:] = 4.0
    assert set(grown(x, y).column) <= {0, 1, 2}
    flat = grown(np.ones_like(x), y)
    assert np.abs(flat.predict(x)).max() < 0.05


def test_noise_grows_no_trees():
    world = make_world(300)
    from equipoise.numerics.coordinates import Coordinates

    point = Coordinates.fit(world.features, "boosted").points(world.features)
    noise = np.random.default_rng(3).normal(size=(300, 3))
    boost = Boost(trees=60)
    held_out = boost.learn(Examples(point, world.features, grouped_folds(world.groups, 4)), noise - noise.mean(axis=0))
    assert np.abs(held_out).mean() < 0.2
    assert np.abs(boost.predict(point, world.features)).mean() < 0.3


def test_fewer_and_shallower_trees_can_be_asked_for():
    router = make_router("boosted:trees=40,depth=2").fit(make_world(200))
    state = router.state()
    assert state.arrays["expert0/0/depth"] == 2
    assert len(state.arrays["expert0/0/column"]) <= 40 * 2
    assert np.isfinite(router.predict_batch(make_batch([0, 1]), MODELS).mean).all()
