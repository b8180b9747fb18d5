"""What is remembered of the last prompts changes nothing but the time."""

from __future__ import annotations

import copy
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest

from equipoise.analysis import ALL, Analyzer, Recent
from equipoise.analysis.recent import LONGEST, MOST_PROMPTS
from equipoise.api import pool_engine
from equipoise.types import Features, Request, Warm

PROMPTS = ["What is 17 * 23?", "Write a poem about rain, asap please.", "Fix `f(x)`; it must be of high quality."]


class Counting:
    """An analyzer that notes which texts it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._analyzer = Analyzer()

    def texts(self, texts, needs):
        self.asked += texts
        return self._analyzer.texts(texts, needs)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def recent(counting) -> Recent:
    return Recent(counting, frozenset({"structure"}))


def same(left: Features, right: Features) -> bool:
    for name in Features.__slots__:
        one, two = getattr(left, name), getattr(right, name)
        if name == "lexical":
            equal = np.array_equal(one.indices, two.indices) and np.array_equal(one.values, two.values)
        else:
            equal = np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two
        if not equal:
            return False
    return True


def test_a_prompt_asked_again_has_the_same_features_bit_for_bit():
    remembering = Recent(Analyzer(), ALL)
    for _ in range(2):
        for row, prompt in zip(remembering.rows([Request(text=p) for p in PROMPTS]), PROMPTS, strict=True):
            assert same(row, Analyzer().analyze(Request(text=prompt)))


def test_what_is_said_about_a_prompt_is_not_remembered():
    remembering, warm = Recent(Analyzer(), ALL), Warm("big", 40)
    for said in (
        Request(text=PROMPTS[1], max_output_tokens=3, context_tokens=500, urgency="low", quality_requirement="low"),
        Request(text=PROMPTS[1]),
        Request(text=PROMPTS[1], warm=warm),
        Request(text=PROMPTS[1], quality_requirement="critical"),
    ):
        (row,) = remembering.rows([said])
        assert same(row, Analyzer().analyze(said))


def test_a_prompt_is_analysed_once(counting):
    remembering = recent(counting)
    remembering.rows([Request(text="a"), Request(text="b"), Request(text="a")])
    remembering.rows([Request(text="b"), Request(text="a", max_output_tokens=5), Request(text="c")])
    assert counting.asked == ["a", "b", "c"]


def test_another_tenants_prompt_is_analysed_anew(counting):
    remembering = recent(counting)
    for tenant in ("one", "two", "one"):
        remembering.rows([Request(text="a", tenant=tenant)])
    assert counting.asked == ["a", "a"]


def test_the_prompts_longest_unused_are_forgotten(counting):
    remembering = recent(counting)
    first = [Request(text=f"prompt {i}") for i in range(MOST_PROMPTS)]
    remembering.rows(first)
    remembering.rows([first[0], Request(text="new")])
    counting.asked.clear()
    remembering.rows([first[0], first[2], Request(text="new"), first[1]])
    assert counting.asked == ["prompt 1"]


def test_long_prompts_are_not_kept(counting):
    remembering = recent(counting)
    for _ in range(2):
        remembering.rows([Request(text="x" * (LONGEST + 1))])
    assert len(counting.asked) == 2


def test_a_copy_of_an_engine_decides_alike_and_holds_no_prompt():
    engine = pool_engine()
    chosen = engine.decide("Tell me of zebras.").model
    pickled = pickle.dumps(engine)
    assert b"zebras" not in pickled
    for twin in (copy.deepcopy(engine), pickle.loads(pickled)):  # noqa: S301  (our own)
        assert twin.decide("Tell me of zebras.").model == chosen


def test_threads_find_what_one_finds():
    remembering, failed = Recent(Analyzer(), frozenset()), []
    expected = {text: Analyzer().analyze(Request(text=text), frozenset()) for text in map(str, range(40))}

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            texts = [str(i) for i in rng.integers(0, 40, 5)]
            rows = remembering.rows([Request(text=text) for text in texts])
            failed.extend(t for t, row in zip(texts, rows, strict=True) if not row == replace(expected[t]))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
