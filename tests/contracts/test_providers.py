"""What every provider keeps to, against a vendor that answers, misbehaves and keeps its own ledger."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from equipoise.contracts import Choosy, Provider, UpstreamCall
from equipoise.errors import ConfigError, ProviderError
from equipoise.providers import PROVIDERS, gguf, make_provider
from equipoise.providers.border import ErrorTable
from equipoise.providers.http import proxy_for
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.vendors import VENDORS
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.testing.servers import Misbehaving
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import FORMATS, target_format, translate_request
from tests.wire_samples import call as tool_call
from tests.wire_samples import put_together, request_in

MODEL = Model(name="m", max_output_tokens=200)
KEY = "sk-very-secret"
EVERY = sorted(PROVIDERS)
# One of each kind: a format of its own, a row of data, a worker.
KINDS = ["anthropic", "gemini", "gguf", "mistral", "openai"]
WORKER = """
import json, os, sys
settings = json.loads(sys.stdin.readline())
print(json.dumps({"url": open(settings["path"]).read()}), flush=True)
sys.stdin.read()
os._exit(0)
"""
HELLO: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "say hello now"}]}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, FakeServer], Provider]:
    """A provider whose vendor is the fake server."""

    def made(name: str, server: FakeServer, **more: Any) -> Provider:
        if name == "gguf":
            worker, model = tmp_path / "worker.py", tmp_path / "model.gguf"
            worker.write_text(WORKER)
            model.write_text(server.root_url)
            monkeypatch.setattr(gguf, "_WORKER", worker)
            monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
            return make_provider(Deployment(provider=name, options={"path": str(model)}), secret=str)
        base_url = server.root_url if name in ("anthropic", "gemini") else server.base_url
        deployment = Deployment(provider=name, base_url=base_url, api_key_env="THE_KEY", model_id="id-m", **more)
        return make_provider(deployment, secret={"THE_KEY": KEY}.__getitem__)

    return made


Make = Callable[..., Provider]


def call_of(provider: Provider, chat: Mapping[str, Any] = HELLO, **more: Any) -> UpstreamCall:
    """A chat request as a call in a format that the provider speaks."""
    kind = target_format("chat", provider.formats)
    assert kind is not None
    body = translate_request({**chat, "model": "auto"}, "chat", kind)
    return UpstreamCall(model=MODEL, deployment=Deployment(provider="p"), kind=kind, body=body, **more)


async def sent(provider: Provider, **more: Any) -> list[dict[str, Any]]:
    """A stream, read to its end, as chat chunks."""
    call = call_of(provider, stream=True, **more)
    upstream = await provider.send(call)
    decoder = FORMATS[call.kind].decoder()
    chunks = [c async for event in upstream.events() for c in decoder.feed(event)]
    await upstream.close()
    assert decoder.complete
    return chunks


async def failure(
    make: Make, name: str, misbehave: Misbehaving, *, stream: bool = False, patience_s: float = 60.0, **more: Any
) -> ProviderError:
    async with FakeServer(str.upper, misbehave=misbehave) as server:
        provider = make(name, server)
        try:
            with pytest.raises(ProviderError) as caught:
                upstream = await provider.send(call_of(provider, stream=stream, first_byte_s=patience_s, **more))
                async for _ in upstream.events() if stream else _documents(upstream):
                    pass
        finally:
            await provider.close()
        return caught.value


async def _documents(upstream: Any) -> AsyncIterator[dict[str, Any]]:
    yield await upstream.document()


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", EVERY)
async def test_every_provider_sends_and_streams_what_the_vendor_says(make: Make, name: str) -> None:
    unasked = name in VENDORS and not VENDORS[name].stream_usage
    async with FakeServer(str.upper, tells_usage=unasked) as server:
        provider = make(name, server)
        upstream = await provider.send(call := call_of(provider))
        answer = FORMATS[call.kind].answer_to_chat(await upstream.document())
        assert answer["choices"][0]["message"]["content"] == "SAY HELLO NOW"
        assert upstream.status == 200 and await upstream.read() == await upstream.read()
        await upstream.close()
        whole = put_together(await sent(provider))
        assert (whole["content"], whole["finish"], whole["usage"]) == ("SAY HELLO NOW", "stop", (3, 3))
        reply = await provider.complete(MODEL, HELLO["messages"], max_tokens=5)
        assert (reply.text, reply.input_tokens, reply.output_tokens, reply.finish) == ("SAY HELLO NOW", 3, 3, "stop")
        await provider.close()
        await provider.close()
    assert [b.output_tokens for b in server.bills] == [3, 3, 3]
    if name != "gguf":
        assert all(KEY in "".join(headers.values()) for headers in server.headers)
    if name not in ("gemini", "gguf"):
        assert {r["model"] for r in server.requests} == {"id-m"}


@pytest.mark.parametrize("name", EVERY)
async def test_every_provider_speaks_what_it_says_it_speaks(make: Make, name: str) -> None:
    async with FakeServer(str.upper) as server:
        provider = make(name, server)
        assert provider.name == name and provider.formats <= set(FORMATS)
        for kind in sorted(provider.formats):
            body = {"input": ["a b", "c"]} if kind == "embeddings" else translate_request(HELLO, "chat", kind)
            call = UpstreamCall(model=MODEL, deployment=Deployment(provider=name), kind=kind, body=body)
            upstream = await provider.send(call)
            document = await upstream.document()
            assert FORMATS[kind].finish(document) == "stop"
            assert FORMATS[kind].usage(document) is not None
        await provider.close()


@pytest.mark.parametrize("name", EVERY)
async def test_no_call_changes_the_body_that_it_was_given(make: Make, name: str) -> None:
    async with FakeServer(str.upper) as server:
        provider = make(name, server)
        chat = request_in("chat")
        chat["messages"][2] |= {"reasoning_content": "x", "thinking_blocks": []}
        call = call_of(provider, chat, stream=True, mixed=True)
        before = orjson.dumps(call.body)
        await (await provider.send(call)).close()
        assert orjson.dumps(call.body) == before
        await provider.close()


@pytest.mark.parametrize("name", [n for n in EVERY if n != "gguf"])
async def test_a_missing_key_is_told_by_its_name_and_no_retry_mends_it(name: str) -> None:
    def secret(variable: str) -> str:
        raise ConfigError(f"environment variable {variable} is not set")

    deployment = Deployment(provider=name, base_url="http://127.0.0.1:9", api_key_env="THE_KEY")
    provider = make_provider(deployment, secret=secret)
    with pytest.raises(ProviderError, match="THE_KEY") as caught:
        await provider.send(call_of(provider))
    assert (caught.value.vendor_code, caught.value.retryable) == ("no_key", False)
    with pytest.raises(ConfigError, match="THE_KEY"):
        await provider.complete(MODEL, HELLO["messages"])
    await provider.close()


@pytest.mark.parametrize("name", [n for n in VENDORS if VENDORS[n].base_url])
def test_every_vendor_is_where_its_row_says(name: str) -> None:
    parts = urlsplit(VENDORS[name].base_url or "")
    here = parts.hostname == "127.0.0.1"
    assert (parts.scheme, VENDORS[name].key_env is None) == (("http", True) if here else ("https", False))
    assert not parts.path.endswith("/")
    make_provider(Deployment(provider=name), secret=str)


def test_the_documentation_lists_every_provider_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    rows = {cells[1].strip("` "): cells for line in page.splitlines() if len(cells := line.split("|")) == 6}
    assert set(PROVIDERS) <= set(rows)
    for name, vendor in VENDORS.items():
        _, _, speaks, base_url, key, _ = rows[name]
        assert {kind.strip() for kind in speaks.split(",")} == vendor.formats
        assert base_url.strip("` ") == (vendor.base_url or "your own")
        assert key.strip("` ") == (vendor.key_env or ("none unless named" if vendor.base_url is None else "none"))


def test_the_price_catalog_knows_the_same_addresses() -> None:
    from genai_prices.data import providers

    known = {"x-ai": "xai", "moonshotai": "moonshot"}
    checked = 0
    for provider in providers:
        row = VENDORS.get(known.get(provider.id, provider.id))
        if row is not None and row.base_url is not None:
            checked += 1
            assert re.match(provider.api_pattern, row.base_url), provider.id
    assert checked >= 12


# ---------------------------------------------------------------- failures, one of each kind


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("status", "retryable"),
    [(302, False), (400, False), (401, False), (403, False), (404, False), (413, False), (422, False)]
    + [(408, True), (429, True), (500, True), (502, True), (503, True), (504, True), (529, True)],
)
async def test_statuses_are_mapped_in_the_same_way_everywhere(
    make: Make, name: str, status: int, retryable: bool
) -> None:
    wrong = Misbehaviour(status=status, body="<html>no JSON</html>", content_type="text/html")
    error = await failure(make, name, lambda n, b: wrong)
    assert (error.status, error.retryable, error.model, error.provider) == (status, retryable, "m", name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wrong", "code", "retryable"),
    [
        (Misbehaviour(drop=True), "connection_lost", True),
        (Misbehaviour(hang_s=60.0), "timeout", True),
        (Misbehaviour(body="<html>welcome</html>", content_type="text/html"), "bad_response", True),
    ],
)
async def test_what_is_no_response_is_told_apart(
    make: Make, name: str, stream: bool, wrong: Misbehaviour, code: str, retryable: bool
) -> None:
    patience_s = 0.3 if wrong.hang_s else 60.0
    error = await failure(make, name, lambda n, b: wrong, stream=stream, patience_s=patience_s)
    assert (error.vendor_code, error.retryable) == (code, retryable)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("body", ['{"choices": [{"mess', "", "[]", "null", '"x"', "\xff"])
async def test_half_a_document_is_a_bad_response(make: Make, name: str, body: str) -> None:
    error = await failure(make, name, lambda n, b: Misbehaviour(body=body))
    assert (error.vendor_code, error.retryable, error.status) == ("bad_response", True, 200)


@pytest.mark.parametrize(
    ("bound", "stream", "says"),
    [
        ("MAX_RESPONSE_BYTES", False, "response is larger than 99 bytes"),
        ("MAX_STREAM_BYTES", True, "stream is longer than 99 bytes"),
    ],
)
async def test_what_never_ends_is_cut_off(
    make: Make, monkeypatch: pytest.MonkeyPatch, bound: str, stream: bool, says: str
) -> None:
    monkeypatch.setattr(f"equipoise.providers.http.{bound}", 99)
    error = await failure(make, "openai", lambda n, b: None, stream=stream)
    assert says in str(error)
    assert (error.vendor_code, error.retryable) == ("bad_response", False)


async def test_an_event_that_never_ends_is_cut_off(make: Make) -> None:
    endless = Misbehaviour(body="data: " + "x" * (9 << 20), content_type="text/event-stream")
    error = await failure(make, "openai", lambda n, b: endless, stream=True)
    assert "event of the stream is larger" in str(error) and error.vendor_code == "bad_response"


async def test_of_an_error_that_never_ends_only_the_beginning_is_read(make: Make) -> None:
    endless = Misbehaviour(status=500, body="x" * (5 << 20))
    error = await failure(make, "openai", lambda n, b: endless)
    assert (error.status, error.vendor_code, len(str(error)) < 400) == (500, "", True)


@pytest.mark.parametrize("name", KINDS)
async def test_a_stream_that_is_reset_is_a_lost_connection(make: Make, name: str) -> None:
    error = await failure(make, name, lambda n, b: Misbehaviour(break_after=0, then="reset"), stream=True)
    assert (error.vendor_code, error.retryable) == ("connection_lost", True)


@pytest.mark.parametrize("name", KINDS)
async def test_a_stream_that_ends_without_a_word_is_never_complete(make: Make, name: str) -> None:
    async with FakeServer(str.upper, misbehave=lambda n, b: Misbehaviour(break_after=0, then="end")) as server:
        provider = make(name, server)
        call = call_of(provider, stream=True)
        upstream = await provider.send(call)
        decoder = FORMATS[call.kind].decoder()
        async for event in upstream.events():
            decoder.feed(event)
        assert not decoder.complete
        await provider.close()


@pytest.mark.parametrize("name", KINDS)
async def test_closing_a_stream_cuts_the_vendor_off_and_its_bill(make: Make, name: str) -> None:
    words = " ".join(["word"] * 500)
    async with FakeServer(lambda p: words, between_s=0.005) as server:
        provider = make(name, server)
        upstream = await provider.send(call_of(provider, stream=True))
        events = upstream.events()
        await anext(events)
        await upstream.close()
        await upstream.close()
        async with asyncio.timeout(5):
            while server.at_once:
                await asyncio.sleep(0.01)
        assert server.bills[0].output_tokens < 400
        await provider.close()


@pytest.mark.parametrize("name", KINDS)
async def test_a_cancelled_call_cuts_the_vendor_off(make: Make, name: str) -> None:
    async with FakeServer(str.upper, delay_s=30) as server:
        provider = make(name, server)
        task = asyncio.create_task(provider.send(call_of(provider)))
        async with asyncio.timeout(10):
            while not server.at_once:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while server.at_once:
                await asyncio.sleep(0.01)
        await provider.close()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("code", ["over\x1b[2Jloaded\x9b", "no such thing as this prompt", "x" * 101], ids=len)
async def test_what_is_more_than_a_word_is_no_code_of_an_error(make: Make, name: str, code: str) -> None:
    # Logs and metrics tell codes: they are to write nothing over a terminal, and quote no prompt.
    told = {"error": {"message": "no", "type": code, "status": code}}
    error = await failure(make, name, lambda n, b: Misbehaviour(status=401, body=json.dumps(told)))
    assert error.vendor_code == "" and str(error).endswith(": no")


async def test_what_a_vendor_has_for_a_code_is_its_message_where_it_has_none(make: Make) -> None:
    document = {"error": {"type": "no such thing"}}
    error = await failure(make, "openai", lambda n, b: Misbehaviour(status=400, body=json.dumps(document)))
    assert error.vendor_code == "" and str(error).endswith("no such thing")


@pytest.mark.parametrize("name", KINDS)
async def test_a_key_that_a_vendor_quotes_back_reaches_no_message(make: Make, name: str) -> None:
    quoted = {"error": {"message": f"Incorrect API key provided: {KEY}", "type": f"no-{KEY}", "status": f"no-{KEY}"}}
    wrong = Misbehaviour(status=401, body=json.dumps(quoted))
    error = await failure(make, name, lambda n, b: wrong)
    assert (KEY in str(error)) == (name == "gguf") and "Incorrect API key" in str(error)
    assert (KEY in error.vendor_code) == (name == "gguf")


async def test_a_key_that_is_none_spoils_no_code_in_which_it_stands() -> None:
    document = {"error": {"message": "no more", "code": "insufficient_quota"}}
    async with FakeServer(str.upper, misbehave=lambda n, b: Misbehaviour(429, body=json.dumps(document))) as server:
        deployment = Deployment(provider="openai", base_url=server.base_url, api_key_env="K")
        provider = make_provider(deployment, secret=lambda _: "i")
        with pytest.raises(ProviderError, match="no more") as caught:
            await provider.send(call_of(provider))
        await provider.close()
    assert (caught.value.vendor_code, caught.value.retryable) == ("insufficient_quota", False)


@pytest.mark.parametrize("name", ["anthropic", "gemini", "openai"])
async def test_nobody_listening_is_a_connection_error(name: str) -> None:
    provider = make_provider(
        Deployment(provider=name, base_url="http://127.0.0.1:9", api_key_env="K"), secret=lambda _: "k"
    )
    with pytest.raises(ProviderError) as caught:
        await provider.send(call_of(provider))
    assert (caught.value.vendor_code, caught.value.retryable) == ("connection", True)
    await provider.close()


def posting(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """The first calls fail like this, the later ones are real."""
    real, left = aiohttp.ClientSession.post, list(errors)

    async def post(*args: Any, **more: Any) -> Any:
        if left:
            raise left.pop(0)
        return await real(*args, **more)

    monkeypatch.setattr(aiohttp.ClientSession, "post", post)


CLOSED = aiohttp.ClientOSError(None, "Can not write request body")


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeServer(str.upper) as server:
        provider = make("openai", server)
        posting(monkeypatch, CLOSED)
        assert (await (await provider.send(call_of(provider))).document())["choices"]
        await provider.close()
    assert len(server.requests) == 1


async def test_a_call_that_is_given_up_while_connecting_is_known_not_to_have_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def connect(*_: Any) -> Any:
        await asyncio.Event().wait()

    async with FakeServer(str.upper, misbehave=lambda n, b: Misbehaviour(hang_s=60.0)) as server:
        place = Deployment(provider="openai_compatible", base_url=server.base_url)
        provider = make_provider(place, secret=str)

        async def given_up() -> bool | None:
            call = call_of(provider)
            assert call.sent.begun is None
            sending = asyncio.create_task(provider.send(call))
            await asyncio.sleep(0.1)
            sending.cancel()
            await asyncio.wait([sending])
            return call.sent.begun

        assert await given_up() is True
        monkeypatch.setattr("equipoise.providers.http._Connector.connect", connect)
        assert await given_up() is False
        await provider.close()


class Writing(OpenAICompatible):
    """Its bodies are never written, until ``end`` is set."""

    def __init__(self, place: Deployment) -> None:
        super().__init__(place, secret=str)
        self.begun, self.end = threading.Event(), threading.Event()

    def fit(self, call: UpstreamCall) -> dict[str, Any]:
        self.begun.set()
        self.end.wait()
        return call.body


async def test_a_large_call_that_is_given_up_while_it_is_written_is_known_not_to_have_left() -> None:
    provider = Writing(Deployment(provider="openai_compatible", base_url="http://127.0.0.1:9/v1"))
    call = UpstreamCall(model=MODEL, deployment=provider.deployment, kind="chat", body=HELLO, size=1 << 20)
    sending = asyncio.create_task(provider.send(call))
    try:
        await asyncio.to_thread(provider.begun.wait)
        sending.cancel()
        await asyncio.wait([sending])
    finally:
        provider.end.set()
    assert call.sent.begun is False


async def test_what_comes_unasked_on_a_kept_connection_is_never_the_answer_to_the_next_request() -> None:
    def response(said: str) -> bytes:
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        body = orjson.dumps({"id": "c", "choices": [choice]})
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))
        writer.write(response("asked"))
        await asyncio.sleep(0.02)
        writer.write(response("unasked"))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(twice, "127.0.0.1", 0) as server:
        place = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        provider = make_provider(Deployment(provider="openai_compatible", base_url=place), secret=str)
        for _ in range(3):
            document = await (await provider.send(call_of(provider))).document()
            assert document["choices"][0]["message"]["content"] == "asked"
            await asyncio.sleep(0.06)
        await provider.close()


@pytest.mark.parametrize(
    ("errors", "code", "retryable"),
    [
        ((CLOSED, CLOSED), "connection_lost", True),
        ((aiohttp.ClientOSError(104, "reset by peer"),), "connection_lost", True),
        ((aiohttp.ServerDisconnectedError(),), "connection_lost", True),
        ((aiohttp.ConnectionTimeoutError(),), "connection", True),
        ((aiohttp.ClientConnectorCertificateError(None, ValueError("expired")),), "connection", False),  # type: ignore[arg-type]
        ((aiohttp.ClientConnectorError(None, OSError(111, "refused")),), "connection", True),  # type: ignore[arg-type]
    ],
)
async def test_what_may_have_reached_the_vendor_is_told_from_what_has_not(
    make: Make, monkeypatch: pytest.MonkeyPatch, errors: tuple[Exception, ...], code: str, retryable: bool
) -> None:
    async with FakeServer(str.upper) as server:
        provider = make("openai", server)
        posting(monkeypatch, *errors)
        with pytest.raises(ProviderError) as caught:
            await provider.send(call_of(provider))
        await provider.close()
    assert (caught.value.vendor_code, caught.value.retryable) == (code, retryable)
    assert server.requests == []


async def test_a_proxy_of_the_environment_is_used_for_the_world_and_not_for_this_machine(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine vendor.invalid login me password mine")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with FakeServer(str.upper) as server:
        monkeypatch.setenv("http_proxy", server.root_url)
        monkeypatch.setenv("no_proxy", "near.invalid")
        world = Deployment(provider="openai", base_url="http://vendor.invalid/v1", api_key_env="K")
        far = make_provider(world, secret=lambda _: "k")
        assert (await (await far.send(call_of(far))).document())["choices"]
        assert (server.headers[0]["Host"], server.headers[0]["Authorization"]) == ("vendor.invalid", "Bearer k")
        assert proxy_for("http", "near.invalid") is None
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        here = make("openai", server)
        assert (await (await here.send(call_of(here))).document())["choices"]
        for provider in (far, here):
            await provider.close()


@pytest.mark.parametrize("proxy", ["proxy.invalid:3128", "socks5://me:pw@127.0.0.1", "http://me:pw@a..b", "http://"])
def test_a_proxy_of_the_environment_that_cannot_be_used_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConfigError, match=r"https_proxy names is no URL.*list vendor\.invalid in no_proxy") as caught:
        make_provider(Deployment(provider="openai", base_url="https://vendor.invalid/v1"), secret=str)
    assert "pw" not in str(caught.value)
    make_provider(Deployment(provider="openai", base_url="http://127.0.0.1:9/v1"), secret=str)


# ---------------------------------------------------------------- the vendors' own errors


GEMINI_MINUTE = {
    "error": {
        "code": 429,
        "message": "slow down",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerMinute"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "46.5s"},
        ],
    }
}
GEMINI_DAY = json.loads(json.dumps(GEMINI_MINUTE).replace("PerMinute", "PerDayPerProject"))
GEMINI_KEY = {
    "error": {
        "code": 400,
        "message": "API key not valid.",
        "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
    }
}
SPENT = {"type": "rate_limit_error", "message": "m", "details": {"error_code": "enforced_spend_limit_reached"}}
REPORTED: list[tuple[str, int, Any, str, bool, float | None]] = [
    ("openai", 429, {"error": {"message": "m", "code": "rate_limit_exceeded"}}, "rate_limit_exceeded", True, None),
    ("openai", 429, {"error": {"message": "m", "code": "insufficient_quota"}}, "insufficient_quota", False, None),
    (
        "openai",
        400,
        {"error": {"message": "m", "code": "context_length_exceeded"}},
        "context_length_exceeded",
        False,
        None,
    ),
    ("openai", 500, {"error": "plain words"}, "", True, None),
    ("mistral", 422, {"object": "error", "message": "m", "type": "invalid", "code": "1000"}, "1000", False, None),
    ("openrouter", 402, {"error": {"code": 402, "message": "m"}}, "402", False, None),
    ("openai_compatible", 400, [{"error": {"code": 400, "message": "m"}}], "400", False, None),
    (
        "anthropic",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
        "overloaded_error",
        True,
        None,
    ),
    ("anthropic", 429, {"type": "error", "error": SPENT}, "enforced_spend_limit_reached", False, None),
    (
        "anthropic",
        402,
        {"type": "error", "error": {"type": "billing_error", "message": "m"}},
        "billing_error",
        False,
        None,
    ),
    ("gemini", 429, GEMINI_MINUTE, "RESOURCE_EXHAUSTED", True, 46.5),
    ("gemini", 429, GEMINI_DAY, "QUOTA_PER_DAY", False, 46.5),
    ("gemini", 503, {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}, "UNAVAILABLE", True, None),
    (
        "gemini",
        400,
        {"error": {"code": 400, "message": "m", "status": "FAILED_PRECONDITION"}},
        "FAILED_PRECONDITION",
        False,
        None,
    ),
]


@pytest.mark.parametrize(("name", "status", "document", "code", "retryable", "wait_s"), REPORTED)
async def test_a_vendors_error_is_read_by_its_code(
    make: Make, name: str, status: int, document: Any, code: str, retryable: bool, wait_s: float | None
) -> None:
    wrong = Misbehaviour(status=status, body=json.dumps(document))
    error = await failure(make, name, lambda n, b: wrong)
    assert (error.status, error.vendor_code, error.retryable, error.retry_after_s) == (status, code, retryable, wait_s)


async def test_a_wrong_key_of_geminis_is_no_fault_of_the_request(make: Make) -> None:
    error = await failure(make, "gemini", lambda n, b: Misbehaviour(status=400, body=json.dumps(GEMINI_KEY)))
    assert (error.status, error.vendor_code, error.retryable) == (401, "API_KEY_INVALID", False)


IN_STREAM: list[tuple[str, str, int | None, bool]] = [
    ("openai", 'data: {"error": {"message": "m", "type": "server_error", "code": null}}\n\n', 500, True),
    ("openai", 'data: {"error": {"message": "m", "code": "insufficient_quota"}}\n\n', 429, False),
    ("openrouter", 'data: {"error": {"code": 502, "message": "m"}, "choices": []}\n\n', 502, True),
    ("openai", 'event: error\ndata: {"type":"error","code":"server_error","message":"m"}\n\n', 500, True),
    (
        "openai",
        'data: {"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}\n\n',
        429,
        True,
    ),
    (
        "anthropic",
        'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        529,
        True,
    ),
    (
        "anthropic",
        'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error","message":"m"}}\n\n',
        400,
        False,
    ),
    ("gemini", 'data: {"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}\n\n', 503, True),
    ("groq", 'data: {"error": {"message": "who knows"}}\n\n', None, True),
]


@pytest.mark.parametrize(("name", "raw", "status", "retryable"), IN_STREAM)
async def test_an_error_inside_a_stream_is_the_same_error(
    make: Make, name: str, raw: str, status: int | None, retryable: bool
) -> None:
    wrong = Misbehaviour(body=raw, content_type="text/event-stream")
    error = await failure(make, name, lambda n, b: wrong, stream=True)
    assert (error.status, error.retryable) == (status, retryable)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "document", "status", "code"),
    [
        ("openrouter", {"error": {"code": 429, "message": "slow down"}}, 429, "429"),
        ("openai", {"error": {"code": "server_error", "message": "m"}, "choices": []}, 500, "server_error"),
        (
            "anthropic",
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            529,
            "overloaded_error",
        ),
        ("gemini", GEMINI_MINUTE, 429, "RESOURCE_EXHAUSTED"),
        ("groq", {"error": "who knows"}, None, ""),
    ],
)
async def test_an_error_instead_of_an_answer_is_the_same_error_whatever_the_status_line_says(
    make: Make, name: str, document: dict[str, Any], status: int | None, code: str, stream: bool
) -> None:
    error = await failure(make, name, lambda n, b: Misbehaviour(body=json.dumps(document)), stream=stream)
    assert (error.status, error.vendor_code, error.retryable) == (status, code, True)


async def test_the_word_error_in_an_answer_is_not_an_error(make: Make) -> None:
    async with FakeServer(lambda p: '{"error": {"message": "said the model"}, "type": "error"}') as server:
        for name in ("openai", "anthropic", "gemini"):
            provider = make(name, server)
            assert "said the model" in put_together(await sent(provider))["content"]
            assert b"said the model" in await (await provider.send(call_of(provider))).read()
            await provider.close()


@pytest.mark.parametrize("translated", [False, True])
async def test_the_field_that_a_vendor_finds_wrong_is_told_to_clients_of_its_format(
    make: Make, translated: bool
) -> None:
    document = {"error": {"message": "m", "code": "invalid_value", "param": "tools[0].function.name"}}
    wrong = Misbehaviour(status=400, body=json.dumps(document))
    error = await failure(make, "openai", lambda n, b: wrong, translated=translated)
    assert error.param == (None if translated else "tools[0].function.name")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ((("Retry-After", "7"),), 7.0),
        ((("retry-after-ms", "1500"), ("Retry-After", "2")), 1.5),
        ((("retry-after-ms", "60000"),), 60.0),
        ((("Retry-After", "Fri, 31 Dec 2027 23:59:59 +99999999999999"),), None),
        ((("Retry-After", "1e9"),), 3600.0),
        ((), None),
        ((("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m30.5s"), ("Retry-After", "2")), 2.0),
        ((("x-ratelimit-remaining-requests", "3"), ("x-ratelimit-reset-requests", "6m0s")), None),
        ((("x-ratelimit-remaining-requests", "0"),), None),
        ((("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "soon")), None),
        (
            (("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "120ms"))
            + (("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m30.5s")),
            90.5,
        ),
        (
            (
                ("anthropic-ratelimit-tokens-remaining", "0"),
                ("anthropic-ratelimit-tokens-reset", "2019-01-01T00:00:00Z"),
            ),
            0,
        ),
        (
            (
                ("anthropic-ratelimit-tokens-remaining", "0"),
                ("anthropic-ratelimit-tokens-reset", "9019-01-01T00:00:00Z"),
            ),
            3600,
        ),
        ((("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "44")), 44.0),
        ((("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "9999999999")), 3600.0),
        ((("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1000000000000")), 0.0),
    ],
)
async def test_the_wait_that_a_vendor_asks_for_is_carried(
    make: Make, headers: tuple[tuple[str, str], ...], wait_s: float | None
) -> None:
    error = await failure(make, "anthropic", lambda n, b: Misbehaviour(status=429, headers=headers))
    assert error.retry_after_s == wait_s


def test_every_vendor_reads_errors_by_a_table() -> None:
    tables = {id(v.errors): v.errors for v in VENDORS.values()}
    for table in tables.values():
        assert isinstance(table, ErrorTable) and table.final and set(table.statuses.values()) <= set(range(400, 600))


# ---------------------------------------------------------------- what each vendor is sent


async def request_to(make: Make, name: str, call: Callable[[Provider], UpstreamCall]) -> dict[str, Any]:
    async with FakeServer(lambda p: "x") as server:
        provider = make(name, server)
        await (await provider.send(call(provider))).close()
        await provider.close()
        return server.requests[0]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("openai", "max_completion_tokens"),
        ("groq", "max_completion_tokens"),
        ("mistral", "max_tokens"),
        ("vllm", "max_tokens"),
    ],
)
@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_goes_by_the_vendors_name_and_within_the_models_limit(
    make: Make, name: str, field: str, given: str
) -> None:
    body = await request_to(make, name, lambda p: call_of(p, {**HELLO, given: 5000}))
    assert {k: v for k, v in body.items() if k.startswith("max")} == {field: 200}


async def test_hints_that_a_strict_vendor_would_refuse_are_left_out(make: Make) -> None:
    chat = {**HELLO, "store": True, "user": "u", "seed": 3, "temperature": 0.2, "prompt_cache_key": "k"}
    strict = await request_to(make, "mistral", lambda p: call_of(p, chat, stream=True))
    assert strict == {
        "model": "id-m",
        "messages": HELLO["messages"],
        "stream": True,
        "random_seed": 3,
        "temperature": 0.2,
    }
    open_minded = await request_to(make, "openai", lambda p: call_of(p, chat, stream=True))
    assert {k: open_minded[k] for k in chat if k != "model"} == {k: v for k, v in chat.items() if k != "model"}
    assert open_minded["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("name", "stub"), [("deepseek", ""), ("moonshot", " "), ("zai", None)])
async def test_models_that_demand_their_reasoning_beside_tools_take_over_from_others(
    make: Make, name: str, stub: str | None
) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [tool_call("a", "f", "{}")]}
    thought = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    user = HELLO["messages"][0]
    tools = [user, called, {"role": "tool", "tool_call_id": "a", "content": "r"}, thought, user]
    for messages, mixed, told in (
        (tools, False, [stub, "hm"]),
        (tools, True, [stub, stub]),
        ([user, thought, {"role": "assistant", "content": "y"}, user], True, [None, None]),
    ):
        chat = {"model": "auto", "messages": messages}
        sent = await request_to(make, name, lambda p, chat=chat, mixed=mixed: call_of(p, chat, mixed=mixed))
        assert [m.get("reasoning_content") for m in sent["messages"] if m["role"] == "assistant"] == told


@pytest.mark.parametrize(("name", "named"), [("mistral", False), ("groq", False), ("openai", True)])
async def test_who_speaks_is_named_where_that_is_known(make: Make, name: str, named: bool) -> None:
    result = {"role": "tool", "tool_call_id": "abcdefghi", "name": "f", "content": "r"}
    called = {"role": "assistant", "content": None, "tool_calls": [tool_call("abcdefghi", "f", "{}")]}
    said = {"role": "user", "name": "bob", "content": "q"}
    sent = await request_to(make, name, lambda p: call_of(p, {"model": "auto", "messages": [said, called, result]}))
    assert [m.get("name") for m in sent["messages"]] == ["bob" if named else None, None, "f"]


@pytest.mark.parametrize("name", ["openai", "groq", "openai_compatible"])
async def test_what_a_client_notes_in_its_messages_goes_to_no_vendor(make: Make, name: str) -> None:
    """As Copilot does where it resumes a session."""
    called = {"role": "assistant", "content": None, "tool_calls": [tool_call("a", "view", "{}")]}
    result = {"role": "tool", "tool_call_id": "a", "content": "alpha = 1"}
    messages = [{"role": "user", "content": "q"}, called, {**result, "__copilotMessageSource": {"kind": "tool"}}]
    sent = await request_to(make, name, lambda p: call_of(p, {"model": "auto", "messages": messages}))
    assert sent["messages"][2] == result


async def test_that_no_log_probabilities_are_wanted_is_not_said_to_strict_vendors(make: Make) -> None:
    for name, wanted, kept in (("groq", False, False), ("groq", True, True), ("openai", False, True)):
        chat = {**HELLO, "logprobs": wanted, "top_logprobs": 2 if wanted else None}
        sent = await request_to(make, name, lambda p, chat=chat: call_of(p, chat))
        assert ("logprobs" in sent, "top_logprobs" in sent) == (kept, kept)


NOTHING = {"parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(("tools", "kept"), [([], False), ([{"type": "function", "function": {"name": "f"}}], True)])
async def test_a_list_of_no_tools_is_left_out_with_how_to_choose_among_them(
    make: Make, tools: list[dict[str, Any]], kept: bool
) -> None:
    """As LangChain's agents without tools send it."""
    choosing = {"tools": tools, "tool_choice": "auto", "parallel_tool_calls": True}
    for name in ("openai", "vllm"):
        sent = await request_to(make, name, lambda p: call_of(p, {**HELLO, **choosing}))
        assert sent.keys() & choosing.keys() == (choosing.keys() if kept else set())


