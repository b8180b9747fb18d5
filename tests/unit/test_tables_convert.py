"""Other projects' formats."""

from __future__ import annotations

import csv
import json
import math
import zipfile

import pytest

from equipoise.errors import TableError, UnknownName
from equipoise.tables import OutcomeTable, write_table
from equipoise.tables.convert import convert, detect_format


def write_csv(path, header, *lines):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def test_routerbench(tmp_path):
    path = write_csv(
        tmp_path / "routerbench_0shot.csv",
        ["sample_id", "prompt", "eval_name", "gpt-4", "a/b:chat", "gpt-4|model_response",
         "a/b:chat|model_response", "gpt-4|total_cost", "a/b:chat|total_cost", "oracle_model_to_route_to"],
        ["mmlu.1", "['Answer:\\n\\nWhat?', 'Be brief']", "mmlu", 1.0, 0.25, "A", "x, y", 0.01, 0.001, "gpt"],
        ["mbpp.2", "Write code", "mbpp", 0.0, "", "B", "", 0.02, "", "no_model_correct"],
    )  # fmt: skip
    assert detect_format(path) == "routerbench"
    table = convert(path)
    assert table.name == "routerbench_0shot" and table.models == ("gpt-4", "a/b:chat")
    assert list(table.prompts) == ["Answer:\n\nWhat?\nBe brief", "Write code"]
    assert list(table.datasets) == ["mmlu", "mbpp"]
    assert table.quality[0].tolist() == [1.0, 0.25] and math.isnan(table.quality[1, 1])
    assert table.cost_usd[0].tolist() == [0.01, 0.001]


def test_routellm_in_one_file_and_in_a_folder(tmp_path):
    folder = tmp_path / "routellm"
    folder.mkdir()
    models = ["gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"]
    write_csv(
        folder / "mmlu_anatomy.csv",
        ["prompt", *models],
        ["Q1\nA. x", "True", "False"],
        ["Q2", "False", "True"],
    )
    write_csv(
        folder / "gsm8k_responses.csv",
        ["prompt", *models, *(f"{m}_response" for m in models)],
        ["Sum?", "True", "True", "It is, as ever, 4", "5"],
    )
    assert detect_format(folder) == detect_format(folder / "mmlu_anatomy.csv") == "routellm"
    table = convert(folder)
    assert list(table.prompt_ids) == ["gsm8k-0", "mmlu_anatomy-0", "mmlu_anatomy-1"]
    assert list(table.datasets) == ["gsm8k", "mmlu_anatomy", "mmlu_anatomy"]
    assert table.models == tuple(models) and table.quality.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert len(convert(folder / "mmlu_anatomy.csv")) == 2


def test_llmrouter_json_lines(tmp_path):
    path = tmp_path / "default_routing_train_data.jsonl"
    records = [
        {"task_name": "gsm8k", "query": q, "ground_truth": "2", "metric": "EM", "model_name": m,
         "performance": s, "input_tokens": 9, "output_tokens": 4, "token_num": 13, "response_time": 1.5}
        for q in ("1+1?", "4-2?") for m, s in (("a", 1.0), ("b", 0.5))
    ]  # fmt: skip
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    assert detect_format(path) == "llmrouter"
    table = convert(path)
    assert list(table.prompt_ids) == ["gsm8k-0", "gsm8k-1"] and list(table.split) == ["train", "train"]
    assert table.quality.tolist() == [[1.0, 0.5]] * 2 and table.latency_s[0, 0] == 1.5
    assert table.output_tokens[0, 0] == 4
    path.write_text('{"task_name": "gsm8k", "model_name": "a", "performance": 0.5}\n')
    with pytest.raises(TableError, match="line 1: no 'query'"):
        convert(path, format="llmrouter")


def test_llmrouter_score_arrays(tmp_path):
    folder = tmp_path / "llmrouter"
    folder.mkdir()
    for split, extra in (("train", {"cluster_id": 2}), ("test", {})):
        records = [{"question": f"{split}?", "scores": {"a": 1.0, "b": 0.0}, **extra}]
        (folder / f"{split}.json").write_text(json.dumps(records))
    assert detect_format(folder) == "llmrouter"
    table = convert(folder)
    assert sorted(table.prompt_ids) == ["test-0", "train-0"] and sorted(table.split) == ["test", "train"]
    assert sorted(table.datasets) == ["cluster-2", "test"]


@pytest.mark.parametrize(("name", "split"), [("latest", None), ("routing-test-v2", ["test"]), ("constrained", None)])
def test_a_files_name_tells_its_split_by_whole_words(tmp_path, name, split):
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps([{"question": "1+1?", "scores": {"a": 1.0, "b": 0.0}}]))
    found = convert(path, format="llmrouter").split
    assert (found if found is None else list(found)) == split


def test_an_archive_of_more_files_than_are_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("equipoise.tables.convert.MAX_FILES", 2)
    path = tmp_path / "model_outputs_big_5shots.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}.json", "[]")
    with pytest.raises(TableError, match="more than 2 files in this archive"):
        convert(path, format="mmlu-pro")


