from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire import DONE, FORMATS, BadAnswer, BadRequest, SseEvent, Untranslatable, translate_request
from equipoise.wire.format import Body
from equipoise.wire.history import CARRY_ON, GO_ON
from equipoise.wire.messages import settled
from equipoise.wire.pivot import UNSIGNED
from tests.wire_samples import PIXEL, SCHEMA, call, decoded, events_of, put_together, request_in, streamed

MESSAGES = FORMATS["messages"]


def from_chat(**chat: Any) -> Body:
    return MESSAGES.from_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **chat})


def to_chat(*messages: Any, **more: Any) -> Body:
    return MESSAGES.to_chat({"model": "m", "max_tokens": 9, "messages": list(messages), **more})


def blocks(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


THOUGHT = {"type": "thinking", "thinking": "t", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "eHg="}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}


# ---------------------------------------------------------------- from chat


def test_system_prompts_are_gathered_at_the_top() -> None:
    made = from_chat(
        messages=[
            {"role": "system", "content": "a"},
            {"role": "user", "content": "hi"},
            {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        ]
    )
    assert made["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert made["messages"] == [{"role": "user", "content": "hi"}]


def test_a_conversation_begins_with_the_user_and_alternates() -> None:
    made = from_chat(
        messages=[
            {"role": "assistant", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": ""},
            {"role": "user", "content": "c"},
        ]
    )
    assert made["messages"] == [
        {"role": "user", "content": CARRY_ON},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]


@pytest.mark.parametrize(
    ("chat", "fields"),
    [
        ({"temperature": 1.7}, {"temperature": 1.0}),
        ({"temperature": 0.3, "top_p": 0.9}, {"temperature": 0.3}),
        ({"top_p": 0.9}, {"top_p": 0.9}),
        ({"stop": "X"}, {"stop_sequences": ["X"]}),
        ({"stop": ["X", "Y"]}, {"stop_sequences": ["X", "Y"]}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"max_tokens": 3}, {"max_tokens": 3}),
        ({"max_completion_tokens": 4, "max_tokens": 3}, {"max_tokens": 4}),
        ({"seed": 1, "frequency_penalty": 0.5, "logit_bias": {}, "store": True}, {}),
    ],
)
def test_settings_become_anthropics_or_are_left_out(chat: Body, fields: Body) -> None:
    assert from_chat(**chat) == {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize(
    ("choice", "parallel", "made"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_tools(choice: Any, parallel: bool | None, made: Body) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = from_chat(tools=tools, tool_choice=choice, parallel_tool_calls=parallel)
    assert body["tool_choice"] == made
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert "tool_choice" not in from_chat(tool_choice=choice, parallel_tool_calls=parallel)


FORM = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}


@pytest.mark.parametrize("format", [{"output_config": {"format": FORM}}, {"output_format": FORM}], ids=str)
def test_a_schema_is_heard_under_both_its_names(format: Body) -> None:
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **format}
    assert FORMATS["messages"].read(asked).capabilities == {"json"}
    chat = FORMATS["messages"].to_chat(asked)
    assert chat["response_format"]["json_schema"]["schema"] == FORM["schema"]
    back = FORMATS["messages"].from_chat(chat)
    assert "output_format" not in back and back["output_config"]["format"]["type"] == "json_schema"


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    made = from_chat(response_format={"type": "json_object"})
    assert "JSON object" in made["system"] and "output_config" not in made


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, "file"),
    ],
)
def test_what_has_no_place_is_told_and_not_dropped(chat: Body, param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        from_chat(**chat)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (f"data:image/png;base64,{PIXEL}", {"type": "base64", "media_type": "image/png", "data": PIXEL}),
        ("https://x.org/y.png", {"type": "url", "url": "https://x.org/y.png"}),
    ],
)
def test_pictures_go_inside_or_as_a_link(url: str, source: Body) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    made = from_chat(messages=[{"role": "user", "content": [part]}])
    assert made["messages"][0]["content"] == [{"type": "image", "source": source}]
    back = MESSAGES.to_chat({**made, "max_tokens": 1})
    assert back["messages"][0]["content"] == [part]


def test_a_pdf_goes_there_and_back() -> None:
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}}
    made = from_chat(messages=[{"role": "user", "content": [file]}])
    source = {"type": "base64", "media_type": "application/pdf", "data": "AA=="}
    assert made["messages"][0]["content"] == [{"type": "document", "source": source}]


def test_cache_marks_of_a_chat_client_arrive() -> None:
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    assert from_chat(messages=[{"role": "user", "content": [part]}])["messages"][0]["content"] == [part]


