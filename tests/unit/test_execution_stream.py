"""Streams: what reaches the client when all goes well, and when it does not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest

from equipoise.errors import ProviderError
from equipoise.execution import ExecutionFailed
from equipoise.execution.client_stream import ClientStream
from equipoise.execution.continuation import GO_ON
from equipoise.testing import FakeUpstream, FlakyProvider, ScriptedProvider, SlowProvider, TruncatingProvider
from equipoise.types import Plan, WireFormat
from equipoise.wire import DONE, FORMATS, SseEvent, SseParser, sse
from tests.execution_fakes import (
    Hanging,
    Provided,
    always,
    answering,
    chunk,
    executor,
    model,
    read,
    streamed,
    text_of,
    virtually,
    work,
)

PLAN = Plan(model="big", fallback=("small",))
LONG = "one two three four five six seven"


def breaking(text: str = LONG, after: int = 4) -> FlakyProvider:
    return FlakyProvider(answering(text), failing=lambda n: True, breaks_after=after)


def last_data(answer: bytes) -> Any:
    events = [e for e in SseParser().feed(answer) if e.data and e.data != DONE]
    return orjson.loads(events[-1].data)


@virtually
async def test_a_stream_passes_byte_for_byte_without_the_usage_that_only_we_asked_for() -> None:
    events = [chunk("he", role="assistant"), chunk("llo"), chunk(finish="stop")]
    said = orjson.dumps({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}, "new": 1})
    usage = SseEvent(b"data: " + said + b"\n\n", "", said)
    comment = SseEvent(b": keep-alive\n\n", "", b"")
    done = SseEvent(b"data: [DONE]\n\n", "", DONE)
    provider = Provided(lambda n, call: streamed(events[0], comment, *events[1:], usage, done))
    running = await executor([model("big")], {"big": provider}).run(Plan(model="big"), work(stream=True), always)
    assert await read(running) == b"".join(e.raw for e in (events[0], comment, *events[1:], done))
    assert (running.status, running.finish) == ("ok", "stop")
    assert (running.usage.input_tokens, running.usage.output_tokens, running.usage.estimated) == (9, 2, False)


@virtually
async def test_what_comes_before_an_answer_is_not_kept_without_end() -> None:
    before = {"big": [chunk()] * 10_001, "small": [SseEvent(b":\n\n", "", b"")] * 20_000}
    provider = Provided(lambda n, call: streamed(*before[call.model.name], chunk("hi"), chunk(finish="stop")))
    execution = executor([model("big"), model("small")], {"big": provider, "small": provider}, attempts_per_model=1)
    running = await execution.run(PLAN, work(stream=True), always)
    assert running.model == "small" and text_of(await read(running)) == "hi"
    assert [a.error for a in running.attempts] == ["bad_response", None]


@virtually
async def test_an_answer_that_is_whole_ends_with_the_mark_that_clients_wait_for_though_its_vendor_leaves_it_out() -> (
    None
):
    comment = SseEvent(b": that is all\n\n", "", b"")
    done = SseEvent(b"data: [DONE]\n\n", "", DONE)
    for last in ((), (comment,), (done,), (done, comment)):
        events = (chunk("hello", role="assistant"), chunk(finish="stop"), *last)
        provider = Provided(lambda n, call, events=events: streamed(*events))
        running = await executor([model("big")], {"big": provider}).run(Plan(model="big"), work(stream=True), always)
        answer = await read(running)
        assert answer.count(b"data: [DONE]\n\n") == 1 and running.status == "ok"


@virtually
async def test_a_whole_answer_of_anthropics_ends_with_its_mark_too() -> None:
    native = FORMATS["messages"].encoder("big", work(format="messages").asked)
    told = [
        frame
        for part in (chunk("hello", role="assistant"), chunk(finish="stop"))
        for frame in native.feed(orjson.loads(part.data))
    ]
    told += native.end(None)
    events = SseParser().feed(b"".join(told))
    assert events[-1].event == "message_stop"
    provider = Provided(lambda n, call: streamed(*events[:-1]), formats=frozenset({"messages"}))
    asked = work(stream=True, format="messages")
    running = await executor([model("big")], {"big": provider}).run(Plan(model="big"), asked, always)
    assert SseParser().feed(await read(running))[-1].event == "message_stop" and running.status == "ok"


@virtually
async def test_a_client_that_asked_for_usage_gets_it() -> None:
    asked = work(stream=True, stream_options={"include_usage": True})
    running = await executor([model("big")], {"big": answering()}).run(Plan(model="big"), asked, always)
    assert last_data(await read(running))["usage"]["completion_tokens"] == 4


@virtually
async def test_the_first_content_is_in_hand_before_anything_is_sent() -> None:
    """A stream that breaks before its first content is replaced unseen, though it had begun."""
    opening = chunk(role="assistant", content="")
    broken = Provided(lambda n, call: streamed(opening))
    ex = executor([model("big"), model("small")], {"big": broken, "small": answering()}, attempts_per_model=1)
    running = await ex.run(PLAN, work(stream=True), always)
    answer = await read(running)
    assert text_of(answer) == "hello there my friend"
    assert b"continued" not in answer and b'"up"' not in answer
    assert [a.error for a in running.attempts] == ["connection_lost", None]


@virtually
async def test_a_stream_that_breaks_is_continued_by_another_model_and_says_so() -> None:
    small = ScriptedProvider(lambda prompt: " and more" if prompt == GO_ON else "wrong")
    ex = executor([model("big"), model("small")], {"big": breaking(after=4), "small": small}, attempts_per_model=1)
    running = await ex.run(PLAN, work(stream=True, max_tokens=50), always)
    answer = await read(running)
    assert text_of(answer) == "one two three and more"
    assert b": continued by small\n\n" in answer
    assert answer.endswith(b"data: [DONE]\n\n")
    assert (running.status, running.model, running.continued) == ("ok", "small", True)
    (call,) = small.sent
    assert [m["role"] for m in call.body["messages"]] == ["user", "assistant", "user"]
    assert call.body["messages"][1]["content"] == "one two three"
    assert call.body["max_tokens"] == 47
    assert [(a.model, a.won) for a in running.attempts] == [("big", False), ("small", True)]
    assert running.attempts[0].usage.output_tokens == 3
    assert running.usage.output_tokens == 5


@virtually
async def test_chunks_of_a_continued_stream_keep_the_identity_of_the_first() -> None:
    ex = executor([model("big"), model("small")], {"big": breaking(), "small": answering()}, attempts_per_model=1)
    answer = await read(await ex.run(PLAN, work(stream=True), always))
    chunks = [orjson.loads(e.data) for e in SseParser().feed(answer) if e.data.startswith(b"{")]
    assert len({c["id"] for c in chunks}) == 1
    assert [c["model"] for c in chunks][-1] == "small"


@virtually
async def test_chunks_name_the_model_that_goes_on_where_the_stream_was_translated_from_its_beginning() -> None:
    claude = answering(LONG, formats=frozenset({"messages"}))
    big = FlakyProvider(claude, failing=lambda n: True, breaks_after=8)
    ex = executor([model("big"), model("small")], {"big": big, "small": answering()}, attempts_per_model=1)
    answer = await read(await ex.run(PLAN, work(stream=True, max_tokens=50), always))
    names = [orjson.loads(e.data)["model"] for e in SseParser().feed(answer) if e.data.startswith(b"{")]
    assert list(dict.fromkeys(names)) == ["big", "small"]


@virtually
async def test_a_stream_that_no_model_can_continue_ends_with_an_error_event() -> None:
    ex = executor([model("big")], {"big": breaking()}, midstream="error")
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    answer = await read(running)
    assert text_of(answer) == "one two three"
    assert last_data(answer)["error"]["code"] == "stream_interrupted"
    assert (running.status, running.error) == ("interrupted", "connection_lost")
    assert running.attempts[0].usage.output_tokens == 3
    assert running.attempts[0].usage.estimated


@virtually
async def test_an_answer_is_not_whole_while_one_of_its_choices_is_not() -> None:
    def of(index: int, said: str | None = None, finish: str | None = None) -> SseEvent:
        delta = {} if said is None else {"content": said}
        data = orjson.dumps({"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})
        return SseEvent(b"data: " + data + b"\n\n", "", data)

    begun = [of(0, "one"), of(1, "another"), of(0, finish="stop")]
    for last, status in (([], "interrupted"), ([of(1, " one"), of(1, finish="stop"), of(0, "")], "ok")):
        stream = streamed(*begun, *last)
        ex = executor([model("big")], {"big": Provided(lambda n, call, stream=stream: stream)})
        running = await ex.run(Plan(model="big"), work(stream=True, n=2), always)
        await read(running)
        assert running.status == status


GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
TOOL_CALL = {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}]}


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ([chunk(**TOOL_CALL)], {}),
        ([chunk("text"), chunk(**TOOL_CALL)], {}),
        ([chunk("text")], {"n": 2}),
        ([chunk("{")], {"response_format": {"type": "json_object"}}),
        ([chunk("text")], {"logprobs": True}),
        ([chunk("text")], {"format": "gemini", **GEMINI, "generationConfig": {"responseLogprobs": True}}),
        ([chunk("{")], {"format": "messages", "output_format": {"type": "json_schema", "schema": {}}}),
        ([chunk("{")], {"guided_json": {"type": "object"}}),
        ([chunk("ab")], {"response_format": {"type": "grammar", "value": "[ab]+"}}),
        ([chunk(refusal="I cannot")], {}),
        ([chunk(reasoning_content="let me see")], {}),
    ],
)
@virtually
async def test_what_another_model_could_only_garble_is_not_continued(sent: list[SseEvent], fields: Any) -> None:
    small = answering()
    ex = executor([model("big"), model("small")], {"big": Provided(lambda n, c: streamed(*sent)), "small": small})
    running = await ex.run(PLAN, work(stream=True, **fields), always)
    answer = await read(running)
    assert b"stream_interrupted" in answer
    assert running.status == "interrupted"
    assert not small.sent


def events_of(*said: dict[str, Any]) -> list[SseEvent]:
    return SseParser().feed(b"".join(sse.frame(orjson.dumps(event), event["type"]) for event in said))


def of_anthropic(*blocks: dict[str, Any]) -> list[SseEvent]:
    """An answer that said something and then did more."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 9}}
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me look."}},
        {"type": "content_block_stop", "index": 0},
    ]
    for index, block in enumerate(blocks, 1):
        told.append({"type": "content_block_start", "index": index, "content_block": block})
        told.append({"type": "content_block_stop", "index": index})
    return events_of(*told)


