"""The ladder prompts: a sound answer key, unique ids, small groups, balanced prefixes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from equipoise.collect.graders import grade
from equipoise.collect.prompts import PromptRow, read_prompts
from equipoise.datasets.ladder import FAMILIES, generate, write_jsonl

ROWS = generate()
QUICK = [row for row in ROWS if row.grader not in ("python", "words")]
# Sandboxed gradings take some 100 ms each; every one of them is still checked, a family at a time.
SLOW = [row for row in ROWS if row.grader in ("python", "words")]


def test_there_are_enough_prompts_of_every_family_and_level() -> None:
    assert len(ROWS) >= 1260
    cells = Counter((row.dataset, row.level) for row in ROWS)
    assert set(cells) == {(family, level) for family in FAMILIES for level in range(1, 6)}
    assert min(cells.values()) >= 20


def test_generation_is_deterministic_and_follows_the_seed(tmp_path: Path) -> None:
    assert generate() == ROWS
    assert generate(21) != ROWS
    path = tmp_path / "prompts.jsonl"
    assert write_jsonl(path) == len(ROWS)
    assert read_prompts(path) == ROWS


def test_ids_and_prompts_are_unique_and_groups_small() -> None:
    assert len({row.prompt_id for row in ROWS}) == len(ROWS)
    assert len({row.prompt for row in ROWS}) == len(ROWS)
    groups = Counter(row.group for row in ROWS)
    assert max(groups.values()) <= 5
    assert len(groups) >= 500


def test_prompts_are_short() -> None:
    words = [len(row.prompt.split()) for row in ROWS]
    assert sum(words) / len(words) <= 20
    assert max(words) <= 50


@pytest.mark.parametrize("size", [60, 120, 240, 600])
def test_any_prefix_is_balanced(size: int) -> None:
    families = Counter(row.dataset for row in ROWS[:size])
    levels = Counter(row.level for row in ROWS[:size])
    assert max(families.values()) - min(families.values()) <= 5
    assert max(levels.values()) - min(levels.values()) <= 12


def replies(answer: str) -> list[str]:
    return [answer, f"I thought of 17 things, step by step.\n\nAnswer: {answer}"]


def test_every_answer_is_graded_right_bare_and_after_a_mark() -> None:
    for row in QUICK:
        for answer in row.answer:
            for reply in replies(answer):
                assert grade(row, reply, row.grader or "") == 1.0, (row, reply)


@pytest.mark.parametrize("family", ["code", "instructions"])
def test_every_reference_passes_its_own_tests(family: str) -> None:
    rows = [row for row in SLOW if row.dataset == family]
    assert len(rows) >= 100
    for row in rows:
        assert grade(row, row.answer[0], row.grader or "") == 1.0, row


def test_wrong_answers_score_zero() -> None:
    for row in QUICK:
        wrong = ["", "zzz", "I do not know."]
        if row.grader in ("exact", "regex"):
            wrong += [f"It is not {row.answer[0]}", f"{row.answer[0]} zzz", f"Perhaps it is {row.answer[0]}"]
        for reply in wrong:
            assert grade(row, reply, row.grader or "") == 0.0, (row, reply)


def wrong_code(row: PromptRow) -> str:
    return row.answer[0].splitlines()[0] + "\n    return 'zzz'"


def test_wrong_code_and_disobedient_replies_score_zero() -> None:
    for row in SLOW[::5]:
        reply = wrong_code(row) if row.grader == "python" else "zqxoiueas"
        assert grade(row, reply, row.grader or "") == 0.0, row


def test_another_row_s_answer_scores_zero_within_a_group_of_numbers() -> None:
    rows = [row for row in QUICK if row.dataset in ("arithmetic", "word_problems")]
    for row, other in zip(rows, rows[1:], strict=False):
        if row.answer[0] != other.answer[0]:
            assert grade(row, other.answer[0], row.grader or "") == 0.0, (row, other)
