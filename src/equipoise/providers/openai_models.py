"""What OpenAI's own models refuse, by the families that their names tell. Of other models nothing is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from equipoise.wire import Body

# Those that answer at once refuse to be told how much to think; those that think refuse to be told how to sample.
_PLAIN = re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt|gpt-5-chat)")
_THINKS = re.compile(r"(ft:)?(o[1-9]|gpt-[5-9]|codex)")
# Those that think only where they are asked to.
_THINKS_IF_ASKED = re.compile(r"gpt-5\.[1-4](?!\d|-pro|-codex|-chat)")
# In chat completions these call no functions while they think; the later ones think unless they are told not to.
_NO_CALLS = re.compile(r"gpt-(5\.[4-9]|[6-9])")
_NO_CALLS_UNASKED = re.compile(r"gpt-(5\.[6-9]|[6-9])")
# They are asked by Responses alone; those of the second for calls of functions, for which they would have to leave
# thinking in chat, and cannot.
_RESPONSES_ONLY = re.compile(
    r"(ft:)?((o\d|gpt-\d)\S*-(pro|codex|deep-research|cyber|rosalind|law)|codex|computer-use|gpt-(daybreak|rosalind))"
)
_CALLS_BY_RESPONSES = re.compile(r"(ft:)?gpt-(6-astra|6\.[1-9]|[7-9])")
# From the least to the most, and which of them each family knows.
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_KNOWN_EFFORTS = tuple(
    (re.compile(rf"(ft:)?{family}"), frozenset(words.split()))
    for family, words in (
        (r"o\d", "low medium high"),
        (r"gpt-5(?!\.)", "minimal low medium high"),
        (r"gpt-5\.1", "none low medium high"),
        (r"gpt-5\.[2-5]", "none low medium high xhigh"),
        (r"gpt-(5\.[6-9]|6-(sol|luna))", "none low medium high xhigh max"),
        (r"gpt-(6|[7-9])", "low medium high xhigh max"),
        (r"\S*gpt-oss", "low medium high"),  # wherever it is hosted
    )
)
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias")
_SEALED = "reasoning.encrypted_content"
_IN_STRICT = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "title",
        "description",
    }
)
_HOLDERS = frozenset({"$defs", "definitions"})
_MOST_LEVELS = 10


def fit(body: Body, *names: str) -> None:
    """Leave out of a chat or Responses request, in place, hints that would cost the whole of it.

    Args:
        names: of the model, the vendor's own first; Azure's deployments are called anything.
    """
    for name in names:
        if _PLAIN.match(name):
            return _unthinking(body)
        if _THINKS.match(name):
            return _thinking(body, name)
    return None


def needs_responses(body: Mapping[str, Any], *names: str) -> bool:
    """Whether a request for a model of these names can be asked of it in no other format.

    What stops an answer has no place there; that the model does not know it either, it is to say itself.
    """
    if body.get("stop") or body.get("stop_sequences"):
        return False
    return any(_RESPONSES_ONLY.match(n) or (body.get("tools") and _CALLS_BY_RESPONSES.match(n)) for n in names)


def _unthinking(body: Body) -> None:
    body.pop("reasoning_effort", None)
    body.pop("reasoning", None)
    include = body.get("include")
    if isinstance(include, list) and _SEALED in include:
        body["include"] = [field for field in include if field != _SEALED]


def _known_effort(effort: Any, name: str, *, chat: bool) -> Any:
    """The word itself where the model knows it, else the next that it knows: upwards, or else the most.

    Of models that have more to them than their family, nothing is known. In chat, no model takes ``max``.
    """
    if not isinstance(effort, str) or effort not in _EFFORTS or _RESPONSES_ONLY.match(name):
        return effort
    known = next((words for family, words in _KNOWN_EFFORTS if family.match(name)), frozenset[str]())
    known -= {"max"} if chat else set()
    if not known or effort in known:
        return effort
    more = [word for word in _EFFORTS[_EFFORTS.index(effort) :] if word in known]
    return more[0] if more else [word for word in _EFFORTS if word in known][-1]


def fit_effort(body: Body, name: str) -> Any:
    """How much the model is to think, in place in a word that it knows; what it comes to."""
    effort = body.get("reasoning_effort")
    if effort:
        effort = body["reasoning_effort"] = _known_effort(effort, name, chat=True)
    if "reasoning" in body:
        reasoning = body["reasoning"]
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
        if effort:
            effort = _known_effort(effort, name, chat=False)
            body["reasoning"] = {**reasoning, "effort": effort}
    return effort


def _thinking(body: Body, name: str) -> None:
    effort = fit_effort(body, name)
    if body.get("tools") and "messages" in body and (effort or _NO_CALLS_UNASKED.match(name)) and _NO_CALLS.match(name):
        effort = body["reasoning_effort"] = "none"
    if effort == "none" or (not effort and _THINKS_IF_ASKED.match(name)):
        return
    for field in _SAMPLING:
        body.pop(field, None)


def hold_to_schema(body: Body) -> None:
    """Ask in place for answers and calls that are sure to have their schemas, where OpenAI can promise that.

    Anthropic can promise it of more, and OpenAI would refuse the whole request over a strict tool of which it cannot.
    """
    if "tools" in body:
        body["tools"] = [_held(tool) for tool in body["tools"]]
    for field, inside in (("response_format", "json_schema"), ("text", "format")):
        wish = body.get(field)
        inner = wish.get(inside) if isinstance(wish, dict) else None
        if not isinstance(wish, dict) or not isinstance(inner, dict) or "strict" in inner:
            continue
        schema = inner.get("schema")
        if isinstance(schema, dict) and schema.get("type") == "object" and _is_strict(schema):
            body[field] = {**wish, inside: {**inner, "strict": True}}


def _held(tool: Body) -> Body:
    """A tool as chat or Responses have it, strict only where OpenAI can be."""
    function = tool.get("function")
    if isinstance(function, dict):
        return {**tool, "function": _held(function)}
    if tool.get("strict") is not True or _is_strict(tool.get("parameters")):
        return tool
    return {**tool, "strict": False}


def _is_strict(schema: Any, level: int = 0) -> bool:
    """Whether all objects are closed and all their properties required, and nothing else than OpenAI knows is said."""
    if not isinstance(schema, dict) or level > _MOST_LEVELS:
        return False
    if isinstance(schema.get("$ref"), str):
        return set(schema) == {"$ref"}
    if not _IN_STRICT.union(_HOLDERS).issuperset(schema) or schema.keys().isdisjoint({"type", "anyOf", "enum"}):
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or "properties" in schema:
        required = schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        if not isinstance(required, list) or set(map(str, required)) != properties.keys():
            return False
    return all(_is_strict(inner, level + 1) for inner in _inner(schema))


def _inner(schema: Body) -> list[Any]:
    """The schemas in a schema; what should be one and is not stands for itself."""
    holders = [schema[key] for key in ("properties", *_HOLDERS) if key in schema]
    held = [list(holder.values()) if isinstance(holder, dict) else [holder] for holder in holders]
    options = schema.get("anyOf", [])
    single = [schema["items"]] if "items" in schema else []
    return [*chain.from_iterable(held), *(options if isinstance(options, list) else [options]), *single]