def of_openai(*items: dict[str, Any], done: bool = True) -> list[SseEvent]:
    """The same, as a response."""
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_1", "created_at": 1}},
        {"type": "response.output_item.added", "output_index": 0, "item": said},
        {"type": "response.output_text.delta", **place, "delta": "Let me look."},
        {"type": "response.output_item.done", "output_index": 0, "item": said},
    ]
    for index, item in enumerate(items, 1):
        told.append({"type": "response.output_item.added", "output_index": index, "item": item})
        if done:
            told.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return events_of(*({**event, "sequence_number": i} for i, event in enumerate(told)))


SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
SEARCHED = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
PATCH = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "apply_patch", "input": "*** Begin"}


@pytest.mark.parametrize(
    ("format", "passed", "continues"),
    [
        ("messages", of_anthropic(SEARCH), False),
        ("messages", of_anthropic(SEARCH, FOUND), True),
        ("responses", of_openai(SEARCHED, done=False), False),
        ("responses", of_openai(SEARCHED), True),
        ("responses", of_openai(PATCH), False),
    ],
)
@virtually
async def test_only_its_author_goes_on_while_a_tool_of_a_vendors_own_is_at_work(
    format: WireFormat, passed: list[SseEvent], continues: bool
) -> None:
    big = Provided(lambda n, c: streamed(*passed), formats=frozenset({format}))
    small = answering(" And more.", formats=frozenset({format}))
    ex = executor([model("big"), model("small")], {"big": big, "small": small}, attempts_per_model=1)
    more = {"input": "hi"} if format == "responses" else {}
    running = await ex.run(PLAN, work(stream=True, format=format, **more), always)
    answer = await read(running)
    assert (b"stream_interrupted" in answer, len(small.sent)) == (not continues, int(continues))
    assert running.status == ("ok" if continues else "interrupted")