def test_cache_marks_of_a_chat_client_arrive_from_beside_the_content_and_from_tools() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    tool = {"type": "function", "function": {"name": "f"}, **mark}
    said = {"role": "assistant", "content": "b", "tool_calls": [call("a", "f", "{}")], **mark}
    result = {"role": "tool", "tool_call_id": "a", "content": "r", **mark}
    system = {"role": "system", "content": "s", **mark}
    made = from_chat(messages=[system, {"role": "user", "content": "q", **mark}, said, result], tools=[tool])
    assert made["tools"][0]["cache_control"] == mark["cache_control"]
    assert made["system"] == [{"type": "text", "text": "s", **mark}]
    marked = [[b["type"] for b in m["content"] if "cache_control" in b] for m in made["messages"]]
    assert marked == [["text"], ["tool_use"], ["tool_result"]]


def test_thinking_of_anthropics_own_goes_back_signed_and_that_of_others_does_not() -> None:
    said = {"role": "assistant", "content": "a", "reasoning_content": "r", "thinking_blocks": [THOUGHT, HIDDEN]}
    made = from_chat(messages=[{"role": "user", "content": "q"}, said])
    assert made["messages"][1]["content"] == [THOUGHT, HIDDEN, {"type": "text", "text": "a"}]
    del said["thinking_blocks"]
    made = from_chat(messages=[{"role": "user", "content": "q"}, said])
    assert made["messages"][1]["content"] == "a"


def test_arguments_that_are_no_object_are_kept_whole() -> None:
    for text, value in (("", {}), ('{"a":', {"unparsed_arguments": '{"a":'}), ("[1]", {"unparsed_arguments": "[1]"})):
        said = {"role": "assistant", "content": None, "tool_calls": [call("a", "f", text)]}
        result = {"role": "tool", "tool_call_id": "a", "content": "x"}
        made = from_chat(messages=[{"role": "user", "content": "q"}, said, result])
        assert made["messages"][1]["content"][0]["input"] == value


def test_calls_without_results_get_one_since_anthropic_demands_it() -> None:
    said = {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}")]}
    made = from_chat(messages=[{"role": "user", "content": "q"}, said, {"role": "user", "content": "well?"}])
    result, words = made["messages"][2]["content"]
    assert (result["type"], result["tool_use_id"], words["text"]) == ("tool_result", "a", "well?")


# ---------------------------------------------------------------- to chat and back


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "a", "citations": [{"x": 1}]}],
        [USE, {"type": "text", "text": "after"}],
        [THOUGHT, USE, THOUGHT, {**USE, "id": "toolu_2"}],
        [
            THOUGHT,
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "text", "text": "a"},
        ],
    ],
)
def test_an_assistants_turn_of_any_shape_comes_back_as_it_was(content: list[Body]) -> None:
    results = [
        {"type": "tool_result", "tool_use_id": b["id"], "content": "r"} for b in content if b["type"] == "tool_use"
    ]
    turns = [{"role": "user", "content": "q"}, blocks(*content)]
    body = {"model": "m", "max_tokens": 9, "messages": [*turns, {"role": "user", "content": results or "and?"}]}
    assert MESSAGES.from_chat(MESSAGES.to_chat(body)) == body


def test_reasoning_that_came_from_us_goes_on_as_reasoning() -> None:
    marked = {"type": "thinking", "thinking": "r", "signature": UNSIGNED}
    chat = to_chat({"role": "user", "content": "q"}, blocks(marked, {"type": "text", "text": "a"}))
    assert chat["messages"][1]["reasoning_content"] == "r" and "thinking_blocks" not in chat["messages"][1]


def test_what_a_tool_of_anthropics_own_did_stays_there_and_the_words_go_on() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "q"}, blocks(search, {"type": "text", "text": "found"})],
    }
    made = translate_request(body, "messages", "chat")
    assert made["messages"][1] == {"role": "assistant", "content": "found"}


def test_an_error_of_a_tool_and_its_picture_survive() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [picture]}
    turns = [{"role": "user", "content": "q"}, blocks(USE), {"role": "user", "content": [result]}]
    body = {"model": "m", "max_tokens": 9, "messages": turns}
    assert MESSAGES.from_chat(MESSAGES.to_chat(body)) == body
    chat = translate_request(body, "messages", "chat")["messages"]
    assert [m["role"] for m in chat] == ["user", "assistant", "tool", "user"]
    assert chat[3]["content"][0]["image_url"]["url"].endswith(PIXEL)


def test_threads_lean_on_a_memory_that_no_other_vendor_has() -> None:
    body = {**request_in("messages"), "thread": {"type": "create"}}
    assert MESSAGES.read(body).vendor_state == "thread"
    with pytest.raises(Untranslatable) as caught:
        MESSAGES.to_chat(body)
    assert caught.value.code == "thread_unsupported_request"
    error = MESSAGES.error(400, caught.value.code, str(caught.value))
    assert error["error"]["details"]["error_code"] == "thread_unsupported_request"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"system": 3}, "system"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id"),
        ({"output_config": ["x"]}, "output_config"),
    ],
)
def test_a_wrong_field_is_named(more: Body, param: str) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}], **more}
    with pytest.raises(BadRequest) as caught:
        MESSAGES.read(body)
    assert caught.value.param == param


