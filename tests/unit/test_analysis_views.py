"""Windows, counts, and the structural, linguistic and lexical views."""

from __future__ import annotations

from collections import Counter
from math import log
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.analysis import LINGUISTIC_NAMES, STRUCTURE_NAMES
from equipoise.analysis.lexical import MAX_TERMS, WIDTH, lexical_rows
from equipoise.analysis.linguistic import linguistic_features
from equipoise.analysis.structure import Sizes, structure_features
from equipoise.analysis.tokens import EXACT_BYTES, count_tokens
from equipoise.analysis.vocabulary import parse_vocabulary
from equipoise.analysis.window import MAX_BYTES, clean, count_words, window, word_tokens


def structure(text: str) -> dict[str, float]:
    (values,) = structure_features([text], [word_tokens(text)], [Sizes(len(text.split()), len(text), 10)])
    assert values.dtype == np.float32
    return dict(zip(STRUCTURE_NAMES, values.tolist(), strict=True))


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "é", "word", " ", "\n", "\u3000", "\u2003", "\x1c", "\x00", "中", "😀"]), max_size=60
    )
)
def test_words_are_counted_as_split_does_at_any_size(parts: list[str]) -> None:
    text = "".join(parts)
    assert count_words(text) == len(text.split())
    long = text + "x" * 20_001 + text
    assert count_words(long) == len(long.split())


def test_a_window_keeps_both_ends_and_is_bounded() -> None:
    text = "start " + "x" * 1_000_000 + " end"
    part = window(text)
    assert len(part) == 4000
    assert part.startswith("start ")
    assert part.endswith(" end")
    assert window("short") == "short"
    assert len(window("😀" * 100_000).encode()) <= MAX_BYTES + 8
    assert len(window("中" * 4000).encode()) <= MAX_BYTES + 8


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=40))
def test_a_clean_text_can_always_be_encoded(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert len(cleaned) == len(text)
    assert clean(cleaned) == cleaned


def test_tokens_are_exact_until_the_limit_and_close_beyond() -> None:
    assert count_tokens("") == 0
    assert count_tokens("hello world") == 2
    assert count_tokens("<|endoftext|>") > 1
    sentence = "The quick brown fox jumps over the lazy dog. "
    one = count_tokens(sentence * 10) / 10
    text = sentence * (EXACT_BYTES // len(sentence) * 3)
    assert count_tokens(text) == pytest.approx(one * len(text) / len(sentence), rel=0.02)


def test_the_tokens_of_a_huge_text_are_counted_without_a_copy_of_it() -> None:
    class Huge(str):
        def encode(self, *_: str) -> bytes:
            raise AssertionError("to encode hundreds of megabytes takes a second")

    assert count_tokens(Huge("one two " * EXACT_BYTES)) == pytest.approx(2 * EXACT_BYTES, rel=0.01)


def test_the_ten_linguistic_features_come_in_their_order() -> None:
    text = "HELLO world, hello! Is 12 or 345 more? Yes."
    expected = [9, len(text), 9, 1.0, 4, 2.25, 1, 1, 2, 4]
    assert linguistic_features(text, 9, len(text)).tolist() == expected
    assert len(LINGUISTIC_NAMES) == 10
    assert linguistic_features("", 0, 0).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert linguistic_features("a a b", 3, 5)[3] == pytest.approx(1.5)


def test_structure_sees_code_options_lists_and_questions() -> None:
    code = structure("```python\ndef f(x):\n    return x[0] == 1\n```")
    assert code["code_fences"] > 0
    assert code["log_code_marks"] > 0
    assert code["bracket_share"] > 0
    options = structure("Which is right?\nA. one\nB. two\n(C) three")
    assert options["log_options"] == pytest.approx(np.log1p(3))
    assert options["log_questions"] == pytest.approx(np.log1p(1))
    assert options["wh_other"] == 1
    assert structure("- one\n- two\n3) three")["log_list_items"] == pytest.approx(np.log1p(3))
    assert structure("Solve $x^2$ and \\frac{1}{2}")["latex"] == pytest.approx(np.log1p(2))
    assert structure("Translate this")["starts_imperative"] == 1
    assert structure("How is 1234567 written?")["largest_number_digits"] == 7
    assert structure("What's up? ")["ends_with_question"] == 1


@settings(deadline=None)
@given(st.text(max_size=200))
def test_structure_is_finite_for_any_text(text: str) -> None:
    assert all(np.isfinite(list(structure(clean(text)).values())))


def test_a_lexical_row_holds_words_and_pairs_with_sublinear_counts() -> None:
    row = lexical_rows([["the", "cat", "the", "cat"]])
    terms = Counter(crc32(t) % WIDTH for t in (b"the", b"cat", b"the", b"cat", b"the cat", b"cat the", b"the cat"))
    assert row.indices.tolist() == sorted(terms)
    assert row.values.tolist() == pytest.approx([1 + log(terms[c]) for c in sorted(terms)])
    assert (len(row), row.width) == (1, WIDTH)
    assert len(lexical_rows([[]]).indices) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["the", "cat", "sat", "é"]), max_size=6), min_size=1, max_size=5))
def test_lexical_rows_are_those_of_each_text_by_itself(texts: list[list[str]]) -> None:
    rows = lexical_rows(texts)
    assert len(rows) == len(texts)
    for i, words in enumerate(texts):
        row, alone = rows.row(i), lexical_rows([words])
        assert row.indptr.tolist() == alone.indptr.tolist()
        assert row.indices.tolist() == alone.indices.tolist()
        assert row.values.tolist() == alone.values.tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=0, max_value=5000))
def test_a_lexical_row_is_bounded_and_sorted(n: int) -> None:
    row = lexical_rows([[f"w{i}" for i in range(n)]])
    assert len(row.indices) <= MAX_TERMS
    assert np.all(np.diff(row.indices) > 0)
    assert row.indptr.tolist() == [0, len(row.indices)]


def test_cue_words_count_singulars_plurals_and_the_first_word() -> None:
    vocabulary = parse_vocabulary("# comment\nfruit: apple pear\ncolour: red pear\n")
    cues = vocabulary.cues([["apples", "red", "pear", "pear", "stone"], [], ["red"]])
    assert cues[0].tolist() == pytest.approx([np.log1p(2), np.log1p(2), 1, 0])
    assert cues[1].tolist() == [0, 0, 0, 0]
    assert cues[2].tolist() == pytest.approx([0, np.log1p(1), 0, 1])
