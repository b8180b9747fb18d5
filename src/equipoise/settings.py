"""YAML files of settings, checked against what each may hold; every fault with its line and the key that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from equipoise.documents import Document, read_document
from equipoise.errors import ConfigError


class Strict(BaseModel):
    """Settings that hold no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=Strict)


def read_settings(
    path: Path, kind: type[Kind], *, missing: str, other: str, texts: bool = False
) -> tuple[Kind, Document]:
    """Read and check a file of settings.

    Args:
        missing: what to do where there is no such file.
        other: what to do where it holds something else.
        texts: as of ``read_document``.

    Raises:
        ConfigError: naming file, line, what is wrong and, for a misspelled key, the near one.
    """
    try:
        document = read_document(path, texts=texts)
    except OSError as error:
        hint = missing if isinstance(error, FileNotFoundError) else "name a file to read"
        raise ConfigError(f"{path}: {error.strerror}; {hint}") from None
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise ConfigError(f"{path}:1: not a mapping of settings; {other}")
    try:
        # As JSON, lists are lists, and strictly: no number is taken from a string, nor from true.
        return kind.model_validate_json(to_json(value, inf_nan_mode="constants"), strict=True), document
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        # A misspelt key also shows as a missing one: the spelling is what helps.
        first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        where = [part for part in first["loc"] if part != "[key]"]
        place = f"{path}:{document.line(*where)}: {'.'.join(map(str, where))}"
        raise ConfigError(f"{place}: {_said(first, kind)}") from None


_SHAPES = {
    **dict.fromkeys(("model_type", "dict_type"), "should be a mapping of settings"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "should be a list"),
    "bool_type": "should be true or false",
    "int_type": "should be a whole number, without quotation marks",
    "float_type": "should be a number, without quotation marks",
    "string_type": "should be text; put it in quotation marks if it is",
}


def _said(problem: Mapping[str, Any], kind: type[Strict]) -> str:
    if problem["type"] in _SHAPES:
        return _SHAPES[problem["type"]]
    if problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] != "extra_forbidden":
        return str(problem["msg"]).lower()
    known = _keys_at(kind, problem["loc"][:-1])
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
    return "unknown key; " + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}")


def _keys_at(kind: type[Strict], where: Sequence[int | str]) -> list[str]:
    """The keys allowed at a place."""
    named = False
    for part in where:
        if isinstance(part, int) or named:
            named = False
        else:
            holds = kind.model_fields[part].annotation
            kind = next(k for k in (holds, *get_args(holds)) if isinstance(k, type) and issubclass(k, Strict))
            named = get_origin(holds) is dict  # what follows is the name of a route or tenant
    return list(kind.model_fields)
