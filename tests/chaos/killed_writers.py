"""Writes a decision log from child processes, each killed in the middle; tells what was acknowledged.

Run as a program: ``killed_writers.py FOLDER SEED SECONDS``. Prints the number of kills, then a line ``KIND ID``
for everything that a child was told is kept. One warm process forks the children, so that many fit in a few seconds.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from equipoise.storage import decisions
from equipoise.storage.decisions import DecisionLog
from tests.logged import a_decision, an_outcome, some_feedback


def write_for_ever(folder: Path, start: int, acknowledged: int, rng: random.Random) -> None:
    decisions._SEGMENT_BYTES = 20_000
    log = DecisionLog("sqlite:///log.db", folder=folder, interval_s=rng.choice([0.0005, 0.005, 5.0]))
    for i in itertools.count(start):
        if log.record(a_decision(i), tenant="a", route="auto", format="chat", prompt="p" * (i % 300), received=1e9 + i):
            os.write(acknowledged, b"decision %d\n" % i)
        if log.finish(an_outcome(i, finished=2e9 + i)):
            os.write(acknowledged, b"outcome %d\n" % i)
        if i % 3 == 0 and log.feedback(some_feedback(i), tenant="a"):
            os.write(acknowledged, b"feedback %d\n" % i)


def one_life(folder: Path, start: int, seconds: float, rng: random.Random) -> bytes:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            write_for_ever(folder, start, write, rng)
        finally:
            os._exit(1)
    os.close(write)
    os.set_blocking(read, False)
    said, until = b"", time.monotonic() + seconds
    while time.monotonic() < until:
        said += taken(read)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    os.set_blocking(read, True)
    while more := taken(read):
        said += more
    os.close(read)
    return said


def taken(handle: int) -> bytes:
    try:
        return os.read(handle, 1 << 16)
    except BlockingIOError:
        return b""


def main() -> None:
    folder, rng, until = Path(sys.argv[1]), random.Random(int(sys.argv[2])), time.monotonic() + float(sys.argv[3])
    said, lives = b"", 0
    while time.monotonic() < until:
        said += one_life(folder, lives * 1_000_000, rng.uniform(0.005, 0.12), rng)
        lives += 1
    sys.stdout.write(f"{lives}\n{said.decode()}")


if __name__ == "__main__":
    main()