@pytest.mark.parametrize("parameters", [{}, {"parameters": None}])
async def test_a_function_that_takes_nothing_says_so_to_all_but_openai(make: Make, parameters: dict[str, None]) -> None:
    """Qwen Code and others leave it out, which Mistral, llama.cpp and more refuse."""
    tool = {"type": "function", "function": {"name": "f", "strict": True, **parameters}}
    for name, said in (("openai", parameters), ("mistral", NOTHING), ("llamacpp", NOTHING), ("vllm", NOTHING)):
        sent = await request_to(make, name, lambda p: call_of(p, {**HELLO, "tools": [tool]}))
        assert sent["tools"] == [{"type": "function", "function": {"name": "f", "strict": True, **said}}]


async def test_xais_models_are_told_of_no_penalties(make: Make) -> None:
    asked = {**HELLO, "presence_penalty": 0.0, "frequency_penalty": 0.1, "temperature": 0.2}
    sent = await request_to(make, "xai", lambda p: call_of(p, asked))
    assert sent == {"model": "id-m", "messages": HELLO["messages"], "temperature": 0.2}


async def test_unknown_fields_of_a_client_pass_through(make: Make) -> None:
    body = await request_to(make, "openai_compatible", lambda p: call_of(p, {**HELLO, "top_k": 4, "x_new": {"a": [1]}}))
    assert (body["top_k"], body["x_new"]) == (4, {"a": [1]})


