"""What calls cost: by the provider's word where it gave one, by ours where not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from equipoise.execution import ExecutionFailed
from equipoise.execution.billing import cost_usd, estimated, sound, was_accepted
from equipoise.execution.reader import Reader
from equipoise.testing import FakeUpstream
from equipoise.traffic import Attempt, TokenUsage
from equipoise.types import Plan, Price
from equipoise.wire import FORMATS, Body, SseEvent
from tests.execution_fakes import (
    Provided,
    always,
    chunk,
    executor,
    failed,
    model,
    read,
    streamed,
    virtually,
    words,
    work,
)

PRICE = Price(usd_per_1m_input=3.0, usd_per_1m_output=15.0, usd_per_1m_cached_input=0.3, usd_per_1m_cache_write=3.75)


def test_cached_and_cache_writing_tokens_have_their_own_prices() -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=100, cached_tokens=600, cache_write_tokens=300)
    expected = (100 * 3.0 + 600 * 0.3 + 300 * 3.75 + 100 * 15.0) / 1e6
    assert cost_usd(usage, PRICE, elapsed_s=1.0) == pytest.approx(expected)


def test_what_is_kept_for_an_hour_is_written_at_its_own_price() -> None:
    hour = replace(PRICE, usd_per_1m_cache_write_1h=6.0)
    usage = TokenUsage(input_tokens=1000, output_tokens=100, cache_write_tokens=300, cache_write_1h_tokens=200)
    expected = (700 * 3.0 + 100 * 3.75 + 200 * 6.0 + 100 * 15.0) / 1e6
    assert cost_usd(usage, hour, elapsed_s=1.0) == pytest.approx(expected)
    assert sound(replace(usage, cache_write_1h_tokens=400)).cache_write_1h_tokens == 300


@pytest.mark.parametrize(("tokens", "long"), [(200_000, False), (200_001, True)])
def test_a_long_prompt_has_its_own_prices(tokens: int, long: bool) -> None:
    price = replace(PRICE, long_from_tokens=200_000, usd_per_1m_input_long=6.0, usd_per_1m_output_long=22.5)
    usage = TokenUsage(input_tokens=tokens, output_tokens=100, cached_tokens=1000)
    sent = (tokens - 1000) * 3.0 + 1000 * 0.3
    expected = (sent * 2 + 100 * 22.5) / 1e6 if long else (sent + 100 * 15.0) / 1e6
    assert cost_usd(usage, price, elapsed_s=1.0) == pytest.approx(expected, rel=1e-12)


def test_compute_time_that_nobody_measured_is_the_time_that_passed() -> None:
    local = Price(usd_per_compute_s=0.001)
    assert cost_usd(TokenUsage(input_tokens=5), local, elapsed_s=4.0) == pytest.approx(0.004)
    assert cost_usd(TokenUsage(input_tokens=5, compute_s=1.5), local, elapsed_s=4.0) == pytest.approx(0.0015)


def test_cached_tokens_never_exceed_the_input_whatever_the_provider_says() -> None:
    said = TokenUsage(input_tokens=100, cached_tokens=80, cache_write_tokens=50)
    assert sound(said) == TokenUsage(input_tokens=100, cached_tokens=80, cache_write_tokens=20)
    fine = TokenUsage(input_tokens=100, cached_tokens=80, cache_write_tokens=20)
    assert sound(fine) is fine


def test_an_estimate_keeps_what_the_provider_said_so_far() -> None:
    said = TokenUsage(input_tokens=500, output_tokens=1, cached_tokens=400)
    guess = estimated(said, input_tokens=9, output_tokens=33)
    assert guess == TokenUsage(input_tokens=500, output_tokens=33, cached_tokens=400, estimated=True)
    assert estimated(None, input_tokens=9, output_tokens=3) == TokenUsage(
        input_tokens=9, output_tokens=3, estimated=True
    )


@pytest.mark.parametrize(
    ("status", "code", "billed"),
    [
        (None, "connection", False),
        (None, "no_key", False),
        (None, "worker", False),
        (None, "said in the body", False),
        (429, "", False),
        (500, "", False),
        (None, "timeout", True),
        (None, "connection_lost", True),
        (200, "bad_response", True),
    ],
)
def test_only_a_call_that_was_taken_is_billed(status: int | None, code: str, billed: bool) -> None:
    assert was_accepted(failed(status, code=code)) is billed


@virtually
async def test_an_answer_without_usage_is_counted_by_us_tool_calls_included() -> None:
    message = {
        "content": "two words",
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "three more words"}}],
    }
    body = orjson.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    ex = executor([model("m")], {"m": Provided(lambda n, call: FakeUpstream(body=body))})
    running = await ex.run(Plan(model="m"), work(input_tokens=11), always)
    assert running.usage.estimated
    assert running.usage.input_tokens == 11
    assert running.usage.output_tokens >= 4


def test_of_more_than_any_model_writes_the_beginning_is_counted() -> None:
    reader, counted = Reader("chat", 0), list[int]()

    def count(text: str) -> int:
        counted.append(len(text))
        return words(text)

    assert reader.output_tokens(count) == 0
    for number in (1000, 300_000):
        reader.text = ["Well "] + ["three words here "] * number
        assert reader.output_tokens(count) == pytest.approx(1 + 3 * number, abs=number // 1000)
    assert counted[0] == 17_005 and counted[1] < 1_100_000


def usage_event(**usage: Any) -> SseEvent:
    data = orjson.dumps({"choices": [], "usage": usage})
    return SseEvent(b"data: " + data + b"\n\n", "", data)


@virtually
async def test_a_stream_is_billed_by_the_last_usage_that_it_told() -> None:
    events = [
        usage_event(prompt_tokens=50, completion_tokens=0),
        chunk("a b c"),
        chunk(finish="stop"),
        usage_event(prompt_tokens=50, completion_tokens=7, prompt_tokens_details={"cached_tokens": 40}),
    ]
    ex = executor([model("m")], {"m": Provided(lambda n, call: streamed(*events))})
    running = await ex.run(Plan(model="m"), work(stream=True), always)
    await read(running)
    assert running.usage == TokenUsage(input_tokens=50, output_tokens=7, cached_tokens=40)
    assert running.attempts[0].cost_usd == pytest.approx((10 * 3.0 + 40 * 0.3 + 7 * 15.0) / 1e6)


@virtually
async def test_a_stream_that_broke_is_billed_for_the_input_it_told_and_the_output_that_came() -> None:
    events = [usage_event(prompt_tokens=50, completion_tokens=1), chunk("a b c")]
    ex = executor([model("m")], {"m": Provided(lambda n, call: streamed(*events))}, midstream="error")
    running = await ex.run(Plan(model="m"), work(stream=True), always)
    await read(running)
    assert running.attempts[0].usage == TokenUsage(input_tokens=50, output_tokens=3, estimated=True)


@virtually
async def test_a_stream_that_is_refused_after_it_began_is_billed_all_the_same() -> None:
    class Overloaded(FakeUpstream):
        async def events(self) -> Any:
            yield chunk("a b c")
            raise failed(529, code="overloaded_error")

    ex = executor([model("m")], {"m": Provided(lambda n, call: Overloaded())}, midstream="error")
    running = await ex.run(Plan(model="m"), work(stream=True), always)
    await read(running)
    (attempt,) = running.attempts
    assert (attempt.status, attempt.error, attempt.usage.output_tokens) == (529, "overloaded_error", 3)
    assert attempt.cost_usd > 0


@virtually
async def test_an_error_in_place_of_a_stream_costs_nothing() -> None:
    class Overloaded(FakeUpstream):
        async def events(self) -> Any:
            raise failed(529, code="overloaded_error")
            yield

    ex = executor([model("m")], {"m": Provided(lambda n, call: Overloaded())}, attempts_per_model=1, max_attempts=1)
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="m"), work(stream=True), always)
    (attempt,) = caught.value.attempts
    assert (attempt.status, attempt.cost_usd, attempt.usage) == (529, 0.0, TokenUsage())


@virtually
async def test_zeros_after_or_instead_of_a_usage_are_none() -> None:
    zeros = usage_event(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    told = usage_event(prompt_tokens=50, completion_tokens=7)
    for events, expected in (
        ((told, zeros), TokenUsage(input_tokens=50, output_tokens=7)),
        ((zeros,), TokenUsage(input_tokens=4, output_tokens=3, estimated=True)),
    ):
        stream = streamed(chunk("a b c"), chunk(finish="stop"), *events)
        ex = executor([model("m")], {"m": Provided(lambda n, call, stream=stream: stream)})
        running = await ex.run(Plan(model="m"), work(stream=True), always)
        await read(running)
        assert running.usage == expected


@pytest.mark.parametrize(
    ("format", "said", "answer"),
    [
        ("embeddings", {"prompt_tokens": 0}, {"data": [{"embedding": [0.5]}]}),
        (
            "messages",
            {"input_tokens": 0, "output_tokens": 0},
            {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "a b c"}]},
        ),
    ],
)
@virtually
async def test_zeros_in_place_of_a_usage_are_none_in_every_format(format: Any, said: Body, answer: Body) -> None:
    whole = orjson.dumps({**answer, "usage": said})
    provided = Provided(lambda n, call: FakeUpstream(body=whole), formats=frozenset({"embeddings", "messages"}))
    asked = work(format=format, **({"input": "say hello to me"} if format == "embeddings" else {}))
    running = await executor([model("m")], {"m": provided}).run(Plan(model="m"), asked, always)
    (attempt,) = running.attempts
    assert attempt.usage.estimated and attempt.usage.input_tokens == 4 and attempt.cost_usd > 0


@pytest.mark.parametrize("said", [2**63, 2**64 - 1, 10**12])
def test_more_tokens_than_any_call_could_have_are_no_count(said: int) -> None:
    told = {"prompt_tokens": said, "completion_tokens": 5}
    assert FORMATS["chat"].usage({"usage": told}) is None
    assert FORMATS["responses"].usage({"usage": {"input_tokens": 3, "output_tokens": said}}) != TokenUsage(
        input_tokens=3, output_tokens=said
    )


def test_compute_time_that_is_no_time_is_not_believed() -> None:
    told = {
        "usage": {"prompt_tokens": 3, "completion_tokens": 5},
        "timings": {"prompt_ms": 1e308, "predicted_ms": 1e308},
    }
    usage = FORMATS["chat"].usage(told)
    assert usage is not None and usage.compute_s is None


@virtually
async def test_an_answer_that_is_none_is_billed_for_what_the_provider_says_that_it_took() -> None:
    answer = {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 7}}
    provided = Provided(lambda n, call: FakeUpstream(body=orjson.dumps(answer)))
    ex = executor([model("m")], {"m": provided}, attempts_per_model=1, max_attempts=1)
    with pytest.raises(ExecutionFailed) as caught:
        await ex.run(Plan(model="m"), work(), always)
    assert caught.value.attempts[0].usage == TokenUsage(input_tokens=50, output_tokens=7, estimated=True)


@virtually
async def test_an_answer_that_passes_but_cannot_be_counted_is_billed_for_its_input() -> None:
    answer = {"object": "response", "output": [{"type": "message", "content": "Hello"}], "status": "completed"}
    provided = Provided(lambda n, call: FakeUpstream(body=orjson.dumps(answer)), formats=frozenset({"responses"}))
    ex = executor([model("m")], {"m": provided})
    running = await ex.run(Plan(model="m"), work(format="responses", input="say hello"), always)
    assert orjson.loads(running.body or b"") == answer
    assert running.usage.estimated and running.usage.input_tokens > 0 and running.usage.output_tokens == 0


@pytest.mark.parametrize("begun", [True, False, None])
@virtually
async def test_a_call_that_is_given_up_costs_nothing_only_if_it_never_left(begun: bool | None) -> None:
    async def send(number: int, call: Any) -> Any:
        call.sent.begun = begun
        await asyncio.sleep(60.0)

    attempts: list[Attempt] = []
    ex = executor([model("m")], {"m": Provided(send)})
    running = asyncio.create_task(ex.run(Plan(model="m"), work(), always, attempts=attempts))
    await asyncio.sleep(1.0)
    running.cancel()
    await asyncio.wait([running])
    assert [(a.error, a.cost_usd > 0.0) for a in attempts] == [("cancelled", begun is not False)]
