"""Killed or interrupted at the worst moment, a command leaves whole files or none under the final names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from equipoise.cli.main import main
from equipoise.evaluation.workers import _interrupts_held
from tests.small_world import write_small_table

# Runs a command in which one function stops in the middle of its work, and says so.
DRIVER = """
import importlib, sys, time
module, name, half = sys.argv[1:4]
owner = importlib.import_module(module)
real = getattr(owner, name)

def stuck(*arguments, **options):
    if half == "half":
        arguments[0].write(b"PK half a file")
        arguments[0].flush()
    print("stuck", flush=True)
    time.sleep(60)
    return real(*arguments, **options)

setattr(owner, name, stuck)
from equipoise.cli.main import main
sys.argv[1:] = sys.argv[4:]
raise SystemExit(main())
"""
TRAIN = ["train", "small.csv", "--router", "static", "--out", "r.npz"]
EVALUATE = ["evaluate", "small.csv", "--routers", "static", "--seeds", "1", "--jobs", "1", "--out", "report"]


@contextmanager
def stuck_in(place: str, command: list[str], folder: Path, *, half: bool = False) -> Iterator[subprocess.Popen[str]]:
    """The command, at the moment when it is in the middle of ``place``."""
    module, name = place.rsplit(".", 1)
    arguments = [sys.executable, "-c", DRIVER, module, name, "half" if half else "whole", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert any(line == "stuck\n" for line in process.stdout), process.stderr.read()
            yield process
        finally:
            process.kill()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_table(tmp_path, "small.csv", n=60)
    return tmp_path


def test_an_interrupt_while_writing_a_router_file_keeps_the_old_one_and_cleans_up(folder: Path) -> None:
    (folder / "r.npz").write_text("the old router")
    before = files(folder)
    with stuck_in("numpy.savez_compressed", TRAIN, folder, half=True) as process:
        assert any(".tmp-" in name for name in files(folder))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "equipoise train: interrupted; nothing was written under a final name"
    assert "Traceback" not in err and files(folder) == before


def test_a_kill_while_writing_a_router_file_leaves_nothing_under_its_name(folder: Path) -> None:
    before = files(folder)
    with stuck_in("numpy.savez_compressed", TRAIN, folder, half=True) as process:
        process.kill()
        process.wait(30)
    left = files(folder)
    assert "r.npz" not in left
    assert all(name in before or name.startswith("r.npz.tmp-") for name in left)
    # What the killed run left behind is in nobody's way.
    assert main([str(folder / a) if a in ("small.csv", "r.npz") else a for a in TRAIN]) == 0
    assert main(["route", "What is 2 + 2?", "--policy", "quality_first", "--router-file", str(folder / "r.npz")]) == 0


def test_sigterm_while_writing_a_router_file_cleans_up_too(folder: Path) -> None:
    before = files(folder)
    with stuck_in("numpy.savez_compressed", TRAIN, folder, half=True) as process:
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143 and "Traceback" not in err and files(folder) == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_evaluation_stopped_while_writing_keeps_the_old_results(folder: Path, how: signal.Signals) -> None:
    (folder / "report").mkdir()
    for name in ("choices.parquet", "report.html", "results.json"):
        (folder / "report" / name).write_text("the old results")
    before = files(folder)
    # choices.parquet stands already, report.html is being made.
    with stuck_in("equipoise.evaluation.files.report_html", EVALUATE, folder) as process:
        assert any(name.endswith("choices.parquet") and ".tmp-" in name for name in files(folder))
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    left = files(folder)
    assert before.items() <= left.items()
    if how is signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in err and left == before
    else:
        assert all(name in before or name.startswith("report/new.tmp-") for name in left)


@contextmanager
def two_jobs_at_work(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """An evaluation by two processes that has split 1 of many behind it, in a process group of its own."""
    command = [*EVALUATE, "--seeds", "500", "--jobs", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "equipoise", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            seen = iter(process.stderr.readline, "")
            assert any("split 1 of 500" in line for line in seen)
            yield process
        finally:
            process.kill()


def test_ctrl_c_in_an_evaluation_by_two_processes_is_one_line(folder: Path) -> None:
    before = files(folder)
    with two_jobs_at_work(folder) as process:
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    lines = [line for line in err.splitlines() if not line.startswith("split ")]
    assert lines == ["equipoise evaluate: interrupted; nothing was written under a final name"]
    assert files(folder) == before


def test_sigterm_ends_an_evaluation_by_two_processes_without_a_word(folder: Path) -> None:
    before = files(folder)
    with two_jobs_at_work(folder) as process:
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert [line for line in err.splitlines() if not line.startswith("split ")] == []
    assert files(folder) == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_processes_are_started_is_heeded_once_they_all_are(how: signal.Signals) -> None:
    heeded: list[int] = []
    before = signal.signal(how, lambda number, _: heeded.append(number))
    try:
        with _interrupts_held():
            os.kill(os.getpid(), how)
            assert not heeded
        assert heeded == [how]
    finally:
        signal.signal(how, before)


def test_processes_that_cannot_start_are_not_waited_for(folder: Path) -> None:
    """Those of a script on standard input: there is no file that they could read to know it."""
    write_small_table(folder, "large.csv", n=400)
    script = "import equipoise\nequipoise.evaluate('large.csv', routers=['static'], seeds=2, jobs=2)\n"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-"], input=script, cwd=folder, capture_output=True, text=True, env=environment, timeout=100
    )
    assert told.returncode == 1
    assert "EquipoiseError: a worker process ended early" in told.stderr


def test_no_process_outlives_a_killed_evaluation(folder: Path) -> None:
    with two_jobs_at_work(folder) as process:
        process.kill()
        # Ends when the last process that can write has ended.
        process.communicate(timeout=30)
    assert not (folder / "report").exists()
