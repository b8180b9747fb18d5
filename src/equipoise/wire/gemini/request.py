"""Gemini requests to chat requests and back.

``model`` and ``stream`` are in the path of a Gemini call; here they ride in the body, as in the other formats.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from typing import Any

import orjson

from equipoise.wire.chat import parts_of
from equipoise.wire.effort import effort_of
from equipoise.wire.format import NATIVE, Body
from equipoise.wire.gemini.schema import cleaned
from equipoise.wire.history import CARRY_ON, SYSTEM_ROLES, distinct, in_order, paired
from equipoise.wire.media import data_url, split_data_url
from equipoise.wire.pivot import (
    arguments_object,
    arguments_text,
    called_function,
    chosen_function,
    has_failed,
    is_foreign,
    merged,
    native,
    picture_url,
    pictures_of,
    refuse_what_only_chat_has,
    rest,
    stops_of,
    tool_call,
    vendors_own,
    with_native,
)
from equipoise.wire.reading import JSON_FORMS, dumps, maybe_list, maybe_object, maybe_text, objects, text_of

_NAME: Any = "gemini"
_KNOWN = frozenset({"model", "stream", "contents", "systemInstruction", "generationConfig", "tools", "toolConfig"})
# Chat's names of what Gemini has under another one.
SETTINGS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
# Gemini refuses the whole request over a function whose name begins with a digit, as others take it.
_BEGINS_WELL = re.compile(r"[A-Za-z_]")
_BEGUN = "_eq_"
_MODES: Mapping[str, str] = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_IN_CONFIG = frozenset(
    {*SETTINGS.values(), "maxOutputTokens", "stopSequences", "responseMimeType", "responseJsonSchema"}
)


# ---------------------------------------------------------------- to chat


def to_chat(body: Body) -> Body:
    """The chat request that asks for the same."""
    config = maybe_object(body, "generationConfig")
    chat: Body = {k: body[k] for k in ("model", "stream") if k in body}
    system = maybe_object(body, "systemInstruction")
    chat["messages"] = []
    if system:
        text = "\n".join(str(p.get("text") or "") for _, p in objects(maybe_list(system, "parts"), "parts"))
        chat["messages"].append({"role": "system", "content": text})
    chat["messages"] += _messages(body)
    chat |= {ours: config[theirs] for ours, theirs in SETTINGS.items() if theirs in config}
    if "maxOutputTokens" in config:
        chat["max_completion_tokens"] = config["maxOutputTokens"]
    if config.get("stopSequences"):
        chat["stop"] = config["stopSequences"]
    if "responseJsonSchema" in config:
        schema = {"name": "answer", "schema": config["responseJsonSchema"]}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif config.get("responseMimeType") == "application/json":
        chat["response_format"] = {"type": "json_object"}
    chat |= _tools_to_chat(body)
    extras = rest(body, _KNOWN)
    if others := rest(config, _IN_CONFIG):
        extras["generationConfig"] = others
    return {**chat, NATIVE: {_NAME: extras}}


def _messages(body: Body) -> list[Body]:
    messages: list[Body] = []
    calls: list[tuple[str, str]] = []
    for path, content in objects(maybe_list(body, "contents"), "contents"):
        parts = list(objects(maybe_list(content, "parts", f"{path}."), f"{path}.parts"))
        if content.get("role") == "model":
            messages.append(_model_to_chat([p for _, p in parts], calls, f"call_{len(messages)}"))
            continue
        plain = []
        for where, part in parts:
            if "functionResponse" in part:
                messages.append(_result_to_chat(maybe_object(part, "functionResponse"), calls))
            else:
                plain.append(_part(part, where))
        if plain:
            messages.append({"role": "user", "content": plain})
    return messages


def _model_to_chat(parts: list[Body], calls: list[tuple[str, str]], stem: str) -> Body:
    """``calls`` gathers ids and names of the calls that have no result yet; ``stem`` begins the ids that are made."""
    said: list[Body] = []
    made: list[Body] = []
    thoughts = []
    for part in parts:
        if "functionCall" in part:
            made.append(call_to_chat(part, f"{stem}_{len(made)}"))
        elif part.get("thought"):
            thoughts.append(maybe_text(part, "text") or "")
        else:
            said.append(_part(part, "parts"))
    calls += [(c["id"], c["function"]["name"]) for c in made]
    message: Body = {"role": "assistant", "content": said or None}
    if made:
        message["tool_calls"] = made
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    return message


def _begun(name: str) -> str:
    """The name of a function as Gemini takes it."""
    return name if _BEGINS_WELL.match(name) else f"{_BEGUN}{name}"


def _as_asked(name: str) -> str:
    """The name that the client gave it."""
    given = name.removeprefix(_BEGUN)
    return name if _BEGINS_WELL.match(given) else given


def call_to_chat(part: Body, made_id: str) -> Body:
    """A function call; the signature rides where Google's own OpenAI endpoint has it."""
    call = maybe_object(part, "functionCall")
    own_id = maybe_text(call, "id")
    made = tool_call(own_id or made_id, _as_asked(text_of(call, "name")), arguments_text(maybe_object(call, "args")))
    if part.get("thoughtSignature"):
        made["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return with_native(made, _NAME, {"id": own_id} if own_id else {})


def picture_to_chat(part: Body) -> Body | None:
    """A picture that the model made, with its signature; None for what is none, and for one that it only thought of."""
    inline = part.get("inlineData")
    kind = inline.get("mimeType") if isinstance(inline, dict) else None
    data = inline.get("data") if isinstance(inline, dict) else None
    if part.get("thought") or not isinstance(kind, str) or not kind.startswith("image/") or not isinstance(data, str):
        return None
    made: Body = {"type": "image_url", "image_url": {"url": data_url(kind, data)}}
    if part.get("thoughtSignature"):
        made["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return made


def _result_to_chat(response: Body, calls: list[tuple[str, str]]) -> Body:
    """Results without an id belong to the first open call of their name."""
    name, own_id = text_of(response, "name"), maybe_text(response, "id")
    match = next((c for c in calls if c[0] == own_id or (own_id is None and c[1] == name)), None)
    if match is not None:
        calls.remove(match)
    value = maybe_object(response, "response")
    text = value.get("result") if set(value) == {"result"} and isinstance(value.get("result"), str) else None
    message = {"role": "tool", "tool_call_id": match[0] if match else own_id or name}
    message["content"] = dumps(value).decode() if text is None else text
    return with_native(message, _NAME, {"name": name, **({"id": own_id} if own_id else {})})


def _part(part: Body, where: str) -> Body:
    if "text" in part:
        made: Body = {"type": "text", "text": maybe_text(part, "text", f"{where}.") or ""}
        return with_native(made, _NAME, rest(part, frozenset({"text"})))
    inline = maybe_object(part, "inlineData", f"{where}.")
    kind = str(inline.get("mimeType") or "")
    if kind.startswith("image/"):
        url = data_url(kind, text_of(inline, "data", f"{where}.inlineData."))
        return with_native(
            {"type": "image_url", "image_url": {"url": url}}, _NAME, rest(part, frozenset({"inlineData"}))
        )
    return with_native({"type": "native"}, _NAME, {"part": part})


def _tools_to_chat(body: Body) -> Body:
    tools: list[Body] = []
    for path, tool in objects(maybe_list(body, "tools"), "tools"):
        declared = maybe_list(tool, "functionDeclarations", f"{path}.")
        tools += [_declared_to_chat(d, where) for where, d in objects(declared, f"{path}.functionDeclarations")]
        if others := rest(tool, frozenset({"functionDeclarations"})):
            tools.append(with_native({"type": "native"}, _NAME, {"tool": others}))
    chat: Body = {"tools": tools} if tools else {}
    config = maybe_object(maybe_object(body, "toolConfig"), "functionCallingConfig", "toolConfig.")
    names = maybe_list(config, "allowedFunctionNames")
    mode = str(config.get("mode") or "").upper()
    if mode == "ANY" and len(names) == 1:
        chat["tool_choice"] = {"type": "function", "function": {"name": names[0]}}
    elif mode:
        chat["tool_choice"] = {"ANY": "required", "NONE": "none"}.get(mode, "auto")
    return chat


def _declared_to_chat(declared: Body, where: str) -> Body:
    function: Body = {"name": text_of(declared, "name", f"{where}.")}
    if declared.get("description"):
        function["description"] = declared["description"]
    for key in ("parametersJsonSchema", "parameters"):
        if isinstance(declared.get(key), dict):
            function["parameters"] = declared[key]
            break
    return {"type": "function", "function": function}


# ---------------------------------------------------------------- from chat


def from_chat(chat: Body) -> Body:
    """The Gemini request that asks for the same."""
    kinds = chat.get("modalities")
    pictured = isinstance(kinds, list) and "image" in kinds and set(map(str, kinds)) <= {"text", "image"}
    refuse_what_only_chat_has({k: v for k, v in chat.items() if k != "modalities"} if pictured else chat)
    own = native(chat, _NAME)
    body: Body = {k: chat[k] for k in ("model", "stream") if chat.get(k) is not None}
    messages = in_order(distinct(paired([m for _, m in objects(maybe_list(chat, "messages"), "messages")])))
    texts = [_told(m) for m in messages if m.get("role") in SYSTEM_ROLES]
    if any(texts):
        body["systemInstruction"] = {"parts": [{"text": t} for t in texts if t]}
    names: dict[str, str] = {}
    ids = is_foreign(chat, _NAME)
    turns = merged(_turn(m, names, ids=ids) for m in messages if m.get("role") not in SYSTEM_ROLES)
    if not turns or turns[0][0] != "user":
        turns.insert(0, ("user", [{"text": CARRY_ON}]))
    body["contents"] = [{"role": role, "parts": sorted(parts, key=_shown)} for role, parts in turns]
    config = _config(chat) | maybe_object(own, "generationConfig")
    if pictured:
        config["responseModalities"] = ["TEXT", "IMAGE"]
    body |= {k: v for k, v in own.items() if k != "generationConfig"}
    if config:
        body["generationConfig"] = config
    return body | _tools_from_chat(chat)


def _shown(part: Body) -> bool:
    """Whether a part comes after the results of tools, which stand side by side as their calls do."""
    return "functionResponse" not in part


def _config(chat: Body) -> Body:
    config = {theirs: chat[ours] for ours, theirs in SETTINGS.items() if chat.get(ours) is not None}
    limit = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if limit is not None:
        config["maxOutputTokens"] = limit
    if chat.get("stop"):
        config["stopSequences"] = stops_of(chat)
    if (effort := effort_of(chat)) is not None:
        config["thinkingConfig"] = {"thinkingLevel": effort}
    wish = chat.get("response_format")
    if isinstance(wish, dict) and wish.get("type") in JSON_FORMS:
        config["responseMimeType"] = "application/json"
        schema = maybe_object(wish, "json_schema").get("schema")
        if isinstance(schema, dict):
            config["responseJsonSchema"] = cleaned(schema)
    return config


def _turn(message: Body, names: dict[str, str], *, ids: bool) -> tuple[str, list[Body]]:
    """``names`` remembers which function a call was for: chat's results do not say it. ``ids``: calls have chat's."""
    role = message.get("role")
    if role == "tool":
        own = {"id": str(message.get("tool_call_id"))} if ids else {}
        return "user", _result_from_chat(message, names, own)
    parts = [made for _, p in parts_of(message, "messages") if (made := _part_from_chat(p, role)) is not None]
    if role != "assistant":
        return "user", parts
    parts += [_signed(_linked(url), picture) for picture, url in pictures_of(message)]
    for _, call in objects(maybe_list(message, "tool_calls"), "messages.tool_calls"):
        name, arguments = called_function(call)
        name = names[str(call.get("id"))] = _begun(name)
        own = {"id": str(call.get("id"))} if ids else native(call, _NAME)
        parts.append(_signed({"functionCall": {**own, "name": name, "args": arguments_object(arguments)}}, call))
    return "model", parts


def _signed(part: Body, holder: Body) -> Body:
    """The part with the signature that rode in what it is made from."""
    signature = maybe_object(maybe_object(holder, "extra_content"), "google").get("thought_signature")
    return {**part, "thoughtSignature": signature} if isinstance(signature, str) else part


def _result_from_chat(message: Body, names: dict[str, str], own: Body) -> list[Body]:
    own = own or native(message, _NAME)
    name = own.get("name") or names.get(str(message.get("tool_call_id"))) or "unknown"
    text = _text(message)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    key = "error" if has_failed(message) else "result"
    made = {**own, "name": name, "response": value if isinstance(value, dict) and key == "result" else {key: text}}
    shown = [p for _, p in parts_of(message, "messages") if p.get("type") != "text"]
    return [{"functionResponse": made}, *(p for s in shown if (p := _part_from_chat(s, "user")) is not None)]


def _part_from_chat(part: Body, role: Any) -> Body | None:
    own, kind = native(part, _NAME), part.get("type")
    if "part" in own:
        whole: Body = own["part"]
        return whole
    if kind in ("text", "refusal"):
        text = str(part.get(str(kind)) or "")
        return {"text": text, **own} if text or own else None
    if kind == "image_url":
        return {**_linked(picture_url(part)), **own}
    if kind == "file" and maybe_object(part, "file").get("file_data"):
        return _linked(str(part["file"]["file_data"]))
    if kind == "input_audio":
        audio = maybe_object(part, "input_audio")
        return {"inlineData": {"mimeType": f"audio/{audio.get('format')}", "data": audio.get("data")}}
    if kind == "native" and role == "assistant":
        return None  # what another vendor's own tools did stays with that vendor
    raise vendors_own(part, param="messages")


def _linked(url: str) -> Body:
    inside = split_data_url(url)
    if inside is not None:
        return {"inlineData": {"mimeType": inside[0], "data": inside[1]}}
    kind = mimetypes.guess_type(url.partition("?")[0])[0] or "image/jpeg"
    return {"fileData": {"mimeType": kind, "fileUri": url}}


def _told(system: Body) -> str:
    """What a system prompt says, which is all that Gemini's may hold."""
    for _, part in parts_of(system, "messages"):
        if part.get("type") != "text":
            raise vendors_own(part, param="messages")
    return _text(system)


def _text(message: Body) -> str:
    return "\n".join(str(p.get("text") or "") for _, p in parts_of(message, "messages") if p.get("type") == "text")


def _tools_from_chat(chat: Body) -> Body:
    declared: list[Body] = []
    others: list[Body] = []
    for _, tool in objects(maybe_list(chat, "tools"), "tools"):
        if "tool" in native(tool, _NAME):
            others.append(native(tool, _NAME)["tool"])
            continue
        if tool.get("type") != "function":
            raise vendors_own(tool)
        function = maybe_object(tool, "function")
        made: Body = {"name": _begun(text_of(function, "name", "tools.function."))}
        if function.get("description"):
            made["description"] = function["description"]
        if function.get("parameters"):
            made["parametersJsonSchema"] = cleaned(maybe_object(function, "parameters", "tools.function."))
        declared.append(made)
    body: Body = {"tools": [*([{"functionDeclarations": declared}] if declared else []), *others]}
    choice = chat.get("tool_choice")
    if isinstance(choice, dict):
        config = {"mode": "ANY", "allowedFunctionNames": [_begun(chosen_function(choice))]}
        body["toolConfig"] = {"functionCallingConfig": config}
    elif isinstance(choice, str) and choice in _MODES and declared:
        body["toolConfig"] = {"functionCallingConfig": {"mode": _MODES[choice]}}
    return body if body["tools"] else {}
