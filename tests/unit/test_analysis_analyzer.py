"""The analyzer: needs, presets, batches, and texts that break things."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from time import thread_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.analysis import ALL, LINGUISTIC_NAMES, STRUCTURE_NAMES, Analyzer
from equipoise.analysis.embedders import static_embedder
from equipoise.errors import ContractError, UnknownName
from equipoise.types import DOMAINS, TASKS, FeatureBatch, Features, Request, Singles

PROMPTS = (
    "Write a Python function that returns the two largest values of a list.",
    "URGENT: analyze this quarterly report, it is critical",
    "hi",
    "What is 17 * 24? A. 408 B. 400",
)
NASTY = (
    "",
    " \n\t ",
    "\x00",
    "\ud800 lone",
    "😀" * 50,
    "שלום עולם",
    "a" * 5000,
    "<s> <|endoftext|>",
    "\u2581",
    "x\u0300",
)
ANYTHING = st.characters(codec=None, exclude_categories=())  # lone surrogates too
ANALYZERS = (Analyzer(), Analyzer.notebook())


def same(a: Features, b: Features) -> bool:
    for field in fields(Features):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name == "lexical":
            if not (np.array_equal(x.indices, y.indices) and np.array_equal(x.values, y.values)):
                return False
        elif isinstance(x, np.ndarray):
            if x.tobytes() != y.tobytes():
                return False
        elif x != y:
            return False
    return True


def row(batch: FeatureBatch, i: int) -> Features:
    one = batch.take(np.array([i]))
    values = {f.name: getattr(one, f.name) for f in fields(Features)}
    values["warm"] = values["warm"] or [None]
    return Features(**{k: v if k == "lexical" else v[0] for k, v in values.items()})


def test_only_what_is_needed_is_filled() -> None:
    for needs in (frozenset[str](), frozenset({"embedding"}), frozenset({"structure", "lexical"}), ALL):
        features = Analyzer().analyze(Request(text=PROMPTS[0]), needs)
        assert {name for name in ALL if getattr(features, name) is not None} == needs
        assert features.input_tokens > 0


def test_shapes_and_ranges() -> None:
    f = Analyzer().analyze(Request(text=PROMPTS[0]))
    assert f.embedding is not None and f.structure is not None and f.linguistic is not None
    assert f.embedding.shape == (256,) and np.linalg.norm(f.embedding) == pytest.approx(1, abs=1e-5)
    assert f.structure.shape == (len(STRUCTURE_NAMES),)
    assert f.linguistic.shape == (len(LINGUISTIC_NAMES),)
    assert (f.domain, f.task_type) == ("code", "generation")
    assert f.words == 13


def test_an_unknown_need_is_refused() -> None:
    with pytest.raises(UnknownName, match="embedding"):
        Analyzer().analyze(Request(text="x"), frozenset({"embeding"}))
    with pytest.raises(UnknownName):
        Analyzer().analyze_batch(["x"], frozenset({"colour"}))


def test_what_the_request_says_goes_before_what_is_guessed() -> None:
    guessed = Analyzer().analyze(Request(text=PROMPTS[1]))
    assert (guessed.quality_requirement, guessed.urgency) == ("high", "urgent")
    said = Analyzer().analyze(Request(text=PROMPTS[1], quality_requirement="low", urgency="batch", max_output_tokens=3))
    assert (said.quality_requirement, said.urgency, said.output_tokens) == ("low", "batch", 3.0)


def test_the_notebook_preset_follows_the_plain_formulas() -> None:
    f = Analyzer.notebook().analyze(Request(text="Write a simple Python function to add two numbers"))
    assert (f.words, f.domain, f.task_type, f.quality_requirement) == (9, "code", "generation", "low")
    assert f.input_tokens == pytest.approx(11.7)
    assert f.output_tokens == pytest.approx(27 * 1.3)
    assert f.complexity == 0.0
    assert f.difficulty == pytest.approx(0.3 * 0.8 + 0.2 * 9 / 50)


@pytest.mark.parametrize("analyzer", ANALYZERS)
def test_a_batch_is_bit_for_bit_the_single_rows(analyzer: Analyzer) -> None:
    texts = [*PROMPTS, *NASTY, "long " * 3000]
    batch = analyzer.analyze_batch(texts)
    assert len(batch) == len(texts)
    for i, text in enumerate(texts):
        assert same(row(batch, i), analyzer.analyze(Request(text=text)))


def test_an_empty_batch_is_a_batch() -> None:
    assert len(Analyzer().analyze_batch([])) == 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet=ANYTHING, max_size=120), min_size=1, max_size=3))
def test_no_text_crashes_and_the_result_is_always_the_same(texts: list[str]) -> None:
    for analyzer in ANALYZERS:
        batch = analyzer.analyze_batch(texts)
        for i, text in enumerate(texts):
            f = analyzer.analyze(Request(text=text))
            assert same(f, row(batch, i))
            assert f.domain in DOMAINS and f.task_type in TASKS
            assert 0 <= f.complexity <= 1 and 0 <= f.difficulty <= 1 and 1 <= f.output_tokens <= 8192
            assert f.embedding is not None and np.isfinite(f.embedding).all()
            f.text.encode()


@pytest.mark.parametrize("unit", ["word ", "a", "😀", "中", " ", "שלום ", "!?(", " A. "])
def test_a_huge_prompt_takes_bounded_time(unit: str) -> None:
    analyzer = Analyzer()
    analyzer.analyze(Request(text="load everything first"))
    text = (unit * (1_000_000 // len(unit.encode()) + 1))[:1_000_000]
    took = []
    for _ in range(3):
        start = thread_time()
        f = analyzer.analyze(Request(text=text))
        took.append(thread_time() - start)
    assert min(took) < 0.25  # some 10 to 30 ms on an idle core
    assert f.words == len(text.split())
    assert len(f.text) <= 4000


class _Zeros:
    version = "zeros-1"
    dimension = 3

    def embed(self, texts: list[str]) -> Singles:
        return np.zeros((len(texts), 3), dtype=np.float32)


def test_another_embedder_changes_the_embedding_and_nothing_else() -> None:
    other, usual = Analyzer(embedder=_Zeros()), Analyzer()  # type: ignore[arg-type]
    a, b = other.analyze(Request(text=PROMPTS[0])), usual.analyze(Request(text=PROMPTS[0]))
    assert a.embedding is not None and a.embedding.shape == (3,)
    assert (a.domain, a.task_type, a.output_tokens) == (b.domain, b.task_type, b.output_tokens)
    assert other.version != usual.version


def test_an_embedder_that_gives_other_vectors_than_it_says_is_named() -> None:
    class _Fewer(_Zeros):
        def embed(self, texts: list[str]) -> Singles:
            return super().embed(texts[1:])

    with pytest.raises(ContractError, match=r"embedder 'zeros-1' gives vectors of shape \(1, 3\), not \(2, 3\)"):
        Analyzer(embedder=_Fewer()).analyze_batch(["one", "two"], frozenset({"embedding"}))


def test_the_version_tells_apart_what_changes_features() -> None:
    versions = {Analyzer().version, Analyzer.notebook().version, Analyzer(tokens="words").version}
    assert len(versions) == 3
    assert Analyzer().version == Analyzer(embedder=static_embedder()).version


def test_features_of_fixed_prompts_have_not_changed() -> None:
    """If this fails on purpose, raise ``_FORMAT`` in analyzer.py together with the hash here."""
    batch = Analyzer(domain="keywords", output_length="ratio").analyze_batch(PROMPTS)
    assert batch.structure is not None and batch.linguistic is not None and batch.lexical is not None
    parts = [
        np.round(batch.structure.astype(float), 4).tolist(),
        np.round(batch.linguistic, 4).tolist(),
        batch.lexical.indices.tolist(),
        batch.input_tokens.tolist(),
        np.round(batch.output_tokens, 4).tolist(),
        np.round(batch.complexity, 4).tolist(),
        batch.domain.tolist(),
    ]
    assert hashlib.sha256(repr(parts).encode()).hexdigest()[:16] == "9c7261049ce48c2f"
