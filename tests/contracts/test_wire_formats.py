"""What every wire format keeps to."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.testing.answers import chunks_of
from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire import (
    FORMATS,
    Asked,
    BadAnswer,
    BadRequest,
    Body,
    Untranslatable,
    resumed,
    target_format,
    translate_answer,
    translate_request,
)
from tests.wire_samples import (
    CONVERSED,
    REQUESTS,
    call,
    decoded,
    events_of,
    put_together,
    request_in,
    streamed,
)

PARTS = 100_000
IN_PARTS: dict[WireFormat, Body] = {
    "chat": {"messages": [{"role": "user", "content": [{"type": "text", "text": "word"}] * PARTS}]},
    "responses": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "word"}] * PARTS}]},
    "messages": {
        "max_tokens": 1,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "word"}] * PARTS}],
    },
    "embeddings": {"input": ["word"] * PARTS},
}
PAIRS = list(itertools.permutations(CONVERSED, 2))
USAGE = TokenUsage(input_tokens=50, output_tokens=9, cached_tokens=20)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


def completion(message: Body, finish: str = "stop", **usage: Any) -> Body:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
        ],
        "usage": {
            "prompt_tokens": 50,
            "completion_tokens": 9,
            "total_tokens": 59,
            "prompt_tokens_details": {"cached_tokens": 20},
            **usage,
        },
    }


CALLS = [call("call_a", "warmth", '{"city":"Paris"}'), call("call_b", "warmth", '{"city":"Rome"}')]
ANSWERS = {
    "text": completion({"content": "Rome, by 8 degrees."}),
    "cut": completion({"content": "Rome, by"}, "length"),
    "withheld": completion({"content": "Rome"}, "content_filter"),
    "calls": completion({"tool_calls": CALLS}, "tool_calls"),
    "text, then calls": completion({"content": "Let me see.", "tool_calls": CALLS}, "tool_calls"),
    "thought": completion({"reasoning_content": "25 is more than 17.", "content": "Rome"}),
}


def essence(chat: Body) -> Body:
    """What a chat completion says, whatever way it took."""
    choice = chat["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls") or []
    return {
        "text": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
        "calls": [(c["function"]["name"], orjson.loads(c["function"]["arguments"])) for c in calls],
        "finish": choice["finish_reason"],
    }


def test_every_wire_format_is_here() -> None:
    assert set(FORMATS) == set(get_args(WireFormat)) == {*CONVERSED, "embeddings"} == {f.name for f in FORMATS.values()}


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("name", CONVERSED)
def test_routing_reads_the_same_from_every_format(name: WireFormat) -> None:
    asked = FORMATS[name].read(REQUESTS[name])
    assert (asked.model, asked.text) == ("auto", "Which is in the picture?")
    assert (asked.images, asked.stream, asked.max_output_tokens, asked.n, asked.answers > 0) == (1, True, 300, 1, True)
    assert asked.capabilities == {"tools", "vision", "json"}
    for part in ("Be brief.", "How warm is it", "Let me see.", "17", "25", "warmth"):
        assert part in asked.context_text
    assert asked.text not in asked.context_text
    assert asked.user == (None if name == "gemini" else "u-1")


@pytest.mark.parametrize("name", CONVERSED)
def test_reading_and_translating_change_no_body(name: WireFormat) -> None:
    body = request_in(name)
    FORMATS[name].read(body)
    chat = FORMATS[name].to_chat(body)
    assert body == REQUESTS[name]
    before = copy.deepcopy(chat)
    for other in CONVERSED:
        FORMATS[other].from_chat(chat)
    assert chat == before


@pytest.mark.parametrize("name", CONVERSED)
def test_the_affinity_seed_stays_while_a_conversation_grows_and_differs_between_conversations(name: WireFormat) -> None:
    whole = request_in(name)
    turns = {"chat": "messages", "messages": "messages", "responses": "input", "gemini": "contents"}[name]
    opening = request_in(name)
    opening[turns] = opening[turns][:2] if name == "chat" else opening[turns][:1]
    other = orjson.loads(orjson.dumps(opening).replace(b"Paris and Rome?", b"Oslo and Bonn?"))
    read = FORMATS[name].read
    assert read(whole).affinity == read(opening).affinity != read(other).affinity


@pytest.mark.parametrize(("name", "system"), [("chat", "system"), ("messages", "system"), ("responses", "developer")])
def test_agents_that_tell_more_as_they_go_stay_in_one_conversation_and_begin_theirs_with_their_whole_question(
    name: WireFormat, system: str
) -> None:
    def seed(question: str, *later: str) -> bytes:
        roles = [system, "user", "user", "assistant", *later]
        texts = ["Be brief.", "The folder is /work.", question, "Let me see.", *later]
        turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        turns = turns if later else turns[:3]
        field = "input" if name == "responses" else "messages"
        return FORMATS[name].read({"model": "auto", "max_tokens": 9, field: turns}).affinity

    assert seed("q") == seed("q", system, "user") == seed("q", "user", system, "assistant") != seed("other")


@pytest.mark.parametrize(("name", "kind"), [("chat", "text"), ("messages", "text"), ("responses", "input_text")])
def test_what_an_agent_puts_beside_the_question_is_not_what_routing_goes_by(name: WireFormat, kind: str) -> None:
    def read(*texts: str) -> Asked:
        parts = [{"type": kind, "text": text} for text in texts]
        field = "input" if name == "responses" else "messages"
        body = {"model": "auto", "max_tokens": 9, field: [{"role": "user", "content": parts}]}
        return FORMATS[name].read(body)

    reminder = "<system-reminder>\nThe notes of the project.\n</system-reminder>\n"
    asked = read(reminder, "Why?")
    assert (asked.text, asked.context_text) == ("Why?", reminder)
    assert read(reminder).text == reminder
    quoted = "<system-reminder> what is that?"
    assert (read(quoted).text, read(quoted, reminder).text) == (quoted, quoted)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(inner, (*path, key))


def replaced(body: Body, path: tuple[Any, ...], value: Any) -> Body:
    body = copy.deepcopy(body)
    holder: Any = body
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return body


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "role", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", [*CONVERSED, "embeddings"])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_body_that_is_wrong_anywhere_is_a_bad_request_or_works(name: WireFormat, data: st.DataObject) -> None:
    body = REQUESTS.get(name) or {"model": "e", "input": ["a", "b"]}
    path = data.draw(st.sampled_from(list(nodes(body))))
    broken = replaced(body, path, data.draw(JUNK))
    try:
        FORMATS[name].read(broken)
        chat = FORMATS[name].to_chat(broken)
        for other in CONVERSED:
            FORMATS[other].from_chat(chat)
    except BadRequest as error:
        assert str(error) and "\n" not in str(error) and error.code


@pytest.mark.parametrize("name", [*CONVERSED, "embeddings"])
@settings(deadline=None)
@given(body=st.dictionaries(st.text(max_size=5), JUNK, max_size=4))
def test_anything_at_all_is_refused_in_one_line(name: WireFormat, body: Body) -> None:
    with pytest.raises(BadRequest) as caught:
        FORMATS[name].read(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CONVERSED)
def test_a_missing_model_is_named(name: WireFormat) -> None:
    body = request_in(name)
    del body["model"]
    with pytest.raises(BadRequest, match="'model' is missing") as caught:
        FORMATS[name].read(body)
    assert (caught.value.param, caught.value.code) == ("model", "missing_field")


# ---------------------------------------------------------------- requests from one format to another


@pytest.mark.parametrize("name", CONVERSED)
def test_there_and_back_loses_nothing(name: WireFormat) -> None:
    back = FORMATS[name].from_chat(FORMATS[name].to_chat(request_in(name)))
    expected = request_in(name)
    if name == "responses":  # what is called a message need not say so
        expected["input"][0]["type"] = "message"
    if name == "messages":  # a single text needs no list
        back["messages"][0]["content"] = expected["messages"][0]["content"]
    assert back == expected


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_request_asks_for_the_same_in_another_format(source: WireFormat, target: WireFormat) -> None:
    body = translate_request(request_in(source), source, target)
    before, after = FORMATS[source].read(REQUESTS[source]), FORMATS[target].read(body)
    for field in ("model", "text", "images", "stream", "max_output_tokens", "capabilities", "answers", "n"):
        assert getattr(after, field) == getattr(before, field), field
    assert b"native" not in orjson.dumps(body)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_calls_and_results_stay_together_on_the_way(source: WireFormat, target: WireFormat) -> None:
    chat = FORMATS[target].to_chat(translate_request(request_in(source), source, target))
    made = [c for m in chat["messages"] for c in m.get("tool_calls") or ()]
    results = [(m["tool_call_id"], m["content"]) for m in chat["messages"] if m["role"] == "tool"]
    assert [(c["function"]["name"], orjson.loads(c["function"]["arguments"])) for c in made] == [
        ("warmth", {"city": "Paris"}),
        ("warmth", {"city": "Rome"}),
    ]
    assert results == [(made[0]["id"], "17"), (made[1]["id"], "25")]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_settings_arrive_under_their_own_names(source: WireFormat, target: WireFormat) -> None:
    chat = FORMATS[target].to_chat(translate_request(request_in(source), source, target))
    assert chat["temperature"] == 0.5
    assert chat["tool_choice"] == "required"
    assert chat["response_format"]["json_schema"]["schema"]["required"] == ["warmer"]
    if "responses" not in (source, target):
        assert chat["stop"] == ["END"]
    if "gemini" not in (source, target):
        assert (chat["parallel_tool_calls"], chat["user"]) == (False, "u-1")


@pytest.mark.parametrize("target", [f for f in CONVERSED if f != "messages"])
def test_what_only_one_vendor_can_verify_or_run_does_not_reach_another(target: WireFormat) -> None:
    body = orjson.dumps(translate_request(request_in("messages"), "messages", target))
    for foreign in (b"c2lnbmVk", b"cache_control", b"top_k", b"budget_tokens"):
        assert foreign not in body


@pytest.mark.parametrize("source", [f for f in CONVERSED if f != "chat"])
def test_a_tool_that_runs_at_its_vendor_is_not_silently_dropped(source: WireFormat) -> None:
    body = request_in(source)
    body["tools"].append(
        {"type": "web_search_20250305", "name": "web_search"} if source != "gemini" else {"googleSearch": {}}
    )
    assert FORMATS[source].from_chat(FORMATS[source].to_chat(body))["tools"] == body["tools"]
    for target in set(CONVERSED) - {source}:
        with pytest.raises(Untranslatable) as caught:
            translate_request(body, source, target)
        assert caught.value.code == "unsupported_by_format"


def test_a_provider_is_called_in_the_clients_own_format_where_it_speaks_it() -> None:
    everything: frozenset[WireFormat] = frozenset(FORMATS)
    assert all(target_format(name, everything) == name for name in FORMATS)
    assert target_format("messages", frozenset({"chat", "responses"})) == "chat"
    assert target_format("embeddings", frozenset({"chat"})) is None
    assert target_format("chat", frozenset({"embeddings"})) is None


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("name", CONVERSED)
def test_an_answer_says_the_same_in_every_format(name: WireFormat, kind: str) -> None:
    answer = translate_answer(ANSWERS[kind], "chat", name, "shown")
    assert FORMATS[name].usage(answer) == USAGE
    assert FORMATS[name].finish(answer) == ANSWERS[kind]["choices"][0]["finish_reason"]
    back = translate_answer(answer, name, "chat", "m", now=7)
    assert essence(back) == essence(ANSWERS[kind])
    assert b"native" not in orjson.dumps(answer)
    if name != "chat":
        assert b"shown" in orjson.dumps(answer)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_tool_calls_keep_their_ids_between_formats_that_have_them(source: WireFormat, target: WireFormat) -> None:
    there = translate_answer(ANSWERS["calls"], "chat", source, "m")
    back = translate_answer(translate_answer(there, source, target, "m"), target, "chat", "m")
    ids = [c["id"] for c in back["choices"][0]["message"]["tool_calls"]]
    assert len(set(ids)) == 2
    if "gemini" not in (source, target):
        assert ids == ["call_a", "call_b"]


OWN: dict[WireFormat, Body] = {
    "messages": {
        "id": "msg_1",
        "type": "message",
        "content": [{"type": "text", "text": "a", "citations": []}, {"type": "server_tool_use", "id": "web_search"}],
        "stop_reason": "pause_turn",
    },
    "responses": {
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "web_search_call", "id": "w"},
            {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
        ],
    },
    "gemini": {
        "candidates": [
            {"content": {"parts": [{"text": "a"}, {"functionCall": {"id": "x", "name": "f"}}]}, "finishReason": "STOP"}
        ]
    },
}


@pytest.mark.parametrize(("source", "target"), [p for p in PAIRS if p[0] in OWN])
def test_what_only_one_format_knows_of_an_answer_stays_with_it(source: WireFormat, target: WireFormat) -> None:
    raw = orjson.dumps(translate_answer(copy.deepcopy(OWN[source]), source, target, "m"))
    assert b'"a"' in raw and b'"native"' not in raw and b"web_search" not in raw
    if source == "gemini":  # whose streams are made of answers
        events = events_of(b"data: " + orjson.dumps(OWN[source]) + b"\n\n")
        assert b'"native"' not in streamed(target, decoded(source, events)[0])


@pytest.mark.parametrize("name", [*CONVERSED, "embeddings"])
@pytest.mark.parametrize(
    "document", [{}, {"choices": []}, {"error": {"message": "x"}}, {"content": "x"}, {"output": 3}]
)
def test_a_document_that_is_no_answer_is_told(name: WireFormat, document: Body) -> None:
    with pytest.raises(BadAnswer):
        FORMATS[name].finish(document)
    assert FORMATS[name].usage(document) is None


@pytest.mark.parametrize("name", CONVERSED)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_an_answer_that_is_wrong_anywhere_is_a_bad_answer_or_works(name: WireFormat, data: st.DataObject) -> None:
    answer = translate_answer(ANSWERS["text, then calls"], "chat", name, "m")
    path = data.draw(st.sampled_from(list(nodes(answer))))
    broken = replaced(answer, path, data.draw(JUNK))
    FORMATS[name].usage(broken)
    for target in CONVERSED:
        try:
            FORMATS[name].finish(broken)
            translate_answer(broken, name, target, "m")
        except BadAnswer as error:
            assert str(error)


@pytest.mark.parametrize("name", [*CONVERSED, "embeddings"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
def test_an_error_carries_the_stable_code_and_the_message(name: WireFormat, status: int) -> None:
    body = orjson.dumps(FORMATS[name].error(status, "our_code", "what, where, how", "model"))
    for part in (b"our_code", b"what, where, how", b"model"):
        assert part in body


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("name", CONVERSED)
def test_a_stream_says_what_the_answer_says(name: WireFormat, kind: str) -> None:
    chunks, complete = decoded(name, events_of(streamed(name, chunks_of(ANSWERS[kind]))))
    whole, expected = put_together(chunks), essence(ANSWERS[kind])
    assert complete
    assert (whole["content"], whole["reasoning"]) == (expected["text"], expected["reasoning"])
    assert whole["finish"] == expected["finish"]
    assert [(c["name"], orjson.loads(c["arguments"])) for c in whole["calls"].values()] == expected["calls"]
    if name != "chat":  # a chat client that does not ask for usage gets none
        assert whole["usage"] == (50, 9)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_stream_crosses_from_every_format_to_every_other(source: WireFormat, target: WireFormat, kind: str) -> None:
    upstream, _ = decoded(source, events_of(streamed(source, chunks_of(ANSWERS[kind]))))
    raw = streamed(target, upstream)
    assert b'"native"' not in raw
    whole = put_together(decoded(target, events_of(raw))[0])
    expected = essence(ANSWERS[kind])
    assert (whole["content"], whole["reasoning"], whole["finish"]) == (
        expected["text"],
        expected["reasoning"],
        expected["finish"],
    )
    assert [(c["name"], orjson.loads(c["arguments"])) for c in whole["calls"].values()] == expected["calls"]


PIECES = st.lists(
    st.tuples(st.sampled_from(["content", "reasoning_content"]), TEXTS)
    | st.tuples(st.integers(0, 2), st.sampled_from(['{"a"', ":", "1", "}"])),
    min_size=1,
    max_size=12,
)


def chunks_from(pieces: list[tuple[Any, str]]) -> list[Body]:
    """Chunks as a vendor may send them: text, reasoning and calls in any order, calls even mixed up."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    seen: dict[int, str] = {}
    for what, text in sorted(pieces, key=lambda p: isinstance(p[0], int)):
        if isinstance(what, str):
            deltas.append({what: text})
            continue
        if seen.get(what, "").endswith("}"):
            continue  # nothing can be added to an object
        part: Body = {"index": what, "function": {"arguments": text}}
        seen[what] = seen.get(what, "") + text
        if seen[what] == text:
            part |= {"id": f"call_{what}", "type": "function"}
            part["function"] = {"name": f"tool{what}", "arguments": text}
        deltas.append({"tool_calls": [part]})
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    finish = "tool_calls" if seen else "stop"
    return [*chunks, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}]