def test_in_a_loop_of_tools_the_question_is_what_is_routed_by_and_has_been_answered() -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}
    body: Body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
    assert MESSAGES.read(body).answers == 0
    body["messages"] += [blocks(USE), {"role": "user", "content": [result]}]
    assert (MESSAGES.read(body).answers, MESSAGES.read(body).text) == (1, "q")
    body["messages"][1:] = [blocks(HIDDEN), {"role": "user", "content": "r"}]
    assert MESSAGES.read(body).answers == 1


# ---------------------------------------------------------------- what the next model accepts


def test_a_conversation_of_one_model_is_the_very_same() -> None:
    body = request_in("messages")
    assert settled(body, mixed=False) is body


@pytest.mark.parametrize("mixed", [False, True])
def test_thinking_that_nobody_can_verify_is_left_out(mixed: bool) -> None:
    marked = {"type": "thinking", "thinking": "r", "signature": UNSIGNED}
    body = {"messages": [blocks(marked, THOUGHT, {"type": "text", "text": "a"}), blocks(marked)]}
    first, second = settled(body, mixed=mixed)["messages"]
    assert first["content"] == ([] if mixed else [THOUGHT]) + [{"type": "text", "text": "a"}]
    assert [b["type"] for b in second["content"]] == ["text"]


def test_thinking_is_not_asked_for_in_the_middle_of_a_call_that_began_without() -> None:
    body: Body = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [blocks(USE)]}
    assert "thinking" not in settled(body, mixed=False)
    body["messages"] = [blocks(THOUGHT, USE)]
    assert settled(body, mixed=False) is body
    assert "thinking" not in settled(body, mixed=True)
    body["messages"] = [blocks(USE), {"role": "user", "content": "x"}, blocks({"type": "text", "text": "a"})]
    assert "thinking" in settled(body, mixed=False)


def test_ids_of_other_vendors_fit_in_call_and_result() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "functions.f:0"}]}
    first, second = settled({"messages": [blocks({**USE, "id": "functions.f:0"}), result]}, mixed=False)["messages"]
    assert first["content"][0]["id"] == second["content"][0]["tool_use_id"] != "functions.f:0"


# ---------------------------------------------------------------- answers


def answer(*content: Any, **more: Any) -> Body:
    usage = {"input_tokens": 10, "output_tokens": 5}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn"}
    return {**head, "content": list(content), "usage": usage, **more}


def test_tokens_of_the_cache_are_part_of_the_input() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20}
    found = MESSAGES.usage(answer(usage=usage))
    assert found == TokenUsage(input_tokens=100, output_tokens=5, cached_tokens=70, cache_write_tokens=20)
    chat = MESSAGES.answer_to_chat(answer({"type": "text", "text": "a"}, usage=usage))
    assert FORMATS["chat"].usage(chat) == found
    assert MESSAGES.answer_from_chat(chat, "c")["usage"] == usage


@pytest.mark.parametrize(
    ("reason", "finish", "back"),
    [
        ("end_turn", "stop", "end_turn"),
        ("stop_sequence", "stop", "stop_sequence"),
        ("max_tokens", "length", "max_tokens"),
        ("model_context_window_exceeded", "length", "model_context_window_exceeded"),
        ("tool_use", "tool_calls", "tool_use"),
        ("refusal", "content_filter", "refusal"),
        ("pause_turn", "stop", "pause_turn"),
        ("something_new", "stop", "something_new"),
        (None, None, "end_turn"),
    ],
)
def test_why_an_answer_stopped(reason: str | None, finish: str | None, back: str) -> None:
    given = answer(
        {"type": "text", "text": "a"}, stop_reason=reason, stop_sequence="X" if reason == "stop_sequence" else None
    )
    assert MESSAGES.finish(given) == finish
    chat = MESSAGES.answer_to_chat(given)
    made = MESSAGES.answer_from_chat(chat, "c")
    assert (chat["choices"][0]["finish_reason"], made["stop_reason"]) == (finish, back)
    assert made["stop_sequence"] == given["stop_sequence"]


def test_an_answer_comes_back_as_it_was() -> None:
    given = answer(THOUGHT, HIDDEN, {"type": "text", "text": "a"}, USE, stop_reason="tool_use")
    chat = MESSAGES.answer_to_chat(given)
    assert chat["choices"][0]["message"]["reasoning_content"] == "t"
    assert MESSAGES.answer_from_chat(chat, "c")["content"] == given["content"]


def test_a_refusal_is_what_is_said() -> None:
    message = {"role": "assistant", "content": None, "refusal": "no"}
    chat = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert MESSAGES.answer_from_chat(chat, "c")["content"] == [{"type": "text", "text": "no"}]


# ---------------------------------------------------------------- streams


