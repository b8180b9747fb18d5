"""Vendors that speak OpenAI's formats: one row of data each.

Who belongs here: a server at ``BASE/chat/completions`` that differs from OpenAI only in what a row can say. Who
does not: a vendor with a format of its own (a file beside this one). Every row is by the vendors' documentation as
read in 2026; a deployment can override base URL, key and the name of the limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from equipoise.providers.border import ErrorTable
from equipoise.types import WireFormat
from equipoise.wire.history import MARKS, IdRule

_CHAT: frozenset[WireFormat] = frozenset({"chat"})
_EMBEDS: frozenset[WireFormat] = frozenset({"chat", "embeddings"})
_ALL: frozenset[WireFormat] = frozenset({"chat", "responses", "embeddings"})
_RESPONDS: frozenset[WireFormat] = frozenset({"chat", "responses"})

# Hints to OpenAI's own machinery: an answer is as good without them, yet strict servers refuse what they do not know.
_OPENAI_ONLY = frozenset(
    {
        "metadata",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
    }
)

OPENAI_ERRORS = ErrorTable(
    statuses={
        "server_error": 500,
        "rate_limit_exceeded": 429,
        "rate_limit_error": 429,
        "insufficient_quota": 429,
        "invalid_request_error": 400,
        "invalid_prompt": 400,
        "context_length_exceeded": 400,
        "content_filter": 400,
    },
    # Said with status 429, yet no waiting mends them.
    final=frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """How a vendor differs from OpenAI.

    Attributes:
        base_url: where it is; None where every user has an own one.
        key_env: the variable that its own tools read the key from; None where none is needed.
        formats: what it speaks.
        limit_field: the name under which it takes the longest answer.
        stream_usage: whether it takes ``stream_options``. Those that do not tell the usage unasked.
        developer_role: whether it knows the role ``developer``.
        call_ids: the tool-call ids that it takes; None for any.
        keeps: fields of earlier assistant messages that it wants back, such as reasoning.
        reasoning_stub: what stands for the reasoning of answers that have none, where it refuses such beside tools.
        forced_unthinking: the names of models that think unless they are told not to, and cannot be made to call a
            tool while they do.
        renames: request fields that it has under another name.
        cache_marks: the marks of a prompt cache that it knows; strict vendors refuse others.
        names: whether messages may name who speaks.
        bridges: whether the user may not speak right after the results of tools.
        alternates: whether the user and the model may not speak twice at once.
        refuses: request fields for which it would refuse the whole request, and that only are hints.
        keep_alive: whether a connection serves more than one call; some servers close it without a word.
        openais: whether its models are OpenAI's own, which their names tell apart.
        key_header: the header of the key; ``Authorization`` carries it as a bearer token.
    """

    base_url: str | None = None
    key_env: str | None = None
    formats: frozenset[WireFormat] = _CHAT
    limit_field: str = "max_tokens"
    stream_usage: bool = True
    developer_role: bool = False
    call_ids: IdRule | None = None
    keeps: frozenset[str] = frozenset()
    reasoning_stub: str | None = None
    forced_unthinking: re.Pattern[str] | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    cache_marks: frozenset[str] = frozenset()
    names: bool = True
    bridges: bool = False
    alternates: bool = False
    refuses: frozenset[str] = frozenset()
    keep_alive: bool = True
    openais: bool = False
    key_header: str = "Authorization"
    errors: ErrorTable = OPENAI_ERRORS


_REASONING = frozenset({"reasoning_content"})
_PARTS_OF_REASONING = frozenset({"thinking"})
_ANY_REASONING = _PARTS_OF_REASONING | {"reasoning_content", "reasoning", "reasoning_details", "extra_content"}
_OPENAIS_OWN = frozenset({"audio", "refusal"})
_PICTURES = frozenset({"images"})
_SHORT_IDS = IdRule(r"[\x21-\x7e]{1,40}")
_NINE = IdRule(r"[a-zA-Z0-9]{9}", prefix="", length=9)


def _like_openai(base_url: str | None, key_env: str | None, header: str = "Authorization") -> Vendor:
    return Vendor(
        base_url=base_url,
        key_env=key_env,
        formats=_ALL,
        limit_field="max_completion_tokens",
        developer_role=True,
        call_ids=_SHORT_IDS,
        keeps=_OPENAIS_OWN,
        cache_marks=frozenset({"prompt_cache_breakpoint"}),
        openais=True,
        key_header=header,
    )


def _local(port: int, formats: frozenset[WireFormat] = _EMBEDS, *, keep_alive: bool = True) -> Vendor:
    """A server on this machine, without a key."""
    base_url = f"http://127.0.0.1:{port}/v1"
    return Vendor(base_url=base_url, formats=formats, keeps=_ANY_REASONING, keep_alive=keep_alive)


def _hosted(base_url: str | None, key_env: str, formats: frozenset[WireFormat] = _EMBEDS) -> Vendor:
    """A host of open models, which takes what vLLM takes."""
    return Vendor(base_url=base_url, key_env=key_env, formats=formats, keeps=_REASONING)


VENDORS: Mapping[str, Vendor] = MappingProxyType(
    {
        "openai_compatible": Vendor(formats=_ALL, keeps=_ANY_REASONING | _OPENAIS_OWN | _PICTURES, cache_marks=MARKS),
        "openai": _like_openai("https://api.openai.com/v1", "OPENAI_API_KEY"),
        "azure": _like_openai(None, "AZURE_OPENAI_API_KEY", "api-key"),
        "mistral": Vendor(
            base_url="https://api.mistral.ai/v1",
            key_env="MISTRAL_API_KEY",
            formats=_EMBEDS,
            stream_usage=False,
            call_ids=_NINE,
            keeps=_PARTS_OF_REASONING,
            names=False,
            bridges=True,
            renames={"seed": "random_seed"},
            refuses=_OPENAI_ONLY | {"user", "stream_options", "logit_bias"},
        ),
        "groq": Vendor(
            base_url="https://api.groq.com/openai/v1",
            key_env="GROQ_API_KEY",
            formats=_RESPONDS,
            limit_field="max_completion_tokens",
            names=False,
            refuses=_OPENAI_ONLY | {"logit_bias"},
        ),
        "deepseek": Vendor(
            base_url="https://api.deepseek.com",
            key_env="DEEPSEEK_API_KEY",
            keeps=_REASONING,
            reasoning_stub="",
            forced_unthinking=re.compile("deepseek"),
        ),
        "xai": Vendor(
            base_url="https://api.x.ai/v1",
            key_env="XAI_API_KEY",
            formats=_ALL,
            keeps=_REASONING,
            refuses=frozenset({"presence_penalty", "frequency_penalty"}),
        ),
        "openrouter": Vendor(
            base_url="https://openrouter.ai/api/v1",
            key_env="OPENROUTER_API_KEY",
            formats=_ALL,
            keeps=_ANY_REASONING | _PICTURES,
            cache_marks=MARKS,
        ),
        "perplexity": Vendor(
            base_url="https://api.perplexity.ai",
            key_env="PERPLEXITY_API_KEY",
            stream_usage=False,
            alternates=True,
            refuses=_OPENAI_ONLY,
        ),
        "cerebras": Vendor(
            base_url="https://api.cerebras.ai/v1",
            key_env="CEREBRAS_API_KEY",
            limit_field="max_completion_tokens",
            refuses=_OPENAI_ONLY | {"logit_bias", "frequency_penalty", "presence_penalty"},
        ),
        "moonshot": Vendor(
            base_url="https://api.moonshot.ai/v1",
            key_env="MOONSHOT_API_KEY",
            keeps=_REASONING,
            reasoning_stub=" ",  # an empty one counts as none
            forced_unthinking=re.compile(r"kimi-k2\.[56]"),
            refuses=_OPENAI_ONLY | {"temperature", "top_p", "presence_penalty", "frequency_penalty"},
        ),
        "cohere": Vendor(
            base_url="https://api.cohere.ai/compatibility/v1",
            key_env="COHERE_API_KEY",
            formats=_EMBEDS,
            refuses=_OPENAI_ONLY | {"user", "logit_bias", "parallel_tool_calls"},
        ),
        "zai": Vendor(base_url="https://api.z.ai/api/paas/v4", key_env="ZAI_API_KEY", keeps=_REASONING),
        "minimax": Vendor(base_url="https://api.minimax.io/v1", key_env="MINIMAX_API_KEY", keeps=_ANY_REASONING),
        "alibaba": replace(
            _hosted("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"), cache_marks=MARKS
        ),
        "together": _hosted("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
        "fireworks": _hosted("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        "nvidia": _hosted("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
        "sambanova": _hosted("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
        "deepinfra": _hosted("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
        "novita": _hosted("https://api.novita.ai/v3/openai", "NOVITA_API_KEY"),
        "hyperbolic": _hosted("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY", _CHAT),
        "baseten": _hosted("https://inference.baseten.co/v1", "BASETEN_API_KEY", _CHAT),
        "huggingface": _hosted("https://router.huggingface.co/v1", "HF_TOKEN", _CHAT),
        "databricks": _hosted(None, "DATABRICKS_TOKEN"),
        "vllm": _local(8000, _ALL),
        "sglang": _local(30000),
        "ollama": _local(11434),
        "lmstudio": _local(1234, _ALL),
        "llamacpp": _local(8080, keep_alive=False),
    }
)
