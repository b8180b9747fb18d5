"""The bill of a streamed chat completion, beside the token usage that ends it: where OpenRouter and LiteLLM put it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import orjson

from equipoise.wire import BadAnswer, SseEvent, SseParser

# Stands in events that tell usage, and in no text: a quote inside a JSON string is escaped.
_TELLS_USAGE = b'"prompt_tokens"'


async def with_cost(stream: AsyncIterator[bytes], cost_usd: Callable[[], float]) -> AsyncIterator[bytes]:
    """A stream whose usage says ``cost``, in USD."""
    async for chunk in stream:
        yield _priced(chunk, cost_usd()) if _TELLS_USAGE in chunk else chunk


def _priced(chunk: bytes, cost_usd: float) -> bytes:
    with suppress(BadAnswer):
        parser = SseParser()
        return b"".join([_event(event, cost_usd) for event in (*parser.feed(chunk), *parser.end())])
    return chunk


def _event(event: SseEvent, cost_usd: float) -> bytes:
    if _TELLS_USAGE not in event.data:
        return event.raw
    with suppress(orjson.JSONDecodeError):
        document = orjson.loads(event.data)
        if isinstance(document, dict) and isinstance(document.get("usage"), dict):
            document["usage"]["cost"] = cost_usd
            return b"data: " + orjson.dumps(document) + b"\n\n"
    return event.raw
