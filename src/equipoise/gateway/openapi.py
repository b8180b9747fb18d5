"""The endpoints as an OpenAPI document. Bodies of the vendors' formats are described as far as routing reads them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from equipoise.gateway.state import Endpoint
from equipoise.gateway.steering import HEADERS
from equipoise.version import __version__

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string", "minLength": 1}
_PARTS: Schema = {"type": "array", "items": {"type": "object"}}
_CONTENT: Schema = {"anyOf": [{"type": "string"}, _PARTS]}
_LIMIT: Schema = {"type": "integer", "minimum": 1}
_STREAM: Schema = {"type": "boolean"}
_MODEL: Schema = {**_TEXT, "description": "a route, such as auto, or a model's own name"}


def _object(required: Sequence[str], properties: Schema, *, more: bool = True) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        **({} if more else {"additionalProperties": False}),
    }


def _turns(required: Sequence[str], roles: Sequence[str], content: Schema) -> Schema:
    return _list(_object(required, {"role": {"enum": list(roles)}, "content": content}))


def _list(item: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": item}


_ROLES = ("system", "developer", "user", "assistant")
# An answer that calls tools may come without content.
_CHAT_TURNS = _turns(["role"], (*_ROLES, "tool"), {"anyOf": [{"type": "string"}, _PARTS, {"type": "null"}]})
# Calls, their results and reasoning are items without a role.
_INPUT: Schema = {"anyOf": [_TEXT, _turns([], _ROLES, _CONTENT)]}
_MESSAGES = _turns(["role", "content"], ("user", "assistant", "system"), _CONTENT)
_TOKENS = _list({"type": "integer", "minimum": 0})
_BODIES: dict[str, Schema] = {
    "/v1/chat/completions": _object(
        ["model", "messages"],
        {"model": _MODEL, "messages": _CHAT_TURNS, "stream": _STREAM, "max_completion_tokens": _LIMIT},
    ),
    "/v1/responses": _object(
        ["model", "input"],
        {
            "model": _MODEL,
            "input": _INPUT,
            "instructions": {"type": "string"},
            "stream": _STREAM,
            "max_output_tokens": _LIMIT,
        },
    ),
    "/v1/messages": _object(
        ["model", "messages", "max_tokens"],
        {
            "model": _MODEL,
            "messages": _MESSAGES,
            "max_tokens": _LIMIT,
            "system": _CONTENT,
            "stream": _STREAM,
        },
    ),
    "/v1/messages/count_tokens": _object(["model", "messages"], {"model": _MODEL, "messages": _MESSAGES}),
    "/v1/embeddings": _object(
        ["model", "input"],
        {
            "model": {**_TEXT, "description": "a model's own name"},
            "input": {"anyOf": [_TEXT, _TOKENS, _list({"anyOf": [_TEXT, _TOKENS]})]},
        },
    ),
    "/v1/route": {
        **_object([], {"model": _MODEL, "messages": _CHAT_TURNS, "input": _INPUT}),
        "anyOf": [{"required": ["messages"]}, {"required": ["input"]}],
    },
    "/v1/feedback": {
        **_object(
            ["decision_id"],
            {
                "decision_id": _TEXT,
                "reward": {"type": "number", "minimum": 0, "maximum": 1},
                "thumb": {"enum": ["up", "down"]},
                "source": _TEXT,
                "comment": {"type": "string", "maxLength": 10000},
            },
            more=False,
        ),
        "oneOf": [{"required": ["reward"]}, {"required": ["thumb"]}],
    },
    "/admin/keys": _object(
        ["name"],
        {
            "name": _TEXT,
            "tenant": _TEXT,
            "scopes": _list({"enum": ["call", "feedback", "read", "admin"]}),
            "expires_days": {"type": "number", "exclusiveMinimum": 0},
        },
        more=False,
    ),
}
_STATUSES = {
    "400": "the request cannot be served as it stands",
    "401": "no valid API key",
    "403": "the API key lacks the scope",
    "404": "nothing has this name",
    "405": "the path does not take this method",
    "408": "the body came too slowly",
    "409": "it cannot be done now",
    "413": "the body is too large",
    "415": "the body is not JSON by its content type",
    "422": "the provider refuses the request",
    "429": "at a limit; see Retry-After",
    "431": "the headers are too large",
    "502": "no provider gave an answer",
    "503": "not now; see Retry-After",
    "504": "no answer in time",
}
_STREAMING = frozenset({"/v1/chat/completions", "/v1/responses", "/v1/messages"})
_PLAIN_TEXT = frozenset({"/metrics"})


def document(endpoints: Sequence[Endpoint], *, keys_required: bool = True) -> Schema:
    """The OpenAPI document of some endpoints. Without ``keys_required`` only administration needs a key."""
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, keys_required)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Equipoise gateway", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _problem()},
        },
    }


def _operation(endpoint: Endpoint, keys_required: bool) -> Schema:
    about = (inspect.getdoc(endpoint.handler) or "").split("\n")[0]
    content: Schema = {"application/json": {"schema": {"type": "object"}}}
    if endpoint.path in _STREAMING:
        content["text/event-stream"] = {"schema": {"description": "server-sent events in the vendor's format"}}
    if endpoint.path in _PLAIN_TEXT:
        content = {"text/plain": {"schema": {"type": "string"}}}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    status = "201" if (endpoint.method, endpoint.path) == ("POST", "/admin/keys") else "200"
    operation: Schema = {
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-z]+', '_', endpoint.path)}".strip("_"),
        "summary": about,
        "parameters": [*_variables(endpoint), *_steering(endpoint)],
        "responses": {
            status: {"description": "done", "content": content},
            **{code: {"description": said, "content": problem} for code, said in _STATUSES.items()},
        },
    }
    if endpoint.path == "/readyz":
        operation["responses"]["503"]["content"] = content
    if endpoint.scope is not None:
        optional = not keys_required and endpoint.scope != "admin"
        operation["security"] = [{"key": []}, {}] if optional else [{"key": []}]
        operation["description"] = f"Needs the scope `{endpoint.scope}`."
    if endpoint.method == "POST" and endpoint.path in _BODIES:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _BODIES[endpoint.path]}},
        }
    return operation


def _variables(endpoint: Endpoint) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _TEXT}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _steering(endpoint: Endpoint) -> list[Schema]:
    if endpoint.scope != "call" or endpoint.method != "POST":
        return []
    return [
        {"name": name, "in": "header", "required": False, "description": about, "schema": schema}
        for name, (about, schema) in HEADERS.items()
    ]


def _problem() -> Schema:
    error = _object(["type", "message", "code"], {"type": _TEXT, "message": _TEXT, "code": {"type": "string"}})
    return _object(["error"], {"error": error})
