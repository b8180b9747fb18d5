"""Google's Gemini."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.types import TokenUsage, WireFormat
from equipoise.wire.errors import BadAnswer, BadRequest
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

    def read(self, body: Body) -> Asked:
        """What routing needs."""
        reading, turns = Reading(), 0
        for path, part in objects(maybe_list(maybe_object(body, "systemInstruction"), "parts"), "systemInstruction"):
            reading.say("system", maybe_text(part, "text", f"{path}.") or "")
        contents = maybe_list(body, "contents")
        if not contents:
            raise BadRequest("'contents' is missing; give at least one", param="contents", code="missing_field")
        for path, content in objects(contents, "contents"):
            role = "assistant" if content.get("role") == "model" else "user"
            reading.turn()
            own = [_read_part(reading, role, part, where) for where, part in _parts(content, path)]
            turns += role == "user" and any(own)
        config = maybe_object(body, "generationConfig")
        tools = tools_of(body)
        return reading.asked(
            text_of(body, "model"),
            tools,
            turns=turns,
            stream=maybe_flag(body, "stream"),
            include_usage=True,
            max_output_tokens=maybe_count(config, "maxOutputTokens", where="generationConfig."),
            capabilities=_capabilities(tools, reading.images, config),
            n=maybe_count(config, "candidateCount", MOST_CHOICES, "generationConfig.") or 1,
        )

    def to_chat(self, body: Body) -> Body:
        """The chat request that asks for the same."""
        return request.to_chat(body)

    def from_chat(self, chat: Body) -> Body:
        """The Gemini request that asks for the same."""
        return request.from_chat(chat)

    def answer_to_chat(self, answer: Body, *, now: int = 0) -> Body:
        """The chat completion that says the same."""
        try:
            return answers.to_chat(answer, now)
        except BadRequest as error:
            raise BadAnswer(str(error)) from None

    def answer_from_chat(self, chat: Body, model_name: str) -> Body:
        """The Gemini answer that says the same."""
        return answers.from_chat(chat, model_name)

    def decoder(self, *, now: int = 0) -> answers.Decoder:
        """For one upstream stream."""
        return answers.Decoder(now)

    def encoder(self, model_name: str, asked: Asked) -> answers.Encoder:
        """For one client's stream."""
        del asked
        return answers.Encoder(model_name)

    def usage(self, answer: Body) -> TokenUsage | None:
        """The tokens of an answer, where it says them."""
        return answers.usage_of(answer)

    def finish(self, answer: Body) -> str | None:
        """Why the first candidate ended, in chat's words."""
        candidate = answers.candidates_of(answer)[0]
        try:
            return answers.finish_of(candidate, "tool_calls" in answers.message_of(candidate, answer))
        except BadRequest as error:
            raise BadAnswer(str(error)) from None

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """Google's error shape; ``code`` is the reason in the details."""
        kind = STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "metadata": {"param": param or ""}}
        return {"error": {"code": status, "message": message, "status": kind, "details": [info]}}


def _parts(content: Body, path: str) -> list[tuple[str, Body]]:
    return list(objects(maybe_list(content, "parts", f"{path}."), f"{path}.parts"))


def _read_part(reading: Reading, role: str, part: Body, where: str) -> bool:
    """What a part says; whether it is more than the result of a tool."""
    if "functionResponse" in part:
        reading.say("tool", arguments_text(maybe_object(part, "functionResponse", f"{where}.").get("response")))
        return False
    if "text" in part:
        reading.say(role, maybe_text(part, "text", f"{where}.") or "")
    elif "functionCall" in part:
        reading.say(role, arguments_text(maybe_object(part, "functionCall", f"{where}.").get("args")))
    elif str(maybe_object(part, "inlineData", f"{where}.").get("mimeType") or "").startswith("image/"):
        reading.images += 1
    return True


def _capabilities(tools: list[Any], images: int, config: Body) -> frozenset[str]:
    wants_json = config.get("responseMimeType") == "application/json" or "responseJsonSchema" in config
    return frozenset(name for name, used in (("tools", tools), ("vision", images), ("json", wants_json)) if used)


__all__ = ["Gemini", "settled"]
