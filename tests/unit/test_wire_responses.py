from __future__ import annotations

from typing import Any

import orjson
import pytest

from equipoise.traffic import TokenUsage
from equipoise.wire import FORMATS, BadAnswer, BadRequest, Untranslatable, translate_answer, translate_request
from equipoise.wire.format import Body
from equipoise.wire.responses import settled
from tests.wire_samples import call, decoded, events_of, put_together, request_in, streamed

RESPONSES = FORMATS["responses"]
HEAD = {"id": "c1", "created": 5, "model": "m"}


def to_chat(given: Any, **more: Any) -> Body:
    return RESPONSES.to_chat({"model": "m", "input": given, **more})


def from_chat(*messages: Body, **more: Any) -> Body:
    return RESPONSES.from_chat({"model": "m", "messages": list(messages), **more})


# ---------------------------------------------------------------- requests


def test_a_text_is_what_the_user_says() -> None:
    assert to_chat("hi")["messages"] == [{"role": "user", "content": "hi"}]
    assert to_chat("hi", instructions="s")["messages"][0] == {"role": "system", "content": "s"}
    assert RESPONSES.read({"model": "m", "input": "hi"}).text == "hi"


def test_all_that_a_model_did_in_one_go_is_one_message() -> None:
    chat = RESPONSES.to_chat(request_in("responses"))
    assert [m["role"] for m in chat["messages"]] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert [c["id"] for c in chat["messages"][2]["tool_calls"]] == ["call_a", "call_b"]


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_what_leans_on_the_vendors_memory_is_told(field: str) -> None:
    body = {"model": "m", "input": "hi", field: "x"}
    assert RESPONSES.read(body).vendor_state == field
    with pytest.raises(Untranslatable) as caught:
        RESPONSES.to_chat(body)
    assert caught.value.param == field
    assert RESPONSES.read({"model": "m", "input": "hi"}).vendor_state is None


@pytest.mark.parametrize("given", [{}, {"input": []}, {"input": [{"id": "msg_1"}]}])
def test_what_a_vendor_remembers_may_be_all_that_is_asked(given: Body) -> None:
    body = {"model": "m", "prompt": {"id": "p"}, **given}
    assert RESPONSES.read(body).vendor_state == "prompt"
    with pytest.raises(BadRequest) as caught:
        RESPONSES.read({"model": "m", **given})
    assert caught.value.param == "input"


