"""Where commands write: results to standard output, progress and warnings to standard error.

Names and ids of tables and router files can be anyone's: what a terminal would obey in them is shown as JSON has it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

# But for tabs and line ends; the last ones turn the direction of writing.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def say(text: str = "") -> None:
    """A line of the result, on standard output."""
    sys.stdout.write(_shown(text) + "\n")


def note(text: str) -> None:
    """A line of progress or warning, on standard error."""
    sys.stderr.write(_shown(text) + "\n")
    sys.stderr.flush()


def emit_json(document: Any) -> None:
    """One JSON document on standard output. Not-a-number becomes null: JSON has no NaN."""
    say(json.dumps(plain(document), indent=2, ensure_ascii=False))


def _shown(text: str) -> str:
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


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
