"""Collections that are killed, throttled, hung up on and lied to."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.cli.main import main
from equipoise.collect.candidates import read_candidates
from equipoise.collect.graders import grade
from equipoise.collect.grading import ThreadedGrading
from equipoise.collect.job import Job, Limits
from equipoise.collect.journal import Journal, journal_path
from equipoise.collect.prompts import read_prompts
from equipoise.collect.session import collect
from equipoise.providers import make_provider
from equipoise.tables import read_table
from equipoise.testing import FakeOpenAIServer, Misbehaviour


class Setting:
    """A folder with prompts and candidates that point at a server."""

    def __init__(self, folder: Path, server: FakeOpenAIServer, *, prompts: int, timeout_s: float = 30.0) -> None:
        self.folder, self.out, self.prompts = folder, folder / "t.parquet", prompts
        rows = [{"prompt_id": f"p{i}", "prompt": f"say {i}", "answer": f"SAY {i}"} for i in range(prompts)]
        (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        place = f'provider: openai_compatible, base_url: "{server.base_url}", options: {{timeout_s: {timeout_s}}}'
        (folder / "c.yaml").write_text(
            "candidates:\n"
            f"  - {{name: a, deployment: {{{place}, model_id: a}}, price: {{usd_per_call: 1.0}}, samples: 1}}\n"
            f"  - {{name: b, deployment: {{{place}, model_id: b}}, price: {{usd_per_call: 1.0}}}}\n"
        )

    async def start(self, *more: object) -> asyncio.subprocess.Process:
        arguments = [
            self.folder / "p.jsonl",
            "--candidates",
            self.folder / "c.yaml",
            "--out",
            self.out,
            *more,
        ]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "equipoise.cli.main",
            "collect",
            *map(str, ["--grader", "exact", "--parallel", 3, *arguments]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *more: object) -> int:
        """The command in a thread of this process, which has paid for the imports already."""
        arguments = [
            self.folder / "p.jsonl",
            "--candidates",
            self.folder / "c.yaml",
            "--out",
            self.out,
            *more,
        ]
        given = ["collect", *map(str, ["--grader", "exact", "--parallel", 3, *arguments])]
        return await asyncio.to_thread(main, given)

    def journaled(self, *, torn: bool = False) -> list[dict[str, Any]]:
        lines = journal_path(self.out).read_text().splitlines()[: -1 if torn else None]
        return [line for line in map(json.loads, lines) if line["type"] == "answer"]


async def answered(server: FakeOpenAIServer, at_least: int) -> None:
    async with asyncio.timeout(20):
        while sum(server.answered.values()) < at_least:
            await asyncio.sleep(0.005)


async def settled(server: FakeOpenAIServer) -> None:
    """Wait until the server has counted the calls that were in flight when its client died."""
    before = -1
    async with asyncio.timeout(20):
        while before != (before := sum(server.answered.values())):
            await asyncio.sleep(0.25)


async def test_kill_9_in_the_middle_and_resume_pays_nothing_twice_that_was_journaled(tmp_path: Path) -> None:
    async with FakeOpenAIServer(str.upper, delay_s=0.01) as server:
        setting = Setting(tmp_path, server, prompts=15)
        process = await setting.start()
        await answered(server, 12)
        process.kill()
        await process.communicate()
        await settled(server)
        text = journal_path(setting.out).read_bytes()
        # As a crash of the whole machine would leave it: torn in the last line.
        journal_path(setting.out).write_bytes(text + b'{"type": "answer", "prompt_id": "p')
        kept, before = len(setting.journaled(torn=True)), sum(server.answered.values())
        # What was in flight at the kill (at most 3 for each of 2 deployments) is all that is asked twice.
        assert 0 < kept < 45 and before - kept <= 6
        assert await setting.run() == 0
        assert sum(server.answered.values()) - before == 45 - kept
    keys = [(line["prompt_id"], line["candidate"], line["sample"]) for line in setting.journaled()]
    assert len(keys) == len(set(keys)) == 45
    assert read_table(setting.out).quality.tolist() == [[1.0, 1.0]] * 15


async def test_sigterm_lets_calls_in_flight_end_and_says_how_to_go_on(tmp_path: Path) -> None:
    async with FakeOpenAIServer(str.upper, delay_s=0.02) as server:
        setting = Setting(tmp_path, server, prompts=40)
        process = await setting.start()
        await answered(server, 8)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert process.returncode == 130
        assert b"interrupted" in err and b"run the same command again" in err
        # Nothing that the server answered was lost.
        assert len(setting.journaled()) == sum(server.answered.values())
    assert not setting.out.exists()


async def test_a_second_collection_on_the_same_journal_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeOpenAIServer(str.upper) as server:
        setting = Setting(tmp_path, server, prompts=3)
        with Journal(journal_path(setting.out)):
            assert await setting.run() == 2
        assert "in use by another collection" in capsys.readouterr().err
        assert not server.requests


async def test_storms_of_errors_half_answers_hangs_and_drops_are_survived(tmp_path: Path) -> None:
    rng = random.Random(7)
    kinds = [
        Misbehaviour(status=429, headers=(("Retry-After", "0"),)),
        Misbehaviour(status=500),
        Misbehaviour(status=503, body="<html>busy</html>"),
        Misbehaviour(body='{"choices": [{"message": {"content": "SA'),
        Misbehaviour(drop=True),
        Misbehaviour(hang_s=3.0),
    ]
    storm = [rng.choice(kinds) if rng.random() < 0.25 else None for _ in range(400)]

    def misbehave(number: int, body: Mapping[str, Any]) -> Misbehaviour | None:
        return storm[number] if number < len(storm) else None

    async with FakeOpenAIServer(str.upper, misbehave=misbehave) as server:
        setting = Setting(tmp_path, server, prompts=12, timeout_s=0.2)
        job = Job(
            prompts=read_prompts(tmp_path / "p.jsonl"),
            candidates=read_candidates(tmp_path / "c.yaml").candidates,
            out=setting.out,
            grader="exact",
            limits=Limits(parallel=3, attempts=12, first_wait_s=0.01, max_wait_s=0.05),
        )
        grading = ThreadedGrading(grade)
        done = await collect(
            job,
            make_provider=lambda d: make_provider(d, secret=str),
            grading=grading,
            report=lambda line: None,
            rng=np.random.default_rng(0),
        )
        grading.close()
        assert done.tally.failures == {}
        assert set(server.answered.values()) == {1, 2}  # draw 0 of both, and the one sample of one
    assert read_table(setting.out).quality.tolist() == [[1.0, 1.0]] * 12


async def test_the_spend_cap_holds_against_the_server_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeOpenAIServer(str.upper, delay_s=0.01) as server:
        setting = Setting(tmp_path, server, prompts=30)
        assert await setting.run("--max-cost-usd", 10.5) == 0
        assert "too little is left of the spend cap" in capsys.readouterr().err
        assert sum(server.answered.values()) == 10
        assert await setting.run("--max-cost-usd", 20, "--partial") == 0
        assert sum(server.answered.values()) == 20
    # Breadth first: what the money went into is whole rows.
    assert len(read_table(setting.out)) >= 7
