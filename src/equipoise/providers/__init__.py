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
from equipoise.providers.vendors import VENDORS, Vendor
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


def _vendor(vendor: Vendor, deployment: Deployment, secret: Secret) -> Provider:
    return OpenAICompatible(deployment, secret=secret, vendor=vendor)


def _anthropic(deployment: Deployment, secret: Secret) -> Provider:
    return Anthropic(deployment, secret=secret)


def _gemini(deployment: Deployment, secret: Secret) -> Provider:
    return Gemini(deployment, secret=secret)


def _gguf(deployment: Deployment, secret: Secret) -> Provider:
    del secret
    return Gguf(deployment)


PROVIDERS: Mapping[str, Callable[[Deployment, Secret], Provider]] = MappingProxyType(
    {
        **{name: partial(_vendor, vendor) for name, vendor in VENDORS.items()},
        "anthropic": _anthropic,
        "gemini": _gemini,
        "gguf": _gguf,
    }
)

__all__ = ["PROVIDERS", "Secret", "make_provider"]
