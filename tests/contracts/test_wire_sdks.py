"""The vendors' own SDKs read what our encoders write, whichever vendor answers behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pydantic
import pytest
from aiohttp import web

from equipoise.contracts import UpstreamCall
from equipoise.errors import ProviderError
from equipoise.providers import make_provider
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import FORMATS, BadRequest, dumps, target_format, translate_answer, translate_request
from tests.wire_samples import PIXEL, SCHEMA, call

VENDORS = ["openai", "anthropic", "gemini"]
PATHS: dict[str, WireFormat] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/embeddings": "embeddings",
}


class Warmer(pydantic.BaseModel):
    city: str
    by: int


def answer(prompt: str) -> Any:
    """A vendor that calls two tools at once, then says what they brought."""
    if "warm" in prompt:
        cities = [call("call_a", "warmth", '{"city": "Paris"}'), call("call_b", "warmth", '{"city": "Rome"}')]
        return {"content": "Let me see.", "tool_calls": cities}
    if "json" in prompt:
        return '{"city": "Rome", "by": 8}'
    return prompt.upper()


class Relay:
    """The least gateway: any format in, one vendor behind it."""

    def __init__(self, vendor: str, server: FakeServer) -> None:
        base_url = server.base_url if vendor == "openai" else server.root_url
        self.deployment = Deployment(provider=vendor, base_url=base_url, api_key_env="K")
        self.provider = make_provider(self.deployment, secret=lambda _: "k")
        self.server = server
        self.url = ""

    async def __aenter__(self) -> Relay:
        app = web.Application()
        for path in PATHS:
            app.router.add_post(path, self.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self.provider.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        source = PATHS[request.path]
        try:
            return await self._relay(request, source, await request.json())
        except BadRequest as error:
            return web.json_response(FORMATS[source].error(400, error.code, str(error), error.param), status=400)
        except ProviderError as error:
            status = error.status or 502
            return web.json_response(FORMATS[source].error(status, error.vendor_code, str(error)), status=status)

    async def _relay(self, request: web.Request, source: WireFormat, body: dict[str, Any]) -> web.StreamResponse:
        asked = FORMATS[source].read(body)
        target = target_format(source, self.provider.formats)
        assert target is not None
        call = UpstreamCall(
            model=Model(name="m"),
            deployment=self.deployment,
            kind=target,
            body=translate_request(body, source, target),
            stream=asked.stream,
        )
        upstream = await self.provider.send(call)
        if not asked.stream:
            document = translate_answer(await upstream.document(), target, source, "m", now=1_700_000_000)
            return web.Response(body=dumps(document), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        decoder, encoder = FORMATS[target].decoder(now=1_700_000_000), FORMATS[source].encoder("m", asked)
        try:
            async for event in upstream.events():
                for chunk in decoder.feed(event):
                    for raw in encoder.feed(chunk):
                        await response.write(raw)
            closing = encoder.end()
        except ProviderError as error:
            closing = encoder.fail("connection_lost", str(error))
        for raw in closing:
            await response.write(raw)
        await response.write_eof()
        return response


# No client needs the certificates of the world to talk to this machine, and reading them takes its time.
def openai_client(relay: Relay) -> openai.AsyncOpenAI:
    http = httpx2.AsyncClient(verify=False)
    return openai.AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=0, http_client=http)


def anthropic_client(relay: Relay) -> anthropic.AsyncAnthropic:
    http = httpx2.AsyncClient(verify=False)
    return anthropic.AsyncAnthropic(base_url=relay.url, api_key="x", max_retries=0, http_client=http)


@pytest.fixture(params=VENDORS)
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    async with FakeServer(answer) as server, Relay(request.param, server) as running:
        yield running


@pytest.fixture
async def chat(relay: Relay) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai_client(relay) as client:
        yield client


@pytest.fixture
async def claude(relay: Relay) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic_client(relay) as client:
        yield client


USER: list[Any] = [{"role": "user", "content": "how warm is it"}]
CHAT_TOOL: Any = {"type": "function", "function": {"name": "warmth", "parameters": SCHEMA}}
CALLED = [("warmth", {"city": "Paris"}), ("warmth", {"city": "Rome"})]


# ---------------------------------------------------------------- OpenAI chat completions


async def test_openai_chat_reads_an_answer(chat: openai.AsyncOpenAI) -> None:
    done = await chat.chat.completions.create(model="auto", messages=[{"role": "user", "content": "say hello"}])
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == ("SAY HELLO", "stop")
    assert done.usage is not None and (done.usage.prompt_tokens, done.usage.completion_tokens) == (2, 2)
    assert done.object == "chat.completion" and done.created > 0 and done.id


async def test_openai_chat_reads_a_stream_with_usage_only_when_asked(chat: openai.AsyncOpenAI) -> None:
    for options, expected in (({}, None), ({"include_usage": True}, (2, 2))):
        stream = await chat.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "say hello"}], stream=True, stream_options=options
        )
        text, usage = "", None
        async for chunk in stream:
            text += "".join(c.delta.content or "" for c in chunk.choices)
            usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens) if chunk.usage else usage
        assert (text, usage) == ("SAY HELLO", expected)


async def test_openai_chat_carries_a_whole_tool_conversation(chat: openai.AsyncOpenAI, relay: Relay) -> None:
    done = await chat.chat.completions.create(model="auto", messages=USER, tools=[CHAT_TOOL])
    message = done.choices[0].message
    assert done.choices[0].finish_reason == "tool_calls" and message.content == "Let me see."
    calls = message.tool_calls or []
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == CALLED  # type: ignore[union-attr]
    results: list[Any] = [
        {"role": "tool", "tool_call_id": c.id, "content": f"{d} degrees"} for c, d in zip(calls, (17, 25), strict=True)
    ]
    history = [*USER, message.model_dump(exclude_none=True), *results]
    done = await chat.chat.completions.create(model="auto", messages=history, tools=[CHAT_TOOL])
    assert (done.choices[0].message.content or "").upper() == "25 DEGREES"
    seen = orjson.dumps(relay.server.requests[-1])
    assert seen.count(b"17 degrees") == seen.count(b"25 degrees") == 1


async def test_openai_chat_streams_parallel_tool_calls(chat: openai.AsyncOpenAI) -> None:
    strict: Any = {**CHAT_TOOL, "function": {**CHAT_TOOL["function"], "strict": True}}
    async with chat.chat.completions.stream(model="auto", messages=USER, tools=[strict]) as stream:
        async for _ in stream:
            pass
        done = await stream.get_final_completion()
    calls = done.choices[0].message.tool_calls or []
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == CALLED
    assert len({c.id for c in calls}) == 2


async def test_openai_chat_parses_a_schema_and_sends_a_picture(chat: openai.AsyncOpenAI, relay: Relay) -> None:
    content: Any = [
        {"type": "text", "text": "as json"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    done = await chat.chat.completions.parse(
        model="auto", messages=[{"role": "user", "content": content}], response_format=Warmer
    )
    assert done.choices[0].message.parsed == Warmer(city="Rome", by=8)
    seen = orjson.dumps(relay.server.requests[-1])
    assert PIXEL.encode() in seen and b'"by"' in seen


async def test_the_synchronous_clients_read_the_same(relay: Relay) -> None:
    def work() -> tuple[str, str, str, str]:
        hello: Any = [{"role": "user", "content": "say hello"}]
        with (
            openai.OpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=0) as chat,
            anthropic.Anthropic(base_url=relay.url, api_key="x", max_retries=0) as claude,
        ):
            said = chat.chat.completions.create(model="auto", messages=hello).choices[0].message.content
            streamed = "".join(
                c.delta.content or ""
                for chunk in chat.chat.completions.create(model="auto", messages=hello, stream=True)
                for c in chunk.choices
            )
            responded = chat.responses.create(model="auto", input="say hello").output_text
            with claude.messages.stream(model="auto", max_tokens=99, messages=hello) as stream:
                claimed = "".join(stream.text_stream)
        return said or "", streamed, responded, claimed

    assert set(await asyncio.to_thread(work)) == {"SAY HELLO"}


# ---------------------------------------------------------------- OpenAI responses and embeddings


RESPONSES_TOOL: Any = {"type": "function", "name": "warmth", "parameters": SCHEMA, "strict": True}


async def test_openai_responses_reads_an_answer_and_a_stream(chat: openai.AsyncOpenAI) -> None:
    done = await chat.responses.create(model="auto", input="say hello", instructions="Be brief.")
    assert (done.output_text, done.status) == ("SAY HELLO", "completed")
    assert done.usage is not None and (done.usage.input_tokens, done.usage.output_tokens) == (4, 2)
    kinds, text = [], ""
    async for event in await chat.responses.create(model="auto", input="say hello", stream=True):
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
    assert (kinds[0], kinds[-1], text) == ("response.created", "response.completed", "SAY HELLO")


async def test_openai_responses_carries_a_whole_tool_conversation(chat: openai.AsyncOpenAI) -> None:
    given: list[Any] = [{"role": "user", "content": "how warm is it"}]
    async with chat.responses.stream(model="auto", input=given, tools=[RESPONSES_TOOL]) as stream:
        async for _ in stream:
            pass
        done = await stream.get_final_response()
    calls = [item for item in done.output if item.type == "function_call"]
    assert [(c.name, json.loads(c.arguments)) for c in calls] == CALLED
    given += [item.model_dump(exclude_none=True) for item in done.output]
    given += [
        {"type": "function_call_output", "call_id": c.call_id, "output": f"{d} degrees"}
        for c, d in zip(calls, (17, 25), strict=True)
    ]
    again = await chat.responses.create(model="auto", input=given, tools=[RESPONSES_TOOL])
    assert again.output_text == "25 DEGREES"


async def test_openai_responses_parses_a_schema(chat: openai.AsyncOpenAI) -> None:
    done = await chat.responses.parse(model="auto", input="as json", text_format=Warmer)
    assert done.output_parsed == Warmer(city="Rome", by=8)


async def test_openai_embeddings_pass_through() -> None:
    async with (
        FakeServer(answer) as server,
        Relay("openai", server) as relay,
        openai_client(relay) as client,
    ):
        done = await client.embeddings.create(model="e", input=["ab", "abc"], encoding_format="float")
    assert [d.embedding for d in done.data] == [[2.0, 1.0], [3.0, 1.0]] and done.usage.prompt_tokens == 2


# ---------------------------------------------------------------- Anthropic messages


CLAUDE_TOOL: Any = {"name": "warmth", "input_schema": SCHEMA}


async def test_anthropic_reads_an_answer(claude: anthropic.AsyncAnthropic) -> None:
    done = await claude.messages.create(
        model="auto", max_tokens=99, system="Be brief.", messages=[{"role": "user", "content": "say hello"}]
    )
    (block,) = done.content
    assert block.type == "text" and (block.text, done.stop_reason) == ("SAY HELLO", "end_turn")
    assert (done.usage.input_tokens, done.usage.output_tokens) == (4, 2)


async def test_anthropic_carries_a_whole_tool_conversation_in_streams(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(model="auto", max_tokens=99, messages=USER, tools=[CLAUDE_TOOL]) as stream:
        async for _ in stream:
            pass
        done = await stream.get_final_message()
    assert [b.type for b in done.content] == ["text", "tool_use", "tool_use"] and done.stop_reason == "tool_use"
    uses = [b for b in done.content if b.type == "tool_use"]
    assert [(b.name, b.input) for b in uses] == CALLED
    assert done.usage.output_tokens > 0
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": b.id, "content": f"{d} degrees"}
        for b, d in zip(uses, (17, 25), strict=True)
    ]
    history: list[Any] = [
        *USER,
        {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in done.content]},
        {"role": "user", "content": results},
    ]
    again = await claude.messages.create(model="auto", max_tokens=99, messages=history, tools=[CLAUDE_TOOL])
    assert [b.text for b in again.content if b.type == "text"] == ["25 DEGREES"]


async def test_anthropic_runs_tools_by_itself_though_nobody_here_keeps_its_threads(
    claude: anthropic.AsyncAnthropic,
) -> None:
    asked = []

    @anthropic.beta_async_tool
    async def warmth(city: str) -> str:
        """Degrees in a city.

        Args:
            city: its name.
        """
        asked.append(city)
        return f"{len(city)} degrees"

    runner = claude.beta.messages.tool_runner(model="auto", max_tokens=99, messages=USER, tools=[warmth])
    done = await runner.until_done()
    assert asked == ["Paris", "Rome"]
    assert [b.text for b in done.content if b.type == "text"] == ["4 DEGREES"]


# ---------------------------------------------------------------- errors


async def test_the_sdks_raise_their_own_errors_with_our_codes(relay: Relay) -> None:
    async with (
        openai_client(relay) as chat,
        anthropic_client(relay) as claude,
    ):
        wrong: Any = [{"role": "user", "content": 3}]
        with pytest.raises(openai.BadRequestError) as refused:
            await chat.chat.completions.create(model="auto", messages=wrong)
        assert (refused.value.code, refused.value.param) == ("wrong_type", "messages[0].content")
        with pytest.raises(openai.BadRequestError) as refused:
            await chat.responses.create(model="auto", input=wrong)
        assert (refused.value.code, refused.value.param) == ("wrong_type", "input[0].content")
        with pytest.raises(anthropic.BadRequestError) as told:
            await claude.messages.create(model="auto", max_tokens=9, messages=wrong)
        assert told.value.type == "invalid_request_error"
        assert told.value.error_code == "wrong_type"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (401, (openai.AuthenticationError, anthropic.AuthenticationError)),
        (403, (openai.PermissionDeniedError, anthropic.PermissionDeniedError)),
        (404, (openai.NotFoundError, anthropic.NotFoundError)),
        (429, (openai.RateLimitError, anthropic.RateLimitError)),
        (503, (openai.InternalServerError, anthropic.InternalServerError)),
    ],
)
async def test_a_vendors_failure_is_the_sdks_class_for_its_status(
    vendor: str, status: int, kinds: tuple[type[Exception], type[Exception]]
) -> None:
    hello: Any = [{"role": "user", "content": "hi"}]
    async with (
        FakeServer(answer, misbehave=lambda n, b: Misbehaviour(status=status)) as server,
        Relay(vendor, server) as relay,
        openai_client(relay) as chat,
        anthropic_client(relay) as claude,
    ):
        with pytest.raises(kinds[0]):
            await chat.chat.completions.create(model="auto", messages=hello)
        with pytest.raises(kinds[1]):
            await claude.messages.create(model="auto", max_tokens=9, messages=hello)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_stream_that_breaks_raises_in_every_sdk(vendor: str) -> None:
    hello: Any = [{"role": "user", "content": " ".join(["word"] * 50)}]
    async with (
        FakeServer(answer, between_s=0.001, misbehave=lambda n, b: Misbehaviour(break_after=9)) as server,
        Relay(vendor, server) as relay,
        openai_client(relay) as chat,
        anthropic_client(relay) as claude,
    ):
        with pytest.raises(openai.APIError) as broken:
            async for _ in await chat.chat.completions.create(model="auto", messages=hello, stream=True):
                pass
        assert broken.value.code == "connection_lost"
        with pytest.raises(openai.APIError) as broken:
            async for _ in await chat.responses.create(model="auto", input=hello, stream=True):
                pass
        assert broken.value.code == "connection_lost"
        with pytest.raises(anthropic.APIError) as told:
            async with claude.messages.stream(model="auto", max_tokens=99, messages=hello) as stream:
                async for _ in stream:
                    pass
        assert "connection_lost" in str(told.value.body)
