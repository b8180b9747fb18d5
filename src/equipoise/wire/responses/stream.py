"""OpenAI Responses streams to chat chunks and back."""

from __future__ import annotations

from typing import Any

import orjson

from equipoise.traffic import TokenUsage
from equipoise.wire.checks import seconds
from equipoise.wire.errors import BadAnswer
from equipoise.wire.format import Asked, Body
from equipoise.wire.pivot import chunk, chunk_head, goes_before, name_called, pictures_of, reasoning_of, tool_call
from equipoise.wire.responses.answer import (
    call_item,
    finish_of,
    message_item,
    picture_item,
    reasoning_item,
    response,
    text_part,
    thought,
    usage_from_chat,
    usage_of,
)
from equipoise.wire.responses.request import named_in_full
from equipoise.wire.sse import SseEvent, frame
from equipoise.wire.usage import chat_usage, reasoning_tokens, usage_to_chat

MOST_ITEMS = 4096
_DELTAS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning_content",
    "response.reasoning_text.delta": "reasoning_content",
}
# Where in a response a piece of reasoning stands.
_PLACES = ("output_index", "summary_index", "content_index")
# The field of a message or delta that stands in an item of a kind.
_FIELDS = {"message": "content", "reasoning": "reasoning_content"}
# Tools that OpenAI runs itself, so that the answer goes on when they are done.
_AT_THE_VENDOR = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
    }
)
# What of a response is not settled at its beginning.
_GROWS = frozenset({"status", "error", "incomplete_details", "model", "output", "usage"})


class Decoder:
    """OpenAI's events become chunks."""

    def __init__(self, *, now: int = 0) -> None:
        self.complete = False
        self._head: Body = chunk_head("resp", "", now)
        self._calls: dict[int, int] = {}
        self._unsaid: set[int] = set()
        self._thought: tuple[Any, ...] | None = None
        self._at_work: set[int] = set()

    @property
    def bound(self) -> bool:
        """Whether a tool of the vendor's own is not done, or the client was told to run one that only OpenAI has."""
        return bool(self._at_work)

    def feed(self, event: SseEvent) -> list[Body]:
        """The chunks of an event."""
        if not event.data:
            return []
        try:
            return self._chunks(orjson.loads(event.data))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadAnswer("an event of the stream is not one of OpenAI's responses") from None

    def _chunks(self, said: Body) -> list[Body]:
        kind = said.get("type")
        if kind in _DELTAS:
            return [chunk(self._head, {_DELTAS[kind]: self._piece(said)})]
        if kind == "response.function_call_arguments.delta":
            self._unsaid.discard(said["output_index"])
            return self._arguments(said["output_index"], said["delta"])
        if kind == "response.output_item.added":
            return self._added(said["output_index"], said["item"])
        if kind == "response.output_item.done":
            return self._done(said["output_index"], said["item"])
        if kind == "response.created":
            answer = said["response"]
            now = seconds(answer.get("created_at"), self._head["created"])
            self._head = chunk_head(str(answer["id"]), str(answer.get("model") or ""), now)
            return [chunk(self._head, {"role": "assistant", "content": ""})]
        if kind in ("response.completed", "response.incomplete"):
            return self._last(said["response"])
        return []

    def _piece(self, said: Body) -> Any:
        """A piece of text. Of reasoning, each part begins on a line of its own, as in the whole answer."""
        text, at = said["delta"], (said["type"], *(said.get(field) for field in _PLACES))
        if _DELTAS[said["type"]] != "reasoning_content" or not text:
            return text
        before, self._thought = self._thought, at
        return text if before in (None, at) else f"\n{text}"

    def _added(self, output_index: int, item: Body) -> list[Body]:
        if item["type"] != "function_call":
            if item["type"] not in _FIELDS:
                self._at_work.add(output_index)
            return []
        if len(self._calls) >= MOST_ITEMS:
            raise BadAnswer(f"the answer has more than {MOST_ITEMS} tool calls")
        number = self._calls[output_index] = len(self._calls)
        if not item.get("arguments"):
            self._unsaid.add(output_index)
        call = {"index": number, **tool_call(item["call_id"], item["name"], item.get("arguments") or "")}
        return [chunk(self._head, {"tool_calls": [call]})]

    def _done(self, output_index: int, item: Body) -> list[Body]:
        if item["type"] in _AT_THE_VENDOR:
            self._at_work.discard(output_index)
        if output_index not in self._unsaid:
            return []
        self._unsaid.discard(output_index)
        return self._arguments(output_index, item["arguments"])

    def _arguments(self, output_index: int, text: str) -> list[Body]:
        part = {"index": self._calls[output_index], "function": {"arguments": text}}
        return [chunk(self._head, {"tool_calls": [part]})] if text else []

    def _last(self, answer: Body) -> list[Body]:
        self.complete = True
        finish = finish_of({**answer, "output": [{"type": "function_call"}] if self._calls else []})
        usage = usage_of(answer)
        last = [chunk(self._head, {}, finish or "stop")]
        if usage is not None:
            said = usage_to_chat(usage, reasoning_tokens=thought(answer))
            last.append({**self._head, "choices": [], "usage": said})
        return last


