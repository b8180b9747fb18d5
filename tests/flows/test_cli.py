"""The commands as a user meets them: what they print, what they write, how they end."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

import equipoise
from equipoise.cli.main import COMMANDS, main
from equipoise.tables import read_table, write_table
from tests.small_world import (
    A_POEM,
    A_SUM,
    DEAR_MODEL,
    MODELS,
    POEM_MODEL,
    SUM_MODEL,
    small_rows,
    small_table,
    write_small_table,
)

WEIGHS = "cost_aware:form=linear,cost_weight=100"


class Told(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


Run = Callable[..., Told]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process."""

    def command(*arguments: Any) -> Told:
        capsys.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        told = capsys.readouterr()
        return Told(status, told.out, told.err)

    return command


def real(*arguments: Any, cwd: Path, stdin: str | bytes = "") -> Told:
    """A command in a process of its own."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "equipoise.cli.main", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, input=given, capture_output=True, env=environment, timeout=120)
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a router file that no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    table = write_small_table(folder)
    assert main(["train", str(table), "--router", "static", "--policy", WEIGHS, "--out", str(folder / "r.npz")]) == 0
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no data from anywhere else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EQUIPOISE_DATA", "")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    return tmp_path


# ---------------------------------------------------------------- init and route, in processes of their own


def test_from_nothing_to_a_decision(tmp_path: Path) -> None:
    made = real("init", cwd=tmp_path)
    assert (made.status, made.err) == (0, "") and "wrote equipoise.yaml" in made.out

    shown = real("route", "-", "--explain", cwd=tmp_path, stdin="Prove that √2 is irrational.\n")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("gpt-4o") and "confidence" in shown.out and "gpt-4o-mini" in shown.out


def test_a_decision_as_json_is_one_document(tmp_path: Path, shared: Path) -> None:
    told = real("route", A_POEM, "--router-file", shared / "r.npz", "--json", "--explain", cwd=tmp_path)
    assert (told.status, told.err) == (0, "")
    document = json.loads(told.out)
    assert document["model"] == document["plan"]["model"] == POEM_MODEL
    assert [c["model"] for c in document["candidates"]] == list(MODELS)
    assert sum(c["probability"] for c in document["candidates"]) == 1.0
    assert A_POEM not in told.out


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "equipoise.cli.main", "routers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(60) == 0


# ---------------------------------------------------------------- usage


def test_sigterm_ends_a_command_while_it_imports() -> None:
    """Also the first process of a container, to which the kernel gives no default for it; and also where an exception
    would not: imports in Rust make a panic of it."""
    command = """
import os, signal, sys
from equipoise.cli import main
def load(*asked):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit:
        raise RuntimeError("panic") from None
