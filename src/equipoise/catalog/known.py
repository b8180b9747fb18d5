"""What we say ourselves about well-known models, from ``known.yaml``: facts and rough priors."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def known_facts() -> dict[str, dict[str, Any]]:
    """Fields of ``Model`` for each curated name."""
    text = resources.files("equipoise.catalog").joinpath("known.yaml").read_text(encoding="utf-8")
    return {name: _fields(entry) for name, entry in yaml.safe_load(text).items()}


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    lists = {"specializations": tuple, "capabilities": frozenset}
    return {k: lists[k](v) if k in lists else v for k, v in entry.items()}
