"""The vendors' own SDKs against a running gateway: sync and async, streams, tools, errors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from equipoise.testing import FakeServer, Misbehaviour
from tests.gateway_world import LARGE, SMALL, claude, echo, serving, settings, world

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
CALLS = [
    {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    for i, city in enumerate(("Paris", "Rome"))
]


def tool_answer(prompt: str) -> str | dict[str, Any]:
    """Asks for two tools at once, then tells what they said."""
    return {"content": None, "tool_calls": CALLS} if "weather" in prompt.lower() else f"Done: {prompt}"


VENDORS = {"openai": settings, "anthropic": claude}


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whose format the models behind the gateway speak."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    return VENDORS[request.param]


# ---------------------------------------------------------------- openai


async def test_openai_chat(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(echo) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
            answer = await client.chat.completions.create(
                model="auto", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
            )
            assert answer.choices[0].message.content == "You said: Hi"
            assert answer.choices[0].finish_reason == "stop"
            assert answer.usage is not None and answer.usage.completion_tokens > 0
            raw = await client.chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": "Hi"}], extra_headers={"x-equipoise-user": "u"}
            )
            assert raw.headers["x-equipoise-model"] == SMALL


async def test_openai_chat_streams(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(echo) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
            stream = await client.chat.completions.create(
                model="auto",
                messages=[{"role": "user", "content": "Hi you"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: Hi you"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0


async def test_openai_tools_there_and_back(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(tool_answer) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
            tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
            messages: list[Any] = [{"role": "user", "content": "The weather in Paris and Rome?"}]
            first = await client.chat.completions.create(model="auto", messages=messages, tools=tools)
            calls = first.choices[0].message.tool_calls
            assert calls is not None and first.choices[0].finish_reason == "tool_calls"
            assert [json.loads(c.function.arguments)["city"] for c in calls] == ["Paris", "Rome"]  # type: ignore[union-attr]
            messages.append(first.choices[0].message.model_dump(exclude_none=True))
            messages += [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in calls]
            second = await client.chat.completions.create(model="auto", messages=messages, tools=tools)
            assert second.choices[0].message.content == "Done: sunny"
            stream = await client.chat.completions.create(model="auto", messages=messages[:1], tools=tools, stream=True)
            arguments: dict[int, str] = {}
            async for chunk in stream:
                for delta in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
                    said = delta.function.arguments if delta.function else None
                    arguments[delta.index] = arguments.get(delta.index, "") + (said or "")
    assert [json.loads(a)["city"] for a in arguments.values()] == ["Paris", "Rome"]


async def test_openai_responses(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(echo) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
            answer = await client.responses.create(model="auto", input="Hi", instructions="Be brief.")
            assert answer.output_text == "You said: Hi" and answer.status == "completed"
            if vendor is claude:
                assert answer.instructions == "Be brief." and answer.tool_choice == "auto"
            events = [e async for e in await client.responses.create(model="auto", input="Hi you", stream=True)]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "You said: Hi you"
    assert events[0].type == "response.created" and events[-1].type == "response.completed"


async def test_openai_embeddings_and_models(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
            vectors = await client.embeddings.create(model=SMALL, input=["a", "b"])
            assert len(vectors.data) == 2
            assert [m.id async for m in client.models.list()] == ["auto", SMALL, LARGE]


async def test_openai_errors_are_its_own_classes(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "keys": "required"}) as gateway:
        key, _ = gateway.gateway.keys.create(name="app", now=0.0)
        hello: Any = [{"role": "user", "content": "Hi"}]
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as denied:
                await client.chat.completions.create(model="auto", messages=hello)
            assert denied.value.code == "invalid_api_key"
            known = client.with_options(api_key=key)
            with pytest.raises(openai.NotFoundError) as unknown:
                await known.chat.completions.create(model="autto", messages=hello)
            assert unknown.value.code == "model_not_found" and "did you mean 'auto'?" in str(unknown.value)
            with pytest.raises(openai.BadRequestError):
                await known.chat.completions.create(model="auto", messages=[])
            assert (await known.chat.completions.create(model="auto", messages=hello)).choices


async def test_a_rate_limit_of_the_provider_reaches_the_sdk(tmp_path: Path) -> None:
    vendor = FakeServer(echo, misbehave=lambda number, body: Misbehaviour(status=429, headers=(("Retry-After", "7"),)))
    async with world(tmp_path, vendor, execution={"total_s": 2.0}) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(openai.RateLimitError) as limited:
                await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hi"}])
    assert limited.value.code == "rate_limited" and int(limited.value.response.headers["retry-after"]) >= 1


async def test_openai_sync(tmp_path: Path) -> None:
    def talk(url: str) -> tuple[str | None, str]:
        with openai.OpenAI(base_url=url + "/v1", api_key="any") as client:
            hello: Any = [{"role": "user", "content": "Hi"}]
            whole = client.chat.completions.create(model="auto", messages=hello)
            with client.chat.completions.create(model="auto", messages=hello, stream=True) as stream:
                pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
            return whole.choices[0].message.content, "".join(pieces)

    async with world(tmp_path) as gateway:
        assert await asyncio.to_thread(talk, gateway.url) == ("You said: Hi", "You said: Hi")


# ---------------------------------------------------------------- anthropic


async def test_anthropic_messages(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(echo) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            answer = await client.messages.create(
                model="auto", max_tokens=50, system="Be brief.", messages=[{"role": "user", "content": "Hi"}]
            )
            assert answer.content[0].type == "text" and answer.content[0].text == "You said: Hi"
            assert answer.stop_reason == "end_turn" and answer.usage.output_tokens > 0


async def test_anthropic_streams(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(echo) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            hello: Any = [{"role": "user", "content": "Hi you"}]
            async with client.messages.stream(model="auto", max_tokens=50, messages=hello) as stream:
                text = "".join([piece async for piece in stream.text_stream])
                final = await stream.get_final_message()
    assert text == "You said: Hi you" and final.stop_reason == "end_turn" and final.usage.output_tokens > 0


async def test_a_stream_of_messages_tells_at_its_beginning_how_long_the_input_is(tmp_path: Path) -> None:
    hello: Any = [{"role": "user", "content": "Hi you"}]
    async with world(tmp_path) as gateway, anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
        counted = await client.messages.count_tokens(model="auto", messages=hello)
        stream = await client.messages.create(model="auto", max_tokens=50, messages=hello, stream=True)
        told = [e.message.usage.input_tokens async for e in stream if e.type == "message_start"]
    assert told == [counted.input_tokens] and counted.input_tokens > 0


async def test_anthropic_tools_there_and_back(tmp_path: Path, vendor: Any) -> None:
    async with FakeServer(tool_answer) as server, serving(tmp_path, vendor(server.base_url)) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            tools: Any = [{"name": "weather", "input_schema": WEATHER}]
            messages: list[Any] = [{"role": "user", "content": "The weather in Paris and Rome?"}]
            first = await client.messages.create(model="auto", max_tokens=50, messages=messages, tools=tools)
            uses = [block for block in first.content if block.type == "tool_use"]
            assert first.stop_reason == "tool_use" and [u.input for u in uses] == [{"city": "Paris"}, {"city": "Rome"}]
            results = [{"type": "tool_result", "tool_use_id": u.id, "content": "sunny"} for u in uses]
            messages += [
                {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in first.content]},
                {"role": "user", "content": results},
            ]
            second = await client.messages.create(model="auto", max_tokens=50, messages=messages, tools=tools)
            assert second.content[0].type == "text" and second.content[0].text == "Done: sunny"


async def test_anthropic_errors_are_its_own_classes(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        hello: Any = [{"role": "user", "content": "Hi"}]
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
            with pytest.raises(anthropic.NotFoundError) as unknown:
                await client.messages.create(model="autto", max_tokens=5, messages=hello)
            assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
            with pytest.raises(anthropic.BadRequestError):
                await client.messages.create(model="auto", max_tokens=5, messages=[])
            assert [m.id async for m in client.models.list()] == ["auto", SMALL, LARGE]


async def test_anthropic_counts_tokens(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            hello: Any = [{"role": "user", "content": "one two three four"}]
            counted = await client.messages.count_tokens(model="auto", messages=hello, system="five six")
    assert counted.input_tokens == 6


async def test_anthropic_sync(tmp_path: Path) -> None:
    def talk(url: str) -> str:
        with anthropic.Anthropic(base_url=url, api_key="any") as client:
            hello: Any = [{"role": "user", "content": "Hi"}]
            with client.messages.stream(model="auto", max_tokens=50, messages=hello) as stream:
                return "".join(stream.text_stream)

    async with world(tmp_path) as gateway:
        assert await asyncio.to_thread(talk, gateway.url) == "You said: Hi"


async def test_an_answer_that_is_nested_too_deeply_to_be_translated_is_the_providers_fault(tmp_path: Path) -> None:
    deep = {**CALLS[0], "function": {"name": "weather", "arguments": '{"city":' + "[" * 300 + "]" * 300 + "}"}}
    async with world(tmp_path, FakeServer(lambda _: {"content": None, "tool_calls": [deep]})) as gateway:
        body = {"model": SMALL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        status, document, _ = await gateway.post("/v1/messages", body)
    assert status == 502 and document["error"]["code"] == "provider_error"


async def test_names_of_tools_that_only_anthropic_takes_reach_others_shortened_and_come_back_whole(
    tmp_path: Path,
) -> None:
    long = "mcp__plugin_of_a_long_name__" + "x" * 80

    def answers(prompt: str) -> Any:
        [tool] = vendor.requests[-1]["tools"]
        function = {"name": tool["function"]["name"], "arguments": "{}"}
        return {"content": None, "tool_calls": [{"id": "a", "type": "function", "function": function}]}

    vendor = FakeServer(answers)
    async with vendor, serving(tmp_path, settings(vendor.base_url)) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            asked: Any = {"model": SMALL, "max_tokens": 99, "tools": [{"name": long, "input_schema": WEATHER}]}
            asked["tool_choice"] = {"type": "tool", "name": long}
            messages: list[Any] = [{"role": "user", "content": "Hi"}]
            first = await client.messages.create(messages=messages, **asked)
            result = {"type": "tool_result", "tool_use_id": "a", "content": "r"}
            messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
            async with client.messages.stream(messages=messages, **asked) as stream:
                second = await stream.get_final_message()
    assert [b.name for m in (first, second) for b in m.content if b.type == "tool_use"] == [long, long]
    sent = vendor.requests[1]
    names = {
        sent["tools"][0]["function"]["name"],
        sent["tool_choice"]["function"]["name"],
        sent["messages"][1]["tool_calls"][0]["function"]["name"],
    }
    assert len(names) == 1 and len(names.pop()) <= 64