def stream(*events: Body) -> bytes:
    return b"".join(b"event: " + e["type"].encode() + b"\ndata: " + orjson.dumps(e) + b"\n\n" for e in events)


def block(index: int, start: Body, *deltas: Body) -> list[Body]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": d} for d in deltas),
        {"type": "content_block_stop", "index": index},
    ]


START = {
    "type": "message_start",
    "message": {**answer(), "usage": {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1}},
}
WHOLE = [
    START,
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "t"},
        {"type": "thinking_delta", "thinking": "u"},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *block(1, HIDDEN),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}, {"type": "text_delta", "text": "b"}),
    *block(
        3,
        {**USE, "input": {}},
        {"type": "input_json_delta", "partial_json": '{"a":'},
        {"type": "input_json_delta", "partial_json": "1}"},
    ),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 42},
    },
    {"type": "message_stop"},
]


def test_a_stream_of_all_kinds_of_blocks_goes_there_and_back() -> None:
    chunks, complete = decoded("messages", events_of(stream(*WHOLE)))
    whole = put_together(chunks)
    assert complete and (whole["content"], whole["reasoning"], whole["finish"]) == ("ab", "tu", "tool_calls")
    assert whole["calls"] == {0: {"id": "toolu_1", "name": "f", "arguments": '{"a":1}'}}
    assert whole["usage"] == (100, 42)
    again = [orjson.loads(e.data) for e in events_of(streamed("messages", chunks))]
    signed = [e["delta"]["signature"] for e in again if e.get("delta", {}).get("type") == "signature_delta"]
    assert signed == ["c2ln"]
    starts = [e["content_block"]["type"] for e in again if e["type"] == "content_block_start"]
    assert starts == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert HIDDEN in [e.get("content_block") for e in again], "without the number that it has in chat"
    assert [e["index"] for e in again if e["type"] == "content_block_stop"] == [0, 1, 2, 3]
    assert again[-2]["usage"]["cache_read_input_tokens"] == 90


def test_openais_sdk_puts_a_stream_with_several_thoughts_together_and_they_go_back_as_they_were() -> None:
    state = ChatCompletionStreamState()
    for event in events_of(streamed("chat", decoded("messages", events_of(stream(*WHOLE)))[0])):
        if event.data != DONE:
            state.handle_chunk(ChatCompletionChunk.model_validate_json(event.data))
    said = state.get_final_completion().choices[0].message.model_dump(exclude_none=True)
    answer = from_chat(messages=[{"role": "user", "content": "q"}, said])["messages"][1]["content"]
    assert answer[:2] == [{**THOUGHT, "thinking": "tu"}, HIDDEN]


def test_thinking_in_signed_pieces_as_litellm_streams_it_is_one_block() -> None:
    pieces = [("t", ""), ("u", ""), ("", "c2ln")]
    chunks = [
        {"reasoning_content": text, "thinking_blocks": [{"type": "thinking", "thinking": text, "signature": signature}]}
        for text, signature in pieces
    ]
    head = {"id": "c", "created": 1, "model": "m"}
    raw = streamed("messages", [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in chunks])
    events = [orjson.loads(e.data) for e in events_of(raw)]
    assert [e["type"] for e in events].count("content_block_start") == 1
    assert put_together(decoded("messages", events_of(raw))[0])["reasoning"] == "tu"
    assert [e["delta"]["signature"] for e in events if "signature" in e.get("delta", {})] == ["c2ln"]


def test_the_input_is_known_as_soon_as_the_stream_begins() -> None:
    chunks, complete = decoded("messages", events_of(stream(START)))
    assert not complete and put_together(chunks)["usage"] == (100, 1)


@pytest.mark.parametrize(("kind", "alive"), [("text", False), ("tool_use", True), ("thinking", True)])
def test_a_ping_tells_that_an_answer_is_written_where_the_model_holds_it_back(kind: str, alive: bool) -> None:
    block = {"type": kind, "id": "a", "name": "f", "input": {}, "text": ""}
    events = events_of(stream(START, {"type": "content_block_start", "index": 0, "content_block": block}))
    decoder = MESSAGES.decoder()
    for event in events:
        decoder.feed(event)
    told = decoder.feed(SseEvent(b"", "ping", b'{"type": "ping"}'))
    assert [c["choices"][0]["delta"] for c in told] == ([{}] if alive else [])


