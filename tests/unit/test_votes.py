"""Vote tables: read strictly, linted kindly, and learned from by the routers that can."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise import api
from equipoise.cli.main import main
from equipoise.errors import InputError, NotEnoughData, TableError
from equipoise.tables import read_table, write_table
from equipoise.tables.vote_lint import lint_votes
from equipoise.tables.votes import VoteTable, is_vote_table, read_votes
from tests.small_world import A_POEM, A_SUM, CHANCE, MODELS, poem_prompt, small_table, sum_prompt


def arena(n: int = 400, seed: int = 0) -> list[dict[str, str]]:
    """Votes between three models of which one is good at sums and one at poems."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        kind = "sums" if i % 2 else "poems"
        a, b = rng.choice(MODELS, 2, replace=False)
        good_a, good_b = rng.random() < CHANCE[kind][a], rng.random() < CHANCE[kind][b]
        winner = "tie" if good_a == good_b else "a" if good_a else "b"
        prompt = sum_prompt(rng) if kind == "sums" else poem_prompt(rng)
        rows.append({"prompt": prompt, "model_a": str(a), "model_b": str(b), "winner": winner})
    return rows


def vote(winner: str = "a", prompt: str = "Hi", a: str = "x", b: str = "y", **more: str) -> dict[str, str]:
    return {"prompt": prompt, "model_a": a, "model_b": b, "winner": winner, **more}


