"""What an evaluation writes: files that others can read and score again."""

from __future__ import annotations

import errno
import itertools
import json
import math
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from equipoise.contracts import Router
from equipoise.errors import InputError, MissingExtra, NotEnoughData, PriceError, UnknownName
from equipoise.evaluation import Results, evaluate
from equipoise.evaluation.files import check_directory, staged, write_evaluation
from equipoise.evaluation.plots import name_dots
from equipoise.evaluation.report import report_html
from equipoise.tables import OutcomeTable
from equipoise.types import Outcomes
from tests.evaluation_fakes import OPTIONS, SubjectAnalyzer, SubjectMeans, build, made_table

QUICK = {**OPTIONS, "analyzer": SubjectAnalyzer(), "replicates": 50}
TABLE = made_table(prompts=500, structure=0.25)


@pytest.fixture(scope="module")
def results() -> Results:
    return evaluate(TABLE, routers=["subject", "noise:0.05"], seeds=3, **QUICK)


@pytest.fixture(scope="module")
def written(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "out"
    write_evaluation(results, out)
    return out


def test_results_hold_every_promised_key(written: Path) -> None:
    document = json.loads((written / "results.json").read_text())
    assert {"table", "n_prompts", "models", "split", "seeds", "baselines", "routers"} <= set(document)
    assert {"best_single", "cheapest", "oracle", "random", "zero_router"} <= set(document["baselines"])
    names = {r["name"] for r in document["routers"]}
    kinds = ("dataset_label", "topic", "prompt_length", "random", "shuffled")
    baselines = {f"baseline:{kind}" for kind in kinds}
    assert names == {"subject", "noise:0.05", "auto", *baselines}
    keys = {"name", "quality", "quality_gain_ci", "aiq", "delta_aiq", "delta_aiq_ci", "perf_gain", "qnc", "apgr"}
    keys |= {"cpt50", "cpt80", "regret", "decide_us_p50", "fit_s"}
    for router in document["routers"]:
        assert keys <= set(router)
        assert len(router["delta_aiq_ci"]) == 2
        assert router["apgr"] is None


def rescored(written: Path) -> dict[str, dict[str, float]]:
    """AIQ, QNC and quality from choices.parquet, in code that shares nothing with the project's."""
    choices = pq.read_table(written / "choices.parquet").to_pylist()
    bills = {r["name"]: r["decision_cost_usd"] for r in json.loads((written / "results.json").read_text())["routers"]}
    row = {p: i for i, p in enumerate(TABLE.prompt_ids)}
    column = {m: j for j, m in enumerate(TABLE.models)}
    sums: dict[tuple[str, int, int], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    tested: dict[int, set[int]] = defaultdict(set)
    for c in choices:
        i, j = row[c["prompt_id"]], column[c["model"]]
        s = sums[c["router"], c["seed"], c["operating_point"]]
        s[0] += TABLE.cost_usd[i, j] + bills[c["router"]]
        s[1] += TABLE.quality[i, j]
        s[2] += 1
        tested[c["seed"]].add(i)
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name in bills:
        for seed, prompts in tested.items():
            test, train = sorted(prompts), sorted(set(range(len(TABLE))) - prompts)
            single_c, single_q = TABLE.cost_usd[test].mean(0), TABLE.quality[test].mean(0)
            best = int(np.argmax(TABLE.quality[train].mean(0)))
            points = {t: (s[0] / s[2], s[1] / s[2]) for (n, k, t), s in sums.items() if (n, k) == (name, seed)}
            cheap = int(np.argmin(single_c))
            curve = [*points.values(), (single_c[cheap], single_q[cheap])]
            low, high = single_c.min(), single_c.max()

            def reach(budget: float, curve: list[tuple[float, float]] = curve) -> float:
                """Best quality of any mix of two points within a mean cost: the hull, by brute force."""
                inside = [p for p in curve if p[0] <= budget]
                above = [p for p in curve if p[0] > budget]
                mixes = [a[1] + (b[1] - a[1]) * (budget - a[0]) / (b[0] - a[0]) for a in inside for b in above]
                return max([p[1] for p in inside] + mixes)

            corners = sorted({low, high, *(p[0] for p in curve if low < p[0] < high)})
            areas = [(reach(a) + reach(b)) / 2 * (b - a) for a, b in zip(corners, corners[1:], strict=False)]
            scores[name]["aiq"].append(sum(areas) / (high - low))
            good = [c / single_c[best] for c, q in curve if q >= single_q[best] - 1e-12]
            scores[name]["qnc"].append(min(good, default=math.inf))
            scores[name]["quality"].append(points[0][1])
            scores[name]["gain"].append(points[0][1] - single_q[best])
    return {name: {k: float(np.mean(v)) for k, v in s.items()} for name, s in scores.items()}


def test_scoring_the_choices_again_gives_the_same_numbers(written: Path) -> None:
    again = rescored(written)
    document = json.loads((written / "results.json").read_text())
    for router in document["routers"]:
        mine = again[router["name"]]
        assert router["aiq"] == pytest.approx(mine["aiq"], abs=1e-9)
        assert router["quality"] == pytest.approx(mine["quality"], abs=1e-9)
        assert router["quality_gain"] == pytest.approx(mine["gain"], abs=1e-9)
        if math.isfinite(mine["qnc"]):
            assert router["qnc"] == pytest.approx(mine["qnc"], abs=1e-9)
        else:
            assert router["qnc"] is None


def test_choices_hold_every_test_prompt_at_every_point_once(written: Path) -> None:
    table = pq.read_table(written / "choices.parquet")
    assert table.schema.names == ["router", "seed", "operating_point", "prompt_id", "model"]
    rows = [tuple(r.values()) for r in table.select(["router", "seed", "operating_point", "prompt_id"]).to_pylist()]
    assert len(rows) == len(set(rows))
    points: dict[tuple[str, int], set[int]] = defaultdict(set)
    count: dict[tuple[str, int], int] = defaultdict(int)
    for router, seed, point, _ in rows:
        points[router, seed].add(point)
        count[router, seed] += 1
    for key, used in points.items():
        assert used == set(range(len(used))) and len(used) <= 100
        assert count[key] == len(used) * 100


def test_the_report_stands_alone(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "prefers-color-scheme" in page and "currentColor" in page
    assert "src=" not in page and "<link" not in page and "@import" not in page and "url(http" not in page
    assert re.findall("<script[^>]*>", page) == ["<script>"]
    assert "http" not in page[page.index("<script>") : page.index("</script>")]
    assert "saves " in page or "no better" in page


def test_beside_a_saving_stands_what_it_costs_in_quality(results: Results, written: Path) -> None:
    at = results.router("subject").at_best_quality
    assert at is not None and at.reached > 0
    change = re.escape(f"{at.quality_change:+.3f}")
    assert re.search(rf"<td>{at.saving:.0%} [^<]*</td><td>{change} ", (written / "report.html").read_text())


def test_a_hostile_name_cannot_enter_the_report_as_markup(tmp_path: Path) -> None:
    table = made_table(prompts=200, name="<script>alert(1)</script>")
    write_evaluation(evaluate(table, routers=["subject"], seeds=1, **{**QUICK, "replicates": 5}), tmp_path / "o")
    page = (tmp_path / "o" / "report.html").read_text()
    assert page.count("<script") == 1 and "alert(1)</script>" not in page


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), staged(out, ("a.txt",)) as stage:
        (stage / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.ENOSPC, "Error writing bytes to file")]
)
def test_a_full_disk_is_told_with_the_place(tmp_path: Path, error: OSError) -> None:
    """The second is how pyarrow says it."""
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"out: cannot be written \(No space left on device\)"), staged(out, ()):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_other_files_in_the_directory_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with staged(tmp_path / "out", ("a.txt",)) as stage:
        (stage / "a.txt").write_text("new")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.txt", "notes.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="needs a directory"), staged(tmp_path / "out", ()):
        pass


