"""The catalog made from ``genai-prices``: which entries are usable, under which names, at which price."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import genai_prices
import httpx2
from genai_prices import UpdatePrices
from genai_prices.data import providers as bundled_providers
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from equipoise.catalog.known import family_capabilities, known_facts
from equipoise.catalog.models import Catalog, Resolved
from equipoise.catalog.pricefile import write_models
from equipoise.errors import InputError
from equipoise.types import Model, Price

# What the library raises for data of another shape, besides ValueError.
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError, StopIteration)
_FREE_BY_NAME = re.compile(r":free$|\(free\)", re.IGNORECASE)
_FREE_BY_WORDS = re.compile(r"\bfree of charge\b", re.IGNORECASE)


def bundled_catalog(on: date | None) -> Catalog:
    """The catalog of the installed release, at the prices of one day."""
    return _bundled(on or _today())


@lru_cache(maxsize=4)
def _bundled(on: date) -> Catalog:
    source = f"genai-prices {genai_prices.__version__}"
    return catalog_from(bundled_providers, on, source=source)


def refreshed_catalog(path: Path, url: str | None) -> Catalog:
    """Fetch, check, write, and only then return."""
    updater = UpdatePrices(url=url) if url else UpdatePrices()
    try:
        snapshot = updater.fetch()
    except (httpx2.HTTPError, httpx2.InvalidURL, *_MALFORMED) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"prices could not be fetched from {updater.url} ({reason}); the old ones are kept") from error
    on = _today()
    catalog = catalog_from(snapshot.providers if snapshot else [], on, source=f"genai-prices fetched {on}")
    if not len(catalog):
        raise InputError(f"no usable prices at {updater.url}; the old ones are kept")
    write_models(path, catalog.find())
    return catalog


def catalog_from(providers: list[Provider], on: date, *, source: str) -> Catalog:
    """The usable entries of these providers at the prices of one day, with the curated facts added."""
    names = _Names(providers)
    facts = known_facts()
    models = []
    for provider, info in _entries(providers):
        model = _model(provider, info, on, source)
        if model is not None:
            name = names.of(provider, info)
            curated = facts.get(name, {})
            able: frozenset[str] = curated.get("capabilities", family_capabilities(name))
            capabilities = model.capabilities | able
            models.append(replace(model, name=name, **{**curated, "capabilities": capabilities}))
    return Catalog.of(models, version=f"{source} ({_newest_change(providers, on)})", resolve=names.resolve)


def _today() -> date:
    return datetime.now(tz=UTC).date()


# ---------------------------------------------------------------- names


class _Names:
    """Which entry owns a plain model id: the library's own match rules decide, else the first provider."""

    def __init__(self, providers: list[Provider]) -> None:
        self._providers = providers
        self._by_id = {p.id: p for p in providers}
        self._owners: dict[str, str] = {}
        self._names: dict[int, str] = {}
        for provider, info in _entries(providers):
            self._owners.setdefault(info.id, provider.id)
        for info_id in self._owners:
            matched = self._match(info_id)
            if matched is not None:
                self._owners[info_id] = matched[0].id
        for provider, info in _entries(providers):
            self._names[id(info)] = self.of(provider, info)

    def of(self, provider: Provider, info: ModelInfo) -> str:
        """The plain id where this provider owns it, otherwise ``provider/id``."""
        owns = self._owners[info.id] == provider.id and self._qualified(info.id) is None
        return info.id if owns else f"{provider.id}/{info.id}"

    def resolve(self, name: str) -> Resolved | None:
        """The entry that ``name`` stands for: ``provider/model``, or an id that the match rules know."""
        found = self._qualified(name) or self._match(name)
        if found is None:
            return None
        provider, info = found
        return Resolved(self._names[id(info)], provider.id)

    def _qualified(self, name: str) -> tuple[Provider, ModelInfo] | None:
        head, _, rest = name.partition("/")
        provider = self._by_id.get(head)
        return self._within(provider, rest) if provider and rest else None

    def _match(self, name: str) -> tuple[Provider, ModelInfo] | None:
        lowered = name.lower()
        for provider in self._providers:
            if provider.model_match is not None and provider.model_match.is_match(lowered):
                return self._within(provider, name)
        return None

    def _within(self, provider: Provider, name: str) -> tuple[Provider, ModelInfo] | None:
        # An exact id goes before the match rules, which may give it to an older entry.
        info = next((m for m in provider.models if m.id == name), None)
        info = info or provider.find_model(name, all_providers=self._providers)
        return None if info is None else (provider, info)


