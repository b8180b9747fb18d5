"""Ridge regression against its closed form, folds that keep groups together, and the novelty guard."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from equipoise.numerics.caution import Caution, transfer
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.novelty import Novelty, novelty_arrays
from equipoise.numerics.ridge import dense_path, sparse_weights
from equipoise.numerics.stacking import spreads
from tests.contracts.conftest import make_batch


def closed_form(x, y, observed, penalty):
    weights = np.zeros((x.shape[1], y.shape[1]))
    for j in range(y.shape[1]):
        part = x[observed[:, j]]
        weights[:, j] = np.linalg.solve(part.T @ part + penalty * np.eye(x.shape[1]), part.T @ y[observed[:, j], j])
    return weights


def problem(seed, n=40, d=12, m=3, missing=0.3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.5)
    observed = rng.random((n, m)) >= missing
    return x, np.where(observed, rng.normal(size=(n, m)), 0.0), observed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.sampled_from([0.0, 0.3, 0.9]))
def test_dense_ridge_is_the_closed_form_with_missing_cells(seed, penalty, missing):
    x, y, observed = problem(seed, missing=missing)
    assert np.allclose(dense_path(x, y, observed, [penalty])[0], closed_form(x, y, observed, penalty), atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 20), st.sampled_from([0.0, 0.3, 0.9]))
def test_sparse_ridge_predicts_as_the_closed_form_to_a_percent(seed, penalty, missing):
    x, y, observed = problem(seed, missing=missing)
    weights, dual = sparse_weights(csr_matrix(x), y, observed, penalty)
    exact = x @ closed_form(x, y, observed, penalty)
    assert np.abs(x @ weights - exact).max() <= 0.01 * max(np.abs(exact).max(), np.abs(y).max())
    assert np.all(dual[~observed] == 0)


def test_a_warm_start_gives_the_same_weights():
    x, y, observed = problem(3)
    _, dual = sparse_weights(csr_matrix(x), y, observed, 10.0)
    warm, _ = sparse_weights(csr_matrix(x), y, observed, 1.0, start=dual)
    cold, _ = sparse_weights(csr_matrix(x), y, observed, 1.0)
    assert np.allclose(warm, cold, atol=0.02)


@given(st.lists(st.integers(0, 15), min_size=5, max_size=80), st.integers(2, 5))
def test_rows_of_one_group_share_a_fold(groups, k):
    folds = grouped_folds(np.array(groups), k)
    assert all(len({f for g, f in zip(groups, folds, strict=True) if g == name}) == 1 for name in set(groups))
    assert set(folds) <= set(range(k))


def kinds_of_prompts(kinds, seed):
    """Prompts whose embedding tells which of up to 16 kinds they are of."""
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(len(kinds), 16)) * 0.2
    embedding[np.arange(len(kinds)), kinds] += 1.5
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    return replace(make_batch(np.zeros(len(kinds), dtype=int), seed), embedding=embedding.astype(np.float32))


class TestTheNoveltyGuard:
    level = np.array([0.8, 0.6, 0.5])
    caution = Caution.of(level, 0.1)

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1))
    def test_it_never_raises_an_estimate_nor_moves_the_best_model(self, estimate, trust):
        before = np.array([estimate])
        after = self.caution.apply(before, np.array([[trust]]))
        assert after[0, 0] == before[0, 0]
        assert np.all(after <= before + 1e-12)

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    def test_with_full_trust_nothing_changes(self, estimate):
        before = np.array([estimate])
        assert np.allclose(self.caution.apply(before, np.array([[1.0]])), before)

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    def test_without_trust_nothing_is_lifted_above_the_best(self, estimate):
        after = self.caution.apply(np.array([estimate]), np.array([[0.0]]))
        assert after[0].argmax() == 0

    def test_on_an_unknown_kind_a_model_is_expected_to_do_what_it_does_overall_but_for_what_carries_over(self):
        claim, unsure = np.array([[0.7, 0.75, 0.7]]), np.array([[0.5]])
        level = np.array([0.8, 0.78, 0.5])
        assert Caution.of(level, 0.0).apply(claim, unsure)[0, 1] == pytest.approx(0.7 + (0.05 - 0.02) / 2)
        assert Caution.of(level, 1.0).apply(claim, unsure)[0, 1] == pytest.approx(0.75)
        assert Caution.of(np.array([0.8, 0.6, 0.5]), 0.0).apply(claim, unsure)[0].argmax() == 0

    def test_trust_falls_with_distance_and_survives_storage(self):
        known, quality = make_batch(np.arange(400) % 2, seed=1), np.full((400, 2), 0.5)
        novelty = Novelty.fit(known, np.arange(400), quality)
        usual = make_batch(np.arange(200) % 2, seed=2)
        strange = make_batch(np.arange(200) % 2, seed=3)
        strange.structure[:] += 50.0
        assert novelty.trust(usual).mean() > 0.8
        assert novelty.trust(strange).max() == 0.0
        again = Novelty.restore(novelty_arrays(novelty))
        assert np.array_equal(again.trust(usual), novelty.trust(usual))

    def test_prompts_of_kinds_that_were_there_are_trusted_more_than_prompts_of_one_that_was_not(self):
        kinds = np.arange(900) % 9
        world, quality = kinds_of_prompts(kinds, 4), np.full((900, 2), 0.5)
        there = np.flatnonzero(kinds < 8)
        seen, unseen = there[:600], np.flatnonzero(kinds == 8)
        novelty = Novelty.fit(world.take(seen), seen, quality[seen], kinds[seen])
        assert novelty.trust(world.take(there[600:])).mean() > novelty.trust(world.take(unseen)).mean() + 0.3

    def test_prompts_that_lie_between_two_kinds_are_trusted_less_than_prompts_of_either(self):
        kinds = np.arange(900) % 9
        world, quality = kinds_of_prompts(kinds, 4), np.full((900, 2), 0.5)
        novelty = Novelty.fit(world, np.arange(900), quality, kinds)
        between = kinds_of_prompts(np.zeros(100, dtype=int), 7)
        between.embedding[:, 1] += between.embedding[:, 0]
        between.embedding[:] /= np.linalg.norm(between.embedding, axis=1, keepdims=True)
        assert novelty.trust(world).mean() > novelty.trust(between).mean() + 0.3

    def test_where_all_prompts_are_near_duplicates_nothing_is_known_to_be_strange(self):
        batch = kinds_of_prompts(np.zeros(120, dtype=int), 6)
        novelty = Novelty.fit(batch, np.zeros(120, dtype=int), np.full((120, 2), 0.5))
        assert novelty.trust(batch).min() == 1.0

    def test_with_few_prompts_there_is_no_guard(self):
        assert Novelty.fit(make_batch([0, 1] * 20), np.arange(40), np.full((40, 2), 0.5)) is None


class TestWhatCarriesOverToUnknownKinds:
    kinds = np.arange(3000) % 10
    x = np.random.default_rng(0).normal(size=(3000, 8)) + 2.0 * np.eye(10, 8)[kinds]

    def measured(self, lead):
        chance = np.stack([np.full(3000, 0.5), 0.5 + lead], axis=1)
        return (np.random.default_rng(1).random(chance.shape) < chance).astype(float)

    def transfer(self, quality):
        return transfer(self.x, np.arange(3000), self.kinds, quality)

    def test_a_difference_that_follows_the_same_rule_everywhere_carries_over(self):
        assert self.transfer(self.measured(np.clip(0.15 * self.x[:, 0], -0.4, 0.4))) > 0.6

    def test_a_difference_that_every_kind_has_for_itself_does_not(self):
        swing = np.random.default_rng(3).choice([-0.3, 0.3], 10)[self.kinds]
        assert self.transfer(self.measured(swing)) == 0.0

    def test_where_nothing_differs_nothing_carries_over(self):
        assert self.transfer(self.measured(np.zeros(3000))) < 0.5

    def test_missing_cells_and_models_never_measured_are_left_out(self):
        quality = self.measured(np.clip(0.15 * self.x[:, 0], -0.4, 0.4))
        quality[np.random.default_rng(2).random(quality.shape) < 0.2] = np.nan
        assert self.transfer(np.column_stack([quality, np.full(3000, np.nan)])) > 0.5

    def test_one_model_or_one_kind_says_nothing(self):
        quality = self.measured(np.clip(0.15 * self.x[:, 0], -0.4, 0.4))
        assert self.transfer(quality[:, :1]) == 0.0
        assert transfer(self.x, np.arange(3000), np.zeros(3000, dtype=int), quality) == 0.0


def test_the_spread_is_stretched_until_it_covers_the_cells_that_are_far_off() -> None:
    off = np.where(np.arange(20) < 4, 0.3, 0.0)  # of which a standard deviation covers but four fifths
    cells = np.repeat(np.arange(20), 200)
    residual = off[cells][:, None] + np.tile([0.01, -0.01], 2000)[:, None]
    (spread,) = spreads(residual, np.ones(residual.shape, dtype=bool), cells)
    assert 1.645 * off.std() < 0.3 < 1.645 * spread < 0.45
