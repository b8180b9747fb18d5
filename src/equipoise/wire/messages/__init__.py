"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.types import WireFormat
from equipoise.wire.format import Asked, Body
from equipoise.wire.messages import answer as answers
from equipoise.wire.messages import request, stream
from equipoise.wire.messages.hygiene import settled
from equipoise.wire.messages.request import still_shown
from equipoise.wire.pivot import arguments_text
from equipoise.wire.reading import (
    Reading,
    maybe_count,
    maybe_flag,
    maybe_object,
    maybe_text,
    objects,
    some,
    text_of,
    tools_of,
    wrong,
)

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Messages:
    """The format ``messages``."""

    name: WireFormat = "messages"
    to_chat = staticmethod(request.to_chat)
    from_chat = staticmethod(request.from_chat)
    answer_to_chat = staticmethod(answers.to_chat)
    answer_from_chat = staticmethod(answers.from_chat)
    decoder = stream.Decoder
    encoder = stream.Encoder
    usage = staticmethod(answers.usage_of)
    finish = staticmethod(answers.ended)

    def read(self, body: Body) -> Asked:
        """What routing needs."""
        reading = Reading()
        if body.get("system"):
            _read_content(reading, "system", body["system"], "system")
        for path, message in objects(some(body, "messages"), "messages"):
            role = text_of(message, "role", f"{path}.")
            reading.turn(role)
            if not request.only_settings(message):
                _read_content(reading, role, message.get("content"), f"{path}.content")
        most = maybe_count(body, "max_tokens", least=0)
        if most is None:
            raise wrong("max_tokens", "a whole number", None)
        tools = tools_of(body)
        return reading.asked(
            text_of(body, "model"),
            tools,
            stream=maybe_flag(body, "stream"),
            include_usage=True,
            max_output_tokens=max(most, 1),
            json=bool(request.answer_format(body)),
            user=maybe_text(maybe_object(body, "metadata"), "user_id", "metadata."),
            vendor_state="thread" if body.get("thread") is not None else None,
        )

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """Anthropic's error shape, with ``code`` (where the SDKs look for it too) and ``param`` added."""
        kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind, "message": message, "code": code, "param": param, "details": {"error_code": code}}
        return {"type": "error", "error": error}


def _read_content(reading: Reading, role: str, content: Any, where: str) -> None:
    if isinstance(content, str):
        reading.say(role, content)
        return
    if not isinstance(content, list):
        raise wrong(where, "a string or a list of blocks", content)
    for path, block in objects(content, where):
        _read_block(reading, role, text_of(block, "type", f"{path}."), block, path)


def _read_block(reading: Reading, role: str, kind: str, block: Body, path: str) -> None:
    if kind == "tool_result":
        _read_content(reading, "tool", block.get("content") or "", f"{path}.content")
    elif kind in ("text", "thinking"):
        reading.say(role, maybe_text(block, kind, f"{path}.") or "")
    elif kind == "image":
        reading.images += 1
    elif kind == "tool_use":
        reading.say(role, arguments_text(maybe_object(block, "input", f"{path}.")))
    elif request.is_summary(block):
        reading.sum_up(maybe_text(block, "content", f"{path}.") or "")
    elif kind == "search_result":
        reading.say(role, request.searched(block, path))
    elif kind == "document":
        if maybe_object(block, "source", f"{path}.").get("type") == "text":
            reading.say(role, request.written(block, path))
        else:
            reading.files = True


__all__ = ["Messages", "settled", "still_shown"]
