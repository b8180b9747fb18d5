"""Documents as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from equipoise.json_text import json_text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1: (1, 2.5), "a": None, "b": True}, {"1": [1, 2.5], "a": None, "b": True}),
        ({"x", "y"} - {"y"}, ["x"]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        ([float("nan"), float("inf"), -float("inf"), np.nan, np.array([1.0, np.inf])], [None] * 4 + [[1.0, None]]),
    ],
)
def test_what_json_lacks_is_said_with_what_it_has(value: Any, said: Any) -> None:
    assert json.loads(json_text(value)) == said


def test_text_is_written_as_it_is() -> None:
    assert json_text({"é": "日本"}) == '{"é": "日本"}' and json_text([1], indent=1) == "[\n 1\n]"
