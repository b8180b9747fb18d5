"""What a streamed answer cost, beside the usage that ends it, and the same as in the log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from equipoise.testing import FakeServer, Misbehaviour
from tests.gateway_world import (
    CHAT,
    LARGE,
    SMALL,
    World,
    claude,
    echo,
    logged_at_each_write,
    say,
    serving,
    settings,
    world,
)

ASKED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(params=[settings, claude])
async def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A gateway whose models speak the format of one vendor or of the other."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    async with FakeServer(echo) as server, serving(tmp_path, request.param(server.base_url)) as one:
        yield one


async def streamed(gateway: World, body: dict[str, Any], path: str = CHAT, **headers: str) -> tuple[bytes, Any]:
    """The bytes of a stream, and the outcome in the log."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.session.post(gateway.url + path, json=body, headers=named) as answer:
        assert answer.status == 200
        text = await answer.read()
    return text, gateway.outcome(answer.headers)


def usage_in(stream: bytes) -> dict[str, Any]:
    """The usage of the last chunk."""
    events = [e.removeprefix(b"data: ") for e in stream.split(b"\n\n") if e.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    found: dict[str, Any] = json.loads(events[-2])["usage"]
    return found


async def test_the_openai_sdk_reads_the_bill_of_a_stream(gateway: World) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
        stream = await client.chat.completions.create(**say("Hello there"), **ASKED)
        decision = stream.response.headers["x-equipoise-decision-id"]
        chunks = [chunk async for chunk in stream]
    outcome = gateway.outcome(decision)
    assert outcome.cost_usd > 1e-6
    usage = chunks[-1].usage
    assert usage is not None and usage.completion_tokens == outcome.attempts[0].usage.output_tokens
    assert usage.model_extra is not None
    assert usage.model_extra["cost"] == pytest.approx(outcome.cost_usd, rel=1e-9)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: Hello there"


async def test_attempts_that_failed_are_on_the_bill(tmp_path: Path) -> None:
    def stalls(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(break_after=2, then="reset") if body["model"] == SMALL else None

    async with world(tmp_path, FakeServer(echo, misbehave=stalls)) as gateway:
        text, outcome = await streamed(gateway, say("Hello there", **ASKED))
        assert {a.model for a in outcome.attempts if a.cost_usd > 0} == {SMALL, LARGE}
        assert usage_in(text)["cost"] == pytest.approx(outcome.cost_usd, rel=1e-9)


async def test_a_replayed_stream_tells_its_own_cost_not_that_of_the_first(tmp_path: Path) -> None:
    async with world(tmp_path, routes={"auto": {"cache": {"exact": True}}}) as gateway:
        first, paid = await streamed(gateway, say("Hello there", **ASKED))
        again, saved = await streamed(gateway, say("Hello there", **ASKED))
        assert saved.cache == "exact" and saved.attempts == ()
        assert usage_in(first)["cost"] == pytest.approx(paid.cost_usd, rel=1e-9)
        assert usage_in(again)["cost"] == pytest.approx(saved.cost_usd, rel=1e-9)
        assert saved.cost_usd == saved.routing_usd
        assert {**usage_in(first), "cost": 0} == {**usage_in(again), "cost": 0}


async def test_a_chat_stream_that_did_not_ask_for_its_usage_is_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path, FakeServer(echo, tells_usage=True)) as gateway:
        plain, _ = await streamed(gateway, say("Hello there", stream=True))
        assert b'"cost"' not in plain and b"prompt_tokens" not in plain


async def test_the_anthropic_sdk_reads_the_bill_of_a_stream(gateway: World) -> None:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
        hello: Any = say("Hello there")["messages"]
        async with client.messages.stream(model="auto", max_tokens=50, messages=hello) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_message()
            decision = stream.response.headers["x-equipoise-decision-id"]
    outcome = gateway.outcome(decision)
    assert outcome.cost_usd > 1e-6
    told = [event.usage.model_extra for event in events if event.type == "message_delta"]
    assert [extra and extra.get("cost") for extra in told] == [pytest.approx(outcome.cost_usd, rel=1e-9)]
    assert final.content[0].type == "text" and final.content[0].text == "You said: Hello there"


async def test_the_openai_sdk_reads_the_bill_of_a_streamed_response(gateway: World) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
        stream = await client.responses.create(model="auto", input="Hello there", stream=True)
        decision = stream.response.headers["x-equipoise-decision-id"]
        events = [event async for event in stream]
    outcome = gateway.outcome(decision)
    assert outcome.cost_usd > 1e-6
    last = events[-1]
    assert last.type == "response.completed" and last.response.output_text == "You said: Hello there"
    usage = last.response.usage
    assert usage is not None and usage.model_extra is not None
    assert usage.model_extra["cost"] == pytest.approx(outcome.cost_usd, rel=1e-9)


@pytest.mark.parametrize(
    ("path", "body", "mark"),
    [
        ("/v1/messages", {"max_tokens": 50, "messages": [{"role": "user", "content": "Hello there"}]}, b"message_stop"),
        ("/v1/responses", {"input": "Hello there"}, b"response.completed"),
    ],
)
async def test_a_stream_that_another_model_went_on_with_tells_both_bills(
    tmp_path: Path, path: str, body: dict[str, Any], mark: bytes
) -> None:
    def breaks(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(break_after=4, then="reset") if body["model"] == SMALL else None

    async with world(tmp_path, FakeServer(echo, misbehave=breaks)) as gateway:
        text, outcome = await streamed(gateway, {"model": "auto", "stream": True, **body}, path)
        assert {a.model for a in outcome.attempts if a.cost_usd > 0} == {SMALL, LARGE} and mark in text
        assert json.loads(b"{" + text[text.index(b'"cost"') :].split(b"}")[0] + b"}")["cost"] == pytest.approx(
            outcome.cost_usd, rel=1e-9
        )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"max_tokens": 50, "messages": [{"role": "user", "content": "Hello there"}]}),
        ("/v1/responses", {"input": "Hello there"}),
    ],
)
async def test_an_answer_that_quotes_the_events_of_its_format_passes_as_it_is(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    said = '{"type": "message_delta"} {"type": "response.completed", "usage": {}}'
    async with world(tmp_path, FakeServer(lambda p: said)) as gateway:
        text, outcome = await streamed(gateway, {"model": "auto", "stream": True, **body}, path)
        events = [json.loads(e.split(b"data: ")[1]) for e in text.split(b"\n\n") if e]
        deltas = [e["delta"] for e in events if "delta" in e and e["type"] != "message_delta"]
        assert "".join(d if isinstance(d, str) else d["text"] for d in deltas) == said
        assert text.count(b'"cost"') == 1 and outcome.status == "ok"


async def test_an_answer_that_talks_of_usage_passes_as_it_is(tmp_path: Path) -> None:
    said = 'data: {"usage": {"prompt_tokens": 5}}'
    async with world(tmp_path, FakeServer(lambda p: said)) as gateway:
        text, outcome = await streamed(gateway, say("Hello there", **ASKED))
        events = [json.loads(e.removeprefix(b"data: ")) for e in text.split(b"\n\n") if e and b"[DONE]" not in e]
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in events if c["choices"]) == said
        assert usage_in(text)["cost"] == pytest.approx(outcome.cost_usd, rel=1e-9)


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
@pytest.mark.parametrize("vendor", [settings, claude])
async def test_the_bill_is_logged_before_a_client_can_have_the_end_of_a_stream_from_the_cache_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: Callable[[str], dict[str, Any]], path: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    async with FakeServer(echo) as server:
        cached = {**vendor(server.base_url), "routes": {"auto": {"cache": {"exact": True}}}}
        async with serving(tmp_path, cached) as gateway:
            logged = logged_at_each_write(gateway, monkeypatch)
            for said in ("miss", "exact"):
                logged.clear()
                _, outcome = await streamed(gateway, say("Hello there", max_tokens=50, stream=True), path)
                assert (outcome.cache, outcome.status) == (said, "ok")
                assert logged[-1] and not any(logged[:-1])


async def test_what_interrupted_a_stream_is_logged_before_the_client_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Misbehaviour(break_after=2, then="reset")
    vendor = FakeServer(echo, misbehave=lambda number, body: broken)
    async with world(tmp_path, vendor, execution={"midstream": "error"}) as gateway:
        logged = logged_at_each_write(gateway, monkeypatch)
        text, outcome = await streamed(gateway, say("Hello there", stream=True))
        assert b"stream_interrupted" in text and outcome.status == "interrupted"
        assert logged[-1] and not any(logged[:-1])
