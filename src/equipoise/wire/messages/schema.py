"""JSON schemas as Anthropic's structured outputs take them: objects closed, bounds said in words."""

from __future__ import annotations

from typing import Any

from equipoise.wire.errors import Untranslatable
from equipoise.wire.format import Body
from equipoise.wire.pivot import newer_ref, with_ref_apart

MOST_LEVELS = 64
_PLAIN = frozenset({"$ref", "type", "enum", "const", "title", "description", "default", "required", "format"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_MAPS = {"properties": "properties", "$defs": "$defs", "definitions": "$defs"}
_LISTS = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_HANDLED = frozenset({*_MAPS, *_LISTS, "items", "additionalProperties", "$schema", "$id"})


def closed(schema: Any, level: int = 0) -> Any:
    """The schema, of which what is not taken is said in the description.

    Raises:
        Untranslatable: it wants an object with keys that are not known beforehand.
    """
    if not isinstance(schema, dict):
        return schema
    if level > MOST_LEVELS:
        return {}
    made: Body = {k: v for k, v in schema.items() if k in _PLAIN} | newer_ref(schema)
    said = {k: v for k, v in schema.items() if k not in _PLAIN and k not in _HANDLED}
    if made.get("format") is not None and made["format"] not in _FORMATS:
        said["format"] = made.pop("format")
    if said.get("minItems") in (0, 1):
        made["minItems"] = said.pop("minItems")
    made |= _inside(schema, level + 1)
    if schema.get("type") == "object" or "properties" in schema:
        made["additionalProperties"] = _no_others(schema)
    return with_ref_apart(_with_words(made, said))


def _inside(schema: Body, level: int) -> Body:
    """The schemas that a schema holds."""
    made: Body = {"items": closed(schema["items"], level)} if "items" in schema else {}
    for key, name in _MAPS.items():
        if isinstance(schema.get(key), dict):
            made[name] = {k: closed(inner, level) for k, inner in schema[key].items()}
    for key, name in _LISTS.items():
        if isinstance(schema.get(key), list):
            # All of one are any of one, which may be a reference; among all it may not.
            alone = len(schema[key]) == 1 and "anyOf" not in made
            made["anyOf" if alone else name] = [closed(inner, level) for inner in schema[key]]
    return made


def _no_others(schema: Body) -> bool:
    free = "properties" not in schema and schema.keys().isdisjoint(_LISTS)
    others = schema.get("additionalProperties", free)
    if isinstance(others, dict) or (others is True and not schema.get("properties")):
        message = "the schema has an object with keys of any name, which Anthropic does not take; ask for another model"
        raise Untranslatable(message, param="response_format")
    return False


def _with_words(made: Body, said: Body) -> Body:
    if not said:
        return made
    words = "{" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}"
    before = made.get("description")
    return {**made, "description": f"{before}\n\n{words}" if isinstance(before, str) and before else words}
