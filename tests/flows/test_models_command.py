"""Models that come into a router file and go out of it, while what is known of the others stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.api import load
from equipoise.cli.main import main
from equipoise.tables import read_table, write_table
from tests.small_world import A_POEM, A_SUM, COST_USD, DEAR_MODEL, POEM_MODEL, SUM_MODEL, small_table, write_small_table

WEIGHS = "cost_aware:form=linear,cost_weight=100"
KNOWN = (SUM_MODEL, DEAR_MODEL)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router file that knows two of three models, and what all three did."""
    folder = tmp_path_factory.mktemp("models")
    write_small_table(folder, "all.parquet")
    table = small_table(300)
    fifty = table.take(range(0, 50))
    alone = fifty.only([POEM_MODEL])
    for name, gaps in (("alone", 50), ("gaps", 20), ("costed", 0)):
        cost = np.where(np.arange(50)[:, None] < gaps, np.nan, alone.cost_usd)
        write_table(replace(alone, cost_usd=cost), folder / f"{name}.parquet")
    prices = "".join(f"{name},{usd}\n" for name, usd in COST_USD.items())
    (folder / "prices.csv").write_text("model,usd_per_call\n" + prices)
    trained = ["train", str(folder / "all.parquet"), "--router", "factorization", "--models", ",".join(KNOWN)]
    assert main([*trained, "--policy", WEIGHS, "--out", str(folder / "two.npz")]) == 0
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    """The JSON document of a command that succeeds."""
    capsys.readouterr()
    assert main(["models", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The one line of a command that does not."""
    capsys.readouterr()
    assert main(["models", *map(str, arguments)]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_model_comes_in_from_fifty_prompts_and_the_others_stay_as_they_are(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "three.npz"
    options = ["--router-file", shared / "two.npz", "--model", POEM_MODEL, "--out", out]
    summary = told(capsys, "add", shared / "alone.parquet", *options, "--prices", shared / "prices.csv")
    assert summary == {"out": str(out), "models": [*KNOWN, POEM_MODEL]}
    before, after = load(shared / "two.npz"), load(out)
    assert after.decide(A_POEM).model == POEM_MODEL != before.decide(A_POEM).model
    assert after.decide(A_SUM).model == SUM_MODEL
    for prompt in (A_POEM, A_SUM):
        old = {c.model: c.quality.mean for c in before.decide(prompt).candidates if c.quality}
        new = {c.model: c.quality.mean for c in after.decide(prompt).candidates if c.quality}
        assert new.keys() == {*old, POEM_MODEL} and {name: new[name] for name in old} == pytest.approx(old, abs=0.01)
        cost = {c.model: c.cost_usd for c in after.decide(prompt).candidates}
        assert cost[POEM_MODEL] == pytest.approx(COST_USD[POEM_MODEL])


def test_costs_that_were_measured_need_no_price(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "three.npz"
    options = ["--router-file", shared / "two.npz", "--model", POEM_MODEL, "--out", out]
    told(capsys, "add", shared / "costed.parquet", *options)
    before, after = load(shared / "two.npz"), load(out)
    assert after.decide(A_POEM).model == POEM_MODEL
    for prompt in (A_POEM, A_SUM):
        old = {c.model: (c.cost_usd, c.latency_s) for c in before.decide(prompt).candidates}
        new = {c.model: (c.cost_usd, c.latency_s) for c in after.decide(prompt).candidates}
        cost, latency = new.pop(POEM_MODEL)
        assert cost == pytest.approx(COST_USD[POEM_MODEL], rel=0.1) and latency is not None
        assert new.keys() == old.keys() and all(new[name] == pytest.approx(old[name]) for name in old)
    told(capsys, "add", shared / "costed.parquet", *options, "--prices", shared / "prices.csv")
    priced = {c.model: c.cost_usd for c in load(out).decide(A_POEM).candidates}
    assert priced[POEM_MODEL] == pytest.approx(COST_USD[POEM_MODEL], rel=1e-9), "a price that is given wins"


def test_published_scores_are_enough_to_come_in(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, prices = tmp_path / "three.npz", ("--prices", shared / "prices.csv")
    options = ["--router-file", shared / "two.npz", "--model", POEM_MODEL, "--out", out, *prices]
    told(capsys, "add", shared / "all.parquet", *options, "--scores", "poems=0.9,sums=0.1")
    engine = load(out)
    assert engine.decide(A_POEM).model == POEM_MODEL and engine.decide(A_SUM).model == SUM_MODEL


def test_a_retired_model_is_never_chosen_again(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one.npz"
    assert told(capsys, "retire", "--router-file", shared / "two.npz", "--model", SUM_MODEL, "--out", out) == {
        "out": str(out),
        "models": [DEAR_MODEL],
    }
    assert load(out).decide(A_SUM).model == DEAR_MODEL
    assert told(capsys, "list", "--router-file", out)["models"] == [DEAR_MODEL]
    line = refused(capsys, "retire", "--router-file", out, "--model", DEAR_MODEL, "--out", out)
    assert "is the last model of the file" in line and load(out).models


def test_a_promise_that_was_made_with_other_models_is_said_to_be_open(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promised, out = tmp_path / "promised.npz", tmp_path / "two.npz"
    budget = ["--router", "linear", "--budget-usd", "0.002", "--out", str(promised)]
    assert main(["calibrate", str(shared / "all.parquet"), *budget]) == 0
    for file, said in ((promised, True), (shared / "two.npz", False)):
        capsys.readouterr()
        assert main(["models", "retire", "--router-file", str(file), "--model", SUM_MODEL, "--out", str(out)]) == 0
        assert ("calibrate again" in capsys.readouterr().err) == said


def test_prompts_to_try_are_of_the_table_and_not_those_already_answered(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--router-file", shared / "two.npz", "--model", POEM_MODEL]
    table = read_table(shared / "all.parquet")
    write_table(table.only(KNOWN), shared / "known.parquet")
    asked = told(capsys, "try", shared / "known.parquet", *options, "-n", 12)["prompts"]
    text = dict(zip(table.prompt_ids, table.prompts, strict=True))
    assert len(asked) == 12 == len({p["prompt_id"] for p in asked})
    assert all(text[p["prompt_id"]] == p["prompt"] for p in asked)
    assert told(capsys, "try", shared / "all.parquet", *options)["prompts"] == [], "it has answered all of them"
    assert main(["models", "try", str(shared / "all.parquet"), *map(str, options)]) == 0
    assert "answered every prompt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["add", "alone.parquet", "--model", POEM_MODEL, "--out", "x.npz"],
            "no price for model 'bard': alone holds no cost_usd of its answers",
        ),
        (
            ["add", "gaps.parquet", "--model", POEM_MODEL, "--out", "x.npz"],
            "no price for model 'bard': gaps tells the cost_usd of 30 of its 50 answers",
        ),
        (["add", "alone.parquet", "--model", "brad", "--out", "x.npz"], "did you mean 'bard'?"),
        (["add", "known.parquet", "--model", POEM_MODEL, "--prices", "prices.csv", "--out", "x.npz"], "unknown model"),
        (
            ["add", "all.parquet", "--model", POEM_MODEL, "--prices", "prices.csv", "--scores", "poem=1", "--out", "x"],
            "did you mean 'poems'?",
        ),
        (
            [
                "add",
                "all.parquet",
                "--model",
                POEM_MODEL,
                "--prices",
                "prices.csv",
                "--scores",
                "poems=7",
                "--out",
                "x",
            ],
            "divide by the highest possible score",
        ),
        (["retire", "--model", "abacu", "--out", "x.npz"], "unknown model 'abacu'; did you mean 'abacus'?"),
        (["add", "alone.parquet", "--model", POEM_MODEL, "--out", "alone.parquet"], "alone.parquet"),
        (
            ["add", "alone.parquet", "--model", POEM_MODEL, "--prices", "prices.csv", "--out", "prices.csv"],
            "prices.csv: is read by this command",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    shared: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shared)
    write_table(small_table(60).only(KNOWN), shared / "known.parquet")
    assert message in refused(capsys, *arguments, "--router-file", "two.npz")
    assert not Path("x.npz").exists()


@pytest.mark.parametrize("scores", ["poems", "poems=high", "=", ""])
def test_scores_that_are_none_are_refused(shared: Path, scores: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["models", "add", str(shared / "all.parquet"), "--router-file", "r", "--model", "m", "--out", "x.npz"]
    with pytest.raises(SystemExit) as stopped:
        main([*asked, "--scores", scores])
    assert stopped.value.code == 2 and "is not of the form DATASET=SCORE" in capsys.readouterr().err
