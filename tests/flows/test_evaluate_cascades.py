"""Cascades from the command line: evaluated beside routers, trained, calibrated, decided with, refused."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from equipoise.api import load, open_answers, open_table
from equipoise.cascades.best_of import best_of_steps, with_best_of
from equipoise.cascades.play import play
from equipoise.cascades.pool import View, pool_of
from equipoise.cli.main import main
from equipoise.comparison import evaluate
from equipoise.engine import Engine
from equipoise.errors import InputError
from equipoise.evaluation.bootstrap import Interval, holm
from equipoise.evaluation.compare import verdict_of
from equipoise.policy.cascade import Cascade
from equipoise.tables import write_table
from equipoise.types import Step
from tests.sampled import sampled_table, write_answers

WORLD = sampled_table(prompts=240, draws=3, seed=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("cascades")
    write_table(WORLD.table, here / "mine.parquet")
    write_answers(WORLD, here / "mine.answers.parquet")
    write_table(WORLD.table, here / "bare.parquet")
    return here


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> Path:
    out = folder / "out"
    climbs = "cascade_routing:max_calls=3,samples=2,cascade:test=vote,steps=[m0*3,m2]"
    asked = ["evaluate", str(folder / "mine.parquet"), "--routers", "knn:k=20", "--seeds", "2", "--jobs", "1"]
    assert main([*asked, "--cascades", climbs, "--out", str(out), "--json"]) == 0
    return out


def test_results_compare_every_cascade_with_the_router(evaluated: Path) -> None:
    document = json.loads((evaluated / "results.json").read_text())
    assert [r["name"] for r in document["routers"] if not r["name"].startswith("baseline:")] == ["knn:k=20"]
    names = [c["name"] for c in document["cascades"]]
    assert names == ["cascade_routing:max_calls=3,samples=2", "cascade:test=vote,steps=[m0*3,m2]"]
    for cascade in document["cascades"]:
        against = cascade["against_router"]
        assert against["router"] == "knn:k=20"
        assert 0 < against["cost_share"] <= 1 and 0 < against["router_cost_share"] <= 1
        assert [e["share"] for e in against["equal_cost"]] == [0.25, 0.5, 1.0, 2.0]
        assert {d["dataset"] for d in against["datasets"]} == {"sum", "capital", "riddle", "rhyme"}
        assert against["verdict"] and cascade["aiq"] > 0


def test_p_values_of_cascades_are_corrected_for_how_many_were_tried(evaluated: Path) -> None:
    document = json.loads((evaluated / "results.json").read_text())
    rows = [cascade["against_router"] for cascade in document["cascades"]]
    for key in ("saving_p", "aiq_gain_p"):
        assert [row[f"{key}_holm"] for row in rows] == pytest.approx(holm([row[key] for row in rows]))
    at_cost = [e for row in rows for e in row["equal_cost"]]
    assert [e["p_holm"] for e in at_cost] == pytest.approx(holm([e["p_value"] for e in at_cost]))


def test_a_gain_that_does_not_outlast_the_correction_is_not_claimed() -> None:
    climbs = ["cascade_routing:max_calls=3,samples=2"]
    row = evaluate(WORLD.table, routers=["knn:k=20"], cascades=climbs, answers=WORLD.answers, seeds=2, jobs=1).cascades[
        0
    ]
    won = replace(row, aiq_gain=0.02, aiq_gain_ci=Interval(0.01, 0.03), equal_cost=(), saving_ci=Interval(-0.1, 0.1))
    assert "AIQ +0.020" in verdict_of(replace(won, aiq_gain_p_holm=0.01), "m2")
    assert "AIQ" not in verdict_of(replace(won, aiq_gain_p_holm=0.08), "m2")
    cheap = replace(won, saving=0.2, saving_ci=Interval(0.1, 0.3))
    assert "20% [10, 30] cheaper" in verdict_of(replace(cheap, saving_p_holm=0.01), "m2")
    assert "20%" not in verdict_of(replace(cheap, saving_p_holm=0.08), "m2")


def test_cascades_can_be_scored_again_from_their_file(evaluated: Path) -> None:
    """Quality and cost of the costliest point, in code that shares nothing with the project's."""
    document = json.loads((evaluated / "results.json").read_text())
    rows = pq.read_table(evaluated / "cascades.parquet").to_pylist()
    draws = pq.read_table(evaluated.parent / "mine.answers.parquet").to_pylist()
    cheapest = min(d["cost_usd"] for d in draws)
    sums: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        assert row["cost_usd"] >= cheapest * row["calls"] > 0
        if row["operating_point"] == 0:
            sums[row["cascade"], row["seed"]][0] += row["quality"]
            sums[row["cascade"], row["seed"]][1] += 1
    for cascade in document["cascades"]:
        by_seed = [total / n for (name, _), (total, n) in sums.items() if name == cascade["name"]]
        assert len(by_seed) == 2
        assert float(np.mean(by_seed)) == pytest.approx(cascade["quality"])
    voted = [r for r in rows if r["cascade"].startswith("cascade:test=vote") and r["operating_point"] == 0]
    assert {r["calls"] for r in voted} == {4}
    cost = {(d["prompt_id"], d["model"], d["sample"]): d["cost_usd"] for d in draws}
    for r in voted[:20]:
        p = r["prompt_id"]
        assert r["cost_usd"] == pytest.approx(sum(cost[p, "m0", s] for s in range(3)) + cost[p, "m2", 0])