main._load = load
sys.argv = ["equipoise", "routers"]
main.main()
"""
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 143


def test_help_names_every_command(run: Run) -> None:
    told = run("--help")
    assert told.status == 0 and all(name in told.out for name in COMMANDS)
    assert run("--version") == Told(0, f"equipoise {equipoise.__version__}\n", "")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(run: Run, command: str) -> None:
    told = run(command, "--help")
    assert told.status == 0 and told.err == "" and f"equipoise {command}" in told.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: COMMAND"),
        (["rote", "x"], "unknown command 'rote'; did you mean 'route'?"),
        (["zzz"], "unknown command 'zzz'; known: "),
        (["route"], "required: TEXT"),
        (["route", "x", "--max-cots-usd", "1"], "unknown option --max-cots-usd; did you mean --max-cost-usd?"),
        (["route", "x", "--zzz"], "unknown option --zzz;"),
        (["table", "describe", "x", "--prics=f"], "unknown option --prics; did you mean --prices?"),
        (["--jsno", "route", "x"], "unknown option --jsno"),
        (["train", "x"], "required: --out"),
        (["route", "one", "two"], "unrecognized arguments: two"),
        (["evaluate", "x", "--split", "randon"], "invalid choice: 'randon'"),
        (["table"], "required: describe|lint|convert"),
        (["datasets", "lst"], "invalid choice: 'lst'"),
        (["route", "x", "--max-cost-usd", "-1"], "'-1' is not a number from 0 up"),
        (["route", "x", "--max-cost-usd", "nan"], "'nan' is not a number"),
        (["route", "x", "--max-latency-s", "inf"], "'inf' is not a number"),
        (["route", "x", "--min-quality", "1.5"], "not a number from 0 to 1"),
        (["route", "x", "--min-quality", "high"], "'high' is not a number"),
        (["calibrate", "x", "--router", "knn", "--out", "r", "--budget-usd", "0"], "not a positive number"),
        (["calibrate", "x", "--router", "knn", "--out", "r", "--budget-usd", "nan"], "not a positive number"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(here: Path, run: Run, arguments: list[str], says: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "") and says in err
    assert err.count("\n") == 1 and err.startswith("equipoise") and "--help" in err


def test_without_any_file_the_built_in_pool_decides_and_says_so(here: Path, run: Run) -> None:
    told = run("route", "What is 17 * 23?")
    assert told.status == 0 and len(told.out.split()) == 1
    assert told.err.count("\n") == 1 and "built-in pool 'notebook'" in told.err
    assert list(here.iterdir()) == []


def test_a_prompt_may_begin_with_a_dash(here: Path, run: Run) -> None:
    assert run("route", "--", "-x").status == run("route", "-5 + 3 = ?").status == 0


# ---------------------------------------------------------------- learning and deciding


def test_train_then_route_sends_each_prompt_to_its_model(here: Path, run: Run, shared: Path) -> None:
    told = run(
        "train", shared / "small.parquet", "--router", "knn:k=20", "--policy", WEIGHS, "--out", "r.npz", "--json"
    )
    summary = json.loads(told.out)
    assert told.status == 0 and summary["prompts"] == 300 and summary["models"] == list(MODELS)
    assert sorted(p.name for p in here.iterdir()) == ["r.npz"]
    for prompt, model in ((A_SUM, SUM_MODEL), (A_POEM, POEM_MODEL)):
        assert run("route", prompt, "--router-file", "r.npz") == Told(0, f"{model}\n", "")
    capped = run(
        "route", A_SUM, "--router-file", "r.npz", "--policy", "quality_first", "--max-cost-usd", "0.001", "--json"
    )
    document = json.loads(capped.out)
    assert document["model"] == SUM_MODEL and document["versions"]["policy"] == "quality_first"
    assert "expected cost" in document["candidates"][2]["refused"]


def test_train_on_some_models_and_on_quality_alone(here: Path, run: Run) -> None:
    rows = [{k: v for k, v in row.items() if k != "cost_usd"} for row in small_rows(80)]
    (here / "free.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    learn = ["train", "free.jsonl", "--router", "static", "--models", f"{SUM_MODEL},{POEM_MODEL}", "--out", "r.npz"]
    refused = run(*learn)
    assert refused.status == 2 and f"no price for model '{SUM_MODEL}'" in refused.err and not Path("r.npz").exists()
    assert run(*learn, "--cost", "none").status == 0
    told = run("route", A_POEM, "--router-file", "r.npz", "--explain")
    assert told.status == 0 and told.out.startswith(POEM_MODEL) and DEAR_MODEL not in told.out

    (here / "prices.csv").write_text(
        "model,usd_per_1m_input,usd_per_1m_output\n" + "".join(f"{m},1,2\n" for m in MODELS)
    )
    assert run(*learn, "--prices", "prices.csv").status == 0
    sure = json.loads(run("route", A_POEM, "--router-file", "r.npz", "--json").out)
    assert (20 + 2 * 5) / 1e6 < sure["candidates"][1]["cost_usd"] < 2 * (20 + 2 * 80) / 1e6


def test_a_router_that_learned_from_nothing_is_told_apart_from_limits_that_no_model_meets(here: Path, run: Run) -> None:
    (here / "equipoise.yaml").write_text("pool: notebook\nroutes: {auto: {router: {type: linear}}}\n")
    told = run("route", "hello")
    assert told.status == 2
    assert "router 'linear' knows none of gpt-4, " in told.err and "train it on a table" in told.err


def test_a_choice_that_is_beyond_the_limits_is_never_silent(here: Path, run: Run, shared: Path) -> None:
    given = ("route", A_POEM, "--router-file", shared / "r.npz")
    assert run(*given).err == ""
    told = run(*given, "--min-quality", "1")
    assert told.status == 0 and told.out.strip() in MODELS
    assert told.err == f"no model met the constraints; {told.out.strip()} is the cheapest that can serve the request\n"


def test_a_route_of_a_configuration_reads_its_router_file(here: Path, run: Run, shared: Path) -> None:
    models = "models: [{name: abacus}, {name: bard}]\n"
    routes = f"routes: {{sums: {{router: {{file: {shared / 'r.npz'}}}, constraints: {{max_cost_usd: 0.01}}}}}}\n"
    (here / "equipoise.yaml").write_text(models + routes)
    told = run("route", A_SUM, "--route", "sums", "--json", "--max-cost-usd", "5")
    document = json.loads(told.out)
    assert told == Told(0, told.out, "")
    assert document["model"] == SUM_MODEL and document["constraints"]["max_cost_usd"] == 0.01
    assert len(document["candidates"]) == 2


# ---------------------------------------------------------------- evaluating

RESULT_KEYS = {"table", "n_prompts", "models", "split", "seeds", "baselines", "routers"}
BASELINE_KEYS = {"best_single", "cheapest", "oracle", "random", "zero_router"}
ROUTER_KEYS = {
    "name", "quality", "quality_gain_ci", "aiq", "delta_aiq", "delta_aiq_ci", "perf_gain", "qnc", "apgr", "cpt50",
    "cpt80", "regret", "decide_us_p50", "fit_s",
}  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(shared: Path) -> Path:
    table, out = str(shared / "small.parquet"), shared / "new" / "out"
    options = ["--routers", "static,knn:k=20,shrinkage=4", "--seeds", "2", "--jobs", "1", "--out", str(out)]
    assert main(["evaluate", table, *options]) == 0
    return out


def test_evaluate_writes_results_that_other_programs_can_read(evaluated: Path) -> None:
    assert sorted(p.name for p in evaluated.iterdir()) == ["choices.parquet", "report.html", "results.json"]
    document = json.loads((evaluated / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert document.keys() >= RESULT_KEYS and document["baselines"].keys() >= BASELINE_KEYS
    assert (document["n_prompts"], document["models"], document["seeds"]) == (300, list(MODELS), 2)
    rows = {row["name"]: row for row in document["routers"]}
    assert {"static", "knn:k=20,shrinkage=4"} <= rows.keys()
    for row in rows.values():
        assert row.keys() >= ROUTER_KEYS
        assert all(row[k] is None or row[k][0] <= row[k][1] for k in ("quality_gain_ci", "delta_aiq_ci"))
    assert rows["static"]["delta_aiq_ci"][0] > 0


@pytest.mark.parametrize("form", [["--json"], []])
def test_a_reader_that_goes_away_costs_no_report(
    here: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        def fileno(self) -> int:
            return nowhere.fileno()

    command = ["evaluate", str(shared / "small.parquet"), "--routers", "static", "--seeds", "1", "--jobs", "1"]
    with (here / "nowhere").open("w") as nowhere:
        monkeypatch.setattr(sys, "stdout", Gone())
        assert main([*command, "--out", "o", *form]) == 0
    assert (here / "o" / "results.json").is_file()


def test_every_choice_can_be_scored_again(evaluated: Path, shared: Path) -> None:
    choices = pq.read_table(evaluated / "choices.parquet")
    assert choices.column_names == ["router", "seed", "operating_point", "prompt_id", "model"]
    document = json.loads((evaluated / "results.json").read_text())
    table = read_table(shared / "small.parquet")
    rows = choices.to_pylist()
    assert {r["model"] for r in rows} <= set(MODELS) and {r["prompt_id"] for r in rows} <= set(table.prompt_ids)
    assert max(r["operating_point"] for r in rows) < 100
    quality = dict(zip(((p, m) for p in table.prompt_ids for m in table.models), table.quality.ravel(), strict=True))
    best = document["baselines"]["best_single"]["quality"]
    first = [r for r in rows if r["router"] == "static" and r["operating_point"] == 0]
    scores = [np.mean([quality[r["prompt_id"], r["model"]] for r in first if r["seed"] == seed]) for seed in range(2)]
    assert np.mean(scores) == pytest.approx(next(r["quality"] for r in document["routers"] if r["name"] == "static"))
    assert 0 <= best <= 1


def test_the_report_opens_offline(evaluated: Path) -> None:
    html = (evaluated / "report.html").read_text()
    assert not re.search(r"""(?:src|srcset|data|action|poster)\s*=\s*["']?\s*(?:https?:)?//""", html)
    assert not re.search(r"<link\b|<script[^>]*\bsrc|@import|<iframe|<base\b", html)
    assert not re.search(r"url\(\s*[\"']?(?:https?:)?//", html)
    assert "static" in html and "best single" in html.lower()