@virtually
async def test_what_is_longer_than_any_model_writes_is_not_sent_to_another() -> None:
    small = answering()
    sent = [chunk("x" * 300_000)] * 4
    ex = executor([model("big"), model("small")], {"big": Provided(lambda n, c: streamed(*sent)), "small": small})
    running = await ex.run(PLAN, work(stream=True, format="messages"), always)
    assert b"stream_interrupted" in await read(running)
    assert not small.sent


@pytest.mark.parametrize(("format", "translated"), [("chat", False), ("messages", True), ("responses", True)])
@virtually
async def test_a_request_to_go_on_counts_as_translated_where_it_was_made_of_one_in_another_format(
    format: WireFormat, translated: bool
) -> None:
    """So that it is fitted as such, as by asking OpenAI for the least that it takes where hardly anything is left."""
    passed: dict[WireFormat, list[SseEvent]] = {
        "chat": [chunk("Let me look.")],
        "messages": of_anthropic(),
        "responses": of_openai(),
    }
    big = Provided(lambda n, c: streamed(*passed[format]), formats=frozenset({format}))
    small = answering(" And more.", formats=frozenset({format}))
    ex = executor([model("big"), model("small")], {"big": big, "small": small}, attempts_per_model=1)
    more = {"input": "hi"} if format == "responses" else {}
    running = await ex.run(PLAN, work(stream=True, format=format, **more), always)
    assert b"continued by small" in await read(running)
    assert ([c.translated for c in big.calls], [c.translated for c in small.sent]) == ([False], [translated])


