"""OpenAI's Responses."""

from __future__ import annotations

from typing import Any

from equipoise.types import WireFormat
from equipoise.wire.chat import openai_error
from equipoise.wire.errors import BadRequest
from equipoise.wire.format import Asked, Body
from equipoise.wire.reading import (
    JSON_FORMS,
    Reading,
    maybe_count,
    maybe_flag,
    maybe_text,
    objects,
    text_of,
    tools_of,
    wrong,
)
from equipoise.wire.responses import answer as answers
from equipoise.wire.responses import request, stream
from equipoise.wire.responses.hygiene import settled


class Responses:
    """The format ``responses``."""

    name: WireFormat = "responses"
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
        if body.get("background"):
            message = "'background' is not served: answers cannot be fetched later; leave it out"
            raise BadRequest(message, param="background", code="background_unsupported_request")
        reading = Reading("input")
        instructions = maybe_text(body, "instructions")
        if instructions:
            reading.say("system", instructions)
        given = body.get("input")
        state = next((f for f in request.STATEFUL if body.get(f) is not None), None)
        reading.files = state is not None  # what the vendor remembers may be all that is asked
        reading.turn()
        if isinstance(given, str):
            reading.say("user", given)
        elif isinstance(given, list):
            for path, item in objects(given, "input"):
                _read_item(reading, item, path)
        elif given is not None or state is None:
            raise wrong("input", "a text or a list of items", given)
        tools = tools_of(body)
        return reading.asked(
            text_of(body, "model"),
            tools,
            stream=maybe_flag(body, "stream"),
            include_usage=True,
            max_output_tokens=maybe_count(body, "max_output_tokens"),
            json=bool(body.get("text")) and request.answer_form(body).get("type") in JSON_FORMS,
            user=maybe_text(body, "safety_identifier") or maybe_text(body, "user"),
            vendor_state=state,
            echo=answers.echo_of(body),
        )

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """OpenAI's error shape."""
        return openai_error(status, code, message, param)


def _read_item(reading: Reading, item: Body, path: str) -> None:
    reading.turn("assistant" if request.is_answer(item) else "")
    kind = request.kind_of(item)
    if kind == "message":
        role = text_of(item, "role", f"{path}.")
        _read_parts(reading, "system" if role == "developer" else role, item.get("content"), f"{path}.content")
    elif kind == "function_call":
        reading.say("assistant", maybe_text(item, "arguments", f"{path}.") or "")
    elif kind == "function_call_output":
        _read_parts(reading, "tool", item.get("output") or "", f"{path}.output")
    elif not isinstance(kind, str):
        raise wrong(f"{path}.type", "a string", kind)
    elif kind == "item_reference" and answers.made_here(item):
        said = f"'{path}' refers to an item that nobody keeps; send the item itself ('store': false tells SDKs to)"
        raise BadRequest(said, param=path)


def _read_parts(reading: Reading, role: str, content: Any, where: str) -> None:
    if isinstance(content, str):
        reading.say(role, content)
        return
    if not isinstance(content, list):
        raise wrong(where, "a string or a list of parts", content)
    for path, part in objects(content, where):
        if "text" in part:
            reading.say(role, maybe_text(part, "text", f"{path}.") or "")
        elif text_of(part, "type", f"{path}.") == "input_image":
            reading.images += 1
        else:
            reading.files = True


__all__ = ["Responses", "settled"]
