"""Ridge regression against its closed form, folds that keep groups together, and the novelty guard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.novelty import Novelty, cautious, novelty_arrays
from equipoise.numerics.ridge import dense_path, sparse_weights
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


class TestTheNoveltyGuard:
    level = np.array([0.8, 0.6, 0.5])

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1))
    def test_it_never_raises_an_estimate_nor_moves_the_best_model(self, estimate, trust):
        before = np.array([estimate])
        after = cautious(before, self.level, np.array([[trust]]))
        assert after[0, 0] == before[0, 0]
        assert np.all(after <= before + 1e-12)

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    def test_with_full_trust_nothing_changes(self, estimate):
        before = np.array([estimate])
        assert np.allclose(cautious(before, self.level, np.array([[1.0]])), before)

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    def test_without_trust_nothing_is_lifted_above_the_best(self, estimate):
        after = cautious(np.array([estimate]), self.level, np.array([[0.0]]))
        assert after[0].argmax() == 0

    def test_trust_falls_with_distance_and_survives_storage(self):
        known = make_batch(np.arange(400) % 2, seed=1)
        novelty = Novelty.fit(known)
        usual = make_batch(np.arange(200) % 2, seed=2)
        strange = make_batch(np.arange(200) % 2, seed=3)
        strange.structure[:] += 50.0
        assert novelty.trust(usual).mean() > 0.5
        assert novelty.trust(strange).max() == 0.0
        again = Novelty.restore(novelty_arrays(novelty))
        assert np.array_equal(again.distance(usual), novelty.distance(usual))

    def test_with_few_prompts_there_is_no_guard(self):
        assert Novelty.fit(make_batch([0, 1] * 20)) is None
        assert cautious(np.ones((1, 3)), self.level, None) == pytest.approx(1.0)