def test_evaluate_tells_a_verdict_or_one_json_document(here: Path, run: Run, shared: Path) -> None:
    options = ["--routers", "static", "--seeds", 1, "--jobs", 1]
    told = run("evaluate", shared / "small.parquet", *options)
    assert told.status == 0 and "best single model" in told.out and "static: " in told.out
    assert re.search(r"^static .* -?\d+%  +[+-]0\.\d{3}$", told.out, re.MULTILINE), "a saving, and the quality it costs"
    told = run("evaluate", shared / "small.parquet", *options, "--json", "--cost", "none", "--models", "abacus,bard")
    assert told.status == 0 and json.loads(told.out)["models"] == ["abacus", "bard"]
    assert list(here.iterdir()) == []


# ---------------------------------------------------------------- tables, data sets, routers


def test_table_commands_go_round(here: Path, run: Run, shared: Path) -> None:
    told = run("table", "describe", shared / "small.parquet", "--json")
    assert told.status == 0 and json.loads(told.out)["n_prompts"] == 300
    assert "abacus" in run("table", "describe", shared / "small.parquet").out
    assert run("table", "lint", shared / "small.parquet").status == 0
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        assert run("table", "convert", shared / "small.parquet", "--out", name).status == 0
        assert np.array_equal(read_table(name).quality, small_table().quality)


