"""JSON schemas cut down to the part that Gemini takes."""

from __future__ import annotations

from typing import Any

from equipoise.wire.format import Body
from equipoise.wire.pivot import newer_ref, with_ref_apart

MOST_LEVELS = 64
_PLAIN = (
    "$id",
    "$ref",
    "$anchor",
    "type",
    "format",
    "title",
    "description",
    "enum",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "required",
)
_MAPS = ("properties", "$defs")
_LISTS = ("prefixItems", "anyOf", "oneOf")
_SINGLE = ("items", "additionalProperties")


def cleaned(schema: Any, level: int = 0) -> Any:
    """The schema without keywords that Gemini refuses; ``const`` and ``allOf`` as what it knows."""
    if not isinstance(schema, dict):
        return schema
    if level > MOST_LEVELS:
        return {}
    schema = _flattened(schema)
    made: Body = {k: schema[k] for k in _PLAIN if k in schema} | newer_ref(schema)
    if "const" in schema:
        made["enum"] = [schema["const"]]
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            made[key] = {name: cleaned(inner, level + 1) for name, inner in schema[key].items()}
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            made[key] = [cleaned(inner, level + 1) for inner in schema[key]]
    for key in _SINGLE:
        if key in schema:
            made[key] = cleaned(schema[key], level + 1)
    return with_ref_apart(made)


def _flattened(schema: Body) -> Body:
    """``allOf`` merged into the schema that holds it; older drafts' ``definitions`` under their newer name."""
    if isinstance(schema.get("definitions"), dict) and "$defs" not in schema:
        schema = {**schema, "$defs": schema["definitions"]}
    every = schema.get("allOf")
    if not isinstance(every, list):
        return schema
    merged: Body = {}
    for part in [*(_flattened(part) for part in every if isinstance(part, dict)), schema]:
        properties = {**_mapping(merged.get("properties")), **_mapping(part.get("properties"))}
        required = [*_listing(merged.get("required")), *_listing(part.get("required"))]
        merged |= part
        merged |= {k: v for k, v in (("properties", properties), ("required", required)) if v}
    return merged


def _mapping(value: Any) -> Body:
    return value if isinstance(value, dict) else {}


def _listing(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
