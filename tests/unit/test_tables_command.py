"""The commands table and datasets."""

from __future__ import annotations

import argparse
import json

import pytest

from equipoise.cli import table as command
from equipoise.errors import InputError
from equipoise.tables import OutcomeTable, read_table, write_table


def call(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def file(tmp_path):
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"question number w{i}", "dataset": "d", "model": m,
         "quality": float(i % k > 0), "cost_usd": c, "input_tokens": 5 + i, "output_tokens": 7 + i % 5}
        for i in range(30) for m, k, c in (("x", 2, 0.25), ("y", 3, None))
    ]  # fmt: skip
    write_table(OutcomeTable.from_rows(rows), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_describe_prints_a_table_or_one_document(file, capsys):
    assert call(command, "describe", file) == 0
    assert "best single model: y" in capsys.readouterr().out
    assert call(command, "describe", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_prompts"] == 30


def test_a_data_set_is_described_and_checked_by_its_name(capsys):
    assert call(command, "describe", "ladder") == 0
    assert capsys.readouterr().out.startswith("ladder: ")
    assert call(command, "lint", "ladder") == 0
    assert "ladder: 0 errors" in capsys.readouterr().out


def test_describe_with_prices_fills_costs_in(file, tmp_path, capsys):
    prices = tmp_path / "prices.csv"
    prices.write_text("model,usd_per_1m_input,usd_per_1m_output,usd_per_call\ny,,,0.5\n")
    call(command, "describe", file, "--prices", prices, "--json")
    models = {m["model"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    assert models["y"]["cost_usd"] == 0.5 and models["x"]["cost_usd"] == 0.25


def test_lint_exits_1_on_errors_only(file, tmp_path, capsys):
    assert call(command, "lint", file) == 0
    assert "0 errors" in capsys.readouterr().out
    bad = tmp_path / "bad.csv"
    bad.write_text("prompt_id,prompt,dataset,model,quality\np,x,d,m,1\np,x,d,m,1\n")
    assert call(command, "lint", bad) == 1
    assert "error duplicate" in capsys.readouterr().out
    assert call(command, "lint", bad, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["errors"] == 1 and document["findings"][0]["code"] == "duplicate"


def test_convert_writes_a_table_and_names_the_format(tmp_path, capsys):
    source = tmp_path / "mmlu_law.csv"
    source.write_text("prompt,a,b\nQ?,True,False\n")
    out = tmp_path / "out.jsonl"
    assert call(command, "convert", source, "--out", out) == 0
    printed = capsys.readouterr()
    assert "read as 'routellm'" in printed.out and "note:" in printed.err
    assert read_table(out).models == ("a", "b")
    assert call(command, "convert", source, "--format", "wide", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["format"] == "wide"


@pytest.mark.parametrize(("out", "said"), [("out.xlsx", "name it .parquet"), ("in.csv", "in.csv")])
def test_convert_writes_no_other_kind_of_file_and_nothing_over_what_it_reads(out, said, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("prompt,a,b\nQ?,1,0\n")
    with pytest.raises(InputError, match=said):
        call(command, "convert", source, "--out", tmp_path / out)
    assert [f.name for f in tmp_path.iterdir()] == ["in.csv"]


def test_convert_does_not_write_over_the_prices(tmp_path):
    source, prices = tmp_path / "in.csv", tmp_path / "prices.csv"
    source.write_text("prompt,a,b\nQ?,1,0\n")
    prices.write_text(before := "model,usd_per_call\na,1\nb,2\n")
    with pytest.raises(InputError, match="would be overwritten"):
        call(command, "convert", source, "--prices", prices, "--out", prices)
    assert prices.read_text() == before


def test_an_unknown_format_is_bad_usage(tmp_path):
    with pytest.raises(SystemExit) as caught:
        call(command, "convert", "x.csv", "--format", "nope", "--out", tmp_path / "o")
    assert caught.value.code == 2


def test_datasets_are_listed_and_found(file, tmp_path, monkeypatch, capsys):
    pytest.importorskip("equipoise.config")
    from equipoise.cli import datasets

    write_table(read_table(file), tmp_path / "mmlupro.parquet")
    monkeypatch.setenv("EQUIPOISE_DATA", str(tmp_path))
    assert call(datasets, "list", "--json") == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["mmlu-pro-outcomes"]["path"] == str(tmp_path / "mmlupro.parquet")
    assert call(datasets, "list") == 0
    assert "Apache-2.0" in capsys.readouterr().out
    assert call(datasets, "path", "mmlu-pro-outcomes") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "mmlupro.parquet")
    with pytest.raises(InputError):
        call(datasets, "path", "routerbench")
