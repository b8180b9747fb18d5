"""The item-response router: readable difficulties, abilities of models that come and go."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.numerics.item_response import ItemModel, fit_items, items, start_items
from equipoise.numerics.lowrank import outcome_loss
from equipoise.numerics.odds import sigmoid
from equipoise.registry import make_router
from equipoise.types import Model
from tests.contracts.conftest import MODELS, make_batch, make_world, one_row


def hard_and_easy(n=600, seed=0):
    """The second kind of prompt is hard for every model, and the models differ in one ability."""
    world = make_world(n=n, seed=seed)
    hard = world.features.domain == "creative"
    chance = np.where(hard[:, None], [0.5, 0.3, 0.1], [0.95, 0.85, 0.7])
    world.quality[:] = np.random.default_rng(seed).random(chance.shape) < chance
    return world, hard


def test_difficulty_is_higher_where_models_fail():
    world, hard = hard_and_easy()
    router = make_router("irt:dimensions=1").fit(world)
    difficulty = router.difficulty(world.features)
    assert difficulty[hard].mean() > difficulty[~hard].mean() + 0.5
    assert np.isnan(make_router("irt").difficulty(make_batch([0]))).all()


def test_abilities_are_in_the_order_of_the_models():
    world, _ = hard_and_easy()
    abilities = make_router("irt:dimensions=1").fit(world).abilities
    assert abilities["m0"] > abilities["m1"] > abilities["m2"]


def test_explaining_names_difficulty_and_the_able_model():
    world, hard = hard_and_easy()
    router = make_router("irt").fit(world)
    assert make_router("irt").explain(one_row(world.features)) == ()
    said = {kind: router.explain(one_row(world.features, int(np.flatnonzero(hard == kind)[0])))[0] for kind in (0, 1)}
    easy, difficult = (float(said[kind].split()[1].rstrip(",")) for kind in (0, 1))
    assert difficult > easy and "highest in m0" in said[0]


def test_slopes_of_the_item_model_are_those_of_its_loss():
    rng = np.random.default_rng(1)
    x, quality = rng.normal(size=(40, 3)).astype(np.float32), rng.random((40, 4))
    start = start_items(3, rng.normal(size=4), 2)
    fitted = fit_items(x, outcome_loss(quality), start, 1.0)

    def objective(model: ItemModel) -> float:
        strength = model.items(x @ model.weights).strength(model.ability)
        prior = np.square(model.weights).sum() + 100 * model.bias[0] ** 2 + 0.1 * np.square(model.bias[1:]).sum()
        return outcome_loss(quality)(strength)[0] + 0.5 * float(prior + np.square(model.ability).sum())

    best = objective(fitted)
    for part in range(3):
        for _ in range(8):
            moved = [values.copy() for values in fitted]
            i = tuple(rng.integers(0, s) for s in moved[part].shape)
            moved[part][i] += rng.choice([-0.05, 0.05])
            assert objective(ItemModel(*moved)) > best


def test_discrimination_is_positive_and_bounded_and_mixtures_sum_to_one():
    item = items(np.array([[100.0, 0.3, 1.0, 2.0], [-100.0, 0.0, 0.0, 0.0]]))
    assert item.discrimination == pytest.approx(np.exp([1.5, -1.5])) and item.difficulty.tolist() == [0.3, 0.0]
    assert item.mixture.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_new_models_ability_comes_from_few_answers():
    world, hard = hard_and_easy()
    router = make_router("irt:dimensions=1").fit(world)
    chance = np.where(hard, 0.3, 0.85)  # as m1
    quality = (np.random.default_rng(2).random(len(chance)) < chance).astype(float)
    router.add_model("newcomer", world.features.take(np.arange(60)), quality[:60])
    assert router.abilities["m0"] > router.abilities["newcomer"] > router.abilities["m2"]
    router.without("newcomer")
    assert set(router.abilities) == {"m0", "m1", "m2"}


def test_a_published_score_alone_places_a_new_model():
    world, _ = hard_and_easy()
    router = make_router("irt:dimensions=1").fit(world)
    one = np.zeros(600, dtype=np.int64)
    router.add_model("newcomer", world.features, np.full(600, 0.58), benchmark=one)
    assert router.abilities["m0"] > router.abilities["newcomer"] > router.abilities["m2"]
    mean = router.predict_batch(world.features, [Model(name="newcomer")]).mean
    assert mean.mean() == pytest.approx(0.58, abs=0.05)


def test_a_model_first_met_in_feedback_starts_as_an_average_one():
    world, _ = hard_and_easy()
    router = make_router("irt").fit(world)
    router.learn(one_row(world.features), "newcomer", 1.0)
    usual = router.predict_batch(world.features, MODELS).mean.mean(axis=1)
    found = router.predict_batch(world.features, [Model(name="newcomer")]).mean[:, 0]
    assert np.corrcoef(found, usual)[0, 1] > 0.9


def test_strengths_follow_the_two_parameter_formula():
    item = items(np.array([[0.0, 1.0, 0.0]]))
    assert sigmoid(item.strength(np.array([[1.0], [3.0]])))[0] == pytest.approx([0.5, sigmoid(2.0)])