@pytest.mark.parametrize("name", ["chat", "messages", "responses"])
@settings(max_examples=60, deadline=None)
@given(pieces=PIECES, data=st.data())
def test_nothing_is_lost_in_a_stream_however_it_was_cut(
    name: WireFormat, pieces: list[Any], data: st.DataObject
) -> None:
    chunks = chunks_from(pieces)
    raw = streamed(name, chunks)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=6))
    got, complete = decoded(name, events_of(raw, cuts))
    before, after = put_together(chunks), put_together(got)
    assert complete
    for field in ("content", "finish"):
        assert after[field] == before[field]
    # Of what was thought at several times, responses have an item each, which are lines of their own.
    assert after["reasoning"].replace("\n", "") == before["reasoning"].replace("\n", "")
    calls = [c["arguments"] for _, c in sorted(before["calls"].items(), key=lambda c: c[1]["id"])]
    assert sorted(c["arguments"] for c in after["calls"].values()) == sorted(calls)
    assert {c["id"] for c in after["calls"].values()} == {c["id"] for c in before["calls"].values()}


@pytest.mark.parametrize("name", CONVERSED)
def test_a_stream_that_stops_early_is_not_taken_for_a_whole_one(name: WireFormat) -> None:
    events = events_of(streamed(name, chunks_of(ANSWERS["text"])))
    told = [decoded(name, events[:n])[1] for n in range(len(events) + 1)]
    assert told[-1] and not told[len(events) // 2]
    assert told == sorted(told)


@pytest.mark.parametrize("name", CONVERSED)
def test_an_encoder_goes_on_where_a_stream_broke(name: WireFormat) -> None:
    chunks = chunks_of(ANSWERS["text"])
    asked = FORMATS[name].read(request_in(name))
    whole = events_of(streamed(name, chunks))
    for broken_after in range(len(whole)):
        sent = whole[:broken_after]
        if decoded(name, sent)[1]:
            break
        encoder = resumed(name, "m", asked, sent)
        rest = [b for c in [chunk_of(" And more."), chunk_of("", "stop")] for b in encoder.feed(c)]
        raw = b"".join([*(e.raw for e in sent), *rest, *encoder.end(USAGE)])
        got, complete = decoded(name, events_of(raw))
        assert complete
        assert put_together(got)["content"] == put_together(decoded(name, sent)[0])["content"] + " And more."
        assert len({c["id"] for c in got if c["choices"]} - {"msg", "resp", "gemini"}) == 1 or broken_after == 0


def chunk_of(text: str, finish: str | None = None) -> Body:
    head = {"id": "of-another-vendor", "object": "chat.completion.chunk", "created": 2, "model": "n"}
    return {**head, "choices": [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}]}


