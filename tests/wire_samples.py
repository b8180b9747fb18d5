"""One conversation in every wire format, and the ways to put a stream together again."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from equipoise.types import WireFormat
from equipoise.wire import FORMATS, Body, SseEvent, SseParser

CONVERSED: tuple[WireFormat, ...] = ("chat", "messages", "responses", "gemini")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA: Body = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
ANSWER_SCHEMA: Body = {"type": "object", "properties": {"warmer": {"type": "string"}}, "required": ["warmer"]}

# Two parallel calls, their results, a picture, a system prompt, a schema: all that conversations are made of.
REQUESTS: dict[WireFormat, Body] = {
    "chat": {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How warm is it in Paris and Rome?"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "warmth", "arguments": '{"city":"Paris"}'},
                    },
                    {
                        "id": "call_b",
                        "type": "function",
                        "function": {"name": "warmth", "arguments": '{"city":"Rome"}'},
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "call_a", "content": "17"},
            {"role": "tool", "tool_call_id": "call_b", "content": "25"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Which is in the picture?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            },
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "warmth", "description": "Degrees in a city.", "parameters": SCHEMA},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER_SCHEMA}},
        "stop": ["END"],
        "temperature": 0.5,
        "max_completion_tokens": 300,
        "user": "u-1",
        "stream": True,
    },
    "messages": {
        "model": "auto",
        "max_tokens": 300,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "How warm is it in Paris and Rome?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Two calls.", "signature": "c2lnbmVk"},
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "call_a", "name": "warmth", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "call_b", "name": "warmth", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_a", "content": "17"},
                    {"type": "tool_result", "tool_use_id": "call_b", "content": "25", "is_error": False},
                    {
                        "type": "text",
                        "text": "Which is in the picture?",
                        "cache_control": {"type": "ephemeral"},
                    },
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                ],
            },
        ],
        "tools": [
            {
                "name": "warmth",
                "description": "Degrees in a city.",
                "input_schema": SCHEMA,
                "cache_control": {"type": "ephemeral"},
            }
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}, "effort": "low"},
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 40,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u-1"},
        "stream": True,
    },
    "responses": {
        "model": "auto",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "How warm is it in Paris and Rome?"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "call_a", "name": "warmth", "arguments": '{"city":"Paris"}'},
            {"type": "function_call", "call_id": "call_b", "name": "warmth", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "call_a", "output": "17"},
            {"type": "function_call_output", "call_id": "call_b", "output": "25"},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Which is in the picture?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
                ],
            },
        ],
        "tools": [
            {
                "type": "function",
                "name": "warmth",
                "description": "Degrees in a city.",
                "parameters": SCHEMA,
                "strict": True,
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": ANSWER_SCHEMA}, "verbosity": "low"},
        "temperature": 0.5,
        "max_output_tokens": 300,
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "user": "u-1",
        "stream": True,
    },
    "gemini": {
        "model": "auto",
        "stream": True,
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "How warm is it in Paris and Rome?"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Let me see."},
                    {
                        "functionCall": {"id": "call_a", "name": "warmth", "args": {"city": "Paris"}},
                        "thoughtSignature": "c2lnbmVk",
                    },
                    {"functionCall": {"id": "call_b", "name": "warmth", "args": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_a", "name": "warmth", "response": {"result": "17"}}},
                    {"functionResponse": {"id": "call_b", "name": "warmth", "response": {"result": "25"}}},
                    {"text": "Which is in the picture?"},
                    {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "warmth", "description": "Degrees in a city.", "parametersJsonSchema": SCHEMA}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "temperature": 0.5,
            "maxOutputTokens": 300,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": ANSWER_SCHEMA,
            "thinkingConfig": {"thinkingBudget": 1024},
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    },
}


def request_in(name: WireFormat) -> Body:
    """The conversation in that format, to be changed at will."""
    return copy.deepcopy(REQUESTS[name])


def events_of(raw: bytes, cuts: Iterable[int] = ()) -> list[SseEvent]:
    """The events of a stream that arrives in pieces."""
    parser, events, start = SseParser(), [], 0
    for cut in [*sorted(set(cuts)), len(raw)]:
        events += parser.feed(raw[start:cut])
        start = cut
    return [*events, *parser.end()]


def put_together(chunks: Iterable[Body]) -> Body:
    """What a client makes of chat chunks: text, reasoning, calls, why it ended, the usage."""
    whole: Body = {"content": "", "reasoning": "", "calls": {}, "finish": None, "usage": None}
    for chunk in chunks:
        if chunk.get("usage"):
            whole["usage"] = (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
        for choice in chunk["choices"]:
            delta = choice["delta"]
            whole["content"] += delta.get("content") or ""
            whole["reasoning"] += delta.get("reasoning_content") or ""
            for part in delta.get("tool_calls") or ():
                call = whole["calls"].setdefault(part["index"], {"id": None, "name": None, "arguments": ""})
                call["id"] = part.get("id") or call["id"]
                call["name"] = part["function"].get("name") or call["name"]
                call["arguments"] += part["function"].get("arguments") or ""
            whole["finish"] = choice["finish_reason"] or whole["finish"]
    return whole


def streamed(name: WireFormat, chunks: Iterable[Body], *, model: str = "m") -> bytes:
    """Chat chunks as a stream of that format."""
    encoder = FORMATS[name].encoder(model, FORMATS[name].read(request_in(name)))
    return b"".join([*(event for chunk in chunks for event in encoder.feed(chunk)), *encoder.end()])


def decoded(name: WireFormat, events: Iterable[SseEvent]) -> tuple[list[Body], bool]:
    """A stream of that format as chat chunks, and whether it was told to be whole."""
    decoder = FORMATS[name].decoder()
    chunks = [chunk for event in events for chunk in decoder.feed(event)]
    return chunks, decoder.complete


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call of an assistant message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
