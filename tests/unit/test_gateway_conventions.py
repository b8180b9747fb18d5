"""What the GenAI conventions call things."""

from __future__ import annotations

import pytest

from equipoise.gateway.conventions import provider_name


@pytest.mark.parametrize(
    ("model", "deployment", "name"),
    [
        ("gpt", "gpt/openai", "openai"),
        ("gpt", "gpt/openai@us-east", "openai"),
        ("gpt", "gpt/azure@eu#2", "azure.ai.openai"),
        ("meta-llama/Llama-3", "meta-llama/Llama-3/groq#1", "groq"),
        ("g", "g/gemini", "gcp.gemini"),
        ("m@2#1", "m@2#1/mistral", "mistral_ai"),
    ],
)
def test_a_deployments_provider_has_its_conventional_name(model: str, deployment: str, name: str) -> None:
    assert provider_name(model, deployment) == name
