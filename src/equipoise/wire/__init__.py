"""The languages that clients and providers speak: pure functions between JSON bodies, no input or output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from equipoise.types import WireFormat
from equipoise.wire.chat import Chat, only_usage
from equipoise.wire.embeddings import Embeddings
from equipoise.wire.errors import BadAnswer, BadRequest, Untranslatable
from equipoise.wire.format import NATIVE, Asked, Body, Decoder, Encoder, Format
from equipoise.wire.gemini import Gemini
from equipoise.wire.messages import Messages
from equipoise.wire.names import NO_NAMES, long_names, restore
from equipoise.wire.reading import dumps
from equipoise.wire.responses import Responses
from equipoise.wire.sse import DONE, SseEvent, SseParser

FORMATS: Mapping[WireFormat, Format] = MappingProxyType(
    {
        "chat": Chat(),
        "messages": Messages(),
        "responses": Responses(),
        "gemini": Gemini(),
        "embeddings": Embeddings(),
    }
)


def target_format(source: WireFormat, spoken: frozenset[WireFormat]) -> WireFormat | None:
    """The format in which to call a provider that speaks these: the client's own, else the nearest; None for none."""
    if source in spoken:
        return source
    if source == "embeddings":
        return None
    return next((f for f in _NEAREST if f in spoken), None)


_NEAREST: tuple[WireFormat, ...] = ("chat", "messages", "responses", "gemini")


def translate_request(body: Body, source: WireFormat, target: WireFormat) -> Body:
    """A request of one format as one of another; the body itself where they are the same.

    A chat request that was made of one of another format is one of chat's own only without what rides in it.

    Raises:
        BadRequest: a field has the wrong type.
        Untranslatable: the target has no place for something that the request needs.
    """
    if source == target and NATIVE not in body:
        return body
    return FORMATS[target].from_chat(FORMATS[source].to_chat(body))


def translate_answer(
    answer: Body,
    source: WireFormat,
    target: WireFormat,
    model_name: str,
    *,
    now: int = 0,
    names: Mapping[str, str] = NO_NAMES,
    asked: Asked | None = None,
) -> Body:
    """An answer of one format as one of another; the answer itself where they are the same.

    Args:
        names: what the client calls tools that went by other names.
        asked: what the answer is to.

    Raises:
        BadAnswer: it is not an answer of ``source``.
    """
    if source == target:
        return answer
    chat = FORMATS[source].answer_to_chat(answer, now=now)
    if names:
        for choice in chat["choices"]:
            restore(choice["message"].get("tool_calls"), names)
    return FORMATS[target].answer_from_chat(chat, model_name, asked)


def resumed(source: WireFormat, model_name: str, asked: Asked, events: Iterable[SseEvent]) -> Encoder:
    """An encoder that goes on where a stream broke that was passed through: as if it had written ``events`` itself."""
    encoder = FORMATS[source].encoder(model_name, asked)
    for event in events:
        encoder.follow(event)
    return encoder


__all__ = [
    "DONE",
    "FORMATS",
    "Asked",
    "BadAnswer",
    "BadRequest",
    "Body",
    "Decoder",
    "NO_NAMES",
    "Encoder",
    "Format",
    "SseEvent",
    "SseParser",
    "Untranslatable",
    "dumps",
    "long_names",
    "only_usage",
    "restore",
    "resumed",
    "target_format",
    "translate_answer",
    "translate_request",
]
