from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.traffic import TokenUsage
from equipoise.wire import FORMATS, BadAnswer, BadRequest, Untranslatable, translate_answer, translate_request
from equipoise.wire.format import Body
from equipoise.wire.gemini import settled
from equipoise.wire.gemini.schema import cleaned
from equipoise.wire.responses import settled as settle_responses
from equipoise.wire.sse import frame
from tests.wire_samples import call, decoded, events_of, put_together, request_in, streamed

GEMINI = FORMATS["gemini"]


def from_chat(*messages: Body, **more: Any) -> Body:
    return GEMINI.from_chat({"model": "m", "messages": list(messages), **more})


def to_chat(*contents: Body, **more: Any) -> Body:
    return GEMINI.to_chat({"model": "m", "contents": list(contents), **more})


def user(*parts: Body) -> Body:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Body) -> Body:
    return {"role": "model", "parts": list(parts)}


# ---------------------------------------------------------------- schemas


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "string", "pattern": "^a", "minLength": 1, "default": "x"}, {"type": "string"}),
        ({"const": "x"}, {"enum": ["x"]}),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "type": ["string", "null"]},
            {"type": ["string", "null"]},
        ),
        (
            {
                "type": "object",
                "properties": {"pattern": {"type": "string", "examples": ["a"]}},
                "required": ["pattern"],
            },
            {"type": "object", "properties": {"pattern": {"type": "string"}}, "required": ["pattern"]},
        ),
        (
            {
                "allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}],
                "title": "t",
            },
            {"properties": {"a": {"type": "string"}}, "required": ["a", "b"], "title": "t"},
        ),
        (
            {"definitions": {"x": {"const": 1}}, "$ref": "#/definitions/x"},
            {"$defs": {"x": {"enum": [1]}}, "$ref": "#/$defs/x"},
        ),
        # Google refuses what stands beside a reference, as Pydantic writes it of a field that has a description.
        ({"$ref": "#/$defs/x", "description": "d"}, {"anyOf": [{"$ref": "#/$defs/x"}], "description": "d"}),
        (
            {"allOf": [{"allOf": [{"properties": {"a": {}}}, {"type": "object"}], "required": ["a"]}], "title": "t"},
            {"type": "object", "title": "t", "properties": {"a": {}}, "required": ["a"]},
        ),
        ({"allOf": [{"$ref": "#/$defs/x"}], "title": "t"}, {"anyOf": [{"$ref": "#/$defs/x"}], "title": "t"}),
        ({"items": {"anyOf": [{"minLength": 1}, True]}}, {"items": {"anyOf": [{}, True]}}),
        ({"additionalProperties": False, "not": {"type": "null"}}, {"additionalProperties": False}),
    ],
)
def test_a_schema_is_cut_down_to_what_gemini_takes(schema: Body, made: Body) -> None:
    assert cleaned(schema) == made


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "allOf", "$defs", "required", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_no_schema_breaks_the_cleaning_and_a_clean_one_stays(schema: Any) -> None:
    once = cleaned(schema)
    assert cleaned(once) == once
    if isinstance(once, dict):
        assert not {"allOf", "x", "const"} & once.keys()


def test_a_schema_without_end_is_cut_off() -> None:
    schema: Body = {"type": "string"}
    for _ in range(400):
        schema = {"type": "array", "items": schema}
    assert orjson.dumps(cleaned(schema)).count(b"array") < 100


# ---------------------------------------------------------------- requests


def test_settings_become_a_configuration() -> None:
    made = from_chat(
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        temperature=0.1,
        top_p=0.2,
        n=2,
        seed=3,
        max_tokens=4,
        stop="X",
        presence_penalty=0.5,
        response_format={"type": "json_object"},
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "minLength": 1}}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
    )
    assert made == {
        "model": "m",
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [user({"text": "q"})],
        "generationConfig": {
            "temperature": 0.1,
            "topP": 0.2,
            "candidateCount": 2,
            "seed": 3,
            "maxOutputTokens": 4,
            "stopSequences": ["X"],
            "presencePenalty": 0.5,
            "responseMimeType": "application/json",
        },
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    }
    assert GEMINI.read(made).n == 2