def test_choices_hold_single_calls_only(evaluated: Path) -> None:
    routers = set(pq.read_table(evaluated / "choices.parquet").column("router").to_pylist())
    assert "knn:k=20" in routers and not any(name.startswith("cascade") for name in routers)


def test_the_report_says_when_each_wins(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text()
    assert (
        "Cascades against router knn:k=20" in page
        and "When each wins" in page
        and "Quality gained at equal cost" in page
    )


def test_a_trained_cascade_decides_with_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(folder / "e.npz")
    asked = ["train", str(folder / "mine.parquet"), "--router", "knn:k=20", "--out", file]
    assert main([*asked, "--policy", "cascade_routing:max_calls=2,samples=1"]) == 0
    capsys.readouterr()
    decision = Engine.load(file).decide("capital question 77")
    assert decision.plan.adaptive and decision.plan.steps == (Step(model=decision.model, test="value"),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["bare.parquet", "--cascades", "all"], "need sampled answers in bare.answers.parquet beside it"),
        (["mine.parquet", "--cascades", "cost_aware"], "policy 'cost_aware' never looks at an answer"),
        (["mine.parquet", "--cascades", "cascade", "--cost", "none"], "they cannot be evaluated without costs"),
        (
            ["mine.parquet", "--cascades", "cascade:steps=[m9,m2]"],
            "unknown model in the steps of policy 'cascade' 'm9'",
        ),
        (["mine.parquet", "--cascades", "cascade:steps=[m0*9,m2]"], "3 answers of every prompt are there to ask"),
        (["mine.parquet", "--cascades", "cascade:test=logprob_mean"], "the answers hold no 'logprob_mean'"),
        (["mine.parquet", "--cascades", "cascade:test=vot"], "did you mean 'vote'?"),
        (["mine.parquet", "--best-of", "4"], "no model was drawn 4 times on every prompt"),
        (
            ["mine.parquet", "--best-of", "2", "--cascades", "cascade"],
            "evaluate --best-of and --cascades one after the other",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", str(folder / options[0]), "--routers", "static", "--seeds", "1", "--jobs", "1", *options[1:]]
    assert main(asked) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]


# ---------------------------------------------------------------- calibrated


def calibrated(folder: Path, policy: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    asked = ["calibrate", str(folder / "mine.parquet"), "--router", "knn:k=20", "--out", str(folder / "r.npz")]
    assert main([*asked, "--policy", policy, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_calibrate_sets_the_score_from_which_a_cheap_answer_is_returned(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cascade = "cascade:test=vote,steps=[m0*3,m2],max_loss="
    summary = calibrated(folder, cascade + "0.2", capsys)
    assert [(s["model"], s["samples"]) for s in summary["steps"]] == [("m0", 3), ("m2", 1)]
    at = summary["steps"][0]["accept_at"]
    assert 0 < at <= 1 and summary["steps"][1]["accept_at"] is None
    engine = load(folder / "r.npz")
    steps = engine.decide("capital question 77").plan.steps
    assert [(s.model, s.samples, s.accept_at) for s in steps] == [("m0", 3, at), ("m2", 1, None)]
    # On prompts that nothing was learned from, the promise holds and money is saved.
    new = sampled_table(prompts=600, draws=3, seed=99)
    policy, flat = engine.policy, np.full((600, 3), 0.5)
    assert isinstance(policy, Cascade)
    played = play(policy.bound(View(pool_of(new.answers), flat, flat)), policy.point, new.answers)
    assert new.answers.quality[:, 2, 0].mean() - played.quality.mean() < 0.2
    assert played.cost_usd.mean() < 0.9 * new.answers.cost_usd[:, 2, 0].mean()


def test_a_promise_that_nothing_keeps_asks_the_last_model_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = "cascade:test=vote,steps=[m0*3,m2],max_loss=0.001"
    asked = ["calibrate", str(folder / "mine.parquet"), "--router", "knn:k=20", "--out", str(folder / "r.npz")]
    assert main([*asked, "--policy", strict]) == 0
    assert "asks m2 at once: no step before it could be shown" in capsys.readouterr().out
    summary = calibrated(folder, strict, capsys)
    assert summary["steps"] == [{"model": "m2", "samples": 1, "accept_at": None}]
    assert load(folder / "r.npz").decide("capital question 77").plan.steps == ()


def test_calibrate_finds_the_weight_of_cascade_routing_for_a_mean_cost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    routing = "cascade_routing:max_calls=2,samples=2,mean_cost_usd="
    weights = [calibrated(folder, routing + usd, capsys)["cost_weight"] for usd in ("0.00004", "0.00015")]
    assert weights[0] > weights[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["bare.parquet", "--policy", "cascade"], "need sampled answers in bare.answers.parquet beside it"),
        (["mine.parquet", "--policy", "cost_aware"], "policy 'cost_aware' has nothing to calibrate"),
        (["mine.parquet", "--policy", "cascade:test=margin_min"], "the answers hold no 'margin_min'"),
        (["mine.parquet", "--policy", "cascade_routing:mean_cost_usd=1e-9"], "raise it"),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "none.npz"
    assert main(["calibrate", str(folder / options[0]), "--router", "static", "--out", str(out), *options[1:]]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1] and not out.exists()


# ---------------------------------------------------------------- best of n


def test_best_of_n_is_a_candidate_that_pays_for_every_answer(folder: Path) -> None:
    table = open_table(folder / "mine.parquet")
    answers = open_answers(folder / "mine.parquet", table)
    more = with_best_of(table, answers, 3)
    assert more.models == ("m0", "m1", "m2", "m0*3", "m1*3", "m2*3")
    assert more.cost_usd[:, 3] == pytest.approx(answers.cost_usd[:, 0].sum(axis=1))
    assert more.latency_s[:, 5] == pytest.approx(answers.latency_s[:, 2].max(axis=1))
    assert np.array_equal(more.quality[:, :3], table.quality)
    # Where two of three draws are right they agree, and a wrong answer seldom has two voices.
    right = answers.quality[:, 1].sum(axis=1) >= 2
    assert more.quality[right, 4].mean() > 0.95
    assert more.quality[:, 4].mean() > table.quality[:, 1].mean()


def test_best_of_n_is_measured_by_the_vote_that_is_taken_live_whatever_checks_were_recorded() -> None:
    shape = WORLD.answers.quality.shape
    contrary = {"reward": 1.0 - WORLD.answers.quality}
    checked = replace(WORLD.answers, checks=contrary, check_usd=np.full(shape, 0.5))
    plain, more = (with_best_of(WORLD.table, answers, ["m1*3"]) for answers in (WORLD.answers, checked))
    assert np.array_equal(plain.quality, more.quality)
    assert np.array_equal(plain.cost_usd, more.cost_usd)


def test_a_router_may_choose_best_of_n_and_its_plan_says_how(folder: Path) -> None:
    results = evaluate(folder / "mine.parquet", routers=["static"], best_of=3, seeds=1, replicates=5)
    assert "m1*3" in results.models
    assert best_of_steps("m1*3") == (Step(model="m1", samples=3, test="vote"),)
    assert best_of_steps("m1") == ()
    table = open_table(folder / "mine.parquet")
    engine = Engine.train(with_best_of(table, WORLD.answers, 3).only(["m0", "m1*3"]), router="knn:k=50")
    decision = engine.decide("capital question 77")
    assert decision.model == "m1*3" and decision.plan.steps == (Step(model="m1", samples=3, test="vote"),)
    assert not decision.plan.adaptive


def test_best_of_n_may_be_named_and_goes_with_its_model(folder: Path) -> None:
    options: dict[str, Any] = {"routers": ["static"], "seeds": 1, "replicates": 5}
    results = evaluate(folder / "mine.parquet", best_of=["m1*3", "m2*2"], models=["m0", "m1"], **options)
    assert list(results.models) == ["m0", "m1", "m1*3"]
    with pytest.raises(InputError, match="unknown model of best_of 'm9'"):
        evaluate(folder / "mine.parquet", best_of=["m9*3"], **options)
    with pytest.raises(InputError, match=r"'m1\*9' needs 9 draws of every prompt, there are 3"):
        evaluate(folder / "mine.parquet", best_of=["m1*9"], **options)
    with pytest.raises(InputError, match=r"'m1' names no best of n; write NAME\*N"):
        evaluate(folder / "mine.parquet", best_of=["m1"], **options)


def test_answers_in_memory_are_given_by_hand() -> None:
    with pytest.raises(InputError, match="give them as answers="):
        evaluate(WORLD.table, routers=["static"], cascades=["cascade"], seeds=1)