async def test_a_client_that_leaves_while_another_model_takes_over_a_long_stream_leaves_no_call_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, left = threading.Event(), threading.Event()

    def taking_over(side: ClientStream, model: str) -> bytes:
        began.set()
        assert left.wait(5.0), "others have to wait meanwhile"
        return b""

    monkeypatch.setattr(ClientStream, "take_over", taking_over)
    providers = {"big": breaking(" ".join(["x" * 20_000] * 7), after=6), "small": answering()}
    ex = executor([model("big"), model("small")], providers, attempts_per_model=1)
    running = await ex.run(PLAN, work(stream=True), always)
    reading = asyncio.create_task(read(running))
    while not began.is_set():
        await asyncio.sleep(0.001)
    reading.cancel()
    await asyncio.wait([reading])
    left.set()
    assert reading.cancelled() and [a.error for a in running.attempts] == ["connection_lost", "cancelled"]
    assert all(place.outstanding == 0 for place in ex.status())


@virtually
async def test_a_continuation_that_breaks_too_is_continued_again() -> None:
    tiny = answering(" the end")
    ex = executor(
        [model("big"), model("small"), model("tiny")],
        {"big": breaking(after=3), "small": breaking(" x y z u v", after=3), "tiny": tiny},
        attempts_per_model=1,
    )
    running = await ex.run(Plan(model="big", fallback=("small", "tiny")), work(stream=True, max_tokens=50), always)
    answer = await read(running)
    assert tiny.sent[0].body["messages"][1]["content"] == "one two x"
    assert tiny.sent[0].body["max_tokens"] == 47
    assert running.attempts[1].usage.input_tokens == 4 + 2 + len(GO_ON.split())
    assert text_of(answer) == "one two x the end"
    assert [a.model for a in running.attempts] == ["big", "small", "tiny"]
    assert running.status == "ok"


@virtually
async def test_a_deployment_that_breaks_every_stream_is_soon_left_alone_though_they_begin() -> None:
    sick = SlowProvider(breaking(after=2), delay_s=0.3, between_s=0.3)
    well = SlowProvider(answering(), delay_s=0.3)
    ex = executor([model("big", "sick", "well")], {"sick": sick, "well": well})

    async def one() -> str:
        running = await ex.run(Plan(model="big"), work(stream=True), always)
        await read(running)
        return running.status

    running = []
    for _ in range(600):
        await asyncio.sleep(0.1)
        running.append(asyncio.create_task(one()))
    assert set(await asyncio.gather(*running)) == {"ok"}
    assert ex.status()[0].calls < 40


@virtually
async def test_attempts_are_bounded_over_all_continuations() -> None:
    ex = executor([model("big")], {"big": breaking()}, max_attempts=3, backoff_s=0.1)
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    assert last_data(await read(running))["error"]["code"] == "stream_interrupted"
    assert len(running.attempts) == 3


