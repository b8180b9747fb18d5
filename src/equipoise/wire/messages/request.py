"""Anthropic requests to chat requests and back."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from equipoise.wire.chat import parts_of
from equipoise.wire.effort import effort_of
from equipoise.wire.errors import Untranslatable
from equipoise.wire.format import NATIVE, Body
from equipoise.wire.history import CARRY_ON, GO_ON, SYSTEM_ROLES, IdRule, settled
from equipoise.wire.media import data_url, split_data_url
from equipoise.wire.messages.schema import closed
from equipoise.wire.names import fit
from equipoise.wire.pivot import (
    EMPTY_SCHEMA,
    UNSIGNED,
    arguments_object,
    arguments_text,
    called_function,
    chosen_function,
    is_foreign,
    json_wish,
    merged,
    native,
    picture_url,
    refuse_what_only_chat_has,
    rest,
    stops_of,
    tool_call,
    vendors_own,
    with_native,
)
from equipoise.wire.reading import maybe_list, maybe_object, maybe_text, objects, text_of, wrong

THINKING = ("thinking", "redacted_thinking")
# What a block of thinking has besides in the streams of chat.
NUMBER = frozenset({"index"})
IDS = IdRule(r"[a-zA-Z0-9_-]{1,64}")
_SAME = ("model", "max_tokens", "stream", "temperature", "top_p")
_KNOWN = frozenset({*_SAME, "system", "messages", "tools", "tool_choice", "stop_sequences", "output_format"})
# What is asked of the vendor rather than of a model: to run something, to sum up what was said, where to compute.
_AT_THE_VENDOR = ("mcp_servers", "container", "compaction", "inference_geo")
_ANYWHERE = "global"
_CITED = frozenset({"document", "search_result"})
_SUMMARY = "Summary of the conversation before:\n{}"
_MOST_USER = 64
_NAME: Any = "messages"


# ---------------------------------------------------------------- to chat


def to_chat(body: Body) -> Body:
    """The chat request that asks for the same.

    Raises:
        Untranslatable: it leans on what the vendor remembers or runs itself. Anthropic's SDKs know the code of the
            former, and send everything.
    """
    for field in _AT_THE_VENDOR:
        if body.get(field) and body[field] != _ANYWHERE:
            raise Untranslatable(f"'{field}' is for its vendor alone; ask for the vendor's own model", param=field)
    if body.get("thread") is not None:
        message = "'thread' needs the vendor's own memory; send the whole conversation without it"
        raise Untranslatable(message, param="thread", code="thread_unsupported_request")
    if body.get("max_tokens") == 0:
        message = "'max_tokens' of 0 fills Anthropic's prompt cache; ask for a model of theirs, or for 1 at least"
        raise Untranslatable(message, param="max_tokens")
    chat: Body = {k: body[k] for k in _SAME if body.get(k) is not None}
    chat["messages"] = _gone_on([*_system(body.get("system")), *_all_messages(body)])
    if body.get("tools"):
        chat["tools"] = [_tool_to_chat(t, path) for path, t in objects(maybe_list(body, "tools"), "tools")]
    if body.get("tool_choice") is not None:
        chat |= _choice_to_chat(maybe_object(body, "tool_choice"))
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    user = maybe_object(body, "metadata").get("user_id")
    if isinstance(user, str):
        # OpenAI takes no longer ones; that of Claude Code is longer.
        chat["user"] = user if len(user) <= _MOST_USER else blake2b(user.encode(), digest_size=32).hexdigest()
    schema = answer_format(body).get("schema")
    if isinstance(schema, dict):
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return {**chat, NATIVE: {_NAME: rest(body, _KNOWN)}}


def _gone_on(messages: list[Body]) -> list[Body]:
    """With the user's word to go on where an answer was begun, which other vendors' models would begin anew."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    begun = content[-1].get("type") == "text" if isinstance(content, list) and content else bool(content)
    if last.get("role") != "assistant" or last.get("tool_calls") or not begun:
        return messages
    return [*messages, {"role": "user", "content": GO_ON}]


