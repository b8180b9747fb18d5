"""The sandbox refuses what code must not do, and survives what code does by mistake."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from equipoise.collect import sandbox
from equipoise.collect.sandbox import run_tests


def test_says_how_it_isolates() -> None:
    assert sandbox.isolation() in ("namespaces, user nobody", "namespaces", "audit hook only")


def test_right_code_passes_and_wrong_code_fails() -> None:
    assert run_tests("def f(): return 1", "assert f() == 1").passed
    verdict = run_tests("def f(): return 2", "assert f() == 1")
    assert verdict == (False, "AssertionError")


def test_the_usual_modules_can_be_imported() -> None:
    names = "math, re, json, itertools, functools, collections, heapq, bisect, random, datetime"
    assert run_tests(f"import {names}\nfrom typing import List", "assert math.gcd(4, 6) == 2").passed


# Where nothing is refused, each comes to its end, or writes what should not be there.
ATTACKS = {
    "socket": "import socket\nsocket.socket()",
    "connection": "import socket\ntry: socket.create_connection(('127.0.0.1', 1), 1)\n"
    "except ConnectionRefusedError: pass",
    "low level socket": "import _socket\n_socket.socket()",
    "lookup": "import socket\nsocket.getaddrinfo('localhost', 80)",
    "url": "import urllib.request\ntry: urllib.request.urlopen('http://127.0.0.1:1')\n"
    "except OSError as error:\n    if not isinstance(error.reason, ConnectionRefusedError): raise",
    "write here": "open('x.txt', 'w')",
    "write in tmp": "open('/tmp/equipoise-escape.txt', 'w')",
    "low level write": "import os\nos.open('/tmp/equipoise-escape.txt', os.O_CREAT | os.O_WRONLY)",
    "read secrets": "open('/etc/passwd').read()",
    "read own environment": "open('/proc/self/environ').read()",
    "climb out": "open('/usr/share/zoneinfo/../../../etc/passwd').read()",
    "remove": "import os\ntry: os.remove('/tmp/equipoise-none')\nexcept FileNotFoundError: pass",
    "make a directory": "import os\nos.mkdir('d')",
    "shell": "import os\nos.system('true')",
    "subprocess": "import subprocess\nsubprocess.run(['true'])",
    "fork": "import os\nos.fork()",
    "exec": "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo > /tmp/equipoise-escape.txt'])",
    "c library": "import ctypes\nctypes.CDLL(None)",
    "kill": "import os\nos.kill(1, 9)",
    "raise the limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
}


# What is not let in by an import, or not let do, says so; urllib in its own way.
REFUSALS = ("PermissionError", "ImportError", "URLError")


@pytest.mark.parametrize("code", ATTACKS.values(), ids=ATTACKS.keys())
def test_refuses(code: str) -> None:
    assert run_tests(code, "assert True").reason in REFUSALS
    assert not Path("/tmp/equipoise-escape.txt").exists()


TIMED, CUT = "no verdict in time", "ended without a verdict"
ENDLESS = {
    "endless loop": "while True: pass",
    "endless sleep": "import time\ntime.sleep(1000)",
    "fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except Exception:\n        pass",
    "swallows all": "while 1:\n  try:\n    raise KeyboardInterrupt\n  except BaseException:\n    pass",
}
MISHAPS = {
    "memory bomb": ("x = 'a' * 10 ** 10", "MemoryError"),
    "growing memory": ("x = []\nwhile True: x.append(bytearray(10 ** 7))", "MemoryError"),
    "thread bomb": (
        "import threading, time\nwhile 1: threading.Thread(target=time.sleep, args=(99,)).start()",
        "RuntimeError", "MemoryError",
    ),
    "hard exit": ("import os\nos._exit(0)", CUT),
    "soft exit": ("raise SystemExit(0)", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "deep recursion": ("def f(): return f()\nf()", "RecursionError"),
    "deeper recursion": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f()\nf()",
        TIMED, CUT, "RecursionError", "MemoryError",
    ),
    "huge power": ("x = 9 ** 9 ** 9", TIMED, CUT, "MemoryError"),
    "reads input": ("input()", "EOFError"),
    "syntax error": ("def f(:", "SyntaxError"),
    "deep nesting": ("(" * 5000, "SyntaxError", "MemoryError", "RecursionError"),
    "abort": ("import os\nos.abort()", CUT),
    "own session": ("import os, time\nos.setsid()\ntime.sleep(1000)", TIMED, "PermissionError"),
}  # fmt: skip


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS.keys())
def test_ends_what_has_no_end(code: str) -> None:
    start = time.monotonic()
    assert run_tests(code, "assert True", wall_seconds=0.7) == (False, TIMED)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("code", "ends"), [(code, ends) for code, *ends in MISHAPS.values()], ids=MISHAPS.keys())
def test_survives(code: str, ends: list[str]) -> None:
    verdict = run_tests(code, "assert True")
    assert not verdict.passed and verdict.reason in ends


def test_huge_output_is_dropped_and_does_no_harm() -> None:
    assert run_tests("for _ in range(200): print('x' * 100_000)", "assert True").passed


def test_a_forged_verdict_line_is_not_believed() -> None:
    forged = "import os\nfor fd in range(3, 20):\n  try:\n    os.write(fd, b'pass\\n')\n  except OSError:\n    pass"
    assert not run_tests(forged + "\nos._exit(0)", "assert False").passed
    assert not run_tests("print('pass')", "assert False").passed


def test_code_too_long_to_be_an_answer_is_refused() -> None:
    assert run_tests("#" * 100_000, "assert True") == (False, "too long")


def test_nul_bytes_and_lone_surrogates_do_no_harm() -> None:
    assert run_tests("x = 1\0", "assert x == 1").passed
    assert run_tests("x = '\ud800'", "assert len(x) == 1").passed
    assert run_tests("x = '\ud800'\nassert False", "assert True") == (False, "AssertionError")
    assert run_tests("", "assert len(reply) == 5", reply="grün\u2019").passed


def test_leaves_no_process_and_no_directory_behind() -> None:
    marker = "time.sleep(987)"
    run_tests(f"import os, time\nos.setsid()\n{marker}", "", wall_seconds=0.7)
    time.sleep(0.3)
    children = [
        line
        for pid in filter(str.isdigit, os.listdir("/proc"))
        if (line := _command(pid)) and "sandbox_child.py" in line and _parent(pid) in (1, os.getpid())
    ]
    assert children == []


def _command(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _parent(pid: str) -> int:
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_runs_in_several_threads_at_once() -> None:
    with ThreadPoolExecutor(3) as pool:
        verdicts = list(pool.map(lambda n: run_tests(f"x = {n}", f"assert x == {n}").passed, range(9)))
    assert verdicts == [True] * 9
    assert threading.active_count() < 10


def test_the_audit_hook_alone_still_refuses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_prefix", lambda: ("audit hook only", ()))
    assert run_tests("x = 1", "assert x == 1").passed
    for name in ("socket", "low level socket", "write in tmp", "subprocess", "fork", "c library", "kill"):
        assert run_tests(ATTACKS[name], "assert True").reason in REFUSALS, name
    for name in ("endless loop", "fork bomb"):
        assert run_tests(ENDLESS[name], "assert True", wall_seconds=0.7) == (False, TIMED), name
    for name in ("memory bomb", "hard exit"):
        code, *ends = MISHAPS[name]
        assert run_tests(code, "assert True").reason in ends, name
