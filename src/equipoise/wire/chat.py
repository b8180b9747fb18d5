"""OpenAI chat completions: the pivot that other formats are turned into and made from."""

from __future__ import annotations

import orjson

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire.checks import THOUGHT, checked_chunk, checked_completion, made_id
from equipoise.wire.effort import effort_of
from equipoise.wire.errors import BadAnswer
from equipoise.wire.format import NATIVE, Asked, Body, Decoder, Encoder
from equipoise.wire.history import SYSTEM_ROLES, paired
from equipoise.wire.pivot import rest, vendors_own, with_failures_said
from equipoise.wire.reading import (
    JSON_FORMS,
    MOST_CHOICES,
    Reading,
    maybe_count,
    maybe_flag,
    maybe_list,
    maybe_object,
    maybe_text,
    objects,
    some,
    text_of,
    tools_of,
    wrong,
)
from equipoise.wire.sse import DONE, SseEvent, frame
from equipoise.wire.usage import chat_usage, reasoning_tokens, usage_to_chat

# What earlier turns may carry for the model that wrote them, and no other vendor takes.
FOREIGN = frozenset({NATIVE, "thinking_blocks"})
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
# How OpenAI tells clients that there is nothing left to pay with; at another 429 they go on trying.
_NOTHING_LEFT = "insufficient_quota"
_SPENT = frozenset({_NOTHING_LEFT, "budget_exceeded"})
FILTERED = "content_filter"


class Chat:
    """The format ``chat``."""

    name: WireFormat = "chat"

    def read(self, body: Body) -> Asked:
        """What routing needs."""
        reading = Reading()
        for path, message in objects(some(body, "messages"), "messages"):
            role = text_of(message, "role", f"{path}.")
            _read_message(reading, "system" if role in SYSTEM_ROLES else role, message, path)
        tools = tools_of(body) or maybe_list(body, "functions")
        return reading.asked(
            text_of(body, "model"),
            tools,
            stream=maybe_flag(body, "stream"),
            include_usage=maybe_flag(maybe_object(body, "stream_options"), "include_usage", "stream_options."),
            max_output_tokens=maybe_count(body, "max_completion_tokens") or maybe_count(body, "max_tokens"),
            json=bool(body.get("response_format")) and maybe_object(body, "response_format").get("type") in JSON_FORMS,
            n=maybe_count(body, "n", MOST_CHOICES) or 1,
            user=maybe_text(body, "safety_identifier") or maybe_text(body, "user"),
        )

    def to_chat(self, body: Body) -> Body:
        """The same."""
        return body

    def from_chat(self, chat: Body) -> Body:
        """Without what only other formats know."""
        body = rest(chat, {NATIVE})
        if NATIVE in chat and (effort := effort_of(chat)):
            body["reasoning_effort"] = effort
        messages = [m for _, m in objects(maybe_list(chat, "messages"), "messages")]
        body["messages"] = plain_messages(with_failures_said(paired(messages)))
        if chat.get("tools"):
            body["tools"] = [_plain_tool(t) for _, t in objects(maybe_list(chat, "tools"), "tools")]
            return body
        # Servers refuse to be told how to choose among no tools; Responses may say it always.
        return rest(body, {"tool_choice", "parallel_tool_calls"})

    def answer_to_chat(self, answer: Body, *, now: int = 0) -> Body:
        """The same, checked."""
        del now
        first_choice(answer)
        return answer

    def answer_from_chat(self, chat: Body, model_name: str, asked: Asked | None = None) -> Body:
        """Without what only other formats know."""
        del asked
        choices = [
            rest({**c, "message": rest(c["message"], {NATIVE})} if "message" in c else c, {NATIVE})
            for c in chat["choices"]
        ]
        return {**rest(chat, {NATIVE}), "model": model_name, "choices": choices}

    def decoder(self, *, now: int = 0) -> Decoder:
        """Checks the chunks."""
        del now
        return _Decoder()

    def encoder(self, model_name: str, asked: Asked, input_tokens: int = 0) -> Encoder:
        """Writes the chunks."""
        del input_tokens
        return _Encoder(model_name, asked)

    def usage(self, answer: Body) -> TokenUsage | None:
        """The tokens of an answer, where it says them."""
        return chat_usage(answer)

    def finish(self, answer: Body) -> str | None:
        """``finish_reason`` of the first choice, or of one that was filtered, which a refusal counts as."""
        choices = checked_completion(answer)["choices"]
        reasons = [FILTERED if one["message"].get("refusal") else one.get("finish_reason") for one in choices]
        reason = FILTERED if FILTERED in reasons else reasons[0]
        return reason if isinstance(reason, str) else None

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """OpenAI's error shape."""
        return openai_error(status, code, message, param)


