"""Models, what they cost and what is known of them.

``genai_prices``, where the prices come from, takes most of a second to import: it is imported by the first
call of ``default_catalog`` or ``refresh`` and by nothing else.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from equipoise.catalog.cost import Usage, UsageSummary, call_cost_usd
from equipoise.catalog.models import Catalog
from equipoise.catalog.notebook import notebook_pool

__all__ = [
    "Catalog",
    "Usage",
    "UsageSummary",
    "call_cost_usd",
    "default_catalog",
    "notebook_pool",
    "refresh",
]


def default_catalog(on: date | None = None) -> Catalog:
    """Every model that the installed ``genai-prices`` has a price for. Offline.

    Args:
        on: the day whose prices are taken; today by default.
    """
    from equipoise.catalog import library  # noqa: PLC0415  (imports genai_prices)

    return library.bundled_catalog(on)


def refresh(path: str | Path, *, url: str | None = None) -> Catalog:
    """Download today's prices, write them to ``path`` as a price file, and return them as a catalog.

    Args:
        path: a CSV that ``Catalog.from_prices_file`` and ``--prices`` read back.
        url: where to fetch from; by default where ``genai-prices`` publishes its data.

    Raises:
        InputError: the prices could not be fetched or are malformed; ``path`` is left as it was.
    """
    from equipoise.catalog import library  # noqa: PLC0415  (imports genai_prices)

    return library.refreshed_catalog(Path(path), url)