def test_files_are_built_where_they_can_be_moved_from_and_trouble_is_found_before_the_work(tmp_path: Path) -> None:
    """A directory that is there already may be a mount of its own."""
    there = tmp_path / "there"
    there.mkdir()
    with staged(there, ("a.txt",)) as stage:
        assert stage.parent == there
        (stage / "a.txt").write_text("x")
    assert [p.name for p in there.iterdir()] == ["a.txt"]
    with pytest.raises(InputError, match="a.txt is a file"):
        check_directory(there / "a.txt" / "below")
    check_directory(tmp_path / "new" / "newer")
    assert not (tmp_path / "new").exists()


def test_without_prices_there_is_one_point_and_no_curve(tmp_path: Path) -> None:
    results = evaluate(TABLE, routers=["subject"], seeds=2, cost=False, **QUICK)
    page = report_html(results)
    assert "<b>gain</b>" in page and "<b>AIQ</b>" not in page and "<b>CPT</b>" not in page, "words for what is shown"
    write_evaluation(results, tmp_path / "o")
    document = json.loads((tmp_path / "o" / "results.json").read_text())
    row = document["routers"][0]
    assert row["aiq"] is None and row["delta_aiq_ci"] is None and row["qnc"] is None
    assert len(row["quality_gain_ci"]) == 2
    assert document["baselines"]["zero_router"] is None
    assert set(pq.read_table(tmp_path / "o" / "choices.parquet")["operating_point"].to_pylist()) == {0}


