"""Made-up answers in every wire format. Tokens are words, so that a test can work out a bill by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire import FORMATS, Body

Answer = str | Mapping[str, Any]
Answering = Callable[[str], Answer]
"""The text for a prompt (the last message), or an assistant message, such as one with ``tool_calls``."""


@dataclass(slots=True)
class Bill:
    """What a fake vendor charges for one call: grows with every token that it sends."""

    model: str
    input_tokens: int
    output_tokens: int = 0


def prompt_of(chat: Body) -> str:
    """The text of the last message."""
    return _text(chat["messages"][-1].get("content"))


def input_words(chat: Body) -> int:
    """Words of all messages."""
    return sum(len(_text(m.get("content")).split()) for m in chat["messages"])


def completion(chat: Body, answer: Answer, *, timings: bool = False) -> Body:
    """A chat completion."""
    message = {"content": answer} if isinstance(answer, str) else dict(answer)
    text, calls = message.get("content") or "", message.get("tool_calls") or []
    limit = chat.get("max_completion_tokens") or chat.get("max_tokens")
    words = text.split()
    cut = limit is not None and len(words) > limit
    if cut:
        message["content"] = " ".join(words[:limit])
    inputs, outputs = input_words(chat), words_in(message)
    document: Body = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": chat["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, **message},
                "finish_reason": "length" if cut else "tool_calls" if calls else "stop",
            }
        ],
        "usage": {"prompt_tokens": inputs, "completion_tokens": outputs, "total_tokens": inputs + outputs},
    }
    if timings:
        document["timings"] = {
            "cache_n": 0,
            "prompt_n": inputs,
            "prompt_ms": inputs * 1.0,
            "predicted_n": outputs,
            "predicted_ms": outputs * 10.0,
        }
    return document


def words_in(message: Mapping[str, Any]) -> int:
    """Words of an assistant message or a delta; of a tool call, those of its arguments."""
    calls = message.get("tool_calls") or []
    return len((message.get("content") or "").split()) + sum(
        len(c.get("function", {}).get("arguments", "").split()) for c in calls
    )


def chunks_of(document: Body) -> list[Body]:
    """The same answer as a stream: a chunk per word, tool calls in two halves, then why it ended, then the usage."""
    head = {"id": document["id"], "object": "chat.completion.chunk", "created": document["created"]}
    head["model"] = document["model"]
    choice = document["choices"][0]
    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    for field in ("reasoning_content", "content"):
        deltas += [{field: piece} for piece in _pieces(choice["message"].get(field) or "")]
    for i, call in enumerate(choice["message"].get("tool_calls") or []):
        arguments = call["function"]["arguments"]
        middle = len(arguments) // 2
        opening = {**call, "index": i, "function": {**call["function"], "arguments": arguments[:middle]}}
        deltas += [{"tool_calls": [opening]}]
        deltas += [{"tool_calls": [{"index": i, "function": {"arguments": arguments[middle:]}}]}]
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    usage = {k: document[k] for k in ("usage", "timings") if k in document}
    return [*chunks, {**head, "choices": [], **usage}]


def embeddings(body: Body) -> Body:
    """Small vectors that depend on the length of the text, which may also come as tokens."""
    given = body["input"]
    texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    inputs = sum(len(t.split()) if isinstance(t, str) else len(t) for t in texts)
    data = [{"object": "embedding", "index": i, "embedding": [float(len(t)), 1.0]} for i, t in enumerate(texts)]
    usage = {"prompt_tokens": inputs, "total_tokens": inputs}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def as_document(document: Body, kind: WireFormat) -> bytes:
    """A completion as the body of a response of that format."""
    return orjson.dumps(document if kind == "chat" else FORMATS[kind].answer_from_chat(document, document["model"]))


def as_frames(body: Body, document: Body, kind: WireFormat) -> list[tuple[bytes, int]]:
    """A completion as the events of a stream of that format, with the words that each brings."""
    encoder = FORMATS[kind].encoder(document["model"], FORMATS[kind].read(body))
    frames = []
    for chunk in chunks_of(document):
        words = sum(words_in(c["delta"]) for c in chunk["choices"])
        events = encoder.feed(chunk)
        frames += [(event, words if i == 0 else 0) for i, event in enumerate(events)]
    return [*frames, *((event, 0) for event in encoder.end())]


def usage_of(bill: Bill) -> TokenUsage:
    """What the vendor charged, as usage."""
    return TokenUsage(input_tokens=bill.input_tokens, output_tokens=bill.output_tokens)


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if i == 0 else f" {word}" for i, word in enumerate(words)] if text else []


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(p.get("text", "")) for p in content)
    return str(content or "")
