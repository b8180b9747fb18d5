"""An Anthropic request that other models had a hand in, made acceptable to the next one."""

from __future__ import annotations

from typing import Any

from equipoise.wire.format import Body
from equipoise.wire.history import DistinctIds
from equipoise.wire.messages.request import IDS, THINKING
from equipoise.wire.pivot import UNSIGNED

_IDS_IN = {"tool_use": "id", "tool_result": "tool_use_id"}
_LEFT_OUT: Body = {"type": "text", "text": "(no words)"}


def settled(body: Body, *, mixed: bool) -> Body:
    """Without thinking that the next model cannot verify or answers that say nothing, with ids that Anthropic takes.

    ``mixed``: other models answered before, so no signature counts. The body itself where nothing is wrong.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    said = [m for m in messages if not _says_nothing(m)] or messages
    ids = DistinctIds(IDS)
    cleaned = [_message(m, ids, mixed) for m in said]
    if len(said) < len(messages) or any(new is not old for new, old in zip(cleaned, said, strict=True)):
        body = {**body, "messages": cleaned}
    if _thinks(body) and _calls_without_thinking(cleaned):
        # A tool call in progress has to begin with thinking, which its model did not leave.
        body = {k: v for k, v in body.items() if k != "thinking"}
    return body


def _says_nothing(message: Any) -> bool:
    """Whether it is an empty answer, which Anthropic's own models give too, and nobody may send back."""
    return isinstance(message, dict) and message.get("role") == "assistant" and message.get("content") in ("", [])


def _message(message: Any, ids: DistinctIds, mixed: bool) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    answered = message.get("role") == "assistant"
    blocks = [b for b in content if not (_unusable(b, mixed) or (answered and _is_blank(b)))]
    blocks = [_with_id(b, ids) for b in blocks]
    if len(blocks) == len(content) and all(new is old for new, old in zip(blocks, content, strict=True)):
        return message
    return {**message, "content": blocks or [_LEFT_OUT]}


def _unusable(block: Any, mixed: bool) -> bool:
    if not isinstance(block, dict) or block.get("type") not in THINKING:
        return False
    return mixed or block.get("signature") == UNSIGNED


def _is_blank(block: Any) -> bool:
    """Whether it is a text of white space, which other models say before they call a tool, and Anthropic refuses."""
    text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
    return isinstance(text, str) and not text.strip()


def _with_id(block: Any, ids: DistinctIds) -> Any:
    """The block with an id that Anthropic takes; itself where it has one, or none at all."""
    kind = str(block.get("type")) if isinstance(block, dict) else ""
    field = _IDS_IN.get(kind, "")
    given = block.get(field) if field else None
    if not isinstance(given, str):
        return block
    fitting = ids.of_call(given) if kind == "tool_use" else ids.of_result(given)
    return block if fitting == given else {**block, field: fitting}


def _thinks(body: Body) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") == "enabled"


def _calls_without_thinking(messages: list[Any]) -> bool:
    last = next((m for m in reversed(messages) if isinstance(m, dict) and m.get("role") == "assistant"), {})
    content = last.get("content")
    kinds = [b.get("type") for b in content if isinstance(b, dict)] if isinstance(content, list) else []
    return "tool_use" in kinds and kinds[0] not in THINKING
