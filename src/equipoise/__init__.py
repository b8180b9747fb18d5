"""Route every prompt to the cheapest LLM that is good enough, and prove it.

import equipoise

engine = equipoise.train("outcomes.parquet", router="linear")
decision = engine.decide("What is 17 * 23?", max_cost_usd=0.01)
print(decision.model, decision.reasons)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from equipoise.version import __version__

if TYPE_CHECKING:
    from equipoise.api import load, train
    from equipoise.catalog import Catalog, default_catalog, notebook_pool
    from equipoise.comparison import evaluate
    from equipoise.engine import Engine
    from equipoise.tables import OutcomeTable, read_table, write_table
    from equipoise.types import Constraints, Decision, Model, Price, Request

_WHERE = {
    "Catalog": "equipoise.catalog",
    "Constraints": "equipoise.types",
    "Decision": "equipoise.types",
    "Engine": "equipoise.engine",
    "Model": "equipoise.types",
    "OutcomeTable": "equipoise.tables",
    "Price": "equipoise.types",
    "Request": "equipoise.types",
    "default_catalog": "equipoise.catalog",
    "evaluate": "equipoise.comparison",
    "load": "equipoise.api",
    "notebook_pool": "equipoise.catalog",
    "read_table": "equipoise.tables",
    "train": "equipoise.api",
    "write_table": "equipoise.tables",
}

__all__ = [
    "__version__",
    "Catalog",
    "Constraints",
    "Decision",
    "Engine",
    "Model",
    "OutcomeTable",
    "Price",
    "Request",
    "default_catalog",
    "evaluate",
    "load",
    "notebook_pool",
    "read_table",
    "train",
    "write_table",
]


def __getattr__(name: str) -> Any:
    """Public names load on first use, so that ``import equipoise`` stays light."""
    if name not in _WHERE:
        raise AttributeError(f"module 'equipoise' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """The public names, loaded or not: what completion offers."""
    return list(__all__)
