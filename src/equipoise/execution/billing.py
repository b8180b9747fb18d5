"""What a call cost: by the provider's own count where it gave one, by ours, marked as estimated, where not."""

from __future__ import annotations

from dataclasses import replace

from equipoise.errors import ConfigError, ProviderError
from equipoise.traffic import TokenUsage
from equipoise.types import Model, Price

# What ends a call that a provider had taken; all else that it tells is a refusal, or was never sent.
_TAKEN = frozenset({"timeout", "connection_lost", "bad_response"})


def price_of(model: Model, *, place: tuple[str | int, ...] = ()) -> Price:
    """The model's price. ``place``: where in the configuration it should be.

    Raises:
        ConfigError: it has none, so that its calls could not be billed.
    """
    if model.price is None:
        raise ConfigError(
            f"model '{model.name}' has no price, so its calls cannot be billed; give it one: "
            "models: - {name: ..., price: {usd_per_1m_input: ..., usd_per_1m_output: ...}}",
            place=place,
        )
    return model.price


def was_accepted(error: ProviderError) -> bool:
    """Whether a provider that failed before an answer began had taken the request, and may bill it.

    An error that it tells is a refusal; a request that never left cannot have been taken. One that timed out, was
    cut or answered unreadably is billed for its input.
    """
    refused = error.status is not None and error.status >= 300
    return not refused and error.vendor_code in _TAKEN


def counted(said: TokenUsage | None) -> TokenUsage | None:
    """What the provider said, if it counted: no call has no tokens, and some servers send zeros instead."""
    return said if said is not None and (said.input_tokens or said.output_tokens) else None


def sound(said: TokenUsage) -> TokenUsage:
    """What the provider said. Cached tokens are part of the input, whatever it says."""
    cached, written, hour = said.cached_tokens, said.cache_write_tokens, said.cache_write_1h_tokens
    if cached >= 0 and 0 <= hour <= written and cached + written <= said.input_tokens:
        return said
    cached = min(max(cached, 0), said.input_tokens)
    written = min(max(written, 0), said.input_tokens - cached)
    hour = min(max(hour, 0), written)
    return replace(said, cached_tokens=cached, cache_write_tokens=written, cache_write_1h_tokens=hour)


def estimated(said: TokenUsage | None, *, input_tokens: int, output_tokens: int) -> TokenUsage:
    """Where the provider did not say all: the input as it told so far, else our count; the output as far as it came."""
    if said is None:
        return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens, estimated=True)
    return replace(sound(said), output_tokens=max(said.output_tokens, output_tokens), estimated=True)


def cost_usd(usage: TokenUsage, price: Price, *, elapsed_s: float) -> float:
    """USD. Compute time that nobody measured is the time that the call took."""
    if price.usd_per_compute_s and usage.compute_s is None:
        usage = replace(usage, compute_s=elapsed_s)
    return usage.cost_usd(price)