async def test_anthropic_gets_its_headers_a_limit_and_what_the_client_says_to_it(make: Make) -> None:
    said = {"anthropic-beta": "context-management-2025-06-27", "anthropic-user-profile-id": "uprof_1"}
    async with FakeServer(lambda p: "x") as server:
        provider = make("anthropic", server)
        headers = {**said, "cookie": "secret", "authorization": "mine", "anthropic-workspace-id": "wrkspc_1"}
        await (await provider.send(call_of(provider, headers=headers))).close()
        await provider.close()
    assert server.requests[0]["max_tokens"] == 200
    sent_headers = {k.lower(): v for k, v in server.headers[0].items()}
    assert (sent_headers["x-api-key"], sent_headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert sent_headers.items() >= said.items()
    assert not {"authorization", "cookie", "anthropic-workspace-id"} & sent_headers.keys()


@pytest.mark.parametrize(
    ("model_id", "sent"),
    [
        ("claude-opus-4-7", False),
        ("claude-sonnet-5", False),
        ("claude-haiku-5-5", False),
        ("claude-mythos-preview", False),
        ("claude-opus-4-6", True),
        ("claude-opus-4-20250514", True),
        ("claude-3-7-sonnet-latest", True),
        ("my-own", True),
    ],
)
async def test_claudes_that_refuse_to_be_told_how_to_sample_are_not_told(model_id: str, sent: bool) -> None:
    async with FakeServer(lambda p: "x") as server:
        provider = make_provider(
            Deployment(provider="anthropic", base_url=server.root_url, model_id=model_id), secret=lambda _: "k"
        )
        await (await provider.send(call_of(provider, {**HELLO, "temperature": 0.2}))).close()
        await provider.close()
    assert ("temperature" in server.requests[0]) is sent


async def fitted(name: str, model_id: str, body: dict[str, Any], kind: WireFormat, **more: Any) -> dict[str, Any]:
    """What a vendor is sent for a model of that id."""
    async with FakeServer(lambda p: "x") as server:
        base_url = server.root_url if name in ("anthropic", "gemini") else server.base_url
        deployment = Deployment(provider=name, base_url=base_url, model_id=model_id)
        provider = make_provider(deployment, secret=lambda _: "k")
        call = UpstreamCall(model=Model(name="m"), deployment=deployment, kind=kind, body=body, **more)
        await (await provider.send(call)).close()
        await provider.close()
        return server.requests[0]


CLAUDE_ASKED = {
    "max_tokens": 9000,
    "messages": HELLO["messages"],
    "thinking": {"type": "enabled", "budget_tokens": 8000, "display": "summarized"},
    "output_config": {"effort": "xhigh"},
}


@pytest.mark.parametrize(
    ("model_id", "asked", "thinking", "effort"),
    [
        ("claude-opus-4-8", "enabled", "adaptive", "xhigh"),
        ("claude-sonnet-5", "adaptive", "adaptive", "xhigh"),
        ("claude-opus-4-6", "enabled", "enabled", "high"),
        ("claude-sonnet-4-6", "adaptive", "adaptive", "high"),
        ("claude-opus-4-5-20251101", "enabled", "enabled", "high"),
        ("claude-haiku-4-5", "enabled", "enabled", None),
        ("claude-sonnet-4-20250514", "adaptive", None, None),
        ("my-own", "adaptive", "adaptive", "xhigh"),
    ],
)
async def test_claudes_are_asked_to_think_in_the_way_that_they_take(
    model_id: str, asked: str, thinking: str | None, effort: str | None
) -> None:
    wish = {**CLAUDE_ASKED["thinking"], "type": asked} if asked == "enabled" else {"type": asked}
    sent = await fitted("anthropic", model_id, {**CLAUDE_ASKED, "thinking": wish}, "messages")
    assert sent.get("thinking", {}).get("type") == thinking
    assert sent.get("output_config", {}).get("effort") == effort
    if asked == "enabled" and thinking == "adaptive":
        assert sent["thinking"] == {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(("model_id", "goes_on"), [("gemini-3.6-flash", False), ("gemini-2.5-flash", True)])
async def test_geminis_that_refuse_to_go_on_from_a_begun_answer_are_asked_to(model_id: str, goes_on: bool) -> None:
    chat = {**HELLO, "messages": [*HELLO["messages"], {"role": "assistant", "content": "The answer is ("}]}
    sent = await fitted("gemini", model_id, translate_request(chat, "chat", "gemini"), "gemini", translated=True)
    assert [c["role"] for c in sent["contents"]] == ["user", "model", *([] if goes_on else ["user"])]
    sent = await fitted("gemini", model_id, translate_request(HELLO, "chat", "gemini"), "gemini", translated=True)
    assert len(sent["contents"]) == 1


@pytest.mark.parametrize(("name", "model_id"), [("deepseek", "deepseek-v4-pro"), ("moonshot", "kimi-k2.6")])
async def test_models_that_cannot_think_where_they_are_made_to_call_a_tool_do_not(name: str, model_id: str) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    off = {"type": "disabled"}
    asked: dict[str, Any] = {**HELLO, "tools": tools}
    for choice, thinking in (("required", off), (tools[0], off), ("auto", None), ("none", None), (None, None)):
        sent = await fitted(name, model_id, {**asked, "tool_choice": choice}, "chat")
        assert sent.get("thinking") == thinking
    own = {**asked, "tool_choice": "required", "thinking": {"type": "enabled"}}
    assert (await fitted(name, model_id, own, "chat"))["thinking"] == {"type": "enabled"}
    for other, unknown in (("vllm", model_id), ("moonshot", "kimi-k3")):
        assert "thinking" not in await fitted(other, unknown, {**asked, "tool_choice": "required"}, "chat")


@pytest.mark.parametrize(("model_id", "most"), [("gemini-3.1-flash-lite", 1), ("gemini-2.5-flash", 2), ("my-own", 2)])
async def test_geminis_that_give_one_answer_are_not_asked_for_several(model_id: str, most: int) -> None:
    provider = make_provider(Deployment(provider="gemini", model_id=model_id), secret=lambda _: "k")
    assert isinstance(provider, Choosy)
    for n in (1, 2):
        assert bool(provider.speaks(Model(name="m"), {**HELLO, "n": n})) is (n <= most)
    if most == 1:
        with pytest.raises(ProviderError, match="ask for one") as caught:
            await provider.complete(Model(name="m"), HELLO["messages"], n=2)
        assert (caught.value.vendor_code, caught.value.retryable) == ("unsupported_by_format", False)
    await provider.close()


async def test_kimis_are_not_told_how_to_sample() -> None:
    sent = await fitted("moonshot", "kimi-k3", {**HELLO, "temperature": 0.2, "top_p": 0.5, "seed": 1}, "chat")
    assert sent.keys() == {"model", "messages", "seed"}


@pytest.mark.parametrize(("model_id", "takes"), [("claude-opus-4-6", False), ("claude-sonnet-4-5", True)])
@pytest.mark.parametrize("content", ["{", [{"type": "text", "text": "{"}]])
async def test_a_begun_answer_is_gone_on_from_also_by_claudes_that_refuse_one(
    model_id: str, takes: bool, content: Any
) -> None:
    messages = [*HELLO["messages"], {"role": "assistant", "content": content}]
    sent = await fitted("anthropic", model_id, {"max_tokens": 9, "messages": messages}, "messages")
    assert sent["messages"][:2] == messages
    assert [m["role"] for m in sent["messages"][2:]] == ([] if takes else ["user"])
    paused = [*HELLO["messages"], {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]
    sent = await fitted("anthropic", model_id, {"max_tokens": 9, "messages": paused}, "messages")
    assert sent["messages"] == paused


@pytest.mark.parametrize("model_id", ["claude-sonnet-4-5", "claude-opus-5-5"])
async def test_an_answer_of_no_words_is_no_begun_one(model_id: str) -> None:
    """LangChain's agents send it back and ask again."""
    messages = [*HELLO["messages"], {"role": "assistant", "content": []}]
    sent = await fitted("anthropic", model_id, {"max_tokens": 9, "messages": messages}, "messages")
    assert sent["messages"] == HELLO["messages"]


# As Claude Code asks a model whose name it does not know.
CODES = {
    "max_tokens": 9000,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "q"},
        {"role": "system", "content": [{"type": "text", "text": "Skills.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
        {"role": "system", "content": "Be quick."},
        {"role": "system", "content": [], "output_config": {"effort": "low"}},
    ],
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
}
REMINDED = ["<system-reminder>\nSkills.\n</system-reminder>", "<system-reminder>\nBe quick.\n</system-reminder>"]


@pytest.mark.parametrize(
    ("model_id", "takes_system", "thinks"),
    [
        ("claude-opus-4-8", True, True),
        ("claude-sonnet-5", True, True),
        ("my-own", True, True),
        ("claude-mythos-preview", False, True),
        ("claude-opus-4-7", False, True),
        ("claude-sonnet-4-5", False, False),
        ("anthropic.claude-haiku-4-5-v1:0", False, False),
    ],
)
async def test_claude_code_that_does_not_know_the_model_is_understood_by_every_claude(
    model_id: str, takes_system: bool, thinks: bool
) -> None:
    sent = await fitted("anthropic", model_id, CODES, "messages")
    assert ("thinking" in sent, "context_management" in sent) == (thinks, thinks)
    if takes_system:
        assert sent["messages"] == CODES["messages"]
        return
    assert [m["role"] for m in sent["messages"]] == ["user", "user", "assistant", "user", "user"]
    block = {**CODES["messages"][1]["content"][0], "text": REMINDED[0]}
    assert [sent["messages"][i] for i in (1, 4)] == [
        {"role": "user", "content": [block]},
        {"role": "user", "content": REMINDED[1]},
    ]


@pytest.mark.parametrize(
    ("model_id", "thinking", "effort"),
    [
        ("claude-opus-5-5", None, "low"),
        ("claude-fable-5", None, "low"),
        ("claude-sonnet-5-5", "between_tools", None),
        ("claude-haiku-5-5", "disabled", None),
        ("claude-opus-5-20260724", "disabled", None),
        ("claude-opus-4-6", "disabled", None),
        ("claude-sonnet-4-5", None, None),
        ("my-own", None, None),
    ],
)
async def test_claudes_that_are_not_to_think_are_told_so_in_the_way_that_they_take(
    model_id: str, thinking: str | None, effort: str | None
) -> None:
    asked = translate_request({**HELLO, "max_tokens": 9, "reasoning_effort": "none"}, "chat", "messages")
    told = [await fitted("anthropic", model_id, asked, "messages", translated=True)]
    if model_id != "my-own":
        for kind in ("disabled", "between_tools"):
            body = {"max_tokens": 9, "messages": HELLO["messages"], "thinking": {"type": kind}}
            told.append(await fitted("anthropic", model_id, body, "messages"))
    for sent in told:
        assert sent.get("thinking") == (thinking and {"type": thinking})
        assert sent.get("output_config") == (effort and {"effort": effort})


@pytest.mark.parametrize(
    ("model_id", "forced"),
    [
        ("claude-opus-5-5", False),
        ("claude-sonnet-5-5-20260928", False),
        ("claude-fable-5-1", False),
        ("claude-fable-5-20260609", True),
        ("claude-haiku-5-5", True),
        ("claude-opus-5", True),
        ("claude-sonnet-4-5", True),
    ],
)
async def test_claudes_that_cannot_be_made_to_call_a_tool_are_asked_to(model_id: str, forced: bool) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    for choice, kind in ((tools[0], "tool"), ("required", "any")):
        chat = {**HELLO, "max_tokens": 9, "tools": tools, "tool_choice": choice, "parallel_tool_calls": False}
        body = translate_request(chat, "chat", "messages")
        sent = await fitted("anthropic", model_id, body, "messages", translated=True)
        free = {"type": "auto", "disable_parallel_tool_use": True}
        assert sent["tool_choice"] == (body["tool_choice"] if forced else free)
        assert body["tool_choice"]["type"] == kind and ("system" in sent) is not forced
        own = await fitted("anthropic", model_id, body, "messages")
        assert own["tool_choice"] == sent["tool_choice"] and "system" not in own


@pytest.mark.parametrize(("model_id", "bound"), [("claude-opus-5-5", True), ("claude-opus-5", False)])
async def test_thinking_that_chat_cannot_give_back_in_its_place_is_not_given_to_claudes_that_would_refuse_it(
    model_id: str, bound: bool
) -> None:
    thought = {"type": "thinking", "thinking": "t", "signature": "c2ln"}
    answer = {"role": "assistant", "content": "a", "thinking_blocks": [thought]}
    chat = {"model": "m", "max_tokens": 9, "messages": [*HELLO["messages"], answer, *HELLO["messages"]]}
    body = translate_request(chat, "chat", "messages")
    sent = await fitted("anthropic", model_id, body, "messages", translated=True)
    assert [b["type"] for b in sent["messages"][1]["content"]] == (["text"] if bound else ["thinking", "text"])
    sent = await fitted("anthropic", model_id, body, "messages")
    assert sent["messages"][1]["content"][0] == thought


async def test_system_prompts_that_the_user_cannot_say_stay_and_those_of_one_turn_end_with_it() -> None:
    for_once = {"role": "system", "content": "Skills.", "clear_at": "next_user_message"}
    removal = [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "Read"}}]
    removed = {"role": "system", "content": removal}
    messages = [{"role": "user", "content": "q"}, for_once, {"role": "user", "content": "r"}, removed]
    sent = await fitted("anthropic", "claude-sonnet-4-5", {"max_tokens": 9, "messages": messages}, "messages")
    assert sent["messages"] == [messages[0], *messages[2:]]
    sent = await fitted("anthropic", "claude-opus-4-8", {"max_tokens": 9, "messages": messages}, "messages")
    assert sent["messages"] == messages


async def test_edits_of_a_context_that_is_not_thought_stay() -> None:
    edits = [{"type": "clear_tool_uses_20250919"}, *CODES["context_management"]["edits"]]
    sent = await fitted("anthropic", "claude-sonnet-4-5", {**CODES, "context_management": {"edits": edits}}, "messages")
    assert sent["context_management"] == {"edits": edits[:1]}


@pytest.mark.parametrize(("name", "takes_system"), [("openai", True), ("vllm", False), ("mistral", False)])
async def test_a_system_prompt_amid_a_translated_conversation_is_the_users_where_it_may_be_refused(
    make: Make, name: str, takes_system: bool
) -> None:
    chat = translate_request({**CODES, "model": "m"}, "messages", "chat")
    sent = await request_to(make, name, lambda p: call_of(p, chat, translated=True))
    said = [m for m in sent["messages"] if "Be quick." in str(m["content"])]
    assert [(m["role"], m["content"]) for m in said] == [
        ("system", "Be quick.") if takes_system else ("user", REMINDED[1])
    ]
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}


SAMPLED = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.1, "logit_bias": {"1": 1}}