def test_a_stream_is_named_by_the_answer_and_not_by_what_comes_before_it() -> None:
    # Azure tells first what it found in the prompt.
    before = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    answer = {"id": "c7", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    names: dict[WireFormat, bytes] = {"messages": b'"id":"msg_c7"', "responses": b'"id":"resp_c7"'}
    for name, said in names.items():
        raw = streamed(name, [before, answer])
        assert said in raw and b'_0"' not in raw


def test_an_answer_that_calls_a_tool_stops_for_it_also_where_a_server_does_not_say_why_it_ended() -> None:
    head = {"id": "c", "created": 1, "model": "m"}
    called = {**head, "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **call("a", "f", "{}")}]}}]}
    for chunks, reason in (([called], "tool_use"), ([{**head, "choices": []}], "end_turn")):
        (ended,) = [e.data for e in events_of(streamed("messages", chunks)) if e.event == "message_delta"]
        assert orjson.loads(ended)["delta"] == {"stop_reason": reason, "stop_sequence": None}


def test_reasoning_that_is_not_signed_is_marked_as_such() -> None:
    head = {"id": "c", "created": 1, "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": {"reasoning_content": "r"}, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]},
    ]
    events = [orjson.loads(e.data) for e in events_of(streamed("messages", chunks))]
    assert [e["delta"]["signature"] for e in events if e.get("delta", {}).get("type") == "signature_delta"] == [
        UNSIGNED
    ]


def test_calls_that_a_vendor_mixes_up_come_one_after_the_other() -> None:
    head = {"id": "c", "created": 1, "model": "m"}

    def part(index: int, **fields: Any) -> Body:
        return {
            **head,
            "choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **fields}]}, "finish_reason": None}],
        }

    chunks = [
        part(0, id="a", function={"name": "f", "arguments": "{"}),
        part(1, id="b", function={"name": "g", "arguments": "["}),
        part(0, function={"arguments": "}"}),
        part(1, function={"arguments": "]"}),
    ]
    whole = put_together(decoded("messages", events_of(streamed("messages", chunks)))[0])
    assert [(c["id"], c["arguments"]) for c in whole["calls"].values()] == [("a", "{}"), ("b", "[]")]


def test_a_call_that_goes_on_after_text_cannot_be_told_and_is_not_garbled() -> None:
    head = {"id": "c", "created": 1, "model": "m"}
    deltas: list[Body] = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}]},
        {"content": "text"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    with pytest.raises(BadAnswer, match="goes on after it has ended"):
        streamed("messages", chunks)


def test_an_answer_without_end_of_blocks_or_calls_is_bounded() -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    with pytest.raises(BadAnswer, match="more than"):
        decoded("messages", events_of(stream(START, *[start] * 5000)))
    calls = [{"index": i, "id": str(i), "function": {"name": "f", "arguments": ""}} for i in range(5000)]
    chunk = {"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
    for name in ("messages", "responses", "gemini"):
        with pytest.raises(BadAnswer, match="more than"):
            streamed(name, [chunk])


# ---------------------------------------------------------------- what runs at Anthropic


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mcp_servers", [{"type": "url", "url": "https://x", "name": "x"}]),
        ("container", "c1"),
        ("compaction", {"type": "summarize"}),
        ("inference_geo", "us"),
    ],
)
def test_what_runs_at_anthropic_is_not_left_out_in_silence(field: str, value: Any) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], field: value}
    with pytest.raises(Untranslatable) as caught:
        translate_request(body, "messages", "chat")
    assert caught.value.param == field
    assert translate_request(body, "messages", "messages") is body
    assert translate_request({**body, field: None, "inference_geo": "global"}, "messages", "chat")


def test_a_tool_that_runs_at_anthropic_is_named() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    for target in ("chat", "responses", "gemini"):
        with pytest.raises(Untranslatable, match="'web_search_20250305'"):
            translate_request(body, "messages", target)  # type: ignore[arg-type]


def test_a_question_may_be_a_document_alone() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [pdf]}]}
    assert MESSAGES.read(body).text == "(file)"
    with pytest.raises(BadRequest, match="says nothing"):
        MESSAGES.read({**body, "messages": [{"role": "user", "content": []}]})


def test_what_anthropics_clients_may_leave_out_or_null_is_not_demanded() -> None:
    tool = {"name": "f", "type": None, "input_schema": SCHEMA}
    settings = {"role": "system", "output_config": {"effort": "high"}}
    messages = [{"role": "user", "content": "q"}, settings]
    body: Body = {"model": "m", "max_tokens": 9, "messages": messages, "tools": [tool]}
    assert MESSAGES.read(body).text == "q"
    chat = translate_request(body, "messages", "chat")
    assert chat["messages"] == [{"role": "user", "content": "q"}] and chat["tools"][0]["type"] == "function"
    with pytest.raises(BadRequest, match="tools.0..type"):
        MESSAGES.read({**body, "tools": [{**tool, "type": 3}]})


def test_a_long_name_of_the_user_fits_openai_and_stays_that_users() -> None:
    def user(name: str) -> Any:
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        return translate_request({**body, "metadata": {"user_id": name}}, "messages", "chat")["user"]

    assert user("u" * 64) == "u" * 64
    assert len(user("u" * 65)) == 64 and user("u" * 65) == user("u" * 65) != user("v" * 65)