def test_choosing_among_no_tools_is_left_out_for_servers_that_refuse_it() -> None:
    body = {"model": "m", "input": "hi", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    made = translate_request(body, "responses", "chat")
    assert made.keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [{"id": "msg_1", "type": None}, {"role": "user", "content": "hi"}]}, "input"),
        ({"input": "hi", "top_logprobs": 2}, "include"),
        ({"input": "hi", "include": ["message.output_text.logprobs"]}, "include"),
        ({"input": "hi", "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input"),
        ({"input": "hi", "moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"input": [{"type": "computer_call_output", "call_id": "x", "output": {}}]}, "input"),
    ],
)
def test_what_only_openai_runs_is_told(body: Body, param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        RESPONSES.to_chat({"model": "m", **body})
    assert caught.value.param == param


def test_an_answer_to_be_fetched_later_is_refused_since_it_never_could_be() -> None:
    with pytest.raises(BadRequest) as caught:
        RESPONSES.read({"model": "m", "input": "hi", "background": True})
    assert (caught.value.param, caught.value.code) == ("background", "background_unsupported_request")
    assert RESPONSES.read({"model": "m", "input": "hi", "background": False}).text == "hi"


def test_a_tool_that_runs_at_openai_is_named_whatever_the_model_speaks() -> None:
    body = {"model": "m", "input": "hi", "tools": [{"type": "web_search"}]}
    for target in ("chat", "messages", "gemini"):
        with pytest.raises(Untranslatable, match="'web_search'") as caught:
            translate_request(body, "responses", target)  # type: ignore[arg-type]
        assert caught.value.param == "tools"


# As Codex sends its own tools for sub-agents, and those of MCP servers.
SPACED = {
    "model": "m",
    "input": [
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "c", "namespace": "crm", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ],
    "tools": [
        {"type": "function", "name": "find", "parameters": {"type": "object"}},
        {
            "type": "namespace",
            "name": "crm",
            "description": "Customers.",
            "tools": [{"type": "function", "name": "find", "description": "d", "parameters": {"type": "object"}}],
        },
    ],
}


def test_functions_in_a_namespace_are_told_apart_by_models_that_know_none_and_called_as_the_client_knows_them() -> None:
    chat = translate_request(SPACED, "responses", "chat")
    assert [t["function"]["name"] for t in chat["tools"]] == ["find", "crm__find"]
    assert chat["tools"][1]["function"]["description"] == "d"
    assert [c["function"]["name"] for m in chat["messages"] for c in m.get("tool_calls", ())] == ["crm__find"]
    asked = RESPONSES.read(SPACED)
    calls = [call("a", "crm__find", "{}"), call("b", "find", "{}")]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    said = RESPONSES.answer_from_chat({**HEAD, "choices": [{"message": message}]}, "m", asked)["output"]
    encoder = RESPONSES.encoder("m", asked)
    delta = {"tool_calls": [{**c, "index": i} for i, c in enumerate(calls)]}
    frames = [*encoder.feed({**HEAD, "choices": [{"delta": delta}]}), *encoder.end()]
    events = [orjson.loads(e.data) for e in events_of(b"".join(frames))]
    for items in (said, [e["item"] for e in events if e["type"] == "response.output_item.done"]):
        assert [(i.get("namespace"), i["name"]) for i in items] == [("crm", "find"), (None, "find")]


def test_a_tool_in_a_namespace_that_is_no_function_is_one_vendors_own() -> None:
    space = {"type": "namespace", "name": "crm", "tools": [{"type": "custom", "name": "patch"}]}
    with pytest.raises(Untranslatable, match="'custom'"):
        translate_request({"model": "m", "input": "q", "tools": [space]}, "responses", "messages")


def test_a_reference_to_an_item_that_was_made_in_a_translation_says_how_to_send_it() -> None:
    items = [{"role": "user", "content": "q"}, {"type": "item_reference", "id": "msg_eq_1"}]
    with pytest.raises(BadRequest, match="'store': false") as caught:
        RESPONSES.read({"model": "m", "input": items})
    assert caught.value.param == "input[1]"
    assert RESPONSES.read({"model": "m", "input": [*items[:1], {"type": "item_reference", "id": "msg_1"}]})


@pytest.mark.parametrize("part", [{"type": "input_file", "file_id": "f"}, {"type": "input_audio", "input_audio": {}}])
def test_a_question_may_be_a_file_alone(part: Body) -> None:
    assert RESPONSES.read({"model": "m", "input": [{"role": "user", "content": [part]}]}).text == "(file)"


def test_a_tool_of_openais_own_in_the_past_stays_there_and_the_words_go_on() -> None:
    items = [
        {"role": "user", "content": "q"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "found"}]},
        {"role": "user", "content": "and?"},
    ]
    made = translate_request({"model": "m", "input": items}, "responses", "chat")
    assert [m["content"] for m in made["messages"]] == ["q", "found", "and?"]
    assert b"web_search" not in orjson.dumps(made)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content"),
        ({"input": []}, "input"),
        ({"input": "hi", "text": {"format": 3}}, "text.format"),
        ({"input": "hi", "max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_a_wrong_field_is_named(body: Body, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        RESPONSES.read({"model": "m", **body})
    assert caught.value.param == param


def test_chat_becomes_items_and_nothing_is_stored_that_nobody_asked_to_store() -> None:
    made = from_chat(
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "assistant", "content": "a", "tool_calls": [call("x", "f", "")]},
        {"role": "tool", "tool_call_id": "x", "content": "r"},
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_object"},
        max_tokens=5,
    )
    assert made == {
        "model": "m",
        "instructions": "s",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "q"},
                    {"type": "input_image", "image_url": "u", "detail": "auto"},
                ],
            },
            {"type": "message", "role": "assistant", "content": "a"},
            {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "x", "output": "r"},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_object"}},
        "max_output_tokens": 5,
        "store": False,
    }


def test_a_system_prompt_alone_is_what_is_asked() -> None:
    made = from_chat({"role": "system", "content": "Say something."})
    assert made["input"] == [{"type": "message", "role": "system", "content": "Say something."}]
    assert "instructions" not in made


