"""Schemas that Anthropic takes."""

from __future__ import annotations

from typing import Any

import pytest

from equipoise.wire import FORMATS, Untranslatable
from equipoise.wire.messages.schema import closed


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."},
            {"type": "integer", "description": "How many.\n\n{minimum: 1, maximum: 9}"},
        ),
        (
            {"type": "string", "format": "phone", "maxLength": 5},
            {"type": "string", "description": "{maxLength: 5, format: phone}"},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "array", "items": {"oneOf": [{"const": 1}, {"enum": ["a"]}]}, "minItems": 1},
            {"type": "array", "items": {"anyOf": [{"const": 1}, {"enum": ["a"]}]}, "minItems": 1},
        ),
        (
            {"$schema": "x", "$ref": "#/definitions/A", "definitions": {"A": {"type": "object", "properties": {}}}},
            {
                "$ref": "#/$defs/A",
                "$defs": {"A": {"type": "object", "properties": {}, "additionalProperties": False}},
            },
        ),
        ({"type": "array", "minItems": 3}, {"type": "array", "description": "{minItems: 3}"}),
        # As Pydantic writes a field of another model that has a description, today and before 2.9.
        ({"$ref": "#/$defs/A", "description": "d"}, {"anyOf": [{"$ref": "#/$defs/A"}], "description": "d"}),
        ({"allOf": [{"$ref": "#/$defs/A"}], "title": "t"}, {"anyOf": [{"$ref": "#/$defs/A"}], "title": "t"}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {}}}, {"$ref": "#/$defs/A", "$defs": {"A": {}}}),
    ],
)
def test_objects_are_closed_and_bounds_are_said_in_words(schema: Any, made: Any) -> None:
    assert closed(schema) == made


def test_a_schema_that_passes_already_stays_as_it_is() -> None:
    schema = {
        "type": "object",
        "title": "Answer",
        "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert closed(schema) == schema


@pytest.mark.parametrize("others", [{"additionalProperties": {"type": "integer"}}, {"additionalProperties": True}, {}])
def test_an_object_with_keys_of_any_name_is_for_another_model(others: Any) -> None:
    inner = {"type": "object", **others}
    wish = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"counts": inner}}}}
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "response_format": wish}
    with pytest.raises(Untranslatable, match="keys of any name"):
        FORMATS["messages"].from_chat(chat)


def test_a_schema_without_end_is_cut() -> None:
    schema: Any = {"type": "string"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    made, levels = closed(schema), 0
    while "items" in made:
        made, levels = made["items"], levels + 1
    assert levels < 100


@pytest.mark.parametrize("strict", [True, False, None])
def test_only_strict_tools_have_their_schemas_closed(strict: bool | None) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    function = {"name": "f", "parameters": schema, "strict": strict}
    chat = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": function}],
    }
    [tool] = FORMATS["messages"].from_chat(chat)["tools"]
    assert tool["input_schema"] == (closed(schema) if strict else schema)
