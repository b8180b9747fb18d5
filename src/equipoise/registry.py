"""Finds routers and policies by name, and builds them from a specification.

A router is one file in ``equipoise.routers``; a policy one file in ``equipoise.policy``. Third parties
register classes under the entry-point groups ``equipoise.routers`` and ``equipoise.policies``.

A specification is ``knn``, ``knn:k=50,shrinkage=4`` or ``{"type": "knn", "k": 50}``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from equipoise.contracts import Policy, Router
from equipoise.errors import ConfigError, UnknownName

Spec = str | Mapping[str, Any]
# A comma that is not inside the brackets of a list.
_COMMA = re.compile(r",(?![^\[\]]*\])")


@cache
def routers() -> Mapping[str, type[Router]]:
    """Every registered router class, by name."""
    return _discover("equipoise.routers", Router, "equipoise.routers")


@cache
def policies() -> Mapping[str, type[Policy]]:
    """Every registered policy class, by name."""
    return _discover("equipoise.policy", Policy, "equipoise.policies")


def make_router(spec: Spec) -> Router:
    """A new, unfitted router from its specification.

    Raises:
        UnknownName: the name is not registered.
        ConfigError: a parameter is unknown or of the wrong type.
    """
    built: Router = _build(spec, routers(), "router")
    return built


def make_policy(spec: Spec) -> Policy:
    """A new policy from its specification. Raises as ``make_router``."""
    built: Policy = _build(spec, policies(), "policy")
    return built


def spec_of(thing: Router | Policy) -> dict[str, Any]:
    """The specification that builds an equal, unfitted object: its name and non-default parameters."""
    fields = dataclasses.fields(thing)  # type: ignore[arg-type]
    changed = {f.name: getattr(thing, f.name) for f in fields if f.init and getattr(thing, f.name) != f.default}
    return {"type": thing.name, **changed}


def parameters(cls: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Parameter name to (type, default) of a registered class: its configuration schema.

    A type such as ``Annotated[int, Ge(1)]`` also says which values are refused.
    """
    hints = get_type_hints(cls)
    return {f.name: (hints[f.name], f.default) for f in dataclasses.fields(cls) if f.init}


def split_specs(text: str, known: Mapping[str, Any]) -> list[str]:
    """Split ``knn:k=5,shrinkage=2,linear`` at the commas before a registered name."""
    specs: list[str] = []
    for part in (p.strip() for p in _COMMA.split(text) if p.strip()):
        starts_new = not specs or "=" not in part or part.split(":")[0] in known
        if starts_new:
            specs.append(part)
        else:
            specs[-1] += "," + part
    return specs


def _discover(package: str, base: type[Any], group: str) -> Mapping[str, type[Any]]:
    found: dict[str, Any] = {}
    module = importlib.import_module(package)
    for info in pkgutil.iter_modules(module.__path__):
        loaded = importlib.import_module(f"{package}.{info.name}")
        for _, cls in inspect.getmembers(loaded, inspect.isclass):
            named: Any = cls
            if issubclass(cls, base) and cls.__module__ == loaded.__name__ and not inspect.isabstract(cls):
                found[named.name] = cls
    for point in entry_points(group=group):
        extra = _loaded(point, base)
        found.setdefault(extra.name, extra)
    return MappingProxyType(dict(sorted(found.items())))


def _loaded(point: EntryPoint, base: type[Any]) -> Any:
    where = f"entry point '{point.name}' of {point.group}"
    try:
        cls = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{where} cannot be loaded ({error}); mend or uninstall its package") from None
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise ConfigError(f"{where} is not a {base.__name__}; mend or uninstall its package")
    return cls


def _parse(spec: Spec, kind: str) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        name, _, rest = spec.partition(":")
        given: dict[str, Any] = {}
        for part in filter(None, map(str.strip, _COMMA.split(rest))):
            key, equals, value = (p.strip() for p in part.partition("="))
            if not equals:
                raise ConfigError(f"{kind} specification '{spec}': '{part}' is not of the form parameter=value")
            if key in given:
                raise ConfigError(f"{kind} specification '{spec}' gives '{key}' twice; keep one")
            given[key] = _value(value, f"{kind} specification '{spec}': '{part}'")
        return name.strip(), given
    given = dict(spec)
    if "type" not in given:
        raise ConfigError(f"{kind} specification {given!r} has no 'type'; write type: NAME")
    return str(given.pop("type")), given


def _value(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{where} is not a value; write a number, a word, true, false or [a, b]") from None


def _build(spec: Spec, known: Mapping[str, type[Any]], kind: str) -> Any:
    name, given = _parse(spec, kind)
    if name not in known:
        raise UnknownName(kind, name, known)
    cls = known[name]
    allowed, bounded = parameters(cls), get_type_hints(cls, include_extras=True)
    for key, value in given.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes: {', '.join(allowed) or 'none'}"
            raise ConfigError(f"{kind} '{name}' has no parameter '{key}'; {hint}")
        given[key] = _checked(f"{kind} '{name}', parameter '{key}'", bounded[key], value)
    for key in allowed:
        if key not in given and _required(cls, key):
            raise ConfigError(f"{kind} '{name}' needs the parameter '{key}'; write {name}:{key}=...")
    return cls(**given)


def _required(cls: type[Any], name: str) -> bool:
    own = cls.__dataclass_fields__[name]
    return own.default is dataclasses.MISSING and own.default_factory is dataclasses.MISSING


def _checked(where: str, annotation: Any, value: Any) -> Any:
    try:
        checked = TypeAdapter(annotation, config=ConfigDict(strict=False)).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{where}: {error.errors()[0]['msg'].lower()}, not {value!r}") from None
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ConfigError(f"{where}: input should be a finite number, not {value!r}")
    return checked
