"""Where commands write: results to standard output, progress and warnings to standard error.

Names and ids of tables and router files can be anyone's: what a terminal would obey in them is shown as JSON has it.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from equipoise.json_text import json_text

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
    """One JSON document on standard output."""
    say(json_text(document, indent=2))


def _shown(text: str) -> str:
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
