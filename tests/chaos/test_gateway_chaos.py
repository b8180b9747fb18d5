"""Vendors that fail in every way, and clients that are slow, greedy or gone."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from equipoise.testing import FakeServer, Misbehaviour
from tests.gateway_world import CHAT, LARGE, SMALL, echo, say, world

WRONG = (
    Misbehaviour(status=500),
    Misbehaviour(status=429, headers=(("Retry-After", "0"),)),
    Misbehaviour(status=529),
    Misbehaviour(drop=True),
    Misbehaviour(body='{"choices": [{"mess'),
    Misbehaviour(body="<html>Bad gateway</html>", content_type="text/html"),
    Misbehaviour(body="[]"),
    Misbehaviour(body=""),
)
FAST = {"backoff_s": 0.001, "max_backoff_s": 0.002, "breaker_error_rate": 1.0}


def failing(number: int, body: Any) -> Misbehaviour | None:
    """Every fifth call goes wrong, in all ways in turn."""
    return WRONG[number // 5 % len(WRONG)] if number % 5 == 0 else None


def failing_streams(number: int, body: Any) -> Misbehaviour | None:
    """Every fifth stream breaks after its first words, in all ways in turn."""
    kinds = ("reset", "garbage", "end")
    return Misbehaviour(break_after=4, then=kinds[number // 5 % 3]) if number % 5 == 0 else None  # type: ignore[arg-type]


async def test_with_a_fallback_every_request_is_answered_and_every_call_is_billed(tmp_path: Path) -> None:
    vendor = FakeServer(echo, misbehave=failing)
    async with world(tmp_path, vendor, execution=FAST) as gateway:
        queue = list(range(200))
        answered: list[tuple[int, Any, dict[str, str]]] = []

        async def some() -> None:
            while queue:
                answered.append(await gateway.post(CHAT, say(f"Hello number {queue.pop()}")))

        await asyncio.gather(*(some() for _ in range(8)))
        assert [status for status, _, _ in answered] == [200] * 200
        attempts = [a for _, _, headers in answered for a in gateway.outcome(headers).attempts]
        assert len(attempts) == len(vendor.requests) > 200
        usd = {SMALL: (1.0, 4.0), LARGE: (10.0, 40.0)}
        theirs = sum(usd[b.model][0] * b.input_tokens + usd[b.model][1] * b.output_tokens for b in vendor.bills) / 1e6
        assert sum(a.cost_usd for a in attempts if a.won) == pytest.approx(theirs, abs=1e-9)


async def test_broken_streams_go_on_or_say_that_they_broke(tmp_path: Path) -> None:
    vendor = FakeServer(lambda p: "one two three four five six seven eight", misbehave=failing_streams)
    async with world(tmp_path, vendor, execution=FAST) as gateway:
        whole = 0
        for i in range(30):
            async with gateway.session.post(gateway.url + CHAT, json=say(f"Hello {i}", stream=True)) as answer:
                text = (await answer.read()).decode()
            events = [e.removeprefix("data: ") for e in text.split("\n\n") if e.strip() and not e.startswith(":")]
            documents = [json.loads(e) for e in events if e != "[DONE]"]
            failed = [d for d in documents if "error" in d]
            assert events[-1] == "[DONE]" or failed, "never cut silently"
            whole += not failed
        assert whole >= 29


SLOW = {"port": 0, "header_timeout_s": 0.3, "body_timeout_s": 0.3, "write_timeout_s": 0.3}


async def test_a_client_that_trickles_its_head_is_cut(tmp_path: Path) -> None:
    async with world(tmp_path, server=SLOW) as gateway:
        reader, writer = await gateway.connect()

        async def trickle() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nx-slow: ")
        trickling = asyncio.create_task(trickle())
        with suppress(ConnectionResetError):  # a byte may meet what is cut already
            assert await asyncio.wait_for(reader.read(), 10) == b""
        trickling.cancel()
        writer.close()


async def test_a_client_that_says_nothing_is_cut(tmp_path: Path) -> None:
    async with world(tmp_path, server=SLOW) as gateway:
        reader, writer = await gateway.connect()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_client_that_trickles_its_body_is_told_and_cut(tmp_path: Path) -> None:
    async with world(tmp_path, server=SLOW) as gateway:
        reader, writer = await gateway.connect()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: 1000\r\n\r\n{")
        said = await asyncio.wait_for(reader.read(), 10)
        assert said.startswith(b"HTTP/1.1 408") and b"body_timeout" in said
        writer.close()


async def test_a_connection_that_is_used_again_is_not_cut_for_being_idle_in_between(tmp_path: Path) -> None:
    async with world(tmp_path, server=SLOW) as gateway:
        reader, writer = await gateway.connect()
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(b'{"status":"ok"}'))
            await asyncio.sleep(1.2)
        writer.close()


async def test_a_client_that_reads_nothing_is_cut_and_its_call_stopped(tmp_path: Path) -> None:
    vendor = FakeServer(lambda p: " ".join(["word" * 200] * 20_000))
    async with world(tmp_path, vendor, server=SLOW) as gateway:
        reader, writer = await gateway.connect()
        body = json.dumps(say("Hello", stream=True)).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        for _ in range(1500):
            await asyncio.sleep(0.02)
            if any(line.get("error") == "client_slow" for line in gateway.lines):
                break
        [line] = [line for line in gateway.lines if line["event"] == "request"]
        assert line["status"] == "cancelled" and line["error"] == "client_slow"
        writer.close()


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    ],
)
async def test_what_is_not_http_gets_a_400_in_json(tmp_path: Path, bytes_sent: bytes) -> None:
    async with world(tmp_path) as gateway:
        reader, writer = await gateway.connect()
        writer.write(bytes_sent)
        said = await asyncio.wait_for(reader.read(), 10)
        assert said.startswith(b"HTTP/1.1 4") or said.startswith(b"HTTP/1.0 4"), said[:100]
        assert json.loads(said.split(b"\r\n\r\n", 1)[1])["error"]["code"]
        writer.close()
        assert (await gateway.get("/healthz"))[0] == 200


async def test_a_compressed_body_is_bounded_by_what_it_becomes(tmp_path: Path) -> None:
    import zlib

    async with world(tmp_path, server={"port": 0, "max_body_bytes": 100_000}) as gateway:
        bomb = zlib.compress(b" " * 50_000_000)
        assert len(bomb) < 100_000
        headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
        async with gateway.session.post(gateway.url + CHAT, data=bomb, headers=headers) as answer:
            assert answer.status == 413, await answer.text()


async def test_a_wall_clock_that_jumps_changes_no_answer(tmp_path: Path) -> None:
    class Jumping:
        def __init__(self) -> None:
            self.jump = 0.0

        def time(self) -> float:
            self.jump = -self.jump - 1e6
            return 1.7e9 + self.jump

        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

    async with world(tmp_path) as gateway:
        gateway.gateway.clock = Jumping()
        for _ in range(5):
            status, _, headers = await gateway.post(CHAT, say("Hello"))
            outcome = gateway.outcome(headers)
            assert status == 200 and 0 <= outcome.overhead_s <= outcome.latency_s < 60


async def test_a_vendor_that_is_down_for_a_while_is_used_again(tmp_path: Path) -> None:
    down = True
    vendor = FakeServer(echo, misbehave=lambda n, b: Misbehaviour(status=500) if down else None)
    execution = {**FAST, "breaker_min_calls": 2, "breaker_error_rate": 0.5, "breaker_cooldown_s": 0.05}
    async with world(tmp_path, vendor, execution=execution) as gateway:
        for _ in range(5):
            assert (await gateway.post(CHAT, say("Hello")))[0] in (502, 503)
        down = False
        for _ in range(200):
            status, _, _ = await gateway.post(CHAT, say("Hello"))
            if status == 200:
                break
            await asyncio.sleep(0.01)
        assert status == 200
