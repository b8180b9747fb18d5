"""What the GenAI conventions of OpenTelemetry call things."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

# Names that the conventions fix, where ours are others.
_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
)


@lru_cache(maxsize=4096)
def provider_name(model: str, deployment: str) -> str:
    """The provider of a deployment, by its label: ``model/provider``, with a region or number where that is needed."""
    provider = deployment.removeprefix(model + "/").partition("@")[0].partition("#")[0]
    return _PROVIDERS.get(provider, provider)