@virtually
async def test_a_polite_end_before_the_answer_is_whole_is_no_end() -> None:
    cut = TruncatingProvider(answering(LONG), characters=9, silently=True)
    ex = executor([model("big"), model("small")], {"big": cut, "small": answering(" rest")}, attempts_per_model=1)
    running = await ex.run(PLAN, work(stream=True), always)
    assert text_of(await read(running)).endswith(" rest")
    assert running.attempts[0].error == "connection_lost"


@virtually
async def test_an_end_mark_without_an_answer_is_no_answer() -> None:
    done = SseEvent(b"data: [DONE]\n\n", "", b"[DONE]")
    ex = executor([model("a"), model("b")], {"a": Provided(lambda n, call: streamed(done)), "b": answering("hello")})
    running = await ex.run(Plan(model="a", fallback=("b",)), work(stream=True), always)
    assert running.model == "b"
    await read(running)


@virtually
async def test_losing_the_connection_after_the_answer_was_whole_loses_nothing() -> None:
    class LostAfter(FakeUpstream):
        async def events(self) -> Any:
            yield chunk("all of it")
            yield chunk(finish="stop")
            raise ProviderError("reset", provider="p", model="m", code="connection_lost", retryable=True)

    ex = executor([model("big")], {"big": Provided(lambda n, call: LostAfter())})
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    assert text_of(await read(running)) == "all of it"
    assert (running.status, running.finish, len(running.attempts)) == ("ok", "stop", 1)
    assert (running.usage.output_tokens, running.usage.estimated) == (3, True)


@virtually
async def test_no_first_token_in_time_is_a_timeout_and_keep_alives_are_no_token() -> None:
    class Alive(FakeUpstream):
        async def events(self) -> Any:
            while True:
                await asyncio.sleep(1.0)
                yield SseEvent(b": ping\n\n", "", b"")

    ex = executor(
        [model("big"), model("small")],
        {"big": Provided(lambda n, call: Alive()), "small": answering()},
        first_token_s=7.0,
        attempts_per_model=1,
    )
    running = await ex.run(PLAN, work(stream=True), always)
    assert running.model == "small"
    assert running.attempts[0].error == "timeout"
    assert asyncio.get_running_loop().time() == pytest.approx(7.0)


@virtually
async def test_silence_between_tokens_is_a_timeout_and_keep_alives_are_silence() -> None:
    class Stalling(FakeUpstream):
        async def events(self) -> Any:
            yield chunk("begun")
            while True:
                await asyncio.sleep(1.0)
                yield SseEvent(b": ping\n\n", "", b"")

    ex = executor(
        [model("big")],
        {"big": Provided(lambda n, call: Stalling())},
        between_tokens_s=5.0,
        midstream="error",
    )
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    answer = await read(running)
    assert last_data(answer)["error"]["code"] == "stream_interrupted"
    assert running.error == "timeout"
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)


def event(kind: str, **fields: Any) -> SseEvent:
    data = orjson.dumps({"type": kind, **fields})
    return SseEvent(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", kind, data)


RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "output": []}
COMPUTED = [
    event("response.created", response={**RESPONSE, "status": "in_progress"}, sequence_number=0),
    event("response.output_text.delta", output_index=0, delta="begun", sequence_number=1),
    *[event("response.code_interpreter_call_code.delta", delta="1", sequence_number=n) for n in range(2, 9)],
    event("response.completed", response=RESPONSE, sequence_number=9),
]
# Of arguments that are long, Anthropic's models say nothing until they are whole.
CALLED = [
    event("message_start", message={"id": "msg_1", "usage": {"input_tokens": 1, "output_tokens": 1}}),
    event("content_block_start", index=0, content_block={"type": "tool_use", "id": "a", "name": "f", "input": {}}),
    *[event("ping")] * 7,
    event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{}"}),
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
    event("message_stop"),
]


