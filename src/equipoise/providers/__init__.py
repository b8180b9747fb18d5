"""Talking to models: one file per wire format, one row of data per vendor, and the table that finds them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from equipoise.contracts import Provider
from equipoise.errors import UnknownName
from equipoise.providers.anthropic import Anthropic
from equipoise.providers.gemini import Gemini
from equipoise.providers.gguf import Gguf
from equipoise.providers.keys import Secret
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.vendors import VENDORS
from equipoise.types import Deployment


def make_provider(deployment: Deployment, *, secret: Secret) -> Provider:
    """A provider for one deployment. ``secret`` turns the name of an environment variable into its value.

    Raises:
        UnknownName: no provider of that name.
        ConfigError: the deployment lacks what the provider needs.
        MissingExtra: the provider needs an optional dependency that is not installed.
    """
    if deployment.provider not in PROVIDERS:
        raise UnknownName("provider", deployment.provider, PROVIDERS)
    return PROVIDERS[deployment.provider](deployment, secret)


PROVIDERS: Mapping[str, Callable[[Deployment, Secret], Provider]] = MappingProxyType(
    {
        **{name: partial(OpenAICompatible, vendor=vendor) for name, vendor in VENDORS.items()},
        "anthropic": Anthropic,
        "gemini": Gemini,
        "gguf": lambda deployment, secret: Gguf(deployment),
    }
)

__all__ = ["PROVIDERS", "make_provider"]
