"""The pool ``notebook``: eight models of four tiers with round figures, for examples and comparisons.

The figures are fixed and belong together. They are not today's prices: see ``default_catalog`` for those.
"""

from __future__ import annotations

from typing import NamedTuple

from equipoise.catalog.models import Catalog
from equipoise.types import Model, Price, Tier


class _Row(NamedTuple):
    name: str
    provider: str
    tier: Tier
    usd_per_1k: float
    latency_ms: int
    context_window: int
    specializations: tuple[str, ...]
    quality: tuple[float, float, float, float]


_DOMAINS = ("general", "code", "reasoning", "creative")
_THINKER = ("reasoning", "general", "creative")
_ANALYST = ("analysis", "reasoning", "general")

_ROWS = (
    _Row("gpt-4", "openai", "premium", 0.030, 2000, 8192, _THINKER, (0.95, 0.90, 0.95, 0.92)),
    _Row("claude-3-opus", "anthropic", "premium", 0.015, 2200, 200_000, _ANALYST, (0.93, 0.88, 0.94, 0.90)),
    _Row(
        "gpt-3.5-turbo",
        "openai",
        "standard",
        0.0015,
        800,
        4096,
        ("general", "code"),
        (0.80, 0.82, 0.75, 0.78),
    ),
    _Row(
        "claude-3-sonnet",
        "anthropic",
        "standard",
        0.003,
        1200,
        200_000,
        ("analysis", "general"),
        (0.85, 0.80, 0.83, 0.82),
    ),
    _Row(
        "gpt-3.5-turbo-instruct",
        "openai",
        "budget",
        0.0015,
        600,
        4096,
        ("general",),
        (0.75, 0.70, 0.68, 0.72),
    ),
    _Row(
        "claude-3-haiku",
        "anthropic",
        "budget",
        0.00025,
        400,
        200_000,
        ("general", "fast"),
        (0.72, 0.68, 0.70, 0.69),
    ),
    _Row("llama-2-13b", "local", "local", 0.0001, 1500, 4096, ("general",), (0.65, 0.60, 0.62, 0.63)),
    _Row("codellama-13b", "local", "local", 0.0001, 1800, 4096, ("code",), (0.58, 0.75, 0.55, 0.50)),
)


def notebook_pool() -> Catalog:
    """The eight models, in their published order."""
    return Catalog.of([_model(row) for row in _ROWS], version="notebook 1")


def _model(row: _Row) -> Model:
    usd_per_1m = round(row.usd_per_1k * 1000, 9)
    return Model(
        name=row.name,
        provider=row.provider,
        price=Price(usd_per_1m_input=usd_per_1m, usd_per_1m_output=usd_per_1m, source="notebook"),
        context_window=row.context_window,
        tier=row.tier,
        specializations=row.specializations,
        latency_s=row.latency_ms / 1000,
        quality=dict(zip(_DOMAINS, row.quality, strict=True)),
        availability=0.99,
        rate_limit_rpm=1000,
    )