@pytest.mark.parametrize(
    ("format", "said", "finish"), [("responses", COMPUTED, "stop"), ("messages", CALLED, "tool_calls")]
)
@virtually
async def test_work_that_shows_only_at_its_end_is_no_silence(format: WireFormat, said: Any, finish: str) -> None:
    class Working(FakeUpstream):
        async def events(self) -> Any:
            for one in said:
                yield one
                await asyncio.sleep(4.0)

    vendor = Provided(lambda n, call: Working(), formats=frozenset({format}))
    ex = executor([model("big")], {"big": vendor}, between_tokens_s=5.0, midstream="error")
    more = {"input": "hi"} if format == "responses" else {}
    running = await ex.run(Plan(model="big"), work("hi", format=format, stream=True, **more), always)
    await read(running)
    assert (running.status, running.finish) == ("ok", finish)


@virtually
async def test_a_client_that_is_slow_to_take_what_it_is_given_is_no_silence_of_the_provider() -> None:
    lively = SlowProvider(answering(LONG), delay_s=0.0, between_s=0.5)
    ex = executor([model("big")], {"big": lively}, between_tokens_s=5.0, first_token_s=10.0, midstream="error")
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    assert running.stream is not None
    said = b""
    async for part in running.stream:
        said += part
        await asyncio.sleep(8.0)
    assert (text_of(said), running.status) == (LONG, "ok")


@virtually
async def test_a_slow_stream_that_keeps_coming_may_take_until_the_deadline() -> None:
    slow = SlowProvider(answering(LONG), delay_s=0.0, between_s=4.0)
    ex = executor([model("big")], {"big": slow}, between_tokens_s=5.0, first_token_s=10.0)
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    assert text_of(await read(running)) == LONG
    running = await ex.run(Plan(model="big"), work(stream=True, deadline_s=20.0), always)
    error = last_data(await read(running))["error"]
    assert error["code"] == "stream_interrupted" and error["message"].endswith("did not come in time")
    assert running.error == "timeout"
    assert ex.status()[0].error_rate == 0.0, "it was answering all the time"


@virtually
async def test_a_client_that_goes_away_cancels_upstream_and_is_billed_for_what_came() -> None:
    upstream = Hanging([chunk("one"), chunk(" two"), chunk(" three")])
    ex = executor([model("big")], {"big": Provided(lambda n, call: upstream)})
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    assert running.stream is not None
    async for frame in running.stream:
        if b"three" in frame:
            break
    await running.close()
    await running.close()
    assert upstream.closed
    assert running.status == "cancelled"
    (attempt,) = running.attempts
    assert (attempt.error, attempt.usage.output_tokens, attempt.usage.estimated) == ("cancelled", 3, True)
    assert attempt.cost_usd == pytest.approx(4 * 3e-6 + 3 * 15e-6)
    assert ex.status()[0].outstanding == 0


@virtually
async def test_cancelling_the_reader_does_the_same() -> None:
    upstream = Hanging([chunk("one")])
    ex = executor([model("big")], {"big": Provided(lambda n, call: upstream)})
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    task = asyncio.create_task(read(running))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.closed
    assert (running.status, len(running.attempts)) == ("cancelled", 1)


@virtually
async def test_nonsense_in_a_stream_is_a_failure_not_a_crash() -> None:
    garbage = SseEvent(b'data: {"choi\n\n', "", b'{"choi')
    ex = executor(
        [model("big"), model("small")],
        {"big": Provided(lambda n, call: streamed(chunk("ok so"), garbage)), "small": answering(" far")},
        attempts_per_model=1,
    )
    running = await ex.run(PLAN, work(stream=True), always)
    answer = await read(running)
    assert text_of(answer) == "ok so far"
    assert garbage.raw not in answer
    assert running.attempts[0].error == "bad_response"


@virtually
async def test_a_stream_that_no_place_begins_fails_before_anything_is_sent() -> None:
    ex = executor([model("big")], {"big": breaking(after=0)})
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="big"), work(stream=True), always)
    assert (caught.value.status, caught.value.code) == (502, "provider_error")


@virtually
async def test_waiting_for_the_provider_is_counted_as_such() -> None:
    slow = SlowProvider(answering("a b c"), delay_s=2.0, between_s=1.0)
    running = await executor([model("big")], {"big": slow}).run(Plan(model="big"), work(stream=True), always)
    await read(running)
    assert running.waited_s == pytest.approx(asyncio.get_running_loop().time())


