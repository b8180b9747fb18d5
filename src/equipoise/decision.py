"""Estimates and policy as one pure function: features in, a ``Decision`` out.

The same function decides live, in replay and in evaluation. It reads no clock, network or environment;
the identifier and the random draw are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from equipoise.cascades.best_of import best_of_steps
from equipoise.contracts import CostEstimator, Policy, Router, Situation
from equipoise.errors import NoModel, PriceError
from equipoise.policy.constraints import Row, refusals
from equipoise.types import (
    Candidate,
    Constraints,
    Decision,
    Estimate,
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
    row = Row.of(quality, expected)
    refused = refusals(features, constraints, models, row)
    allowed = [reason is None for reason in refused]
    fell_back = True not in allowed
    if fell_back:
        allowed = _last_resort(features, constraints, models, row, refused, when_none_fits)
    if policy.reads_cost:
        _require_costs(models, row, allowed)
    situation = Situation(
        *quality,
        expected.cost_usd,
        expected.latency_s,
        np.array([allowed]),
        (features.quality_requirement,),
        [m.name for m in models],
    )
    choice = policy.choose(situation)
    probability, utility = choice.probability.tolist()[0], choice.utility.tolist()[0]
    picked = _pick(probability, draw)
    candidates = _candidates(models, row, utility, probability, refused)
    order = _fallbacks(models, allowed, utility, picked, fallback)
    steps = policy.steps_from(situation, picked) or best_of_steps(models[picked].name)
    return Decision(
        id=decision_id,
        plan=Plan(model=models[picked].name, fallback=order, steps=steps, adaptive=policy.adaptive and bool(steps)),
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
    models: Sequence[Model], allowed: Sequence[bool], utility: Sequence[float], picked: int, named: Sequence[str]
) -> tuple[str, ...]:
    """What may serve the request if the chosen model fails: the named ones in their order, else by utility.

    By one call each: a model asked several times is no way out.
    """
    left = [j for j, may in enumerate(allowed) if may and j != picked and not best_of_steps(models[j].name)]
    if named:
        able = {models[j].name for j in left}
        return tuple(name for name in named if name in able)
    left.sort(key=utility.__getitem__, reverse=True)
    return tuple([models[j].name for j in left])


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
    row: Row,
    refused: Sequence[str | None],
    when_none_fits: WhenNoneFits,
) -> list[bool]:
    """The cheapest model that can serve the request at all: limits on money, time and quality are let go."""
    hard = Constraints(region=constraints.region, capabilities=constraints.capabilities)
    able = [r is None for r in refusals(features, hard, models, row)]
    if when_none_fits == "refuse" or not any(able):
        raise NoModel({m.name: r for m, r in zip(models, refused, strict=True) if r is not None})
    cost = [c if may and c == c else _INFINITE for may, c in zip(able, row.cost_usd, strict=True)]
    chosen = cost.index(min(cost)) if min(cost) < _INFINITE else able.index(True)
    return [j == chosen for j in range(len(models))]


def _require_costs(models: Sequence[Model], row: Row, allowed: Sequence[bool]) -> None:
    for model, cost, may in zip(models, row.cost_usd, allowed, strict=True):
        if may and cost != cost:
            raise PriceError(model.name, "the policy weighs costs")


def _candidates(
    models: Sequence[Model],
    row: Row,
    utility: Sequence[float],
    probability: Sequence[float],
    refused: Sequence[str | None],
) -> tuple[Candidate, ...]:
    rows = zip(models, *row, utility, probability, refused, strict=True)
    return tuple(
        [
            Candidate(
                model=model.name,
                quality=Estimate(mean, std) if mean == mean else None,
                cost_usd=cost if cost == cost else None,
                latency_s=latency if latency == latency else None,
                output_tokens=output if output == output else None,
                utility=worth if -_INFINITE < worth < _INFINITE else None,
                probability=share,
                refused=reason,
            )
            for model, mean, std, cost, latency, output, worth, share, reason in rows
        ]
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
