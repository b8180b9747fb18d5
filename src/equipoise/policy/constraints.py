"""Hard limits: which models may serve a request, and why each of the others may not."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.types import Constraints, Estimates, Expected, Features, Model


def refusals(
    features: Features,
    constraints: Constraints,
    models: Sequence[Model],
    quality: Estimates,
    expected: Expected,
) -> list[str | None]:
    """For every model None, or the first limit that it does not meet, in plain words.

    ``quality`` and ``expected`` hold one row. An unknown cost or latency does not meet a limit on it.
    """
    return [_refusal(features, constraints, m, quality, expected, j) for j, m in enumerate(models)]


def _refusal(
    features: Features, limits: Constraints, model: Model, quality: Estimates, expected: Expected, j: int
) -> str | None:
    cost, latency = float(expected.cost_usd[0, j]), float(expected.latency_s[0, j])
    level = float(quality.mean[0, j])
    if level != level:
        return "no quality estimate: the router knows nothing of this model"
    missing = limits.capabilities - model.capabilities
    if missing:
        return f"lacks {', '.join(sorted(missing))}"
    needed = features.input_tokens + expected.output_tokens[0, j]
    if model.context_window is not None and needed > model.context_window:
        return f"needs about {needed:.0f} tokens, context window {model.context_window}"
    if limits.region is not None and all(d.region != limits.region for d in model.deployments):
        return f"no deployment in region {limits.region}"
    if limits.max_cost_usd is not None and not cost <= limits.max_cost_usd:
        return _over("cost", cost, limits.max_cost_usd, "USD")
    if limits.max_latency_s is not None and not latency <= limits.max_latency_s:
        return _over("latency", latency, limits.max_latency_s, "s")
    if limits.min_quality is not None and not level >= limits.min_quality:
        return f"expected quality {level:.3f} < {limits.min_quality:g}"
    return None


def _over(what: str, value: float, limit: float, unit: str) -> str:
    if value != value:
        return f"{what} is not known, limit {limit:g} {unit}"
    return f"expected {what} {value:.3g} > {limit:g} {unit}"
