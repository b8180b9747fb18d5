"""The decision log: acknowledged is kept, feedback joins, trouble shows."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from equipoise.errors import ConfigError, InputError, StateError
from equipoise.storage import decisions, journal
from equipoise.storage.decisions import DecisionLog, LogInUse, catch_up
from equipoise.storage.export import SCHEMA, export_log
from equipoise.storage.journal import segments
from equipoise.storage.migrations import MIGRATIONS, Migration, migrate
from equipoise.storage.reading import LogReader, Record, document_of, journal_folder
from equipoise.storage.store import StoreUnavailable, database_path
from equipoise.types import Estimate, Step
from tests.logged import a_decision, an_outcome, some_feedback

NEVER = 1e6
URL = "sqlite:///log.db"


def write(log: DecisionLog, i: int, *, tenant: str = "a", prompt: str | None = None, received: float = 2e9) -> bool:
    return log.record(a_decision(i), tenant=tenant, route="auto", format="chat", prompt=prompt, received=received)


def got(log: LogReader, i: int, tenant: str | None = "a") -> Record:
    record = log.get(f"{i:032x}", tenant)
    assert record is not None
    return record


@pytest.fixture(params=[URL, "memory://"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DecisionLog]:
    """A log whose thread does nothing by itself, so that tests choose the moment."""
    log = DecisionLog(request.param, folder=tmp_path, interval_s=NEVER, clock=lambda: 2e9)
    yield log
    log.close()


@pytest.fixture
def disk_log(tmp_path: Path) -> Iterator[DecisionLog]:
    log = DecisionLog(URL, folder=tmp_path, interval_s=NEVER, wait_s=0.05, clock=lambda: 2e9)
    yield log
    log.close()


@pytest.mark.parametrize("moved", [(), ("record",), ("record", "finish"), ("record", "finish", "feedback")])
def test_everything_is_found_whatever_has_been_moved(log: DecisionLog, moved: tuple[str, ...]) -> None:
    steps = {
        "record": lambda: write(log, 1, prompt="Grüße\n\t\0"),
        "finish": lambda: log.finish(an_outcome(1)),
        "feedback": lambda: log.feedback(some_feedback(1, reward=1 / 3), tenant="a"),
    }
    for name, step in steps.items():
        assert step() is True
        if name in moved:
            assert log.flush()
    record = got(log, 1)
    assert record.decision == a_decision(1) and record.outcome == an_outcome(1)
    assert record.feedback == (some_feedback(1, reward=1 / 3),)
    assert record[1:6] == ("a", "auto", "chat", 2e9, "Grüße\n\t\0")
    assert document_of(record)["decision"]["candidates"][1]["quality"]["std"] == 0.05


def test_a_tenant_sees_and_touches_its_own_decisions_only(log: DecisionLog) -> None:
    write(log, 1, tenant="a")
    assert log.get(a_decision(1).id, "b") is None
    assert log.feedback(some_feedback(1, reward=0.0), tenant="b") is False
    log.flush()
    assert log.feedback(some_feedback(1, reward=0.0), tenant="b") is False
    log.flush()
    assert got(log, 1).feedback == () and got(log, 1, None).tenant == "a"


def test_feedback_for_an_unknown_id_joins_if_the_decision_still_comes(log: DecisionLog) -> None:
    assert log.feedback(some_feedback(1, reward=0.5), tenant="a") is False
    log.flush()
    assert log.get(a_decision(1).id, "a") is None
    write(log, 1)
    log.flush()
    assert got(log, 1).feedback == (some_feedback(1, reward=0.5),)


def test_feedback_for_unknown_ids_is_kept_within_bounds(log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_MOST_PENDING", 8)
    for tenant in ("a", "b"):
        for i in range(10):
            assert log.feedback(some_feedback(i), tenant=tenant) is False
    for i in range(10):
        write(log, i, tenant="ab"[i < 2])
    log.flush()
    kept = [len(got(log, i, None).feedback) for i in range(10)]
    assert kept == [1, 1, 1, 1, *[0] * 6], "of b the first two of what a left, of which it may have half"


def test_a_decision_takes_feedback_of_a_bounded_number_of_sources(
    log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.storage.decisions._MOST_SOURCES", 3)
    for i in (1, 2):
        write(log, i)
    for source in "abc":
        assert log.feedback(some_feedback(1, source=source), tenant="a")
    log.flush()
    with pytest.raises(InputError, match="feedback of 3 sources, which is the most; name one of them"):
        log.feedback(some_feedback(1, source="d"), tenant="a")
    assert log.feedback(some_feedback(1, source="c", reward=0.25, received=2e9), tenant="a")
    assert log.feedback(some_feedback(2, source="d"), tenant="a")
    assert {f.source: f.reward for f in got(log, 1).feedback}["c"] == 0.25


def test_late_repeated_and_disordered_feedback(log: DecisionLog) -> None:
    write(log, 1)
    for reward, received, source in ((0.1, 5.0, "user"), (0.2, 9.0, "user"), (0.3, 7.0, "user"), (0.4, 1.0, "judge")):
        assert log.feedback(some_feedback(1, reward=reward, received=received, source=source), tenant="a")
        log.flush()
    assert {f.source: f.reward for f in got(log, 1).feedback} == {"user": 0.2, "judge": 0.4}


@pytest.mark.parametrize(
    "bad",
    [
        {"reward": 1.1},
        {"reward": float("nan")},
        {"source": ""},
        {"source": "x" * 101},
        {"source": "a\n\x1b[2Jb"},
        {"decision_id": "\ud800"},
    ],
)
def test_bad_feedback_is_refused_in_one_line(log: DecisionLog, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        log.feedback(replace(some_feedback(1), **bad), tenant="a")
    assert "\n" not in str(refused.value)


def test_odd_ids_and_texts_do_no_harm(log: DecisionLog) -> None:
    assert log.get("\ud800", "a") is None and log.get("'; --", "a") is None and log.get("", "a") is None
    write(log, 1, prompt="lone \ud800 surrogate")
    log.flush()
    assert got(log, 1).prompt == "lone ? surrogate"


def test_a_killed_process_leaves_its_records_to_the_next(tmp_path: Path, disk_log: DecisionLog) -> None:
    write(disk_log, 1)
    disk_log.flush()
    for i in (2, 3):
        write(disk_log, i)
    disk_log.finish(an_outcome(1))
    disk_log.feedback(some_feedback(2), tenant="a")
    dead = tmp_path / "dead"
    dead.mkdir()
    for name in ("log.db", "log.db-wal", "log.db.segments"):
        source = tmp_path / name
        shutil.copytree(source, dead / name) if source.is_dir() else shutil.copy(source, dead / name)
    reader = LogReader(URL, folder=dead)
    assert got(reader, 3).decision == a_decision(3) and got(reader, 1).outcome == an_outcome(1)
    reader.close()
    for _ in range(2):
        heir = DecisionLog(URL, folder=dead, interval_s=NEVER)
        assert heir.feedback(some_feedback(3, source="late"), tenant="a") is True
        assert [len(got(heir, i).feedback) for i in (1, 2, 3)] == [0, 1, 1]
        assert heir.flush() and [r.decision.id for r in heir.tail(9)] == [a_decision(i).id for i in (1, 2, 3)]
        heir.close()
        assert segments(journal_folder(dead / "log.db")) == []


def test_reading_while_another_writes(tmp_path: Path, disk_log: DecisionLog) -> None:
    write(disk_log, 1)
    reader = LogReader(URL, folder=tmp_path)
    assert got(reader, 1).outcome is None
    disk_log.flush()
    _, position = reader.finished_after(None)
    disk_log.finish(an_outcome(1))
    assert got(reader, 1).outcome == an_outcome(1)
    assert reader.finished_after(position)[0] == []
    disk_log.flush()
    assert [r.outcome for r in reader.finished_after(position)[0]] == [an_outcome(1)]
    reader.close()


def test_one_process_writes(tmp_path: Path, disk_log: DecisionLog) -> None:
    with pytest.raises(LogInUse, match=rf"process {os.getpid()} writes this log; stop it"):
        DecisionLog(URL, folder=tmp_path, wait_s=0.0)
    assert catch_up(URL, tmp_path) is False
    disk_log.close()
    assert catch_up(URL, tmp_path) is True


def test_one_process_writes_whatever_name_the_file_goes_by(tmp_path: Path, disk_log: DecisionLog) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "log.db")
    with pytest.raises(LogInUse):
        DecisionLog("sqlite:///link.db", folder=tmp_path / "elsewhere", wait_s=0.05)
    write(disk_log, 1)
    reader = LogReader("sqlite:///link.db", folder=tmp_path / "elsewhere")
    assert got(reader, 1).decision == a_decision(1)
    reader.close()


def test_a_lock_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "log.db.lock").mkdir()
    with pytest.raises(InputError, match=r"log.db.lock: cannot be written \(Is a directory\); name a"):
        DecisionLog(URL, folder=tmp_path)


def test_the_thread_moves_the_journal_by_itself(tmp_path: Path) -> None:
    log = DecisionLog(URL, folder=tmp_path, interval_s=0.01)
    write(log, 1)
    until = time.monotonic() + 10
    while not log.tail(1) and time.monotonic() < until:
        time.sleep(0.01)
    assert log.tail(1)[0].decision == a_decision(1)
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        write(log, 2)


def test_a_locked_database_holds_nothing_up(tmp_path: Path, disk_log: DecisionLog) -> None:
    write(disk_log, 0)
    disk_log.flush()
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert write(disk_log, 1) and not disk_log.flush()
    assert disk_log.feedback(some_feedback(1), tenant="a") and disk_log.feedback(some_feedback(0), tenant="a")
    assert not disk_log.feedback(some_feedback(9), tenant="a")
    assert "locked" in str(disk_log.status.trouble) and disk_log.status.failures == 1
    assert got(disk_log, 1).decision == a_decision(1)
    other.execute("ROLLBACK")
    other.close()
    assert disk_log.flush() and disk_log.status.trouble is None
    assert len(got(disk_log, 1).feedback) == 1


def test_ids_of_a_long_stall_are_still_known(disk_log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_MOST_RECENT", 5)
    monkeypatch.setattr(disk_log.store, "ingest", failing)
    for i in range(10):
        write(disk_log, i)
        disk_log.flush()
    assert disk_log.feedback(some_feedback(0), tenant="a") is True
    assert disk_log.feedback(some_feedback(77), tenant="a") is False
    monkeypatch.undo()
    assert disk_log.flush() and len(disk_log.tail(99)) == 10


def failing(*_: object) -> int:
    raise StoreUnavailable("log.db: database or disk is full")


def test_a_full_disk_shows_and_heals(disk_log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert write(disk_log, 1)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(journal.os, "write", full)
        assert write(disk_log, 2) is False
        assert disk_log.status.waiting == 1 and "No space left" in str(disk_log.status.trouble)
    assert disk_log.flush() and disk_log.status.waiting == 0 and disk_log.status.trouble is None
    assert got(disk_log, 2).decision == a_decision(2)
    assert disk_log.status.recorded == 2, "what waited counts once it is kept"


def test_a_row_that_the_database_refuses_holds_up_no_other(disk_log: DecisionLog) -> None:
    write(disk_log, 1)
    write(disk_log, 2, tenant=None)  # type: ignore[arg-type]
    write(disk_log, 3)
    assert disk_log.flush() and disk_log.status.damaged == 1
    assert [r.decision.id for r in disk_log.tail(9)] == [a_decision(1).id, a_decision(3).id]


def test_segments_change_and_go(tmp_path: Path, disk_log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_SEGMENT_BYTES", 2000)
    for i in range(20):
        write(disk_log, i)
        disk_log.flush()
    numbers = segments(journal_folder(tmp_path / "log.db"))
    assert len(numbers) <= 2 and numbers[-1] > 5
    assert len(disk_log.tail(99)) == 20


def test_many_threads_may_record(disk_log: DecisionLog) -> None:
    def work(start: int) -> None:
        for i in range(start, start + 100):
            write(disk_log, i)
            if i % 40 == 0:
                disk_log.flush()

    threads = [threading.Thread(target=work, args=(k * 100,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert disk_log.flush() and disk_log.status.damaged == 0
    assert {r.decision.id for r in disk_log.tail(999)} == {a_decision(i).id for i in range(400)}


def test_a_log_may_lie_in_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"f\xfcr")
    folder.mkdir()
    log = DecisionLog(URL, folder=folder, interval_s=NEVER)
    assert write(log, 1) and log.flush() and got(log, 1).tenant == "a"
    log.close()


def test_what_the_write_ahead_log_grew_by_while_someone_read_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.storage.connection._MOST_WAL_BYTES", 1_000_000)
    log, wal = DecisionLog(URL, folder=tmp_path, interval_s=NEVER), tmp_path / "log.db-wal"

    def much(start: int) -> None:
        for i in range(start, start + 100):
            write(log, i, prompt="p" * 60_000)
        assert log.flush()

    much(0)
    rows = log.store.rows()
    next(rows)
    much(100)
    assert wal.stat().st_size > 10_000_000
    rows.close()  # type: ignore[attr-defined]
    much(200)
    assert wal.stat().st_size < 5_000_000
    log.close()


def test_old_decisions_are_removed_where_asked(tmp_path: Path) -> None:
    now = [2e9]
    log = DecisionLog(URL, folder=tmp_path, interval_s=0.01, retention_days=1.0, clock=lambda: now[0])
    write(log, 1, received=2e9 - 90_000)
    write(log, 2, received=2e9)
    log.flush()
    now[0] += 1000.0
    until = time.monotonic() + 10
    while len(log.tail(9)) > 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert [r.decision.id for r in log.tail(9)] == [a_decision(2).id]
    assert log.prune(0.0, now=2e9 + 1) == 1
    log.close()


def test_a_long_export_holds_up_neither_removal_nor_writers(tmp_path: Path) -> None:
    log = DecisionLog(URL, folder=tmp_path, interval_s=NEVER, wait_s=5.0, clock=lambda: 2e9)
    for i in range(3):
        write(log, i)
    assert log.flush()
    rows = log.store.rows()
    next(rows)
    started = time.monotonic()
    assert log.prune(0.0, now=2e9 + 1) == 3
    write(log, 9)
    assert log.flush() and time.monotonic() - started < 4.5  # less than wait_s: nothing was waited for
    rows.close()  # type: ignore[attr-defined]
    log.close()


def test_a_clock_that_slips_ahead_for_a_moment_removes_nothing(tmp_path: Path) -> None:
    now = [2e9]
    log = DecisionLog(URL, folder=tmp_path, interval_s=NEVER, retention_days=1.0, clock=lambda: now[0])
    write(log, 1, received=2e9)
    log.flush()
    for moment in (2e9, 2e9 + 3e7, 2e9 + 1000.0):
        now[0] = moment
        log._keep_house()
    assert [r.decision.id for r in log.tail(9)] == [a_decision(1).id]
    for moment in (2e9 + 3e7, 2e9 + 3e7 + 700.0):
        now[0] = moment
        log._keep_house()
    assert log.tail(9) == [], "a clock that stays ahead is right"
    log.close()


def test_of_what_was_removed_no_byte_stays_while_the_log_goes_on(tmp_path: Path) -> None:
    now = [2e9]
    log = DecisionLog(URL, folder=tmp_path, interval_s=0.01, retention_days=1.0, clock=lambda: now[0])
    for i in range(300):
        write(log, i, received=2e9, prompt=f"a secret {i} " * 20)
    log.flush()

    def kept() -> list[Path]:
        return [p for p in tmp_path.rglob("*") if p.is_file() and b"secret" in p.read_bytes()]

    assert kept()
    now[0] += 90_000.0
    write(log, 999, received=now[0])
    until = time.monotonic() + 10
    while kept() and time.monotonic() < until:
        time.sleep(0.02)
        now[0] += 700.0
    assert kept() == []
    assert [r.decision.id for r in log.tail(9)] == [a_decision(999).id]
    log.close()


def test_export_has_every_decision_with_all_that_is_known(log: DecisionLog, tmp_path: Path) -> None:
    for i in range(3):
        write(log, i, prompt="hello" if i else None, received=1.7e9 + i)
    log.finish(an_outcome(1))
    log.feedback(some_feedback(1, reward=0.5), tenant="a")
    log.feedback(some_feedback(1, reward=1.0, source="judge"), tenant="a")
    log.flush()
    assert export_log(log, tmp_path / "out.parquet") == 3
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(SCHEMA)
    first, second, _ = table.to_pylist()
    assert first["status"] is None and first["reward"] is None and first["prompt"] is None
    assert second["cost_usd"] == an_outcome(1).cost_usd and second["input_tokens"] == 66
    assert second["tokens_estimated"] and second["answered_by"] == "model-1" and second["model"] == "model-0"
    assert second["reward"] == 0.75 and second["probability"] == 1.0 and second["expected_quality"] is None
    assert first["steps"] == "[]"
    assert export_log(log, tmp_path / "new.parquet", since=1.7e9 + 2) == 1
    with pytest.raises(InputError):
        export_log(log, tmp_path / "nowhere" / "out.parquet")


def test_export_tells_the_steps_of_a_cascade(log: DecisionLog, tmp_path: Path) -> None:
    steps = (Step(model="model-0", samples=3, test="vote", accept_at=0.5), Step(model="model-1", test="vote"))
    made = a_decision(1)
    log.record(
        replace(made, plan=replace(made.plan, steps=steps)), tenant="a", route="auto", format="chat", received=1.7e9
    )
    log.flush()
    export_log(log, tmp_path / "out.parquet")
    [row] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert tuple(Step(**step) for step in json.loads(row["steps"])) == steps


def test_export_has_null_for_estimates_that_are_no_numbers(log: DecisionLog, tmp_path: Path) -> None:
    made = a_decision(1)
    wild = replace(made.selected, quality=Estimate(math.inf, math.nan), output_tokens=math.inf)
    candidates = (wild, *(c for c in made.candidates if c.model != wild.model))
    log.record(replace(made, candidates=candidates), tenant="a", route="auto", format="chat", received=1.7e9)
    log.flush()
    export_log(log, tmp_path / "out.parquet")
    [row] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["expected_quality"] is None and row["expected_output_tokens"] is None

    def refused(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    assert json.loads(row["candidates"], parse_constant=refused)[0]["expected_quality_std"] is None


@pytest.mark.parametrize("url", ["postgresql://x", "sqlite://x.db", "sqlite:///", "log.db", "memory:///"])
def test_a_url_that_is_not_known_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///FILE"):
        database_path(url)


def test_absolute_and_relative_files(tmp_path: Path) -> None:
    assert database_path("sqlite:////var/x.db", tmp_path) == Path("/var/x.db")
    assert database_path("sqlite:///x.db", tmp_path) == tmp_path / "x.db"


def test_files_that_are_no_log_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(InputError, match=r"log\.db: cannot be opened"):
        DecisionLog(URL, folder=tmp_path)
    with pytest.raises(InputError, match="no folder"):
        DecisionLog("sqlite:///nowhere/log.db", folder=tmp_path)
    with pytest.raises(InputError, match="no such decision log"):
        LogReader("sqlite:///other.db", folder=tmp_path)
    with pytest.raises(InputError, match="memory"):
        LogReader("memory://")


def test_a_database_of_another_program_or_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("CREATE TABLE guests (name)")
    other.close()
    with pytest.raises(StateError, match="another program"):
        DecisionLog(URL, folder=tmp_path)
    DecisionLog("sqlite:///newer.db", folder=tmp_path).close()
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for opened in (DecisionLog, LogReader):
        with pytest.raises(StateError, match="newer version of equipoise"):
            opened("sqlite:///newer.db", folder=tmp_path)


def test_migrations_run_once_each_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, MIGRATIONS[:1])
    connection.execute("UPDATE journal SET segment = 5")
    broken = (*MIGRATIONS, Migration("broken", ("CREATE TABLE fine (x)", "CREATE TABLE journal (x)")))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, broken)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    migrate(connection, path)
    migrate(connection, path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("SELECT segment FROM journal").fetchone() == (5,)
    connection.close()


def test_a_link_in_place_of_the_lock_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("of somebody")
    (tmp_path / "log.db.lock").symlink_to("precious")
    with pytest.raises(InputError, match="cannot be written"):
        DecisionLog("sqlite:///log.db", folder=tmp_path)
    assert (tmp_path / "precious").read_text() == "of somebody"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell which files are open")
def test_a_log_that_cannot_be_opened_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "log.db.segments").write_text("a file where the journal's folder should be")
    with pytest.raises(InputError, match=r"log.db.segments: cannot be written"):
        DecisionLog(URL, folder=tmp_path)
    links = (file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink())
    assert [link for link in links if str(link).startswith(str(tmp_path))] == []


def test_the_files_are_their_owners_alone(tmp_path: Path, disk_log: DecisionLog) -> None:
    export_log(disk_log, tmp_path / "out.parquet")
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o77 == 0, path.name
