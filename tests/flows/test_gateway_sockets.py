"""The gateway's life on its sockets: upstreams and clients that write, read, pause and leave as they please."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_world import CHAT, World, eventually, say, serving, settings, world

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(text: str = "", finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    document = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[str]:
    """A vendor that answers every request, byte by byte, as a script says, and then closes the connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway left
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


@asynccontextmanager
async def behind(script: Script, folder: Path, **changes: Any) -> AsyncIterator[World]:
    """A gateway before such a vendor."""
    async with upstream(script) as base_url, serving(folder, settings(base_url, **changes)) as gateway:
        yield gateway


def request(body: Any, *headers: bytes) -> bytes:
    data = json.dumps(body).encode()
    lines = [b"POST %s HTTP/1.1" % CHAT.encode(), b"Host: 127.0.0.1", b"Content-Type: application/json", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(data), b"", data])


def told(gateway: World) -> list[dict[str, Any]]:
    return [line for line in gateway.lines if line["event"] == "request"]


async def test_an_event_cut_off_before_its_blank_line_is_not_glued_to_what_follows(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Connection: close\r\n\r\n" + event("one") + event(" two").rstrip(b"\n"))

    async with behind(script, tmp_path, execution={"midstream": "error"}) as gateway:
        async with gateway.session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
            text = await answer.read()
        one, two, error = [json.loads(e.removeprefix(b"data: ")) for e in text.split(b"\n\n") if e]
        assert two["choices"][0]["delta"]["content"] == " two" and error["error"]["code"] == "stream_interrupted"


async def test_thousands_of_events_in_one_piece_let_others_have_their_turn(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events = event("one") + b":\n\n" * 10_000 + event(finish="stop") + DONE
        writer.write(CHUNKED + chunk(events) + b"0\r\n\r\n")

    async with behind(script, tmp_path) as gateway:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with gateway.session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
            taking_turns = asyncio.create_task(others())
            assert (await answer.read()).endswith(DONE)
            taking_turns.cancel()
        assert turns > 200


async def test_an_answer_is_whole_for_a_client_that_leaves_with_its_last_event(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(event("one")) + chunk(event(finish="stop")) + chunk(DONE))
        await left.wait()  # for ever: the end of the response does not come

    async with behind(script, tmp_path) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request(say("Hello", stream=True)))
        await asyncio.wait_for(reader.readuntil(DONE), 10)
        writer.close()
        await eventually(lambda: told(gateway))
        left.set()
        [line] = told(gateway)
        assert (line["status"], line["error"], line["attempts"], line["output_tokens"]) == ("ok", None, 1, 1)


async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that fits into no buffer of the kernel's."""
    message = {"role": "assistant", "content": "y" * 12_000_000}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def test_a_client_that_takes_nothing_of_an_answer_is_cut_also_where_it_is_not_streamed(tmp_path: Path) -> None:
    async with behind(large, tmp_path, server={"port": 0, "write_timeout_s": 0.2}) as gateway:
        edge = gateway.one.edge
        reader, writer = await gateway.connect()
        writer.write(request(say("Hello")))
        await eventually(lambda: edge.unsent)
        await eventually(lambda: not edge.connections)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(12_000_000)
        writer.close()


async def test_an_answer_that_a_client_still_takes_is_waited_for_when_the_gateway_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.gateway.serve._CUT_S", 0.01)
    async with behind(large, tmp_path) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request(say("Hello")))
        await eventually(lambda: gateway.one.edge.unsent)
        stopping = asyncio.create_task(gateway.one.drain(60.0))
        assert (await asyncio.wait({stopping}, timeout=0.5))[0] == set(), "the process would end"
        assert len(await reader.read()) > 12_000_000
        await stopping
        writer.close()


async def test_a_client_is_not_told_the_address_at_which_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        async with serving(tmp_path, settings(address)) as gateway:
            status, document, _ = await gateway.post(CHAT, say("Hello"))
    assert status == 502 and document["error"]["message"].endswith("cannot connect: Connection refused")


@pytest.mark.parametrize("ends", [True, False])
async def test_a_refusal_is_one_also_where_its_reason_breaks_off_or_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr("equipoise.providers.http._REASON_S", 60.0 if ends else 0.05)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Type: application/json\r\nRetry-After: 7\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n{")
        if not ends:
            await reader.read()

    async with behind(script, tmp_path, execution={"max_attempts": 1}) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello"))
        assert (status, headers["Retry-After"]) == (429, "7")
        outcome = gateway.outcome(headers)
        assert [(a.status, a.cost_usd) for a in outcome.attempts] == [(429, 0.0)]


def before_http_11(body: Any, *headers: bytes) -> bytes:
    """A request as nginx makes it unless told otherwise: the end of the connection is that of the answer."""
    return request(body, *headers).replace(b"HTTP/1.1", b"HTTP/1.0")


async def test_before_http_1_1_a_stream_ends_with_the_connection(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        for headers in ([], [b"Connection: keep-alive"]):
            reader, writer = await gateway.connect()
            writer.write(before_http_11(say("Hello", stream=True), *headers))
            assert (await asyncio.wait_for(reader.read(), 30)).endswith(DONE)
            writer.close()


async def test_before_http_1_1_a_stream_that_is_cut_is_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.gateway.serve._CUT_S", 0.01)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(event("one")))
        await reader.read()

    async with behind(script, tmp_path) as gateway:
        reader, writer = await gateway.connect()
        writer.write(before_http_11(say("Hello", stream=True)))
        await reader.readuntil(b"one")
        await gateway.one.drain(0.0)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
