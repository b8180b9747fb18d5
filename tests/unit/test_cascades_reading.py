"""Answers that say the same are found to say the same, however they are worded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.cascades.reading import read_answer, same_answers


def same(*replies: str) -> list[int]:
    return same_answers([read_answer(reply) for reply in replies])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "The capital of France is Paris."),
        ("Paris", "paris!"),
        ("Brasília", "Brasilia"),
        ("48", "Bella has 48 pages left."),
        ("1,200", "1200.0"),
        ("Answer: yes", "Yes, it is a leap year."),
        ('{"from": "Oslo", "n": 3}', 'Here you are:\n```json\n{"n": "3", "from": "oslo"}\n```'),
        (
            "def f(a, b):\n    return a + b",
            'Sure:\n```python\ndef f(x: int, y: int):\n    """Adds."""\n    return x + y\n```',
        ),
        ("We add: 3 + 4 = 7.\nAnswer: 7", "7"),
    ],
)
def test_the_same_answer_in_other_words_is_the_same(one: str, other: str) -> None:
    assert same(one, other) == [0, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "Lyon"),
        ("48", "-48"),
        ("48", "There are 47 pages left."),
        ("yes", "no"),
        ('{"from": "Oslo"}', '{"from": "Rome"}'),
        ("def f(a):\n    return a + 1", "def f(a):\n    return a - 1"),
        ("def f(a):\n    return a", "def g(a):\n    return a"),
    ],
)
def test_other_answers_are_others(one: str, other: str) -> None:
    assert same(one, other) == [0, 1]


def test_silence_agrees_with_nothing_not_even_silence() -> None:
    assert same("", "  \n", "Paris", "") == [-1, -1, 0, -1]


def test_long_texts_are_compared_by_their_words() -> None:
    text = "the quick brown fox jumps over the lazy dog and runs away into the dark old forest to sleep until " * 2
    near = text.replace("dark", "deep")
    far = "a letter arrived on tuesday from the ministry of finance concerning an old unpaid tax on windows " * 2
    assert same(text, near, far) == [0, 0, 1]


@pytest.mark.parametrize("reply", ["I'm sorry, I cannot help with that.", "As an AI, I don't know."])
def test_refusals_are_seen(reply: str) -> None:
    assert read_answer(reply).refused
    assert not read_answer("Paris").refused


def test_code_that_does_not_parse_is_not_parsed() -> None:
    assert not read_answer("def f(:\n  return").parsed
    assert read_answer("def f():\n    return 1").parsed


@given(st.text(max_size=400))
def test_reading_never_raises(reply: str) -> None:
    reading = read_answer(reply)
    assert reading.words == len(reply.split())
    assert same_answers([reading, reading]) in ([0, 0], [-1, -1])


def test_numbers_that_no_float_holds_are_read() -> None:
    assert read_answer('{"x": 1' + "0" * 400 + "}").kind == "json"


def test_what_a_model_thought_says_nothing() -> None:
    assert same("<think>Lyon? No.</think>Paris", "Paris", "<think>Paris, so far") == [0, 0, -1]


@pytest.mark.parametrize("piece", ["{", "[1, ", "def f(", "= ", "is ", "``` ", "9" * 40 + " "])
def test_a_very_long_reply_is_read_all_the_same(piece: str) -> None:
    assert read_answer(piece * 20_000).words >= 1
