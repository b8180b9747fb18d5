"""``equipoise keys`` and ``equipoise log``, from the command line to the file and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from equipoise.cli.main import main
from equipoise.storage.decisions import DecisionLog
from equipoise.storage.keys import KeyStore
from tests.logged import a_decision, an_outcome, some_feedback

URL = "sqlite:///kept.db"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "equipoise.yaml").write_text(f'storage: {{url: "{URL}"}}\n')
    return tmp_path


def a_log(*, interval_s: float = 1e6) -> DecisionLog:
    log = DecisionLog(URL, interval_s=interval_s)
    for i, age_days in enumerate((10.0, 1.0, 0.0)):
        received = time.time() - age_days * 86400
        log.record(a_decision(i), tenant="a", route="auto", format="chat", received=received)
    log.finish(an_outcome(1))
    log.feedback(some_feedback(1, reward=0.5), tenant="a")
    log.flush()
    return log


def one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """What a command that fails says."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def test_a_key_is_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "app", "--tenant", "acme", "--expires-days", "2"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    keys = KeyStore(URL)
    info = keys.verify(key, time.time())
    assert info is not None and info.tenant == "acme" and info.scopes == {"call", "feedback"}
    assert "not shown again" in said.err and f"eq-{info.id}" in said.err
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert f"eq-{info.id}" in listed and "until 2" in listed and key not in listed
    assert main(["keys", "revoke", f"eq-{info.id}"]) == 0
    assert "revoked" in capsys.readouterr().out
    assert main(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["revoked"] is not None
    keys.close()


def test_a_key_that_would_outlive_the_calendar_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = one_line(capsys, ["keys", "create", "--name", "app", "--expires-days", "1e300"])
    assert "give an earlier expiry" in line


def test_keys_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "ops", "--scopes", "admin, read", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key"].startswith(made["id"]) and made["scopes"] == ["admin", "read"] and "hash" not in made
    assert main(["keys", "revoke", made["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == made["id"]


def test_keys_are_made_while_the_log_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log()
    assert main(["keys", "create", "--name", "app"]) == 0
    log.close()


def test_export_tail_and_prune(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_log().close()
    assert main(["log", "export", "--out", "out.parquet"]) == 0
    assert "wrote 3 decisions" in capsys.readouterr().out
    assert pq.read_table("out.parquet").column("reward").to_pylist() == [None, 0.5, None]
    assert main(["log", "export", "--out", "new.parquet", "--days", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": "new.parquet", "decisions": 2}
    assert main(["log", "tail", "-n", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "auto -> model-0  ok" in first and "answered by model-1" in first and "user: 0.5" in first
    assert second.endswith("no outcome")
    assert main(["log", "tail", "--json"]) == 0
    assert [r["decision"]["id"] for r in json.loads(capsys.readouterr().out)] == [a_decision(i).id for i in range(3)]
    assert main(["log", "prune", "--days", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 1}
    assert main(["log", "prune", "--days", "0"]) == 0
    assert main(["log", "tail"]) == 0
    assert "no decisions yet" in capsys.readouterr().err


def test_what_a_killed_gateway_left_is_exported(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    child = os.fork()
    if not child:
        a_log().record(a_decision(9), tenant="a", route="auto", format="chat", received=2e9)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert main(["log", "export", "--out", "out.parquet"]) == 0
    assert "wrote 4 decisions" in capsys.readouterr().out


def test_follow_shows_each_call_as_it_ends(folder: Path) -> None:
    log = a_log(interval_s=0.02)
    command = [sys.executable, "-m", "equipoise.cli.main", "log", "tail", "-n", "1", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["decision"]["id"] == a_decision(2).id
        log.finish(an_outcome(2))
        assert json.loads(tail.stdout.readline())["outcome"]["status"] == "ok"
        tail.send_signal(signal.SIGINT)
        assert tail.wait(timeout=20) == 0
    log.close()


def test_what_is_wrong_is_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "kept.db: not there yet" in one_line(capsys, ["keys", "list"])
    assert "not there yet" in one_line(capsys, ["log", "tail"])
    assert not (folder / "kept.db").exists()
    assert "did you mean 'call'" in one_line(capsys, ["keys", "create", "--name", "a", "--scopes", "calls"])
    assert "unknown key 'eq-nothing1'" in one_line(capsys, ["keys", "revoke", "eq-nothing1"])
    a_log().close()
    assert "would be overwritten" in one_line(capsys, ["log", "export", "--out", "kept.db"])
    assert "no folder" in one_line(capsys, ["log", "export", "--out", "nowhere/x.parquet"])
    assert "d.csv: the log is written as parquet" in one_line(capsys, ["log", "export", "--out", "d.csv"])
    (folder / "equipoise.yaml").write_text('storage: {url: "memory://"}\n')
    assert "memory://" in one_line(capsys, ["log", "tail"])
    (folder / "equipoise.yaml").write_text('storage: {url: "mysql://x"}\n')
    assert "equipoise.yaml: storage.url is none that is known" in one_line(capsys, ["keys", "list"])
    assert "equipoise init" in one_line(capsys, ["log", "tail", "--config", "other.yaml"])


def test_the_file_is_looked_for_beside_the_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "equipoise.yaml").write_text(f'storage: {{url: "{URL}"}}\n')
    assert main(["keys", "create", "--name", "a", "--config", "etc/equipoise.yaml"]) == 0
    assert (folder / "etc" / "kept.db").is_file() and not (folder / "kept.db").exists()
