"""Decisions, outcomes and feedback to log, made up."""

from __future__ import annotations

from equipoise.traffic import Attempt, Feedback, Outcome, TokenUsage
from equipoise.types import Candidate, Constraints, Decision, Estimate, Plan


def a_decision(i: int = 0, *, models: int = 3, name: str | None = None) -> Decision:
    candidates = tuple(
        Candidate(
            model=f"model-{j}",
            quality=Estimate(0.1 + 0.7 / (j + 1), 0.05) if j else None,
            cost_usd=0.001 / 3**j,
            latency_s=None if j == 1 else 1.1,
            output_tokens=133.7,
            utility=0.7 / (j + 1),
            probability=1.0 if j == 0 else 0.0,
            refused="would cost 0.02 USD" if j == models - 1 else None,
        )
        for j in range(models)
    )
    return Decision(
        id=name or f"{i:032x}",
        plan=Plan(model="model-0", fallback=("model-1",)),
        confidence=0.1 + 0.2,
        method="cost_aware",
        reasons=("model-0: expected quality 0.8", "1 of 3 models refused"),
        candidates=candidates,
        constraints=Constraints(max_cost_usd=0.02, capabilities=frozenset({"tools", "json"})),
        features={"words": 25, "input_tokens": 33.0, "domain": "code", "difficulty": 0.2222},
        draw=1 / 3,
        versions={"equipoise": "0.1.0", "router": "linear"},
    )


def an_outcome(i: int = 0, *, finished: float = 2e9, status: str = "ok") -> Outcome:
    attempts = (
        Attempt(
            model="model-0",
            deployment="model-0/openai",
            kind="first",
            started=2e9,
            latency_s=0.8,
            usage=TokenUsage(input_tokens=33, output_tokens=0, estimated=True),
            cost_usd=1e-5,
            status=500,
            error="server_error",
        ),
        Attempt(
            model="model-1",
            deployment="model-1/openai",
            kind="fallback",
            started=2e9,
            latency_s=0.8,
            usage=TokenUsage(input_tokens=33, output_tokens=100, cached_tokens=10),
            cost_usd=1e-3 / 7,
            status=200,
            won=True,
        ),
    )
    return Outcome(
        decision_id=f"{i:032x}",
        status=status,  # type: ignore[arg-type]
        finished=finished,
        model="model-1",
        deployment="model-1/openai",
        attempts=attempts,
        cost_usd=1e-5 + 1e-3 / 7,
        latency_s=1.7,
        overhead_s=0.0007,
        cache="miss",
        finish="stop",
    )


def some_feedback(i: int = 0, *, reward: float = 1.0, received: float = 2e9, source: str = "user") -> Feedback:
    return Feedback(decision_id=f"{i:032x}", reward=reward, received=received, source=source)
