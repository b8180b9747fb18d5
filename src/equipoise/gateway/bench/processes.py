"""The processes of a benchmark: each on a core of its own where the system can pin it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from equipoise.errors import InputError

_READY_S = 120.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """The command on one core, where that can be had."""
    tool = shutil.which("taskset")
    if core is None or tool is None:
        return list(command)
    return [tool, "-c", str(core), *command]


def cores() -> tuple[int | None, int | None]:
    """A core for what is measured, and another for the upstream and the load; None where there is but one."""
    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (known[0], known[1]) if len(known) > 1 else (None, None)


class Process:
    """A server that is measured. Its output goes to a file.

    Attributes:
        port: where it listens.
        started_s: from the start to the first answer.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path, *, core: int | None) -> None:
        self._command, self.port, self._log = pinned(command, core), port, log
        self._popen: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    def __enter__(self) -> Self:
        begun = time.perf_counter()
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            while not _listens(self.port):
                if self._popen.poll() is not None or time.perf_counter() - begun > _READY_S:
                    raise InputError(f"{self._command[0]} did not start; see {self._log}")
                time.sleep(0.01)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.started_s = time.perf_counter() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._popen is not None and self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(10)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()

    def cpu_s(self) -> float | None:
        """Processor time so far, where the system tells."""
        assert self._popen is not None
        try:
            fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float | None:
        """The most memory that it has had, where the system tells."""
        return self._memory("VmHWM")

    def resident_mb(self) -> float | None:
        """The memory that it has now."""
        return self._memory("VmRSS")

    def _memory(self, what: str) -> float | None:
        assert self._popen is not None
        try:
            lines = Path(f"/proc/{self._popen.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), None)


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package."""
    return [sys.executable, "-m", name, *arguments]


def wait_until_answers(url: str, data: bytes, headers: Mapping[str, str]) -> None:
    """Ask until the answer is good: some servers listen before they are ready.

    Raises:
        InputError: it never is.
    """
    until, last = time.perf_counter() + _READY_S, "no answer"
    while time.perf_counter() < until:
        try:
            with urlopen(Request(url, data=data, headers=dict(headers)), timeout=30) as answer:
                answer.read()
                return
        except (URLError, OSError) as error:
            last = str(error)
            time.sleep(0.2)
    raise InputError(f"{url} gives no answer: {last}")


def _listens(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex(("127.0.0.1", port)) == 0
