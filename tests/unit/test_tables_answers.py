"""The answers behind a table: read as collect writes them, refused in one line where they cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise.api import open_answers, open_table
from equipoise.errors import InputError, PriceError, TableError, UnknownName
from equipoise.tables import OutcomeTable, read_table, write_table
from equipoise.tables.answers import answers_beside, answers_from_columns, mean_grades, read_answers
from tests.sampled import sampled_table, write_answers

LADDER = Path(__file__).parents[2] / "src/equipoise/datasets/ladder/ladder.parquet"


def table() -> OutcomeTable:
    rows = [
        {"prompt_id": p, "prompt": f"say {p}", "dataset": "d", "model": m, "quality": 1.0, "cost_usd": 1.0}
        for p in ("p0", "p1")
        for m in ("a", "b")
    ]
    return OutcomeTable.from_rows(rows, name="t")


def columns(**other: object) -> dict[str, list[object]]:
    """Two draws of each model on each prompt, not in order; quality tells which draw is which."""
    rows = [(p, m, s) for s in (1, 0) for m in ("b", "a") for p in ("p1", "p0")]
    return {
        "prompt_id": [r[0] for r in rows],
        "model": [r[1] for r in rows],
        "sample": [r[2] for r in rows],
        "answer": [f"{p} {m} {s}" for p, m, s in rows],
        "quality": [float(s) for _, _, s in rows],
        "cost_usd": [0.5] * len(rows),
        **other,
    }


def test_draws_stand_in_order_of_their_number_whatever_the_order_of_rows() -> None:
    answers = answers_from_columns(columns(), table())
    assert answers.text.tolist() == [
        [["p0 a 0", "p0 a 1"], ["p0 b 0", "p0 b 1"]],
        [["p1 a 0", "p1 a 1"], ["p1 b 0", "p1 b 1"]],
    ]
    assert np.array_equal(answers.quality[:, :, 1], np.ones((2, 2)))
    assert answers.count.tolist() == [[2, 2], [2, 2]]


def test_ungraded_draws_and_unknown_prompts_and_models_are_left_out() -> None:
    given = columns()
    given["quality"][0] = None
    given["prompt_id"][1] = "elsewhere"
    given["model"][2] = "c"
    answers = answers_from_columns(given, table())
    assert answers.count.tolist() == [[2, 1], [1, 1]]
    assert answers.text[1, 1].tolist() == ["p1 b 0", ""]


def test_taking_prompts_and_models_keeps_cells_together() -> None:
    answers = answers_from_columns(columns(logprob_mean=[-0.1] * 8, reward=[0.5] * 8, check_usd=[0.1] * 8), table())
    part = answers.take(np.array([1])).only(["b"])
    assert part.text.tolist() == [[["p1 b 0", "p1 b 1"]]]
    assert part.signals["logprob_mean"].shape == part.checks["reward"].shape == (1, 1, 2)
    with pytest.raises(UnknownName, match="model with answers"):
        answers.only(["z"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": [2.0] * 8}, "row 1: quality is 2; give a number from 0 to 1"),
        ({"sample": [None] * 8}, "sample is nan"),
        ({"sample": [0] * 8}, "has two draws numbered 0 by one model"),
        ({"cost_usd": [-1.0] * 8}, "cost_usd is -1; give a number from 0 up"),
        ({"reward": [1.5] * 8}, "reward is 1.5; give a number from 0 to 1"),
        ({"prompt_id": ["x"] * 8}, "no graded answer to a prompt of t"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_row(change: dict[str, list[object]], message: str) -> None:
    with pytest.raises(TableError, match=message):
        answers_from_columns(columns(**change), table(), name="f")


def test_a_missing_column_is_named() -> None:
    given = columns()
    del given["answer"]
    with pytest.raises(TableError, match="missing column 'answer'"):
        answers_from_columns(given, table())


def test_a_missing_cost_is_an_error_and_never_zero() -> None:
    answers = answers_from_columns(columns(cost_usd=[None] + [0.5] * 7), table())
    with pytest.raises(PriceError, match="no price for model 'b'"):
        answers.require_costs()


def test_a_check_without_its_price_is_an_error() -> None:
    with pytest.raises(PriceError, match="check_usd"):
        answers_from_columns(columns(reward=[0.5] * 8), table()).require_costs()


def test_the_answers_of_the_shipped_table_are_those_of_its_cells() -> None:
    shipped = read_table(LADDER)
    beside = answers_beside(LADDER)
    assert beside is not None
    answers = read_answers(beside, shipped)
    assert np.array_equal(answers.quality[:, :, 0], shipped.quality)
    assert np.allclose(answers.cost_usd[:, :, 0], shipped.cost_usd)
    answers.require_costs()


def test_answers_are_looked_for_beside_the_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"need sampled answers in mine\.answers\.parquet beside it"):
        open_answers(tmp_path / "mine.parquet", table())
    pq.write_table(pa.table(columns()), tmp_path / "mine.answers.parquet")
    assert open_answers(tmp_path / "mine.parquet", table()).count.sum() == 8
    with pytest.raises(InputError, match="give them as answers="):
        open_answers(table(), table())


def test_another_file_than_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.answers.parquet").write_text("prompt_id,model\n")
    with pytest.raises(TableError, match="read from parquet"):
        read_answers(tmp_path / "x.answers.parquet", table())


def test_what_is_expected_is_the_mean_over_draws_at_the_level_of_the_measured_answers() -> None:
    world = sampled_table(prompts=400, draws=6)
    expected = replace(world.table, expected=mean_grades(world.table, world.answers)).taught
    inside = (expected > 0.02) & (expected < 0.98)
    assert expected.mean(axis=0) == pytest.approx(world.table.quality.mean(axis=0), abs=0.02)
    error = np.abs(expected - world.chance)[inside].mean()
    assert error < 0.6 * np.abs(world.table.quality - world.chance)[inside].mean()


def test_what_is_expected_without_draws_is_what_was_measured() -> None:
    world = sampled_table(prompts=40)
    silent = replace(world.answers, quality=np.full(world.answers.quality.shape, np.nan))
    assert np.array_equal(replace(world.table, expected=mean_grades(world.table, silent)).taught, world.table.quality)


def test_the_level_of_what_is_learned_is_that_of_the_rows_learned_from() -> None:
    world = sampled_table(prompts=60)
    whole = replace(world.table, expected=mean_grades(world.table, world.answers))
    seen, others = np.arange(40), np.arange(40, 60)
    better = whole.quality.copy()
    better[others] = 1.0
    assert np.array_equal(replace(whole, quality=better).take(seen).taught, whole.take(seen).taught)


def test_a_table_with_answers_beside_it_is_learned_from_what_is_expected_and_keeps_what_was_measured(
    tmp_path: Path,
) -> None:
    world = sampled_table(prompts=60)
    write_table(world.table, tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").expected is None
    write_answers(world, tmp_path / "t.answers.parquet")
    opened = open_table(tmp_path / "t.parquet")
    assert np.array_equal(opened.quality, world.table.quality)
    assert np.array_equal(opened.expected, mean_grades(world.table, world.answers))
    some = opened.take(np.arange(10)).only(world.table.models[:2])
    assert np.array_equal(some.expected, opened.expected[:10, :2])
