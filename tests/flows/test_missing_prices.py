"""A price that is missing: every command names the options that it has, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from equipoise.cli.main import main
from equipoise.tables import write_table
from tests.small_world import A_SUM, POEM_MODEL, SUM_MODEL, small_table

PRICES, NONE, OTHER = "--prices", "--cost none", "--policy quality_first"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table without costs, and a router that was learned from it."""
    folder = tmp_path_factory.mktemp("free")
    table = small_table(80)
    table.cost_usd[:] = np.nan
    write_table(table, folder / "free.parquet")
    learn = ["train", str(folder / "free.parquet"), "--router", "factorization", "--models", "abacus,colossus"]
    assert main([*learn, "--cost", "none", "--out", str(folder / "r.npz")]) == 0
    return folder


@pytest.mark.parametrize(
    ("command", "model", "ways"),
    [
        (["train", "free.parquet", "--router", "static", "--out", "x"], SUM_MODEL, {PRICES, NONE}),
        (["evaluate", "free.parquet", "--routers", "static"], SUM_MODEL, {PRICES, NONE}),
        (["evaluate", "free.parquet", "--routers", "static", "--cascades", "all"], SUM_MODEL, {PRICES}),
        (["calibrate", "free.parquet", "--budget-usd", "1", "--out", "x"], SUM_MODEL, {PRICES}),
        (
            ["models", "add", "free.parquet", "--router-file", "r.npz", "--model", "bard", "--out", "x"],
            POEM_MODEL,
            {PRICES},
        ),
        (["route", A_SUM, "--router-file", "r.npz", "--policy", "cost_aware:form=linear"], SUM_MODEL, {OTHER}),
    ],
)
def test_what_a_command_suggests_it_has(
    folder: Path,
    command: list[str],
    model: str,
    ways: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(command) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"no price for model '{model}'" in line and "usd_per_1m_input" in line
    assert {way for way in (PRICES, NONE, OTHER) if way in line} == ways
