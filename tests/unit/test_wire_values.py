from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire import values
from equipoise.wire.values import holds_more_values

TEXTS = st.text(st.sampled_from('a,[{"\\\né'), max_size=6)
DOCUMENTS = st.recursive(
    st.one_of(TEXTS, st.integers(), st.none()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=40,
)


def marks(value: Any) -> int:
    """What stands before values: a bracket before the first of a list or object, if only to end it, else a comma."""
    if isinstance(value, dict):
        return max(len(value), 1) + sum(map(marks, value.values()))
    return max(len(value), 1) + sum(map(marks, value)) if isinstance(value, list) else 0


@given(DOCUMENTS, st.integers(1, 7), st.booleans())
def test_values_are_counted_wherever_the_document_is_cut_and_none_that_stand_in_texts(
    document: Any, piece: int, ascii: bool
) -> None:
    data = json.dumps(document, ensure_ascii=ascii).encode() + b" " * 400  # so that its length alone tells nothing
    count = marks(document)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(values, "_PIECE_BYTES", piece)
        assert not holds_more_values(data, count)
        assert count == 0 or holds_more_values(data, count - 1)


def test_a_document_that_is_too_short_for_so_many_is_not_looked_at() -> None:
    assert not holds_more_values(b"[" * 10, 5)
    assert holds_more_values(b"[" * 11, 5)


@pytest.mark.parametrize("data", [b"\\" * 99, b'"' * 99, b"\\" * 99 + b'",,,,,', b'"' + b"\\" * 98, b"\xff" * 99])
def test_what_is_no_json_is_counted_somehow(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_PIECE_BYTES", 3)
    assert not holds_more_values(data, 40)