def openai_error(status: int, code: str, message: str, param: str | None = None) -> Body:
    """OpenAI's error shape, with a stable ``code``."""
    usual = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    kind = _NOTHING_LEFT if code in _SPENT else usual
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def first_choice(answer: Body) -> Body:
    """The first choice of a completion.

    Raises:
        BadAnswer: it is no completion.
    """
    first: Body = checked_completion(answer)["choices"][0]
    return first


def only_usage(chunk: Body) -> bool:
    """Whether a chunk says nothing but the usage, so that a client who did not ask for it is spared the chunk."""
    return not chunk.get("choices") and chunk.get("usage") is not None


def parts_of(message: Body, where: str) -> list[tuple[str, Body]]:
    """The parts of a message's content, with their paths; a string is one text part, a refusal stands for none.

    What an earlier model thought among them, as Mistral's do, stays with it.
    """
    content, refusal = message.get("content"), message.get("refusal")
    if content is None:
        return [(f"{where}.refusal", {"type": "refusal", "refusal": refusal})] if isinstance(refusal, str) else []
    if isinstance(content, str):
        return [(f"{where}.content", {"type": "text", "text": content})]
    if not isinstance(content, list):
        raise wrong(f"{where}.content", "a string or a list of parts", content)
    parts = list(objects(content, f"{where}.content"))
    return [p for p in parts if p[1].get("type") != THOUGHT] if message.get("role") == "assistant" else parts


def _read_message(reading: Reading, role: str, message: Body, path: str) -> None:
    reading.turn(role)
    content = message.get("content")
    if isinstance(content, str):
        reading.say(role, content)
    else:
        for where, part in parts_of(message, path):
            kind = text_of(part, "type", f"{where}.")
            if kind in ("text", "refusal"):
                reading.say(role, maybe_text(part, kind, f"{where}.") or "")
            elif kind == "image_url":
                reading.images += 1
            else:
                reading.files = True
    for where, call in objects(maybe_list(message, "tool_calls", f"{path}."), f"{path}.tool_calls"):
        function = maybe_object(call, "function", f"{where}.")
        reading.say(role, maybe_text(function, "arguments", f"{where}.function.") or "")


def plain_messages(messages: list[Body]) -> list[Body]:
    """Messages as chat's own are: a text where all parts are texts, and images of tools said by the user."""
    plain: list[Body] = []
    shown: list[Body] = []
    for message in messages:
        if message.get("role") != "tool" and shown:
            plain.append({"role": "user", "content": shown})
            shown = []
        made = rest(message, FOREIGN)
        if isinstance(message.get("content"), list):
            parts = [p for _, part in parts_of(message, "messages") if (p := _plain_part(part, message))]
            if message.get("role") == "tool":
                shown += [p for p in parts if p["type"] != "text"]
                parts = [p for p in parts if p["type"] == "text"]
            made["content"] = _joined(parts, message)
        if isinstance(message.get("tool_calls"), list):
            made["tool_calls"] = [rest(c, FOREIGN) if isinstance(c, dict) else c for c in message["tool_calls"]]
        plain.append(made)
    return [*plain, {"role": "user", "content": shown}] if shown else plain


