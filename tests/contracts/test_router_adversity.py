"""What every registered router does with data that it cannot learn from: it says so, or holds on to what it knows."""

from dataclasses import replace

import numpy as np
import pytest

from equipoise import registry
from equipoise.analysis import Analyzer
from equipoise.errors import NotEnoughData
from equipoise.tables import OutcomeTable
from equipoise.tables.analysed import outcomes_of
from tests.contracts.conftest import MODELS, TOLD_APART, make_batch, make_world, one_row
from tests.contracts.test_router_contract import make_router

ROUTERS = sorted(name for name, cls in registry.routers().items() if cls.available())
pytestmark = pytest.mark.parametrize("name", ROUTERS)


def fitted_or_refused(name, world):
    """The fitted router, or None where it refused in one line that names it."""
    router = make_router(name)
    try:
        return router.fit(world)
    except NotEnoughData as error:
        assert name in str(error) and "\n" not in str(error)
        return None


def usable(estimates):
    """Every estimate is a quality or says that nothing is known; none is infinite or out of range."""
    known = ~np.isnan(estimates.mean)
    return bool(
        np.all((estimates.mean[known] >= 0) & (estimates.mean[known] <= 1))
        and np.all(np.isfinite(estimates.std[known]))
        and np.all(estimates.std[known] > 0)
    )


@pytest.mark.parametrize("rows", [0, 2, 9, 30])
def test_few_rows_are_refused_by_name_or_fitted(name, rows):
    router = fitted_or_refused(name, make_world(60).take(np.arange(rows)))
    if router is not None:
        assert usable(router.predict_batch(make_batch([0, 1]), MODELS))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_only_is_taken_at_its_word(name, value):
    world = make_world(120)
    world.quality[:] = value
    router = fitted_or_refused(name, world)
    if router is not None:
        estimates = router.predict_batch(make_batch([0, 1] * 5, seed=2), MODELS)
        assert usable(estimates)
        assert np.nanmax(np.abs(estimates.mean - value)) < 0.35


def test_constant_features_leave_the_models_means(name):
    world = make_world(200)
    same = world.features.take(np.zeros(len(world), dtype=np.int64))
    router = fitted_or_refused(name, replace(world, features=same))
    if router is not None and name != "static":  # which needs no features but the domain
        estimates = router.predict_batch(same.take(np.arange(3)), MODELS)
        assert usable(estimates)
        assert np.nanmax(np.abs(estimates.mean - world.quality.mean(axis=0))) < 0.2


@pytest.mark.parametrize("ending", ["", "{i}"])
def test_the_same_prompt_all_over_leaves_the_models_means(name, ending):
    said = "Where is it?" + "x" * 2000
    router = make_router(name)
    rows = [
        {
            "prompt_id": str(i),
            "prompt": said + ending.format(i=i),
            "dataset": "faq",
            "model": m,
            "quality": float(i % k == 0),
        }
        for i in range(100)
        for m, k in (("m0", 1), ("m1", 2))
    ]
    router = fitted_or_refused(name, outcomes_of(OutcomeTable.from_rows(rows), Analyzer(), router.needs))
    if router is not None and name != "static":  # which begins with priors
        asked = Analyzer().analyze_batch([said], router.needs)
        estimates = router.predict_batch(asked, MODELS[:2])
        assert usable(estimates)
        assert np.nanmax(np.abs(estimates.mean - [1.0, 0.5])) < 0.2


def test_models_of_one_price_are_told_apart_by_quality(name):
    world = make_world(240)
    world.cost_usd[:] = 0.001
    router = make_router(name).fit(world)
    estimates = router.predict_batch(make_batch([0, 1] * 20, seed=2), MODELS)
    assert usable(estimates)
    assert np.mean(np.argmax(estimates.mean, axis=1) == [0, 1] * 20) > 0.9, TOLD_APART


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_refused_by_name_or_not_read(name, poison):
    world = make_world(120)
    world.features.embedding[7] = poison
    router = fitted_or_refused(name, world)
    if router is not None:
        assert usable(router.predict_batch(make_batch([0, 1], seed=3), MODELS))


def test_a_model_that_was_never_asked_stays_unknown_or_is_a_guess_within_range(name):
    world = make_world(120)
    world.quality[:, 1] = np.nan
    router = fitted_or_refused(name, world)
    if router is not None:
        estimates = router.predict_batch(make_batch([0, 1], seed=4), MODELS)
        assert usable(estimates)
        assert np.all(np.isfinite(estimates.mean[:, [0, 2]]))


def test_contradictory_outcomes_end_in_the_middle(name):
    world = make_world(120)
    twice = world.take(np.repeat(np.arange(60), 2))
    twice.quality[0::2], twice.quality[1::2] = 0.0, 1.0
    router = fitted_or_refused(name, twice)
    if router is not None and name != "static":
        estimates = router.predict_batch(make_batch([0, 1] * 5, seed=5), MODELS)
        assert usable(estimates)
        assert np.nanmean(np.abs(estimates.mean - 0.5)) < 0.2


def test_a_prompt_whose_embedding_is_no_number_is_decided_without_failing(name):
    router = make_router(name).fit(make_world(200))
    batch = make_batch([0, 1], seed=6)
    batch.embedding[1] = np.nan
    before = router.predict_batch(make_batch([0, 1], seed=6).take(np.array([0])), MODELS)
    estimates = router.predict_batch(batch, MODELS)
    assert usable(estimates)
    assert np.allclose(estimates.mean[0], before.mean[0], atol=1e-5)


def test_one_group_of_near_duplicates_is_refused_or_fitted(name):
    world = make_world(60)
    router = fitted_or_refused(name, replace(world, groups=np.zeros(60, dtype=np.int64)))
    if router is not None:
        assert usable(router.predict_batch(make_batch([0, 1]), MODELS))


def test_a_surprise_is_learned_from_without_failing(name):
    router = make_router(name).fit(make_world(120))
    odd = make_batch([0], seed=7)
    odd.embedding[:] = 0.0
    odd.structure[:] = 1e6
    for reward in (0.0, 1.0, 0.0):
        router.learn(one_row(odd), "m0", reward)
    assert usable(router.predict_batch(odd, MODELS))
