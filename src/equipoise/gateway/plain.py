"""Deciding without a router: for a model asked for by its own name, and when a router fails.

The hard limits hold all the same. Quality is not estimated, so no promise is made about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from equipoise.analysis import Analyzer, Recent
from equipoise.estimates import CostModel
from equipoise.policy.constraints import Row, no_model, refusals
from equipoise.types import Candidate, Decision, Estimates, FeatureBatch, Features, Model, Plan, Request

_CERTAIN = 1.0


class Plain:
    """Takes the first of some models that can serve a request within its limits.

    Args:
        models: in the order in which they are wished for.
        method: what the decision's record calls this.
        reason: why no router was asked.
        versions: for the record.
    """

    def __init__(self, models: Sequence[Model], *, method: str, reason: str, versions: Mapping[str, str]) -> None:
        self.models, self._method, self._reason = tuple(models), method, reason
        self._versions = {**versions, "router": "none", "policy": method}
        self._analysis, self._costs = Recent(Analyzer(), frozenset()), CostModel()

    def features(self, request: Request) -> Features:
        """How long the prompt is, and the answer about."""
        (found,) = self._analysis.rows([request])
        return found

    def decide(self, request: Request, decision_id: str) -> Decision:
        """The decision and its record.

        Raises:
            NoModel: none can serve the request within its limits.
        """
        features = self.features(request)
        batch = FeatureBatch.one(features)
        certain = Estimates(np.ones((1, len(self.models))), np.zeros((1, len(self.models))))
        (row,) = Row.all_of(certain, self._costs.predict_batch(batch, self.models))
        refused = self._refused(request, features, row)
        able = [j for j, reason in enumerate(refused) if reason is None]
        if not able:
            raise no_model(features, self.models, refused)
        picked = able[0]
        return Decision(
            id=decision_id,
            plan=Plan(model=self.models[picked].name, fallback=tuple(self.models[j].name for j in able[1:])),
            confidence=_CERTAIN,
            method=self._method,
            reasons=(self._reason,),
            candidates=self._candidates(row, refused, picked),
            constraints=request.constraints,
            features={"words": features.words, "input_tokens": features.input_tokens,
                      "output_tokens": round(features.output_tokens, 1)},
            draw=0.0,
            versions=self._versions,
        )  # fmt: skip

    def _refused(self, request: Request, features: Features, row: Row) -> list[str | None]:
        wanted = request.constraints.min_quality
        limits = replace(request.constraints, min_quality=None)
        found = refusals(features, limits, self.models, row)
        if wanted is None:
            return found
        return [reason or f"quality is not estimated here, limit {wanted:g}" for reason in found]

    def _candidates(self, row: Row, refused: Sequence[str | None], picked: int) -> tuple[Candidate, ...]:
        def known(value: float) -> float | None:
            return value if value == value else None

        return tuple(
            Candidate(
                model=model.name,
                quality=None,
                cost_usd=known(row.cost_usd[j]),
                latency_s=known(row.latency_s[j]),
                output_tokens=known(row.output_tokens[j]),
                probability=float(j == picked),
                refused=refused[j],
            )
            for j, model in enumerate(self.models)
        )
