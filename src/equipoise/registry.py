"""Finds routers and policies by name, and builds them from a specification.

A router is one file in ``equipoise.routers``; a policy one file in ``equipoise.policy``. Third parties
register classes under the entry-point groups ``equipoise.routers`` and ``equipoise.policies``. A file that
is called as its class is named is the only one imported when that name is asked for.

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
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from equipoise.contracts import Policy, Router
from equipoise.errors import ConfigError, UnknownName

Spec = str | Mapping[str, Any]

# Where nobody says otherwise: what did best on held-out prompts of the public tables.
DEFAULT_ROUTER: Spec = "stacked"
DEFAULT_VOTES_ROUTER: Spec = "factorization"


class _Kind(NamedTuple):
    """What can be registered: its base class, the package of our own and the entry points of others."""

    word: str
    base: type[Any]
    package: str
    group: str

    def every(self) -> Mapping[str, type[Any]]:
        """All of the kind, by name."""
        return routers() if self.word == "router" else policies()


_ROUTER = _Kind("router", Router, "equipoise.routers", "equipoise.routers")
_POLICY = _Kind("policy", Policy, "equipoise.policy", "equipoise.policies")
# What can stand in a specification.
_NAME = re.compile(r"[A-Za-z][\w.-]*")
# A comma that is not inside the brackets of a list.
_COMMA = re.compile(r",(?![^\[\]]*\])")


@cache
def routers() -> Mapping[str, type[Router]]:
    """Every registered router class, by name."""
    return _discover(_ROUTER)


@cache
def policies() -> Mapping[str, type[Policy]]:
    """Every registered policy class, by name."""
    return _discover(_POLICY)


def make_router(spec: Spec) -> Router:
    """A new, unfitted router from its specification.

    Raises:
        UnknownName: the name is not registered.
        ConfigError: a parameter is unknown or of the wrong type.
    """
    built: Router = _build(spec, _ROUTER)
    return built


def make_policy(spec: Spec) -> Policy:
    """A new policy from its specification. Raises as ``make_router``."""
    built: Policy = _build(spec, _POLICY)
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


def _class_of(name: str, kind: _Kind) -> type[Any]:
    """The class of one name. Routers can be heavy, so those that were not asked for are not imported."""
    if name.isidentifier() and find_spec(f"{kind.package}.{name}") is not None:
        own = _own_classes(name, kind)
        if name in own:
            return own[name]
    known = kind.every()
    if name not in known:
        raise UnknownName(kind.word, name, known)
    return known[name]


def _own_classes(file: str, kind: _Kind) -> dict[str, type[Any]]:
    """The registered classes of one of our own files, by name."""
    module = importlib.import_module(f"{kind.package}.{file}")
    classes: list[Any] = [cls for cls in vars(module).values() if inspect.isclass(cls)]
    own = [cls for cls in classes if cls.__module__ == module.__name__ and issubclass(cls, kind.base)]
    return {cls.name: cls for cls in own if not inspect.isabstract(cls)}


def _discover(kind: _Kind) -> Mapping[str, type[Any]]:
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(importlib.import_module(kind.package).__path__):
        found |= _own_classes(info.name, kind)
    for point in entry_points(group=kind.group):
        extra = _loaded(point, kind)
        if found.setdefault(extra.name, extra) is not extra:
            where, said = _where(point), f"is called '{extra.name}', as another {kind.word} is"
            raise ConfigError(f"{where} {said}; give it another name, or uninstall its package")
    return MappingProxyType(dict(sorted(found.items())))


def _where(point: EntryPoint) -> str:
    return f"entry point '{point.name}' of {point.group}"


def _loaded(point: EntryPoint, kind: _Kind) -> Any:
    try:
        cls = point.load()
    except Exception as error:  # noqa: BLE001  (importing it runs anyone's code)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{_where(point)} cannot be loaded ({said}); mend or uninstall its package") from error
    if wrong := _wrong(cls, kind.base):
        raise ConfigError(f"{_where(point)} {wrong}, or uninstall its package")
    return cls


def _wrong(cls: Any, base: type[Any]) -> str:
    """What keeps a class from being registered, and how to mend it; nothing if nothing does."""
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        return f"is not a {base.__name__}; name a class that is"
    if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"lacks {', '.join(lacking)}; write what its contract asks for"
    if not dataclasses.is_dataclass(cls):
        return "is not a dataclass; write @dataclass(kw_only=True) above it"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "has no name that can be asked for; give it one of letters, digits, _ and -"
    needs: Any = getattr(cls, "needs", frozenset())
    if not isinstance(needs, set | frozenset):
        return f"has needs of {needs!r}; write a set, such as frozenset({{'embedding'}})"
    try:
        get_type_hints(cls)
    except (NameError, TypeError) as error:
        return f"is no configuration: the type of a parameter cannot be read ({error}); import it in its module"
    return ""


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
    if not isinstance(spec, Mapping):
        said = f"a {kind} is named, such as NAME:parameter=value or a mapping with 'type', not given as {spec!r:.80}"
        raise ConfigError(f"{said}; one of your own is registered first: see docs/adding-a-router.md", place=(kind,))
    given = dict(spec)
    if "type" not in given:
        raise ConfigError(f"{kind} specification {given!r} has no 'type'; write type: NAME", place=(kind,))
    return str(given.pop("type")), given


def _value(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{where} is not a value; write a number, a word, true, false or [a, b]") from None


def _build(spec: Spec, of: _Kind) -> Any:
    kind = of.word
    name, given = _parse(spec, kind)
    cls = _class_of(name, of)
    allowed, bounded = parameters(cls), get_type_hints(cls, include_extras=True)
    for key, value in given.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes: {', '.join(allowed) or 'none'}"
            raise ConfigError(f"{kind} '{name}' has no parameter '{key}'; {hint}", place=(kind, str(key)))
        try:
            given[key] = _checked(bounded[key], value)
        except ValueError as error:
            said = f"{kind} '{name}', parameter '{key}': {error}, not {value!r}"
            raise ConfigError(said, place=(kind, key)) from None
    for key in allowed:
        if key not in given and _required(cls, key):
            said = f"{kind} '{name}' needs the parameter '{key}'; write {name}:{key}=..."
            raise ConfigError(said, place=(kind,))
    return cls(**given)


def _required(cls: type[Any], name: str) -> bool:
    own = cls.__dataclass_fields__[name]
    return own.default is dataclasses.MISSING and own.default_factory is dataclasses.MISSING


def _checked(annotation: Any, value: Any) -> Any:
    try:
        checked = TypeAdapter(annotation, config=ConfigDict(strict=False)).validate_python(value)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].lower()) from None
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ValueError("input should be a finite number")
    return checked
