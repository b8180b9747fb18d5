"""Google's Gemini."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.types import WireFormat
from equipoise.wire.format import Asked, Body
from equipoise.wire.gemini import answer as answers
from equipoise.wire.gemini import request
from equipoise.wire.gemini.hygiene import settled
from equipoise.wire.pivot import arguments_text
from equipoise.wire.reading import (
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
)

STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    """The format ``gemini``."""

    name: WireFormat = "gemini"
    to_chat = staticmethod(request.to_chat)
    from_chat = staticmethod(request.from_chat)
    answer_to_chat = staticmethod(answers.to_chat)
    answer_from_chat = staticmethod(answers.from_chat)
    decoder = answers.Decoder
    encoder = answers.Encoder
    usage = staticmethod(answers.usage_of)
    finish = staticmethod(answers.ended)

    def read(self, body: Body) -> Asked:
        """What routing needs."""
        reading = Reading("contents")
        for path, part in objects(maybe_list(maybe_object(body, "systemInstruction"), "parts"), "systemInstruction"):
            reading.say("system", maybe_text(part, "text", f"{path}.") or "")
        for path, content in objects(some(body, "contents"), "contents"):
            role = "assistant" if content.get("role") == "model" else "user"
            reading.turn(role)
            for where, part in _parts(content, path):
                _read_part(reading, role, part, where)
        config = maybe_object(body, "generationConfig")
        tools = tools_of(body)
        return reading.asked(
            text_of(body, "model"),
            tools,
            stream=maybe_flag(body, "stream"),
            include_usage=True,
            max_output_tokens=maybe_count(config, "maxOutputTokens", where="generationConfig."),
            json=config.get("responseMimeType") == "application/json" or "responseJsonSchema" in config,
            n=maybe_count(config, "candidateCount", MOST_CHOICES, "generationConfig.") or 1,
        )

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """Google's error shape; ``code`` is the reason in the details."""
        kind = STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "metadata": {"param": param or ""}}
        return {"error": {"code": status, "message": message, "status": kind, "details": [info]}}


def _parts(content: Body, path: str) -> list[tuple[str, Body]]:
    return list(objects(maybe_list(content, "parts", f"{path}."), f"{path}.parts"))


def _read_part(reading: Reading, role: str, part: Body, where: str) -> None:
    if "functionResponse" in part:
        reading.say("tool", arguments_text(maybe_object(part, "functionResponse", f"{where}.").get("response")))
    elif "text" in part:
        reading.say(role, maybe_text(part, "text", f"{where}.") or "")
    elif "functionCall" in part:
        reading.say(role, arguments_text(maybe_object(part, "functionCall", f"{where}.").get("args")))
    elif str(maybe_object(part, "inlineData", f"{where}.").get("mimeType") or "").startswith("image/"):
        reading.images += 1


__all__ = ["Gemini", "settled"]