def write(rows: list[dict[str, str]], path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_file_gives_distinct_prompts_models_and_scores(ending: str, tmp_path: Path) -> None:
    rows = [vote("a"), vote("b", a="y", b="z"), vote("tie", prompt="Ho, with a comma", a="z", b="x")]
    votes = read_votes(write(rows, tmp_path / f"votes{ending}"))
    assert list(votes.prompts) == ["Hi", "Ho, with a comma"]
    assert votes.models == ("x", "y", "z") and votes.name == "votes"
    assert votes.prompt.tolist() == [0, 0, 1]
    assert votes.first.tolist() == [0, 1, 2] and votes.second.tolist() == [1, 2, 0]
    assert votes.score.tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(("said", "score"), [("model_a", 1.0), ("model_b", 0.0), ("tie (bothbad)", 0.5), (" B ", 0.0)])
def test_the_spellings_of_published_arena_data_are_understood(said: str, score: float) -> None:
    assert VoteTable.from_rows([vote(said)]).score.tolist() == [score]


def test_prompts_of_one_group_stay_together() -> None:
    rows = [vote(prompt="p"), vote(prompt="q", group="g"), vote(prompt="r", group="g"), vote(prompt="p")]
    groups = VoteTable.from_rows([{"group": "", **row} for row in rows]).groups
    assert groups[1] == groups[2] and groups[0] not in (groups[1], groups[2])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (vote("C"), r"row 2: winner is 'C'; write a, b or tie"),
        (vote(""), r"row 2: winner is empty; write a, b or tie"),
        (vote(prompt=" "), r"row 2: prompt is empty"),
        (vote(a="same", b="same "), r"row 2: model_b 'same ' has spaces around it; take them off"),
        (vote(a="same", b="same"), r"row 2: model_a and model_b are both 'same'; .* remove the row"),
        (vote(prompt="x" * 1_000_001), r"row 2: the prompt is longer than 1 MB"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_remedy(row: dict[str, str], said: str) -> None:
    with pytest.raises(TableError, match=said):
        VoteTable.from_rows([vote(), row])


def test_near_duplicates_are_in_one_group_when_tied() -> None:
    table = VoteTable.from_rows([vote(prompt="Sum 1 and 2"), vote(prompt="A poem"), vote(prompt="sum 1 AND 2!")]).tied()
    assert table.groups[0] == table.groups[2] != table.groups[1]


def test_spellings_of_a_prompt_with_one_vote_each_teach_nothing_about_others() -> None:
    rng = np.random.default_rng(0)
    words = "river engine python garden music water light metal paper stone bridge forest animal house".split()
    rows = []
    for _ in range(150):
        prompt, winner = " ".join(rng.choice(words, 10)), str(rng.choice(["a", "b"]))
        rows += [vote(winner, said) for said in (prompt, prompt.upper(), prompt + "!", prompt.title())]
    engine = api.train_votes(VoteTable.from_rows(rows), router="factorization")
    unseen = [engine.decide(" ".join(rng.choice(words, 10))).candidates for _ in range(100)]
    assert np.std([a.quality.mean - b.quality.mean for a, b in unseen]) < 0.25  # 0.3 and more where copies vouch


def test_a_prompt_in_two_groups_is_refused() -> None:
    with pytest.raises(TableError, match="row 2: the prompt stands in group 'h' and in another"):
        VoteTable.from_rows([vote(group="g"), vote(group="h")])


def test_missing_columns_and_no_rows_are_named() -> None:
    with pytest.raises(TableError, match="missing: model_b, winner"):
        VoteTable.from_rows([{"prompt": "Hi", "model_a": "x"}])
    with pytest.raises(TableError, match="missing: prompt"):
        VoteTable.from_rows([])


def test_vote_tables_are_told_from_outcome_tables(tmp_path: Path) -> None:
    write_table(small_table(8), tmp_path / "outcomes.csv")
    assert not is_vote_table(tmp_path / "outcomes.csv")
    assert not is_vote_table(tmp_path / "absent.csv")
    for ending in (".parquet", ".csv", ".jsonl"):
        assert is_vote_table(write([vote()], tmp_path / f"v{ending}"))


# ---------------------------------------------------------------- lint


def found(rows: list[dict[str, str]]) -> dict[str, str]:
    return {f.code: f.message for f in lint_votes(VoteTable.from_rows(rows))}


def test_sound_votes_have_no_findings() -> None:
    assert found(arena()) == {}


def test_contradictory_votes_are_counted_and_no_error() -> None:
    rows = [*arena(), vote("a", a=MODELS[0], b=MODELS[1]), vote("a", a=MODELS[1], b=MODELS[0])]
    findings = lint_votes(VoteTable.from_rows(rows))
    assert [(f.severity, f.code, f.count) for f in findings] == [("warning", "contradiction", 2)]
    agreeing = [*arena(), vote("a", a=MODELS[0], b=MODELS[1]), vote("b", a=MODELS[1], b=MODELS[0])]
    assert found(agreeing) == {}


def test_models_that_no_vote_connects_are_found() -> None:
    assert "2 sets" in found([*arena(), vote(a="lone", b="some")])["unconnected"]


def test_few_votes_and_one_sided_models_are_found() -> None:
    messages = found([*arena(), *(vote("a", prompt=f"p{i}", a="hero", b=MODELS[0]) for i in range(5))])
    assert set(messages) == {"few_votes", "one_sided"} and messages["one_sided"] == "hero won all its 5 votes"


def test_a_judge_who_prefers_the_first_answer_is_found() -> None:
    rows = [{**row, "winner": "a"} if i % 3 else row for i, row in enumerate(arena())]
    assert "model_a wins" in found(rows)["side_bias"]


def test_lint_reports_bad_rows_of_a_file_and_looks_at_the_rest(tmp_path: Path, capsys) -> None:
    path = write([*arena(), vote("maybe"), vote("a", a=MODELS[0], b=MODELS[0])], tmp_path / "votes.csv")
    assert main(["table", "lint", str(path)]) == 1
    said = capsys.readouterr().out
    assert "unknown_winner" in said and "same_model" in said and "2 errors, 0 other findings" in said


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("router", ["factorization", "ratings"])
def test_an_engine_learns_from_votes_which_model_suits_which_prompt(router: str, tmp_path: Path, capsys) -> None:
    path, out = write(arena(600), tmp_path / "votes.jsonl"), tmp_path / "router.npz"
    assert main(["train", str(path), "--router", router, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["votes"] == 600
    engine = api.load(out)
    for prompt, better, worse in ((A_SUM, MODELS[0], MODELS[1]), (A_POEM, MODELS[1], MODELS[0])):
        quality = {c.model: c.quality.mean for c in engine.decide(prompt).candidates}
        assert quality[better] > quality[worse] + 0.05


@pytest.mark.parametrize("router", ["factorization", "ratings"])
def test_votes_that_contradict_each_other_cancel_out(router: str) -> None:
    rows = [row for row in arena(300) if row["winner"] != "tie"]
    turned = [{**row, "winner": "b" if row["winner"] == "a" else "a"} for row in rows]
    engine = api.train_votes(VoteTable.from_rows([*rows, *turned]), router=router)
    quality = [c.quality.mean for c in engine.decide(A_SUM).candidates]
    assert quality == pytest.approx([0.5] * 3, abs=0.02)


def test_a_model_that_always_wins_gets_a_finite_estimate_above_the_rest() -> None:
    rows = [vote("a", prompt=row["prompt"], a="hero", b=row["model_a"]) for row in arena(120)]
    engine = api.train_votes(VoteTable.from_rows([*rows, *arena(120, seed=1)]), router="ratings")
    quality = {c.model: c.quality.mean for c in engine.decide(A_SUM).candidates}
    assert max(quality, key=quality.__getitem__) == "hero" and 0.5 < quality["hero"] < 1.0


def test_a_router_that_cannot_learn_from_votes_says_who_can(tmp_path: Path, capsys) -> None:
    path = write(arena(60), tmp_path / "votes.csv")
    assert main(["train", str(path), "--router", "knn", "--out", str(tmp_path / "r.npz")]) == 2
    assert "router 'knn' does not learn from votes; take 'factorization'" in capsys.readouterr().err
    with pytest.raises(InputError):
        api.train_votes(path, router="static")


@pytest.mark.parametrize("router", ["factorization", "ratings"])
def test_too_few_votes_are_named(router: str) -> None:
    with pytest.raises(NotEnoughData, match=f"'{router}' needs at least 20 votes, got 8"):
        api.train_votes(VoteTable.from_rows(arena(8)), router=router)


def test_options_for_outcome_tables_are_refused_with_votes(tmp_path: Path, capsys) -> None:
    path = write(arena(60), tmp_path / "votes.csv")
    arguments = ["train", str(path), "--router", "ratings", "--out", str(tmp_path / "r.npz"), "--models", "abacus"]
    assert main(arguments) == 2
    assert "--models does not go with a vote table" in capsys.readouterr().err


def test_votes_in_the_place_of_outcomes_are_called_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="these are votes between two models"):
        read_table(write([vote("a")], tmp_path / "votes.jsonl"))
