"""Estimates and policy as one pure function: features in, a ``Decision`` out.

The same function decides live, in replay and in evaluation. It reads no clock, network or environment;
the identifier and the random draw are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, NamedTuple

import numpy as np

from equipoise.cascades.best_of import best_of_steps
from equipoise.contracts import CostEstimator, Policy, Router, Situation, choice_of, estimates_of, steps_of
from equipoise.errors import NoModel, PriceError
from equipoise.policy.constraints import Row, no_model, refusals
from equipoise.records import record
from equipoise.types import (
    Candidate,
    Constraints,
    Decision,
    Estimate,
    FeatureBatch,
    Features,
    Floats,
    Model,
    Plan,
    Step,
)

WhenNoneFits = Literal["cheapest", "refuse"]
Undecided = NoModel | PriceError
_INFINITE = float("inf")


class Case(NamedTuple):
    """One prompt to decide on.

    Attributes:
        draw: uniform in [0, 1); picks among the policy's probabilities.
        decision_id: of the record.
    """

    features: Features
    constraints: Constraints
    draw: float = 0.0
    decision_id: str = ""


class _Standing(NamedTuple):
    """How the models stand for one case: what is estimated, why some are refused, which the policy may choose.

    ``fell_back``: none met the constraints, so those on money, time and quality were let go.
    """

    row: Row
    refused: list[str | None]
    allowed: list[bool]
    fell_back: bool


@record(frozen=True, slots=True, kw_only=True)
class Decider:
    """Chooses models for prompts.

    Args:
        when_none_fits: when no model meets the constraints, ``cheapest`` degrades to the cheapest model
            that can serve the request at all, ``refuse`` is an error.
        fallback: names of the models to fall back to, in order; by falling utility where none are named.
        versions: for the record.
    """

    models: Sequence[Model]
    router: Router
    costs: CostEstimator
    policy: Policy
    when_none_fits: WhenNoneFits = "cheapest"
    fallback: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def decide(self, cases: Sequence[Case]) -> list[Decision | Undecided]:
        """Choose a model for each of some prompts, which do not influence each other.

        Returns:
            In place of a decision that cannot be made, why: no model meets the constraints (with the reason for
            each), or a price that the policy needs is missing.

        Raises:
            ContractError: the router or the policy, of another package, does not do what it promises.
        """
        if not cases:
            return []
        batch = FeatureBatch.stack([case.features for case in cases])
        quality = estimates_of(self.router, batch, self.models)
        expected = self.costs.predict_batch(batch, self.models)
        found = [self._standing(case, row) for case, row in zip(cases, Row.all_of(quality, expected), strict=True)]
        standings = [standing for standing in found if isinstance(standing, _Standing)]
        if len(standings) < len(found):
            rest = [case for case, standing in zip(cases, found, strict=True) if isinstance(standing, _Standing)]
            decided = iter(self.decide(rest))
            return [next(decided) if isinstance(standing, _Standing) else standing for standing in found]
        situation = Situation(
            *quality,
            expected.cost_usd,
            expected.latency_s,
            np.array([standing.allowed for standing in standings]),
            [case.features.quality_requirement for case in cases],
            [model.name for model in self.models],
            max_cost_usd=_limits(cases),
        )
        choice = choice_of(self.policy, situation)
        shares, utilities, confidences = (part.tolist() for part in choice)
        picked = [_pick(share, case.draw) for share, case in zip(shares, cases, strict=True)]
        steps = [steps_of(self.policy, situation, model, row) for row, model in enumerate(picked)]
        parts = zip(cases, standings, map(_Chosen, picked, shares, utilities, confidences, steps), strict=True)
        return [self._record(*part) for part in parts]

    def _standing(self, case: Case, row: Row) -> _Standing | Undecided:
        features, constraints, models = case.features, case.constraints, self.models
        refused = refusals(features, constraints, models, row)
        allowed = [reason is None for reason in refused]
        fell_back = True not in allowed
        try:
            if fell_back:
                allowed = _last_resort(features, constraints, models, row, refused, self.when_none_fits)
            if self.policy.reads_cost:
                _require_costs(models, row, allowed)
        except (NoModel, PriceError) as error:
            return error
        return _Standing(row, refused, allowed, fell_back)

    def _record(self, case: Case, standing: _Standing, chosen: _Chosen) -> Decision:
        models, picked = self.models, chosen.model
        name, fell_back = models[picked].name, standing.fell_back
        candidates = _candidates(models, standing.row, chosen.utility, chosen.share, standing.refused)
        steps = chosen.steps or best_of_steps(name)
        adaptive = self.policy.adaptive and bool(steps)
        explained = (*_course(steps, adaptive), *self.router.explain(case.features))
        return Decision(
            id=case.decision_id,
            plan=Plan(
                model=name,
                fallback=_fallbacks(models, standing.allowed, chosen.utility, picked, self.fallback),
                steps=steps,
                adaptive=adaptive,
            ),
            confidence=self.policy.fallback_confidence if fell_back else chosen.confidence,
            method=self.policy.name + ("_fallback" if fell_back else ""),
            reasons=_reasons(candidates, picked, fell_back, explained),
            candidates=candidates,
            constraints=case.constraints,
            features=_summary(case.features),
            draw=case.draw,
            versions=dict(self.versions),
        )


def _limits(cases: Sequence[Case]) -> Floats | None:
    limits = [case.constraints.max_cost_usd for case in cases]
    if all(limit is None for limit in limits):
        return None
    return np.array([_INFINITE if limit is None else limit for limit in limits])


class _Chosen(NamedTuple):
    """What the policy made of one case, its numbers by model."""

    model: int
    share: list[float]
    utility: list[float]
    confidence: float
    steps: tuple[Step, ...]


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
        raise no_model(features, models, refused)
    cost = [c if may and c == c else _INFINITE for may, c in zip(able, row.cost_usd, strict=True)]
    chosen = cost.index(min(cost)) if min(cost) < _INFINITE else able.index(True)
    return [j == chosen for j in range(len(models))]


def _require_costs(models: Sequence[Model], row: Row, allowed: Sequence[bool]) -> None:
    for model, cost, may in zip(models, row.cost_usd, allowed, strict=True):
        if may and cost != cost:
            timed = model.price is not None and model.price.usd_per_compute_s
            unknown = ", and of one that is paid by compute time its latency_s has to be known" if timed else ""
            raise PriceError(model.name, "the policy weighs costs" + unknown)


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


def _course(steps: Sequence[Step], adaptive: bool) -> tuple[str, ...]:
    """What is asked, where more than one answer may be paid for."""
    if not steps:
        return ()
    asked = [step.model if step.samples == 1 else f"{step.model}*{step.samples}" for step in steps]
    if adaptive:
        return (f"{asked[0]} is asked first; whether another is asked depends on its answer",)
    if len(steps) == 1:
        return (f"asked: {asked[0]}; the best answer by '{steps[0].test}' is returned",)
    return (f"asked in turn until an answer is good enough by '{steps[0].test}': {', '.join(asked)}",)


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