def test_two_models_without_prices_have_apgr_over_calls(tmp_path: Path) -> None:
    table = made_table(prompts=400, models=2, structure=0.3)
    results = evaluate(table, routers=["subject"], seeds=2, cost=False, **QUICK)
    write_evaluation(results, tmp_path / "o")
    row = json.loads((tmp_path / "o" / "results.json").read_text())["routers"][0]
    assert 0.5 < row["apgr"] <= 1.5 and 0 <= row["cpt50"] <= row["cpt80"]


def calls_curve(rows: list[dict[str, Any]], strong: int, quality: np.ndarray) -> tuple[list[float], list[float]]:
    """Share of strong calls and share of the gap recovered at every operating point, by rising share of calls."""
    points: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        points[row["operating_point"]].append((int(row["prompt_id"][1:]), int(row["model"][1:])))
    test = [i for i, _ in points[0]]
    weak_quality, strong_quality = (quality[test, j].mean() for j in (1 - strong, strong))
    found = []
    for chosen in points.values():
        got = np.mean([quality[i, j] for i, j in chosen])
        recovered = (got - weak_quality) / (strong_quality - weak_quality)
        found.append((np.mean([j == strong for _, j in chosen]), recovered))
    calls, shares = zip(*sorted(found), strict=True)
    return list(calls), list(shares)


def test_apgr_and_cpt_can_be_computed_again_from_the_choices(tmp_path: Path) -> None:
    table = made_table(prompts=2000, models=2, structure=0.3)
    results = evaluate(table, routers=["subject", "noise:0.3"], seeds=3, cost=False, **QUICK)
    write_evaluation(results, tmp_path / "o")
    choices = pq.read_table(tmp_path / "o" / "choices.parquet").to_pylist()
    for row in json.loads((tmp_path / "o" / "results.json").read_text())["routers"]:
        apgr, cpt = [], []
        for seed, fold in enumerate(results.folds):
            mine = [c for c in choices if (c["router"], c["seed"]) == (row["name"], seed)]
            assert max(c["operating_point"] for c in mine) < 100
            calls, shares = calls_curve(mine, fold.best_single, table.quality)
            assert (calls[0], calls[-1]) == (0, 1)
            apgr.append(np.trapezoid(shares, calls) if hasattr(np, "trapezoid") else np.trapz(shares, calls))
            cpt.append(float(np.interp(0.5, np.maximum.accumulate(shares), calls)))
        assert row["apgr"] == pytest.approx(np.mean(apgr), abs=2e-3), row["name"]
        assert row["cpt50"] == pytest.approx(np.mean(cpt), abs=0.015), row["name"]


