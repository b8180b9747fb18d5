"""Chat answers and chunks from outside, checked once, so that whoever reads them later need not."""

from __future__ import annotations

from typing import Any

from equipoise.wire.errors import BadAnswer
from equipoise.wire.format import Body

_TEXTS = ("content", "reasoning_content", "refusal")
# The type of a part that is reasoning, as Mistral has it.
THOUGHT = "thinking"
# What Mistral and OpenRouter, vLLM and SGLang, and DeepSeek say of an answer that they could not finish.
_BROKEN_OFF = frozenset({"error", "abort", "insufficient_system_resource"})
_TEXT_OR_NOTHING = (str, type(None))
# Beyond it, readers of JSON no longer agree what a number is.
_LATEST_S = 1 << 53


def checked_chunk(chunk: Any) -> Body:
    """A stream chunk whose choices have an index and a delta; what a vendor left out is filled in.

    Raises:
        BadAnswer: it is no chunk.
    """
    if not isinstance(chunk, dict):
        raise BadAnswer("an event of the stream is not an object")
    choices = chunk.get("choices")
    if choices is None:
        choices = chunk["choices"] = []
    if not isinstance(choices, list) or not _is_head(chunk):
        raise BadAnswer("an event of the stream is not a chat completion chunk")
    for choice in choices:
        if not isinstance(choice, dict) or not _is_ending(choice):
            raise BadAnswer("an event of the stream is not a chat completion chunk")
        check_whole(choice)
        delta = choice.get("delta")
        choice["delta"] = {} if delta is None else checked_message(delta)
    return chunk


def checked_completion(answer: Body) -> Body:
    """A chat completion with at least one choice, each with a message.

    Raises:
        BadAnswer: it is none.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not _is_head(answer):
        raise BadAnswer("the answer is not a chat completion: it has no choices")
    for choice in choices:
        if not isinstance(choice, dict) or not _is_ending(choice) or "message" not in choice:
            raise BadAnswer("the answer is not a chat completion: it has no message")
        check_whole(choice)
        message = checked_message(choice["message"], numbered=False)
        for i, call in enumerate(message.get("tool_calls") or ()):
            call["id"] = call.get("id") or made_id(answer, i)
    return answer


def checked_message(message: Any, *, numbered: bool = True) -> Body:
    """An assistant message, or a delta of one, where calls are ``numbered``: texts are texts, calls are calls.

    Raises:
        BadAnswer: it is none.
    """
    if not isinstance(message, dict):
        raise BadAnswer("the answer holds a message that is no object")
    for field in _TEXTS:
        value = message.get(field)
        if value is not None and not isinstance(value, str):
            message[field] = _joined(value, field)
            if field == "content" and (thought := _thought(value)):
                message["reasoning_content"] = thought
    calls = message.get("tool_calls")
    if calls is not None:
        _check_calls(calls, numbered)
    blocks = message.get("thinking_blocks")
    if blocks is not None and not (isinstance(blocks, list) and all(isinstance(b, dict) for b in blocks)):
        raise BadAnswer("the answer holds thinking blocks that are none")
    return message


def check_whole(choice: Body) -> None:
    """Refuse an answer that its server says it broke off.

    Raises:
        BadAnswer: it is one.
    """
    if choice.get("finish_reason") in _BROKEN_OFF:
        raise BadAnswer(f"the server broke off the answer ({choice['finish_reason']})")


def made_id(answer: Body, number: int) -> str:
    """The id of a tool call to which its server gave none. Ids of answers alone do not differ everywhere."""
    return f"call_{answer.get('id') or 0}_{answer.get('created') or 0}_{number}"


def _joined(value: Any, field: str) -> str:
    """Some vendors give the content as parts."""
    if not isinstance(value, list) or not all(isinstance(p, dict) for p in value):
        raise BadAnswer(f"the answer has a {field} that is no text")
    return "".join(str(p["text"]) for p in value if isinstance(p.get("text"), str))


def _thought(parts: list[Body]) -> str:
    """The reasoning among the parts of a content, where Mistral has it."""
    thoughts = [p.get("thinking") for p in parts if p.get("type") == THOUGHT]
    return "".join(t if isinstance(t, str) else _joined(t or [], THOUGHT) for t in thoughts)


def _check_calls(calls: Any, numbered: bool) -> None:
    if not isinstance(calls, list):
        raise BadAnswer("the answer has tool calls that are no list")
    for i, call in enumerate(calls):
        if not isinstance(call, dict):
            raise BadAnswer("the answer has a tool call that is no object")
        if numbered and call.get("index") is None:
            call["index"] = i
        if numbered and not isinstance(call["index"], int):
            raise BadAnswer("the answer has a tool call whose index is no number")
        if not isinstance(call.get("id"), _TEXT_OR_NOTHING):
            raise BadAnswer("the answer has a tool call whose id is no text")
        _check_function(call, numbered)


def _check_function(call: Body, piece: bool) -> None:
    """A call is of a function, or of a tool of another kind, which only chat has; a piece may say neither again."""
    function = call.get("function")
    if function is None and (piece or isinstance(call.get("custom"), dict)):
        return
    if not isinstance(function, dict):
        raise BadAnswer("the answer has a tool call without a function")
    if not isinstance(function.get("name"), _TEXT_OR_NOTHING) or not isinstance(
        function.get("arguments"), _TEXT_OR_NOTHING
    ):
        raise BadAnswer("the answer has a tool call whose name or arguments are no text")


def seconds(value: Any, otherwise: int = 0) -> int:
    """A time as vendors give it, in whole seconds; ``otherwise`` for what is none."""
    return int(value) if _is_time(value) else otherwise


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and -_LATEST_S <= value <= _LATEST_S


def _is_head(document: Body) -> bool:
    created = document.get("created")
    return (created is None or _is_time(created)) and isinstance(document.get("id"), _TEXT_OR_NOTHING)


def _is_ending(choice: Body) -> bool:
    return isinstance(choice.get("finish_reason"), _TEXT_OR_NOTHING) and isinstance(choice.get("index", 0), int)