class Encoder:
    """Chunks become OpenAI's events: items begun, grown and ended, all numbered, the whole again at the end."""

    def __init__(self, model_name: str, asked: Asked, input_tokens: int = 0) -> None:
        del input_tokens
        self.model, self._echo, self._spaces = model_name, asked.echo, named_in_full(asked.echo.get("tools"))
        self._base = ""
        self._created = 0
        self._number = -1
        self._items: list[Body] = []
        self._open: _Item | None = None
        self._calls: dict[int, _Item] = {}
        self._latest: _Item | None = None
        self._finish = "stop"
        self._usage: Body = {}
        self._begun: Body = {}

    def feed(self, chunk: Body) -> list[bytes]:
        """The events of a chunk."""
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk
        events = [] if self._base or goes_before(chunk) else self._begin(chunk)
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0):
                continue
            delta = choice.get("delta") or {}
            for field in ("reasoning_content", "content", "refusal"):
                if text := reasoning_of(delta) if field == "reasoning_content" else delta.get(field):
                    events += self._text(field, text)
            if delta.get("images"):
                events += self._pictured(delta)
            for part in delta.get("tool_calls") or ():
                events += self._called(part)
            if choice.get("finish_reason"):
                self._finish = choice["finish_reason"]
        return events

    def follow(self, event: SseEvent) -> None:
        """Takes the names and numbers of the response, of its events and of its items, and the text of the open one."""
        if not event.data:
            return
        try:
            said = orjson.loads(event.data)
            self._number = int(said["sequence_number"])
            self._follow(said["type"], said)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise BadAnswer("an event of the stream is not one of OpenAI's responses") from None

    def _follow(self, kind: str, said: Body) -> None:
        if kind == "response.created":
            self._begun = said["response"]
            self._base, self._created = str(self._begun["id"]), seconds(self._begun.get("created_at"))
        elif kind == "response.output_item.added":
            item, number = said["item"], len(self._items)
            if said["output_index"] != number:
                raise BadAnswer("the items of the stream are not in order")
            self._items.append(item)
            field = _FIELDS.get(item["type"])
            self._open = None if field is None else _Item(field, number, item["id"])
        elif kind == "response.content_part.added" and said["content_index"] > 0:
            raise BadAnswer("the item has more than one part")
        elif kind == "response.output_item.done":
            self._items[said["output_index"]], self._open = said["item"], None
        elif kind in _DELTAS and self._open is not None:
            self._open.field = _DELTAS[kind]
            self._open.pieces.append(said["delta"])

    def end(self, usage: TokenUsage | None = None) -> list[bytes]:
        """Ends all items and says the whole response."""
        events = [] if self._base else self._begin({})
        events += self._leave()
        for call in self._calls.values():
            if not self._is_over(call):
                events += self._ended(call)
        counted = usage or chat_usage(self._usage)
        said = None if counted is None else usage_from_chat(counted, reasoning_tokens(self._usage.get("usage")))
        whole = self._whole(self._finish, said)
        return [*events, self._event(f"response.{whole['status']}", response=whole)]

    def fail(self, code: str, message: str) -> list[bytes]:
        """An error event, which OpenAI's SDKs raise, and the response as failed."""
        events = [] if self._base else self._begin({})
        error = {"type": "server_error", "code": code, "message": message, "param": None}
        events.append(self._event("error", code=code, message=message, param=None, error=error))
        failed = self._whole("in_progress", None) | {"status": "failed", "error": {"code": code, "message": message}}
        return [*events, self._event("response.failed", response=failed)]

    def _begin(self, chunk: Body) -> list[bytes]:
        self._base, self._created = str(chunk.get("id") or "0"), seconds(chunk.get("created"))
        begun = self._whole("in_progress", None)
        return [self._event("response.created", response=begun), self._event("response.in_progress", response=begun)]

    def _whole(self, finish: str, usage: Body | None) -> Body:
        made = response(self._base, self.model, self._created, self._items, finish, usage)
        return {**made, **self._echo} | {k: v for k, v in self._begun.items() if k not in _GROWS}

    def _text(self, field: str, text: str) -> list[bytes]:
        events = []
        if self._open is None or self._open.field != field:
            events = [*self._leave(), *self._start(field)]
        item = self._open
        if item is not None:
            item.pieces.append(text)
            events.append(self._event(f"{item.verb}.delta", **item.place(), delta=text, **item.logprobs()))
        return events

    def _start(self, field: str) -> list[bytes]:
        number = len(self._items)
        name = self._base if number == 0 else f"{self._base}_{number}"
        made = reasoning_item(name, None) if field == "reasoning_content" else message_item(name, [], "in_progress")
        item = self._open = _Item(field, number, made["id"])
        self._items.append(made)
        return [
            self._event("response.output_item.added", output_index=number, item=made),
            self._event(f"{item.part_verb}.added", **item.place(), part=item.part("")),
        ]

    def _leave(self) -> list[bytes]:
        """Ends what is open before another item begins: clients put together one at a time, as OpenAI sends them."""
        call, item = self._latest, self._open
        self._latest = self._open = None
        if item is None:
            return [] if call is None or not _is_whole(call.pieces) else self._ended(call)
        text = "".join(item.pieces)
        whole = dict(self._items[item.number])
        if item.field == "reasoning_content":
            whole["summary"] = [item.part(text)]
        else:
            whole |= {"content": [item.part(text)], "status": "completed"}
        self._items[item.number] = whole
        spoken = {"refusal": text} if item.field == "refusal" else {"text": text}
        return [
            self._event(f"{item.verb}.done", **item.place(), **spoken, **item.logprobs()),
            self._event(f"{item.part_verb}.done", **item.place(), part=item.part(text)),
            self._event("response.output_item.done", output_index=item.number, item=whole),
        ]

    def _pictured(self, delta: Body) -> list[bytes]:
        events = self._leave()
        for _, url in pictures_of(delta):
            number = len(self._items)
            item = picture_item(f"{self._base}_{number}", url)
            self._items.append(item)
            begun = {**item, "status": "in_progress", "result": None}
            events += [
                self._event("response.output_item.added", output_index=number, item=begun),
                self._event("response.image_generation_call.completed", output_index=number, item_id=item["id"]),
                self._event("response.output_item.done", output_index=number, item=item),
            ]
        return events

    def _called(self, part: Body) -> list[bytes]:
        function = part.get("function") or {}
        index = part.get("index") or 0
        events = []
        if index not in self._calls:
            if len(self._calls) >= MOST_ITEMS:
                raise BadAnswer(f"the answer has more than {MOST_ITEMS} tool calls")
            events = self._leave()
            made = call_item(str(part.get("id")), name_called(part), "", "in_progress", spaces=self._spaces)
            self._calls[index] = self._latest = _Item("arguments", len(self._items), made["id"])
            self._items.append(made)
            number = self._calls[index].number
            events.append(self._event("response.output_item.added", output_index=number, item=made))
        call, text = self._calls[index], function.get("arguments")
        if self._is_over(call) and (text or "").strip():
            raise BadAnswer("a tool call goes on after it has ended")
        if text and not self._is_over(call):
            call.pieces.append(text)
            place = {"item_id": call.item_id, "output_index": call.number}
            events.append(self._event("response.function_call_arguments.delta", **place, delta=text))
        return events

    def _is_over(self, call: _Item) -> bool:
        return bool(self._items[call.number]["status"] == "completed")

    def _ended(self, call: _Item) -> list[bytes]:
        arguments = "".join(call.pieces) or "{}"
        whole = {**self._items[call.number], "arguments": arguments, "status": "completed"}
        self._items[call.number] = whole
        place = {"item_id": call.item_id, "output_index": call.number}
        return [
            self._event("response.function_call_arguments.done", **place, name=whole["name"], arguments=arguments),
            self._event("response.output_item.done", output_index=call.number, item=whole),
        ]

    def _event(self, kind: str, **fields: object) -> bytes:
        self._number += 1
        return frame(orjson.dumps({"type": kind, "sequence_number": self._number, **fields}), kind)


