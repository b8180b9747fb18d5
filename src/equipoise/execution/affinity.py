"""Which model answered a conversation, and how much of it that model holds in its prompt cache.

Nothing is decided here: the decision is told what is warm, and the cost model says what staying saves.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from equipoise.execution.clock import Clock
from equipoise.execution.shares import Shares
from equipoise.traffic import TokenUsage
from equipoise.types import Price, Warm

# Vendors that cache by themselves begin with prompts of this length.
_SHORTEST_CACHED = 1024


class Session(NamedTuple):
    """The last turn of a conversation.

    Attributes:
        deployment: label of where it was answered. Prompt caches are not shared between deployments.
        warm: what the model still holds, and others that were asked beside it; None when that is nothing, or was too
            long ago.
        mixed: other models answered before it.
        answers: how many there were before it.
        at: when it was, by the clock.
    """

    model: str
    deployment: str
    warm: Warm | None
    mixed: bool
    answers: int
    at: float


class SessionKey(NamedTuple):
    """The name of a tenant's conversation."""

    tenant: str
    name: bytes


class Sessions:
    """Remembers the last turn of conversations, the latest ones, for a while.

    Args:
        most: conversations remembered; the longest unused are forgotten, of the tenant that has most.
        ttl_s: how long a conversation stays with its model.
        warm_s: how long vendors keep a prompt cached.
    """

    def __init__(self, *, clock: Clock, most: int = 50_000, ttl_s: float = 3600.0, warm_s: float = 300.0) -> None:
        self._clock, self._ttl_s, self._warm_s = clock, ttl_s, warm_s
        self._turns: Shares[Session] = Shares(most)

    def __len__(self) -> int:
        return self._turns.count

    def recall(self, key: SessionKey) -> Session | None:
        """The last turn of a conversation, if it is remembered."""
        turn = self._turns.get(*key)
        if turn is None:
            return None
        age = self._clock.monotonic() - turn.at
        if age >= self._ttl_s:
            self._turns.drop(*key)
            return None
        return turn if age < self._warm_s else turn._replace(warm=None)

    def remember(self, key: SessionKey, deployment: str, held: Warm, *, mixed: bool, answers: int = 0) -> None:
        """A turn was answered, by the model that holds so much of it now."""
        warm = held if held.tokens or held.also else None
        self._turns.put(*key, Session(held.model, deployment, warm, mixed, answers, self._clock.monotonic()))


def session_key(tenant: str, route: str, *, session: str | None, affinity: bytes) -> SessionKey:
    """The name of a conversation: what the client calls it, else what stays the same over it.

    Two tenants never share one, nor do two routes.

    Args:
        affinity: hash of tools and of all that was said before the first answer.
    """
    said = b"named" + session.encode() if session else b"derived" + affinity
    # With their lengths before them, no other tenant and route begin like this.
    whose = f"{len(tenant)} {len(route)} {tenant}{route}".encode()
    return SessionKey(tenant, hashlib.blake2b(whose + said, digest_size=16).digest())


def held_tokens(usage: TokenUsage, price: Price | None) -> int:
    """How much of a call's input the vendor now holds in its prompt cache.

    Where writing to the cache is billed, what was written or read; where it happens by itself, the whole input of
    a prompt that is long enough; without a price for cached input, nothing that would be cheaper.
    """
    if price is None or price.usd_per_1m_cached_input is None:
        return 0
    if price.usd_per_1m_cache_write is not None:
        return usage.cached_tokens + usage.cache_write_tokens
    return usage.input_tokens if usage.input_tokens >= _SHORTEST_CACHED else 0
