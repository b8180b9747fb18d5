from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import ConfigError, ProviderError, UnknownName
from equipoise.providers import make_provider
from equipoise.providers.border import retry_after_s
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.testing import FakeOpenAIServer, Misbehaviour
from equipoise.types import Deployment, Model
from equipoise.wire.usage import cached_tokens

MODEL = Model(name="m")
HELLO = [{"role": "user", "content": "say hello now"}]
KEY = "sk-very-secret"


def provider(url: str, **options: Any) -> OpenAICompatible:
    deployment = Deployment(
        provider="openai_compatible", base_url=url, api_key_env="THE_KEY", model_id="id-m", options=options
    )
    return OpenAICompatible(deployment, secret={"THE_KEY": KEY}.__getitem__)


async def failure(wrong: Misbehaviour, **options: Any) -> ProviderError:
    async with FakeOpenAIServer(str.upper, misbehave=lambda n, b: wrong) as server:
        caller = provider(server.base_url, **options)
        try:
            with pytest.raises(ProviderError) as caught:
                await caller.complete(MODEL, HELLO)
        finally:
            await caller.close()
        return caught.value


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAIServer]:
    async with FakeOpenAIServer(str.upper, timings=True) as running:
        yield running


async def test_a_reply_carries_usage_and_llama_cpp_compute_time(server: FakeOpenAIServer) -> None:
    caller = provider(server.base_url)
    reply = await caller.complete(MODEL, HELLO, max_tokens=5, temperature=0.0, stop=["\n"])
    await caller.close()
    assert (reply.text, reply.input_tokens, reply.output_tokens, reply.finish) == (
        "SAY HELLO NOW",
        3,
        3,
        "stop",
    )
    assert reply.compute_s == pytest.approx(0.033)
    assert reply.raw["timings"]["prompt_n"] == 3 and reply.latency_s > 0
    assert server.requests[0] == {
        "model": "id-m",
        "messages": HELLO,
        "max_tokens": 5,
        "temperature": 0.0,
        "stop": ["\n"],
    }
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_the_limit_is_sent_under_the_name_that_the_server_takes(server: FakeOpenAIServer) -> None:
    caller = provider(server.base_url, max_tokens_field="max_completion_tokens")
    await caller.complete(MODEL, HELLO, max_tokens=5)
    await caller.close()
    assert server.requests[0]["max_completion_tokens"] == 5 and "max_tokens" not in server.requests[0]


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (404, False), (429, True), (500, True), (503, True)]
)
async def test_statuses_are_mapped_once(status: int, retryable: bool) -> None:
    error = await failure(Misbehaviour(status=status))
    assert (error.status, error.retryable, error.vendor_code) == (status, retryable, "fake")


async def test_an_exhausted_quota_is_not_retryable_though_it_is_a_429() -> None:
    body = '{"error": {"message": "pay", "code": "insufficient_quota"}}'
    error = await failure(Misbehaviour(status=429, body=body))
    assert not error.retryable


async def test_retry_after_is_carried() -> None:
    error = await failure(Misbehaviour(status=429, headers=(("Retry-After", "7"),)))
    assert error.retry_after_s == 7.0


async def test_a_key_that_the_vendor_quotes_back_does_not_reach_the_message() -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}})
    error = await failure(Misbehaviour(status=401, body=body))
    assert KEY not in str(error) and "Incorrect API key" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        '{"choices": [{"mess',
        "",
        "[]",
        "null",
        '{"choices": []}',
        '{"choices": [{"message": {"content": "x"}}]}',
    ],
)
async def test_half_or_wrong_json_is_a_bad_response(body: str) -> None:
    error = await failure(Misbehaviour(body=body))
    assert (error.vendor_code, error.retryable, error.status) == ("bad_response", True, 200)


async def test_a_hanging_server_is_left_at_the_deadline() -> None:
    error = await failure(Misbehaviour(hang_s=5.0), timeout_s=0.1)
    assert (error.vendor_code, error.retryable) == ("timeout", True)


async def test_a_server_that_stops_amid_its_answer_is_left_at_the_deadline() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"choices": [')
        await reader.read()  # until the other side leaves
        writer.close()

    async with await asyncio.start_server(half, "127.0.0.1", 0) as server:
        caller = provider(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        with pytest.raises(ProviderError) as caught:
            await caller.complete(MODEL, HELLO, timeout_s=0.1)
        await caller.close()
    assert (caught.value.vendor_code, caught.value.retryable) == ("timeout", True)


async def test_a_dropped_connection_is_retryable_and_may_be_billed() -> None:
    error = await failure(Misbehaviour(drop=True))
    assert (error.vendor_code, error.retryable, error.status) == ("connection_lost", True, None)


async def test_nobody_listening_is_a_connection_error() -> None:
    caller = provider("http://127.0.0.1:9/v1")
    with pytest.raises(ProviderError) as caught:
        await caller.complete(MODEL, HELLO)
    await caller.close()
    assert (caught.value.vendor_code, caught.value.retryable) == ("connection", True)


async def test_an_answer_without_content_is_an_empty_answer() -> None:
    choice = {"message": {"content": None}, "finish_reason": "tool_calls"}
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    async with FakeOpenAIServer(str, misbehave=lambda n, b: Misbehaviour(body=body)) as server:
        caller = provider(server.base_url)
        reply = await caller.complete(MODEL, HELLO)
        await caller.close()
    assert (reply.text, reply.finish, reply.compute_s) == ("", "tool_calls", None)


NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("nan", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("1e12", 3600.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, now=NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_header_breaks_the_reader(value: str) -> None:
    seconds = retry_after_s(value, now=NOW)
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize(
    ("raw", "cached"),
    [
        ({}, 0),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 4}}}, 4),
        ({"usage": {"prompt_tokens_details": None}, "timings": {"cache_n": 3}}, 3),
    ],
)
def test_cached_tokens_come_from_usage_or_timings(raw: Mapping[str, Any], cached: int) -> None:
    assert cached_tokens(raw) == cached


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'openai_compatible'"):
        make_provider(Deployment(provider="openai_compatibel"), secret=str)


@pytest.mark.parametrize(
    ("provider_name", "options", "says"),
    [
        ("openai_compatible", {}, "no base_url"),
        ("gguf", {}, "no path"),
        ("gguf", {"path": "/no/such.gguf"}, "no such file"),
        ("gguf", {"pth": "x"}, "no option 'pth'"),
    ],
)
def test_incomplete_deployments_are_refused(provider_name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_provider(Deployment(provider=provider_name, options=options), secret=str)
