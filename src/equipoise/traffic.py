"""What became of a decision: the calls that were made for it, their bill, and what was said of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from equipoise.records import record
from equipoise.types import Price

AttemptKind = Literal["first", "retry", "fallback", "hedge", "check"]


@record(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one call. ``cached_tokens`` and ``cache_write_tokens`` are part of ``input_tokens``, and
    ``cache_write_1h_tokens``, which the vendor keeps for an hour, of the latter.

    ``estimated``: counted by us, since the provider did not say.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    compute_s: float | None = None
    estimated: bool = False

    def cost_usd(self, price: Price) -> float:
        """What the call costs at a price."""
        return price.cost_usd(
            self.input_tokens,
            self.output_tokens,
            cached_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
            compute_s=self.compute_s or 0.0,
        )


@record(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that was made for a request, billed whether or not its answer was used.

    Attributes:
        kind: ``check`` for every call that judged another model's answer or its own.
        deployment: label of the deployment, ``model/provider`` and what else tells it apart.
        started: Unix time.
        latency_s: until the last byte, or until it failed or was cancelled.
        first_token_s: until the first content, where any came.
        error: stable code of what went wrong; None for success.
        won: its answer is the one that was returned.
    """

    model: str
    deployment: str
    kind: AttemptKind
    started: float
    latency_s: float
    usage: TokenUsage
    cost_usd: float
    first_token_s: float | None = None
    status: int | None = None
    error: str | None = None
    won: bool = False


@record(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a decision. ``cost_usd`` is the sum over attempts and what routing itself cost.

    Attributes:
        model: the model whose answer was returned; None when none was.
        status: ``ok``, ``failed``, ``cancelled`` (the client went away) or ``interrupted`` (a stream that ended early).
        cache: ``exact`` or ``semantic`` for an answer from the cache; ``miss``; None with the cache off.
        saved_usd: what the cached answer cost when it was made.
        overhead_s: time spent here rather than waiting for providers.
    """

    decision_id: str
    status: Literal["ok", "failed", "cancelled", "interrupted"]
    finished: float
    model: str | None = None
    deployment: str | None = None
    attempts: tuple[Attempt, ...] = ()
    cost_usd: float = 0.0
    routing_usd: float = 0.0
    saved_usd: float = 0.0
    latency_s: float = 0.0
    first_token_s: float | None = None
    overhead_s: float = 0.0
    cache: Literal["exact", "semantic", "miss"] | None = None
    finish: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """How good an answer was: a reward in [0, 1], joined to its decision by id.

    Attributes:
        received: Unix time.
        source: who says so (``user``, ``judge``, ``test`` ...); one source has one say, its last.
    """

    decision_id: str
    reward: float
    received: float
    source: str = "user"
    comment: str | None = None
