"""Hard limits: which models may serve a request, and why each of the others may not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from equipoise.errors import NoModel
from equipoise.types import Constraints, Estimates, Expected, Features, Model


class Row(NamedTuple):
    """What is estimated for one prompt, by model. NaN means not known."""

    quality: list[float]
    std: list[float]
    cost_usd: list[float]
    latency_s: list[float]
    output_tokens: list[float]

    @classmethod
    def all_of(cls, quality: Estimates, expected: Expected) -> list[Self]:
        """The rows of arrays, as plain numbers: nothing is faster on a dozen of them."""
        columns = [array.tolist() for array in (*quality, *expected)]
        return list(map(cls, *columns))


def refusals(features: Features, constraints: Constraints, models: Sequence[Model], row: Row) -> list[str | None]:
    """For every model None, or the first limit that it does not meet, in plain words.

    An unknown cost or latency does not meet a limit on it.
    """
    plain = constraints == _NONE
    found: list[str | None] = []
    for model, level, cost, latency, output in zip(
        models, row.quality, row.cost_usd, row.latency_s, row.output_tokens, strict=True
    ):
        reason = _unable(constraints, model, level, features.input_tokens + output)
        if reason is None and not plain:
            reason = _beyond(constraints, level, cost, latency)
        found.append(reason)
    return found


def no_model(features: Features, models: Sequence[Model], refused: Sequence[str | None]) -> NoModel:
    """The error that says why none of the models can serve a prompt."""
    reasons = {model.name: reason for model, reason in zip(models, refused, strict=True) if reason is not None}
    return NoModel(reasons, input_tokens=features.input_tokens, output_tokens=features.output_tokens)


UNKNOWN = "no quality estimate: the router knows nothing of this model"
_NONE = Constraints()
# Texts to embed come many together; each has the window for itself, and of what is too long the vendor tells.
_VECTORS_ONLY = frozenset({"embeddings"})


def _unable(limits: Constraints, model: Model, level: float, tokens: float) -> str | None:
    """Why the model cannot serve the request at all."""
    if level != level:
        return UNKNOWN
    if model.context_window is not None and tokens > model.context_window and model.capabilities != _VECTORS_ONLY:
        return f"needs about {tokens:.0f} tokens, context window {model.context_window}"
    return lacking(limits, model)


def lacking(limits: Constraints, model: Model) -> str | None:
    """What the model lacks for such a request, however short."""
    if limits.capabilities and not limits.capabilities <= model.capabilities:
        return f"lacks {', '.join(sorted(limits.capabilities - model.capabilities))}"
    if limits.region is not None and all(d.region != limits.region for d in model.deployments):
        return f"no deployment in region {limits.region}"
    return None


def _beyond(limits: Constraints, level: float, cost: float, latency: float) -> str | None:
    """Which limit on money, time or quality it breaks."""
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
