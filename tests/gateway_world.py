"""A gateway on a port of its own, with fake vendors behind it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from equipoise.config import read_config
from equipoise.gateway.logs import Lines
from equipoise.gateway.serve import Opened, opened
from equipoise.storage.reading import Record
from equipoise.testing import FakeServer
from equipoise.traffic import Outcome

QUALITY = {"general": 0.6, "code": 0.5, "reasoning": 0.5, "creative": 0.6, "analysis": 0.6}
BETTER = dict.fromkeys(QUALITY, 0.95)
SMALL, LARGE = "small-model", "large-model"
CHAT = "/v1/chat/completions"


def settings(base_url: str, **changes: Any) -> dict[str, Any]:
    """A configuration of two models, of which ``auto`` takes the small one for small prompts."""
    place = {"provider": "openai_compatible", "base_url": base_url}
    return {
        "models": [
            {
                "name": SMALL,
                "price": {"usd_per_1m_input": 1.0, "usd_per_1m_output": 4.0},
                "context_window": 2000,
                "quality": QUALITY,
                "capabilities": ["json", "tools"],
                "deployments": [place],
            },
            {
                "name": LARGE,
                "price": {"usd_per_1m_input": 10.0, "usd_per_1m_output": 40.0},
                "context_window": 8000,
                "quality": BETTER,
                "capabilities": ["json", "tools", "vision"],
                "deployments": [place],
            },
        ],
        "routes": {"auto": {"router": {"type": "static"}, "policy": {"type": "cost_aware"}}},
        "storage": {"url": "sqlite:///kept.db"},
        "server": {"port": 0, "reload_s": 0.0},
        "execution": {"backoff_s": 0.001, "max_backoff_s": 0.002},
        **changes,
    }


def write(folder: Path, document: dict[str, Any]) -> Path:
    """The configuration as a file, put in place at once as an editor does."""
    path, fresh = folder / "equipoise.yaml", folder / "equipoise.yaml.new"
    fresh.write_text(yaml.safe_dump(document))
    fresh.replace(path)
    return path


class World:
    """A gateway that is being served, a session that talks to it, and what it logged."""

    def __init__(self, one: Opened, session: aiohttp.ClientSession, written: list[bytes]) -> None:
        self.one, self.session, self._written = one, session, written
        self.url, self.gateway = one.url, one.gateway

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        self.gateway.lines._write()
        return [json.loads(line) for line in b"".join(self._written).splitlines()]

    def record(self, told: Mapping[str, str] | str) -> Record:
        """What is logged of a decision, by its identifier or the headers of its answer."""
        record = self.gateway.log.get(told if isinstance(told, str) else told["x-equipoise-decision-id"])
        assert record is not None
        return record

    def outcome(self, told: Mapping[str, str] | str) -> Outcome:
        """What is logged of how it ended."""
        outcome = self.record(told).outcome
        assert outcome is not None
        return outcome

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of a client's own."""
        host, port = self.url.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port))

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, document and headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, json=body, headers=named) as answer:
            return answer.status, await answer.json(), dict(answer.headers)

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and document."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=named) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def serving(folder: Path, document: dict[str, Any]) -> AsyncIterator[World]:
    """A gateway in this process."""
    path, written = write(folder, document), list[bytes]()
    lines = Lines(written.append)
    async with opened(read_config(path), path, lines) as one, aiohttp.ClientSession() as session:
        await one.listen()
        yield World(one, session, written)
    lines.close()


def say(text: str, **more: Any) -> dict[str, Any]:
    """A chat completion of one message, for the route ``auto``."""
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


def echo(prompt: str) -> str:
    """What the fake vendors answer."""
    return f"You said: {prompt}"


def claude(base_url: str) -> dict[str, Any]:
    """A configuration whose models are reached in Anthropic's format."""
    document = settings(base_url)
    for model in document["models"]:
        model["deployments"] = [{"provider": "anthropic", "base_url": base_url.removesuffix("/v1")}]
    return document


@asynccontextmanager
async def world(folder: Path, vendor: FakeServer | None = None, **changes: Any) -> AsyncIterator[World]:
    """A gateway with a fake vendor behind it."""
    async with vendor or FakeServer(echo) as server, serving(folder, settings(server.base_url, **changes)) as one:
        yield one


def logged_at_each_write(gateway: World, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every piece that is written to a client, whether the log knows by then how its answer ended."""
    found: list[bool] = []
    write = web.StreamResponse.write

    async def spy(response: web.StreamResponse, data: bytes) -> None:
        decision = response.headers.get("x-equipoise-decision-id")
        if decision is not None:  # else it is the vendor who writes
            record = gateway.gateway.log.get(decision)
            found.append(record is not None and record.outcome is not None)
        await write(response, data)

    monkeypatch.setattr(web.StreamResponse, "write", spy)
    return found


# ---------------------------------------------------------------- as a process of its own


class Process:
    """``equipoise serve`` as a process."""

    def __init__(self, popen: subprocess.Popen[str], lines: list[dict[str, Any]]) -> None:
        self.popen, self.lines = popen, lines
        self.url: str = lines[-1]["url"]

    def until(self, event: str) -> dict[str, Any]:
        """The next line that tells of an event."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"it ended without {event}: {self.lines}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.popen.send_signal(number)


@contextmanager
def process(folder: Path, *arguments: str, redirected: str = "") -> Iterator[Process]:
    """The gateway of a folder's configuration, which is killed at the end if it still runs.

    Args:
        redirected: what a shell is told about its standard streams.
    """
    command = [sys.executable, "-m", "equipoise", "serve", "--config", str(folder / "equipoise.yaml"), *arguments]
    if redirected:
        command = ["sh", "-c", f'exec "$@" {redirected}', "sh", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as popen:
        try:
            assert popen.stderr is not None
            lines: list[dict[str, Any]] = []
            for line in popen.stderr:
                lines.append(json.loads(line) if line.startswith("{") else {"event": line})
                if lines[-1]["event"] == "listening":
                    break
            assert lines and lines[-1]["event"] == "listening", lines
            yield Process(popen, lines)
        finally:
            if popen.poll() is None:
                popen.kill()


async def eventually(holds: Any, most_s: float = 10.0) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < until, "it never came to hold"
        await asyncio.sleep(0.01)
