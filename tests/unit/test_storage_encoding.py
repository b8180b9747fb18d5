"""Decisions and outcomes come back from JSON exactly as they were."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import InputError
from equipoise.storage.encoding import (
    CANDIDATE_FIELDS,
    decision_from_json,
    decision_to_json,
    outcome_from_json,
    outcome_to_json,
)
from equipoise.traffic import Attempt, Outcome, TokenUsage
from equipoise.types import Candidate, Constraints, Decision, Estimate, Plan, Step
from tests.logged import a_decision, an_outcome

ANY_FLOAT = st.floats(allow_nan=False)
ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates too
MAYBE = st.one_of(st.none(), ANY_FLOAT)
ESTIMATES = st.one_of(st.none(), st.builds(Estimate, ANY_FLOAT, ANY_FLOAT))
CANDIDATES = st.builds(
    Candidate,
    model=ANY_TEXT,
    quality=ESTIMATES,
    cost_usd=MAYBE,
    latency_s=MAYBE,
    output_tokens=MAYBE,
    utility=MAYBE,
    probability=ANY_FLOAT,
    refused=st.one_of(st.none(), ANY_TEXT),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), ANY_FLOAT, ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ANY_TEXT, inner, max_size=3)),
    max_leaves=5,
)
STEPS = st.builds(Step, model=ANY_TEXT, samples=st.integers(1, 99), test=ANY_TEXT, accept_at=MAYBE)
FALLBACK = st.lists(ANY_TEXT, max_size=3).map(tuple)
PLANS = st.one_of(
    st.builds(Plan, model=ANY_TEXT, fallback=FALLBACK),
    st.builds(
        Plan,
        model=ANY_TEXT,
        fallback=FALLBACK,
        steps=st.lists(STEPS, min_size=1, max_size=3).map(tuple),
        adaptive=st.booleans(),
    ),
)
DECISIONS = st.builds(
    Decision,
    id=ANY_TEXT,
    plan=PLANS,
    confidence=ANY_FLOAT,
    method=ANY_TEXT,
    reasons=st.lists(ANY_TEXT, max_size=3).map(tuple),
    candidates=st.lists(CANDIDATES, max_size=4).map(tuple),
    constraints=st.builds(
        Constraints,
        max_cost_usd=MAYBE,
        max_latency_s=MAYBE,
        min_quality=MAYBE,
        region=st.one_of(st.none(), ANY_TEXT),
        capabilities=st.frozensets(ANY_TEXT, max_size=3),
    ),
    features=st.dictionaries(ANY_TEXT, VALUES, max_size=4),
    draw=ANY_FLOAT,
    versions=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
)
COUNTS = st.integers(0, 2**40)
USAGES = st.builds(
    TokenUsage,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cached_tokens=COUNTS,
    compute_s=MAYBE,
    estimated=st.booleans(),
)
ATTEMPTS = st.builds(
    Attempt,
    model=ANY_TEXT,
    deployment=ANY_TEXT,
    kind=st.sampled_from(["first", "retry", "fallback", "hedge", "check"]),
    started=st.floats(0, 1e10),
    latency_s=st.floats(0, 1e6),
    usage=USAGES.map(lambda u: replace(u, compute_s=None if u.compute_s is None else 0.1)),
    cost_usd=st.floats(0, 1e6),
    error=st.one_of(st.none(), ANY_TEXT),
    won=st.booleans(),
)
OUTCOMES = st.builds(
    Outcome,
    decision_id=ANY_TEXT,
    status=st.sampled_from(["ok", "failed", "cancelled", "interrupted"]),
    finished=st.floats(0, 1e10),
    attempts=st.lists(ATTEMPTS, max_size=3).map(tuple),
    cost_usd=st.floats(0, 1e6),
)


def bits(value: Any) -> Any:
    """Floats as their bits, so that 0.0 and -0.0 differ."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if hasattr(value, "__dataclass_fields__"):
        return [bits(getattr(value, name)) for name in value.__dataclass_fields__]
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    return [bits(v) for v in value] if isinstance(value, (list, tuple)) else value


@settings(max_examples=80, deadline=None)
@given(DECISIONS)
def test_any_decision_comes_back_to_the_bit(decision: Decision) -> None:
    text = decision_to_json(decision)
    assert b"\n" not in text and b"\t" not in text
    back = decision_from_json(text)
    assert back == decision and bits(back) == bits(decision)


@settings(max_examples=40, deadline=None)
@given(OUTCOMES)
def test_any_outcome_comes_back(outcome: Outcome) -> None:
    assert outcome_from_json(outcome_to_json(outcome)) == outcome


def test_a_number_that_json_does_not_have_is_kept_wherever_it_hides() -> None:
    decision = a_decision()
    candidate = replace(decision.candidates[1], utility=float("-inf"))
    hidden = replace(
        decision,
        candidates=(candidate,),
        constraints=Constraints(max_cost_usd=float("inf")),
        features={"deep": {"list": [float("inf")]}, "null": None},
    )
    assert decision_from_json(decision_to_json(hidden)) == hidden
    nan = decision_from_json(decision_to_json(replace(decision, draw=float("nan"))))
    assert nan.draw != nan.draw


def test_numpy_numbers_and_views_are_plain_afterwards() -> None:
    decision = replace(
        a_decision(),
        confidence=np.float64(0.1),
        features=MappingProxyType({"n": np.int64(3), "v": np.array([1.5, 2.0]), "pair": (1, 2)}),
    )
    back = decision_from_json(decision_to_json(decision))
    assert back.confidence == 0.1 and back.features == {"n": 3, "v": [1.5, 2.0], "pair": [1, 2]}


def test_reasons_that_are_no_text_are_written_as_text() -> None:
    odd: Any = (Path("a/b"), 3.5)
    decision = replace(a_decision(1), reasons=odd)
    assert decision_from_json(decision_to_json(decision)).reasons == ("a/b", 3.5)


def test_the_text_can_be_read_by_other_programs() -> None:
    text = json.loads(decision_to_json(a_decision()))
    assert text["model"] == "model-0" and text["constraints"]["capabilities"] == ["json", "tools"]
    assert dict(zip(CANDIDATE_FIELDS, text["candidates"][1], strict=True))["quality_std"] == 0.05


@pytest.mark.parametrize("text", ["", "[]", "1", "{}", '{"id": "x"}', "[" * 100_000, '{"constraints": 1, "model": 2}'])
def test_what_is_no_record_is_refused_in_one_line(text: str) -> None:
    for read in (decision_from_json, outcome_from_json):
        with pytest.raises(InputError, match="as the log writes it") as refused:
            read(text)
        assert "\n" not in str(refused.value)


def test_a_decision_of_another_version_is_refused() -> None:
    text = json.loads(decision_to_json(a_decision()))
    with pytest.raises(InputError):
        decision_from_json(json.dumps({**text, "novel": 1}))
    assert outcome_from_json(outcome_to_json(an_outcome())) == an_outcome()
