from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.types import WireFormat
from equipoise.wire import history, translate_request
from equipoise.wire.format import NATIVE, Body
from equipoise.wire.history import (
    NO_RESULT,
    IdRule,
    distinct,
    in_order,
    paired,
    settled,
    unnoted,
    with_ids,
    without,
    without_developer,
)
from tests.wire_samples import call, request_in

IDS = st.sampled_from(["a", "b", "c"])
MESSAGES = st.one_of(
    st.just({"role": "user", "content": "u"}),
    st.just({"role": "system", "content": "s"}),
    st.lists(IDS, max_size=3, unique=True).map(
        lambda ids: {"role": "assistant", "content": "x", "tool_calls": [call(i, "f", "{}") for i in ids]}
    ),
    IDS.map(lambda i: {"role": "tool", "tool_call_id": i, "content": f"result {i}"}),
)
NINE = IdRule(r"[a-zA-Z0-9]{9}", prefix="", length=9)


def is_paired(messages: list[Body]) -> bool:
    """Every call is answered, once and at once, and nothing else is."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return False
        waiting = {c["id"] for c in message.get("tool_calls", ())}
    return not waiting


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=8))
def test_after_pairing_every_call_has_its_result_and_no_result_is_lost(messages: list[Body]) -> None:
    repaired = paired(messages)
    assert is_paired(repaired)
    assert (repaired is messages) == is_paired(messages)
    assert paired(repaired) is repaired
    said = str(repaired)
    for message in messages:
        assert str(message["content"]) in said
    assert [m for m in repaired if m["role"] == "assistant"] == [m for m in messages if m["role"] == "assistant"]


def test_a_conversation_that_is_in_order_is_the_very_same() -> None:
    messages = request_in("chat")["messages"]
    assert paired(messages) is messages
    assert settled(messages, IdRule(r"call_\w")) is messages
    assert without(messages, history.CARRIED) is messages
    assert without_developer(messages) is messages
    assert unnoted(messages) is messages


def test_a_call_that_was_never_carried_out_is_told_to_the_model() -> None:
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}"), call("b", "f", "{}")]},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "user", "content": "never mind"},
    ]
    assert paired(messages)[2] == {"role": "tool", "tool_call_id": "a", "content": NO_RESULT}
    assert [m["role"] for m in paired(messages)] == ["assistant", "tool", "tool", "user"]


@settings(deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_an_id_that_does_not_fit_always_becomes_the_same_one_that_does(call_id: str) -> None:
    fitting = NINE.fit(call_id)
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", fitting)
    assert NINE.fit(call_id) == NINE.fit(fitting) == fitting


def test_ids_that_differ_stay_different() -> None:
    made = {NINE.fit(f"call:{i}") for i in range(5000)}
    assert len(made) == 5000


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=8))
def test_ids_change_in_calls_and_results_alike(messages: list[Body]) -> None:
    renamed = with_ids(messages, NINE)
    expected = {i: NINE.fit(i) for i in "abc"}
    for old, new in zip(messages, renamed, strict=True):
        if old["role"] == "tool":
            assert new["tool_call_id"] == expected[old["tool_call_id"]]
        assert [c["id"] for c in new.get("tool_calls", ())] == [expected[c["id"]] for c in old.get("tool_calls", ())]
    assert with_ids(renamed, NINE) is renamed


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=8))
def test_no_two_calls_share_an_id_and_results_go_along(messages: list[Body]) -> None:
    before = paired(messages)
    after = distinct(before)
    ids = [c["id"] for m in after for c in m.get("tool_calls", ())]
    assert len(set(ids)) == len(ids) and is_paired(after)
    assert [m.get("content") for m in after] == [m.get("content") for m in before]
    assert distinct(after) is after


def test_what_was_kept_of_a_message_is_not_trusted_once_its_ids_changed() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "tool_calls": [call("functions.f:0", "f", "{}")],
        NATIVE: {"messages": {"content": [{"type": "tool_use", "id": "functions.f:0"}]}},
    }
    assert NATIVE not in with_ids([message], NINE)[0]


def test_fields_for_another_model_go_from_messages_and_from_calls() -> None:
    carried = {**call("a", "f", "{}"), "extra_content": {"google": {}}}
    messages = [{"role": "assistant", "content": "x", "reasoning_content": "r", "tool_calls": [carried]}]
    assert without(messages, history.CARRIED) == [
        {"role": "assistant", "content": "x", "tool_calls": [call("a", "f", "{}")]}
    ]
    assert messages[0]["tool_calls"][0]["extra_content"] == {"google": {}}


def test_what_answers_of_openai_hold_beside_their_words_goes_to_no_other_vendor() -> None:
    beside = {"refusal": None, "annotations": [], "audio": None, "function_call": None}
    called = {"role": "assistant", "content": None, **beside, "tool_calls": [{"index": 0, **call("a", "f", "{}")}]}
    said = {"role": "assistant", "content": "x", **beside, "tool_calls": []}
    refused = {"role": "assistant", "content": None, **beside, "refusal": "no"}
    assert without([called, said, refused], history.CARRIED) == [
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}")]},
        {"role": "assistant", "content": "x"},
        {"role": "assistant", "content": "no"},
    ]
    assert without([refused], frozenset())[0]["refusal"] == "no"


def test_what_is_the_answers_is_not_in_the_parts_of_its_text_once_more() -> None:
    """As the Agents SDK for JavaScript has it."""
    calls, seen = [call("a", "f", "{}")], {"type": "refusal", "refusal": "no"}
    again = {"role": "assistant", "refusal": None, "annotations": [], "tool_calls": calls}
    said = {"role": "assistant", "content": [{"type": "text", "text": "x", **again}, seen], "tool_calls": calls}
    plain = {"role": "assistant", "content": [{"type": "text", "text": "x"}, seen], "tool_calls": calls}
    assert without([said], frozenset()) == [plain]
    assert without([plain], frozenset())[0] is plain


def test_reasoning_among_the_parts_of_an_answer_stays_with_the_model_that_wrote_it() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "x"}]}
    alone = {"role": "assistant", "content": [thought], "tool_calls": [call("a", "f", "{}")]}
    assert without([said, alone], history.CARRIED) == [
        {"role": "assistant", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}")]},
    ]
    assert without([said, alone], frozenset()) == [said, alone]
    asked: Body = {"model": "m", "messages": [{"role": "user", "content": "q"}, said, {"role": "user", "content": "r"}]}
    for target in ("messages", "gemini", "responses"):
        made = str(translate_request(asked, "chat", target))
        assert "hm" not in made and "'x'" in made


@pytest.mark.parametrize("target", ["messages", "gemini", "responses"])
def test_a_refusal_in_the_past_is_what_the_model_said(target: WireFormat) -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "refusal": "I will not"}]
    made = translate_request({"model": "m", "messages": messages}, "chat", target)
    assert "I will not" in str(made)


def test_a_refusal_of_a_response_is_plain_text_to_other_servers() -> None:
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not"}]}
    made = translate_request({"model": "m", "input": [{"role": "user", "content": "q"}, said]}, "responses", "chat")
    assert made["messages"][1] == {"role": "assistant", "content": "I will not"}


@given(st.lists(MESSAGES, max_size=12))
@settings(max_examples=200, deadline=None)
def test_ordering_results_loses_and_invents_nothing(messages: list[Body]) -> None:
    before = paired(messages)
    after = in_order(before)
    assert sorted(map(str, after)) == sorted(map(str, before)) and is_paired(after)


def test_calls_that_share_an_id_have_one_result_in_order_too() -> None:
    twice = {"role": "assistant", "content": None, "tool_calls": [call("a", "f", "{}"), call("a", "g", "{}")]}
    messages = paired([twice, {"role": "tool", "tool_call_id": "a", "content": "r"}, {"role": "user", "content": "q"}])
    assert in_order(messages) == messages


def test_an_answer_without_a_word_or_a_call_has_a_content_that_is_text() -> None:
    assert without([{"role": "assistant", "content": None, "reasoning": "r"}], history.CARRIED) == [
        {"role": "assistant", "content": ""}
    ]


def test_a_call_without_arguments_goes_back_with_an_empty_object_of_them() -> None:
    messages = [{"role": "assistant", "content": None, "tool_calls": [call("a", "f", ""), call("b", "f", "{}")]}]
    [made] = without(messages, frozenset())
    assert [c["function"]["arguments"] for c in made["tool_calls"]] == ["{}", "{}"]
    assert made["tool_calls"][1] is messages[0]["tool_calls"][1]