def _entries(providers: list[Provider]) -> Iterator[tuple[Provider, ModelInfo]]:
    """Every provider's models, each id once."""
    for provider in providers:
        seen: set[str] = set()
        for info in provider.models:
            if info.id not in seen:
                seen.add(info.id)
                yield provider, info


# ---------------------------------------------------------------- prices


@dataclass(frozen=True, slots=True)
class _Rates:
    """What a chat completion is billed by: per million tokens, and per thousand calls."""

    input: float | None
    output: float | None
    cached: float | None
    written: float | None
    written_1h: float | None
    requests: float | None


def _model(provider: Provider, info: ModelInfo, on: date, source: str) -> Model | None:
    """The entry as a model, or None where no price for text in and text out can be had from it."""
    prices = _price_in_force(info, on)
    rates = _rates(prices)
    embeds = "embed" in info.id.lower()
    if rates.input and rates.output:
        price = Price(
            usd_per_1m_input=rates.input,
            usd_per_1m_output=rates.output,
            usd_per_1m_cached_input=rates.cached,
            usd_per_1m_cache_write=rates.written,
            usd_per_1m_cache_write_1h=rates.written_1h,
            **_long(prices),
            usd_per_call=(rates.requests or 0.0) / 1000,
            source=source,
        )
    elif rates.input and rates.output is None and embeds:
        price = Price(usd_per_1m_input=rates.input, usd_per_1m_output=0.0, source=source)
    elif _said_to_be_free(info, prices):
        price = Price(source="free")
    else:
        return None
    return Model(
        name=info.id,
        provider=provider.id,
        price=price,
        context_window=info.context_window or None,
        capabilities=frozenset({"embeddings"} if embeds else ()),
    )


def _price_in_force(info: ModelInfo, on: date) -> ModelPrice:
    """The last price that has started by ``on``; of prices by the hour the dearest, not to estimate low."""
    if isinstance(info.prices, ModelPrice):
        return info.prices
    if not info.prices:
        return ModelPrice()
    base, by_hour = info.prices[0].prices, []
    noon = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
    for conditional in info.prices:
        if isinstance(conditional.constraint, TimeOfDateConstraint):
            by_hour.append(conditional.prices)
        elif conditional.constraint is None or conditional.constraint.active(noon):
            base, by_hour = conditional.prices, []
    return max((base, *by_hour), key=lambda p: (_rates(p).output or 0.0, _rates(p).input or 0.0))


def _rates(prices: ModelPrice) -> _Rates:
    return _Rates(
        input=_base_tier(prices.input_mtok),
        output=_base_tier(prices.output_mtok),
        cached=_base_tier(prices.cache_read_mtok),
        written=_base_tier(prices.cache_write_mtok),
        written_1h=_base_tier(prices.cache_write_1h_mtok),
        requests=_base_tier(prices.requests_kcount),
    )


def _base_tier(price: Decimal | TieredPrices | None) -> float | None:
    if price is None:
        return None
    return float(price.base if isinstance(price, TieredPrices) else price)


def _long(prices: ModelPrice) -> dict[str, Any]:
    """The prices of long prompts, where they are others."""
    tiered = [p for p in (prices.input_mtok, prices.output_mtok) if isinstance(p, TieredPrices) and p.tiers]
    if not tiered:
        return {}
    return {
        "long_from_tokens": min(tier.start for p in tiered for tier in p.tiers),
        "usd_per_1m_input_long": _first_tier(prices.input_mtok),
        "usd_per_1m_output_long": _first_tier(prices.output_mtok),
    }


def _first_tier(price: Decimal | TieredPrices | None) -> float | None:
    return (
        float(min(price.tiers, key=lambda tier: tier.start).price)
        if isinstance(price, TieredPrices) and price.tiers
        else None
    )


def _said_to_be_free(info: ModelInfo, prices: ModelPrice) -> bool:
    """Whether the library says in words that the model costs nothing: no price at all is not such a word."""
    if any(value is not None and _base_tier(value) != 0 for value in vars(prices).values()):
        return False
    named = any(_FREE_BY_NAME.search(text or "") for text in (info.id, info.name))
    return named or any(_FREE_BY_WORDS.search(text or "") for text in (info.price_comments, info.description))


def _newest_change(providers: list[Provider], on: date) -> str:
    """The day of the newest price change in force: it dates the figures, whenever they are read."""
    starts = [
        conditional.constraint.start_date
        for _, info in _entries(providers)
        if not isinstance(info.prices, ModelPrice)
        for conditional in info.prices
        if isinstance(conditional.constraint, StartDateConstraint) and conditional.constraint.start_date <= on
    ]
    return str(max(starts)) if starts else "undated"
