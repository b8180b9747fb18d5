"""OpenAI Responses answers to chat completions and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.traffic import TokenUsage
from equipoise.wire.chat import FILTERED, first_choice
from equipoise.wire.checks import seconds
from equipoise.wire.errors import BadAnswer, reads_answers
from equipoise.wire.format import Asked, Body
from equipoise.wire.media import split_data_url
from equipoise.wire.pivot import name_called, pictures_of, reasoning_of, tool_call
from equipoise.wire.reading import maybe_list
from equipoise.wire.responses.request import named_in_full, summary_of
from equipoise.wire.usage import chat_usage, count, is_count, reasoning_tokens, usage_to_chat

# In the ids of items that we made: the vendor does not know them.
MADE = "eq_"
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
_ANY_TEXT: Body = {"format": {"type": "text"}}
# ``model_length`` is Mistral's.
_INCOMPLETE = {
    "length": "max_output_tokens",
    "model_length": "max_output_tokens",
    "content_filter": "content_filter",
}


def made_here(item: Body) -> bool:
    """Whether an item of an answer was made in a translation, so that no vendor knows it."""
    return isinstance(item.get("id"), str) and item["id"].partition("_")[2].startswith(MADE)


def items_of(answer: Body) -> list[Body]:
    """The output of an answer.

    Raises:
        BadAnswer: it is not a response, or one that failed.
    """
    items = answer.get("output")
    if answer.get("object") != "response" or not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise BadAnswer("the answer is not a response: it has no output items")
    if answer.get("status") in ("failed", "cancelled"):
        raise BadAnswer(f"the response is {answer['status']}")
    return items


@reads_answers
def to_chat(answer: Body, *, now: int = 0) -> Body:
    """The chat completion that says the same."""
    texts, refusals, calls, reasoning = [], [], [], []
    for item in items_of(answer):
        kind = item.get("type")
        if kind == "message":
            parts = [p for p in maybe_list(item, "content") if isinstance(p, dict)]
            texts += [str(p.get("text") or "") for p in parts if p.get("type") == "output_text"]
            refusals += [str(p.get("refusal") or "") for p in parts if p.get("type") == "refusal"]
        elif kind == "function_call":
            calls.append(tool_call(str(item.get("call_id")), str(item.get("name")), str(item.get("arguments") or "")))
        elif kind == "reasoning":
            reasoning += summary_of(item)
    message: Body = {"role": "assistant", "content": "".join(texts) if texts else None}
    if refusals:
        message["refusal"] = "".join(refusals)
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_content"] = "\n".join(reasoning)
    chat = {
        "id": str(answer.get("id") or "resp"),
        "object": "chat.completion",
        "created": seconds(answer.get("created_at"), now),
        "model": str(answer.get("model") or ""),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_of(answer)}],
    }
    usage = usage_of(answer)
    return {**chat, "usage": usage_to_chat(usage, reasoning_tokens=thought(answer))} if usage else chat


def ended(answer: Body) -> str | None:
    """Why an answer ended, in chat's words; a refusal was filtered.

    Raises:
        BadAnswer: it is not a response, or one that failed.
    """
    contents = [item.get("content") for item in items_of(answer) if item.get("type") == "message"]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    refused = any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)
    return FILTERED if refused else finish_of(answer)


def finish_of(answer: Body) -> str | None:
    """Why the answer ended, in chat's words."""
    status = answer.get("status")
    if status == "incomplete":
        details = answer.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "content_filter" if reason == "content_filter" else "length"
    if status != "completed":
        return None
    calls = any(isinstance(i, dict) and i.get("type") == "function_call" for i in answer.get("output") or [])
    return "tool_calls" if calls else "stop"


def usage_of(answer: Body) -> TokenUsage | None:
    """The tokens of an answer, where it says them."""
    usage = answer.get("usage")
    if not isinstance(usage, dict) or not is_count(usage.get("input_tokens")):
        return None
    details = usage.get("input_tokens_details")
    details = details if isinstance(details, dict) else {}
    return TokenUsage(
        input_tokens=count(usage["input_tokens"]),
        output_tokens=count(usage.get("output_tokens")),
        cached_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
    )