def test_point_0_stays_the_one_of_highest_estimated_quality() -> None:
    table = made_table(prompts=600, models=2, structure=0.6)
    alone = evaluate(table, routers=["subject"], seeds=2, cost=False, **QUICK)
    priced = evaluate(table, routers=["subject"], seeds=2, **QUICK)
    for a, b in zip(alone.folds, priced.folds, strict=True):
        first, last = a.methods["subject"].choices[0], a.methods["subject"].choices[-1]
        assert first.tolist() == b.methods["subject"].choices[0].tolist()
        assert set(last.tolist()) == {a.best_single} != set(first.tolist())


@pytest.mark.parametrize("usd", [0.0, 0.001])
def test_where_all_models_cost_the_same_routers_are_judged_by_quality(tmp_path: Path, usd: float) -> None:
    table = made_table(prompts=500, structure=0.5)
    table = replace(table, cost_usd=np.full(table.quality.shape, usd))
    results = evaluate(table, routers=["subject"], seeds=3, **QUICK)
    write_evaluation(results, tmp_path / "out")
    row = results.router("subject")
    assert math.isnan(row.delta_aiq) and row.p_value < 0.05
    assert "points" in row.verdict and "better than always using" in row.verdict
    assert any("cost the same" in note for note in results.notes)


def grouped(count: int) -> OutcomeTable:
    return replace(TABLE, groups=np.array([f"g{i % count}" for i in range(500)], dtype=object))


def test_few_independent_prompts_get_no_verdict_because_their_intervals_would_be_points() -> None:
    few = evaluate(grouped(24), routers=["subject"], seeds=1, **QUICK)
    assert few.routers[0].verdict.startswith("no verdict: prompts fall into 24 independent groups")
    assert "no verdict" not in evaluate(grouped(25), routers=["subject"], seeds=1, **QUICK).routers[0].verdict


def test_too_few_independent_prompts_to_split_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="500 prompts fall into 4 independent groups"):
        evaluate(grouped(4), routers=["subject"], seeds=1, **QUICK)


@pytest.mark.filterwarnings("error")
def test_names_in_any_script_are_drawn_without_a_warning(tmp_path: Path) -> None:
    named = replace(TABLE, models=("模型", "نموذج", "🎲", "m3"))
    write_evaluation(evaluate(named, routers=["subject"], seeds=1, **QUICK), tmp_path / "out")
    assert "模型" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("free", [0, 3])
def test_a_model_that_is_free_is_evaluated_and_drawn(tmp_path: Path, free: int) -> None:
    table = replace(TABLE, cost_usd=TABLE.cost_usd * (np.arange(4) != free))
    results = evaluate(table, routers=["subject"], seeds=2, **QUICK)
    write_evaluation(results, tmp_path / "out")
    assert math.isfinite(results.router("subject").aiq)
    assert math.isnan(results.router("subject").qnc) == (free == 3)


def test_where_splits_differ_in_the_best_single_model_all_are_named_and_curves_begin_at_the_cheapest_model() -> None:
    table = made_table(prompts=300, structure=0.0)
    quality = np.zeros((300, 4))
    quality[::2, 1] = quality[1::2, 3] = 1.0
    cost = np.broadcast_to([1e-5, 1e-4, 1e-4, 1e-2], quality.shape)
    results = evaluate(replace(table, quality=quality, cost_usd=cost), routers=["noise:0.1"], seeds=6, **QUICK)
    best = results.baselines["best_single"]
    assert sorted(best["models"]) == ["m1", "m3"]
    assert "m1 or m3" in results.router("noise:0.1").verdict or "m3 or m1" in results.router("noise:0.1").verdict
    begun = results.shares[np.isfinite(results.router("noise:0.1").frontier["quality"])][0]
    assert begun * best["cost_usd"] == pytest.approx(max(1e-5, 0.01 * best["cost_usd"]), rel=0.15)