def _is_whole(arguments: list[str]) -> bool:
    """Whether it is an object, to which nothing can be added: servers may send pieces of several calls in turns."""
    try:
        return isinstance(orjson.loads("".join(arguments)), dict)
    except orjson.JSONDecodeError:
        return False


class _Item:
    """An output item that grows."""

    __slots__ = ("field", "item_id", "number", "pieces")

    def __init__(self, field: str, number: int, item_id: str) -> None:
        self.field, self.number, self.item_id = field, number, item_id
        self.pieces: list[str] = []

    @property
    def verb(self) -> str:
        """What its text is called in events."""
        return {
            "content": "response.output_text",
            "refusal": "response.refusal",
            "reasoning_content": "response.reasoning_summary_text",
        }[self.field]

    @property
    def part_verb(self) -> str:
        """What its part is called in events."""
        thought = self.field == "reasoning_content"
        return "response.reasoning_summary_part" if thought else "response.content_part"

    def place(self) -> Body:
        """Where its part is."""
        index = "summary_index" if self.field == "reasoning_content" else "content_index"
        return {"item_id": self.item_id, "output_index": self.number, index: 0}

    def part(self, text: str) -> Body:
        """Its part, with that text."""
        if self.field == "reasoning_content":
            return {"type": "summary_text", "text": text}
        return {"type": "refusal", "refusal": text} if self.field == "refusal" else text_part(text)

    def logprobs(self) -> Body:
        """A field that the SDKs demand of text alone."""
        return {"logprobs": []} if self.field == "content" else {}
