"""Identifiers of decisions: all different, of one length, in the order of their making."""

from __future__ import annotations

import pytest

from equipoise.storage import ids


def test_later_identifiers_sort_after_earlier_ones_and_none_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1_700_000_000_000_000_000, 1_900_000_000_000_000_000, 1_000_000_000_000_000))
    monkeypatch.setattr("time.time_ns", lambda: next(now))
    made = [ids.new_id() for _ in range(200)]
    assert made == sorted(made)
    assert {len(one) for one in made} == {32}
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({ids.new_id() for _ in range(10_000)}) == 10_000