def test_several_processes_find_what_one_finds() -> None:
    alone, together = (
        evaluate(TABLE, routers=["subject"], seeds=2, **{**QUICK, "replicates": 20, "jobs": jobs}) for jobs in (1, 2)
    )
    for a, b in zip(alone.folds, together.folds, strict=True):
        assert a.methods["subject"].choices.tolist() == b.methods["subject"].choices.tolist()


def test_incomplete_models_are_left_out_with_a_note_unless_named() -> None:
    quality = TABLE.quality.copy()
    quality[:100, 1] = np.nan
    holed = type(TABLE)(**{n: getattr(TABLE, n) for n in TABLE.__slots__ if n != "quality"}, quality=quality)
    left = evaluate(holed, routers=["subject"], seeds=1, **QUICK)
    assert left.models == ("m0", "m2", "m3") and left.n_prompts == 500
    assert any("model m1 is left out" in n and "80.0%" in n for n in left.notes)
    named = evaluate(holed, routers=["subject"], seeds=1, models=["m0", "m1", "m3"], **QUICK)
    assert named.models == ("m0", "m1", "m3") and named.n_prompts == 400


def test_bad_input_is_named_before_any_work() -> None:
    cost = TABLE.cost_usd.copy()
    cost[3, 2] = np.nan
    unpriced = type(TABLE)(**{n: getattr(TABLE, n) for n in TABLE.__slots__ if n != "cost_usd"}, cost_usd=cost)
    with pytest.raises(PriceError, match="m2"):
        evaluate(unpriced, routers=["subject"], **QUICK)
    with pytest.raises(NotEnoughData, match="models"):
        evaluate(TABLE, routers=["subject"], models=["m1"], **QUICK)
    with pytest.raises(NotEnoughData, match="prompts"):
        evaluate(TABLE.take(np.arange(20)), routers=["subject"], **QUICK)
    with pytest.raises(UnknownName, match="m9"):
        evaluate(TABLE, routers=["subject"], models=["m1", "m9"], **QUICK)
    with pytest.raises(UnknownName, match="random"):
        evaluate(TABLE, routers=["subject"], split="randm", **QUICK)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="twice"):
        evaluate(TABLE, routers=["subject", "subject"], **QUICK)
    with pytest.raises(InputError, match="seeds"):
        evaluate(TABLE, routers=["subject"], seeds=0, **QUICK)


def test_a_router_whose_extra_is_missing_is_left_out_with_a_note_and_the_others_are_evaluated() -> None:
    class Heavy(SubjectMeans):
        name = "heavy"

        def fit(self, outcomes: Outcomes) -> Self:
            raise MissingExtra("torch", "router 'heavy'")

    def made(spec: Any) -> Router:
        return Heavy() if spec == "heavy" else build(spec)

    quick = {**QUICK, "build": made, "replicates": 5}
    found = evaluate(TABLE, routers=["heavy", "subject"], seeds=1, **quick)
    assert "subject" in {r.name for r in found.routers} and "heavy" not in {r.name for r in found.routers}
    assert any(n.startswith("router heavy is left out: router 'heavy' needs the extra 'torch'") for n in found.notes)
    with pytest.raises(NotEnoughData, match="no router could be fitted: heavy: .* needs the extra 'torch'"):
        evaluate(TABLE, routers=["heavy"], seeds=1, **quick)


def test_names_of_models_are_written_where_they_hide_no_other_and_stay_in_the_picture() -> None:
    axes = Figure(figsize=(8, 4), layout="constrained").add_subplot(xlim=(0, 100), ylim=(0, 1))
    places = {"gpt-4o-2024-08-06": (50, 0.5), "gemini-1.5-pro-002": (51, 0.47), "claude-3-opus-20240229": (99, 0.02)}
    name_dots(axes, places, others=[(54, 0.46)])
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == list(places)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 for box in boxes)
    assert not any(box.contains(*axes.transData.transform((54, 0.46))) for box in boxes)