def answer_format(body: Body) -> Body:
    """The form in which the answer is wanted: also where it is asked for by its name of 2025."""
    return maybe_object(maybe_object(body, "output_config"), "format") or maybe_object(body, "output_format")


def _system(system: Any) -> list[Body]:
    if not system:
        return []
    if isinstance(system, str):
        return [{"role": "system", "content": system}]
    if not isinstance(system, list):
        raise wrong("system", "a string or a list of text blocks", system)
    return [{"role": "system", "content": [_part(b, path) for path, b in objects(system, "system")]}]


def only_settings(message: Body) -> bool:
    """Whether it says nothing: from one on, Anthropic's models answer in another way, such as with more effort."""
    return message.get("role") == "system" and message.get("content") is None


def is_summary(block: Any) -> bool:
    """Whether it stands for all that was said before it, which Anthropic then leaves out; a failed one says nothing."""
    return isinstance(block, dict) and block.get("type") == "compaction" and bool(block.get("content"))


def _since_summary(messages: list[tuple[str, Body]]) -> list[tuple[str, Body]]:
    """The messages from the last summary on, which the user says."""
    for i in reversed(range(len(messages))):
        path, message = messages[i]
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        if at := [j for j, block in enumerate(blocks, 1) if is_summary(block)]:
            told = {"role": "user", "content": [blocks[at[-1] - 1]]}
            after = blocks[at[-1] :]
            return [(path, told), *([(path, {**message, "content": after})] if after else []), *messages[i + 1 :]]
    return messages


def still_shown(messages: list[Any]) -> list[Any]:
    """Messages without system prompts that were for one turn of the user, once the next has come."""
    spoken = max((i for i, m in enumerate(messages) if isinstance(m, dict) and m.get("role") == "user"), default=-1)
    return [m for i, m in enumerate(messages) if i > spoken or not (isinstance(m, dict) and _is_for_a_turn(m))]


def _is_for_a_turn(message: Body) -> bool:
    return message.get("role") == "system" and message.get("clear_at") == "next_user_message"


def _all_messages(body: Body) -> Iterator[Body]:
    given = objects(still_shown(maybe_list(body, "messages")), "messages")
    for path, message in _since_summary(list(given)):
        role = text_of(message, "role", f"{path}.")
        content = message.get("content")
        if only_settings(message):
            continue
        if isinstance(content, str):
            yield {"role": role, "content": content}
            continue
        if not isinstance(content, list):
            raise wrong(f"{path}.content", "a string or a list of blocks", content)
        blocks = list(objects(content, f"{path}.content"))
        if role == "assistant":
            yield _assistant_to_chat(blocks)
        else:
            yield from _user_to_chat(role, blocks)


def _user_to_chat(role: str, blocks: list[tuple[str, Body]]) -> Iterator[Body]:
    parts = []
    for path, block in blocks:
        if block.get("type") == "tool_result":
            yield _result_to_chat(block, path)
        else:
            parts.append(_part(block, path))
    if parts:
        yield {"role": role, "content": parts}


def _result_to_chat(block: Body, path: str) -> Body:
    content = block.get("content")
    if isinstance(content, list):
        content = [_part(b, where) for where, b in objects(content, f"{path}.content")]
    elif content is not None and not isinstance(content, str):
        raise wrong(f"{path}.content", "a string or a list of blocks", content)
    call_id = text_of(block, "tool_use_id", f"{path}.")
    message = {"role": "tool", "tool_call_id": call_id, "content": "" if content is None else content}
    return with_native(message, _NAME, rest(block, frozenset({"type", "tool_use_id", "content"})))