@pytest.mark.parametrize(
    ("name", "sent"), [("1c_ssl", "_eq_1c_ssl"), ("-f", "_eq_-f"), ("_f", "_f"), ("_eq_f", "_eq_f")]
)
def test_a_function_whose_name_begins_as_gemini_refuses_has_another_there_and_its_own_in_answers(
    name: str, sent: str
) -> None:
    made = from_chat(
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", name, "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        tools=[{"type": "function", "function": {"name": name}}],
        tool_choice={"type": "function", "function": {"name": name}},
    )
    assert made["tools"] == [{"functionDeclarations": [{"name": sent}]}]
    assert made["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == [sent]
    assert made["contents"][1]["parts"][0]["functionCall"]["name"] == sent
    assert made["contents"][2]["parts"][0]["functionResponse"]["name"] == sent
    content = {"role": "model", "parts": [{"functionCall": {"name": sent, "args": {}}}]}
    answer = {"candidates": [{"content": content, "finishReason": "STOP"}], "responseId": "r"}
    [whole] = GEMINI.answer_to_chat(answer)["choices"][0]["message"]["tool_calls"]
    pieces = put_together(decoded("gemini", events_of(frame(orjson.dumps(answer))))[0])["calls"]
    assert whole["function"]["name"] == pieces[0]["name"] == name


def test_results_say_which_function_they_are_of() -> None:
    made = from_chat(
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call("x", "f", '{"a": 1}'), call("y", "g", "{}")]},
        {"role": "tool", "tool_call_id": "y", "content": '{"deg": 3}'},
        {"role": "tool", "tool_call_id": "x", "content": "plain"},
    )
    assert made["contents"][1] == model(
        {"functionCall": {"id": "x", "name": "f", "args": {"a": 1}}},
        {"functionCall": {"id": "y", "name": "g", "args": {}}},
    )
    assert made["contents"][2] == user(
        {"functionResponse": {"id": "x", "name": "f", "response": {"result": "plain"}}},
        {"functionResponse": {"id": "y", "name": "g", "response": {"deg": 3}}},
    )


def test_calls_of_servers_that_number_them_anew_in_every_answer_are_told_apart() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [call("x", "f", "{}")]}
    result = {"role": "tool", "tool_call_id": "x", "content": "r"}
    made = from_chat({"role": "user", "content": "q"}, called, result, called, result)
    parts = [next(iter(p.values())) for c in made["contents"] for p in c["parts"] if "text" not in p]
    assert [p["id"] for p in parts] == ["x", "x", "x_2", "x_2"]


def test_results_without_ids_belong_to_the_calls_of_their_name_in_order() -> None:
    def one(n: int) -> Body:
        return {"functionCall": {"name": "f", "args": {"n": n}}}

    def result(n: int) -> Body:
        return {"functionResponse": {"name": "f", "response": {"result": str(n)}}}

    contents = [user({"text": "q"}), model(one(1), one(2)), user(result(1), result(2)), model(one(3)), user(result(3))]
    chat = to_chat(*contents)
    made = [c["id"] for m in chat["messages"] for c in m.get("tool_calls", ())]
    results = [(m["tool_call_id"], m["content"]) for m in chat["messages"] if m["role"] == "tool"]
    assert len(set(made)) == 3 and results == list(zip(made, ("1", "2", "3"), strict=True))
    assert GEMINI.from_chat(chat)["contents"] == contents


def test_pictures_go_inside_or_as_a_link() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "https://x.org/y.png?z=1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"format": "wav", "data": "AA=="}},
    ]
    assert from_chat({"role": "user", "content": parts})["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/webp", "data": "AA=="}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://x.org/y.png?z=1"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}},
    ]
    with pytest.raises(Untranslatable):
        from_chat({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]})


def test_a_conversation_begins_with_the_user() -> None:
    made = from_chat({"role": "assistant", "content": "a"})
    assert [c["role"] for c in made["contents"]] == ["user", "model"]


def test_signatures_ride_where_googles_own_endpoint_has_them() -> None:
    chat = GEMINI.to_chat(request_in("gemini"))
    first, second = chat["messages"][2]["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": "c2lnbmVk"}} and "extra_content" not in second


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": []}, "contents"),
        ({"contents": [3]}, "contents[0]"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text"),
        (
            {"contents": [user({"text": "q"})], "generationConfig": {"maxOutputTokens": 0}},
            "generationConfig.maxOutputTokens",
        ),
    ],
)
def test_a_wrong_field_is_named(body: Body, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        GEMINI.read({"model": "m", **body})
    assert caught.value.param == param


# ---------------------------------------------------------------- what the next model accepts


@pytest.mark.parametrize(
    ("mixed", "signed", "signatures"),
    [
        (False, False, ["c2ln", None]),
        (True, False, [None, None]),
        (False, True, ["c2ln", None]),
        (True, True, ["skip_thought_signature_validator", None]),
    ],
)
def test_signatures_are_those_that_the_next_model_accepts(
    mixed: bool, signed: bool, signatures: list[str | None]
) -> None:
    calls = [{"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"}, {"functionCall": {"name": "g"}}]
    body = {"contents": [user({"text": "q"}), model({"text": "a"}, *calls)]}
    made = settled(body, mixed=mixed, signed=signed)["contents"][1]["parts"]
    assert [p.get("thoughtSignature") for p in made[1:]] == signatures
    assert calls[0]["thoughtSignature"] == "c2ln"


# ---------------------------------------------------------------- answers


def answer(*parts: Body, finish: str | None = "STOP", **more: Any) -> Body:
    candidate: Body = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "g", "responseId": "r", **more}


