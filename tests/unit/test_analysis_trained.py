"""The trained parts: classifier and output length."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.analysis import STRUCTURE_NAMES, Analyzer
from equipoise.analysis.classifier import bundled_classifier, load_classifier
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.lexical import WIDTH, lexical_rows
from equipoise.analysis.output_length import bounded, fit_output_length, load_output_length
from equipoise.analysis.vocabulary import bundled_vocabulary, parse_vocabulary
from equipoise.errors import NotEnoughData, StateError
from equipoise.types import DOMAINS, Request


@pytest.mark.parametrize(
    ("text", "domain", "task"),
    [
        ("Write a SQL query that lists the ten best customers", "code", "generation"),
        ("Compose a poem about a lonely lighthouse", "creative", "generation"),
        ("Solve 3x + 4 = 19 for x", "reasoning", "problem_solving"),
        ("Evaluate the strengths and weaknesses of our market strategy", "analysis", "analysis"),
        ("What is the capital of Norway?", "general", "explanation"),
        ("Translate into French: good evening", "general", "transformation"),
        ("hello, how are you", "general", "general"),
    ],
)
def test_plain_prompts_get_their_labels(text: str, domain: str, task: str) -> None:
    features = Analyzer().analyze(Request(text=text))
    assert (features.domain, features.task_type) == (domain, task)


def test_the_bundled_weights_belong_to_the_bundled_embedder() -> None:
    assert bundled_classifier().embedder == static_embedder().version


def test_a_broken_weights_file_is_refused() -> None:
    vocabulary = bundled_vocabulary()
    for raw in (b"", b"PK\x03\x04 not a zip", b"text"):
        with pytest.raises(StateError, match="x.npz"):
            load_classifier(raw, vocabulary, where="x.npz")
    buffer = io.BytesIO()
    np.savez(buffer, semantic=np.zeros(3))
    with pytest.raises(StateError):
        load_classifier(buffer.getvalue(), vocabulary, where="x.npz")


def stored(**changes: np.ndarray) -> bytes:
    """The bundled weights as a file, with some arrays replaced."""
    c = bundled_classifier()
    columns = np.flatnonzero(c.rows).astype(np.int32)
    arrays = {"columns": columns, "lexical": c.lexical[c.rows[columns]], "embedder": np.str_(c.embedder)}
    for name in ("dense", "forms", "bias", "mean", "scale"):
        arrays[name] = getattr(c, name)
    buffer = io.BytesIO()
    np.savez(buffer, **{**arrays, **changes})
    return buffer.getvalue()


def test_weights_of_another_vocabulary_are_refused() -> None:
    c = bundled_classifier()
    again = load_classifier(stored(), c.vocabulary, where="x")
    assert np.array_equal(again.lexical, c.lexical) and np.array_equal(again.rows, c.rows)
    with pytest.raises(StateError, match="wrong shape"):
        load_classifier(stored(), parse_vocabulary("one: word"), where="x")


def test_columns_that_no_text_can_have_are_refused() -> None:
    columns = np.full(len(bundled_classifier().lexical) - 1, -1)
    with pytest.raises(StateError, match="wrong shape"):
        load_classifier(stored(columns=columns), bundled_vocabulary(), where="x")


def test_words_that_training_did_not_see_weigh_nothing() -> None:
    c = bundled_classifier()
    unseen = np.flatnonzero(c.rows == 0)
    assert len(unseen) > WIDTH / 2 and not c.lexical[c.rows[unseen]].any()


def test_a_form_weighs_two_inputs_together() -> None:
    c = bundled_classifier()
    views = (
        [[]],
        static_embedder().embed(["a question"]),
        np.zeros((1, len(STRUCTURE_NAMES)), dtype=np.float32),
        lexical_rows([[]]),
    )
    flat = load_classifier(stored(forms=np.zeros_like(c.forms)), c.vocabulary, where="x")
    eager = np.zeros_like(c.forms)
    size = c.forms.shape[1]
    last = len(DOMAINS) - 1
    eager[last * size : (last + 1) * size] = 1e6 * np.eye(size)
    tilted = load_classifier(stored(forms=eager), c.vocabulary, where="x")
    ((domain, task),) = tilted.labels(*views)
    assert domain == DOMAINS[last]
    assert task == flat.labels(*views)[0][1]


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    structure = rng.normal(size=(n, len(STRUCTURE_NAMES))).astype(np.float32)
    embedding = rng.normal(size=(n, 8)).astype(np.float32) / 3
    tokens = np.exp(4 + structure[:, 0] + embedding[:, 0] + 0.05 * rng.normal(size=n))
    return structure, embedding, tokens


def test_output_length_learns_what_is_there_to_learn() -> None:
    structure, embedding, tokens = sample(800)
    model = fit_output_length(structure[:600], embedding[:600], tokens[:600], embedder="e", penalty=1.0)
    said = np.array([model.predict(s, e) for s, e in zip(structure[600:], embedding[600:], strict=True)])
    assert np.median(np.abs(np.log(said / tokens[600:]))) < 0.1


def test_output_length_survives_its_file_bit_for_bit() -> None:
    structure, embedding, tokens = sample(200)
    model = fit_output_length(structure, embedding, tokens, embedder="e")
    again = load_output_length(model.to_bytes(), where="x")
    assert again.predict(structure[0], embedding[0]) == model.predict(structure[0], embedding[0])
    assert (again.version, again.embedder) == (model.version, "e")


def test_output_length_needs_enough_known_rows() -> None:
    structure, embedding, tokens = sample(100)
    tokens[30:] = np.nan
    with pytest.raises(NotEnoughData, match="got 30"):
        fit_output_length(structure, embedding, tokens, embedder="e")
    with pytest.raises(StateError):
        load_output_length(b"junk", where="x")


@settings(deadline=None)
@given(st.floats(allow_nan=False))
def test_a_predicted_length_is_always_within_bounds(tokens: float) -> None:
    assert 1 <= bounded(tokens) <= 8192
