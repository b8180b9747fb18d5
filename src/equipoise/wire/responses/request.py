"""OpenAI Responses requests to chat requests and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from equipoise.wire.chat import parts_of
from equipoise.wire.effort import effort_of
from equipoise.wire.errors import Untranslatable
from equipoise.wire.format import NATIVE, Body
from equipoise.wire.history import SYSTEM_ROLES, IdRule, settled
from equipoise.wire.media import data_url
from equipoise.wire.names import fit
from equipoise.wire.pivot import (
    chosen_function,
    native,
    refuse_what_only_chat_has,
    rest,
    tool_call,
    vendors_own,
    with_failures_said,
    with_native,
)
from equipoise.wire.reading import maybe_list, maybe_object, maybe_text, objects, text_of, wrong

IDS = IdRule(r"[\x21-\x7e]{1,64}")
_SAME = ("model", "stream", "temperature", "top_p", "parallel_tool_calls", "user", "safety_identifier")
# What OpenAI has under the same name in both of its formats, and nobody else has.
_OPENAIS = ("metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier", "store")
_KNOWN = frozenset({*_SAME, "input", "instructions", "max_output_tokens", "tools", "tool_choice", "text"})
# What needs the vendor's memory of earlier calls, which no other vendor has.
STATEFUL = ("previous_response_id", "conversation", "prompt")
# It stands for what was said before, and its vendor alone can open it.
_SEALED = "compaction"
_LOGPROBS = "message.output_text.logprobs"
_NAME: Any = "responses"
_PART_TEXTS: Mapping[str, str] = {"input_text": "text", "output_text": "text", "text": "text"}


# ---------------------------------------------------------------- to chat


def to_chat(body: Body) -> Body:
    """The chat request that asks for the same.

    Raises:
        Untranslatable: it leans on what the vendor remembers or runs itself.
    """
    _refuse_what_has_no_place(body)
    chat: Body = {k: body[k] for k in _SAME if body.get(k) is not None}
    chat["messages"] = _messages(body)
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        given = objects(maybe_list(body, "tools"), "tools")
        chat["tools"] = [made for path, tool in given for made in _tools_to_chat(tool, path)]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": text_of(choice, "name", "tool_choice.")}}
    if choice is not None:
        chat["tool_choice"] = choice
    wish = _wish_to_chat(answer_form(body))
    if wish is not None:
        chat["response_format"] = wish
    extras = rest(body, _KNOWN)
    if isinstance(body.get("text"), dict) and set(body["text"]) - {"format"}:
        extras["text"] = body["text"]
    return {**chat, NATIVE: {_NAME: extras}}


def _refuse_what_has_no_place(body: Body) -> None:
    for field in STATEFUL:
        if body.get(field) is not None:
            message = f"'{field}' needs the vendor's own memory; send the conversation as 'input'"
            raise Untranslatable(message, param=field)
    if body.get("moderation"):
        raise Untranslatable("'moderation' is for its vendor alone; ask for the vendor's own model", param="moderation")
    if body.get("top_logprobs") or _LOGPROBS in maybe_list(body, "include"):
        raise Untranslatable("log-probabilities of a response have no place in other formats", param="include")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") != "function":
        raise Untranslatable("'tool_choice' names a tool that other formats do not have", param="tool_choice")


def answer_form(body: Body) -> Body:
    """The form in which the answer is wanted."""
    return maybe_object(maybe_object(body, "text"), "format", "text.")


def _wish_to_chat(wish: Body) -> Body | None:
    kind = wish.get("type")
    if kind == "json_schema":
        return {"type": kind, "json_schema": {k: v for k, v in wish.items() if k != "type"}}
    return {"type": kind} if kind == "json_object" else None


def _messages(body: Body) -> list[Body]:
    instructions = maybe_text(body, "instructions")
    messages: list[Body] = [{"role": "system", "content": instructions}] if instructions else []
    given = body.get("input")
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list):
        raise wrong("input", "a text or a list of items", given)
    said: list[tuple[str, Body]] = []
    for path, item in objects(given, "input"):
        if is_answer(item) and kind_of(item) != _SEALED:
            said.append((path, item))
            continue
        if said:
            messages.append(_assistant(said))
            said = []
        messages.append(_given(item, path))
    return [*messages, _assistant(said)] if said else messages


def kind_of(item: Body) -> Any:
    """The type of an item, which messages and references to what the vendor keeps need not say."""
    if item.get("type") is not None:
        return item["type"]
    return "item_reference" if item.keys() <= {"id", "type"} and item.get("id") else "message"


def is_answer(item: Body) -> bool:
    """Whether the model wrote the item, rather than the user or a tool."""
    kind = kind_of(item)
    if kind == "message":
        return item.get("role") == "assistant"
    return isinstance(kind, str) and (kind.endswith("_call") or kind in ("reasoning", _SEALED))


def _given(item: Body, path: str) -> Body:
    kind = kind_of(item)
    if kind == "function_call_output":
        output = item.get("output")
        if isinstance(output, list):
            output = [_part(p, where) for where, p in objects(output, f"{path}.output")]
        call_id = text_of(item, "call_id", f"{path}.")
        message: Body = {"role": "tool", "tool_call_id": call_id, "content": "" if output is None else output}
        return with_native(message, _NAME, rest(item, frozenset({"type", "call_id", "output"})))
    if kind != "message":
        raise Untranslatable(f"an input item of type '{kind}' has no place in other formats", param="input")
    return {"role": text_of(item, "role", f"{path}."), "content": _content(item, path)}


def _assistant(items: list[tuple[str, Body]]) -> Body:
    """One assistant message for all that a model did between two turns of others."""
    parts: list[Body] = []
    calls, reasoning, pictures = [], [], []
    for path, item in items:
        kind = kind_of(item)
        if kind == "message":
            content = _content(item, path)
            parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
        elif kind == "function_call":
            call_id, name = text_of(item, "call_id", f"{path}."), text_of(item, "name", f"{path}.")
            if space := maybe_text(item, "namespace", f"{path}."):
                name = _in_full(space, name)
            calls.append(tool_call(call_id, name, maybe_text(item, "arguments", f"{path}.") or ""))
        elif kind == "reasoning":
            reasoning += summary_of(item)
        elif kind == "image_generation_call" and isinstance(item.get("result"), str):
            url = data_url(f"image/{item.get('output_format') or 'png'}", item["result"])
            pictures.append({"type": "image_url", "image_url": {"url": url}})
    message: Body = {"role": "assistant", "content": parts or None}
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_content"] = "\n".join(reasoning)
    if pictures:
        message["images"] = pictures
    return with_native(message, _NAME, {"items": [item for _, item in items]})


def summary_of(item: Body) -> list[str]:
    """The readable part of a reasoning item."""
    given = [*maybe_list(item, "content"), *maybe_list(item, "summary")]
    return [p["text"] for p in given if isinstance(p, dict) and isinstance(p.get("text"), str)]


def _content(item: Body, path: str) -> str | list[Body]:
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(f"{path}.content", "a string or a list of parts", content)
    return [_part(p, where) for where, p in objects(content, f"{path}.content")]


def _part(part: Body, path: str) -> Body:
    kind = text_of(part, "type", f"{path}.")
    if kind in _PART_TEXTS:
        made = {"type": "text", "text": maybe_text(part, "text", f"{path}.") or ""}
        return with_native(made, _NAME, rest(part, frozenset({"type", "text", "annotations", "logprobs"})))
    if kind == "refusal":
        return {"type": "refusal", "refusal": maybe_text(part, "refusal", f"{path}.") or ""}
    if kind == "input_image" and part.get("image_url"):
        image = {"url": text_of(part, "image_url", f"{path}.")}
        if part.get("detail"):
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "input_file" and (part.get("file_data") or part.get("file_id")):
        return {"type": "file", "file": {k: part[k] for k in ("file_data", "file_id", "filename") if part.get(k)}}
    return with_native({"type": "native"}, _NAME, {"part": part})


def named_in_full(tools: Any) -> Mapping[str, tuple[str, str]]:
    """Functions of a request that are in a namespace, which and their names there, by their names for other vendors."""
    spaces = [t for t in tools if isinstance(t, dict) and t.get("type") == "namespace"] if tools else ()
    return {
        _in_full(str(space.get("name")), str(tool.get("name"))): (str(space.get("name")), str(tool.get("name")))
        for space in spaces
        for tool in maybe_list(space, "tools")
        if isinstance(tool, dict)
    }


def _in_full(space: str, name: str) -> str:
    return fit(f"{space}__{name}")


def _tools_to_chat(tool: Body, path: str) -> Iterator[Body]:
    if tool.get("type") != "namespace":
        yield _tool_to_chat(tool, path)
        return
    space = text_of(tool, "name", f"{path}.")
    for where, inner in objects(maybe_list(tool, "tools"), f"{path}.tools"):
        yield _tool_to_chat({**inner, "name": _in_full(space, text_of(inner, "name", f"{where}."))}, where)


def _tool_to_chat(tool: Body, path: str) -> Body:
    if tool.get("type") != "function":
        return with_native({"type": "native"}, _NAME, {"tool": tool})
    text_of(tool, "name", f"{path}.")
    function = {k: tool[k] for k in ("name", "description", "parameters", "strict") if tool.get(k) is not None}
    extras = rest(tool, frozenset({"type", "name", "description", "parameters", "strict"}))
    return with_native({"type": "function", "function": function}, _NAME, extras)


# ---------------------------------------------------------------- from chat


def from_chat(chat: Body) -> Body:
    """The Responses request that asks for the same."""
    refuse_what_only_chat_has(chat, "n", "logprobs")
    body: Body = {k: chat[k] for k in (*_SAME, *_OPENAIS) if chat.get(k) is not None}
    messages = [m for _, m in objects(maybe_list(chat, "messages"), "messages")]
    body["input"] = [item for m in with_failures_said(settled(messages, IDS)) for item in _items(m)]
    told = bool(messages) and messages[0].get("role") in SYSTEM_ROLES and isinstance(messages[0].get("content"), str)
    if told and len(body["input"]) > 1:  # OpenAI refuses to be asked nothing
        body["instructions"] = messages[0]["content"]
        del body["input"][0]
    limit = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if limit is not None:
        body["max_output_tokens"] = limit
    if chat.get("tools"):
        body["tools"] = [_tool_from_chat(t) for _, t in objects(maybe_list(chat, "tools"), "tools")]
    choice = chat.get("tool_choice")
    if isinstance(choice, dict):
        body["tool_choice"] = {"type": "function", "name": chosen_function(choice)}
    elif choice is not None:
        body["tool_choice"] = choice
    wish = chat.get("response_format")
    text: Body = {"verbosity": chat["verbosity"]} if chat.get("verbosity") else {}
    if isinstance(wish, dict):
        text["format"] = {"type": wish.get("type"), **maybe_object(wish, "json_schema")}
    if text:
        body["text"] = text
    if effort := chat.get("reasoning_effort") or effort_of(chat):
        body["reasoning"] = {"effort": effort}
    # Nothing is to be kept at the vendor that the client did not ask to keep there.
    return {"store": False, **body, **native(chat, _NAME)}


def _items(message: Body) -> list[Body]:
    role, own = message.get("role"), native(message, _NAME)
    if role == "tool":
        content = message.get("content")
        output = content if isinstance(content, str) else [_input_part(p) for _, p in parts_of(message, "messages")]
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output, **own}]
    if "items" in own:
        return list(own["items"])
    if role != "assistant":
        content = message.get("content")
        if not isinstance(content, str):
            content = [_input_part(p) for _, p in parts_of(message, "messages")]
        return [{"type": "message", "role": role, "content": content}]
    texts = [str(p.get("text") or p.get("refusal") or "") for _, p in parts_of(message, "messages")]
    items: list[Body] = [{"type": "message", "role": "assistant", "content": "".join(texts)}] if any(texts) else []
    for _, call in objects(maybe_list(message, "tool_calls"), "messages.tool_calls"):
        function = maybe_object(call, "function")
        made = {"type": "function_call", "call_id": call.get("id"), "name": function.get("name")}
        items.append({**made, "arguments": function.get("arguments") or "{}"})
    return items


def _input_part(part: Body) -> Body:
    own, kind = native(part, _NAME), part.get("type")
    if "part" in own:
        whole: Body = own["part"]
        return whole
    if kind in ("text", "refusal"):
        return {"type": "input_text", "text": str(part.get(str(kind)) or ""), **own}
    if kind == "image_url":
        link = part.get("image_url")
        image = link if isinstance(link, dict) else {"url": link}
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
    if kind == "file":
        return {"type": "input_file", **maybe_object(part, "file")}
    raise vendors_own(part, param="messages")


def _tool_from_chat(tool: Body) -> Body:
    own = native(tool, _NAME)
    if "tool" in own:
        whole: Body = own["tool"]
        return whole
    if tool.get("type") != "function":
        raise vendors_own(tool)
    # Responses are strict unless they are told not to be, chat the other way round.
    return {"type": "function", "strict": False, "parameters": None, **maybe_object(tool, "function"), **own}