def thought(answer: Body) -> int:
    """The output tokens that went into reasoning."""
    usage = answer.get("usage")
    details = usage.get("output_tokens_details") if isinstance(usage, dict) else None
    return count(details.get("reasoning_tokens")) if isinstance(details, dict) else 0


def usage_from_chat(usage: TokenUsage, reasoning: int) -> Body:
    """The ``usage`` of a response."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def echo_of(body: Body) -> Body:
    """What of a request its response says again."""
    said = {k: body[k] for k in _ECHOED if body.get(k) is not None}
    return {**said, "text": _ANY_TEXT | said["text"]} if isinstance(said.get("text"), dict) else said


def from_chat(chat: Body, model_name: str, asked: Asked | None = None) -> Body:
    """The response that says the same; what was asked is said again."""
    echo: Mapping[str, Any] = {} if asked is None else asked.echo
    spaces = named_in_full(echo.get("tools"))
    choice = first_choice(chat)
    message = choice["message"]
    base = str(chat.get("id") or "0")
    items: list[Body] = []
    if reasoning := reasoning_of(message):
        items.append(reasoning_item(base, reasoning))
    parts = []
    if message.get("content"):
        parts.append(text_part(str(message["content"])))
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": str(message["refusal"])})
    if parts:
        items.append(message_item(base, parts))
    items += [picture_item(f"{base}_{i}", url) for i, (_, url) in enumerate(pictures_of(message))]
    for call in message.get("tool_calls") or []:
        name, arguments = name_called(call), str(call["function"].get("arguments") or "{}")
        items.append(call_item(str(call.get("id")), name, arguments, spaces=spaces))
    usage = chat_usage(chat)
    said = None if usage is None else usage_from_chat(usage, reasoning_tokens(chat.get("usage")))
    created, finish = seconds(chat.get("created")), str(choice.get("finish_reason"))
    return {**response(base, model_name, created, items, finish, said), **echo}


def response(base: str, model: str, created: int, items: list[Body], finish: str, usage: Body | None) -> Body:
    """A response as the SDKs expect it. ``finish`` is chat's word; ``in_progress`` for one that has not ended."""
    incomplete = _INCOMPLETE.get(finish)
    status = "in_progress" if finish == "in_progress" else "incomplete" if incomplete else "completed"
    return {
        "id": base if base.startswith("resp") else f"resp_{base}",
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": model,
        "output": items,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,  # it cannot be fetched later
        "temperature": None,
        "text": _ANY_TEXT,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": usage,
    }


def text_part(text: str) -> Body:
    """A piece of text of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message_item(base: str, parts: list[Any], status: str = "completed") -> Body:
    """What the model says."""
    return {"id": f"msg_{MADE}{base}", "type": "message", "role": "assistant", "status": status, "content": parts}


def reasoning_item(base: str, text: str | None) -> Body:
    """What the model thought, as a summary."""
    summary = [] if text is None else [{"type": "summary_text", "text": text}]
    return {"id": f"rs_{MADE}{base}", "type": "reasoning", "summary": summary}


def picture_item(name: str, url: str) -> Body:
    """A picture that the model made, from a ``data:`` URL."""
    kind, data = split_data_url(url) or ("", "")
    made = {"id": f"ig_{MADE}{name}", "type": "image_generation_call", "status": "completed"}
    return {**made, "result": data, "output_format": kind.removeprefix("image/")}


def call_item(
    call_id: str,
    name: str,
    arguments: str,
    status: str = "completed",
    *,
    spaces: Mapping[str, tuple[str, str]],
) -> Body:
    """A call of a function. ``spaces``: those that are in a namespace, by their names for others."""
    made = {"id": f"fc_{MADE}{call_id}", "type": "function_call", "call_id": call_id, "name": name}
    if name in spaces:
        made["namespace"], made["name"] = spaces[name]
    return {**made, "arguments": arguments, "status": status}
