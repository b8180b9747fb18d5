"""What one call costs, and a running account of what calls have cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from equipoise.errors import InputError, PriceError
from equipoise.types import Model


def call_cost_usd(
    model: Model,
    input_tokens: float,
    output_tokens: float,
    *,
    cached_tokens: float = 0.0,
    compute_s: float | None = None,
) -> float:
    """Cost of one call to ``model``.

    Args:
        model: the model that was, or would be, called.
        input_tokens: all tokens sent, cached ones included.
        output_tokens: tokens of the answer.
        cached_tokens: the part of ``input_tokens`` that the vendor bills at its cached price.
        compute_s: measured compute time; needed only when the price counts compute time.

    Raises:
        PriceError: the model has no price, or is priced by compute time and none was measured.
        InputError: a count is negative or not a number, or more tokens are cached than were sent.
    """
    if model.price is None:
        raise PriceError(model.name)
    if compute_s is None:
        if model.price.usd_per_compute_s > 0:
            raise PriceError(model.name, "it is priced by compute time and compute_s was not given")
        compute_s = 0.0
    _require_amount("input_tokens", input_tokens)
    _require_amount("output_tokens", output_tokens)
    _require_amount("cached_tokens", cached_tokens)
    _require_amount("compute_s", compute_s)
    if cached_tokens > input_tokens:
        raise InputError(
            f"cached_tokens {cached_tokens:g} exceed input_tokens {input_tokens:g}; they are a part of them"
        )
    return model.price.cost_usd(input_tokens, output_tokens, cached_tokens=cached_tokens, compute_s=compute_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSummary:
    """What calls have cost so far. The mean is None while there are no calls."""

    total_cost_usd: float
    mean_cost_usd: float | None
    calls: int
    input_tokens: int
    output_tokens: int
    cost_by_model: Mapping[str, float]
    calls_by_model: Mapping[str, int]
    mean_cost_by_model: Mapping[str, float]
    input_tokens_by_model: Mapping[str, int]
    output_tokens_by_model: Mapping[str, int]


@dataclass(slots=True)
class _Tally:
    calls: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class Usage:
    """A running account of calls. Safe to record to from many threads."""

    __slots__ = ("_lock", "_tallies")

    def __init__(self) -> None:
        """An empty account."""
        self._lock = Lock()
        self._tallies: dict[str, _Tally] = {}

    def record(self, model: Model | str, cost_usd: float, input_tokens: int, output_tokens: int) -> None:
        """Add one call.

        Raises:
            InputError: a figure is negative or not a number; nothing is recorded then.
        """
        _require_amount("cost_usd", cost_usd)
        _require_amount("input_tokens", input_tokens)
        _require_amount("output_tokens", output_tokens)
        name = model if isinstance(model, str) else model.name
        with self._lock:
            tally = self._tallies.setdefault(name, _Tally())
            tally.calls += 1
            tally.cost_usd += cost_usd
            tally.input_tokens += input_tokens
            tally.output_tokens += output_tokens

    def summary(self) -> UsageSummary:
        """The account at this moment; all its figures belong together."""
        with self._lock:
            rows = {
                name: _Tally(t.calls, t.cost_usd, t.input_tokens, t.output_tokens)
                for name, t in sorted(self._tallies.items())
            }
        calls = sum(t.calls for t in rows.values())
        total = math.fsum(t.cost_usd for t in rows.values())
        return UsageSummary(
            total_cost_usd=total,
            mean_cost_usd=total / calls if calls else None,
            calls=calls,
            input_tokens=sum(t.input_tokens for t in rows.values()),
            output_tokens=sum(t.output_tokens for t in rows.values()),
            cost_by_model={name: t.cost_usd for name, t in rows.items()},
            calls_by_model={name: t.calls for name, t in rows.items()},
            mean_cost_by_model={name: t.cost_usd / t.calls for name, t in rows.items()},
            input_tokens_by_model={name: t.input_tokens for name, t in rows.items()},
            output_tokens_by_model={name: t.output_tokens for name, t in rows.items()},
        )


def _require_amount(what: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{what} is {value}; give a finite number, zero or more")