def test_thoughts_are_paid_for_as_output() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 142,
    }
    expected = TokenUsage(input_tokens=107, output_tokens=35, cached_tokens=60)
    assert GEMINI.usage(answer({"text": "a"}, usageMetadata=usage)) == expected
    chat = GEMINI.answer_to_chat(answer({"text": "t", "thought": True}, {"text": "a"}, usageMetadata=usage))
    assert FORMATS["chat"].usage(chat) == expected
    message = chat["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("t", "a")


@pytest.mark.parametrize(
    ("finish", "told"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
        ("ESCALATION", "content_filter"),
        ("PUP_LIMITED_DISABLED", "content_filter"),
        ("CONTINUATION", "length"),
        ("OTHER", "stop"),
        ("FINISH_REASON_UNSPECIFIED", None),
        (None, None),
    ],
)
def test_why_an_answer_stopped(finish: str | None, told: str | None) -> None:
    assert GEMINI.finish(answer({"text": "a"}, finish=finish)) == told


@pytest.mark.parametrize(
    "finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"]
)
def test_a_call_that_the_model_failed_to_write_is_a_bad_answer_to_be_tried_again(finish: str) -> None:
    with pytest.raises(BadAnswer, match=finish):
        GEMINI.finish(answer(finish=finish))


def test_a_prompt_that_is_blocked_is_an_answer_that_was_withheld() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    assert GEMINI.finish(blocked) == "content_filter"
    assert GEMINI.answer_to_chat(blocked)["choices"][0]["finish_reason"] == "content_filter"
    chunks, complete = decoded("gemini", events_of(b"data: " + orjson.dumps(blocked) + b"\n\n"))
    assert complete and put_together(chunks)["finish"] == "content_filter"


