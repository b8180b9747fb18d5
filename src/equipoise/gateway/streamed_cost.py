"""The bill of a streamed answer, beside the token usage that ends it: ``cost``, as OpenRouter and LiteLLM call it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from equipoise.types import WireFormat
from equipoise.wire import BadAnswer, Body, SseEvent, SseParser
from equipoise.wire.sse import frame

# What stands in the events that tell the final usage, and in no text: a quote inside a JSON string is escaped.
_TELLS_USAGE: Mapping[WireFormat, tuple[bytes, ...]] = {
    "chat": (b'"prompt_tokens"',),
    "messages": (b'"message_delta"',),
    "responses": (b'"response.completed"', b'"response.incomplete"'),
}


async def with_cost(
    stream: AsyncIterator[bytes], format: WireFormat, cost_usd: Callable[[], float]
) -> AsyncIterator[bytes]:
    """A stream of a format whose usage says ``cost``, in USD."""
    marks = _TELLS_USAGE[format]
    async for chunk in stream:
        yield _priced(chunk, marks, cost_usd()) if any([mark in chunk for mark in marks]) else chunk


def _priced(chunk: bytes, marks: tuple[bytes, ...], cost_usd: float) -> bytes:
    with suppress(BadAnswer):
        parser = SseParser()
        return b"".join([_event(event, marks, cost_usd) for event in (*parser.feed(chunk), *parser.end())])
    return chunk


def _event(event: SseEvent, marks: tuple[bytes, ...], cost_usd: float) -> bytes:
    if not any([mark in event.data for mark in marks]):
        return event.raw
    with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
        document = orjson.loads(event.data)
        usage = _usage_in(document)
        if usage is not None:
            usage["cost"] = cost_usd
            return frame(orjson.dumps(document), event.event)
    return event.raw


def _usage_in(document: Any) -> Body | None:
    """The usage that an event tells; of a response it stands inside."""
    whole = document.get("response", document) if isinstance(document, dict) else None
    usage = whole.get("usage") if isinstance(whole, dict) else None
    return usage if isinstance(usage, dict) else None
