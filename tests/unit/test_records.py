"""Records: what a frozen dataclass is, but for the check of writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from equipoise.records import record


@record(frozen=True, slots=True, kw_only=True)
class Made:
    name: str
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    name: str
    tokens: int = 0


def test_a_record_is_compared_hashed_copied_and_shown_as_a_frozen_dataclass_is() -> None:
    made, frozen = Made(name="a", tokens=3), Frozen(name="a", tokens=3)
    assert made == Made(name="a", tokens=3) and made != Made(name="a")
    assert hash(made) == hash(frozen)
    assert replace(made, tokens=4) == Made(name="a", tokens=4) and made.tokens == 3
    assert asdict(made) == asdict(frozen) and [f.name for f in fields(made)] == [f.name for f in fields(frozen)]
    assert repr(made) == repr(frozen).replace("Frozen", "Made")
    assert not hasattr(made, "__dict__")