def test_lint_fails_the_check_with_status_1(here: Path, run: Run) -> None:
    (here / "t.csv").write_text("prompt_id,prompt,dataset,model,quality\na,hi,d,m,7\n")
    told = run("table", "lint", "t.csv", "--json")
    assert told.status == 1 and json.loads(told.out)["errors"] >= 1


def test_no_name_of_a_table_commands_the_terminal(here: Path, run: Run) -> None:
    evil = "\x1b[31m\x9b\u202e"
    votes = [f"what is {i},a{evil},b,{'ab'[i % 2]}\n" for i in range(30)]
    (here / "votes.csv").write_text("prompt,model_a,model_b,winner\n" + "".join(votes))
    assert run("train", "votes.csv", "--router", "ratings", "--out", "r.npz").status == 0
    explained = run("route", "what is 7", "--router-file", "r.npz", "--explain")
    assert "a\\u001b[31m\\u009b\\u202e" in explained.out
    document = run("route", "what is 7", "--router-file", "r.npz", "--json").out
    assert {c["model"] for c in json.loads(document)["candidates"]} == {f"a{evil}", "b"}
    refused = run("table", "describe", f"{evil}.csv")
    assert refused.status == 2
    for said in (explained.out, document, refused.err):
        assert not {*evil} - {*"[31m"} & {*said}


def test_routers_and_datasets_are_listed(here: Path, run: Run) -> None:
    document = json.loads(run("routers", "--json").out)
    assert {"knn", "linear", "static"} <= document["routers"].keys() and "budget" in document["policies"]
    assert document["policies"]["budget"]["parameters"] == {"mean_cost_usd": "required"}
    assert "k = " in run("routers").out and "``" not in run("routers").out
    listed = json.loads(run("datasets", "list", "--json").out)
    assert all({"name", "about", "licence", "path"} <= known.keys() for known in listed)
    assert run("datasets", "list").status == 0


# ---------------------------------------------------------------- bad input


def columns(*without: str, **changes: Any) -> str:
    """A table of six prompts as CSV, with the first row changed."""
    rows = [{k: v for k, v in row.items() if k not in without} for row in small_rows(6)]
    rows[0].update(changes)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