def test_what_is_kept_for_an_hour_is_counted_whole_and_in_streams() -> None:
    told = {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 1}
    told["cache_creation"] = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 25}  # type: ignore[assignment]
    expected = TokenUsage(
        input_tokens=60, output_tokens=1, cached_tokens=20, cache_write_tokens=30, cache_write_1h_tokens=25
    )
    assert MESSAGES.usage({"usage": told}) == expected
    start = {**START, "message": {**START["message"], "usage": told}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    chunks, complete = decoded("messages", events_of(stream(start, end)))
    assert complete and FORMATS["chat"].usage(chunks[-1]) == replace(expected, output_tokens=7)


def test_what_was_thought_is_counted_whole_and_in_streams() -> None:
    told = {"input_tokens": 10, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    answer = {"type": "message", "content": [], "stop_reason": "end_turn", "usage": told}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": told}
    chunks, _ = decoded("messages", events_of(stream(START, end)))
    for usage in (MESSAGES.answer_to_chat(answer)["usage"], chunks[-1]["usage"]):
        assert usage["completion_tokens_details"] == {"reasoning_tokens": 4}


RESULT = {
    "type": "search_result",
    "source": "https://x.org",
    "title": "On x",
    "content": [{"type": "text", "text": "X."}],
}


def test_a_search_result_is_read_as_what_it_says() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [RESULT]}]}
    assert MESSAGES.read(body).text == "On x\nhttps://x.org\nX."
    [message] = translate_request(body, "messages", "chat")["messages"]
    assert message == {"role": "user", "content": "On x\nhttps://x.org\nX."}
    assert MESSAGES.from_chat(MESSAGES.to_chat(body))["messages"] == body["messages"]


def test_a_document_of_text_is_read_with_its_title_and_what_is_said_about_it() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Pay in 30 days."}
    document = {"type": "document", "title": "Terms", "context": "Since May.", "source": source}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [document]}]}
    told = "Terms\nSince May.\nPay in 30 days."
    assert MESSAGES.read(body).text == told
    assert translate_request(body, "messages", "chat")["messages"] == [{"role": "user", "content": told}]
    assert MESSAGES.from_chat(MESSAGES.to_chat(body))["messages"] == body["messages"]


@pytest.mark.parametrize("target", ["chat", "gemini", "responses"])
def test_a_part_that_only_anthropic_knows_is_named(target: Any) -> None:
    document = {"type": "document", "source": {"type": "file", "file_id": "f"}}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [document]}]}
    with pytest.raises(Untranslatable, match="'document' in the messages") as caught:
        translate_request(body, "messages", target)
    assert caught.value.param == "messages"


@pytest.mark.parametrize("target", ["chat", "gemini", "responses"])
def test_citations_are_for_those_that_give_them(target: Any) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Pay in 30 days."}
    for block in ({"type": "document", "source": source}, RESULT):
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
        assert translate_request(body, "messages", target)
        body["messages"] = [{"role": "user", "content": [{**block, "citations": {"enabled": True}}]}]
        with pytest.raises(Untranslatable) as caught:
            translate_request(body, "messages", target)
        assert caught.value.param == "messages[0].content[0].citations"


# ---------------------------------------------------------------- what stands for what was said, or no longer counts

SUMMED_UP: Body = {"type": "compaction", "content": "They asked of x.", "encrypted_content": "c2Vj"}


@pytest.mark.parametrize("target", ["chat", "messages", "gemini", "responses"])
def test_a_summary_stands_for_all_that_was_said_before(target: WireFormat) -> None:
    history = [{"role": "user", "content": "long ago"}, blocks({"type": "text", "text": "yes"}, SUMMED_UP, USE)]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}
    said = orjson.dumps(FORMATS[target].from_chat(to_chat(*history, {"role": "user", "content": [result]})))
    assert b"They asked of x." in said and b"toolu_1" in said
    assert b"long ago" not in said and b"yes" not in said
    failed = blocks({"type": "compaction", "content": None})
    said = orjson.dumps(FORMATS[target].from_chat(to_chat(history[0], failed, {"role": "user", "content": "q"})))
    assert b"long ago" in said


def test_what_a_summary_stands_for_takes_no_room_and_is_the_same_conversation() -> None:
    body: Body = {"model": "m", "max_tokens": 9, "system": "rules"}
    body["messages"] = [{"role": "user", "content": "long ago"}]
    begun = MESSAGES.read(body)
    body["messages"] += [blocks({"type": "text", "text": "yes"}, SUMMED_UP), {"role": "user", "content": "q"}]
    asked = MESSAGES.read(body)
    assert (asked.text, asked.context_text, asked.answers) == ("q", "rules\nThey asked of x.", 1)
    assert asked.affinity == begun.affinity


