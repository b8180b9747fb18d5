"""Worlds of which the truth is known: what is learned from them must be that truth, and nothing where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from equipoise.numerics.blend import Blend
from equipoise.numerics.bradley_terry import expected_score, rate
from equipoise.numerics.lowrank import fit_factors, outcome_loss, start_factors
from equipoise.numerics.newcomers import ItemCurves, expected_scores, telling_prompts
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.roster import Roster
from equipoise.registry import make_router
from equipoise.types import FeatureBatch, Model, Outcomes, Votes
from tests.contracts.conftest import make_batch
from tests.contracts.test_router_contract import ROUTERS, fitted

D = 16


def prompts(n: int, seed: int) -> FeatureBatch:
    """Prompts of which the embedding says all that there is to know."""
    vectors = np.random.default_rng(seed).normal(size=(n, D))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return replace(make_batch(np.zeros(n, dtype=int), seed=seed), embedding=vectors.astype(np.float32))


def drawn(chance: np.ndarray, batch: FeatureBatch, seed: int = 0) -> Outcomes:
    """Answers that are right with the given chances."""
    right = np.random.default_rng(seed).random(chance.shape) < chance
    names = tuple(f"m{j}" for j in range(chance.shape[1]))
    return Outcomes(features=batch, models=names, quality=right.astype(float), groups=np.arange(len(chance)))


def models(m: int) -> list[Model]:
    return [Model(name=f"m{j}") for j in range(m)]


def corr(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def familiar(router, batch: FeatureBatch) -> FeatureBatch:
    """The prompts on which the guard against novelty lets the router speak for itself."""
    return batch.take(np.flatnonzero(router._roster.novelty.trust(batch)[:, 0] > 0.99))


# ---------------------------------------------------------------- item response


def test_irt_recovers_abilities_and_difficulties():
    batch, ability = prompts(3000, 1), np.linspace(-1.5, 1.5, 8)
    difficulty = batch.embedding @ np.random.default_rng(1).normal(0, 3.0, D)
    router = make_router("irt:dimensions=1").fit(drawn(sigmoid(ability - difficulty[:, None]), batch))
    found = np.array([router.abilities[f"m{j}"][0] for j in range(8)])
    assert np.all(np.diff(found) > 0) and corr(found, ability) > 0.99
    assert corr(router.difficulty(batch), difficulty) > 0.9


def test_irt_recovers_which_of_two_abilities_a_prompt_asks_for():
    rng = np.random.default_rng(3)
    ability, direction = rng.normal(0, 1.5, (6, 2)), rng.normal(size=D)

    def chance(batch: FeatureBatch) -> np.ndarray:
        return sigmoid(ability.T[(batch.embedding @ direction > 0).astype(int)])

    batch = prompts(3000, 3)
    router = make_router("irt:dimensions=2").fit(drawn(chance(batch), batch))
    fresh = familiar(router, prompts(1000, 5))
    assert corr(router.predict_batch(fresh, models(6)).mean, chance(fresh)) > 0.88


# ---------------------------------------------------------------- Bradley-Terry


def test_ratings_from_votes_are_the_true_ones_within_their_standard_errors():
    rng, truth = np.random.default_rng(2), np.array([-1.0, -0.3, 0.0, 0.4, 0.9])
    games, misses = 400, []
    for _ in range(40):
        chance = expected_score(truth, truth)
        won = np.triu(rng.binomial(games, chance), 1)
        wins = won + np.tril(games - won.T, -1)
        found = rate(wins[None].astype(float), np.zeros(5), 1e4)[0]
        information = games * chance * (1 - chance)
        hessian = np.diag(information.sum(axis=1) - np.diag(information)) - information * (1 - np.eye(5))
        error = np.sqrt(np.diag(np.linalg.pinv(hessian)))
        misses.append(np.abs((found - found.mean()) - (truth - truth.mean())) / error)
    assert np.mean(np.array(misses) < 1.96) == pytest.approx(0.95, abs=0.04)


def arena(batch: FeatureBatch, strength: np.ndarray, count: int, seed: int) -> Votes:
    """Votes that follow the Bradley-Terry model."""
    rng, (n, m) = np.random.default_rng(seed), strength.shape
    prompt, first = rng.integers(0, n, count), rng.integers(0, m, count)
    second = (first + rng.integers(1, m, count)) % m
    chance = sigmoid(strength[prompt, first] - strength[prompt, second])
    score = (rng.random(count) < chance).astype(float)
    names = tuple(f"m{j}" for j in range(m))
    return Votes(
        features=batch, models=names, groups=np.arange(n), prompt=prompt, first=first, second=second, score=score
    )


def test_factorization_recovers_strengths_from_votes_alone():
    weights = np.random.default_rng(6).normal(0, 4.0, (D, 4))
    batch = prompts(1500, 6)
    router = make_router("factorization").fit_votes(arena(batch, batch.embedding @ weights, 12_000, 6))
    fresh = familiar(router, prompts(800, 7))
    found, truth = router.predict_batch(fresh, models(4)).mean, fresh.embedding @ weights
    rate_of = expected_score(truth, truth).mean(axis=2)
    assert corr(found, rate_of) > 0.95
    assert np.mean(found.argmax(axis=1) == rate_of.argmax(axis=1)) > 0.9


def test_regional_ratings_recover_where_a_model_is_preferred():
    batch = prompts(2000, 8)
    strength = np.where(batch.embedding[:, :1] > 0, [1.0, -1.0, 0.0], [-1.0, 1.0, 0.0])
    router = make_router("ratings").fit_votes(arena(batch, strength, 10_000, 8))
    known = familiar(router, batch)
    side, found = known.embedding[:, 0], router.predict_batch(known, models(3)).mean
    far = np.abs(side) > 0.2
    assert np.mean((found[far, 0] > found[far, 1]) == (side[far] > 0)) > 0.85


# ---------------------------------------------------------------- low rank


def test_the_penalty_finds_how_many_factors_there_are():
    rng, n, m = np.random.default_rng(4), 4000, 10
    x = rng.normal(size=(n, D)).astype(np.float32) / np.float32(np.sqrt(D))
    weights = rng.normal(size=(D, 2)) @ rng.normal(0, 1.5, (2, m))
    quality = (rng.random((n, m)) < sigmoid(x @ weights)).astype(float)
    fitted = fit_factors(x, outcome_loss(quality), start_factors(D, np.zeros(m), 8), 20.0)
    size = np.linalg.svd(fitted.weights, compute_uv=False)
    assert size[1] > 0.3 * size[0] and size[2] < 0.05 * size[0]
    assert corr(x @ fitted.weights, x @ weights) > 0.97


def test_sharing_factors_helps_where_most_cells_are_missing():
    rng, m = np.random.default_rng(5), 12
    weights = rng.normal(0, 5.0, (D, 2)) @ rng.normal(0, 0.8, (2, m))
    batch, fresh = prompts(1500, 9), prompts(500, 10)
    world = drawn(sigmoid(batch.embedding @ weights), batch)
    world.quality[rng.random(world.quality.shape) < 0.85] = np.nan
    truth = sigmoid(fresh.embedding @ weights)

    shared = make_router("factorization").fit(world).predict_batch(fresh, models(m)).mean
    alone = [
        make_router("factorization").fit(replace(world, models=(f"m{j}",), quality=world.quality[:, j : j + 1]))
        for j in range(m)
    ]
    each = np.concatenate([r.predict_batch(fresh, [Model(name=f"m{j}")]).mean for j, r in enumerate(alone)], axis=1)
    assert np.square(shared - truth).mean() < 0.8 * np.square(each - truth).mean()


# ---------------------------------------------------------------- nothing to learn


@pytest.mark.parametrize("spec", ["factorization", "irt", "reward", "neural:hidden=32,steps=100", "ratings"])
def test_where_prompts_say_nothing_estimates_stay_at_the_levels(spec):
    batch, level = prompts(1200, 11), np.array([0.3, 0.5, 0.7])
    router = make_router(spec).fit(drawn(np.broadcast_to(level, (1200, 3)), batch))
    mean = router.predict_batch(prompts(300, 12), models(3)).mean
    assert np.abs(mean - level).mean() < 0.04
    assert np.mean(mean.argmax(axis=1) == 2) > 0.97


def test_shrinkage_is_what_undoes_a_known_exaggeration():
    rng = np.random.default_rng(13)
    shared, own = rng.normal(0, 0.1, (20_000, 1)), rng.normal(0, 0.1, (20_000, 3))
    own -= own.mean(axis=1, keepdims=True)
    quality = 0.5 + shared + own + rng.normal(0, 0.3, own.shape)
    blend = Blend.fit(2.0 * shared + 4.0 * own, np.full(3, 0.5), quality)
    assert blend.common == pytest.approx(0.5, abs=0.02) and blend.specific == pytest.approx(0.25, abs=0.02)


def test_the_spread_is_how_far_estimates_are_off_beyond_luck():
    rng, n = np.random.default_rng(14), 6000
    batch = prompts(n, 14)
    vectors = rng.normal(size=(20, D))[rng.integers(0, 20, n)] + 0.05 * rng.normal(size=(n, D))
    batch = replace(batch, embedding=vectors.astype(np.float32))
    _, cell = np.unique(np.round(vectors[:, 0], 0), return_inverse=True)
    off = np.zeros(n)
    for topic in range(20):  # every topic's estimate is off by 0.1 one way or the other
        nearest = np.square(vectors - vectors[topic]).sum(axis=1) < 4.0
        off[nearest & (off == 0)] = rng.choice([-0.1, 0.1])
    world = drawn(np.full((n, 1), 0.5), batch)
    roster = Roster.of(world)
    roster.judge(world, 0.5 + off[:, None])
    assert roster.spread[0] == pytest.approx(0.1, abs=0.03)
    roster.judge(world, np.full((n, 1), 0.5))
    assert roster.spread[0] < 0.03


# ---------------------------------------------------------------- newcomers


def table_of_abilities(n: int = 3000, m: int = 12, seed: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ability, intercept = np.linspace(-1.0, 1.0, m), rng.normal(0.3, 1.5, n)
    slope = np.exp(rng.normal(0.4, 0.6, n))
    return (rng.random((n, m)) < sigmoid(intercept[:, None] + slope[:, None] * ability)).astype(float), slope


ONE_KIND = np.zeros(3000, dtype=np.int64)


def test_item_curves_find_the_prompts_that_tell_models_apart():
    quality, slope = table_of_abilities()
    assert corr(np.log(np.maximum(ItemCurves.of(quality, ONE_KIND).slope, 0.1)), np.log(slope)) > 0.4
    chosen = telling_prompts(quality, np.full(len(quality), np.nan), ONE_KIND, 200, np.random.default_rng(0))
    assert len(np.unique(chosen)) == 200 and slope[chosen].mean() > 1.3 * slope.mean()


def test_fifty_telling_answers_place_a_newcomer_better_than_the_mean_of_fifty_random_ones():
    quality, _ = table_of_abilities()
    plain, told = [], []
    for j in range(12):
        known, own, rng = np.delete(quality, j, axis=1), quality[:, j], np.random.default_rng(j)
        for _ in range(4):
            plain.append(own[rng.choice(len(own), 50, replace=False)].mean() - own.mean())
            answers = np.full(len(own), np.nan)
            for _ in range(5):
                rows = telling_prompts(known, answers, ONE_KIND, 10, rng)
                answers[rows] = own[rows]
            assert (~np.isnan(answers)).sum() == 50
            told.append(expected_scores(known, answers, ONE_KIND).mean() - own.mean())
    assert np.sqrt(np.mean(np.square(told))) < 0.7 * np.sqrt(np.mean(np.square(plain)))
    assert abs(np.mean(told)) < 0.02


def table_of_two_talents(seed: int, n: int = 2400, m: int = 10, kinds: int = 8) -> tuple[np.ndarray, ...]:
    """Half of the kinds ask for one talent, half for another; also the chance of success of every model by kind."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.arange(n) % kinds)
    talent = rng.normal(0.0, 1.0, (2, m))
    slope = np.exp(rng.normal(0.4, 0.6, n))
    odds = rng.normal(0.0, 1.0, n)[:, None] + slope[:, None] * talent[kind % 2]
    chance = np.stack([sigmoid(odds)[kind == k].mean(axis=0) for k in range(kinds)])
    return (rng.random((n, m)) < sigmoid(odds)).astype(float), kind, chance


