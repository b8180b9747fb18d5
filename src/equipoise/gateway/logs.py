"""Log lines as JSON, one object per line, on standard error. Never a prompt, an answer or a key."""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import orjson

LOGGER = "equipoise"
_STDERR = 2
_FRAMES = 6
_MOST_WAITING = 20_000
_EVERY_S = 0.05
_CLOSING_S = 2.0


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, event, and the fields that were given with it.

    Of an exception its type and where it happened are told; its text may quote a prompt and is left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name == LOGGER else record.name,
        }
        line |= getattr(record, "fields", {})
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["exception"] = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
            line["where"] = [f"{f.filename}:{f.lineno} {f.name}" for f in frames]
        return orjson.dumps(line, default=str).decode()


class Behind(logging.Handler):
    """Writes lines from a thread, so that whoever reads them slowly, or not at all, holds up no request.

    Lines that nobody takes are dropped once many wait; how many is told when they flow again.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self._write_bytes = write
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, name="equipoise-lines", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
        else:
            self._waiting.append(self.format(record))

    def _write_until_closed(self) -> None:
        while True:
            closing = self._closed.wait(_EVERY_S)
            with suppress(OSError, ValueError):  # nobody listens any more
                self._write()
            if closing:
                return

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if self._dropped and lines:
            lines.append(orjson.dumps({"level": "warning", "event": "lines dropped", "lines": self._dropped}).decode())
            self._dropped = 0
        if lines:
            self._write_bytes(("\n".join(lines) + "\n").encode())

    def close(self) -> None:
        """Write what waits, as far as it is taken."""
        self._closed.set()
        self._thread.join(_CLOSING_S)
        super().close()


@contextmanager
def logging_to_stderr() -> Iterator[logging.Logger]:
    """The gateway's logger. Errors that other libraries log go the same way."""
    handler = Behind(_to_stderr)
    handler.setFormatter(JsonLines())
    logger, root = logging.getLogger(LOGGER), logging.getLogger()
    logger.propagate = False
    logger.setLevel(logging.INFO)
    for one in (logger, root):
        one.addHandler(handler)
    try:
        yield logger
    finally:
        for one in (logger, root):
            one.removeHandler(handler)
        handler.close()


def _to_stderr(data: bytes) -> None:
    # Past the buffer of sys.stderr, whose lock a thread that is stuck in a write would keep at exit.
    left = memoryview(data)
    while left:
        left = left[os.write(_STDERR, left) :]


def say(logger: logging.Logger, event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """One line with fields."""
    if logger.isEnabledFor(level):
        record = logging.LogRecord(logger.name, level, "", 0, event, None, None)
        record.fields = fields
        logger.handle(record)
