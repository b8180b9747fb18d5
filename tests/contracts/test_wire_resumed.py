"""A vendor's own stream that broke and that we went on with: its SDK reads one answer, wherever the break was."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pytest

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire import FORMATS, BadAnswer, SseEvent, resumed
from equipoise.wire.format import Body
from equipoise.wire.sse import frame
from tests.wire_samples import events_of

USAGE = TokenUsage(input_tokens=10, output_tokens=5)
WORDS = ("It", " is", " sunny")
REST = " today."


def stream_of(*events: Body) -> list[SseEvent]:
    return events_of(b"".join(frame(orjson.dumps(event), event["type"]) for event in events))


def of_openai() -> list[SseEvent]:
    """As a model that reasons streams: a hidden item first, and texts under ids of the vendor's."""
    begun: Body = {
        "id": "resp_68", "object": "response", "created_at": 1_750_000_000, "status": "in_progress", "error": None,
        "incomplete_details": None, "instructions": "Be brief.", "metadata": {"a": "b"}, "model": "gpt-5-2025-08-07",
        "output": [], "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "usage": None, "store": True,
    }  # fmt: skip
    thought = {"id": "rs_68", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    text = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    said = {"id": "msg_68", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    place = {"item_id": "msg_68", "output_index": 1, "content_index": 0}
    told: list[Body] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": thought},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", "output_index": 1, "item": said},
        {"type": "response.content_part.added", **place, "part": text},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in WORDS),
    ]
    return stream_of(*({**event, "sequence_number": i} for i, event in enumerate(told)))


def of_anthropic() -> list[SseEvent]:
    """As a model that searched streams: thinking, a tool that ran at the vendor, then text."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude", "content": []}
    thought: Body = {"type": "thinking", "thinking": "", "signature": ""}
    searched: Body = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    found: Body = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    return stream_of(
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": thought},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": searched},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": found},
        {"type": "content_block_stop", "index": 2},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": word}}
            for word in WORDS
        ),
    )  # fmt: skip


def gone_on(format: WireFormat, passed: list[SseEvent], request: Body) -> bytes:
    """What the client reads: what passed, and the rest by another model."""
    encoder = resumed(format, "another", FORMATS[format].read({"model": "m", "stream": True, **request}), passed)
    head = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 2, "model": "n"}
    more = {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": REST}, "finish_reason": None}]}
    last = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    written = [*encoder.feed(more), *encoder.feed(last), *encoder.end(USAGE)]
    return b"".join([*(event.raw for event in passed), *written])


def served(raw: bytes) -> Any:
    headers = {"content-type": "text/event-stream"}
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=raw, headers=headers)))


@pytest.mark.parametrize("words", range(1, len(WORDS) + 1))
def test_openais_sdk_reads_a_response_that_another_model_finished(words: int) -> None:
    passed = of_openai()[: -len(WORDS) + words or None]
    raw = gone_on("responses", passed, {"input": "hi"})
    numbers = [orjson.loads(event.data)["sequence_number"] for event in events_of(raw)]
    assert numbers == list(range(len(numbers)))
    with openai.OpenAI(base_url="http://x/v1", api_key="k", http_client=served(raw)) as client:
        with client.responses.stream(model="auto", input="hi") as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 2
    assert final.output_text == "".join(WORDS[:words]) + REST
    assert [item.id for item in final.output] == ["rs_68", "msg_68"] and final.id == "resp_68"
    assert (final.status, final.instructions, final.metadata) == ("completed", "Be brief.", {"a": "b"})
    assert final.usage is not None and final.usage.output_tokens == 5


@pytest.mark.parametrize("words", range(1, len(WORDS) + 1))
def test_anthropics_sdk_reads_a_message_that_another_model_finished(words: int) -> None:
    passed = of_anthropic()[: -len(WORDS) + words or None]
    raw = gone_on("messages", passed, {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
    with anthropic.Anthropic(base_url="http://x", api_key="k", http_client=served(raw)) as client:
        with client.messages.stream(model="auto", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream:
            final = stream.get_final_message()
    assert [b.type for b in final.content] == ["thinking", "server_tool_use", "web_search_tool_result", "text"]
    assert final.content[0].type == "thinking" and final.content[0].signature == "c2ln"
    assert final.content[-1].type == "text" and final.content[-1].text == "".join(WORDS[:words]) + REST
    assert (final.id, final.stop_reason, final.usage.output_tokens) == ("msg_01", "end_turn", 5)


@pytest.mark.parametrize(
    ("format", "event"),
    [
        ("responses", {"type": "response.output_item.added", "output_index": 4, "item": {}, "sequence_number": 0}),
        ("responses", {"type": "response.output_item.done", "output_index": 4, "item": {}, "sequence_number": 0}),
        ("responses", {"type": "response.output_text.delta", "delta": "x"}),
        ("responses", {"type": "response.content_part.added", "content_index": 1, "sequence_number": 0}),
        ("messages", {"type": "content_block_start", "content_block": {"type": "text"}}),
    ],
)
def test_what_cannot_be_gone_on_from_is_said(format: WireFormat, event: Body) -> None:
    bodies: dict[str, Body] = {
        "responses": {"input": "hi"},
        "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    }
    with pytest.raises(BadAnswer):
        resumed(format, "m", FORMATS[format].read({"model": "m", **bodies[format]}), stream_of(event))
