"""Outcome tables: building, reading, writing, refusing."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import InputError, PriceError, TableError, UnknownName
from equipoise.tables import OutcomeTable, read_table, with_costs, write_table
from equipoise.tables.rows import NUMBERS
from equipoise.tables.table import TEXTS
from equipoise.types import Model, Price


def rows(**changes):
    base = [
        {"prompt_id": "q1", "prompt": "What is 2 + 2?", "dataset": "sums", "model": "big", "quality": 1.0,
         "cost_usd": 0.02, "input_tokens": 8, "output_tokens": 3, "latency_s": 0.5},
        {"prompt_id": "q1", "prompt": "What is 2 + 2?", "dataset": "sums", "model": "small", "quality": 0.0,
         "cost_usd": 0.001, "input_tokens": 8, "output_tokens": 2, "latency_s": 0.1},
        {"prompt_id": "q2", "prompt": "Name a\nprime, \"please\".", "dataset": "names", "model": "small",
         "quality": 0.5, "cost_usd": None, "input_tokens": 9, "output_tokens": 2, "latency_s": None},
    ]  # fmt: skip
    for key, (row, value) in changes.items():
        base[row][key] = value
    return base


def same(a: OutcomeTable, b: OutcomeTable) -> None:
    assert a.models == b.models
    for name in TEXTS:
        assert list(getattr(a, name)) == list(getattr(b, name))
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.split is None) == (b.split is None)
    assert a.split is None or list(a.split) == list(b.split)


def save(path: Path, records) -> Path:
    if path.suffix == ".csv":
        pa.csv.write_csv(pa.Table.from_pylist(records), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    else:
        pq.write_table(pa.Table.from_pylist(records), path)
    return path


# ---------------------------------------------------------------- the table


def test_prompts_and_models_stand_in_order_of_first_appearance():
    table = OutcomeTable.from_rows(reversed(rows()))
    assert list(table.prompt_ids) == ["q2", "q1"]
    assert table.models == ("small", "big")
    assert table.quality.tolist()[1] == [0.0, 1.0]


def test_missing_cells_are_nan():
    table = OutcomeTable.from_rows(rows())
    assert math.isnan(table.quality[1, 0]) and math.isnan(table.cost_usd[1, 1])
    assert table.coverage() == {"big": 0.5, "small": 1.0}
    assert table.complete_models() == ("small",)


def test_take_keeps_the_order_that_was_asked_for():
    table = OutcomeTable.from_rows(rows())
    assert list(table.take([1, 0]).prompt_ids) == ["q2", "q1"]
    assert list(table.take(np.array([False, True])).prompt_ids) == ["q2"]
    assert len(table.take([])) == 0


def test_only_selects_models_and_names_the_nearest_unknown_one():
    table = OutcomeTable.from_rows(rows())
    assert table.only(["small"]).quality.tolist() == [[0.0], [0.5]]
    assert table.only(["small", "big"]).models == ("small", "big")
    with pytest.raises(UnknownName, match="did you mean 'small'"):
        table.only(["smal"])


def test_groups_default_to_the_prompt_itself():
    table = OutcomeTable.from_rows(rows())
    assert list(table.groups) == ["q1", "q2"] and not table.has_groups
    grouped = OutcomeTable.from_rows([{**r, "group": "g"} for r in rows()])
    assert list(grouped.groups) == ["g", "g"] and grouped.has_groups


def test_booleans_count_as_quality():
    table = OutcomeTable.from_rows(rows(quality=(0, True)))
    assert table.quality[0, 0] == 1.0


def test_whole_numbers_are_taken_as_prompt_ids():
    table = OutcomeTable.from_rows([{**r, "prompt_id": 7} for r in rows()[:2]])
    assert list(table.prompt_ids) == ["7"]


def test_columns_of_unequal_length_are_refused():
    columns = {key: [r[key] for r in rows()] for key in rows()[0]}
    with pytest.raises(TableError, match="columns have 2 and 3 entries"):
        OutcomeTable.from_columns({**columns, "quality": [1.0, 0.0]})


# ---------------------------------------------------------------- reading and writing


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_written_table_reads_back_the_same(tmp_path, ending):
    table = OutcomeTable.from_rows([{**r, "group": "g1", "split": "test"} for r in rows()])
    write_table(table, tmp_path / f"t.{ending}")
    back = read_table(tmp_path / f"t.{ending}")
    same(table, back)
    assert back.name == "t"
    assert [p.name for p in tmp_path.iterdir()] == [f"t.{ending}"]


letters = st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t,;\"'")
texts = st.text(letters, min_size=1, max_size=20).filter(str.strip)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(texts, names, st.floats(0, 1), st.none() | st.floats(0, 1e6)),
        min_size=1, max_size=6,
    ),
    st.sampled_from(["parquet", "csv", "jsonl"]),
)  # fmt: skip
def test_any_table_survives_a_round_trip(tmp_path_factory, cells, ending):
    records = [
        {"prompt_id": f"p{i // 2}", "prompt": cells[i - i % 2][0], "dataset": "d",
         "model": f"{i % 2}{cells[i % 2][1]}", "quality": q, "cost_usd": c}
        for i, (_, _, q, c) in enumerate(cells)
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("t") / f"t.{ending}"
    table = OutcomeTable.from_rows(records)
    write_table(table, path)
    same(table, read_table(path))


def test_what_a_file_is_its_content_says(tmp_path):
    for ending in ("parquet", "csv", "jsonl"):
        write_table(OutcomeTable.from_rows(rows()), tmp_path / f"t.{ending}")
        (tmp_path / f"t.{ending}").rename(tmp_path / f"{ending}.data")
        same(OutcomeTable.from_rows(rows()), read_table(tmp_path / f"{ending}.data"))


def test_extra_columns_are_ignored(tmp_path):
    for name in ("t.parquet", "t.jsonl"):
        path = save(tmp_path / name, [{**r, "response": [{"y": 1}], "note": 3} for r in rows()])
        same(OutcomeTable.from_rows(rows()), read_table(path))


def test_csv_with_semicolons_a_byte_order_mark_and_blank_optional_cells_reads(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        "prompt_id;prompt;dataset;model;quality;cost_usd;note\r\n1;Grüße;d;a;TRUE;;x\r\n1;Grüße;d;b;0;0.5;y\r\n".encode(
            "utf-8-sig"
        )
    )
    table = read_table(path)
    assert table.prompts[0] == "Grüße" and table.quality.tolist() == [[1.0, 0.0]]
    assert math.isnan(table.cost_usd[0, 0]) and table.cost_usd[0, 1] == 0.5


def test_json_lines_of_mixed_types_read(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"prompt_id": 1, "prompt": "x", "dataset": "d", "model": "a", "quality": true}\n\n'
        '{"prompt_id": "1", "prompt": "x", "dataset": "d", "model": "b", "quality": 0.5, "cost_usd": 1}\n'
    )
    assert read_table(path).quality.tolist() == [[1.0, 0.5]]


def test_a_large_parquet_with_many_row_groups_keeps_its_order(tmp_path):
    n = 3000
    records = {
        "prompt_id": np.repeat([f"p{i}" for i in range(n)], 3),
        "prompt": np.repeat([f"prompt {i % 700}" for i in range(n)], 3),
        "dataset": np.repeat([f"d{i % 5}" for i in range(n)], 3),
        "model": np.tile(["a", "b", "c"], n),
        "quality": np.tile([0.0, 0.5, 1.0], n),
    }
    pq.write_table(pa.table(records), tmp_path / "t.parquet", row_group_size=500)
    table = read_table(tmp_path / "t.parquet")
    assert list(table.prompt_ids) == [f"p{i}" for i in range(n)]
    assert list(table.prompts) == [f"prompt {i % 700}" for i in range(n)]
    assert (table.quality == [0.0, 0.5, 1.0]).all()


def test_arrow_dictionaries_with_repeats_and_nulls_are_understood():
    models = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "a", None]))
    columns = {"prompt_id": ["1", "2", "3"], "prompt": ["x", "y", "z"], "dataset": ["d"] * 3, "quality": [1.0] * 3}
    with pytest.raises(TableError, match="row 3: model is empty"):
        OutcomeTable.from_columns({**columns, "model": pa.chunked_array([models])})
    columns = {name: values[:2] for name, values in columns.items()}
    assert OutcomeTable.from_columns({**columns, "model": pa.chunked_array([models[:2]])}).models == ("a",)


# ---------------------------------------------------------------- refusing

BAD_CELLS = [
    ({"quality": (1, None)}, r"row 2: quality is empty \(prompt_id 'q1', model 'small'\); grade"),
    ({"quality": (1, math.nan)}, r"row 2: quality is empty"),
    ({"quality": (2, 1.5)}, r"row 3: quality 1.5 is outside 0 to 1 .*divide by"),
    ({"quality": (2, -0.1)}, r"row 3: quality -0.1 is outside"),
    ({"cost_usd": (0, -1.0)}, r"row 1: cost_usd is -1"),
    ({"cost_usd": (0, math.inf)}, r"row 1: cost_usd is inf"),
    ({"input_tokens": (0, -4)}, r"row 1: input_tokens is -4"),
    ({"latency_s": (1, -1.0)}, r"row 2: latency_s is -1"),
    ({"prompt": (2, "  ")}, r"row 3: prompt is empty"),
    ({"prompt": (2, None)}, r"row 3: prompt is empty"),
    ({"prompt_id": (0, "")}, r"row 1: prompt_id is empty"),
    ({"model": (0, None)}, r"row 1: model is empty"),
    ({"prompt_id": (2, "q1")}, r"row 3: prompt_id 'q1' has another prompt than in row 1"),
    ({"dataset": (1, "other")}, r"row 2: prompt_id 'q1' has another dataset than in row 1"),
    ({"model": (1, "big")}, r"row 2: prompt_id 'q1', model 'big' already stands in row 1"),
    ({"prompt": (2, "x" * 1_000_001)}, r"row 3: the prompt of 'q2' is longer than 1 MB"),
]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(("change", "message"), BAD_CELLS)
def test_a_bad_cell_is_refused_naming_file_and_row(tmp_path, ending, change, message):
    path = save(tmp_path / f"t.{ending}", rows(**change))
    with pytest.raises(TableError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_text_in_a_number_column_is_refused_naming_the_row(tmp_path, ending):
    records = [{**r, "quality": "good" if i == 2 else str(r["quality"])} for i, r in enumerate(rows())]
    with pytest.raises(TableError, match="row 3: quality is 'good'; write a plain number"):
        read_table(save(tmp_path / f"t.{ending}", records))


def test_a_parquet_column_of_the_wrong_type_is_refused(tmp_path):
    records = [{**r, "prompt": [r["prompt"]]} for r in rows()]
    with pytest.raises(TableError, match="column 'prompt' holds list<.*not text"):
        read_table(save(tmp_path / "t.parquet", records))


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_missing_column_is_named_with_the_nearest_one(tmp_path, ending):
    records = [{("Qualty" if k == "quality" else k): v for k, v in r.items()} for r in rows()]
    with pytest.raises(TableError, match="missing column 'dataset'; write where every prompt comes from"):
        OutcomeTable.from_rows([{"prompt_id": "1", "prompt": "Hi", "model": "a", "quality": 1.0}])
    with pytest.raises(TableError, match="missing column 'quality'; rename 'Qualty' to 'quality'"):
        read_table(save(tmp_path / f"t.{ending}", records))


def test_a_wide_table_is_pointed_to_convert(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("prompt_id,prompt,dataset,gpt-4,small\n1,x,d,1,0\n")
    with pytest.raises(TableError, match="equipoise table convert"):
        read_table(path)


HEAD = "prompt_id,prompt,dataset,model,quality\n"
WRONG_FILES = {
    "gzip": (b"\x1f\x8b\x08\x00abc", "gzip"),
    "zip": (b"PK\x03\x04abc", "zip"),
    "pickle": (b"\x80\x04\x95abc", "pickle, which is never loaded"),
    "binary": (b"abc\x00\x01\x02", "binary file"),
    "empty": (b"", "the file is empty"),
    "blank": (b" \n \n", "the file is empty"),
    "html": (b"<!DOCTYPE html><html>", "HTML"),
    "utf16": ("prompt_id,prompt".encode("utf-16"), "UTF-16"),
    "latin1": ((HEAD + "1,Gr\xfc\xdfe,d,a,1\n" + "1,x,d,b,1\n" * 9).encode("latin-1"), "not UTF-8"),
    "parquet": (b"PAR1 no parquet at all PAR1", "damaged parquet"),
    "header": (HEAD.encode(), "no rows"),
    "ragged": ((HEAD + "1,x,d,a,1\n1,x, y,d,b,1\n").encode(), "row 2: 6 fields, but the header has 5"),
    "twice": (b"prompt_id,prompt,prompt,model\n1,x,d,a\n", "column 'prompt' stands twice"),
    "array": (b'[{"prompt_id": 1}]', "one JSON array"),
    "line": (b'{"prompt_id": 1}\n{"prompt_id": \n', "line 2: not JSON"),
    "list": (b'{"prompt_id": 1}\n[1]\n', "line 2: not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_of_the_wrong_kind_is_refused_in_one_line(tmp_path, kind):
    content, message = WRONG_FILES[kind]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "absent.parquet")
    with pytest.raises(TableError, match="folder"):
        read_table(tmp_path)


def test_a_damaged_parquet_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(OutcomeTable.from_rows(rows()), path)
    whole = path.read_bytes()
    for end in (len(whole) // 2, len(whole) - 9, 12):
        path.write_bytes(whole[:end])
        with pytest.raises(TableError, match="damaged parquet"):
            read_table(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    write_table(OutcomeTable.from_rows(rows()), path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        args[1].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(InputError, match="No space left"):
        write_table(OutcomeTable.from_rows(rows()), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    with pytest.raises(InputError, match="cannot be written"):
        write_table(OutcomeTable.from_rows(rows()), tmp_path / "no" / "t.csv")


# ---------------------------------------------------------------- costs


def nothing(name: str) -> Model | None:
    return None


def test_missing_costs_come_from_tokens_and_price_and_measured_ones_stay():
    table = OutcomeTable.from_rows(rows())
    price = Price(usd_per_1m_input=1.0, usd_per_1m_output=10.0)
    priced = with_costs(table, prices={"small": price}, find=nothing)
    assert priced.cost_usd[1, 1] == pytest.approx((9 * 1 + 2 * 10) / 1e6)
    assert priced.cost_usd[0, 1] == 0.001
    assert math.isnan(priced.cost_usd[1, 0])  # never run, so no cost
    assert math.isnan(table.cost_usd[1, 1])


def test_long_prompts_cost_what_the_price_says_of_them():
    table = OutcomeTable.from_rows(rows())  # of 9 tokens in and 2 out
    price = Price(usd_per_1m_input=1.0, usd_per_1m_output=10.0, usd_per_1m_input_long=2.0, usd_per_1m_output_long=15.0)
    for begins, cost in ((8, 9 * 2 + 2 * 15), (9, 9 * 1 + 2 * 10)):
        priced = with_costs(table, prices={"small": replace(price, long_from_tokens=begins)}, find=nothing)
        assert priced.cost_usd[1, 1] == pytest.approx(cost / 1e6)
        assert priced.cost_usd[1, 1] == pytest.approx(replace(price, long_from_tokens=begins).cost_usd(9, 2))


def test_given_prices_win_over_the_catalog():
    table = OutcomeTable.from_rows(rows())
    find = lambda name: Model(name=name, price=Price(usd_per_call=5.0))  # noqa: E731
    assert with_costs(table, prices={"small": Price(usd_per_call=2.0)}, find=find).cost_usd[1, 1] == 2.0
    assert with_costs(table, prices={}, find=find).cost_usd[1, 1] == 5.0


def test_a_price_per_call_needs_no_tokens_and_a_token_price_does():
    table = OutcomeTable.from_rows([{k: v for k, v in r.items() if not k.endswith("tokens")} for r in rows()])
    assert with_costs(table, prices={"small": Price(usd_per_call=0.5)}, find=nothing).cost_usd[1, 1] == 0.5
    with pytest.raises(PriceError, match="'small'.*neither cost_usd nor input_tokens in 1 rows .*'q2'"):
        with_costs(table, prices={"small": Price(usd_per_1m_input=1.0)}, find=nothing)


@pytest.mark.parametrize(
    "found", [None, Model(name="small"), Model(name="small", price=Price()),
              Model(name="small", price=Price(usd_per_compute_s=1.0))]
)  # fmt: skip
def test_a_price_that_cannot_be_known_is_an_error_never_zero(found):
    with pytest.raises(PriceError) as caught:
        with_costs(OutcomeTable.from_rows(rows()), prices=None, find=lambda name: found)
    assert caught.value.model == "small"


def test_a_table_with_all_costs_asks_for_no_price():
    table = OutcomeTable.from_rows(rows(cost_usd=(2, 0.5)))
    assert with_costs(table, find=nothing).cost_usd[1, 1] == 0.5


@pytest.mark.parametrize("text", ["1_0", "\u0661", "0x1"])
def test_what_python_alone_takes_for_a_number_is_refused_naming_the_row(text):
    with pytest.raises(TableError, match="row 3: quality is '.*'; write a plain number"):
        OutcomeTable.from_rows(rows(quality=(0, "1"))[:2] + [rows(quality=(2, text))[2]])


@pytest.mark.parametrize("prompt", [["a"], {"role": "user"}])
def test_a_prompt_that_is_no_text_is_refused(tmp_path, prompt):
    with pytest.raises(TableError, match="row 3: prompt is .* which is no text"):
        read_table(save(tmp_path / "t.jsonl", rows(prompt=(2, prompt))))


def test_numbers_too_large_to_be_true_are_refused():
    with pytest.raises(TableError, match=r"row 1: cost_usd is 1e\+300 .*from 0 to 1e\+15"):
        OutcomeTable.from_rows(rows(cost_usd=(0, 1e300)))


@pytest.mark.parametrize("name", ["big\nquality", "\x1b[31mbig"])
def test_names_that_would_break_a_line_are_refused(name):
    with pytest.raises(TableError, match="row 1: model .* holds a line break or another control character"):
        OutcomeTable.from_rows(rows(model=(0, name)))


@pytest.mark.parametrize("column", ["model", "dataset"])
def test_a_name_with_spaces_around_it_is_refused_since_it_would_be_another_one(column):
    with pytest.raises(TableError, match=f"row 2: {column} 'big ' has spaces around it; take them off"):
        OutcomeTable.from_rows(rows(**{column: (1, "big ")}))


def test_a_pipe_is_refused_because_it_cannot_be_read_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match="a pipe or device"):
        read_table(tmp_path / "pipe")
