"""Where commands write: results to standard output, progress and warnings to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(text: str = "") -> None:
    """A line of the result, on standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line of progress or warning, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def emit_json(document: Any) -> None:
    """One JSON document on standard output. Not-a-number becomes null: JSON has no NaN."""
    sys.stdout.write(json.dumps(plain(document), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """The value with tuples, sets and numpy scalars made JSON types, and NaN or infinity made None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value
