"""Decisions and outcomes as JSON, and back, without losing a bit.

Floats are written with the shortest digits that read back as the same number. What strict JSON cannot say
(infinities, not-a-number, huge integers, lone surrogates) is written as Python's ``json`` writes it, after a
space that tells. The records are taken
apart by hand: that is twice as fast as letting the JSON library look at slotted dataclasses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from equipoise.errors import InputError
from equipoise.traffic import Attempt, Outcome, TokenUsage
from equipoise.types import Candidate, Constraints, Decision, Estimate, Plan, Step

_LOOSE = (" ", b" ")
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
CANDIDATE_FIELDS = (
    "model", "quality_mean", "quality_std", "cost_usd", "latency_s", "output_tokens", "utility", "probability",
    "refused",
)  # fmt: skip


def to_json(value: Any) -> bytes:
    """Compact JSON of plain values whose numbers are finite."""
    try:
        return orjson.dumps(value, _plain, _OPTIONS)
    except TypeError:
        return _to_loose_json(value)


def from_json(text: str | bytes) -> Any:
    """The inverse of ``to_json``.

    Raises:
        ValueError: the text is not JSON.
    """
    return json.loads(text) if text[:1] in _LOOSE else orjson.loads(text)


def decision_to_json(decision: Decision) -> bytes:
    """One line of JSON: the decision's fields under their own names, each candidate as an array of CANDIDATE_FIELDS."""
    candidates = [
        (c.model, None, None, c.cost_usd, c.latency_s, c.output_tokens, c.utility, c.probability, c.refused)
        if (q := c.quality) is None
        else (c.model, q[0], q[1], c.cost_usd, c.latency_s, c.output_tokens, c.utility, c.probability, c.refused)
        for c in decision.candidates
    ]
    limits = decision.constraints
    limits_row = (limits.max_cost_usd, limits.max_latency_s, limits.min_quality, limits.region)
    features = decision.features
    fields = {
        "id": decision.id,
        "model": decision.plan.model,
        "fallback": decision.plan.fallback,
        "confidence": decision.confidence,
        "method": decision.method,
        "reasons": decision.reasons,
        "candidates": candidates,
        "constraints": {
            "max_cost_usd": limits_row[0],
            "max_latency_s": limits_row[1],
            "min_quality": limits_row[2],
            "region": limits_row[3],
            "capabilities": sorted(limits.capabilities),
        },
        "features": features,
        "draw": decision.draw,
        "versions": decision.versions,
    }
    steps = [(s.model, s.samples, s.test, s.accept_at) for s in decision.plan.steps]
    if steps:
        fields |= {"steps": steps, "adaptive": decision.plan.adaptive}
    text = to_json(fields)
    # The fast writer makes null of a number that is not finite: more nulls than Nones betray one.
    nones = (
        limits_row.count(None)
        + len([v for v in features.values() if v is None])
        + sum([c.count(None) for c in candidates])
        + sum([s.count(None) for s in steps])
    )
    return text if text.count(b"null") == nones else _to_loose_json(fields)


def decision_from_json(text: str | bytes) -> Decision:
    """The inverse of ``decision_to_json``.

    Raises:
        InputError: the text is not a decision.
    """
    try:
        fields = from_json(text)
        limits = fields["constraints"]
        plan = Plan(
            model=fields.pop("model"),
            fallback=tuple(fields.pop("fallback")),
            steps=tuple(_step(*s) for s in fields.pop("steps", ())),
            adaptive=fields.pop("adaptive", False),
        )
        return Decision(
            **{
                **fields,
                "plan": plan,
                "reasons": tuple(fields["reasons"]),
                "candidates": tuple(_candidate(*c) for c in fields["candidates"]),
                "constraints": Constraints(**{**limits, "capabilities": frozenset(limits["capabilities"])}),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"not a decision as the log writes it ({type(error).__name__}: {error})") from None


def _step(model: str, samples: int, test: str, accept_at: float | None) -> Step:
    return Step(model=model, samples=samples, test=test, accept_at=accept_at)


def _candidate(model: str, mean: float | None, std: float | None, *rest: Any) -> Candidate:
    cost_usd, latency_s, output_tokens, utility, probability, refused = rest
    return Candidate(
        model=model,
        quality=None if mean is None or std is None else Estimate(mean, std),
        cost_usd=cost_usd,
        latency_s=latency_s,
        output_tokens=output_tokens,
        utility=utility,
        probability=probability,
        refused=refused,
    )


def outcome_to_json(outcome: Outcome) -> bytes:
    """One line of JSON: the fields of the outcome under their own names."""
    return to_json(
        {
            "decision_id": outcome.decision_id,
            "status": outcome.status,
            "finished": outcome.finished,
            "model": outcome.model,
            "deployment": outcome.deployment,
            "attempts": [_attempt_fields(a) for a in outcome.attempts],
            "cost_usd": outcome.cost_usd,
            "routing_usd": outcome.routing_usd,
            "saved_usd": outcome.saved_usd,
            "latency_s": outcome.latency_s,
            "first_token_s": outcome.first_token_s,
            "overhead_s": outcome.overhead_s,
            "cache": outcome.cache,
            "finish": outcome.finish,
            "error": outcome.error,
        }
    )


def _attempt_fields(a: Attempt) -> dict[str, Any]:
    u = a.usage
    return {
        "model": a.model,
        "deployment": a.deployment,
        "kind": a.kind,
        "started": a.started,
        "latency_s": a.latency_s,
        "usage": {
            "input_tokens": u.input_tokens,
            "output_tokens": u.output_tokens,
            "cached_tokens": u.cached_tokens,
            "cache_write_tokens": u.cache_write_tokens,
            "cache_write_1h_tokens": u.cache_write_1h_tokens,
            "compute_s": u.compute_s,
            "estimated": u.estimated,
        },
        "cost_usd": a.cost_usd,
        "first_token_s": a.first_token_s,
        "status": a.status,
        "error": a.error,
        "won": a.won,
    }


def outcome_from_json(text: str | bytes) -> Outcome:
    """The inverse of ``outcome_to_json``.

    Raises:
        InputError: the text is not an outcome.
    """
    try:
        fields = from_json(text)
        attempts = (Attempt(**{**a, "usage": TokenUsage(**a["usage"])}) for a in fields["attempts"])
        return Outcome(**{**fields, "attempts": tuple(attempts)})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"not an outcome as the log writes it ({type(error).__name__}: {error})") from None


def _plain(value: Any) -> Any:
    """What JSON has no type for, as something that it has one for.

    Reasons are words of anyone's router: whatever they are, a call that is paid is not to go without its record.
    """
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def _to_loose_json(value: Any) -> bytes:
    return b" " + json.dumps(value, default=_plain, separators=(",", ":")).encode()