def _assistant_to_chat(blocks: list[tuple[str, Body]]) -> Body:
    parts, calls, thinking, reasoning, order = [], [], [], [], []
    for path, block in blocks:
        kind = text_of(block, "type", f"{path}.")
        order.append(0 if kind in THINKING else 2 if kind == "tool_use" else 1)
        if kind in THINKING and block.get("signature") == UNSIGNED:
            reasoning.append(maybe_text(block, "thinking", f"{path}.") or "")
        elif kind in THINKING:
            thinking.append(block)
        elif kind == "tool_use":
            call_id, name = text_of(block, "id", f"{path}."), text_of(block, "name", f"{path}.")
            call = tool_call(call_id, fit(name), arguments_text(maybe_object(block, "input", f"{path}.")))
            calls.append(with_native(call, _NAME, rest(block, frozenset({"type", "id", "name", "input"}))))
        else:
            parts.append(_part(block, path))
    message: Body = {"role": "assistant", "content": parts or None}
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["thinking_blocks"] = thinking
    if reasoning:
        message["reasoning_content"] = "".join(reasoning)
    # Chat keeps thinking, text and calls apart; another order is kept as it was.
    return with_native(message, _NAME, {"content": [b for _, b in blocks]} if order != sorted(order) else {})


def _part(block: Body, path: str) -> Body:
    kind = text_of(block, "type", f"{path}.")
    if kind == "text":
        part = {"type": "text", "text": maybe_text(block, "text", f"{path}.") or ""}
        return with_native(part, _NAME, rest(block, frozenset({"type", "text"})))
    if kind in _CITED and maybe_object(block, "citations", f"{path}.").get("enabled"):
        message = f"'{path}.citations' can be had of Anthropic's models alone; ask for one, or leave it out"
        raise Untranslatable(message, param=f"{path}.citations")
    if is_summary(block):
        text = _SUMMARY.format(maybe_text(block, "content", f"{path}."))
        return with_native({"type": "text", "text": text}, _NAME, {"block": block})
    if kind == "search_result":
        return with_native({"type": "text", "text": searched(block, path)}, _NAME, {"block": block})
    source = maybe_object(block, "source", f"{path}.")
    url = _source_url(source, f"{path}.source.")
    if kind == "image" and url:
        return with_native({"type": "image_url", "image_url": {"url": url}}, _NAME, rest(block, _SOURCED))
    if kind == "document" and source.get("type") == "text":
        text_of(source, "data", f"{path}.source.")
        part = {"type": "text", "text": written(block, path)}
        return with_native(part, _NAME, {"block": block})
    if kind == "document" and url and source.get("type") == "base64":
        title = str(block.get("title") or "document")
        # OpenAI tells kinds of files by their names.
        file = {"file_data": url, "filename": title if title.lower().endswith(".pdf") else f"{title}.pdf"}
        return with_native({"type": "file", "file": file}, _NAME, {"block": block})
    return with_native({"type": "native"}, _NAME, {"block": block})


def searched(block: Body, path: str) -> str:
    """What a search result says, after its title and where it is from."""
    found = [
        maybe_text(b, "text", f"{where}.") for where, b in objects(maybe_list(block, "content"), f"{path}.content")
    ]
    return "\n".join(t for t in (maybe_text(block, "title"), maybe_text(block, "source"), *found) if t)


def written(block: Body, path: str) -> str:
    """What a document of plain text says, after its title and what is said about it."""
    text = maybe_text(maybe_object(block, "source", f"{path}."), "data", f"{path}.source.")
    about = [maybe_text(block, key, f"{path}.") for key in ("title", "context")]
    return "\n".join(t for t in (*about, text) if t)


_SOURCED = frozenset({"type", "source"})


def _source_url(source: Body, where: str) -> str | None:
    if source.get("type") == "base64":
        return data_url(text_of(source, "media_type", where), text_of(source, "data", where))
    return text_of(source, "url", where) if source.get("type") == "url" else None


