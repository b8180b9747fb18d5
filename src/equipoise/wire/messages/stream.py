"""Anthropic streams to chat chunks and back."""

from __future__ import annotations

from typing import Any

import orjson

from equipoise.traffic import TokenUsage
from equipoise.wire.errors import BadAnswer, BadRequest
from equipoise.wire.format import NATIVE, Asked, Body
from equipoise.wire.messages.answer import (
    finish_of,
    message_id,
    stop_of,
    stopped,
    thinking_tokens,
    usage_from_chat,
    usage_of,
)
from equipoise.wire.messages.request import NUMBER, THINKING
from equipoise.wire.pivot import (
    UNSIGNED,
    arguments_text,
    chunk,
    chunk_head,
    goes_before,
    name_called,
    reasoning_of,
    rest,
    tool_call,
)
from equipoise.wire.sse import SseEvent, frame
from equipoise.wire.usage import chat_usage, reasoning_tokens, usage_to_chat

MOST_BLOCKS = 4096
_NAME: Any = "messages"


class Decoder:
    """Anthropic's events become chunks."""

    def __init__(self, *, now: int = 0) -> None:
        self.complete = False
        self._now = now
        self._head: Body = chunk_head("msg", "", now)
        self._usage: Body = {}
        self._open: Body | None = None
        self._tools = self._blocks = self._thoughts = 0
        self._argued = False
        self._at_work: set[str] = set()

    @property
    def bound(self) -> bool:
        """Whether a tool of the vendor's own has not brought its result."""
        return bool(self._at_work)

    def feed(self, event: SseEvent) -> list[Body]:
        """The chunks of an event."""
        if not event.data:
            return []
        try:
            said = orjson.loads(event.data)
            return self._chunks(said)
        except (ValueError, KeyError, TypeError, AttributeError, BadRequest):
            raise BadAnswer("an event of the stream is not one of Anthropic's") from None

    def _chunks(self, said: Body) -> list[Body]:
        kind = said.get("type")
        if kind == "content_block_delta":
            return self._delta(said["delta"])
        if kind == "content_block_start":
            return self._block(said["content_block"])
        if kind == "content_block_stop":
            return self._close()
        if kind == "message_start":
            message = said["message"]
            self._head = chunk_head(str(message.get("id") or "msg"), str(message.get("model") or ""), self._now)
            return [chunk(self._head, {"role": "assistant", "content": ""}), *self._count(message)]
        if kind == "message_delta":
            return self._stop(said)
        if kind == "ping" and self._open is not None and self._open["type"] != "text":
            # Arguments and hidden thoughts are held back until they are whole; that they are written is all it tells.
            return [chunk(self._head, {})]
        return []

    def _block(self, block: Body) -> list[Body]:
        self._open = dict(block)
        self._blocks += 1
        if self._blocks > MOST_BLOCKS:
            raise BadAnswer(f"the answer has more than {MOST_BLOCKS} blocks")
        kind = block["type"]
        if kind == "tool_use":
            self._argued = False
            call = {"index": self._tools, **tool_call(block["id"], block["name"], "")}
            self._tools += 1
            return [chunk(self._head, {"tool_calls": [call]})]
        if "tool_use_id" in block:
            self._at_work.discard(str(block["tool_use_id"]))
        elif kind.endswith("tool_use"):
            self._at_work.add(str(block.get("id")))
        if kind == "text" and block.get("text"):
            return [chunk(self._head, {"content": block["text"]})]
        if kind == "thinking" and block.get("thinking"):
            return [chunk(self._head, {"reasoning_content": block["thinking"]})]
        return []

    def _delta(self, delta: Body) -> list[Body]:
        kind = delta["type"]
        if kind == "text_delta":
            return [chunk(self._head, {"content": delta["text"]})]
        if kind == "input_json_delta" and self._open is not None and self._open["type"] == "tool_use":
            return self._argument(delta["partial_json"]) if delta["partial_json"] else []
        if self._open is not None and kind == "thinking_delta":
            self._open["thinking"] = self._open.get("thinking", "") + delta["thinking"]
            return [chunk(self._head, {"reasoning_content": delta["thinking"]})]
        if self._open is not None and kind == "signature_delta":
            self._open["signature"] = delta["signature"]
        return []

    def _close(self) -> list[Body]:
        block, self._open = self._open, None
        if block is None:
            return []
        if block["type"] == "tool_use" and not self._argued:
            # Of a call without arguments nothing is streamed; chat's is an empty object. Others give them at the start.
            return self._argument(arguments_text(block.get("input")))
        if block["type"] not in THINKING:
            return []
        # OpenAI's SDKs put lists together by the numbers of what is in them, and refuse a second piece that has none.
        numbered = {"index": self._thoughts, **block}
        self._thoughts += 1
        return [chunk(self._head, {"thinking_blocks": [numbered]})]

    def _argument(self, text: str) -> list[Body]:
        self._argued = True
        return [chunk(self._head, {"tool_calls": [{"index": self._tools - 1, "function": {"arguments": text}}]})]

    def _stop(self, said: Body) -> list[Body]:
        counted = self._count(said)
        reason = finish_of(said["delta"].get("stop_reason"))
        if reason is None:
            return counted
        self.complete = True
        last = chunk(self._head, {}, reason)
        if kept := stopped(said["delta"]):
            last["choices"][0][NATIVE] = {_NAME: kept}
        return [last, *counted]

    def _count(self, said: Body) -> list[Body]:
        # The counts of later events are totals that replace the earlier ones; those left out, by some with zeros, stay.
        self._usage |= {k: v for k, v in (said.get("usage") or {}).items() if v or (v == 0 and k not in self._usage)}
        usage = usage_of({"usage": self._usage})
        if usage is None:
            return []
        said = usage_to_chat(usage, reasoning_tokens=thinking_tokens(self._usage))
        return [{**self._head, "choices": [], "usage": said}]