def test_a_begun_answer_is_gone_on_from_by_models_that_would_begin_anew() -> None:
    question = {"role": "user", "content": "q"}
    for begun in ({"role": "assistant", "content": "The answer is ("}, blocks({"type": "text", "text": "("})):
        chat = to_chat(question, begun)["messages"]
        assert [m["role"] for m in chat] == ["user", "assistant", "user"] and chat[2]["content"] == GO_ON
    for whole in ([question], [question, blocks(USE)], [question, blocks()], [{"role": "system", "output_config": {}}]):
        assert all(m.get("content") != GO_ON for m in to_chat(*whole)["messages"])


def test_a_system_prompt_for_one_turn_is_over_with_the_next() -> None:
    hint = {"role": "system", "content": "be brief", "clear_at": "next_user_message"}
    opened = [{"role": "user", "content": "a"}, hint]
    assert [m["content"] for m in to_chat(*opened)["messages"]] == ["a", "be brief"]
    chat = to_chat(*opened, blocks({"type": "text", "text": "b"}), {"role": "user", "content": "c"})
    assert [m["role"] for m in chat["messages"]] == ["user", "assistant", "user"]


def test_summing_up_is_billed_though_it_is_no_part_of_the_totals() -> None:
    summing = {"type": "compaction", "input_tokens": 1000, "output_tokens": 50, "cache_read_input_tokens": 100}
    steps = [summing, {"type": "message", "input_tokens": 10, "output_tokens": 5}]
    told = {"input_tokens": 10, "output_tokens": 5, "iterations": steps}
    expected = TokenUsage(input_tokens=1110, output_tokens=55, cached_tokens=100)
    assert MESSAGES.usage({"usage": told}) == expected
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": told}
    chunks, _ = decoded("messages", events_of(stream(START, end)))
    counted = FORMATS["chat"].usage(chunks[-1])
    assert counted is not None and (counted.output_tokens, counted.input_tokens >= 1110) == (55, True)
    assert MESSAGES.usage({"usage": {**told, "iterations": None}}) == TokenUsage(input_tokens=10, output_tokens=5)


# ---------------------------------------------------------------- calls


def choice_of(delta: Body, finish: str | None = None) -> Body:
    return {"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_a_streamed_call_without_arguments_has_an_empty_object_of_them_as_the_whole_answer_has() -> None:
    use = {"type": "tool_use", "id": "t", "name": "now", "input": {}}
    events = [
        {"type": "content_block_start", "index": 0, "content_block": use},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"type": "content_block_stop", "index": 0},
    ]
    told = put_together(decoded("messages", events_of(stream(START, *events)))[0])
    assert [c["arguments"] for c in told["calls"].values()] == ["{}"]


@pytest.mark.parametrize("pieces", [[], ['{"a"', ": 1}"]])
def test_arguments_that_a_server_gives_where_a_call_begins_are_given_once(pieces: list[str]) -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    told = put_together(decoded("messages", events_of(stream(START, *block(0, use, *deltas))))[0])
    assert [orjson.loads(c["arguments"]) for c in told["calls"].values()] == [{"a": 1}]


def test_counts_that_a_server_leaves_out_at_the_end_are_those_of_the_beginning() -> None:
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 0}}
    ended["usage"] |= {"cache_read_input_tokens": None, "output_tokens": 7}
    assert put_together(decoded("messages", events_of(stream(START, ended)))[0])["usage"] == (100, 7)


def test_an_answer_that_calls_a_tool_stops_for_it_also_where_openai_says_stop() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}")]}
    chat = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert MESSAGES.answer_from_chat(chat, "m")["stop_reason"] == "tool_use"
    part = {"index": 0, **call("a", "f", "{}")}
    events = streamed("messages", [choice_of({"tool_calls": [part]}), choice_of({}, "stop")])
    assert b'"stop_reason":"tool_use"' in events


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_shown_whatever_its_vendor_calls_it(field: str) -> None:
    message = {"role": "assistant", "content": "yes", field: "hm"}
    chat = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert MESSAGES.answer_from_chat(chat, "m")["content"][0]["thinking"] == "hm"
    assert b'"thinking":"hm"' in streamed("messages", [choice_of({field: "hm"}), choice_of({"content": "yes"}, "stop")])


# ---------------------------------------------------------------- what vendors refuse of each other


@pytest.mark.parametrize("target", ["messages", "gemini", "responses"])
@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tool_choice"),
        ({"type": "custom", "custom": {"name": "c"}}, "tool_choice"),
        ({"type": "function", "function": {}}, "tool_choice.function.name"),
    ],
)
def test_a_choice_of_tools_that_only_chat_has_is_told_and_names_no_tool_called_nothing(
    target: Any, choice: Body, param: str
) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(BadRequest) as told:
        FORMATS[target].from_chat({"model": "m", "messages": [], "tools": tools, "tool_choice": choice})
    assert told.value.param == param


