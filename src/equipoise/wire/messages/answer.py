"""Anthropic answers to chat completions and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.traffic import TokenUsage
from equipoise.wire.chat import first_choice
from equipoise.wire.errors import BadAnswer, reads_answers
from equipoise.wire.format import Asked, Body
from equipoise.wire.messages.request import THINKING
from equipoise.wire.pivot import (
    UNSIGNED,
    arguments_object,
    arguments_text,
    name_called,
    native,
    reasoning_of,
    tool_call,
    with_native,
)
from equipoise.wire.usage import chat_usage, count, is_count, reasoning_tokens, usage_to_chat

_NAME: Any = "messages"
FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "model_length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


@reads_answers
def to_chat(answer: Body, *, now: int = 0) -> Body:
    """The chat completion that says the same."""
    texts, calls, thinking = [], [], []
    for block in blocks_of(answer):
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text") or ""))
        elif kind == "tool_use":
            calls.append(tool_call(str(block.get("id")), str(block.get("name")), arguments_text(block.get("input"))))
        elif kind in THINKING:
            thinking.append(block)
    message: Body = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["reasoning_content"] = "".join(str(b.get("thinking") or "") for b in thinking)
        message["thinking_blocks"] = thinking
    choice = {"index": 0, "message": message, "finish_reason": finish_of(answer.get("stop_reason"))}
    chat = {
        "id": str(answer.get("id") or "msg"),
        "object": "chat.completion",
        "created": now,
        "model": str(answer.get("model") or ""),
        "choices": [with_native(choice, _NAME, stopped(answer))],
    }
    usage = usage_of(answer)
    return {**chat, "usage": usage_to_chat(usage, reasoning_tokens=thinking_tokens(answer["usage"]))} if usage else chat


def blocks_of(answer: Body) -> list[Body]:
    """The content of an answer.

    Raises:
        BadAnswer: it is not an Anthropic message.
    """
    blocks = answer.get("content")
    if answer.get("type") != "message" or not isinstance(blocks, list) or not all(isinstance(b, dict) for b in blocks):
        raise BadAnswer("the answer is not an Anthropic message: it has no content blocks")
    return blocks


def ended(answer: Body) -> str | None:
    """Why an answer ended, in chat's words.

    Raises:
        BadAnswer: it is not an Anthropic message.
    """
    blocks_of(answer)
    return finish_of(answer.get("stop_reason"))


def finish_of(reason: Any) -> str | None:
    """A stop reason in chat's words."""
    return FINISH.get(reason, "stop") if isinstance(reason, str) else None


def stop_of(choice: Body, *, calls: bool) -> Body:
    """Why an answer stopped, in Anthropic's words. OpenAI says ``stop`` of a call that it was forced to make."""
    own = native(choice, _NAME)
    reason = "tool_use" if calls and choice.get("finish_reason") == "stop" else None
    reason = own.get("stop_reason") or reason or _STOP_REASONS.get(str(choice.get("finish_reason")), "end_turn")
    return {"stop_reason": reason, "stop_sequence": own.get("stop_sequence")}


def stopped(said: Body) -> Body:
    """What chat has no words for in why an answer stopped."""
    kept = {k: said[k] for k in ("stop_reason", "stop_sequence") if said.get(k) is not None}
    return kept if kept.get("stop_reason") not in (None, "end_turn", "max_tokens", "tool_use", "refusal") else {}


def usage_of(answer: Body) -> TokenUsage | None:
    """The tokens of an answer; what was read from and written to the cache is part of the input."""
    usage = answer.get("usage")
    if not isinstance(usage, dict) or not is_count(usage.get("input_tokens")):
        return None
    used = [usage, *_summing_up(usage)]
    cached, written = _sum(used, "cache_read_input_tokens"), _sum(used, "cache_creation_input_tokens")
    return TokenUsage(
        input_tokens=_sum(used, "input_tokens") + cached + written,
        output_tokens=_sum(used, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(sum(map(_for_an_hour, used)), written),
    )


def _summing_up(usage: Body) -> list[Body]:
    """The usage of summing up the conversation before it was answered, which is billed, but no part of the totals."""
    steps = usage.get("iterations")
    steps = steps if isinstance(steps, list) else []
    return [step for step in steps if isinstance(step, dict) and step.get("type") == "compaction"]


def _sum(used: list[Body], field: str) -> int:
    return sum(count(one.get(field)) for one in used)


def _for_an_hour(usage: Body) -> int:
    kinds = usage.get("cache_creation")
    return count(kinds.get("ephemeral_1h_input_tokens")) if isinstance(kinds, dict) else 0


def thinking_tokens(usage: Body) -> int:
    """The output tokens that went into thinking."""
    details = usage.get("output_tokens_details")
    return count(details.get("thinking_tokens")) if isinstance(details, dict) else 0


def usage_from_chat(usage: TokenUsage, thought: int = 0) -> Body:
    """Anthropic's ``usage``: its input leaves out what the cache had and took."""
    plain = max(usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens, 0)
    said: Body = {
        "input_tokens": plain,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }
    return {**said, "output_tokens_details": {"thinking_tokens": thought}} if thought else said


def from_chat(chat: Body, model_name: str, asked: Asked | None = None) -> Body:
    """The Anthropic message that says the same."""
    del asked
    choice = first_choice(chat)
    message = choice["message"]
    blocks: list[Body] = list(message.get("thinking_blocks") or [])
    if not blocks and (reasoning := reasoning_of(message)):
        blocks.append({"type": "thinking", "thinking": reasoning, "signature": UNSIGNED})
    text = message.get("content") or message.get("refusal")
    if isinstance(text, str) and text:
        blocks.append({"type": "text", "text": text})
    for call in message.get("tool_calls") or []:
        use = {"type": "tool_use", "id": call.get("id"), "name": name_called(call)}
        blocks.append({**use, "input": arguments_object(call["function"].get("arguments"))})
    usage = chat_usage(chat) or TokenUsage()
    return {
        "id": message_id(chat),
        "type": "message",
        "role": "assistant",
        "model": model_name,
        "content": blocks,
        **stop_of(choice, calls=bool(message.get("tool_calls"))),
        "usage": usage_from_chat(usage, reasoning_tokens(chat.get("usage"))),
    }


def message_id(chat: Body) -> str:
    """An id as Anthropic's look."""
    given = str(chat.get("id") or "0")
    return given if given.startswith("msg") else f"msg_{given}"