@pytest.mark.parametrize("name", CONVERSED)
@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'"x"', b"3", b'{"type": 3}', b'{"type": "content_block_delta"}', b"\xff"]
)
def test_an_event_that_is_nonsense_is_a_bad_answer_or_nothing(name: WireFormat, data: bytes) -> None:
    from equipoise.wire import SseEvent

    decoder = FORMATS[name].decoder()
    try:
        said = put_together(decoder.feed(SseEvent(b"data: " + data + b"\n\n", "", data)))
    except BadAnswer:
        return
    assert said["content"] == "" and not said["calls"] and not decoder.complete


@pytest.mark.parametrize("name", CONVERSED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_that_is_wrong_anywhere_is_a_bad_answer_or_works(name: WireFormat, data: st.DataObject) -> None:
    events = events_of(streamed(name, chunks_of(ANSWERS["text, then calls"])))
    number = data.draw(st.integers(0, len(events) - 1))
    if not events[number].data.startswith(b"{"):
        return
    document = orjson.loads(events[number].data)
    path = data.draw(st.sampled_from(list(nodes(document))))
    broken = orjson.dumps(replaced(document, path, data.draw(JUNK)))
    events[number] = events[number]._replace(data=broken)
    try:
        chunks, _ = decoded(name, events)
        for target in CONVERSED:
            streamed(target, chunks)
    except BadAnswer as error:
        assert str(error)


@pytest.mark.parametrize("time", [1.8446744073709552e19, -1e300])
def test_a_time_beyond_all_times_is_none(time: float) -> None:
    answer = {**ANSWERS["text, then calls"], "created": time}
    with pytest.raises(BadAnswer):
        translate_answer(answer, "chat", "responses", "m")
    said = translate_answer(ANSWERS["text, then calls"], "chat", "responses", "m")
    assert translate_answer({**said, "created_at": time}, "responses", "chat", "m", now=7)["created"] == 7


@pytest.mark.parametrize("name", CONVERSED)
def test_the_executors_count_of_tokens_is_what_the_stream_ends_with(name: WireFormat) -> None:
    body = request_in(name)
    if name == "chat":
        body["stream_options"] = {"include_usage": True}
    encoder = FORMATS[name].encoder("m", FORMATS[name].read(body))
    events = [e for c in chunks_of(ANSWERS["text"]) for e in encoder.feed(c)]
    counted = TokenUsage(input_tokens=100, output_tokens=30, cached_tokens=10)
    raw = b"".join([*events, *encoder.end(counted)])
    assert put_together(decoded(name, events_of(raw))[0])["usage"] == (100, 30)


@pytest.mark.parametrize("format", IN_PARTS)
def test_reading_a_prompt_in_many_parts_takes_time_by_its_length_alone(format: WireFormat) -> None:
    # While one request is read, all others wait. It takes .2 s; where each part is joined to those before, a minute.
    begun = time.process_time()
    asked = FORMATS[format].read({"model": "auto", **IN_PARTS[format]})
    assert time.process_time() - begun < 15.0
    assert (asked.text + asked.context_text).count("word") == PARTS


EFFORTS: dict[str, Any] = {
    "chat": {"reasoning_effort": "xhigh"},
    "responses": {"reasoning": {"effort": "high"}},
    "messages": {"output_config": {"effort": "max"}},
    "a budget": {"thinking": {"type": "enabled", "budget_tokens": 31999}},
}
ASKED_FOR = {
    "chat": lambda body: body["reasoning_effort"],
    "responses": lambda body: body["reasoning"]["effort"],
    "messages": lambda body: body["output_config"]["effort"],
    "gemini": lambda body: body["generationConfig"]["thinkingConfig"]["thinkingLevel"],
}


@pytest.mark.parametrize("said", EFFORTS)
@pytest.mark.parametrize("target", ASKED_FOR)
def test_how_much_to_think_is_said_in_every_format(said: str, target: Any) -> None:
    source: Any = "messages" if said == "a budget" else said
    plain: Body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "q"}]}
    if source == "responses":
        plain = {"model": "m", "input": "q"}
    asked = translate_request({**plain, **EFFORTS[said]}, source, target)
    if source == target:
        assert asked == {**plain, **EFFORTS[said]}
    else:
        own = said == "chat" and target == "responses"  # which have the same words
        assert ASKED_FOR[target](asked) == ("xhigh" if own else "high")
    nothing = orjson.dumps(translate_request(plain, source, target))
    assert b"effort" not in nothing and b"thinking" not in nothing