class Encoder:
    """Chunks become Anthropic's events: blocks one after the other, each begun and ended.

    ``input_tokens`` is said where a stream begins without its usage, as most do: clients want to know it already then.
    """

    def __init__(self, model_name: str, asked: Asked, input_tokens: int = 0) -> None:
        del asked
        self.model, self._input_tokens = model_name, input_tokens
        self._started = False
        self._kind = ""
        self._index = -1
        self._tool: int | None = None
        self._held: dict[int, Body] = {}
        self._closed: set[int] = set()
        self._usage: Body = {}
        self._stop: Body = {}
        self._calls = False

    def feed(self, chunk: Body) -> list[bytes]:
        """The events of a chunk."""
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk
        events = [] if self._started or goes_before(chunk) else self._begin(chunk)
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0):
                continue
            delta = choice.get("delta") or {}
            if thought := reasoning_of(delta):
                events += self._thought(thought)
            for block in delta.get("thinking_blocks") or ():
                events += self._signed(block)
            if text := delta.get("content") or delta.get("refusal"):
                events += self._to("text", {"type": "text", "text": ""})
                events.append(self._delta({"type": "text_delta", "text": text}))
            for part in delta.get("tool_calls") or ():
                self._calls = True
                events += self._called(part)
            if choice.get("finish_reason"):
                self._stop = stop_of(choice, calls=self._calls)
        return events

    def follow(self, event: SseEvent) -> None:
        """Takes the number of the block, and whether it is open."""
        if not event.data:
            return
        try:
            said = orjson.loads(event.data)
            kind = said.get("type")
            self._started = self._started or kind == "message_start"
            if kind == "content_block_start":
                self._index, self._kind = int(said["index"]), str(said["content_block"]["type"])
            elif kind == "content_block_stop":
                self._kind = ""
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadAnswer("an event of the stream is not one of Anthropic's") from None

    def end(self, usage: TokenUsage | None = None) -> list[bytes]:
        """The calls that were held back, why the answer ended, its usage."""
        events = [] if self._started else self._begin({})
        for index in sorted(self._held):
            events += self._whole_call(self._held[index])
        self._held.clear()
        events += self._leave()
        counted = usage or chat_usage(self._usage) or TokenUsage()
        said = usage_from_chat(counted, reasoning_tokens(self._usage.get("usage")))
        stop = self._stop or stop_of({"finish_reason": "stop"}, calls=self._calls)
        events.append(_event("message_delta", {"delta": stop, "usage": said}))
        events.append(_event("message_stop", {}))
        return events

    def fail(self, code: str, message: str) -> list[bytes]:
        """An error event, which Anthropic's SDKs raise."""
        return [_event("error", {"error": {"type": "api_error", "message": message, "code": code}})]

    def _begin(self, chunk: Body) -> list[bytes]:
        self._started = True
        message: Body = {
            "id": message_id(chunk),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_from_chat(chat_usage(chunk) or TokenUsage(input_tokens=self._input_tokens)),
        }
        return [_event("message_start", {"message": message})]

    def _to(self, kind: str, block: Body) -> list[bytes]:
        """Leave the open block for a new one, unless it already is of that kind."""
        if self._kind == kind:
            return []
        events = self._leave()
        self._kind = kind
        self._index += 1
        events.append(_event("content_block_start", {"index": self._index, "content_block": block}))
        return events

    def _leave(self) -> list[bytes]:
        if not self._kind:
            return []
        events = []
        if self._kind == "thinking":
            events.append(self._delta({"type": "signature_delta", "signature": UNSIGNED}))
        if self._tool is not None:
            self._closed.add(self._tool)
        self._kind, self._tool = "", None
        events.append(_event("content_block_stop", {"index": self._index}))
        return events

    def _delta(self, delta: Body) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _thought(self, text: str) -> list[bytes]:
        events = self._to("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        return [*events, self._delta({"type": "thinking_delta", "thinking": text})]

    def _signed(self, block: Body) -> list[bytes]:
        """A thinking block is whole; its text went out before. LiteLLM sends pieces, too, before they are signed."""
        if block.get("type") == "redacted_thinking":
            return [*self._to("redacted_thinking", rest(block, NUMBER)), *self._leave()]
        if not block.get("signature"):
            return []
        events = self._to("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        events.append(self._delta({"type": "signature_delta", "signature": str(block["signature"])}))
        self._kind = ""
        events.append(_event("content_block_stop", {"index": self._index}))
        return events

    def _called(self, part: Body) -> list[bytes]:
        """The first call streams; others that come while it is open wait for its end, since blocks cannot mix."""
        number = part.get("index") or 0
        arguments = (part.get("function") or {}).get("arguments") or ""
        if number in self._closed:
            raise BadAnswer("a tool call goes on after it has ended")
        if self._tool is None and number not in self._held and part.get("id"):
            start = self._to(f"tool{number}", _use(part))
            self._tool = number
            return [*start, *self._arguments(arguments)]
        if self._tool == number:
            return self._arguments(arguments)
        if len(self._held) >= MOST_BLOCKS:
            raise BadAnswer(f"the answer has more than {MOST_BLOCKS} tool calls")
        held = self._held.setdefault(number, {"function": {"arguments": ""}})
        name = held["function"].get("name") or name_called(part)
        text = held["function"]["arguments"] + arguments
        self._held[number] = {"id": part.get("id") or held.get("id"), "function": {"name": name, "arguments": text}}
        return []

    def _whole_call(self, call: Body) -> list[bytes]:
        events = self._to(f"tool {call.get('id')}", _use(call))
        return [*events, *self._arguments(call["function"]["arguments"])]

    def _arguments(self, text: str) -> list[bytes]:
        return [self._delta({"type": "input_json_delta", "partial_json": text})] if text else []


def _use(call: Body) -> Body:
    return {"type": "tool_use", "id": call.get("id"), "name": name_called(call), "input": {}}


def _event(kind: str, fields: Body) -> bytes:
    return frame(orjson.dumps({"type": kind, **fields}), kind)
