"""Which answer a test picks, and how far it trusts it."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.cascades.acceptance import Agreement, Signal, Vote
from equipoise.cascades.pool import LOOKS, Pool, Seen, View

CHEAP, MIDDLE, DEAR = 0, 1, 2


def view(said: list[list[int]], **recorded: list[list[float]]) -> View:
    """One prompt: what was said, by model and draw."""
    spoken = np.array([said])
    signals = tuple(name for name in recorded if name != "reward")
    looks = np.zeros((*spoken.shape, len(LOOKS) + len(signals)))
    for f, name in enumerate(signals, start=len(LOOKS)):
        looks[..., f] = recorded[name]
    checks = {"reward": np.array([recorded["reward"]])} if "reward" in recorded else {}
    draws = np.full(len(said), len(said[0]))
    pool = Pool(said=spoken, looks=looks, paid_usd=np.ones(spoken.shape), draws=draws, signals=signals, checks=checks)
    return View(pool, np.full((1, len(said)), 0.5), np.array([[1.0, 2.0, 9.0]])[:, : len(said)])


def picked(test: Vote | Agreement | Signal, given: View, seen: Seen) -> tuple[tuple[int, int], float]:
    trust = test.trust(given, seen)
    return seen[int(trust.best[0])], float(trust.score[0])


def test_a_vote_is_the_share_of_the_others_that_agree() -> None:
    given = view([[5, 5, 7], [5, 1, 1], [7, 1, 1]])
    three: Seen = ((CHEAP, 0), (CHEAP, 1), (CHEAP, 2))
    assert picked(Vote(), given, three) == ((CHEAP, 0), 0.5)
    assert picked(Vote(), given, ((CHEAP, 0), (CHEAP, 1), (MIDDLE, 0))) == ((MIDDLE, 0), 1.0)


def test_an_answer_that_stands_alone_has_no_vote() -> None:
    assert picked(Vote(), view([[5], [5], [7]]), ((CHEAP, 0),)) == ((CHEAP, 0), 0.0)
    assert picked(Agreement(), view([[5], [5], [7]]), ((CHEAP, 0),)) == ((CHEAP, 0), 0.0)


def test_of_equals_the_dearest_models_answer_is_taken() -> None:
    given = view([[5], [6], [7]])
    assert picked(Vote(), given, ((CHEAP, 0), (MIDDLE, 0), (DEAR, 0))) == ((DEAR, 0), 0.0)


def test_silence_is_never_the_answer_while_anything_was_said() -> None:
    given = view([[5, -1], [-1, -1], [-1, -1]])
    assert picked(Vote(), given, ((CHEAP, 0), (MIDDLE, 0), (DEAR, 0))) == ((CHEAP, 0), 0.0)


def test_every_candidate_has_one_voice_however_often_it_was_asked() -> None:
    # Three draws of the cheap model say 5; the other two models say 7.
    given = view([[5, 5, 5], [7, 7, 7], [7, 7, 7]])
    seen: Seen = ((CHEAP, 0), (CHEAP, 1), (CHEAP, 2), (MIDDLE, 0), (DEAR, 0))
    assert picked(Agreement(), given, seen) == ((DEAR, 0), 0.5)
    assert picked(Vote(), given, seen) == ((CHEAP, 0), 0.5)


def test_a_candidates_voice_is_what_most_of_its_draws_say() -> None:
    given = view([[4, 5, 5], [5, 0, 0]])
    seen: Seen = ((CHEAP, 0), (CHEAP, 1), (CHEAP, 2), (MIDDLE, 0))
    assert picked(Agreement(), given, seen) == ((MIDDLE, 0), 1.0)


def test_a_candidate_that_said_something_once_is_not_silent() -> None:
    given = view([[-1, 5], [5, 0]])
    assert picked(Agreement(), given, ((CHEAP, 0), (CHEAP, 1), (MIDDLE, 0))) == ((MIDDLE, 0), 1.0)


def test_log_probabilities_rank_answers_of_the_dearest_model_only() -> None:
    given = view([[1, 2], [3, 4]], logprob_mean=[[0.0, -9.0], [np.log(0.2), np.log(0.6)]])
    seen: Seen = ((CHEAP, 0), (MIDDLE, 0), (MIDDLE, 1))
    best, score = picked(Signal("logprob_mean"), given, seen)
    assert best == (MIDDLE, 1) and score == pytest.approx(0.6)


def test_a_reward_ranks_all_answers() -> None:
    given = view([[1, 2], [3, 4]], reward=[[0.9, 0.1], [0.3, 0.6]])
    assert picked(Signal("reward"), given, ((CHEAP, 0), (MIDDLE, 0), (MIDDLE, 1))) == ((CHEAP, 0), 0.9)


def test_an_answer_without_its_signal_is_not_trusted() -> None:
    given = view([[1], [2]], logprob_mean=[[np.nan], [np.nan]])
    assert picked(Signal("logprob_mean"), given, ((CHEAP, 0), (MIDDLE, 0))) == ((MIDDLE, 0), 0.0)
    assert picked(Signal("margin_min"), given, ((CHEAP, 0),)) == ((CHEAP, 0), 0.0)