def _tool_to_chat(tool: Body, path: str) -> Body:
    if "input_schema" not in tool:
        return with_native({"type": "native"}, _NAME, {"tool": tool})
    function: Body = {"name": fit(text_of(tool, "name", f"{path}."))}
    if tool.get("description"):
        function["description"] = tool["description"]
    schema = maybe_object(tool, "input_schema", f"{path}.")
    # OpenAI refuses objects that do not say which properties they have.
    function["parameters"] = {**schema, "properties": {}} if _lacks_properties(schema) else schema
    if "strict" in tool:
        function["strict"] = tool["strict"]
    known = frozenset({"name", "description", "input_schema", "strict"})
    return with_native({"type": "function", "function": function}, _NAME, rest(tool, known))


def _lacks_properties(schema: Body) -> bool:
    return schema.get("type") == "object" and schema.get("properties") is None


def _choice_to_chat(choice: Body) -> Body:
    kind = choice.get("type")
    chat: Body = {"tool_choice": {"any": "required"}.get(str(kind), kind)}
    if kind == "tool":
        name = fit(text_of(choice, "name", "tool_choice."))
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False
    return chat


# ---------------------------------------------------------------- from chat


def from_chat(chat: Body) -> Body:
    """The Anthropic request that asks for the same; ``max_tokens`` is left to the provider if there is none."""
    refuse_what_only_chat_has(chat, "n", "logprobs")
    own = native(chat, _NAME)
    body: Body = {k: chat[k] for k in _SAME if chat.get(k) is not None}
    if chat.get("max_completion_tokens") is not None:
        body["max_tokens"] = chat["max_completion_tokens"]
    if is_foreign(chat, _NAME) and isinstance(body.get("temperature"), int | float):
        body["temperature"] = min(body["temperature"], 1.0)
        body.pop("top_p", None)  # newer models refuse the two together
    messages = [m for _, m in objects(maybe_list(chat, "messages"), "messages")]
    system = [b for m in messages if m.get("role") in SYSTEM_ROLES for b in _marked(m, _blocks(m))]
    turns = merged(_turn(m) for m in settled([m for m in messages if m.get("role") not in SYSTEM_ROLES], IDS))
    if not turns or turns[0][0] != "user":
        turns.insert(0, ("user", [{"type": "text", "text": CARRY_ON}]))
    if turns[-1][0] == "assistant" and turns[-1][1][-1].get("type") == "text":
        # What the model is to go on from must not end in white space.
        turns[-1][1][-1] = {**turns[-1][1][-1], "text": turns[-1][1][-1]["text"].rstrip()}
    body["messages"] = [{"role": role, "content": _plain(blocks)} for role, blocks in turns]
    body |= _tools_from_chat(chat)
    if chat.get("stop"):
        body["stop_sequences"] = _stops(chat)
    if isinstance(user := chat.get("safety_identifier") or chat.get("user"), str):
        body["metadata"] = {"user_id": user}
    schema, instruction = json_wish(chat)
    body |= _output_config(chat, schema)
    if is_foreign(chat, _NAME) and effort_of(chat) == "none":
        body["thinking"] = {"type": "disabled"}
    if instruction:
        system.append({"type": "text", "text": instruction})
    if system:
        body["system"] = _plain(system)
    return body | own


def _output_config(chat: Body, schema: Body | None) -> Body:
    output: Body = {} if schema is None else {"format": {"type": "json_schema", "schema": closed(schema)}}
    if is_foreign(chat, _NAME) and (effort := effort_of(chat)) not in (None, "none"):
        output["effort"] = effort
    return {"output_config": output} if output else {}


def _stops(chat: Body) -> list[str]:
    stops = stops_of(chat)
    if not all(s.strip() for s in stops):
        said = "'stop' is white space, at which Anthropic's models cannot be stopped; ask for another model"
        raise Untranslatable(said, param="stop")
    return stops


