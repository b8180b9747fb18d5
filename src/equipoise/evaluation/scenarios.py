"""The notebook scenarios: ten requests of five kinds, with simulated outcomes.

They compare whole engines (router, policy and constraints together) on a handful of requests of known
character. What a model really does is simulated from the engine's own estimates with noise, so this shows
how engines trade cost, quality and time, not how good the models are; for that, evaluate on a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from equipoise.errors import InputError
from equipoise.types import Constraints, Decision, Model, Request, Requirement, Tier, Urgency

Decide = Callable[[Request], Decision]
Learn = Callable[[Request, str, float], None]

TIERS: tuple[Tier, ...] = ("premium", "standard", "budget", "local")
DEFAULT_MAX_COST_USD = 1.0
DEFAULT_MAX_LATENCY_S = 5.0
TOLERANCE = 1.1
ENOUGH_QUALITY = 0.7
MOST_ITERATIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One request, its kind, and the tier that one would expect to serve it."""

    prompt: str
    kind: str
    expected_tier: Tier
    max_cost_usd: float = DEFAULT_MAX_COST_USD
    max_latency_s: float = DEFAULT_MAX_LATENCY_S
    quality_requirement: Requirement | None = None
    urgency: Urgency | None = None

    def request(self) -> Request:
        """The request that an engine gets to see."""
        return Request(
            text=self.prompt,
            constraints=Constraints(max_cost_usd=self.max_cost_usd, max_latency_s=self.max_latency_s),
            quality_requirement=self.quality_requirement,
            urgency=self.urgency,
        )


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        prompt="Write a simple Python function to add two numbers",
        kind="cost_sensitive",
        expected_tier="budget",
        max_cost_usd=0.005,
        quality_requirement="low",
    ),
    Scenario(
        prompt="Quick summary of machine learning",
        kind="cost_sensitive",
        expected_tier="budget",
        max_cost_usd=0.01,
        urgency="urgent",
    ),
    Scenario(
        prompt="Conduct a comprehensive analysis of quantum computing applications in cryptography with detailed "
        "technical explanations and future implications",
        kind="quality_sensitive",
        expected_tier="premium",
        max_cost_usd=1.0,
        quality_requirement="high",
    ),
    Scenario(
        prompt="Research and analyze the economic impact of artificial intelligence on job markets, including "
        "statistical analysis and policy recommendations",
        kind="quality_sensitive",
        expected_tier="premium",
        max_cost_usd=0.8,
        quality_requirement="high",
    ),
    Scenario(
        prompt="URGENT: Explain what causes earthquakes",
        kind="latency_sensitive",
        expected_tier="budget",
        max_latency_s=0.8,
        urgency="urgent",
    ),
    Scenario(
        prompt="Quick debugging help needed for Python error",
        kind="latency_sensitive",
        expected_tier="standard",
        max_cost_usd=0.02,
        max_latency_s=1.0,
        urgency="urgent",
    ),
    Scenario(
        prompt="Explain the principles of machine learning algorithms",
        kind="balanced",
        expected_tier="standard",
        max_cost_usd=0.1,
        quality_requirement="medium",
    ),
    Scenario(
        prompt="Write a Python class for managing a simple inventory system",
        kind="balanced",
        expected_tier="standard",
        max_cost_usd=0.05,
        quality_requirement="medium",
    ),
    Scenario(
        prompt="Implement a complex sorting algorithm with optimization",
        kind="code_specialized",
        expected_tier="standard",
        max_cost_usd=0.2,
        quality_requirement="high",
    ),
    Scenario(
        prompt="Write a creative short story about time travel",
        kind="creative_specialized",
        expected_tier="premium",
        max_cost_usd=0.3,
        quality_requirement="high",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One engine under comparison. ``learn``, if given, is told the simulated quality of every answer."""

    name: str
    decide: Decide
    learn: Learn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One scenario as one contender served it. ``utility`` is quality per thousandth of a dollar."""

    contender: str
    kind: str
    expected_tier: str
    model: str
    tier: str
    confidence: float
    estimated_cost_usd: float
    estimated_quality: float
    estimated_latency_s: float
    cost_usd: float
    quality: float
    latency_s: float
    utility: float
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One contender over all scenarios. ``violation_rate`` counts violations per request, up to three each."""

    contender: str
    mean_cost_usd: float
    mean_quality: float
    mean_latency_s: float
    mean_utility: float
    violation_rate: float
    expected_tier_share: float
    saving: float
    tiers: Mapping[str, int]
    utility_by_kind: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioReport:
    """Everything that was played, and the comparison. ``saving`` is against the dearest contender."""

    played: tuple[Served, ...]
    comparison: tuple[Comparison, ...]
    iterations: int
    seed: int

    def document(self) -> dict[str, Any]:
        """The report as JSON types."""
        return asdict(self)

    def best(self) -> dict[str, str]:
        """The best contender by each measure."""
        rows = self.comparison
        return {
            "cost": min(rows, key=lambda r: r.mean_cost_usd).contender,
            "quality": max(rows, key=lambda r: r.mean_quality).contender,
            "utility": max(rows, key=lambda r: r.mean_utility).contender,
            "violations": min(rows, key=lambda r: r.violation_rate).contender,
        }


def run_scenarios(
    contenders: Sequence[Contender],
    models: Sequence[Model],
    *,
    scenarios: Sequence[Scenario] = SCENARIOS,
    iterations: int = 1,
    seed: int = 0,
) -> ScenarioReport:
    """Let every contender serve every scenario.

    Args:
        contenders: what is compared.
        models: the pool, for the tiers.
        scenarios: what is asked.
        iterations: how often each scenario is served; contenders that learn, learn along the way.
        seed: of the noise; every contender meets the same noise.

    Raises:
        InputError: no contender, iterations out of range, or a decision without estimates.
    """
    if not contenders or not scenarios:
        raise InputError("scenarios need at least one contender and one scenario")
    if not 1 <= iterations <= MOST_ITERATIONS:
        raise InputError(f"iterations must lie between 1 and {MOST_ITERATIONS}, not {iterations}")
    tiers = {model.name: model.tier or "unknown" for model in models}
    played: list[Served] = []
    for contender in contenders:
        rng = np.random.default_rng([seed, 7])
        for scenario in scenarios:
            played.extend(_play(contender, scenario, tiers, rng) for _ in range(iterations))
    rows = [_compare(c.name, [p for p in played if p.contender == c.name]) for c in contenders]
    dearest = max(row["mean_cost_usd"] for row in rows)
    comparison = [Comparison(**row, saving=1 - row["mean_cost_usd"] / dearest if dearest else 0.0) for row in rows]
    return ScenarioReport(played=tuple(played), comparison=tuple(comparison), iterations=iterations, seed=seed)


def _play(contender: Contender, scenario: Scenario, tiers: Mapping[str, str], rng: np.random.Generator) -> Served:
    request = scenario.request()
    decision = contender.decide(request)
    chosen = decision.selected
    if chosen.quality is None or chosen.cost_usd is None or chosen.latency_s is None:
        raise InputError(
            f"{contender.name} chose {chosen.model} without an estimate of its quality, cost and latency; "
            "scenarios need a pool that has all three"
        )
    cost, quality, latency = simulate(chosen.cost_usd, chosen.quality.mean, chosen.latency_s, rng)
    requirement = decision.features.get("quality_requirement", scenario.quality_requirement)
    if contender.learn is not None:
        contender.learn(request, chosen.model, quality)
    return Served(
        contender=contender.name,
        kind=scenario.kind,
        expected_tier=scenario.expected_tier,
        model=chosen.model,
        tier=tiers.get(chosen.model, "unknown"),
        confidence=decision.confidence,
        estimated_cost_usd=chosen.cost_usd,
        estimated_quality=chosen.quality.mean,
        estimated_latency_s=chosen.latency_s,
        cost_usd=cost,
        quality=quality,
        latency_s=latency,
        utility=quality / (cost * 1000 + 1e-6),
        violations=violations(scenario, requirement, cost, quality, latency),
    )


def simulate(cost_usd: float, quality: float, latency_s: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """Cost, quality and latency as they turn out: estimates times noise of 10, 5 and 15 %, bounded below."""
    on_cost, on_quality, on_latency = rng.normal(1.0, (0.1, 0.05, 0.15))
    return (
        float(cost_usd * max(0.5, on_cost)),
        float(min(1.0, quality * max(0.7, on_quality))),
        float(latency_s * max(0.5, on_latency)),
    )


def violations(
    scenario: Scenario, requirement: str | None, cost_usd: float, quality: float, latency_s: float
) -> tuple[str, ...]:
    """What the outcome broke: limits with 10 % tolerance, and quality below 0.7 where it had to be high."""
    broken = {
        "cost_exceeded": cost_usd > scenario.max_cost_usd * TOLERANCE,
        "latency_exceeded": latency_s > scenario.max_latency_s * TOLERANCE,
        "quality_insufficient": requirement == "high" and quality < ENOUGH_QUALITY,
    }
    return tuple(name for name, is_broken in broken.items() if is_broken)


def _compare(name: str, played: Sequence[Served]) -> dict[str, Any]:
    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    kinds = dict.fromkeys(p.kind for p in played)
    seen = {*TIERS, *(p.tier for p in played)}
    return {
        "contender": name,
        "mean_cost_usd": mean([p.cost_usd for p in played]),
        "mean_quality": mean([p.quality for p in played]),
        "mean_latency_s": mean([p.latency_s for p in played]),
        "mean_utility": mean([p.utility for p in played]),
        "violation_rate": mean([len(p.violations) for p in played]),
        "expected_tier_share": mean([p.tier == p.expected_tier for p in played]),
        "tiers": {t: sum(p.tier == t for p in played) for t in (*TIERS, *sorted(seen - {*TIERS}))},
        "utility_by_kind": {k: mean([p.utility for p in played if p.kind == k]) for k in kinds},
    }
