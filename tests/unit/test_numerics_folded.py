"""What predicts is what was fitted: the folded products give the same numbers as the views one by one."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.analysis import Analyzer
from equipoise.analysis.window import word_tokens
from equipoise.numerics.folded import Folded
from equipoise.numerics.novelty import Novelty
from equipoise.numerics.views import VIEWS, FittedView
from equipoise.types import FeatureBatch, Floats

WORDS = "the sum of two numbers is 12 what poem sings? Write `code`: x = 3; list, river and stone. Prove it".split()
MODELS = 3
ALL = ("embedding", "lexical", "structure")


@pytest.fixture(scope="module")
def batch() -> FeatureBatch:
    rng = np.random.default_rng(0)
    return Analyzer().analyze_batch([" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(160)])


def fitted(batch: FeatureBatch, names: tuple[str, ...]) -> list[FittedView]:
    y = np.random.default_rng(1).normal(0, 0.3, (len(batch), MODELS))
    views = []
    for name in names:
        view = VIEWS[name]()
        x = view.fit_basis(batch).matrix(batch)
        views.append(FittedView(view, view.fitted(view.solve(x, y, np.ones(y.shape, dtype=bool))[0]), 1.0))
    return views


def plainly(views: list[FittedView], batch: FeatureBatch, mix: Floats) -> Floats:
    """Every view by its own definition: its matrix times weights for standardised columns."""
    total = np.zeros((len(batch), MODELS))
    for f in views:
        raw = f.view.matrix(batch) if f.view.name == "lexical" else f.view.raw(batch)  # type: ignore[attr-defined]
        total += raw @ f.fitted.weights + f.fitted.bias
    return total @ mix


@pytest.mark.parametrize("names", [ALL, ("embedding",), ("lexical",), ("structure",), ("lexical", "structure")])
@pytest.mark.parametrize("guarded", [True, False])
def test_folded_views_predict_as_they_do_one_by_one(batch: FeatureBatch, names: tuple[str, ...], guarded: bool) -> None:
    seen, new = batch.take(np.arange(120)), batch.take(np.arange(120, 160))
    views, mix = fitted(seen, names), np.eye(MODELS) * 0.7 + 0.1
    novelty = Novelty.fit(seen, np.arange(len(seen)), np.zeros((len(seen), MODELS))) if guarded else None
    folded = Folded.of(views, mix, novelty)
    deviation, trust = folded.apply(new)
    assert np.allclose(deviation + folded.bias, plainly(views, new, mix), atol=1e-5)
    assert (trust is None) == (novelty is None)
    assert novelty is None or np.allclose(trust, novelty.trust(new), atol=1e-2)


def test_one_prompt_gets_what_it_gets_among_others(batch: FeatureBatch) -> None:
    folded = Folded.of(
        fitted(batch, ALL), np.eye(MODELS), Novelty.fit(batch, np.arange(len(batch)), np.zeros((len(batch), MODELS)))
    )
    together, _ = folded.apply(batch)
    for i in range(0, len(batch), 20):
        assert np.allclose(folded.apply(batch.take(np.array([i])))[0][0], together[i], atol=1e-6)


@given(st.text())
def test_words_are_runs_of_letters_and_digits(text: str) -> None:
    assert word_tokens(text) == re.findall(r"[^\W_]+", text.lower())
