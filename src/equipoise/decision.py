"""Estimates and policy as one pure function: features in, a ``Decision`` out.

The same function decides live, in replay and in evaluation. It reads no clock, network or environment;
the identifier and the random draw are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from equipoise.contracts import Choice, CostEstimator, Policy, Router, Situation
from equipoise.errors import NoModel, PriceError
from equipoise.policy.constraints import refusals
from equipoise.types import (
    Bools,
    Candidate,
    Constraints,
    Decision,
    Estimate,
    Estimates,
    Expected,
    FeatureBatch,
    Features,
    Model,
    Plan,
)

WhenNoneFits = Literal["cheapest", "refuse"]
_INFINITE = float("inf")


def decide(  # noqa: PLR0913  (each is one thing that a decision depends on, by keyword)
    features: Features,
    constraints: Constraints,
    *,
    models: Sequence[Model],
    router: Router,
    costs: CostEstimator,
    policy: Policy,
    when_none_fits: WhenNoneFits = "cheapest",
    fallback: Sequence[str] = (),
    draw: float = 0.0,
    decision_id: str = "",
    versions: Mapping[str, str] | None = None,
) -> Decision:
    """Choose a model for one prompt.

    Args:
        when_none_fits: when no model meets the constraints, ``cheapest`` degrades to the cheapest model
            that can serve the request at all, ``refuse`` raises.
        fallback: names of the models to fall back to, in order; by falling utility where none are named.
        draw: uniform in [0, 1); picks among the policy's probabilities.

    Raises:
        NoModel: no model meets the constraints, with the reason for each.
        PriceError: a price that the policy needs is missing.
    """
    batch = FeatureBatch.one(features)
    quality = router.predict_batch(batch, models)
    expected = costs.predict_batch(batch, models)
    refused = refusals(features, constraints, models, quality, expected)
    allowed = np.array([[r is None for r in refused]])
    fell_back = not allowed.any()
    if fell_back:
        allowed = _last_resort(features, constraints, models, quality, expected, refused, when_none_fits)
    if policy.reads_cost:
        _require_costs(models, expected, allowed)
    situation = Situation(
        quality.mean, quality.std, expected.cost_usd, expected.latency_s, allowed, (features.quality_requirement,)
    )
    choice = policy.choose(situation)
    picked = _pick(choice.probability[0].tolist(), draw)
    candidates = _candidates(models, quality, expected, choice, refused)
    order = _fallbacks(models, allowed, choice, picked, fallback)
    return Decision(
        id=decision_id,
        plan=Plan(model=models[picked].name, fallback=order),
        confidence=policy.fallback_confidence if fell_back else float(choice.confidence[0]),
        method=policy.name + ("_fallback" if fell_back else ""),
        reasons=_reasons(candidates, picked, fell_back, router.explain(features)),
        candidates=candidates,
        constraints=constraints,
        features=_summary(features),
        draw=draw,
        versions=dict(versions or {}),
    )


def _fallbacks(
    models: Sequence[Model], allowed: Bools, choice: Choice, picked: int, named: Sequence[str]
) -> tuple[str, ...]:
    """What may serve the request if the chosen model fails: the named ones in their order, else by utility."""
    left = [j for j, may in enumerate(allowed[0].tolist()) if may and j != picked]
    if named:
        able = {models[j].name for j in left}
        return tuple(name for name in named if name in able)
    utility = choice.utility[0].tolist()
    return tuple(models[j].name for j in sorted(left, key=lambda j: -utility[j]))


def _pick(probability: Sequence[float], draw: float) -> int:
    """The model whose share of [0, 1) holds ``draw``; the last possible one where rounding leaves a gap."""
    reached, last = 0.0, 0
    for j, share in enumerate(probability):
        if share > 0.0:
            reached, last = reached + share, j
            if draw < reached:
                break
    return last


def _last_resort(
    features: Features,
    constraints: Constraints,
    models: Sequence[Model],
    quality: Estimates,
    expected: Expected,
    refused: Sequence[str | None],
    when_none_fits: WhenNoneFits,
) -> Bools:
    """The cheapest model that can serve the request at all: limits on money, time and quality are let go."""
    hard = Constraints(region=constraints.region, capabilities=constraints.capabilities)
    able = [r is None for r in refusals(features, hard, models, quality, expected)]
    if when_none_fits == "refuse" or not any(able):
        raise NoModel({m.name: r for m, r in zip(models, refused, strict=True) if r is not None})
    cost = np.where(able, np.nan_to_num(expected.cost_usd[0], nan=np.inf), np.inf)
    chosen = int(np.argmin(cost)) if np.isfinite(cost).any() else able.index(True)
    allowed: Bools = (np.arange(len(models)) == chosen)[None]
    return allowed


def _require_costs(models: Sequence[Model], expected: Expected, allowed: Bools) -> None:
    unknown = allowed[0] & (expected.cost_usd[0] != expected.cost_usd[0])
    if unknown.any():
        raise PriceError(models[int(np.argmax(unknown))].name, "the policy weighs costs")


def _candidates(
    models: Sequence[Model], quality: Estimates, expected: Expected, choice: Choice, refused: Sequence[str | None]
) -> tuple[Candidate, ...]:
    rows = zip(
        models,
        quality.mean[0].tolist(),
        quality.std[0].tolist(),
        expected.cost_usd[0].tolist(),
        expected.latency_s[0].tolist(),
        expected.output_tokens[0].tolist(),
        choice.utility[0].tolist(),
        choice.probability[0].tolist(),
        refused,
        strict=True,
    )
    return tuple(
        Candidate(
            model=model.name,
            quality=Estimate(mean, std) if mean == mean else None,
            cost_usd=cost if cost == cost else None,
            latency_s=latency if latency == latency else None,
            output_tokens=output if output == output else None,
            utility=utility if -_INFINITE < utility < _INFINITE else None,
            probability=probability,
            refused=reason,
        )
        for model, mean, std, cost, latency, output, utility, probability, reason in rows
    )


def _reasons(
    candidates: Sequence[Candidate], picked: int, fell_back: bool, explained: Sequence[str]
) -> tuple[str, ...]:
    chosen = candidates[picked]
    reasons = []
    if fell_back:
        reasons.append(f"no model met the constraints; {chosen.model} is the cheapest that can serve the request")
    if chosen.quality is not None and chosen.cost_usd is not None:
        level, cost = chosen.quality.mean, chosen.cost_usd
        reasons.append(f"{chosen.model}: expected quality {level:.3f} for {cost:.3g} USD")
    refused = sum(c.refused is not None for c in candidates)
    if refused:
        reasons.append(f"{refused} of {len(candidates)} models refused by the constraints")
    return (*reasons, *explained)


def _summary(features: Features) -> dict[str, Any]:
    """The readable part of the analysis; never the prompt itself."""
    return {
        "words": features.words,
        "input_tokens": features.input_tokens,
        "output_tokens": round(features.output_tokens, 1),
        "domain": features.domain,
        "task_type": features.task_type,
        "complexity": round(features.complexity, 4),
        "difficulty": round(features.difficulty, 4),
        "quality_requirement": features.quality_requirement,
        "urgency": features.urgency,
    }
