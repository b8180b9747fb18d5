"""What we say ourselves about well-known models, from ``known.yaml``: facts and rough priors."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import yaml

# A newer model of a family is taken to be able to do what the older ones can. Own names of vendors, whole.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"gpt-[5-9](\.\d+)?(-(mini|nano|pro|codex|codex-mini|[a-z]{3,6}))?", ("tools", "vision", "json")),
    (r"claude-[a-z]+-(4-[5-9]|[5-9](-\d+)?)", ("tools", "vision", "json")),
    (r"gemini-[3-9](\.\d+)?-(pro|flash|flash-lite)(-preview)?", ("tools", "vision", "json")),
    (r"grok-[4-9](\.\d+)?(-\d{4})?", ("tools", "json")),
    (r"deepseek-v[4-9](\.\d+)?(-(pro|flash))?", ("tools", "json")),
    (r"kimi-k[2-9](\.\d+)?", ("tools", "json")),
)
_NO_CHAT = re.compile("image|search|audio|tts|live")


def family_capabilities(name: str) -> frozenset[str]:
    """What a model that is not well known can do, judged by its family; nothing where it has none that we know."""
    if _NO_CHAT.search(name):
        return frozenset()
    return next((frozenset(able) for family, able in _FAMILIES if re.fullmatch(family, name)), frozenset())


def known_facts() -> dict[str, dict[str, Any]]:
    """Fields of ``Model`` for each curated name."""
    text = resources.files("equipoise.catalog").joinpath("known.yaml").read_text(encoding="utf-8")
    return {name: _fields(entry) for name, entry in yaml.safe_load(text).items()}


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    lists = {"specializations": tuple, "capabilities": frozenset}
    return {k: lists[k](v) if k in lists else v for k, v in entry.items()}