def test_mmlu_pro_results_in_zip_and_json(tmp_path):
    folder = tmp_path / "mmlu"
    folder.mkdir()
    records = [
        {
            "question_id": 70,
            "question": "Which?",
            "options": ["x", "y"],
            "answer": "B",
            "category": "law",
            "pred": p,
        }
        for p in ("B",)
    ]
    with zipfile.ZipFile(folder / "model_outputs_big-1.0_5shots.zip", "w") as archive:
        archive.writestr("out.json", json.dumps(records))
        archive.writestr("__MACOSX/out.json", "junk")
    changed = [{**records[0], "question": "Which one?", "pred": None}]
    (folder / "model_outputs_small_5shots.json").write_text(json.dumps(changed))
    assert detect_format(folder) == "mmlu-pro"
    table = convert(folder)
    assert table.models == ("big-1.0", "small") and table.quality.tolist() == [[1.0, 0.0]]
    assert list(table.prompts) == ["Which?\nA. x\nB. y"] and list(table.datasets) == ["law"]


def test_plain_wide_tables_with_costs_and_tokens(tmp_path):
    path = write_csv(
        tmp_path / "mine.csv",
        ["prompt", "dataset", "gpt-4", "llama:8b", "gpt-4:cost", "llama:8b:cost_usd", "gpt-4:output_tokens"],
        ["Hi", "d", "1", "0.5", "0.1", "", "3"],
        ["Ho", "e", "", "true", "", "0.2", ""],
    )
    assert detect_format(path) == "wide"
    table = convert(path)
    assert table.models == ("gpt-4", "llama:8b") and list(table.prompt_ids) == ["mine-0", "mine-1"]
    assert table.cost_usd[0, 0] == 0.1 and table.cost_usd[1, 1] == 0.2 and table.output_tokens[0, 0] == 3
    assert table.quality[1, 1] == 1.0 and math.isnan(table.quality[1, 0])


def test_spaces_after_the_commas_of_a_wide_tables_header_are_no_part_of_a_models_name(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("prompt, a, b, a:cost\nQ?,1,0,0.5\n")
    assert convert(path, format="wide").models == ("a", "b")
    path.write_text("prompt,a, a\nQ?,1,0\n")
    with pytest.raises(TableError, match="row 1: .*'a'"):
        convert(path, format="wide")


def test_what_is_wrong_with_a_wide_table_is_told_by_the_row_of_its_file(tmp_path):
    head = ["prompt_id", "prompt", "a", "b", "c"]
    path = write_csv(tmp_path / "t.csv", head, ["1", "Hi", 1, 1, 1], ["2", "Ho", 1, 1, 5], ["3", "", 1, 1, 1])
    with pytest.raises(TableError, match=r"t.csv, row 3: prompt is empty"):
        convert(path)
    path = write_csv(tmp_path / "t.csv", head, ["1", "Hi", 1, 1, 1], ["2", "Ho", 1, 1, 5], ["1", "Hi", 1, 1, 1])
    with pytest.raises(TableError, match=r"t.csv, row 2: quality 5 is outside 0 to 1 \(prompt_id '2', model 'c'\)"):
        convert(path)
    path = write_csv(tmp_path / "t.csv", head, ["1", "Hi", 1, 1, 1], ["2", "Ho", 1, 1, 1], ["2", "Ho", 1, 1, 1])
    with pytest.raises(TableError, match=r"t.csv, row 3: .* already stands in row 2"):
        convert(path)


def test_a_wide_column_that_is_no_model_is_named(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["prompt", "gpt-4", "comment"], ["Hi", 1, "nice"])
    with pytest.raises(TableError, match="row 1: comment is 'nice'.*taken as a model's quality"):
        convert(path)
    path = write_csv(tmp_path / "t.csv", ["prompt", "gpt-4", "gpt-5:cost"], ["Hi", 1, 2])
    with pytest.raises(TableError, match="'gpt-5:cost' belongs to 'gpt-5'"):
        convert(path, format="wide")


def test_an_outcome_table_is_recognised_and_others_are_refused(tmp_path):
    table = OutcomeTable.from_rows([{"prompt_id": "1", "prompt": "x", "dataset": "d", "model": "m", "quality": 1.0}])
    for ending in ("parquet", "csv", "jsonl"):
        write_table(table, tmp_path / f"t.{ending}")
        assert detect_format(tmp_path / f"t.{ending}") == "long" and len(convert(tmp_path / f"t.{ending}")) == 1
    with pytest.raises(TableError, match="no known format"):
        detect_format(write_csv(tmp_path / "x.csv", ["a", "b"], [1, 2]))
    with pytest.raises(UnknownName, match="did you mean 'wide'"):
        convert(tmp_path / "x.csv", format="wid")
    with pytest.raises(TableError, match="no such file"):
        convert(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match=r"no \.csv"):
        convert(tmp_path / "empty")


@pytest.mark.parametrize("name", ["routerbench", "routellm", "llmrouter", "mmlu-pro", "wide"])
def test_every_format_refuses_a_foreign_file_in_one_line(tmp_path, name):
    for content in ("a,b\n1,2\n", '{"a": 1}\n', '[{"a": 1}]', "[1]"):
        path = tmp_path / "t.csv"
        path.write_text(content)
        with pytest.raises(TableError) as caught:
            convert(path, format=name)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("again", ["a:cost", "a:quality"])
def test_wide_columns_that_say_the_same_twice_are_refused(tmp_path, again):
    path = tmp_path / "wide.csv"
    path.write_text(f"prompt,a,a:cost_usd,{again}\nhi,1,0.1,0.5\n")
    with pytest.raises(TableError, match=f"column '{again}' and another both give"):
        convert(path, format="wide")
