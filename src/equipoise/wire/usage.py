"""Tokens of a call, as chat's ``usage`` says them and as we keep them."""

from __future__ import annotations

from typing import Any, TypeGuard

from equipoise.traffic import TokenUsage
from equipoise.wire.format import Body

_MOST_TOKENS = 1_000_000_000
_MOST_MS = 1e9


def chat_usage(answer: Body) -> TokenUsage | None:
    """The usage of a chat completion or chunk; llama.cpp's ``timings`` add compute time and cached tokens."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    input_tokens, output_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not is_count(input_tokens) or not (output_tokens is None or is_count(output_tokens)):
        return None
    # Some vendors leave reasoning out of completion_tokens, yet bill it: the total has it.
    total = usage.get("total_tokens")
    output = max(output_tokens or 0, total - input_tokens if is_count(total) else 0)
    if not input_tokens and not output:
        return None  # no call has no tokens: some servers send zeros where they did not count
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output,
        cached_tokens=min(cached_tokens(answer), input_tokens),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        cache_write_1h_tokens=count(details.get("cache_write_1h_tokens")),
        compute_s=compute_s(answer.get("timings")),
    )


def usage_to_chat(usage: TokenUsage, *, reasoning_tokens: int = 0) -> Body:
    """The ``usage`` of a chat completion."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            **({"cache_write_1h_tokens": usage.cache_write_1h_tokens} if usage.cache_write_1h_tokens else {}),
        },
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
    }


def reasoning_tokens(usage: Any) -> int:
    """The part of a chat ``usage`` that went into reasoning."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    return count(details.get("reasoning_tokens")) if isinstance(details, dict) else 0


def cached_tokens(answer: Body) -> int:
    """Input tokens that the server took from its prompt cache, by usage or llama.cpp's timings."""
    usage, timings = answer.get("usage"), answer.get("timings")
    if isinstance(usage, dict):
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict) and is_count(said := details.get("cached_tokens")):
            return said
        for name in ("prompt_cache_hit_tokens", "cached_tokens"):
            if is_count(said := usage.get(name)):
                return said
    return count(timings.get("cache_n")) if isinstance(timings, dict) else 0


def compute_s(timings: Any) -> float | None:
    """Compute time by llama.cpp's timings."""
    if not isinstance(timings, dict):
        return None
    prefill, decode = timings.get("prompt_ms"), timings.get("predicted_ms")
    if not isinstance(prefill, int | float) or not isinstance(decode, int | float):
        return None
    return (prefill + decode) / 1000.0 if 0 <= prefill <= _MOST_MS and 0 <= decode <= _MOST_MS else None


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a number of tokens: no more than any call could have, so that sums and exports hold it."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def count(value: Any) -> int:
    """A number of tokens; what is none counts as 0."""
    return value if is_count(value) else 0