@pytest.mark.parametrize(
    ("model_id", "effort", "samples", "kept"),
    [
        ("gpt-4o-mini", "low", True, None),
        ("gpt-5-chat-latest", "low", True, None),
        ("o4-mini", None, False, None),
        ("gpt-5-mini", "low", False, "low"),
        ("gpt-5.2", None, True, None),
        ("gpt-5.2", "none", True, "none"),
        ("gpt-5.2-2025-12-11", "high", False, "high"),
        ("gpt-5.2-codex", None, False, None),
        ("gpt-5.6", None, False, None),
        ("my-deployment", "low", True, "low"),
    ],
)
@pytest.mark.parametrize("name", ["openai", "azure"])
async def test_openais_models_are_not_told_what_they_refuse_to_be_told(
    name: str, model_id: str, effort: str | None, samples: bool, kept: str | None
) -> None:
    chat = {"messages": HELLO["messages"], **SAMPLED} | ({"reasoning_effort": effort} if effort else {})
    sent = await fitted(name, model_id, chat, "chat")
    assert {k: v for k, v in sent.items() if k in SAMPLED} == (SAMPLED if samples else {})
    assert sent.get("reasoning_effort") == kept
    body = {"input": "hi", "temperature": 0.2, "include": ["reasoning.encrypted_content"]}
    sent = await fitted(name, model_id, body | ({"reasoning": {"effort": effort}} if effort else {}), "responses")
    assert ("temperature" in sent) is samples and sent.get("reasoning", {}).get("effort") == kept
    assert sent["include"] == ([] if model_id in ("gpt-4o-mini", "gpt-5-chat-latest") else body["include"])


