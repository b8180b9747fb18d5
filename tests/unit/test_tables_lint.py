"""Lint finds what is wrong, and says nothing about a sound table."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import PriceError, TableError
from equipoise.tables import OutcomeTable, write_table
from equipoise.tables.describe import describe, describe_text, wilson
from equipoise.tables.lint import lint

N = 60


def sound(**changes) -> OutcomeTable:
    rng = np.random.default_rng(7)
    names = "prompt_id prompt dataset model quality cost_usd input_tokens output_tokens latency_s"
    columns: dict[str, list] = {name: [] for name in names.split()}
    for i in range(N):
        words = " ".join(f"w{k}" for k in rng.integers(0, 5000, size=int(rng.integers(4, 60))))
        tokens = len(words.split()) + int(rng.integers(0, 12))
        for model, skill, price in (("big", 0.8, 10.0), ("mid", 0.6, 3.0), ("small", 0.4, 1.0)):
            out = int(rng.integers(5, 300))
            values = (f"p{i}", words, f"d{i % 3}", model, float(rng.random() < skill),
                      (tokens + 4 * out) * price / 1e6, tokens, out, 0.5)  # fmt: skip
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    columns |= changes
    for name in [name for name, value in columns.items() if value is None]:
        del columns[name]
    return OutcomeTable.from_columns(columns)


def long(table: OutcomeTable, name: str) -> np.ndarray:
    return getattr(table, name).ravel().copy()


def codes(findings) -> list[str]:
    return [f.code for f in findings]


def test_a_sound_table_has_no_findings():
    assert lint(sound()) == []


def test_a_table_of_which_nothing_is_left_has_no_row_and_nothing_to_describe():
    empty = sound().take([])
    assert codes(lint(empty)) == ["no_rows"]
    for nothing in (empty, sound().only([])):
        assert "nothing can be compared" in describe_text(describe(nothing))


def test_bad_rows_of_a_file_are_counted_and_the_rest_is_still_looked_at(tmp_path):
    path = tmp_path / "t.csv"
    lines = [f"p{i},prompt number w{i} x{i * 7},d,{m},1,1" for i in range(30) for m in "ab"]
    lines += ["p0,prompt number w0 x0,d,a,1,1", "p1,prompt number w1 x7,d,c,2,1"]
    lines += ["p2,,d,a,1,1", "p3,x,d,c,1,-1", "p4,x,d,\x1b[31mc,1,1", "p5,x,d,b ,1,1"]
    path.write_text("prompt_id,prompt,dataset,model,quality,cost_usd\n" + "\n".join(lines) + "\n")
    findings = lint(path)
    by_code = {f.code: f for f in findings}
    of_rows = {"duplicate", "quality_range", "empty_cell", "impossible_number", "conflict"}
    of_rows |= {"control_character", "space_around"}
    assert of_rows <= set(by_code)
    assert "row 61" in by_code["duplicate"].examples[0]
    assert "constant_quality" in by_code  # a and b are always right
    assert codes(findings)[0] in by_code and findings[0].severity == "error"


def test_a_file_of_bad_rows_only_is_an_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("prompt_id,prompt,dataset,model,quality\np,x,d,m,7\n")
    assert codes(lint(path)) == ["quality_range", "no_rows"]


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="missing columns"):
        lint(tmp_path / "t.csv")


def test_zero_costs_with_tokens_are_an_error():
    table = sound()
    cost = long(table, "cost_usd")
    cost[::3] = 0.0
    (finding,) = lint(sound(cost_usd=cost))
    assert (finding.code, finding.severity, finding.count) == ("zero_cost", "error", N)
    assert finding.examples == (f"big: {N} rows",)


def test_missing_costs_are_told_apart_by_whether_tokens_are_there():
    assert codes(lint(sound(cost_usd=None))) == ["cost_missing"]
    assert codes(lint(sound(cost_usd=None, output_tokens=None))) == ["cost_unknown"]


def test_costs_that_do_not_fit_the_tokens_are_found():
    cost = long(sound(), "cost_usd")
    cost[3] *= 1000
    (finding,) = lint(sound(cost_usd=cost))
    assert finding.code == "cost_tokens" and finding.count == 1 and finding.examples == ("prompt_id p1",)


def test_constant_and_made_up_token_counts_are_found():
    table = sound()
    out = long(table, "output_tokens")
    out[::3] = 128
    findings = lint(sound(output_tokens=out, cost_usd=None))
    assert ("constant_tokens", "big: output_tokens is 128 in 100% of rows; were tokens counted?") in [
        (f.code, f.message) for f in findings
    ]
    quarter = np.repeat([float(round(len(text) / 4)) for text in table.prompts], 3)
    findings = lint(sound(input_tokens=quarter, cost_usd=None))
    assert "made_up_tokens" in codes(findings) and "characters" in findings[0].message


def test_unequal_coverage_is_found():
    table = sound()
    keep = [i for i in range(N * 3) if i % 3 != 2 or i < 90]
    columns = {
        "prompt_id": np.repeat(table.prompt_ids, 3)[keep],
        "prompt": np.repeat(table.prompts, 3)[keep],
        "dataset": np.repeat(table.datasets, 3)[keep],
        "model": np.tile(table.models, N)[keep],
        "quality": long(table, "quality")[keep],
        "cost_usd": long(table, "cost_usd")[keep],
    }
    (finding,) = lint(OutcomeTable.from_columns(columns))
    assert finding.code == "coverage" and finding.count == 30 and finding.examples == ("small: 50.0%",)


def test_a_model_that_is_always_right_and_copied_columns_are_found():
    table = sound()
    quality = long(table, "quality")
    quality[::3] = 1.0
    assert codes(lint(sound(quality=quality))) == ["constant_quality"]
    quality = long(table, "quality")
    quality[1::3] = quality[::3]
    assert [(f.code, f.severity) for f in lint(sound(quality=quality))] == [("identical_models", "warning")]
    out = long(table, "output_tokens")
    out[1::3] = out[::3]
    findings = lint(sound(quality=quality, output_tokens=out, cost_usd=None))
    assert ("identical_models", "error") in [(f.code, f.severity) for f in findings]


def test_near_duplicates_count_unless_a_group_holds_them_together():
    table = sound()
    prompts = table.prompts.copy()
    prompts[1], prompts[5] = prompts[0].upper() + "!", prompts[2] + "  "
    (finding,) = lint(sound(prompt=np.repeat(prompts, 3)))
    assert finding.code == "near_duplicates" and finding.count == 4
    assert "2 clusters, 1 of them across data sets" in finding.message
    assert finding.examples == ("p0, p1", "p2, p5")
    groups = np.arange(N).astype(object)
    groups[1], groups[5] = 0, 2
    assert lint(sound(prompt=np.repeat(prompts, 3), group=[str(g) for g in np.repeat(groups, 3)])) == []


def test_a_price_that_is_missing_becomes_a_finding():
    def fill(table: OutcomeTable) -> OutcomeTable:
        raise PriceError("big")

    assert codes(lint(sound(cost_usd=None), fill=fill)) == ["no_price", "cost_missing"]
    assert lint(sound(cost_usd=None), fill=lambda table: sound()) == []


# ---------------------------------------------------------------- describe


def test_describe_counts_and_compares_on_shared_prompts(tmp_path):
    records = [
        {"prompt_id": f"p{i}", "prompt": f"w{i}", "dataset": "ab"[i % 2], "model": m, "quality": q,
         "cost_usd": c, "split": "train" if i else "test"}
        for i in range(4)
        for m, q, c in (("x", float(i < 2), 1.0), ("y", float(i >= 2), 2.0), ("rare", 1.0, 1.0))
        if m != "rare" or i == 0
    ]  # fmt: skip
    table = OutcomeTable.from_rows(records, name="t")
    summary = describe(table)
    assert summary["n_rows"] == 9 and summary["datasets"] == {"a": 2, "b": 2}
    assert summary["splits"] == {"test": 1, "train": 3}
    assert summary["compared"] == {"models": 2, "prompts": 4}
    assert summary["best_single"] == {"model": "x", "quality": 0.5, "cost_usd": 1.0}
    assert summary["oracle"] == {"quality": 1.0, "cost_usd": 1.5, "unsolved": 0}
    text = describe_text(summary)
    assert "best single model: x" in text and "rare" in text and "25.0%" in text
    assert "compared: 2 models with nearly full coverage, on 4 prompts" in text
    half = OutcomeTable.from_rows([r for i, r in enumerate(records) if r["model"] != "rare" and i % 4], name="t")
    assert "compared: 2 models though none has full coverage" in describe_text(describe(half))
    write_table(table, tmp_path / "t.csv")


def test_of_equally_good_models_the_cheapest_is_the_best_single_one():
    rows = [{"prompt_id": "p", "prompt": "w", "dataset": "d", "model": m, "quality": 1.0, "cost_usd": c}
            for m, c in (("dear", 2.0), ("cheap", 1.0), ("unpriced", None))]  # fmt: skip
    assert describe(OutcomeTable.from_rows(rows))["best_single"]["model"] == "cheap"


def test_describe_of_a_table_without_costs_says_so():
    summary = describe(sound(cost_usd=None))
    assert summary["oracle"]["cost_usd"] is None and summary["models"][0]["cost_usd"] is None
    assert summary["models"][0]["costs_missing"] == N
    assert " - " in describe_text(summary)


def test_wilson_matches_the_textbook():
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_prompts_of_one_group_make_no_interval_narrower():
    one = {"dataset": "a", "model": "x"}
    rows = [{**one, "prompt_id": f"p{i}", "prompt": f"w{i}", "quality": i % 2} for i in range(40)]
    again = [{**r, "prompt_id": f"{r['prompt_id']}-{k}", "group": r["prompt_id"]} for r in rows for k in range(5)]
    once, often = (describe(OutcomeTable.from_rows(r))["models"][0] for r in (rows, again))
    assert (once["n"], often["n"]) == (40, 200)
    assert often["quality_ci"] == pytest.approx(once["quality_ci"])
