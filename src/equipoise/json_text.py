"""Documents as JSON that every reader takes: standard output, the log as it is shown, the files of an evaluation."""

from __future__ import annotations

import json
from typing import Any


def json_text(document: Any, *, indent: int | None = None) -> str:
    """The document as JSON. Tuples, sets and arrays are lists; not-a-number and infinity, which it lacks, are null."""
    return json.dumps(_plain(document), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy's
        return _plain(value.tolist())
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value
