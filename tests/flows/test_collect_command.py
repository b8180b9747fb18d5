from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from equipoise.cli.main import main
from equipoise.tables import read_table
from equipoise.testing import FakeOpenAIServer

Command = Callable[..., Awaitable[tuple[int, str, str]]]


def write_prompts(folder: Path, n: int) -> Path:
    path = folder / "prompts.jsonl"
    lines = [{"prompt_id": f"p{i}", "prompt": f"say {i}", "answer": f"SAY {i}", "dataset": "say"} for i in range(n)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    async def run(*arguments: Any) -> tuple[int, str, str]:
        # In a thread, since the command runs an event loop of its own and the fake server lives in ours.
        status = await asyncio.to_thread(main, ["collect", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


async def test_collect_builds_a_table_from_prompts_and_an_endpoint(tmp_path: Path, command: Command) -> None:
    prompts, out = write_prompts(tmp_path, 4), tmp_path / "t.parquet"
    prices = tmp_path / "prices.csv"
    prices.write_text("model,usd_per_1m_input,usd_per_1m_output\na,1000000,2000000\nb,1,1\n")
    async with FakeOpenAIServer(lambda prompt: prompt.split("\n")[0].upper()) as server:
        endpoint = ["--base-url", server.base_url, "--models", "a,b", "--prices", prices, "--samples", 1]
        limits = ["--parallel", 2, "--max-cost-usd", 100000]
        status, stdout, stderr = await command(prompts, *endpoint, *limits, "--grader", "exact", "--out", out, "--json")
    assert status == 0, stderr
    summary = json.loads(stdout)
    assert summary["answered"] == 16 and summary["mean_quality"] == {"a": 1.0, "b": 1.0}
    assert summary["spent_usd"] == pytest.approx(8 * 6.0, rel=0.01)
    table = read_table(out)
    assert list(table.models) == ["a", "b"] and table.quality.tolist() == [[1.0, 1.0]] * 4
    assert table.cost_usd[:, 0].tolist() == [6.0] * 4
    draws = pq.read_table(tmp_path / "t.answers.parquet").to_pylist()
    assert len(draws) == 16 and draws[0]["answer"] == "SAY 0"
    assert {(d["sample"], d["temperature"]) for d in draws} == {(0, 0.0), (1, 0.8)}
    assert {r["temperature"] for r in server.requests} == {0.0, 0.8}


async def test_what_was_spent_is_not_called_nothing_where_no_price_is_known(tmp_path: Path, command: Command) -> None:
    prompts, prices = write_prompts(tmp_path, 3), tmp_path / "prices.csv"
    prices.write_text("model,usd_per_1m_input,usd_per_1m_output\na,1,1\nb,1,1\n")
    async with FakeOpenAIServer(str.upper) as server:
        asked = [prompts, "--base-url", server.base_url, "--models", "a,b", "--grader", "exact"]
        for out in ("unknown.parquet", "unknown.parquet"):  # what the journal holds counts as well
            status, stdout, stderr = await command(*asked, "--out", tmp_path / out)
            assert status == 0 and "spent $0, and the unknown cost of 6 answers" in stdout, stdout
            assert "the unknown cost of 6 answers" in stderr and "$0 left" not in stderr
        _, stdout, _ = await command(*asked, "--out", tmp_path / "unknown.parquet", "--json")
        assert json.loads(stdout)["answers_of_unknown_cost"] == 6
        _, stdout, _ = await command(*asked, "--out", tmp_path / "known.parquet", "--prices", prices)
        assert "unknown cost" not in stdout


async def test_a_candidates_file_says_how_each_is_asked(tmp_path: Path, command: Command) -> None:
    prompts, out = write_prompts(tmp_path, 2), tmp_path / "t.csv"
    async with FakeOpenAIServer(lambda prompt: prompt.split("\n")[0].upper(), timings=True) as server:
        candidates = tmp_path / "c.yaml"
        candidates.write_text(
            "price_note: measured\n"
            "candidates:\n"
            "  - name: direct\n"
            f'    deployment: {{provider: openai_compatible, base_url: "{server.base_url}", model_id: one}}\n'
            "    price: {usd_per_compute_s: 2.0}\n"
            "    suffix: Answer only.\n"
            "    stop: [END]\n"
            "    max_tokens: 24\n"
        )
        status, stdout, stderr = await command(prompts, "--candidates", candidates, "--grader", "exact", "--out", out)
    assert status == 0, stderr
    assert "2 prompts x 1 models" in stdout
    assert server.requests[0]["messages"][-1]["content"] == "say 0\n\nAnswer only."
    assert (server.requests[0]["max_tokens"], server.requests[0]["stop"]) == (24, ["END"])
    assert read_table(out).cost_usd.tolist() == [[pytest.approx(2 * 0.024)]] * 2
    note = pq.read_schema(tmp_path / "t.answers.parquet").metadata[b"price_note"]
    assert note == b"measured"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no models to ask"),
        (["--models", "a"], "no place to ask"),
        (["--models", "a,a", "--base-url", "http://127.0.0.1:1"], "once"),
        (["--candidates", "no.yaml"], "No such file"),
        (["--models", "a", "--base-url", "http://127.0.0.1:1", "--max-cost-usd", "1"], "has no price"),
        (
            ["--models", "a", "--base-url", "http://127.0.0.1:1", "--grader", "exat"],
            "unknown grader 'exat'; did you mean 'exact'?",
        ),
        (
            ["--models", "a", "--base-url", "http://127.0.0.1:1", "--grader", "judge:"],
            "unknown grader 'judge:'",
        ),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = write_prompts(tmp_path, 1)
    given = [*arguments] if "--grader" in arguments else [*arguments, "--grader", "exact"]
    assert main(["collect", str(prompts), "--out", str(tmp_path / "t.parquet"), *given]) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1


ASK = ["--models", "a", "--base-url", "http://127.0.0.1:1", "--attempts", "1"]


@pytest.mark.parametrize(("out", "says"), [("prompts.jsonl", "would be overwritten"), ("t.xlsx", "its ending says")])
def test_the_table_takes_no_place_of_another_file(
    tmp_path: Path, out: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = write_prompts(tmp_path, 1)
    before = prompts.read_bytes()
    assert main(["collect", str(prompts), "--out", str(tmp_path / out), "--grader", "exact", *ASK]) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1 and prompts.read_bytes() == before


@pytest.mark.parametrize(
    ("row", "grader", "says"),
    [
        ({}, "exact", "'p' has no answer"),
        ({"answer": "(("}, "regex", "'p': bad pattern"),
        ({"tests": "assert f( == 1"}, "python", "'p': its tests are not Python"),
    ],
)
def test_rows_that_no_answer_can_be_graded_by_are_refused_before_any_is_paid_for(
    tmp_path: Path, row: dict[str, str], grader: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "p.jsonl", tmp_path / "t.csv"
    prompts.write_text(json.dumps({"prompt_id": "p", "prompt": "x", **row}))
    assert main(["collect", str(prompts), "--out", str(out), "--grader", grader, *ASK]) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1
    assert list(tmp_path.iterdir()) == [prompts]


def test_the_api_key_never_reaches_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-hidden")
    prompts = write_prompts(tmp_path, 1)
    endpoint = [
        "--base-url",
        "http://127.0.0.1:9",
        "--api-key-env",
        "SOME_KEY",
        "--models",
        "a",
        "--attempts",
        "1",
    ]
    assert main(["collect", str(prompts), "--out", str(tmp_path / "t.parquet"), *endpoint, "--grader", "exact"]) == 1
    written = "".join(p.read_text() for p in tmp_path.glob("t.parquet*"))
    told = capsys.readouterr()
    assert "sk-hidden" not in told.out + told.err + written
    assert "cannot connect" in told.err