def test_texts_of_white_space_alone_are_left_out_wherever_they_stand() -> None:
    blank = [{"type": "text", "text": ""}, {"type": "text", "text": " \n"}]
    made = from_chat(
        messages=[
            {"role": "system", "content": ""},
            {"role": "system", "content": "s"},
            {"role": "user", "content": [*blank, {"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}")]},
            {"role": "tool", "tool_call_id": "a", "content": blank},
        ]
    )
    assert made["system"] == "s" and made["messages"][0]["content"] == "hi"
    assert made["messages"][2]["content"][0]["content"] == ""


@pytest.mark.parametrize("stop", ["\n", ["END", " "]])
def test_a_stop_at_white_space_is_for_another_model(stop: Any) -> None:
    with pytest.raises(Untranslatable) as told:
        from_chat(stop=stop)
    assert told.value.param == "stop"


def test_a_user_goes_by_either_name() -> None:
    assert from_chat(safety_identifier="s", user="u")["metadata"] == {"user_id": "s"}


@pytest.mark.parametrize("target", ["messages", "gemini"])
def test_the_type_of_a_picture_has_the_name_that_vendors_know(target: Any) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PIXEL}"}}
    made = FORMATS[target].from_chat({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    assert "image/jpeg" in str(made) and "image/jpg" not in str(made)


def test_a_tool_without_arguments_says_to_openai_that_it_has_no_properties() -> None:
    tool = {"name": "f", "input_schema": {"type": "object"}}
    made = to_chat({"role": "user", "content": "hi"}, tools=[tool])
    assert made["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(("title", "name"), [("Report", "Report.pdf"), ("a.PDF", "a.PDF"), (None, "document.pdf")])
def test_a_pdf_is_named_as_one(title: str | None, name: str) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    made = to_chat({"role": "user", "content": [{"type": "document", "title": title, "source": source}]})
    assert made["messages"][0]["content"][0]["file"]["filename"] == name


def test_fields_that_are_null_are_not_said() -> None:
    made = to_chat({"role": "user", "content": "hi"}, temperature=None, top_p=None, stream=None)
    assert not {"temperature", "top_p", "stream"} & made.keys()


@pytest.mark.parametrize("mixed", [False, True])
def test_answers_that_say_nothing_are_not_sent_back(mixed: bool) -> None:
    blank = {"type": "text", "text": "\n\n"}
    asked = {"role": "user", "content": "q"}
    body = {"messages": [asked, blocks(), asked, {"role": "assistant", "content": ""}, asked, blocks(blank, USE)]}
    assert settled(body, mixed=mixed)["messages"] == [asked, asked, asked, blocks(USE)]


def test_filling_the_prompt_cache_is_for_anthropics_models() -> None:
    body = {"model": "m", "max_tokens": 0, "messages": [{"role": "user", "content": "hi"}]}
    assert MESSAGES.read(body).max_output_tokens == 1
    with pytest.raises(Untranslatable) as told:
        MESSAGES.to_chat(body)
    assert told.value.param == "max_tokens"


def test_calls_of_servers_that_number_them_anew_in_every_answer_are_told_apart() -> None:
    def result(text: str) -> Body:
        return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": text}]}

    again = {**USE, "id": "call_0"}
    body = {"messages": [{"role": "user", "content": "q"}, blocks(again), result("1"), blocks(again), result("2")]}
    sent = settled(body, mixed=False)["messages"]
    assert [m["content"][0].get("id") or m["content"][0]["tool_use_id"] for m in sent[1:]] == [
        "call_0",
        "call_0",
        "call_0_2",
        "call_0_2",
    ]


@pytest.mark.parametrize("target", ["messages", "gemini"])
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop": 5}, "stop"),
        ({"stop": [5]}, "stop"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}, "tools.function.parameters"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages.tool_calls.function.name"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url.url"),
    ],
)
def test_a_wrong_field_of_chat_is_named_and_not_sent_as_something_else(target: Any, more: Body, param: str) -> None:
    with pytest.raises(BadRequest) as told:
        FORMATS[target].from_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **more})
    assert told.value.param == param


@pytest.mark.parametrize("content", ["no such file", [{"type": "text", "text": "no such file"}], None])
@pytest.mark.parametrize("target", ["chat", "responses", "gemini"])
def test_a_model_of_another_vendor_is_told_that_a_tool_failed(target: Any, content: Any) -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    results = []
    for is_error in (True, False):
        result = {"type": "tool_result", "tool_use_id": "t", "content": content, "is_error": is_error}
        messages = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [{k: v for k, v in result.items() if v is not None}]},
        ]
        body = {"model": "m", "max_tokens": 9, "messages": messages}
        results.append(orjson.dumps(translate_request(body, "messages", target)).decode())
        assert translate_request(body, "messages", "messages") is body
        back = FORMATS["messages"].from_chat(FORMATS["messages"].to_chat(body))
        assert back["messages"][2]["content"][0]["is_error"] is is_error
    failed, done = results
    told = '"error":' if target == "gemini" else "The tool failed:"
    assert told in failed and told not in done
    assert all(content is None or "no such file" in said for said in results)
