from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.wire import BadAnswer, SseEvent, SseParser, sse
from tests.wire_samples import events_of

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b"event: a", b"event:b", b": ping", b"id: 1", b"retry: 5", b"data: \xc3\xa4"]
)


def test_the_common_frame_is_read() -> None:
    assert SseParser().feed(b'data: {"a":1}\n\ndata: [DONE]\n\n') == [
        SseEvent(b'data: {"a":1}\n\n', "", b'{"a":1}'),
        SseEvent(b"data: [DONE]\n\n", "", b"[DONE]"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_is_read(end: bytes) -> None:
    raw = end.join([b"event: ping", b"data: 1", b"data:2", b"", b": comment", b"", b""])
    (event, comment) = events_of(raw)
    assert (event.event, event.data) == ("ping", b"1\n2")
    assert (comment.event, comment.data) == ("", b"")
    assert event.raw + comment.raw == raw


def test_only_the_first_space_of_a_value_is_left_out() -> None:
    assert events_of(b"data:  two\n\n")[0].data == b" two"


def test_a_last_event_without_its_blank_line_is_not_lost() -> None:
    assert [e.data for e in events_of(b"data: 1\n\ndata: [DONE]")] == [b"1", b"[DONE]"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
def test_a_last_event_gets_the_blank_line_without_which_clients_drop_it(end: bytes) -> None:
    [event] = events_of(b"data: 1" + end)
    assert [e.data for e in events_of(event.raw + b"data: 2\n\n") if e.data] == [b"1", b"2"]


def test_nothing_is_left_after_the_end() -> None:
    parser = SseParser()
    parser.feed(b"data: 1")
    assert len(parser.end()) == 1
    assert parser.end() == []
    assert parser.feed(b"data: 2\n\n")[0].data == b"2"


def test_an_event_of_more_lines_or_values_than_others_should_wait_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "_MAX_LINES", 20)
    monkeypatch.setattr(sse, "_MAX_VALUES", 15)
    for line_end in (b"\n", b"\r"):
        assert SseParser().feed((b"data" + line_end) * 18 + b"\n\n")
        with pytest.raises(BadAnswer, match="more than 20 lines"):
            SseParser().feed((b"data" + line_end) * 21 + b"\n\n")
    assert SseParser().feed(b"data: [" + b"1," * 13 + b"1]\n\n")
    with pytest.raises(BadAnswer, match="more than 15 values"):
        SseParser().feed(b"data: [" + b"1," * 15 + b"1]\n\n")


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(LINES, LINE_ENDS), min_size=1, max_size=4).flatmap(
            lambda e: st.tuples(st.just(e), LINE_ENDS)
        ),
        max_size=5,
    ),
    st.data(),
)
def test_events_are_the_same_wherever_the_bytes_are_cut(events: list, data: st.DataObject) -> None:
    raw = b"".join(b"".join(line + end for line, end in lines) + blank for lines, blank in events)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    whole = events_of(raw)
    assert events_of(raw, cuts) == whole
    assert b"".join(e.raw for e in whole) in (raw, raw + b"\n\n")
    assert events_of(raw, range(len(raw))) == whole


@settings(deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_no_bytes_break_the_parser_and_none_are_lost(raw: bytes, cuts: list[int]) -> None:
    cuts = [c for c in cuts if c <= len(raw)]
    whole = events_of(raw)
    assert events_of(raw, cuts) == whole
    passed = b"".join(e.raw for e in whole)
    assert (raw + b"\n\n").startswith(passed)
    assert raw[len(passed) :].strip() == b""


def test_an_event_of_any_size_is_refused_above_the_bound() -> None:
    parser = SseParser(most_bytes=100)
    assert parser.feed(b"data: " + b"x" * 80 + b"\n\n")
    with pytest.raises(BadAnswer, match="larger than 100 bytes"):
        for _ in range(20):
            parser.feed(b"x" * 10)
    with pytest.raises(BadAnswer):
        SseParser(most_bytes=100).feed(b"data: " + b"x" * 200 + b"\n\n")