def test_fifty_answers_tell_of_kinds_that_were_hardly_asked_where_known_models_show_that_kinds_go_together():
    alone, together, asked_well = [], [], []
    for seed in range(2):
        quality, kind, chance = table_of_two_talents(seed)
        first = np.array([int(np.argmax(kind == k)) for k in range(8)])
        for j in range(0, 10, 2):
            known, own, rng = np.delete(quality, j, axis=1), quality[:, j], np.random.default_rng([seed, j])
            random, chosen = np.full(len(own), np.nan), np.full(len(own), np.nan)
            rows = rng.choice(len(own), 50, replace=False)
            random[rows] = own[rows]
            for _ in range(5):
                rows = telling_prompts(known, chosen, kind, 10, rng)
                chosen[rows] = own[rows]
            alone.append(expected_scores(known, random, np.zeros_like(kind)).mean() - chance[:, j])
            together.append(expected_scores(known, random, kind)[first] - chance[:, j])
            asked_well.append(expected_scores(known, chosen, kind)[first] - chance[:, j])
    error = [float(np.sqrt(np.mean(np.square(off)))) for off in (alone, together, asked_well)]
    assert error[1] < 0.7 * error[0] and error[2] < 0.95 * error[1]


def test_every_router_that_learns_from_prompts_is_guarded_against_unknown_kinds() -> None:
    unguarded = {name for name in ROUTERS if "novelty/transfer" not in fitted(name, n=600).state().arrays}
    assert unguarded == {"static"}, "its contract of unknown kinds is skipped for one without a guard"
