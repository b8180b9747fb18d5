"""Small parts of the pivot that every format makes and reads in the same way."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import orjson

from equipoise.types import WireFormat
from equipoise.wire.checks import checked_message
from equipoise.wire.errors import BadAnswer, Untranslatable
from equipoise.wire.format import NATIVE, Body
from equipoise.wire.media import split_data_url
from equipoise.wire.reading import JSON_FORMS, dumps, maybe_list, maybe_object, objects, text_of, wrong

# The signature of a thinking block that stands for the reasoning of a model that signs none.
UNSIGNED = "equipoise:unsigned"
EMPTY_SCHEMA: Body = {"type": "object", "properties": {}}
_FAILED = "The tool failed:"
_JSON_ONLY = "Answer with one JSON object and nothing else."


def native(holder: Body, name: WireFormat) -> Body:
    """What only that format knows of this body, message, part, tool or choice."""
    every = holder.get(NATIVE)
    own = every.get(name) if isinstance(every, dict) else None
    return own if isinstance(own, dict) else {}


def with_native(holder: Body, name: WireFormat, extras: Body) -> Body:
    """The holder with what only that format knows; itself where there is nothing."""
    return {**holder, NATIVE: {name: extras}} if extras else holder


def vendors_own(thing: Body, *, param: str = "tools") -> Untranslatable:
    """The error for a tool or a part of a message that only its vendor knows; most such tools run there."""
    every = thing.get(NATIVE)
    holders = [h for h in every.values() if isinstance(h, dict)] if isinstance(every, dict) else []
    wholes = [h[key] for h in holders for key in ("tool", "block", "part") if isinstance(h.get(key), dict)]
    own = wholes[0] if wholes else thing
    kind = own.get("type") or ", ".join(own)
    return Untranslatable(f"'{kind}' in the {param} is one vendor's own; ask for a model of that vendor", param=param)


def refuse_what_only_chat_has(chat: Body, *fields: str) -> None:
    """Refuse what other formats have no place for, and ``fields`` besides, rather than leave it out.

    Raises:
        Untranslatable: it is asked for.
    """
    for field in ("functions", "modalities", "web_search_options", "moderation", *fields):
        value = chat.get(field)
        if value not in (None, False, [], ["text"]) and not (field == "n" and value == 1):
            hint = "give 'tools', its new form" if field == "functions" else "ask for another model"
            raise Untranslatable(f"'{field}' has no place in the format of this model; {hint}", param=field)
    choice = chat.get("tool_choice")
    if not isinstance(choice, str | dict | None):
        raise wrong("tool_choice", "a string or an object", choice)
    if isinstance(choice, dict) and choice.get("type", "function") != "function":
        said = f"'tool_choice' of type '{choice['type']}' has no place in the format of this model; name one function"
        raise Untranslatable(said, param="tool_choice")
    for path, message in objects(maybe_list(chat, "messages"), "messages"):
        if message.get("role") == "function" or message.get("function_call"):
            said = f"'{path}' has the old form of a tool call, which this model does not take; give 'tool_calls'"
            raise Untranslatable(said, param=path)
        for where, call in objects(maybe_list(message, "tool_calls"), f"{path}.tool_calls"):
            if call.get("type", "function") != "function":
                raise vendors_own(call, param=where)


def chosen_function(choice: Body) -> str:
    """The function that a choice of tools names."""
    return text_of(maybe_object(choice, "function", "tool_choice."), "name", "tool_choice.function.")


def stops_of(chat: Body) -> list[str]:
    """Where the answer is to stop; empty where it is not said."""
    stop = chat.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise wrong("stop", "a string or a list of strings", stop)
    return stops


def picture_url(part: Body) -> str:
    """Where a picture is: OpenAI has it in an object, others as a text."""
    link = part.get("image_url")
    return text_of(link, "url", "image_url.") if isinstance(link, dict) else text_of(part, "image_url")


def pictures_of(message: Body) -> list[tuple[Body, str]]:
    """The pictures that a model made, each with the ``data:`` URL that holds it, where other gateways have them too."""
    made = message.get("images")
    found = [(p, p.get("image_url")) for p in made if isinstance(p, dict)] if isinstance(made, list) else []
    links = [(p, link.get("url") if isinstance(link, dict) else link) for p, link in found]
    return [(p, url) for p, url in links if isinstance(url, str) and split_data_url(url)]


def called_function(call: Body) -> tuple[str, Any]:
    """The name and the arguments of a tool call."""
    function = maybe_object(call, "function", "messages.tool_calls.")
    return text_of(function, "name", "messages.tool_calls.function."), function.get("arguments")


def name_called(call: Body) -> str:
    """Which function an answer calls.

    Raises:
        BadAnswer: none: it is a tool of another kind, which only chat has, or the server did not say it.
    """
    name = (call.get("function") or {}).get("name")
    if not name:
        raise BadAnswer("the answer calls a tool that is no function with a name")
    return str(name)


def has_failed(result: Body) -> bool:
    """Whether a tool message is of a tool that failed; only Anthropic's clients say so beside the result."""
    return native(result, "messages").get("is_error") is True


