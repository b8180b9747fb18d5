"""The fakes that ship in ``equipoise.testing`` do what they say, in every format."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from equipoise.contracts import Provider, UpstreamCall
from equipoise.errors import ProviderError
from equipoise.testing import (
    FailingProvider,
    FakeServer,
    FlakyProvider,
    Misbehaviour,
    ScriptedProvider,
    SlowProvider,
    TruncatingProvider,
    usage_of,
)
from equipoise.traffic import TokenUsage
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import FORMATS, translate_request
from tests.wire_samples import CONVERSED, call, put_together

MODEL = Model(name="m")
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]}


def call_of(kind: WireFormat = "chat", *, stream: bool = False, **chat: Any) -> UpstreamCall:
    body = translate_request({"max_tokens": 50, **CHAT, **chat}, "chat", kind)
    return UpstreamCall(model=MODEL, deployment=Deployment(provider="fake"), kind=kind, body=body, stream=stream)


async def read(provider: Provider, kind: WireFormat = "chat", **chat: Any) -> tuple[dict[str, Any], bool]:
    call = call_of(kind, stream=True, **chat)
    upstream = await provider.send(call)
    decoder = FORMATS[kind].decoder()
    chunks = [c async for event in upstream.events() for c in decoder.feed(event)]
    await upstream.close()
    return put_together(chunks), decoder.complete


@pytest.mark.parametrize("kind", CONVERSED)
async def test_a_script_is_followed_in_every_format(kind: WireFormat) -> None:
    provider = ScriptedProvider(str.upper)
    document = await (await provider.send(call_of(kind))).document()
    answer = FORMATS[kind].answer_to_chat(document)
    assert answer["choices"][0]["message"]["content"] == "ONE TWO THREE"
    whole, complete = await read(provider, kind)
    assert complete and (whole["content"], whole["usage"]) == ("ONE TWO THREE", (3, 3))
    assert [usage_of(b) for b in provider.bills] == [TokenUsage(input_tokens=3, output_tokens=3)] * 2
    assert provider.calls["one two three"] == 2


async def test_a_script_can_hold_tool_calls_and_embeddings() -> None:
    provider = ScriptedProvider({"one two three": {"tool_calls": [call("a", "f", '{"x": 1}')]}})
    whole, _ = await read(provider, "messages")
    assert whole["calls"] == {0: {"id": "a", "name": "f", "arguments": '{"x": 1}'}} and whole["finish"] == "tool_calls"
    embed = UpstreamCall(
        model=MODEL, deployment=Deployment(provider="fake"), kind="embeddings", body={"input": ["a b", "c"]}
    )
    document = await (await provider.send(embed)).document()
    assert len(document["data"]) == 2 and provider.bills[-1].input_tokens == 3


async def test_what_the_script_lacks_is_a_404() -> None:
    with pytest.raises(ProviderError) as caught:
        await ScriptedProvider({}).send(call_of())
    assert (caught.value.status, caught.value.retryable) == (404, False)


async def test_an_aborted_stream_is_billed_up_to_where_it_was_aborted() -> None:
    provider = ScriptedProvider(lambda p: "a b c d e f")
    upstream = await provider.send(call_of(stream=True))
    events = upstream.events()
    for _ in range(3):  # the role, then two words
        await anext(events)
    await upstream.close()
    assert [e async for e in events] == []
    assert provider.bills[0].output_tokens == 2


async def test_a_limit_cuts_an_answer() -> None:
    whole, _ = await read(ScriptedProvider(str.upper), max_tokens=2)
    assert (whole["content"], whole["finish"]) == ("ONE TWO", "length")


async def test_a_failing_provider_fails_in_every_way() -> None:
    provider = FailingProvider(status=503, code="overloaded")
    for attempt in (provider.send(call_of()), provider.complete(MODEL, CHAT["messages"])):
        with pytest.raises(ProviderError) as caught:
            await attempt
        assert (caught.value.status, caught.value.vendor_code, caught.value.retryable) == (503, "overloaded", True)
    assert provider.calls == 2


async def test_a_flaky_provider_fails_when_told_or_breaks_its_streams() -> None:
    flaky = FlakyProvider(ScriptedProvider(str.upper), failing=lambda n: n == 0, retry_after_s=3.0)
    with pytest.raises(ProviderError) as caught:
        await flaky.send(call_of())
    assert (caught.value.status, caught.value.retry_after_s) == (429, 3.0)
    assert (await read(flaky))[1]
    breaking = FlakyProvider(ScriptedProvider(str.upper), failing=lambda n: True, breaks_after=2)
    upstream, seen = await breaking.send(call_of(stream=True)), 0
    with pytest.raises(ProviderError) as caught:
        async for _ in upstream.events():
            seen += 1
    assert (seen, caught.value.vendor_code) == (2, "connection_lost")


async def test_a_truncating_provider_says_so_or_goes_silently() -> None:
    said, complete = await read(TruncatingProvider(ScriptedProvider(str.upper), characters=6))
    assert complete and (said["content"], said["finish"]) == ("ONE TW", "length")
    silent, complete = await read(TruncatingProvider(ScriptedProvider(str.upper), characters=6, silently=True))
    assert not complete and silent["finish"] is None and "ONE TWO THREE".startswith(silent["content"])
    document = await (await TruncatingProvider(ScriptedProvider(str.upper), characters=6).send(call_of())).document()
    assert document["choices"][0]["message"]["content"] == "ONE TW"


async def test_a_slow_provider_counts_who_waits() -> None:
    slow = SlowProvider(ScriptedProvider(str.upper), delay_s=0.02, between_s=0.001)
    results = await asyncio.gather(*(read(slow) for _ in range(3)))
    assert all(complete for _, complete in results) and slow.most_at_once == 3 and slow.at_once == 0


async def test_the_server_keeps_a_ledger_of_what_it_sent() -> None:
    wrong = Misbehaviour(break_after=3, then="end")
    async with FakeServer(str.upper, misbehave=lambda n, b: wrong if n == 0 else None) as server:
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                response = await session.post(f"{server.base_url}/chat/completions", json={**CHAT, "stream": True})
                await response.read()
    assert [(b.input_tokens, b.output_tokens) for b in server.bills] == [(3, 2), (3, 3)]
