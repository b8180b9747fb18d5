"""Runs untrusted test code in a limited process of its own.

Limits: 2 s of CPU, 5 s of wall time, 512 MB, no network, no file writes, no processes, an empty directory.
Where the machine allows it the process has its own network and process namespaces; an audit hook refuses
sockets, processes and writes in any case. `isolation()` says which of the two is in force.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

WALL_SECONDS = 5.0
_CHILD = Path(__file__).with_name("sandbox_child.py")
_MOST_CHARACTERS = 50_000
_MOST_OUTPUT = 4_096
_NOBODY = "65534"
_NAMESPACES = ("--net", "--pid", "--fork", "--kill-child", "--")


class Verdict(NamedTuple):
    """Whether the tests passed; if not, why."""

    passed: bool
    reason: str


def run_tests(code: str, tests: str, *, reply: str = "", wall_seconds: float = WALL_SECONDS) -> Verdict:
    """Run `code`, then `tests` after it, with the text `reply` bound to that name."""
    parts = [part.replace("\0", "") for part in (code, tests, reply)]
    if sum(map(len, parts)) > _MOST_CHARACTERS:
        return Verdict(False, "too long")
    return _run(_prefix()[1], parts, wall_seconds)


def isolation() -> str:
    """What keeps the code from the network and from other processes on this machine."""
    return _prefix()[0]


@lru_cache(maxsize=1)
def _prefix() -> tuple[str, tuple[str, ...]]:
    """The first way of isolating that works here, found by trying."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    ways: list[tuple[str, tuple[str, ...]]] = []
    if unshare and setpriv and os.geteuid() == 0:
        # Root is exempt from the limit on processes, so the code runs as nobody; it may still read the
        # standard library, which can lie below a directory closed to others.
        caps = "-all,+dac_read_search"
        drop: tuple[str, ...] = (f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", f"--inh-caps={caps}")
        drop += (f"--ambient-caps={caps}", f"--bounding-set={caps}", "--no-new-privs", "--pdeathsig=KILL")
        ways.append(("namespaces, user nobody", (unshare, *_NAMESPACES, setpriv, *drop, "--")))
    if unshare:
        ways.append(("namespaces", (unshare, "--user", "--map-root-user", *_NAMESPACES)))
    for name, prefix in ways:
        if _run(prefix, ["x = 1", "import re\nassert x == 1", ""], WALL_SECONDS).passed:
            return name, prefix
    return "audit hook only", ()


def _run(prefix: tuple[str, ...], parts: list[str], wall_seconds: float) -> Verdict:
    token = secrets.token_hex(16)
    job = "\0".join((token, *parts)).encode("utf-8", "replace")
    python = str(getattr(sys, "_base_executable", None) or sys.executable)
    with tempfile.TemporaryDirectory(prefix="equipoise-") as place:
        os.chmod(place, 0o555)
        process = subprocess.Popen(
            (*prefix, python, "-I", "-S", str(_CHILD)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            line = _exchange(process, job, time.monotonic() + wall_seconds)
        finally:
            _end(process)
    if line is None:
        return Verdict(False, "no verdict in time")
    said, _, verdict = line.partition(" ")
    if said != token:
        return Verdict(False, "ended without a verdict")
    return Verdict(verdict == "pass", "" if verdict == "pass" else verdict.removeprefix("fail "))


def _exchange(process: subprocess.Popen[bytes], job: bytes, deadline: float) -> str | None:
    """Send the job and read one line; None when the deadline came first, "" when the process ended."""
    if process.stdin is None or process.stdout is None:
        return ""
    try:
        process.stdin.write(job)
        process.stdin.close()
    except BrokenPipeError:
        return ""
    read = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"\n" not in read and len(read) < _MOST_OUTPUT:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            chunk = os.read(process.stdout.fileno(), _MOST_OUTPUT)
            if not chunk:
                break
            read += chunk
    return read.partition(b"\n")[0].decode("ascii", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    # Killed before it is reaped: until then the group's number cannot belong to anyone else.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass
