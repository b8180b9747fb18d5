from __future__ import annotations

from typing import Any

import orjson
import pytest

from equipoise.traffic import TokenUsage
from equipoise.wire import (
    FORMATS,
    BadAnswer,
    BadRequest,
    Body,
    Untranslatable,
    dumps,
    only_usage,
    translate_answer,
    translate_request,
)
from equipoise.wire.format import NATIVE
from equipoise.wire.reading import MOST_CONTEXT_CHARACTERS
from tests.wire_samples import call, decoded, events_of, put_together, request_in

CHAT = FORMATS["chat"]


def asked(**more: Any) -> Any:
    return CHAT.read({"model": "auto", "messages": [{"role": "user", "content": "hello"}], **more})


# ---------------------------------------------------------------- reading


def test_the_least_request_is_read() -> None:
    found = asked()
    assert (found.text, found.context_text, found.images, found.stream, found.n, found.answers) == (
        "hello",
        "",
        0,
        False,
        1,
        0,
    )
    assert found.capabilities == frozenset() and found.max_output_tokens is None and found.user is None


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "x", "content": "42"}], "a"),
        ([{"role": "system", "content": "s"}], "s"),
        ([{"role": "assistant", "content": "b"}, {"role": "tool", "tool_call_id": "x", "content": "42"}], "42"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": " "}], "a"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "a\nb"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}], "(image)"),
    ],
)
def test_what_is_routed_by_is_never_empty(messages: list[Any], text: str) -> None:
    assert CHAT.read({"model": "auto", "messages": messages}).text == text


def test_everything_else_that_is_sent_is_context_and_bounded() -> None:
    long = "x" * (MOST_CONTEXT_CHARACTERS + 10)
    messages = [{"role": "system", "content": long}, {"role": "user", "content": "hello"}]
    found = CHAT.read({"model": "auto", "messages": messages})
    assert (found.text, len(found.context_text)) == ("hello", MOST_CONTEXT_CHARACTERS)


@pytest.mark.parametrize(
    ("more", "capabilities"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"response_format": {"type": "json_object"}}, {"json"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": None}, set()),
    ],
)
def test_what_a_model_must_be_able_to_do(more: dict[str, Any], capabilities: set[str]) -> None:
    assert asked(**more).capabilities == capabilities


def test_the_options_of_a_stream_and_the_user_are_read() -> None:
    found = asked(stream=True, stream_options={"include_usage": True}, n=3, user="u", max_tokens=7)
    assert (found.stream, found.include_usage, found.n, found.user, found.max_output_tokens) == (True, True, 3, "u", 7)


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"model": None}, "model", "missing_field"),
        ({"model": 3}, "model", "wrong_type"),
        ({"messages": []}, "messages", "missing_field"),
        ({"messages": "hi"}, "messages", "wrong_type"),
        ({"messages": ["hi"]}, "messages[0]", "wrong_type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_field"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "wrong_type"),
        ({"messages": [{"role": "user", "content": [3]}]}, "messages[0].content[0]", "wrong_type"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type", "missing_field"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages", "empty_prompt"),
        ({"stream": "yes"}, "stream", "wrong_type"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "wrong_type"),
        ({"n": 0}, "n", "out_of_range"),
        ({"n": 10_000}, "n", "out_of_range"),
        ({"n": True}, "n", "wrong_type"),
        ({"max_tokens": 1.5}, "max_tokens", "wrong_type"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "out_of_range"),
        ({"tools": {}}, "tools", "wrong_type"),
        ({"tools": [{"type": "function"}] * 5000}, "tools", "too_many"),
        ({"messages": [{"role": "user", "content": "x"}] * 100_001}, "messages", "too_many"),
        ({"messages": [{"role": "user", "content": [{}] * 100_001}]}, "messages[0].content", "too_many"),
        ({"user": 3}, "user", "wrong_type"),
        ({"response_format": "json"}, "response_format", "wrong_type"),
    ],
)
def test_a_wrong_field_is_named_with_a_stable_code(more: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(**more)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert param in str(caught.value) and "give" in str(caught.value)


def test_a_body_that_is_nested_without_end_is_refused_and_not_a_crash() -> None:
    deep: Any = "x"
    for _ in range(600):
        deep = [deep]
    with pytest.raises(BadRequest) as caught:
        dumps({"x": deep})
    assert caught.value.code == "too_deep"
    with pytest.raises(BadRequest):
        asked(tools=[{"type": "function", "function": {"name": "f", "parameters": {"x": deep}}}])


# ---------------------------------------------------------------- as other servers read it


def test_a_picture_that_a_tool_brought_is_shown_by_the_user_after_all_results() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}"), call("b", "f", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "here"}, picture]},
        {"role": "tool", "tool_call_id": "b", "content": "none"},
    ]
    made = CHAT.from_chat({"model": "m", "messages": messages})["messages"]
    assert [m["role"] for m in made] == ["user", "assistant", "tool", "tool", "user"]
    assert made[2]["content"] == "here" and made[4]["content"] == [picture]


def test_texts_alone_become_one_string() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", NATIVE: {"messages": {"x": 1}}}]
    made = CHAT.from_chat({"model": "m", "messages": [{"role": "user", "content": parts}]})
    assert made["messages"] == [{"role": "user", "content": "a\nb"}]


def test_a_part_that_no_other_format_has_is_told_or_left_with_the_model_that_made_it() -> None:
    part = {"type": "native", NATIVE: {"messages": {"block": {"type": "search_result"}}}}
    with pytest.raises(Untranslatable):
        CHAT.from_chat({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    said = {"role": "assistant", "content": [part, {"type": "text", "text": "found"}]}
    made = CHAT.from_chat({"model": "m", "messages": [{"role": "user", "content": "q"}, said]})
    assert made["messages"][1] == {"role": "assistant", "content": "found"}


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({}, None),
        ({"usage": None}, None),
        ({"usage": {"prompt_tokens": -1}}, None),
        ({"usage": {"prompt_tokens": 5}}, TokenUsage(input_tokens=5)),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": "x"}}, None),
        (
            {
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 4,
                    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
                }
            },
            TokenUsage(input_tokens=9, output_tokens=4, cached_tokens=5, cache_write_tokens=2),
        ),
        (
            {"usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 3}},
            TokenUsage(input_tokens=9, output_tokens=4, cached_tokens=3),
        ),
        (
            {
                "usage": {"prompt_tokens": 9, "completion_tokens": 4},
                "timings": {"cache_n": 6, "prompt_ms": 30.0, "predicted_ms": 470.0},
            },
            TokenUsage(input_tokens=9, output_tokens=4, cached_tokens=6, compute_s=0.5),
        ),
    ],
)
def test_tokens_are_read_where_vendors_put_them(answer: dict[str, Any], usage: TokenUsage | None) -> None:
    assert CHAT.usage(answer) == usage


def test_reasoning_that_a_vendor_bills_but_does_not_count_as_completion_is_counted() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    assert CHAT.usage({"usage": usage}) == TokenUsage(input_tokens=10, output_tokens=105)


# ---------------------------------------------------------------- streams


def chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "created": 1, "model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def test_a_client_sees_its_own_name_of_the_model_and_usage_only_if_asked() -> None:
    usage = {
        "id": "c",
        "created": 1,
        "model": "up",
        "choices": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    assert only_usage(usage) and not only_usage(chunk(content="x"))
    for include in (False, True):
        encoder = CHAT.encoder("mine", asked(stream=True, stream_options={"include_usage": include}))
        raw = b"".join([*encoder.feed(chunk(content="x")), *encoder.feed(usage), *encoder.end()])
        assert (b'"prompt_tokens"' in raw) == include
        assert b'"up"' not in raw and b'"mine"' in raw and raw.endswith(b"data: [DONE]\n\n")


def test_several_choices_are_all_streamed() -> None:
    encoder = CHAT.encoder("m", asked(n=2))
    both = {**chunk(), "choices": [{"index": i, "delta": {"content": str(i)}} for i in (0, 1)]}
    said = orjson.loads(encoder.feed(both)[0][6:])
    assert [c["delta"]["content"] for c in said["choices"]] == ["0", "1"]


@pytest.mark.parametrize(
    "choice",
    [
        {"index": 0, "message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}},
        {"message": {"content": "ab", "tool_calls": None}},
    ],
)
def test_answers_of_vendors_with_ways_of_their_own_are_read(choice: dict[str, Any]) -> None:
    answer = CHAT.answer_to_chat({"choices": [{**choice, "finish_reason": "stop"}]})
    assert answer["choices"][0]["message"]["content"] == "ab"


def test_reasoning_among_the_parts_of_an_answer_is_reasoning_whole_and_in_streams() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    content = [thought, {"type": "thinking", "thinking": None}, {"type": "text", "text": "ab"}]
    said = CHAT.answer_to_chat({"choices": [{"message": {"content": content}}]})["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("ab", "hm")
    raw = dumps({"choices": [{"index": 0, "delta": {"content": [thought]}}]})
    (piece,), _ = decoded("chat", events_of(b"data: " + raw + b"\n\n"))
    assert piece["choices"][0]["delta"] == {"content": "", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    "message",
    [
        {"content": 3},
        {"content": ["x"]},
        {"tool_calls": {}},
        {"tool_calls": [{"id": "a"}]},
        {"tool_calls": [{"function": {"name": 3}}]},
        {"thinking_blocks": ["x"]},
        [],
    ],
)
def test_an_answer_whose_message_is_none_is_told(message: Any) -> None:
    with pytest.raises(BadAnswer):
        CHAT.answer_to_chat({"choices": [{"message": message}]})


def test_the_conversation_of_the_samples_is_untouched_on_its_way_to_chat() -> None:
    body = request_in("chat")
    assert CHAT.to_chat(body) is body
    assert CHAT.from_chat(body) == body


# ---------------------------------------------------------------- embeddings


@pytest.mark.parametrize(
    ("given", "text", "context"),
    [
        ("one two", "one two", ""),
        (["a", "b", "c"], "a", "b\nc"),
        ([5, 6, 7], "5 6 7", ""),
        ([[5, 6], [7]], "5 6", "7"),
    ],
)
def test_embeddings_are_read_as_texts_of_their_length(given: Any, text: str, context: str) -> None:
    found = FORMATS["embeddings"].read({"model": "e", "input": given})
    assert (found.text, found.context_text) == (text, context)


@pytest.mark.parametrize("given", [None, "", [], [""], [None], ["a", 3], {"a": 1}, [[]], 3])
def test_embeddings_of_nothing_are_refused(given: Any) -> None:
    with pytest.raises(BadRequest):
        FORMATS["embeddings"].read({"model": "e", "input": given})


def test_embeddings_are_never_translated() -> None:
    with pytest.raises(Untranslatable):
        FORMATS["embeddings"].to_chat({"model": "e", "input": "a"})
    with pytest.raises(Untranslatable):
        FORMATS["embeddings"].from_chat({"model": "e", "messages": []})


@pytest.mark.parametrize("kind", ["file", "input_audio"])
def test_a_question_may_be_a_file_or_a_sound_alone(kind: str) -> None:
    content = [{"type": kind, kind: {"data": "AA"}}]
    assert CHAT.read({"model": "m", "messages": [{"role": "user", "content": content}]}).text == "(file)"


# ---------------------------------------------------------------- calls


def calls_in(*deltas: list[Any]) -> list[dict[str, Any]]:
    head = {"id": "c", "choices": []}
    chunks = [{**head, "choices": [{"index": 0, "delta": {"tool_calls": d}, "finish_reason": None}]} for d in deltas]
    events = events_of(b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks))
    return list(put_together(decoded("chat", events)[0])["calls"].values())


def test_calls_that_a_server_gave_no_ids_get_ids_that_differ() -> None:
    nameless = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [dict(nameless), {**nameless, "id": ""}]}
    answer = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    whole = CHAT.answer_to_chat(answer)["choices"][0]["message"]["tool_calls"]
    parts = calls_in([{"index": 0, **nameless}], [{"index": 1, **nameless, "id": None}])
    for calls in (whole, parts):
        assert len({c["id"] for c in calls}) == 2 and all(c["id"] for c in calls)


def test_calls_to_which_a_server_gave_the_same_index_stay_apart() -> None:
    first, second = call("a", "f", '{"x":'), call("b", "g", "{}")
    goes_on = {"index": 0, "function": {"arguments": "1}"}}
    made = calls_in([{"index": 0, **first}], [goes_on], [{"index": 0, **second}])
    assert [(c["id"], c["name"], c["arguments"]) for c in made] == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


def test_fields_that_a_server_leaves_null_are_as_if_it_had_left_them_out() -> None:
    (made,) = calls_in([{"index": None, **call("a", "f", "{}")}])
    assert (made["id"], made["name"]) == ("a", "f")
    (chunk,), _ = decoded("chat", events_of(b'data: {"choices": null, "usage": null}\n\n'))
    assert chunk["choices"] == []


def test_calls_of_tools_that_are_no_functions_are_answers_too() -> None:
    made = {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    answer = {"choices": [{"message": {"content": None, "tool_calls": [made]}, "finish_reason": "tool_calls"}]}
    assert CHAT.finish(answer) == "tool_calls"
    pieces: list[Any] = [made, {"custom": {"input": " -l"}}, {}]
    raw = [dumps({"choices": [{"delta": {"tool_calls": [{"index": 0, **p}]}}]}) for p in pieces]
    chunks, _ = decoded("chat", events_of(b"".join(b"data: " + r + b"\n\n" for r in raw)))
    assert [c["choices"][0]["delta"]["tool_calls"] for c in chunks] == [[{"index": 0, **p}] for p in pieces]


@pytest.mark.parametrize("target", ["messages", "responses"])
@pytest.mark.parametrize("made", [{"custom": {"name": "shell", "input": "ls"}}, {"function": {"arguments": "{}"}}])
def test_a_call_of_no_function_is_no_answer_for_clients_of_other_formats(made: Body, target: Any) -> None:
    answer = {"choices": [{"message": {"content": None, "tool_calls": [{"id": "a", **made}]}}]}
    with pytest.raises(BadAnswer, match="no function with a name"):
        translate_answer(answer, "chat", target, "m")
    other = {"index": 0, **call("b", "f", "{}")}
    for calls in ([{"index": 0, "id": "a", **made}], [other, {"index": 1, "id": "a", **made}]):
        piece = {"id": "c", "created": 1, "choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
        with pytest.raises(BadAnswer, match="no function with a name"):
            FORMATS[target].encoder("m", FORMATS[target].read(request_in(target))).feed(piece)


def test_a_call_whose_server_repeats_or_changes_its_id_in_every_piece_is_one() -> None:
    pieces = [{"index": 0, "id": i, "function": {"arguments": a}} for i, a in (("a", "{"), ("z", "}"))]
    assert len(calls_in([{"index": 0, **call("a", "f", "")}], *[[p] for p in pieces])) == 1


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_its_server_broke_off_is_none(reason: str) -> None:
    with pytest.raises(BadAnswer, match="broke off"):
        CHAT.answer_to_chat({"choices": [{"message": {"content": "a"}, "finish_reason": reason}]})
    chunk = orjson.dumps({"choices": [{"delta": {"content": "a"}, "finish_reason": reason}]})
    with pytest.raises(BadAnswer, match="broke off"):
        decoded("chat", events_of(b"data: " + chunk + b"\n\n"))


def test_a_stream_whose_pieces_end_for_no_reason_is_not_whole() -> None:
    chunk = orjson.dumps({"choices": [{"delta": {"content": "a"}, "finish_reason": ""}]})
    assert decoded("chat", events_of(b"data: " + chunk + b"\n\n"))[1] is False


def test_cached_tokens_are_read_where_moonshot_and_together_put_them() -> None:
    usage = CHAT.usage({"usage": {"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 4}})
    assert usage is not None and usage.cached_tokens == 4


# ---------------------------------------------------------------- what rides along


@pytest.mark.parametrize("target", ["messages", "gemini", "responses"])
def test_no_client_can_slip_fields_into_another_format(target: Any) -> None:
    smuggled = {"native": {target: {"system": "evil", "contents": [], "input": [], "content": 5, "part": {"a": 1}}}}
    message = {"role": "user", "content": [{"type": "text", "text": "hi", **smuggled}], **smuggled}
    made = translate_request({"model": "m", "messages": [message], **smuggled}, "chat", target)
    plain = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    assert made == translate_request({"model": "m", "messages": [plain]}, "chat", target)


@pytest.mark.parametrize("source", ["messages", "gemini", "responses"])
def test_a_chat_request_made_of_another_goes_on_as_one_of_chats_own(source: Any) -> None:
    chat = FORMATS[source].to_chat(request_in(source))
    assert translate_request(chat, "chat", "chat") == translate_request(request_in(source), source, "chat")
    own = request_in("chat")
    assert translate_request(own, "chat", "chat") is own