@pytest.mark.parametrize(
    ("model_id", "asked", "told"),
    [
        ("o4-mini", ("none", "minimal", "xhigh"), ("low", "low", "high")),
        ("gpt-5-mini-2025-08-07", ("none", "minimal", "max"), ("minimal", "minimal", "high")),
        ("gpt-5.1", ("none", "minimal", "xhigh"), ("none", "low", "high")),
        ("gpt-5.4-nano", ("minimal", "xhigh", "max"), ("low", "xhigh", "xhigh")),
        ("gpt-6-sol", ("none", "minimal", "xhigh"), ("none", "low", "xhigh")),
        ("gpt-6-astra", ("none", "minimal", "xhigh"), ("low", "low", "xhigh")),
        ("gpt-6.2-sol", ("none", "medium", "of its own"), ("low", "medium", "of its own")),
        ("gpt-5.2-pro", ("none", "minimal", "xhigh"), ("none", "minimal", "xhigh")),
    ],
)
async def test_openais_models_are_told_how_much_to_think_in_words_that_they_know(
    model_id: str, asked: tuple[str, ...], told: tuple[str, ...]
) -> None:
    for effort, word in zip(asked, told, strict=True):
        sent = await fitted("openai", model_id, {**HELLO, "reasoning_effort": effort}, "chat")
        assert sent["reasoning_effort"] == word
        body = {"input": "hi", "reasoning": {"effort": effort, "summary": "auto"}}
        sent = await fitted("openai", model_id, body, "responses")
        assert sent["reasoning"] == {"effort": word, "summary": "auto"} and body["reasoning"]["effort"] == effort
    nonsense: dict[str, Any] = {**HELLO, "reasoning_effort": ["low"]}
    assert (await fitted("openai", model_id, nonsense, "chat"))["reasoning_effort"] == ["low"]
    if model_id.startswith("gpt-6"):
        sent = await fitted("openai", model_id, {**HELLO, "reasoning_effort": "max"}, "chat")
        assert sent["reasoning_effort"] == "xhigh"
        sent = await fitted("openai", model_id, {"input": "hi", "reasoning": {"effort": "max"}}, "responses")
        assert sent["reasoning"] == {"effort": "max"}


