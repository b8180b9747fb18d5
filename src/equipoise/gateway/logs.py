"""Log lines as JSON, one object per line, on standard error. Never a prompt, an answer or a key."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

LOGGER = "equipoise"
_FRAMES = 6


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


def make_logger(stream: Any = None) -> logging.Logger:
    """The gateway's logger, writing to a stream (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger(LOGGER)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.ERROR)
    return logger


def say(logger: logging.Logger, event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """One line with fields."""
    logger.log(level, event, extra={"fields": fields})
