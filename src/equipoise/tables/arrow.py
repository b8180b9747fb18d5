"""pyarrow, loaded when something of it is first asked for: serving a trained router does without 40 MB of it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PARTS = frozenset({"compute", "csv", "json", "parquet"})


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    found = import_module(f"pyarrow.{name}") if name in _PARTS else getattr(import_module("pyarrow"), name)
    globals()[name] = found
    return found