@pytest.mark.parametrize(
    ("model_id", "effort", "kept"),
    [("gpt-5", "low", "low"), ("gpt-5.4", None, None), ("gpt-5.4", "low", "none"), ("gpt-5.6", None, "none")],
)
async def test_openais_models_that_call_no_functions_while_they_think_do_not_think(
    model_id: str, effort: str | None, kept: str | None
) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    chat = {"messages": HELLO["messages"], "tools": tools} | ({"reasoning_effort": effort} if effort else {})
    assert (await fitted("openai", model_id, chat, "chat")).get("reasoning_effort") == kept


@pytest.mark.parametrize(
    ("model_id", "tools", "by_responses"),
    [
        ("gpt-6-astra", True, True),
        ("gpt-6.1-sol-2026-10-20", True, True),
        ("gpt-6.2-astra", True, True),
        ("gpt-6-astra", False, False),
        ("gpt-6-sol", True, False),
        ("gpt-5.4", True, False),
        ("gpt-5.2-pro", False, True),
        ("gpt-5.1-codex-max", False, True),
        ("o3-deep-research", False, True),
        ("gpt-4o", True, False),
    ],
)
async def test_openais_models_that_take_it_in_no_other_format_are_asked_by_responses(
    model_id: str, tools: bool, by_responses: bool
) -> None:
    asked = {**HELLO, "max_tokens": 5, "reasoning_effort": "xhigh", "verbosity": "low", "service_tier": "flex"}
    if tools:
        asked["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    for vendor in ("openai", "azure", "openrouter"):
        deployment = Deployment(provider=vendor, base_url="http://127.0.0.1:9/v1", model_id=model_id)
        provider = make_provider(deployment, secret=lambda _: "k")
        assert isinstance(provider, Choosy)
        spoken = target_format("chat", provider.speaks(Model(name="m"), asked))
        assert spoken == ("responses" if by_responses and vendor != "openrouter" else "chat")
        assert provider.speaks(Model(name="m"), {**asked, "stop": "END"}) == provider.formats
        await provider.close()
    if by_responses:
        body = translate_request(asked, "chat", "responses")
        sent = await fitted("openai", model_id, body, "responses", translated=True)
        assert (sent["reasoning"], sent["text"]) == ({"effort": "xhigh"}, {"verbosity": "low"})
        assert (sent["max_output_tokens"], sent["service_tier"], sent["store"]) == (16, "flex", False)
        assert [t["strict"] for t in sent.get("tools", ())] == [False] * tools


async def test_a_model_that_is_asked_by_responses_alone_is_so_in_completions_too() -> None:
    async with FakeServer(lambda p: p.upper()) as server:
        deployment = Deployment(provider="openai", base_url=server.base_url, model_id="gpt-5.2-pro")
        provider = make_provider(deployment, secret=lambda _: "k")
        reply = await provider.complete(Model(name="m"), HELLO["messages"])
        await provider.close()
    assert reply.text == HELLO["messages"][0]["content"].upper() and "input" in server.requests[0]


OF_TWO: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"], "description": "d"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/P"}},
    },
    "required": ["parts", "name"],
    "additionalProperties": False,
    "$defs": {
        "P": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    },
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (OF_TWO, True),
        ({**OF_TWO, "required": ["name"]}, False),
        ({**OF_TWO, "additionalProperties": True}, False),
        ({**OF_TWO, "$defs": {"P": {"type": "object"}}}, False),
        ({**OF_TWO, "$defs": {"P": {"type": "string", "pattern": "a"}}}, False),
        ({**OF_TWO, "properties": {"name": {}, "parts": {"type": "string"}}}, False),
        ({**OF_TWO, "properties": "none", "required": 5}, False),
        ({"anyOf": [OF_TWO]}, False),
        ({**OF_TWO, "$defs": 5}, False),
        ({**OF_TWO, "required": [["name"], "parts"]}, False),
        (
            {"type": "object", "properties": {"a": {"anyOf": 5}}, "required": ["a"], "additionalProperties": False},
            False,
        ),
    ],
)
async def test_openais_models_are_held_to_the_schema_of_a_client_of_anthropics_where_that_can_be_promised(
    schema: dict[str, Any], strict: bool
) -> None:
    asked = {"model": "auto", "max_tokens": 9, "messages": HELLO["messages"]}
    asked["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    chat = translate_request(asked, "messages", "chat")
    sent: dict[Any, Any] = {
        (name, translated): (await fitted(name, "gpt-5", chat, "chat", translated=translated))["response_format"]
        for name in ("openai", "groq")
        for translated in (True, False)
    }
    assert [k for k, v in sent.items() if v["json_schema"].get("strict")] == ([("openai", True)] if strict else [])
    assert all(v["json_schema"]["schema"] == schema for v in sent.values())
    asked["tools"] = [{"name": "f", "input_schema": schema, "strict": True}]
    if schema.get("type") == "object":
        chat = translate_request(asked, "messages", "chat")
        tools = (await fitted("openai", "gpt-5", chat, "chat", translated=True))["tools"]
        assert tools[0]["function"].get("strict", False) == strict and tools[0]["function"]["parameters"] == schema
        body = translate_request(asked, "messages", "responses")
        sent = await fitted("openai", "gpt-6-astra", body, "responses", translated=True)
        assert sent["tools"][0]["strict"] is strict and sent["tools"][0]["parameters"] == schema
        assert sent["text"]["format"].get("strict", False) is strict


async def test_a_hint_of_another_format_goes_to_those_alone_that_are_known_to_take_it() -> None:
    chat = {"messages": HELLO["messages"], "reasoning_effort": "low"}
    kept = {
        (name, model_id, translated): "reasoning_effort"
        in await fitted(name, model_id, chat, "chat", translated=translated)
        for name, model_id in (("groq", "openai/gpt-oss-120b"), ("groq", "llama-4"), ("ollama", "qwen3"))
        for translated in (True, False)
    }
    assert [k for k, v in kept.items() if not v] == [("groq", "llama-4", True), ("ollama", "qwen3", True)]
    claude = {"max_tokens": 9, "messages": HELLO["messages"], "output_config": {"effort": "low"}}
    assert "output_config" not in await fitted("anthropic", "my-own", claude, "messages", translated=True)
    assert "output_config" in await fitted("anthropic", "claude-opus-5", claude, "messages", translated=True)


@pytest.mark.parametrize(
    ("asked", "told"), [("none", "low"), ("minimal", "low"), ("high", "high"), ("max", "high"), (None, None)]
)
@pytest.mark.parametrize(("name", "model_id"), [("groq", "openai/gpt-oss-120b"), ("vllm", "gpt-oss:20b")])
async def test_gpt_oss_is_told_how_much_to_think_in_a_word_that_it_knows_wherever_it_is_hosted(
    name: str, model_id: str, asked: str | None, told: str | None
) -> None:
    for translated in (True, False):
        chat = {"messages": HELLO["messages"], "reasoning_effort": asked}
        assert (await fitted(name, model_id, chat, "chat", translated=translated))["reasoning_effort"] == told
        response = {"input": "hi", "reasoning": {"effort": asked, "summary": "auto"}}
        sent = await fitted(name, model_id, response, "responses", translated=translated)
        assert sent["reasoning"] == {"effort": told, "summary": "auto"}


@pytest.mark.parametrize(
    ("model_id", "efforts"),
    [
        ("gemini-2.5-flash", [{"thinkingBudget": n} for n in (0, 1024, 8192, 24576)]),
        ("gemini-2.5-pro", [{"thinkingBudget": n} for n in (1024, 1024, 8192, 24576)]),
        ("gemini-3-pro-preview", [{"thinkingLevel": w} for w in ("low", "low", "high", "high")]),
        ("gemini-3.5-flash", [{"thinkingLevel": w} for w in ("low", "low", "medium", "high")]),
        ("gemini-2.0-flash", [None] * 4),
        ("gemini-2.5-flash-image", [None] * 4),
    ],
)
async def test_geminis_are_told_how_much_to_think_as_their_generation_takes_it(
    model_id: str, efforts: list[Any]
) -> None:
    for word, thinking in zip(("none", "low", "medium", "high"), efforts, strict=True):
        body = translate_request({**HELLO, "reasoning_effort": word}, "chat", "gemini")
        sent = await fitted("gemini", model_id, body, "gemini", translated=True)
        assert sent["generationConfig"].get("thinkingConfig") == thinking


@pytest.mark.parametrize(
    ("model_id", "in_words"), [("gemini-2.5-flash", True), ("gemini-3-pro-preview", False), ("my-own", False)]
)
async def test_geminis_that_take_no_json_format_beside_functions_are_told_of_it_in_words(
    model_id: str, in_words: bool
) -> None:
    body = translate_request(request_in("chat"), "chat", "gemini")
    sent = await fitted("gemini", model_id, body, "gemini", translated=True)
    schema, told = sent["generationConfig"].get("responseJsonSchema"), sent["systemInstruction"]["parts"]
    assert (schema is None, len(told) == 2, '"warmer"' in told[-1]["text"]) == (in_words,) * 3
    assert "responseMimeType" in sent["generationConfig"] or in_words
    body.pop("tools")
    assert "responseJsonSchema" in (await fitted("gemini", model_id, body, "gemini"))["generationConfig"]


@pytest.mark.parametrize(
    ("model_id", "takes"), [("gemini-2.0-flash", True), ("gemini-2.5-flash", False), ("gemini-flash-latest", False)]
)
async def test_geminis_that_know_no_penalties_are_not_told_of_any(model_id: str, takes: bool) -> None:
    asked = {"presence_penalty": 0.1, "frequency_penalty": 0.1, "temperature": 0.5}
    body = translate_request({**HELLO, **asked}, "chat", "gemini")
    sent = await fitted("gemini", model_id, body, "gemini", translated=True)
    penalties = {"presencePenalty": 0.1, "frequencyPenalty": 0.1} if takes else {}
    assert sent["generationConfig"] == {"temperature": 0.5, **penalties}


async def test_thinking_fits_below_the_limit_or_is_left_out(make: Make) -> None:
    def thinking(most: int, budget: int) -> Callable[[Provider], UpstreamCall]:
        body = {
            "model": "auto",
            "max_tokens": most,
            "messages": HELLO["messages"],
            "thinking": {"type": "enabled", "budget_tokens": budget},
        }
        model = Model(name="m", max_output_tokens=4000)
        deployment = Deployment(provider="anthropic")
        return lambda p: UpstreamCall(model=model, deployment=deployment, kind="messages", body=body)

    assert (await request_to(make, "anthropic", thinking(9000, 8000)))["thinking"]["budget_tokens"] == 3999
    assert (await request_to(make, "anthropic", thinking(3000, 2000)))["thinking"]["budget_tokens"] == 2000
    assert "thinking" not in await request_to(make, "anthropic", thinking(1000, 8000))


async def test_gemini_has_the_model_in_the_path_and_never_in_the_body(make: Make) -> None:
    body = await request_to(make, "gemini", lambda p: call_of(p, {**HELLO, "max_tokens": 5000}, stream=True))
    assert "model" not in body and "stream" not in body
    assert body["generationConfig"] == {"maxOutputTokens": 200}


@pytest.mark.parametrize(("model_id", "signed"), [("gemini-3-pro", True), ("gemini-2.5-flash", False)])
async def test_gemini_gets_a_mark_on_calls_that_another_model_made(make: Make, model_id: str, signed: bool) -> None:
    async with FakeServer(lambda p: "x") as server:
        provider = make_provider(
            Deployment(provider="gemini", base_url=server.root_url, api_key_env="K", model_id=model_id),
            secret=lambda _: "k",
        )
        await (await provider.send(call_of(provider, request_in("chat")))).close()
        await provider.close()
    parts = server.requests[0]["contents"][1]["parts"]
    marks = [p.get("thoughtSignature") for p in parts if "functionCall" in p]
    assert marks == (["skip_thought_signature_validator", None] if signed else [None, None])


MIXED = [
    {"role": "user", "content": "a"},
    {
        "role": "assistant",
        "content": "b",
        "reasoning_content": "r",
        "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "c2ln"}],
        "tool_calls": [
            {
                **tool_call("functions.look:0!", "look", "{}"),
                "extra_content": {"google": {"thought_signature": "Z29v"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "functions.look:0!", "content": "c"},
    {"role": "developer", "content": "d"},
    {"role": "user", "content": "e"},
]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("openai", set()),
        ("mistral", set()),
        ("deepseek", {"reasoning_content"}),
        ("openrouter", {"reasoning_content", "extra_content"}),
    ],
)
async def test_what_a_vendor_wants_back_stays_and_what_another_left_goes(make: Make, name: str, kept: set[str]) -> None:
    chat = {**HELLO, "messages": MIXED}
    own = await request_to(make, name, lambda p: call_of(p, chat))
    found = {k for m in own["messages"] for k in (*m, *(k for c in m.get("tool_calls", ()) for k in c))}
    assert found - {"role", "content", "tool_calls", "tool_call_id", "id", "type", "function"} == kept
    mixed = await request_to(make, name, lambda p: call_of(p, chat, mixed=True))
    assert b"c2ln" not in orjson.dumps(mixed) and b"Z29v" not in orjson.dumps(mixed)
    assert not mixed["messages"][1].get("reasoning_content")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("mistral", r"[a-zA-Z0-9]{9}"), ("openai", r"functions\.look:0!"), ("anthropic", r"call_\w{19}")],
)
async def test_tool_call_ids_are_ones_that_the_vendor_takes_in_call_and_result(
    make: Make, name: str, pattern: str
) -> None:
    body = await request_to(make, name, lambda p: call_of(p, {**HELLO, "messages": MIXED}))
    ids = re.findall(r'"(?:tool_call_id|id|tool_use_id)":"([^"]+)"', orjson.dumps(body["messages"]).decode())
    assert len(ids) == 2 and len(set(ids)) == 1 and re.fullmatch(pattern, ids[0])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("groq", set()),
        ("openai", {"prompt_cache_breakpoint"}),
        ("openrouter", {"cache_control", "prompt_cache_breakpoint"}),
        ("openai_compatible", {"cache_control", "prompt_cache_breakpoint"}),
    ],
)
async def test_marks_of_a_prompt_cache_go_to_those_that_know_them(make: Make, name: str, known: set[str]) -> None:
    marks = {"cache_control": {"type": "ephemeral"}, "prompt_cache_breakpoint": {"mode": "explicit"}}
    tool = {"type": "function", "function": {"name": "f", **NOTHING}}

    def asked(marks: dict[str, Any]) -> dict[str, Any]:
        content = [{"type": "text", "text": "a", **marks}]
        return {"messages": [{"role": "user", "content": content, **marks}], "tools": [{**tool, **marks}]}

    sent = await request_to(make, name, lambda p: call_of(p, {"model": "auto", **asked(marks)}))
    assert {k: sent[k] for k in ("messages", "tools")} == asked({k: v for k, v in marks.items() if k in known})