def test_only_one_answer_at_a_time() -> None:
    with pytest.raises(Untranslatable):
        from_chat({"role": "user", "content": "q"}, n=2)


# ---------------------------------------------------------------- what the next model accepts


def test_a_conversation_of_one_model_is_the_very_same() -> None:
    body = request_in("responses")
    assert settled(body, mixed=False) is body
    assert [i.get("type") for i in settled(body, mixed=True)["input"]].count("reasoning") == 0


def test_items_that_we_made_are_not_sent_as_if_the_vendor_knew_them() -> None:
    message = {"reasoning_content": "r", "content": "a", "tool_calls": [call("x", "f", "{}")]}
    chat = {**HEAD, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    made = RESPONSES.answer_from_chat(chat, "m")
    sent = settled({"input": made["output"]}, mixed=False)["input"]
    assert [i["type"] for i in sent] == ["message", "function_call"]
    assert not any("id" in i for i in sent)


@pytest.mark.parametrize("left", [{}, {"encrypted_content": None, "content": []}])
def test_reasoning_that_nobody_kept_is_left_out_with_what_is_tied_to_it(left: Body) -> None:
    """As pi sends it where it was not told that the model thinks."""
    asked = {"role": "user", "content": "q"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], **left}
    called = {"type": "function_call", "call_id": "call_a", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_a", "output": "r"}
    body = {"input": [asked, thought, {**called, "id": "fc_1"}, result]}
    assert settled({**body, "store": False}, mixed=False)["input"] == [asked, called, result]
    assert settled(body, mixed=False) is body


@pytest.mark.parametrize(
    "held", [{"encrypted_content": "gAAA"}, {"content": [{"type": "reasoning_text", "text": "r"}]}]
)
def test_reasoning_that_the_client_kept_stays(held: Body) -> None:
    body = {"store": False, "input": [{"type": "reasoning", "id": "rs_1", "summary": [], **held}]}
    assert settled(body, mixed=False) is body


def test_ids_that_a_server_gave_again_in_a_later_answer_are_told_apart() -> None:
    """As those of Kimi on some hosts: OpenAI refuses two results under one id."""
    turns = [
        [
            {"type": "function_call", "call_id": "f:0", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "f:0", "output": said},
        ]
        for said in ("1", "2", "3")
    ]
    sent = settled({"input": [item for turn in turns for item in turn]}, mixed=False)["input"]
    assert [i["call_id"] for i in sent] == ["f:0", "f:0", "f:0_2", "f:0_2", "f:0_3", "f:0_3"]
    assert settled({"input": turns[0]}, mixed=False)["input"] is turns[0]


def test_long_ids_fit_in_call_and_result() -> None:
    long = "x" * 80
    items = [{"type": "function_call", "call_id": long}, {"type": "function_call_output", "call_id": long}]
    ids = {i["call_id"] for i in settled({"input": items}, mixed=False)["input"]}
    assert len(ids) == 1 and len(ids.pop()) <= 64


# ---------------------------------------------------------------- answers


def response(*output: Body, **more: Any) -> Body:
    return {"id": "resp_1", "object": "response", "status": "completed", "output": list(output), **more}


SAID = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
CALLED = {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (response(SAID), "stop"),
        (response(SAID, CALLED), "tool_calls"),
        (response(SAID, status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (response(SAID, status="incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (response(SAID, status="incomplete"), "length"),
        (response(status="in_progress"), None),
    ],
)
def test_why_an_answer_stopped(answer: Body, finish: str | None) -> None:
    assert RESPONSES.finish(answer) == finish


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_failed_is_no_answer(status: str) -> None:
    with pytest.raises(BadAnswer, match=status):
        RESPONSES.finish(response(status=status))


def test_tokens_are_read_with_their_details() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 140,
    }
    expected = TokenUsage(input_tokens=100, output_tokens=40, cached_tokens=60, cache_write_tokens=10)
    assert RESPONSES.usage(response(SAID, usage=usage)) == expected
    chat = RESPONSES.answer_to_chat(response(SAID, usage=usage))
    assert chat["usage"]["completion_tokens_details"]["reasoning_tokens"] == 30
    assert RESPONSES.answer_from_chat(chat, "m")["usage"] == usage


def test_a_refusal_stays_one() -> None:
    said = {"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}
    chat = RESPONSES.answer_to_chat(response(said))
    assert chat["choices"][0]["message"]["refusal"] == "no"
    assert RESPONSES.answer_from_chat(chat, "m")["output"][0]["content"] == [{"type": "refusal", "refusal": "no"}]


# ---------------------------------------------------------------- streams


def chunk(finish: str | None = None, **delta: Any) -> Body:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_events_are_numbered_and_items_end_where_they_began() -> None:
    chunks = [
        chunk(reasoning_content="r"),
        chunk(content="a"),
        chunk(tool_calls=[{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{"}}]),
        chunk(tool_calls=[{"index": 1, "id": "y", "function": {"name": "g", "arguments": "{}"}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "}"}}]),
        chunk("tool_calls"),
    ]
    events = [orjson.loads(e.data) for e in events_of(streamed("responses", chunks))]
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    began = [(e["output_index"], e["item"]["id"]) for e in events if e["type"] == "response.output_item.added"]
    ended = [(e["output_index"], e["item"]["id"]) for e in events if e["type"] == "response.output_item.done"]
    assert sorted(ended) == began and [i for i, _ in began] == [0, 1, 2, 3]
    whole = events[-1]["response"]
    assert (events[-1]["type"], whole["status"]) == ("response.completed", "completed")
    assert [i["type"] for i in whole["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert [i["arguments"] for i in whole["output"][2:]] == ["{}", "{}"]
    assert all(i.get("status", "completed") == "completed" for i in whole["output"])


def test_a_call_ends_before_the_next_begins() -> None:
    """Agno knows one at a time, and lost the first of two."""
    chunks = [
        chunk(content="a"),
        chunk(tool_calls=[{"index": 0, "id": "x", "function": {"name": "f", "arguments": '{"a"'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        chunk(tool_calls=[{"index": 1, "id": "y", "function": {"name": "g", "arguments": "{}"}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": " "}}]),
        chunk(content="b"),
        chunk("tool_calls"),
    ]
    events = [orjson.loads(e.data) for e in events_of(streamed("responses", chunks))]
    edges = [e for e in events if e["type"].startswith("response.output_item")]
    assert [(e["output_index"], e["type"].rpartition(".")[2]) for e in edges] == [
        (number, edge) for number in range(4) for edge in ("added", "done")
    ]
    assert [i.get("arguments") for i in events[-1]["response"]["output"]] == [None, '{"a": 1}', "{}", None]
    late = chunk(tool_calls=[{"index": 0, "function": {"arguments": "}"}}])
    with pytest.raises(BadAnswer, match="after it has ended"):
        streamed("responses", [*chunks[:4], late])


@pytest.mark.parametrize(
    ("finish", "kind"), [("length", "incomplete"), ("content_filter", "incomplete"), ("stop", "completed")]
)
def test_a_stream_ends_as_the_answer_does(finish: str, kind: str) -> None:
    raw = streamed("responses", [chunk(content="a"), chunk(finish)])
    assert events_of(raw)[-1].event == f"response.{kind}"
    assert put_together(decoded("responses", events_of(raw))[0])["finish"] == finish


def test_a_stream_that_fails_says_so_twice_as_openai_does() -> None:
    encoder = RESPONSES.encoder("m", RESPONSES.read({"model": "m", "input": "hi", "stream": True}))
    encoder.feed(chunk(content="a"))
    error, failed = (orjson.loads(e.data) for e in events_of(b"".join(encoder.fail("timeout", "too late"))))
    assert (error["type"], error["code"], error["error"]["code"]) == ("error", "timeout", "timeout")
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["sequence_number"] == error["sequence_number"] + 1


def test_arguments_that_a_server_sends_only_at_the_end_are_not_lost() -> None:
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "created_at": 1}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**CALLED, "arguments": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": {**CALLED, "arguments": '{"a":1}'}},
        {"type": "response.completed", "response": response(CALLED)},
    ]
    raw = b"".join(b"data: " + orjson.dumps(e) + b"\n\n" for e in events)
    chunks, complete = decoded("responses", events_of(raw))
    whole = put_together(chunks)
    assert complete and whole["finish"] == "tool_calls"
    assert whole["calls"][0] == {"id": "x", "name": "f", "arguments": '{"a":1}'}


def test_parts_of_reasoning_are_as_far_apart_in_a_stream_as_in_the_whole_answer() -> None:
    parts = [(0, 0, "**Plan**"), (0, 1, "**Look**"), (2, 0, "**Sum up**")]
    thought = [
        {"type": "reasoning", "id": f"rs_{n}", "summary": [{"text": t} for i, _, t in parts if i == n]} for n in (0, 2)
    ]
    deltas = [
        {"type": "response.reasoning_summary_text.delta", "output_index": n, "summary_index": i, "delta": piece}
        for n, i, text in parts
        for piece in (text[:3], text[3:])
    ]
    raw = b"".join(b"data: " + orjson.dumps(e) + b"\n\n" for e in deltas)
    whole = RESPONSES.answer_to_chat(response(thought[0], CALLED, thought[1]))["choices"][0]["message"]
    streamed = put_together(decoded("responses", events_of(raw))[0])
    assert streamed["reasoning"] == whole["reasoning_content"] == "**Plan**\n**Look**\n**Sum up**"


def test_a_call_without_arguments_has_an_empty_object_of_them() -> None:
    nothing = call("a", "f", "")
    message = {"role": "assistant", "content": None, "tool_calls": [nothing]}
    chat = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    assert FORMATS["responses"].answer_from_chat(chat, "m")["output"][0]["arguments"] == "{}"
    delta = {"tool_calls": [{"index": 0, **nothing}]}
    chunk = {"id": "c", "created": 1, "choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}
    assert b'"arguments":"{}"' in streamed("responses", [chunk])


def test_items_whose_reasoning_is_left_out_are_not_tied_to_it_by_their_ids() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"},
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "web_search_call", "id": "ws_1"},
    ]
    assert settled({"input": items}, mixed=False)["input"] == items
    assert settled({"input": items}, mixed=True)["input"] == [
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "web_search_call", "id": "ws_1"},
    ]


def test_thinking_alone_is_a_turn_of_a_model() -> None:
    said = {"role": "user", "content": "q"}
    assert RESPONSES.read({"model": "m", "input": [said]}).answers == 0
    assert RESPONSES.read({"model": "m", "input": [said, {"type": "reasoning", "summary": []}]}).answers == 1


@pytest.mark.parametrize(("name", "empty"), [("responses", ""), ("embeddings", [""])])
def test_what_says_nothing_is_told_by_the_name_of_its_field(name: Any, empty: Any) -> None:
    with pytest.raises(BadRequest) as told:
        FORMATS[name].read({"model": "m", "input": empty})
    assert (told.value.param, told.value.code) == ("input", "empty_prompt")


def test_a_translated_answer_says_again_what_was_asked_in_every_event_that_holds_it() -> None:
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "metadata": {"case": "7"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "temperature": 0.0,
        "tool_choice": "required",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}],
        "top_p": 0.5,
        "truncation": "auto",
    }
    body = {"model": "m", "input": "hi", "stream": True, **asked, "text": {"verbosity": "low"}}
    encoder = RESPONSES.encoder("m", RESPONSES.read(body))
    raw = b"".join([*encoder.feed(chunk(content="a")), *encoder.feed(chunk("stop")), *encoder.end()])
    said = [e["response"] for event in events_of(raw) if "response" in (e := orjson.loads(event.data))]
    answer = {"id": "c", "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}
    said.append(translate_answer(answer, "chat", "responses", "m", asked=RESPONSES.read(body)))
    assert len(said) == 4
    for one in said:
        assert {k: one[k] for k in asked} == asked
        assert one["text"] == {"format": {"type": "text"}, "verbosity": "low"}
        assert one["model"] == "m" and one["store"] is False


def test_an_answer_to_a_request_that_said_little_has_the_fields_that_openais_have() -> None:
    encoder = RESPONSES.encoder("m", RESPONSES.read({"model": "m", "input": "hi", "stream": True}))
    created = orjson.loads(events_of(b"".join(encoder.feed(chunk(content="a"))))[0].data)["response"]
    assert (created["tools"], created["tool_choice"], created["truncation"]) == ([], "auto", "disabled")
    assert created["text"] == {"format": {"type": "text"}} and created["metadata"] == {}
