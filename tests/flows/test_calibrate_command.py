"""``equipoise calibrate``: what is promised holds on other prompts, and what it takes to promise it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.api import load
from equipoise.cli.main import main
from equipoise.tables import write_table
from tests.small_world import A_SUM, COST_USD, DEAR_MODEL, MODELS, POEM_MODEL, SUM_MODEL, small_table

Calibrate = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that is complete, and one of which every prompt lacks a model's outcome."""
    folder = tmp_path_factory.mktemp("calibrate")
    table = small_table(300)
    write_table(table, folder / "small.parquet")
    holes = np.zeros(table.quality.shape, dtype=bool)
    holes[:, MODELS.index(DEAR_MODEL)], holes[::5, MODELS.index(POEM_MODEL)] = True, True
    holes[1] = False
    emptied = {n: np.where(holes, np.nan, getattr(table, n)) for n in ("quality", "cost_usd")}
    write_table(replace(table, **emptied), folder / "holes.parquet")
    return folder


@pytest.fixture
def calibrate(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Calibrate:
    """Calibrates on a table; tells the status, and what was printed as JSON or as the last line of what went wrong."""

    def command(table: str, *options: Any) -> tuple[int, str]:
        asked = ["calibrate", tables / table, "--router", "knn", "--out", tmp_path / "r.npz", "--json", *options]
        status = main([str(a) for a in asked])
        told = capsys.readouterr()
        return status, told.out if status == 0 else told.err.strip().splitlines()[-1]

    return command


def test_a_floor_is_kept_with_confidence(tmp_path: Path, calibrate: Calibrate) -> None:
    told = json.loads(calibrate("small.parquet", "--floor", 0.9, "--confidence", 0.9)[1])
    assert told["policy"] == {"type": "floor", "floor": 0.9, "confidence": 0.9} and told["multiplier"] > 0
    assert load(tmp_path / "r.npz").decide(A_SUM).method == "floor"
    status, line = calibrate("small.parquet", "--budget-usd", 1, "--confidence", 0.9)
    assert status == 2 and "--confidence goes with --floor" in line


def test_the_budget_is_met_on_new_prompts(tmp_path: Path, calibrate: Calibrate) -> None:
    budget = 0.001
    status, told = calibrate("small.parquet", "--budget-usd", budget)
    summary = json.loads(told)
    assert status == 0 and summary["fitted_on"] + summary["calibrated_on"] == 300
    engine = load(tmp_path / "r.npz")
    new = small_table(60, seed=9)
    cost = [sum(c.probability * COST_USD[c.model] for c in engine.decide(p).candidates) for p in new.prompts]
    assert np.mean(cost) == pytest.approx(budget, rel=0.5)
    assert engine.decide(A_SUM).model in MODELS


@pytest.mark.parametrize(
    ("policy", "key"), [("paced:mean_cost_usd=0.001", "price"), ("direct:cost_weight=50", "offsets")]
)
def test_whatever_a_policy_has_to_set_is_set(tmp_path: Path, calibrate: Calibrate, policy: str, key: str) -> None:
    status, told = calibrate("small.parquet", "--policy", policy)
    summary = json.loads(told)
    assert status == 0 and summary[key] and summary["fitted_on"] + summary["calibrated_on"] == 300
    assert load(tmp_path / "r.npz").policy.settled()[key] == summary[key]


def test_where_no_prompt_is_complete_the_models_that_lack_outcomes_are_named(
    tmp_path: Path, calibrate: Calibrate
) -> None:
    status, line = calibrate("holes.parquet", "--budget-usd", 0.0001)
    assert status == 2 and "prompts to calibrate on was measured, with its cost, on every model" in line
    assert f"'{DEAR_MODEL}' lacks 75, '{POEM_MODEL}' lacks" in line and SUM_MODEL not in line and "--models" in line
    assert not (tmp_path / "r.npz").exists()


def test_some_models_are_calibrated_on_the_prompts_that_they_cover(tmp_path: Path, calibrate: Calibrate) -> None:
    status, told = calibrate("holes.parquet", "--budget-usd", 0.00011, "--models", f"{SUM_MODEL}, {POEM_MODEL}")
    assert status == 0 and 50 < json.loads(told)["calibrated_on"] < 75
    assert [m.name for m in load(tmp_path / "r.npz").models] == [SUM_MODEL, POEM_MODEL]
    status, line = calibrate("holes.parquet", "--budget-usd", 0.00011, "--models", "abacuss")
    assert status == 2 and "did you mean 'abacus'?" in line