@pytest.mark.parametrize(
    ("name", "translated", "turns"),
    [("perplexity", False, True), ("vllm", True, True), ("vllm", False, False), ("openai", True, False)],
)
async def test_user_and_model_take_turns_where_that_is_demanded(
    make: Make, name: str, translated: bool, turns: bool
) -> None:
    """Perplexity demands it, as do the templates of Gemma and Mistral's models."""
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    said = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "user", "content": [picture]},
        {"role": "assistant", "content": "c", "tool_calls": [tool_call("id1234567", "f", "{}")]},
        {"role": "tool", "tool_call_id": "id1234567", "content": "1"},
        {"role": "assistant", "content": "d"},
        {"role": "assistant", "content": "e"},
        {"role": "user", "content": "f"},
    ]
    asked = {**HELLO, "messages": said}
    sent = await request_to(make, name, lambda p: call_of(p, asked, translated=translated))
    together = [{"role": "user", "content": [*({"type": "text", "text": t} for t in "ab"), picture]}, *said[3:5]]
    expected = [*together, {"role": "assistant", "content": "d\n\ne"}, said[7]] if turns else said
    assert sent["messages"] == expected


async def test_mistrals_user_does_not_speak_right_after_a_tool(make: Make) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [tool_call("abcdefghi", "f", "{}")]}
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "r"}
    said = {"role": "user", "content": "q"}
    chat = {"model": "auto", "messages": [said, called, result, said]}
    sent = await request_to(make, "mistral", lambda p: call_of(p, chat))
    assert [m["role"] for m in sent["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent["messages"][3]["content"]
    assert (await request_to(make, "groq", lambda p: call_of(p, chat)))["messages"] == chat["messages"]


async def test_only_openai_is_told_of_developers(make: Make) -> None:
    for name, role in (("openai", "developer"), ("together", "system")):
        body = await request_to(make, name, lambda p: call_of(p, {**HELLO, "messages": MIXED}))
        assert body["messages"][3]["role"] == role


@pytest.mark.parametrize(("kind", "name"), [("messages", "anthropic"), ("responses", "openai"), ("gemini", "gemini")])
async def test_a_request_in_the_vendors_own_format_goes_as_it_came(make: Make, kind: WireFormat, name: str) -> None:
    body = request_in(kind)
    model = Model(name="m")
    call = UpstreamCall(model=model, deployment=Deployment(provider=name), kind=kind, body=body, stream=True)
    received = await request_to(make, name, lambda p: call)
    expected = request_in(kind)
    if kind == "gemini":
        del expected["model"], expected["stream"]
    else:
        expected["model"] = "id-m"
    if kind == "messages":  # asked for too little room to think in
        del expected["thinking"]
    assert received == expected


@pytest.mark.parametrize(("kind", "name"), [("messages", "anthropic"), ("responses", "openai"), ("gemini", "gemini")])
async def test_signatures_of_other_models_are_left_out_of_a_mixed_conversation(
    make: Make, kind: WireFormat, name: str
) -> None:
    body = request_in(kind)
    deployment = Deployment(provider=name)
    call = UpstreamCall(model=MODEL, deployment=deployment, kind=kind, body=body, stream=True, mixed=True)
    received = orjson.dumps(await request_to(make, name, lambda p: call))
    assert b"c2lnbmVk" not in received and b"c2VhbGVk" not in received
    assert b"Let me see." in received and received.count(b"warmth") >= 3


# ---------------------------------------------------------------- keys


async def test_a_key_file_is_read_and_read_again_when_it_changes(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "key"
    path.write_text("first\n")
    async with FakeServer(str.upper) as server:
        deployment = Deployment(provider="openai", base_url=server.base_url, api_key_file=str(path))
        provider = make_provider(deployment, secret=str)
        await (await provider.send(call_of(provider))).close()
        path.write_text("second")
        os.utime(path, ns=(1, 1))
        await (await provider.send(call_of(provider))).close()
        (tmp_path / "fresh").write_text("third")
        os.utime(tmp_path / "fresh", ns=(1, 1))
        (tmp_path / "fresh").replace(path)
        await (await provider.send(call_of(provider))).close()
        await provider.close()
    assert [h["Authorization"] for h in server.headers] == ["Bearer first", "Bearer second", "Bearer third"]


@pytest.mark.parametrize("content", ["", "  \n", "two\nlines", "\x00key", "schlüssel"])
async def test_a_key_file_without_a_key_is_told_by_its_name_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    provider = make_provider(Deployment(provider="openai", api_key_file=str(path)), secret=str)
    with pytest.raises(ProviderError, match="holds no key") as caught:
        await provider.send(call_of(provider))
    assert str(path) in str(caught.value) and "two" not in str(caught.value)
    await provider.close()


async def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    provider = make_provider(Deployment(provider="openai", api_key_file=str(tmp_path / "none")), secret=str)
    with pytest.raises(ProviderError, match="No such file"):
        await provider.send(call_of(provider))
    await provider.close()


@pytest.mark.parametrize(
    "base_url",
    ["example.org/v1", "ftp://example.org", "http://", "file:///etc/passwd", "http://a..b", f"http://{'a' * 64}"],
)
def test_a_base_url_that_is_none_is_refused_when_it_is_read(base_url: str) -> None:
    with pytest.raises(ConfigError, match="not a URL"):
        make_provider(Deployment(provider="openai", base_url=base_url), secret=str)


@pytest.mark.parametrize(
    "headers", [["x-a"], {"x-a": None}, {"x-a": True}, {"x-a": ["b"]}, {"x a": ""}, {"x-a": "b\n"}]
)
def test_headers_that_cannot_be_sent_as_they_are_written_are_refused(headers: Any) -> None:
    with pytest.raises(ConfigError, match="headers"):
        make_provider(Deployment(provider="openai", options={"headers": headers}), secret=str)
