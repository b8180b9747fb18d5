"""What a caller says about a request beside its body: the ``x-equipoise-*`` headers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from equipoise.gateway.problems import Problem
from equipoise.types import Urgency

_PREFIX = "x-equipoise-"
_MOST_CHARACTERS = 256
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Steering(NamedTuple):
    """Limits and wishes of one request. None: nothing was said."""

    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    min_quality: float | None = None
    region: str | None = None
    user: str | None = None
    session: str | None = None
    urgency: Urgency | None = None
    timeout_s: float | None = None
    cache: bool = True


_WORD: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": _MOST_CHARACTERS}
_AMOUNT: dict[str, Any] = {"type": "number", "minimum": 0}
_SWITCH: dict[str, Any] = {"enum": ["on", "off"]}
_TIME: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}
# What each header means, and what it may be, as JSON Schema.
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    _PREFIX + "max-cost-usd": ("refuse models whose expected cost is higher", _AMOUNT),
    _PREFIX + "max-latency-s": ("refuse models whose expected latency is longer", _AMOUNT),
    _PREFIX + "min-quality": ("refuse models that are expected to be worse", {**_AMOUNT, "maximum": 1}),
    _PREFIX + "region": ("only deployments in this region", _WORD),
    _PREFIX + "user": ("who asks; nothing depends on it yet", _WORD),
    _PREFIX + "session": ("the conversation that this belongs to", _WORD),
    _PREFIX + "urgency": ("how urgent it is, noted in the decision", {"enum": list(get_args(Urgency))}),
    _PREFIX + "timeout-s": ("give up after so long, if that is sooner than the gateway would", _TIME),
    _PREFIX + "cache": ("off: neither answer from the cache nor keep the answer", _SWITCH),
}
_NONE = Steering()
_NAMES = {_PREFIX + name.replace("_", "-"): name for name in Steering._fields}


def steering_of(headers: Mapping[str, str]) -> Steering:
    """What the headers say.

    Raises:
        Problem: a header is not known, or its value is not what it should be.
    """
    said: dict[str, str] = {}
    for header, value in headers.items():
        if len(header) > len(_PREFIX) and header[:2] in ("x-", "X-"):
            name = header.lower()
            if name.startswith(_PREFIX):
                if name in said:
                    raise Problem(400, "bad_header", f"{name} is given twice; keep one of them", param=name)
                said[name] = value
    if not said:
        return _NONE
    found: dict[str, Any] = {}
    for header, value in said.items():
        if header not in _NAMES:
            known = ", ".join(_NAMES)
            raise Problem(400, "bad_header", f"unknown header {header}; known: {known}", param=header)
        found[_NAMES[header]] = _value(header, value.strip(), HEADERS[header][1])
    return Steering(**found)


def _value(header: str, value: str, schema: dict[str, Any]) -> str | float | bool:
    if "enum" in schema:
        value = value.lower()
        if value not in schema["enum"]:
            said = f"{header} is '{value[:40]}'; give one of {', '.join(schema['enum'])}"
            raise Problem(400, "bad_header", said, param=header)
        return value == "on" if schema is _SWITCH else value
    if schema["type"] == "number":
        return _number(header, value, schema)
    if not 0 < len(value) <= _MOST_CHARACTERS or not value.isprintable():
        said = f"{header} should be 1 to {_MOST_CHARACTERS} printable characters"
        raise Problem(400, "bad_header", said, param=header)
    return value


def _number(header: str, value: str, schema: dict[str, Any]) -> float:
    number = float(value) if _NUMBER.fullmatch(value) else math.nan
    bounded, above = "maximum" in schema, "exclusiveMinimum" in schema
    if not 0.0 <= number <= schema.get("maximum", math.inf) or number == math.inf or (above and number == 0.0):
        span = "from 0 to 1" if bounded else "above 0" if above else "from 0 up"
        raise Problem(400, "bad_header", f"{header} is '{value[:40]}'; give a number {span}", param=header)
    return number