def test_a_stream_of_pieces_becomes_chunks_with_calls_numbered_through() -> None:
    def one(name: str) -> Body:
        return {"functionCall": {"name": name, "args": {"a": 1}}, "thoughtSignature": "c2ln"}

    events = [
        answer({"text": "t", "thought": True}, finish=None, usageMetadata={"promptTokenCount": 9}),
        answer({"text": "a"}, finish=None),
        answer(one("f"), finish=None),
        answer(one("g"), usageMetadata={"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 2}),
    ]
    raw = b"".join(b"data: " + orjson.dumps(e) + b"\r\n\r\n" for e in events)
    chunks, complete = decoded("gemini", events_of(raw))
    whole = put_together(chunks)
    assert complete and (whole["content"], whole["reasoning"], whole["finish"]) == ("a", "t", "tool_calls")
    assert [c["name"] for c in whole["calls"].values()] == ["f", "g"] and list(whole["calls"]) == [0, 1]
    assert whole["usage"] == (9, 6)
    signed = [p for c in chunks for p in c["choices"][0]["delta"].get("tool_calls", ())]
    assert all(p["extra_content"]["google"]["thought_signature"] == "c2ln" for p in signed)


def test_answers_without_ids_have_calls_that_are_told_apart() -> None:
    def asked(step: int) -> Body:
        usage = {"promptTokenCount": 10 * step, "candidatesTokenCount": 5}
        return answer({"functionCall": {"name": "f", "args": {}}}, usageMetadata=usage, responseId="")

    whole = [GEMINI.answer_to_chat(asked(step), now=7) for step in (1, 2)]
    assert whole[0]["id"] != whole[1]["id"]
    assert len({c["choices"][0]["message"]["tool_calls"][0]["id"] for c in whole}) == 2
    assert whole[0] == GEMINI.answer_to_chat(asked(1), now=7)
    streams = [decoded("gemini", events_of(frame(orjson.dumps(asked(s))) + frame(b"{}")))[0] for s in (1, 2)]
    assert [len({chunk["id"] for chunk in chunks}) for chunks in streams] == [1, 1]
    assert len({chunks[0]["choices"][0]["delta"]["tool_calls"][0]["id"] for chunks in streams}) == 2


def test_candidates_stay_apart() -> None:
    both = answer({"text": "a"})
    both["candidates"].append({"content": {"parts": [{"text": "b"}]}, "index": 1, "finishReason": "STOP"})
    chat = GEMINI.answer_to_chat(both)
    assert [c["message"]["content"] for c in chat["choices"]] == ["a", "b"]
    assert len(GEMINI.answer_from_chat(chat, "g")["candidates"]) == 2


@pytest.mark.parametrize("said", [{"promptFeedback": {"safetyRatings": []}}, {"responseId": "r"}, {"candidates": []}])
def test_an_event_that_tells_of_the_prompt_alone_is_no_answer_and_breaks_none(said: Body) -> None:
    events = events_of(frame(orjson.dumps(said)) + frame(orjson.dumps(answer({"text": "a"}))))
    chunks, complete = decoded("gemini", events)
    assert put_together(chunks)["content"] == "a" and complete


def test_a_stream_of_several_candidates_is_whole_when_all_have_ended() -> None:
    pieces = [{"index": 0}, {"index": 1}, {"index": 0, "finishReason": "STOP"}, {"index": 1, "finishReason": "STOP"}]
    decoder = GEMINI.decoder()
    whole = []
    for event in events_of(b"".join(b"data: " + orjson.dumps({"candidates": [p]}) + b"\r\n\r\n" for p in pieces)):
        decoder.feed(event)
        whole.append(decoder.complete)
    assert whole == [False, False, False, True]


# ---------------------------------------------------------------- what is asked of chat alone


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("modalities", ["text", "audio"]),
        ("web_search_options", {}),
        ("moderation", {"model": "omni-moderation-latest"}),
    ],
)
@pytest.mark.parametrize("target", ["gemini", "messages", "responses"])
def test_what_only_chat_has_is_refused_and_not_left_out(target: Any, field: str, value: Any) -> None:
    with pytest.raises(Untranslatable) as caught:
        FORMATS[target].from_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], field: value})
    assert caught.value.param == field


SURE = {
    "chosenCandidates": [{"token": "Hi", "tokenId": 7, "logProbability": -0.5}, {"token": "é", "logProbability": -1}],
    "topCandidates": [{"candidates": [{"token": "Hi", "logProbability": -0.5}, {"token": "Yo", "logProbability": -2}]}],
}


def test_log_probabilities_come_back_whole_and_in_streams() -> None:
    candidate = {
        "content": {"role": "model", "parts": [{"text": "Hié"}]},
        "finishReason": "STOP",
        "logprobsResult": SURE,
    }
    answer = {"candidates": [candidate], "responseId": "r"}
    told = GEMINI.answer_to_chat(answer)["choices"][0]["logprobs"]["content"]
    assert [(t["token"], t["logprob"], t["bytes"]) for t in told] == [("Hi", -0.5, [72, 105]), ("é", -1, [195, 169])]
    assert [[o["token"] for o in t["top_logprobs"]] for t in told] == [["Hi", "Yo"], []]
    [chunk] = decoded("gemini", events_of(b"data: " + orjson.dumps(answer) + b"\n\n"))[0]
    assert chunk["choices"][0]["logprobs"]["content"] == told
    with pytest.raises(BadAnswer):
        GEMINI.answer_to_chat({"candidates": [{**candidate, "logprobsResult": {"chosenCandidates": [3]}}]})


def test_without_log_probabilities_a_choice_has_none() -> None:
    candidate = {"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    assert "logprobs" not in GEMINI.answer_to_chat({"candidates": [candidate]})["choices"][0]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "messages[1]"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, "messages[1]"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
            "messages[1].tool_calls[0]",
        ),
    ],
)
@pytest.mark.parametrize("target", ["gemini", "messages", "responses"])
def test_calls_that_only_chat_knows_are_refused_and_not_garbled(target: Any, message: Body, param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        FORMATS[target].from_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}, message]})
    assert caught.value.param == param


def test_results_come_in_the_order_of_their_calls_since_only_that_tells_two_of_a_function_apart() -> None:
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", '{"n":1}'), call("b", "f", '{"n":2}')]},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "user", "content": "go on"},
    ]
    parts = GEMINI.from_chat({"model": "m", "messages": messages})["contents"][2]["parts"]
    assert [p["functionResponse"]["response"]["result"] for p in parts[:2]] == ["one", "two"]