HEAD = "prompt_id,prompt,dataset,model,quality,cost_usd\n"
BAD_TABLES = {
    "no quality": (columns("quality"), "quality"),
    "NaN quality": (columns(quality="nan"), "quality"),
    "quality 7": (columns(quality=7), "quality"),
    "negative cost": (columns(cost_usd=-1), "cost_usd"),
    "cost in words": (columns(cost_usd="cheap"), "cost_usd"),
    "twice": (columns() + columns().splitlines()[1] + "\n", "p0"),
    "no price": (columns("cost_usd"), "no price for model"),
    "empty": ("", "empty"),
    "header only": (HEAD, "no rows"),
    "not a table": ("\x00\x01\x02 binary", "t.csv"),
    "an array": ('[{"prompt_id": "a"}]', "JSON array"),
    "half a document": ('{"prompt_id": "a", "pro', "t.csv"),
    "parquet by name": ("PAR1 but not", "t.csv"),
}


def kept(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refuse(run: Run, folder: Path, *arguments: Any, says: str) -> None:
    """One line on standard error, nothing on standard output, no file touched."""
    before = kept(folder)
    status, out, err = run(*arguments)
    # Progress before the mistake is found is no part of the message.
    message = err.splitlines()[-1]
    assert (status, out) == (2, ""), err
    assert says in message and message.startswith(f"equipoise {arguments[0]}: ")
    assert "Traceback" not in err and len(err.splitlines()) <= 2 and len(message) < 1000
    assert kept(folder) == before


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_in_one_line(here: Path, run: Run, case: str) -> None:
    content, says = BAD_TABLES[case]
    (here / "t.csv").write_text(content)
    (here / "r.npz").write_text("precious")
    refuse(run, here, "train", "t.csv", "--router", "static", "--out", "r.npz", says=says)
    refuse(run, here, "evaluate", "t.csv", "--routers", "static", "--out", "report", says=says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "TABLE", "--router", "lineer", "--out", "r.npz"], "unknown router 'lineer'; did you mean 'linear'?"),
        (["train", "TABLE", "--router", "knn:kk=5", "--out", "r.npz"], "no parameter 'kk'; did you mean 'k'?"),
        (["train", "none.parquet", "--router", "lineer", "--out", "r.npz"], "did you mean 'linear'?"),
        (["calibrate", "none.csv", "--router", "lineer", "--floor", "1", "--out", "r.npz"], "did you mean 'linear'?"),
        (["train", "TABLE", "--router", "knn:k", "--out", "r.npz"], "not of the form parameter=value"),
        (["train", "TABLE", "--router", "knn:k=[", "--out", "r.npz"], "is not a value"),
        (["train", "TABLE", "--router", "knn", "--policy", "cost_awar", "--out", "r"], "did you mean 'cost_aware'?"),
        (["train", "TABLE", "--router", "knn", "--models", "abacus,bord", "--out", "r.npz"], "did you mean 'bard'?"),
        (["train", "TABLE", "--router", "knn", "--models", ",", "--out", "r.npz"], "name every model once"),
        (["train", "TABLE", "--router", "knn", "--out", "missing/r.npz"], "no folder missing"),
        (["train", "TABLE", "--router", "knn", "--out", "."], "not a regular file"),
        (["train", "TABLE", "--router", "knn", "--out", "/dev/null"], "not a regular file"),
        (["train", "mine.csv", "--router", "knn", "--out", "mine.csv"], "would be overwritten"),
        (["train", "TABLE", "--router", "knn", "--prices", "none.csv", "--out", "r.npz"], "none.csv"),
        (["train", "none.parquet", "--router", "knn", "--out", "r.npz"], "none.parquet"),
        (["train", ".", "--router", "knn", "--out", "r.npz"], "this is a folder"),
        (["train", "routerbnch", "--router", "knn", "--out", "r.npz"], "did you mean 'routerbench'?"),
        (["train", "mine.csv", "--router", "linear", "--out", "r.npz"], "at least"),
        (["calibrate", "TABLE", "--router", "knn", "--budget-usd", "1e-9", "--out", "r.npz"], "raise it"),
        (["calibrate", "TABLE", "--router", "knn", "--budget-usd", "1", "--out", "missing/r"], "no folder"),
        (["calibrate", "mine.csv", "--router", "knn", "--budget-usd", "1", "--out", "mine.csv"], "overwritten"),
        (["evaluate"], "no table to evaluate"),
        (["evaluate", "TABLE", "--scenarios", "--out", "o"], "--scenarios needs no table"),
        (["evaluate", "TABLE", "--seeds", "0", "--out", "o"], "seeds must lie between 1 and"),
        (["evaluate", "TABLE", "--jobs", "0"], "jobs must be at least 1"),
        (["evaluate", "TABLE", "--routers", "knn,lineer", "--out", "o"], "did you mean 'linear'?"),
        (["evaluate", "TABLE", "--routers", "knn:k=", "--out", "o"], "parameter 'k'"),
        (["evaluate", "TABLE", "--routers", "knn,knn"], "given twice"),
        (["evaluate", "TABLE", "--models", "abacus,bord"], "did you mean 'bard'?"),
        (["evaluate", "TABLE", "--models", "abacus,abacus"], "name every model once"),
        (["evaluate", "mine.csv", "--routers", "static"], "needed are 50 or more"),
        (["evaluate", "TABLE", "--routers", "static", "--seeds", "1", "--out", "r.npz"], "is a file"),
        (["route", "x", "--router-file", "none.npz"], "no such router file"),
        (["route", "x", "--router-file", "r.npz"], "not a readable router file"),
        (["route", "x", "--router-file", "ROUTER", "--config", "f.yaml"], "--config does not go with --router-file"),
        (["route", "x", "--router-file", "ROUTER", "--policy", "budget"], "needs the parameter 'mean_cost_usd'"),
        (["route", "x", "--config", "none.yaml"], "No such file"),
        (["route", "x", "--config", "bad.yaml"], "bad.yaml:2: routes.auto.polcy: unknown key; did you mean 'policy'?"),
        (["route", "x", "--config", "pool.yaml", "--route", "atuo"], "pool.yaml: unknown route 'atuo'; did you mean"),
        (["route", "x", "--config", "pool.yaml", "--policy", "nope"], "unknown policy 'nope'"),
        (["route", "x", "--route", "sums"], "no equipoise.yaml here"),
        (["route", ""], "the prompt is empty"),
        (["route", "x" * 1_000_001], "more than 1000000 characters"),
        (["init", "--out", "missing/equipoise.yaml"], "no folder"),
        (["init", "--out", "pool.yaml"], "exists; give --force"),
        (["table", "describe", "none.csv"], "none.csv"),
        (["table", "convert", "TABLE", "--out", "missing/t.csv"], "cannot be written"),
        (["table", "convert", "bad.yaml", "--out", "t.csv"], "bad.yaml"),
        (["datasets", "path", "routerbnch"], "did you mean 'routerbench'?"),
        (["datasets", "path", "routerbench"], "routerbench"),
        (["datasets", "get", "ladder", "--out", "there"], "part of the package"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(here: Path, run: Run, shared: Path, arguments: list[str], says: str) -> None:
    write_table(small_table(8), here / "mine.csv")
    (here / "r.npz").write_text("precious")
    (here / "bad.yaml").write_text("routes:\n  auto: {polcy: {}}\n")
    (here / "pool.yaml").write_text("pool: notebook\n")
    places = {"TABLE": str(shared / "small.parquet"), "ROUTER": str(shared / "r.npz")}
    refuse(run, here, *(places.get(a, a) for a in arguments), says=says)


def test_a_router_file_of_a_newer_version_is_refused(here: Path, run: Run, shared: Path) -> None:
    with np.load(shared / "r.npz") as file:
        arrays = {k: file[k] for k in file.files}
    header = {**json.loads(arrays.pop("equipoise.json").tobytes()), "format": 99}
    arrays["equipoise.json"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(here / "new.npz", **arrays)
    refuse(run, here, "route", "x", "--router-file", "new.npz", says="saved by a newer version of equipoise")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"x" * (1 << 20), "more than 1000000 characters"),
        (b" \n", "the prompt is empty"),
        (b"\xff\xfe\x00\x80", "standard input is not utf-8 text"),
    ],
)
def test_standard_input_that_cannot_be_routed_is_refused(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, given: bytes, says: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
    refuse(run, here, "route", "-", says=says)


def test_an_interrupt_is_status_130_and_one_line(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("equipoise.cli.init.write_whole", stop)
    told = run("init")
    assert told.status == 130 and told.err.count("\n") == 1 and "interrupted" in told.err


def test_an_error_of_the_system_is_one_line(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr("equipoise.cli.init.write_whole", fail)
    assert run("init") == Told(2, "", "equipoise init: somewhere: Permission denied\n")