def decoded(answer: bytes, format: WireFormat) -> tuple[str, bool]:
    """The text of a stream in any format, and whether it said that it is whole."""
    decoder, text = FORMATS[format].decoder(), []
    for event in SseParser().feed(answer):
        for part in decoder.feed(event):
            text += [c["delta"].get("content") or "" for c in part["choices"]]
    return "".join(text), decoder.complete


BEGUN: dict[WireFormat, int] = {"chat": 4, "messages": 4, "responses": 6, "gemini": 3}


@pytest.mark.parametrize("spoken", ["chat", "messages", "responses", "gemini"])
@pytest.mark.parametrize("format", ["chat", "messages", "responses"])
@virtually
async def test_every_format_is_continued_whatever_the_first_provider_speaks(
    format: WireFormat, spoken: WireFormat
) -> None:
    spoken_here = answering(LONG, formats=frozenset({spoken}))
    big = FlakyProvider(spoken_here, failing=lambda n: True, breaks_after=BEGUN[spoken])
    small = answering(" and the rest")
    ex = executor([model("big"), model("small")], {"big": big, "small": small}, attempts_per_model=1)
    fields: Any = (
        {"input": "say hello to me", "max_output_tokens": 100} if format == "responses" else {"max_tokens": 100}
    )
    running = await ex.run(PLAN, work(stream=True, format=format, **fields), always)
    text, complete = decoded(await read(running), format)
    assert complete
    assert text.endswith(" and the rest")
    begun = text.removesuffix(" and the rest")
    assert begun in LONG and len(begun.split()) in (2, 3)
    assert [a.model for a in running.attempts] == ["big", "small"]
    assert all(orjson.dumps(call.body) for call in small.sent), "what only rides along is not sent"


@pytest.mark.parametrize("format", ["chat", "messages", "responses"])
@pytest.mark.parametrize("midstream", ["continue", "error"])
@virtually
async def test_an_interruption_is_told_in_the_clients_format(format: WireFormat, midstream: str) -> None:
    spoken = answering(LONG, formats=frozenset({format}))
    broken = FlakyProvider(spoken, failing=lambda n: True, breaks_after=BEGUN[format])
    fields: Any = {"max_tokens": 100}
    if format == "responses":
        fields = {"input": "say hello to me", "max_output_tokens": 100}
    ex = executor([model("big")], {"big": broken}, midstream=midstream, max_attempts=1)
    running = await ex.run(Plan(model="big"), work(stream=True, format=format, **fields), always)
    answer = await read(running)
    assert running.status == "interrupted"
    document = last_data(answer)
    assert "stream_interrupted" in orjson.dumps(document).decode()
    assert b"response.completed" not in answer and b"message_stop" not in answer and b"[DONE]" not in answer
    if format == "responses":
        numbers = [orjson.loads(e.data)["sequence_number"] for e in SseParser().feed(answer) if e.data[:1] == b"{"]
        assert numbers == sorted(set(numbers)), "events stay in order"
        assert document["response"]["model"] == "big"


@virtually
async def test_what_cannot_be_said_in_the_clients_format_breaks_the_stream_visibly() -> None:
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{"}}
    more = {"index": 0, "function": {"arguments": "}"}}
    odd = [chunk(tool_calls=[call]), chunk("text between"), chunk(tool_calls=[more]), chunk(finish="tool_calls")]
    ex = executor([model("big")], {"big": Provided(lambda n, c: streamed(*odd))}, max_attempts=1)
    running = await ex.run(Plan(model="big"), work(stream=True, format="messages"), always)
    answer = await read(running)
    assert running.status == "interrupted" and running.error == "bad_response"
    assert b"stream_interrupted" in answer and b"message_stop" not in answer
    assert running.attempts[0].error == "bad_response"
    assert ex.status()[0].outstanding == 0


@virtually
async def test_something_wrong_in_our_own_code_cuts_upstream_too() -> None:
    class Bug(Hanging):
        async def events(self) -> Any:
            yield chunk("one")
            raise RuntimeError("a bug")

    upstream = Bug()
    ex = executor([model("big")], {"big": Provided(lambda n, call: upstream)})
    running = await ex.run(Plan(model="big"), work(stream=True), always)
    with pytest.raises(RuntimeError):
        await read(running)
    assert upstream.closed and ex.status()[0].outstanding == 0
    assert len(running.attempts) == 1