def _plain_part(part: Body, message: Body) -> Body | None:
    if part.get("type") == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}  # which is a part for OpenAI alone
    if part.get("type") != "native":
        return rest(part, FOREIGN)
    if message.get("role") == "assistant":
        return None  # what a vendor's own tools did stays with that vendor
    raise vendors_own(part, param="messages")


def _joined(parts: list[Body], message: Body) -> str | list[Body] | None:
    """Many servers read nothing but a string; where no more is needed, they get one."""
    if any(set(p) != {"type", "text"} for p in parts):
        return parts
    between = "" if message.get("role") == "assistant" else "\n"
    return between.join(p["text"] for p in parts) or (None if message.get("tool_calls") else "")


def _plain_tool(tool: Body) -> Body:
    if tool.get("type") == "native":
        raise vendors_own(tool)
    return rest(tool, FOREIGN)


# ---------------------------------------------------------------- streams


class _Numbering:
    """Tool calls of one choice as OpenAI numbers them. Some servers give no ids, or one index to all calls."""

    def __init__(self) -> None:
        self._at: dict[int, tuple[int, str]] = {}
        self._begun = 0

    def settle(self, chunk: Body, call: Body) -> None:
        """The call's index and, where it begins, its id."""
        named, known = bool((call.get("function") or {}).get("name")), self._at.get(call["index"])
        if known is None or (named and call.get("id") and call["id"] != known[1]):
            call["id"] = call.get("id") or made_id(chunk, self._begun)
            known = self._at[call["index"]] = self._begun, call["id"]
            self._begun += 1
        call["index"] = known[0]


class _Decoder:
    def __init__(self) -> None:
        self.complete = self.bound = False
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._calls: dict[int, _Numbering] = {}

    def feed(self, event: SseEvent) -> list[Body]:
        """The chunk of an event, checked."""
        data = event.data
        if not data:
            return []
        if data == DONE:
            self.complete = True
            return []
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadAnswer("an event of the stream is not JSON") from None
        for choice in checked_chunk(chunk)["choices"]:
            index = choice.get("index", 0)
            for call in choice["delta"].get("tool_calls") or ():
                self._calls.setdefault(index, _Numbering()).settle(chunk, call)
            (self._ended if choice.get("finish_reason") else self._begun).add(index)
            # Of several choices one may end while another is still being written.
            self.complete = bool(self._ended) and self._begun <= self._ended
        return [chunk]


class _Encoder:
    def __init__(self, model_name: str, asked: Asked) -> None:
        self.model, self._include_usage = model_name, asked.include_usage
        self._head: Body = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0}
        self._followed = _Decoder()
        self._usage: Body | None = None

    def feed(self, chunk: Body) -> list[bytes]:
        """The chunk, under the client's name of the model."""
        if self._head["id"] == "chatcmpl-0":
            self._head |= {k: chunk[k] for k in ("id", "created") if chunk.get(k)}
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        choices = chunk.get("choices")
        if not choices:
            return []
        out = {**rest(chunk, {NATIVE, "usage"}), **self._head, "model": self.model}
        out["choices"] = [rest(c, {NATIVE}) if NATIVE in c else c for c in choices]
        if self._include_usage:
            out["usage"] = None
        return [frame(orjson.dumps(out))]

    def follow(self, event: SseEvent) -> None:
        """Takes the name of the answer, and its usage."""
        for chunk in self._followed.feed(event):
            self.feed(chunk)

    def end(self, usage: TokenUsage | None = None) -> list[bytes]:
        """The usage, if it was asked for, and the end mark."""
        said = self._usage
        if usage is not None:
            said = usage_to_chat(usage, reasoning_tokens=reasoning_tokens(said))
        done = frame(DONE)
        if not self._include_usage or said is None:
            return [done]
        return [frame(orjson.dumps({**self._head, "model": self.model, "choices": [], "usage": said})), done]

    def fail(self, code: str, message: str) -> list[bytes]:
        """An error event, which OpenAI's SDKs raise."""
        return [frame(orjson.dumps(openai_error(500, code, message)))]
