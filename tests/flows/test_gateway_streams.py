"""Many streams at once: none lost, reordered or cut, in bounded memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from tests.gateway_world import CHAT, process, say, settings, write

STREAMS, CHUNKS = 500, 200


@contextmanager
def canned() -> Iterator[str]:
    """The canned upstream of the benchmark: its numbered chunks show what got lost."""
    command = [sys.executable, "-m", "equipoise.gateway.bench.canned", "--chunks", str(CHUNKS), "--pause-s", "0.001"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout is not None
            yield f"http://127.0.0.1:{int(popen.stdout.readline())}/v1"
        finally:
            popen.kill()


def memory_mb(pid: int) -> float:
    """The most memory that a process has had."""
    line = next(s for s in Path(f"/proc/{pid}/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def one(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(url + CHAT, json=say("Count", stream=True)) as answer:
        assert answer.status == 200, await answer.text()
        text = await answer.read()
    events = [e.removeprefix(b"data: ") for e in text.split(b"\n\n") if e]
    assert events[-1] == b"[DONE]"
    return "".join(c["delta"].get("content") or "" for e in events[:-1] for c in json.loads(e)["choices"])


async def test_five_hundred_streams_at_once_arrive_whole(tmp_path: Path) -> None:
    with canned() as base_url:
        write(tmp_path, settings(base_url, execution={"first_token_s": 300.0, "between_tokens_s": 300.0}))
        with process(tmp_path) as gateway:
            connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                at_rest = memory_mb(gateway.popen.pid)
                said = await asyncio.gather(*(one(session, gateway.url) for _ in range(STREAMS)))
            memory = memory_mb(gateway.popen.pid)
    assert set(said) == {"".join(f" {i}" for i in range(CHUNKS))} and len(said) == STREAMS
    # The interpreter, the tokenizer and the embedding are there before; what streams take is bounded.
    said_of_memory = f"{at_rest:.0f} MB at rest, {memory:.0f} MB with the streams"
    assert memory - at_rest <= 120 and memory <= 300, said_of_memory