def _turn(message: Body) -> tuple[str, list[Body]]:
    role = message.get("role")
    if role == "tool":
        content = _plain(_blocks(message)) or ""
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content}
        return "user", _marked(message, [{**result, **native(message, _NAME)}])
    if role != "assistant":
        return "user", _marked(message, _blocks(message))
    if "content" in native(message, _NAME):
        return "assistant", native(message, _NAME)["content"]
    thoughts = [b for b in maybe_list(message, "thinking_blocks") if isinstance(b, dict) and b.get("type") in THINKING]
    blocks = [rest(b, NUMBER) for b in thoughts]
    blocks += _blocks(message)
    for _, call in objects(maybe_list(message, "tool_calls"), "messages.tool_calls"):
        name, arguments = called_function(call)
        use = {"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments_object(arguments)}
        blocks.append({**use, **native(call, _NAME)})
    return "assistant", _marked(message, blocks)


def _marked(holder: Body, blocks: list[Body]) -> list[Body]:
    """The blocks of a message, or a tool, with the mark of a prompt cache that chat's clients put beside them."""
    mark = holder.get("cache_control")
    if not mark or not blocks or blocks[-1].get("type") in THINKING:
        return blocks
    return [*blocks[:-1], {**blocks[-1], "cache_control": mark}]


def _blocks(message: Body) -> list[Body]:
    """What a message says, but for texts that are white space, which Anthropic refuses."""
    blocks = []
    for _, part in parts_of(message, "messages"):
        if message.get("role") == "assistant" and part.get("type") == "native" and not native(part, _NAME):
            continue  # what another vendor's own tools did stays with that vendor
        block = _block(part)
        if block["type"] != "text" or block["text"].strip():
            blocks.append(block)
    return blocks


def _plain(blocks: list[Body]) -> str | list[Body]:
    """A single text needs no list."""
    return blocks[0]["text"] if len(blocks) == 1 and set(blocks[0]) == {"type", "text"} else blocks


def _block(part: Body) -> Body:
    own, kind = native(part, _NAME), part.get("type")
    if "block" in own:
        block: Body = own["block"]
        return block
    extras = {k: part[k] for k in ("cache_control",) if k in part} | own
    if kind in ("text", "refusal"):
        return {"type": "text", "text": str(part.get(str(kind)) or ""), **extras}
    if kind == "image_url":
        return {"type": "image", "source": _source(picture_url(part)), **extras}
    if kind == "file":
        return {"type": "document", "source": _file_source(maybe_object(part, "file")), **extras}
    raise vendors_own(part, param="messages")


def _source(url: str) -> Body:
    inside = split_data_url(url)
    if inside is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inside[0], "data": inside[1]}


def _file_source(file: Body) -> Body:
    source = _source(str(file.get("file_data") or ""))
    if source.get("media_type") != "application/pdf":
        raise Untranslatable("only PDF files inside the request have a place in Anthropic's format", param="file")
    return source


def _tools_from_chat(chat: Body) -> Body:
    body: Body = {}
    if chat.get("tools"):
        body["tools"] = [_tool_from_chat(t) for _, t in objects(maybe_list(chat, "tools"), "tools")]
    choice = chat.get("tool_choice")
    if choice is None and chat.get("parallel_tool_calls") is False and body:
        choice = "auto"
    if choice is None or not body:
        return body
    if isinstance(choice, dict):
        body["tool_choice"] = {"type": "tool", "name": chosen_function(choice)}
    else:
        body["tool_choice"] = {"type": "any" if choice == "required" else choice}
    if chat.get("parallel_tool_calls") is False and choice != "none":
        body["tool_choice"]["disable_parallel_tool_use"] = True
    return body


def _tool_from_chat(tool: Body) -> Body:
    own = native(tool, _NAME)
    if "tool" in own:
        whole: Body = own["tool"]
        return whole
    if tool.get("type") != "function":
        raise vendors_own(tool)
    function = maybe_object(tool, "function", "tools.")
    made: Body = {"name": text_of(function, "name", "tools.function.")}
    if function.get("description"):
        made["description"] = function["description"]
    schema = maybe_object(function, "parameters", "tools.function.") or EMPTY_SCHEMA
    made["input_schema"] = closed(schema) if function.get("strict") is True else schema
    if function.get("strict") is not None:
        made["strict"] = function["strict"]
    return _marked(tool, [{**made, **own}])[0]
