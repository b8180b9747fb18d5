"""Log lines as JSON, one object per line, on standard error. Never a prompt, an answer or a key."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp.web import RequestPayloadError

_STDERR = 2
_FRAMES = 6
_MOST_WAITING = 20_000
_EVERY_S = 0.05
_CLOSING_S = 2.0


class Lines:
    """Writes lines from a thread, so that whoever reads them slowly, or not at all, holds up no request.

    Lines that nobody takes are dropped once many wait; how many is told when they flow again.

    Args:
        write: takes the bytes of whole lines.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write_bytes = write
        self._waiting: deque[dict[str, Any]] = deque()
        self._dropped = 0
        self._writing, self._said, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, name="equipoise-lines", daemon=True)
        self._thread.start()

    def say(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """One line with fields, of types that JSON has."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
        else:
            self._waiting.append({"time": time.time(), "level": level, "event": event, **fields})
            self._said.set()

    def failed(self, event: str, error: BaseException, **fields: Any) -> None:
        """Tell of an unexpected error: its type and where it happened. Its text may quote a prompt and is left out."""
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self.say(event, level="error", exception=type(error).__name__, where=where, **fields)

    def _write_until_closed(self) -> None:
        while True:
            self._said.wait()
            closing = self._closed.wait(_EVERY_S)  # what is said meanwhile goes along
            self._said.clear()
            with suppress(OSError, ValueError):  # nobody listens any more
                self._write()
            if closing:
                return

    def _write(self) -> None:
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if self._dropped and lines:
                told = {"time": time.time(), "level": "warning", "event": "lines dropped", "lines": self._dropped}
                lines.append(told)
                self._dropped = 0
            if lines:
                self._write_bytes(b"".join([_line(one) for one in lines]))

    def close(self) -> None:
        """Write what waits, as far as it is taken."""
        self._closed.set()
        self._said.set()
        self._thread.join(_CLOSING_S)


def _line(one: dict[str, Any]) -> bytes:
    one["time"] = datetime.fromtimestamp(one["time"], UTC).isoformat(timespec="milliseconds")
    try:
        return orjson.dumps(one, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # names of files may be no text; the thread that writes must not end by one
        return json.dumps(one, default=str).encode() + b"\n"


class _Others(logging.Handler):
    """What other libraries log as errors: who, and what kind. Their texts may hold anything."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(logging.ERROR)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        error = record.exc_info[1] if record.exc_info else None  # asyncio gives False where there is none
        if isinstance(error, RequestPayloadError):
            return  # the client's own fault, which it was told
        if error is not None:
            self._lines.failed(record.name, error)
        else:
            self._lines.say(record.name, level=record.levelname.lower())


@contextmanager
def lines_to_stderr() -> Iterator[Lines]:
    """Lines on standard error; what other libraries log as errors, and threads that fail, go the same way.

    Warnings go nowhere: routers can be anyone's code, and what it has to say may hold anything.
    """
    lines = Lines(_to_stderr)
    others, root, unheard = _Others(lines), logging.getLogger(), threading.excepthook

    def failed(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and told.exc_type is not SystemExit:
            lines.failed("a thread failed", told.exc_value, thread=None if told.thread is None else told.thread.name)

    root.addHandler(others)
    logging.captureWarnings(True)  # to where only errors are heard
    threading.excepthook = failed
    try:
        yield lines
    finally:
        threading.excepthook = unheard
        logging.captureWarnings(False)
        root.removeHandler(others)
        lines.close()


def _to_stderr(data: bytes) -> None:
    # Past the buffer of sys.stderr, whose lock a thread that is stuck in a write would keep at exit.
    left = memoryview(data)
    while left:
        left = left[os.write(_STDERR, left) :]