def with_failures_said(messages: list[Body]) -> list[Body]:
    """Messages where results of tools that failed say it in words, for models whose format has no field for it."""
    return [_failure_said(m) if m.get("role") == "tool" and has_failed(m) else m for m in messages]


def _failure_said(result: Body) -> Body:
    content = result.get("content")
    if isinstance(content, list):
        return {**result, "content": [{"type": "text", "text": _FAILED}, *content]}
    return {**result, "content": f"{_FAILED} {content}" if content else _FAILED}


def is_foreign(chat: Body, name: WireFormat) -> bool:
    """Whether a chat request did not come from a request of that format."""
    every = chat.get(NATIVE)
    return not isinstance(every, dict) or name not in every


def rest(holder: Body, known: Collection[Any]) -> Body:
    """The fields that are not among the known ones."""
    return {k: v for k, v in holder.items() if k not in known}


def json_wish(chat: Body) -> tuple[Body | None, str]:
    """The schema that the answer is to have, and what to tell a model instead where there is none."""
    wish = chat.get("response_format")
    if not isinstance(wish, dict):
        return None, ""
    inner = wish.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if wish.get("type") == "json_schema" and isinstance(schema, dict):
        return schema, ""
    return None, _JSON_ONLY if wish.get("type") in JSON_FORMS else ""


def merged(turns: Iterable[tuple[str, list[Body]]]) -> list[tuple[str, list[Body]]]:
    """Turns without content left out, and neighbours of one role made one."""
    result: list[tuple[str, list[Body]]] = []
    for role, blocks in turns:
        if blocks and result and result[-1][0] == role:
            result[-1][1].extend(blocks)
        elif blocks:
            result.append((role, list(blocks)))
    return result


def tool_call(call_id: str, name: str, arguments: str) -> Body:
    """A tool call of an assistant message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def arguments_text(value: Any) -> str:
    """The arguments of a call as the JSON text that chat has for them."""
    return dumps(value if value is not None else {}).decode()


def arguments_object(text: Any) -> Body:
    """The arguments of a call as an object, as the others have them; what a model wrote that is none is kept whole."""
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"unparsed_arguments": text}


def newer_ref(schema: Body) -> Body:
    """What a schema refers to, under the name that newer drafts have for definitions; nothing where it does not."""
    ref = schema.get("$ref")
    if not isinstance(ref, str):
        return {}
    old = "#/definitions/"
    return {"$ref": f"#/$defs/{ref.removeprefix(old)}" if ref.startswith(old) else ref}


def with_ref_apart(schema: Body) -> Body:
    """The schema, in which a reference stands alone: vendors refuse what is said beside it, such as what it is for."""
    if "$ref" not in schema or all(key.startswith("$") for key in schema):
        return schema
    return {**rest(schema, {"$ref"}), "anyOf": [{"$ref": schema["$ref"]}]}


def reasoning_of(said: Body) -> str:
    """The reasoning that a message or delta shows; vendors have two names for it."""
    found = said.get("reasoning_content") or said.get("reasoning")
    return found if isinstance(found, str) else ""


def chunk(head: Body, delta: Body, finish: str | None = None) -> Body:
    """A stream chunk with one choice."""
    return {**head, "choices": [{"index": 0, "delta": checked_message(delta), "finish_reason": finish}]}


def goes_before(chunk: Body) -> bool:
    """Whether a chunk comes before the answer, as what Azure found in the prompt does: it does not name it yet."""
    return not chunk.get("id") and not chunk.get("choices")


def chunk_head(answer_id: str, model: str, now: int) -> Body:
    """What all chunks of one answer share."""
    return {"id": answer_id, "object": "chat.completion.chunk", "created": now, "model": model}