def test_results_stand_side_by_side_and_pictures_that_tools_brought_come_after() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}"), call("b", "g", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "here"}, picture]},
        {"role": "tool", "tool_call_id": "b", "content": "none"},
        {"role": "user", "content": "go on"},
    ]
    parts = GEMINI.from_chat({"model": "m", "messages": messages})["contents"][2]["parts"]
    assert [next(iter(p)) for p in parts] == ["functionResponse", "functionResponse", "inlineData", "text"]


@pytest.mark.parametrize("in_result", [True, False])
def test_what_is_no_text_in_results_and_system_prompts_is_passed_on_or_refused(in_result: bool) -> None:
    def asked(block: Body) -> Body:
        result: Body = {"type": "tool_result", "tool_use_id": "a"}
        messages: list[Body] = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {"role": "user", "content": [result]},
            {"role": "system", "content": "be brief"},
        ]
        if in_result:
            result["content"] = [{"type": "text", "text": "here"}, block]
        else:
            messages[3]["content"] = [block]
        return translate_request({"model": "m", "max_tokens": 9, "messages": messages}, "messages", "gemini")

    with pytest.raises(Untranslatable, match="tool_reference"):
        asked({"type": "tool_reference", "tool_name": "f"})
    file = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}}
    if in_result:
        parts = asked(file)["contents"][2]["parts"]
        assert parts[1] == {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}}
    else:
        with pytest.raises(Untranslatable, match="document"):
            asked(file)


PICTURED: Body = {
    "responseId": "r",
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": True},
                    {"text": "Here:"},
                    {"inlineData": {"mimeType": "image/jpeg", "data": "cGljdHVyZQ=="}, "thoughtSignature": "c2ln"},
                ],
            },
            "finishReason": "STOP",
        }
    ],
}
PICTURE = {
    "type": "image_url",
    "image_url": {"url": "data:image/jpeg;base64,cGljdHVyZQ=="},
    "extra_content": {"google": {"thought_signature": "c2ln"}},
}


def test_a_picture_that_the_model_made_is_passed_on_and_comes_back_to_it() -> None:
    message = translate_answer(PICTURED, "gemini", "chat", "g")["choices"][0]["message"]
    assert (message["content"], message["images"]) == ("Here:", [PICTURE])
    chat = {"model": "g", "messages": [{"role": "user", "content": "draw"}, message, {"role": "user", "content": "x"}]}
    parts = translate_request(chat, "chat", "gemini")["contents"][1]["parts"]
    assert parts == PICTURED["candidates"][0]["content"]["parts"][1:]
    other = translate_request(chat, "chat", "messages")["messages"][1]
    assert other == {"role": "assistant", "content": "Here:"}


@pytest.mark.parametrize("target", ["chat", "responses"])
def test_a_picture_is_streamed(target: Any) -> None:
    chunks, complete = decoded("gemini", events_of(frame(orjson.dumps(PICTURED))))
    said = [orjson.loads(e.data) for e in events_of(streamed(target, chunks)) if e.data.startswith(b"{")]
    assert complete
    if target == "chat":
        assert [p for c in said for choice in c["choices"] for p in choice["delta"].get("images", ())] == [PICTURE]
        return
    items = said[-1]["response"]["output"]
    assert [i["type"] for i in items] == ["message", "image_generation_call"]
    assert (items[1]["result"], items[1]["output_format"]) == ("cGljdHVyZQ==", "jpeg")
    assert items == [e["item"] for e in said if e["type"] == "response.output_item.done"]
    whole = translate_answer(PICTURED, "gemini", "responses", "g")["output"]
    assert [i["result"] for i in whole if i["type"] == "image_generation_call"] == ["cGljdHVyZQ=="]
    asked = {"model": "g", "input": [{"role": "user", "content": "q"}, *items, {"role": "user", "content": "again"}]}
    assert b"cGljdHVyZQ==" in orjson.dumps(translate_request(asked, "responses", "gemini"))
    assert b"cGljdHVyZQ==" not in orjson.dumps(settle_responses(asked, mixed=False)), "OpenAI does not know it"


def test_pictures_may_be_asked_for_and_sounds_may_not() -> None:
    chat = {"model": "g", "messages": [{"role": "user", "content": "draw"}], "modalities": ["image", "text"]}
    config = translate_request(chat, "chat", "gemini")["generationConfig"]
    assert config["responseModalities"] == ["TEXT", "IMAGE"]
    for kinds in (["audio"], ["image", "audio"]):
        with pytest.raises(Untranslatable):
            translate_request({**chat, "modalities": kinds}, "chat", "gemini")
