"""Which values a model's fields may take, and how fields given by hand replace them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_args

from equipoise.errors import ConfigError, UnknownName
from equipoise.types import Deployment, Model, Price, Tier

MOST_USD = 1e9

_PRICE_FIELDS = tuple(f.name for f in dataclasses.fields(Price))
_MAY_BE_UNKNOWN = tuple(f.name for f in dataclasses.fields(Price) if f.default is None)
_MODEL_FIELDS = tuple(f.name for f in dataclasses.fields(Model) if f.name != "name")
_COUNTS = ("context_window", "max_output_tokens", "rate_limit_rpm")
_LISTS: Mapping[str, tuple[type, str]] = MappingProxyType(
    {
        "specializations": (str, "a list of texts"),
        "capabilities": (str, "a list of texts"),
        "deployments": (Deployment, "a list of Deployment"),
    }
)


def with_fields(model: Model, fields: Mapping[str, Any]) -> Model:
    """``model`` with these fields replaced. Price fields are merged into the price it has.

    Raises:
        UnknownName: a field that neither ``Model`` nor ``Price`` has.
        ConfigError: a value that cannot be.
    """
    for name in fields:
        if name not in _MODEL_FIELDS and name not in _PRICE_FIELDS:
            raise UnknownName("model field", name, (*_MODEL_FIELDS, *_PRICE_FIELDS))
    changes = {k: _shaped(model.name, k, v) for k, v in fields.items() if k in _MODEL_FIELDS}
    changed = replace(model, **changes)
    price_fields = {k: v for k, v in fields.items() if k in _PRICE_FIELDS}
    if price_fields:
        changed = replace(changed, price=_merged_price(changed, price_fields))
    return checked(changed)


def checked(model: Model) -> Model:
    """The same model, if every field holds a value that can be.

    Raises:
        ConfigError: one line naming the model, the field and what it takes.
    """
    for what in ("name", "provider"):
        if not isinstance(getattr(model, what), str) or not getattr(model, what):
            raise ConfigError(f"model '{model.name}': {what} is {getattr(model, what)!r}; give a non-empty text")
    if model.tier is not None and model.tier not in get_args(Tier):
        _refuse(model, "tier", model.tier, f"one of {', '.join(get_args(Tier))}")
    for name in _COUNTS:
        value = getattr(model, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            _refuse(model, name, value, "a whole number, one or more")
    if model.latency_s is not None and not _within(model.latency_s, math.inf):
        _refuse(model, "latency_s", model.latency_s, "seconds, zero or more")
    if not _within(model.availability, 1):
        _refuse(model, "availability", model.availability, "a number between 0 and 1")
    for domain, value in model.quality.items():
        if not _within(value, 1):
            _refuse(model, f"quality of {domain}", value, "a number between 0 and 1")
    _check_price(model)
    return model


def _check_price(model: Model) -> None:
    if model.price is None:
        return
    if not isinstance(model.price, Price):
        _refuse(model, "price", model.price, "a Price, or a mapping of its fields")
    for name in _PRICE_FIELDS:
        value = getattr(model.price, name)
        if name == "source" or (value is None and name in _MAY_BE_UNKNOWN):
            continue
        if not _within(value, MOST_USD):
            _refuse(model, name, value, "a number of dollars, zero or more")


def _merged_price(model: Model, fields: Mapping[str, Any]) -> Price:
    source = fields.get("source", "given")
    if model.price is not None:
        # Discounts and surcharges belonged to the old price: without new ones, all tokens cost the same.
        old = _MAY_BE_UNKNOWN if "usd_per_1m_input" in fields else ("usd_per_1m_output_long",)
        dropped = dict.fromkeys(old) if fields.keys() & {"usd_per_1m_input", "usd_per_1m_output"} else {}
        return replace(model.price, **{**dropped, **fields, "source": source})
    token_prices = {"usd_per_1m_input", "usd_per_1m_output"}
    # Half a price would make the other half free without anyone having said so.
    if not token_prices <= fields.keys() and not {"usd_per_call", "usd_per_compute_s"} & fields.keys():
        raise ConfigError(
            f"model '{model.name}' has no price yet; give usd_per_1m_input and usd_per_1m_output, or usd_per_call"
        )
    if len(token_prices & fields.keys()) == 1:
        raise ConfigError(f"model '{model.name}': give usd_per_1m_input and usd_per_1m_output together")
    return Price(**fields)


def _shaped(model: str, name: str, value: Any) -> Any:
    """Lists and mappings, as configuration files give them, in the types that ``Model`` holds."""
    if name in _LISTS:
        kind, takes = _LISTS[name]
        if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(v, kind) for v in value):
            raise ConfigError(f"model '{model}': {name} is {value!r}; give {takes}")
        return frozenset(value) if name == "capabilities" else tuple(value)
    if name == "quality":
        if not isinstance(value, Mapping):
            raise ConfigError(f"model '{model}': quality is {value!r}; give a mapping of domain to number")
        return dict(value)
    if name == "price" and isinstance(value, Mapping):
        for key in value:
            if key not in _PRICE_FIELDS:
                raise UnknownName("price field", str(key), _PRICE_FIELDS)
        return _merged_price(Model(name=model), value)
    return value


def _within(value: Any, most: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= most


def _refuse(model: Model, field: str, value: object, takes: str) -> None:
    raise ConfigError(f"model '{model.name}': {field} is {value!r}; give {takes}")
