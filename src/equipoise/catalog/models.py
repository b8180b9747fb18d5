"""``Catalog``: named models with their prices and facts. Immutable; every change gives a new catalog."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from equipoise.catalog.fields import checked, with_fields
from equipoise.catalog.pricefile import read_models
from equipoise.errors import ConfigError, UnknownName
from equipoise.types import Model, Tier

LONGEST_NAME = 256


class Resolved(NamedTuple):
    """The entry that another spelling of a model's name stands for, and the provider it names."""

    entry: str
    provider: str


Resolver = Callable[[str], Resolved | None]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Catalog:
    """Models by name. Build one with ``Catalog.of``, ``default_catalog`` or ``notebook_pool``."""

    _models: Mapping[str, Model]
    _base: str
    _resolve: Resolver | None = None
    _changed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, models: Iterable[Model], *, version: str | None = None, resolve: Resolver | None = None) -> Catalog:
        """A catalog of these models, in this order.

        Args:
            models: names must differ.
            version: names a fixed list of models; without it the version is a hash of the models.
            resolve: maps other spellings (dated ids, ``provider/model``) to names in ``models``.
        """
        if version is None:
            return cls({}, "own", resolve).with_models(models)
        return cls(by_name(models), version, resolve)

    @classmethod
    def from_prices_file(cls, path: str | Path) -> Catalog:
        """Read a CSV with columns model, usd_per_1m_input, usd_per_1m_output or usd_per_call.

        Optional columns: the other prices of ``Price`` but for compute time, provider, context_window, source.

        Raises:
            TableError: one line that names the file and the line number.
        """
        return cls({}, Path(path).name).with_models(read_models(Path(path)))

    # ------------------------------------------------------------ reading

    def get(self, name: str) -> Model:
        """The model of that name; other spellings of a known model keep the name they were asked by.

        Raises:
            UnknownName: with the nearest known name.
        """
        found = self._lookup(name)
        if found is None:
            raise UnknownName("model", name[:LONGEST_NAME], self._suggestions(name[:LONGEST_NAME]))
        return found

    def find(
        self,
        *,
        tier: str | None = None,
        specialization: str | None = None,
        capability: str | None = None,
        provider: str | None = None,
    ) -> list[Model]:
        """Every model that is known to match all the given filters, in catalog order."""
        if tier is not None and tier not in get_args(Tier):
            raise UnknownName("tier", tier, get_args(Tier))
        return [
            m
            for m in self._models.values()
            if (tier is None or m.tier == tier)
            and (specialization is None or specialization in m.specializations)
            and (capability is None or capability in m.capabilities)
            and (provider is None or m.provider == provider)
        ]

    def names(self) -> list[str]:
        """Every name in catalog order; ``get`` also takes other spellings."""
        return list(self._models)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._lookup(name) is not None

    def __len__(self) -> int:
        return len(self._models)

    def __repr__(self) -> str:
        return f"Catalog({len(self)} models, {self.version!r})"

    @property
    def version(self) -> str:
        """Names the figures: their source with its date, and a hash of what was changed since."""
        if not self._changed:
            return self._base
        changed = [_as_json(self._models[name]) for name in sorted(self._changed)]
        return f"{self._base} + {hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:12]}"

    # ------------------------------------------------------------ changing

    def with_models(self, models: Iterable[Model]) -> Catalog:
        """A catalog in which these models are added, or take the place of those of the same name."""
        added = by_name(models)
        return replace(self, _models={**self._models, **added}, _changed=self._changed | added.keys())

    def with_prices(self, prices: Catalog) -> Catalog:
        """A catalog that takes every price from ``prices`` and keeps what else is known of each model."""
        return self.with_models(self._repriced(m) for m in prices._models.values())

    def override(self, name: str, **fields: Any) -> Catalog:
        """A catalog in which fields of one model are replaced: those of ``Model``, and those of ``Price``.

        Raises:
            UnknownName: no such model, or no such field.
            ConfigError: a value that cannot be.
        """
        return self.with_models([with_fields(self.get(name), fields)])

    # ------------------------------------------------------------ inside

    def _lookup(self, name: str) -> Model | None:
        exact = self._models.get(name)
        if exact is not None or self._resolve is None or len(name) > LONGEST_NAME:
            return exact
        resolved = self._resolve(name)
        entry = self._models.get(resolved.entry) if resolved else None
        if entry is None or resolved is None:
            return None
        return replace(entry, name=name, provider=resolved.provider)

    def _repriced(self, priced: Model) -> Model:
        known = self._lookup(priced.name)
        if known is None:
            return priced
        return replace(known, price=priced.price, context_window=priced.context_window or known.context_window)

    def _suggestions(self, name: str) -> list[str]:
        # Well-known models first: among thousands of ids the very nearest is seldom the one that was meant.
        familiar = [m.name for m in self._models.values() if m.tier is not None] or list(self._models)[:50]
        short = (known.removesuffix("-latest") for known in familiar)
        familiar = [known if known in self else full for known, full in zip(short, familiar, strict=True)]
        for cutoff, known in ((0.8, familiar), (0.75, list(self._models))):
            near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
            if near:
                return near
        return familiar


def by_name(models: Iterable[Model]) -> dict[str, Model]:
    """Models by their names, in this order.

    Raises:
        ConfigError: one is no ``Model``, two have one name, or a field holds a value that cannot be.
    """
    named: dict[str, Model] = {}
    for model in models:
        if not isinstance(model, Model):
            raise ConfigError(f"{model!r} is no Model; give Model(name=...)")
        if model.name in named:
            raise ConfigError(f"model '{model.name}' is given twice; keep one of the two")
        named[model.name] = checked(model)
    return named


def _as_json(model: Model) -> dict[str, Any]:
    # Through JSON text, so that tuples, sets and options hash alike wherever they came from.
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(model), sort_keys=True, default=_plain_value))
    return plain


def _plain_value(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
