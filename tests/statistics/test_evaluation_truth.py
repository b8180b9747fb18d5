"""Evaluations whose truth is known: what wins, what does not, and how often an interval is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from equipoise.errors import InputError, UnknownName
from equipoise.evaluation import Results, bootstrap, evaluate
from equipoise.evaluation.splits import Kind
from equipoise.tables import OutcomeTable
from equipoise.tables.rows import TEXT
from tests.evaluation_fakes import OPTIONS, SubjectAnalyzer, made_table, objects

QUICK = {**OPTIONS, "analyzer": SubjectAnalyzer(), "replicates": 200}


@pytest.fixture(scope="module")
def structured() -> Results:
    return evaluate(made_table(prompts=2000, structure=0.3), routers=["subject", "noise:0.1"], seeds=5, **QUICK)


@pytest.fixture(scope="module")
def structureless() -> Results:
    routers = ["subject:1", "subject:50", "noise:0.002", "noise:0.02", "noise:0.2"]
    return evaluate(made_table(prompts=2000, structure=0.0, seed=3), routers=routers, seeds=5, **QUICK)


def test_a_router_that_knows_the_structure_wins(structured: Results) -> None:
    row = structured.router("subject")
    assert row.delta_aiq_ci.low > 0.02
    assert row.quality_gain_ci.low > 0
    assert row.at_best_quality is not None and row.at_best_quality.saving_ci.low > 0
    assert row.verdict.startswith("saves ")
    assert row.delta_over_control is not None and row.delta_over_control > 0
    assert structured.baselines["oracle"]["aiq"] > row.aiq > structured.baselines["zero_router"]["aiq"]


def test_noise_does_not_win_where_there_is_structure(structured: Results) -> None:
    assert structured.router("noise:0.1").delta_aiq_ci.low <= 0
    assert structured.router("noise:0.1").verdict.startswith(("no better", "worse"))


def test_the_choice_on_calibration_rows_finds_the_better_router(structured: Results) -> None:
    assert structured.router("auto").selected == {"subject": 5}
    assert structured.router("auto").aiq == structured.router("subject").aiq


def test_without_structure_no_router_is_better(structureless: Results) -> None:
    verdicts = {r.name: r.verdict for r in structureless.routers if not r.is_baseline}
    assert all(v.startswith(("no better", "worse")) for v in verdicts.values()), verdicts


@pytest.mark.parametrize(("tested", "said"), [(1, "1 independent group, and"), (4, "4 independent groups, and")])
def test_from_a_handful_of_test_prompts_there_is_no_verdict(tested: int, said: str) -> None:
    table = made_table(prompts=100, structure=0.0)
    split = objects(["test"] * tested + ["train"] * (100 - tested))
    results = evaluate(replace(table, split=split), routers=["subject"], seeds=2, split="table", cost=False, **QUICK)
    assert f"no verdict: test prompts fall into {said}" in results.router("subject").verdict


@pytest.mark.parametrize("split", ["random", "dataset"])
def test_nothing_that_was_measured_on_test_prompts_changes_a_choice(split: Kind) -> None:
    table = made_table(prompts=300)
    drawn = np.clip(table.quality * 0.6 + np.random.default_rng(0).random(table.quality.shape) * 0.3, 0.0, 1.0)
    table = replace(table, expected=drawn)
    options = {**QUICK, "split": split, "seeds": 1, "replicates": 0}
    before = evaluate(table, routers=["subject", "noise:0.1"], **options).folds[0]
    quality, cost, expected = table.quality.copy(), table.cost_usd.copy(), drawn.copy()
    test = before.split.test
    quality[test, 0], expected[test, 0], cost[test] = 1.0, 0.0, cost[test] * 100
    other = replace(table, quality=quality, cost_usd=cost, expected=expected)
    after = evaluate(other, routers=["subject", "noise:0.1"], **options).folds[0]
    assert after.split.test.tolist() == test.tolist() and after.best_single == before.best_single
    for name, method in before.methods.items():
        assert np.array_equal(after.methods[name].choices, method.choices), name
        assert after.methods[name].at_best == method.at_best and after.methods[name].area == method.area, name


def test_random_choice_is_below_the_zero_router(structured: Results) -> None:
    assert structured.router("baseline:random").delta_aiq_ci.high < 0


def test_without_structure_quality_alone_shows_no_gain() -> None:
    table = made_table(prompts=1500, structure=0.0, seed=5)
    results = evaluate(table, routers=["subject", "noise:0.05"], seeds=5, cost=False, **QUICK)
    assert all(v.split(": ")[1].startswith(("no better", "worse")) for v in results.verdicts())
    assert repr(results).splitlines()[1:] == [f"  {v}" for v in results.verdicts()], "what a notebook shows of them"


def test_with_structure_quality_alone_shows_the_gain() -> None:
    table = made_table(prompts=1500, structure=0.25, seed=5)
    results = evaluate(table, routers=["subject"], seeds=5, cost=False, **QUICK)
    row = results.router("subject")
    assert row.quality_gain_ci.low > 0
    assert "better than always using" in row.verdict
    assert np.isnan(row.aiq) and results.baselines["zero_router"] is None


def test_two_models_recover_the_gap_above_chance_only_with_structure() -> None:
    for structure, expected in ((0.3, True), (0.0, False)):
        table = made_table(prompts=1500, models=2, structure=structure, seed=2)
        row = evaluate(table, routers=["subject"], seeds=5, cost=False, **QUICK).router("subject")
        assert row.apgr is not None and row.apgr_ci is not None and row.cpt50 is not None
        assert (row.apgr_ci.low > 0.5) is expected
        assert (row.cpt50 < 0.4) is expected


def test_without_prices_the_router_that_recovers_more_of_the_gap_is_chosen() -> None:
    table = made_table(prompts=3000, models=2, structure=0.16, seed=2)
    results = evaluate(table, routers=["noise:0.01", "subject"], seeds=5, cost=False, **QUICK)
    noise, subject = results.router("noise:0.01"), results.router("subject")
    assert noise.quality == subject.quality
    assert noise.apgr is not None and subject.apgr is not None and subject.apgr > noise.apgr + 0.03
    assert results.router("auto").selected == {"subject": 5}


def test_of_models_that_are_equally_good_the_cheapest_is_the_best_single_one() -> None:
    table = made_table(prompts=200, models=3)
    quality = np.tile(table.quality[:, :1], (1, 3))
    results = evaluate(replace(table, quality=quality, cost_usd=table.cost_usd[:, ::-1]), routers=["subject"], **QUICK)
    assert results.baselines["best_single"]["models"] == ["m2"]
    at_best = results.router("subject").at_best_quality
    assert at_best is not None and at_best.saving == pytest.approx(0.0, abs=1e-3)


def test_a_coin_is_flipped_with_the_better_of_equally_cheap_models() -> None:
    table = made_table(prompts=400, models=3)
    quality, cost = table.quality.copy(), table.cost_usd.copy()
    quality[:, 0], cost[:, 0] = 0.0, cost[:, 1]
    table = replace(table, quality=quality, cost_usd=cost)
    results = evaluate(table, routers=["subject"], **{**QUICK, "seeds": 1})
    at_best, alone = results.router("subject").at_best_quality, results.baselines["single_models"]
    middle = next(single["quality"] for single in alone if single["model"] == "m1")
    assert at_best is not None and at_best.random_quality >= middle > 0.2


def test_holding_a_data_set_out_and_holding_a_model_out_keep_the_winner() -> None:
    table = made_table(prompts=1500, structure=0.2)
    by_dataset = evaluate(table, routers=["subject"], split="dataset", **QUICK)
    assert by_dataset.fold_labels == ("east", "north", "west")
    row = by_dataset.router("subject")
    assert row.delta_aiq_ci.low > 0
    assert row.over_datasets is not None and row.over_datasets["above"] == 3
    assert "3 data sets: intervals and verdicts hold for more prompts of these" in by_dataset.notes[0]
    by_model = evaluate(table, routers=["subject"], split="model", seeds=2, **QUICK)
    assert len(by_model.fold_labels) == 2 and set(by_model.fold_labels) <= set(table.models)
    assert by_model.router("subject").delta_aiq > 0


@pytest.mark.parametrize("dataset", ["east", "west"])
def test_where_one_data_set_costs_the_same_with_all_models_quality_is_judged(dataset: str) -> None:
    table = made_table(prompts=400, structure=0.2)
    same = np.where((table.datasets == dataset)[:, None], table.cost_usd[:, :1], table.cost_usd)
    results = evaluate(replace(table, cost_usd=same), routers=["subject", "noise:0.1"], split="dataset", **QUICK)
    row = results.router("subject")
    assert "all models cost the same in a split" in results.notes[-1]
    assert 0 < row.p_value < row.p_holm < 0.05 and row.quality_gain_ci.low > 0 and "better than always" in row.verdict
    assert row.delta_over_control is not None and row.delta_over_control > 0
    told = row.over_datasets
    assert told is not None and told["above"] + told["below"] == 3 and told["wilcoxon_p"] <= 1


def test_a_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        groups = np.repeat(np.arange(60), 3)
        values = (rng.normal(0.2, 1, 60))[groups] + rng.normal(0, 0.3, 180)
        weights = bootstrap.Resamples(groups, replicates=200, seed=trial).of(np.arange(180))
        interval = bootstrap.percentile_interval((weights @ values)[1:])
        hits += interval.low <= 0.2 <= interval.high
    assert 86 <= hits <= 99


def test_resampling_single_prompts_instead_of_groups_would_be_overconfident() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(50), 6)
    values = rng.normal(0, 1, 50)[groups]
    rows = np.arange(300)
    spread = [np.std((bootstrap.Resamples(g, replicates=300).of(rows) @ values)[1:]) for g in (groups, rows)]
    assert spread[0] > 1.8 * spread[1]


def test_a_router_that_was_not_evaluated_is_named_with_those_that_were(structured: Results) -> None:
    near = structured.routers[0].name
    with pytest.raises(UnknownName, match=f"did you mean '{near}'"):
        structured.router(near + "x")


def test_one_text_for_routers_is_not_read_letter_by_letter() -> None:
    with pytest.raises(InputError, match=r"'knn' is one text; give a list, such as \['knn'\]"):
        evaluate(OutcomeTable.from_rows([{**dict.fromkeys(TEXT, "a"), "quality": 1.0}]), routers="knn")
