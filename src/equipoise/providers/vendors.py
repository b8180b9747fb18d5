"""Vendors that speak OpenAI's formats: one row of data each.

Who belongs here: a server at ``BASE/chat/completions`` that differs from OpenAI only in what a row can say. Who
does not: a vendor with a format of its own (a file beside this one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from equipoise.providers.border import ErrorTable
from equipoise.types import WireFormat

_CHAT: frozenset[WireFormat] = frozenset({"chat"})
_EMBEDS: frozenset[WireFormat] = frozenset({"chat", "embeddings"})
_ALL: frozenset[WireFormat] = frozenset({"chat", "responses", "embeddings"})

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
    final=frozenset({"insufficient_quota", "billing_hard_limit_reached"}),
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
        tool_ids: the tool-call ids that it takes: ``any``, or ``nine`` letters and digits.
        renames: request fields that it has under another name.
        refuses: request fields for which it refuses the whole request.
        key_header: the header of the key; ``Authorization`` carries it as a bearer token.
    """

    base_url: str | None = None
    key_env: str | None = None
    formats: frozenset[WireFormat] = _CHAT
    limit_field: str = "max_tokens"
    stream_usage: bool = True
    developer_role: bool = False
    tool_ids: Literal["any", "nine"] = "any"
    renames: Mapping[str, str] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()
    key_header: str = "Authorization"
    errors: ErrorTable = OPENAI_ERRORS


VENDORS: Mapping[str, Vendor] = MappingProxyType(
    {
        "openai_compatible": Vendor(formats=_ALL),
        "openai": Vendor(
            base_url="https://api.openai.com/v1",
            key_env="OPENAI_API_KEY",
            formats=_ALL,
            limit_field="max_completion_tokens",
            developer_role=True,
        ),
    }
)
