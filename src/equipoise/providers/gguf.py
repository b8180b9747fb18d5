"""A local GGUF model file, served by llama.cpp in a worker process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.contracts import Reply, UpstreamCall
from equipoise.environment import from_home
from equipoise.errors import ConfigError, MissingExtra, ProviderError
from equipoise.providers.client import seconds_of
from equipoise.providers.http import HttpUpstream
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.vendors import VENDORS
from equipoise.types import Deployment, Model, WireFormat

_WORKER = Path(__file__).with_name("gguf_worker.py")
_OWN_OPTIONS = frozenset({"path", "slots", "threads", "context", "sha256", "startup_timeout_s"})
_PASSED_OPTIONS = frozenset({"timeout_s"})
# In a row, after which no call was answered.
_MOST_STARTS = 4


class Gguf:
    """Chat completions from a local model file. The worker starts at the first call and ends with us.

    Deployment options: ``path`` of the file; ``slots`` (calls at once, default 1), ``threads`` (default:
    llama.cpp's choice), ``context`` (tokens of one call, default 2048), ``sha256`` (the file must have it),
    ``startup_timeout_s`` (default 120), ``timeout_s`` (deadline of one call, default 600).
    """

    name = "gguf"
    formats: frozenset[WireFormat] = frozenset({"chat"})

    def __init__(self, deployment: Deployment) -> None:
        options = deployment.options
        unknown = sorted(set(options) - _OWN_OPTIONS - _PASSED_OPTIONS)
        if unknown:
            known = ", ".join(sorted(_OWN_OPTIONS | _PASSED_OPTIONS))
            raise ConfigError(f"provider 'gguf' has no option '{unknown[0]}'; it takes: {known}")
        if "path" not in options:
            raise ConfigError("provider 'gguf': options have no path; give the path of a .gguf file")
        self._path = from_home(str(options["path"]))
        if not self._path.is_file():
            raise ConfigError(f"provider 'gguf': {self._path}: no such file; give the path of a .gguf file")
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("local", "provider 'gguf'")
        self._settings = {k: _whole(options, k, default) for k, default in _COUNTS.items()}
        self._sha256 = str(options["sha256"]).lower() if options.get("sha256") else None
        self._startup_s = seconds_of(deployment, "startup_timeout_s", 120.0)
        self._passed = {k: v for k, v in options.items() if k in _PASSED_OPTIONS}
        self._starting: asyncio.Task[OpenAICompatible] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._client: OpenAICompatible | None = None
        self._starts = 0

    async def send(self, call: UpstreamCall) -> HttpUpstream:
        """Send a call to the worker; starts it when there is none.

        Raises:
            ProviderError: the worker did not start, the file has another checksum, or the call failed.
        """
        call.sent.begun = False
        try:
            client = await self._ready(call.model)
        except ConfigError as error:
            raise self._failed(call.model, str(error)) from None
        upstream = await client.send(call)
        self._starts = 1
        return upstream

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """One chat completion; starts the worker when there is none.

        Raises:
            ProviderError: the worker did not start, or the call failed.
            ConfigError: the file does not have the expected checksum.
        """
        client = await self._ready(model)
        reply = await client.complete(model, messages, **options)
        self._starts = 1
        return reply

    async def close(self) -> None:
        """End the worker."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
        await self._stop()

    async def _stop(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._client = self._process = None

    async def _ready(self, model: Model) -> OpenAICompatible:
        if self._client is not None and self._process is not None and self._process.returncode is None:
            return self._client
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._started(model))
            # Whoever waited may have gone away; the failure is told again at the next call.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Loading takes longer than many a caller waits, and goes on for the next one.
        return await asyncio.shield(self._starting)

    async def _started(self, model: Model) -> OpenAICompatible:
        await self._stop()
        if self._starts >= _MOST_STARTS:
            raise self._failed(model, f"the worker died {self._starts} times without an answer; not started again")
        if self._starts == 0 and self._sha256 is not None:
            await self._check_file()
        self._starts += 1
        self._client = await self._start(model)
        return self._client

    async def _check_file(self) -> None:
        found = await asyncio.to_thread(_sha256_of, self._path)
        if found != self._sha256:
            raise ConfigError(f"{self._path}: sha256 is {found}, expected {self._sha256}; fetch the file again")

    async def _start(self, model: Model) -> OpenAICompatible:
        key = secrets.token_urlsafe(24)
        # A script run by path, with no path of its own on sys.path: nothing beside it can shadow a module.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # Ctrl-C reaches the whole terminal group; the worker is ended by its parent instead.
            start_new_session=True,
        )
        settings = {**self._settings, "path": str(self._path), "name": model.name, "key": key}
        answer = await self._answer(self._process, settings, model)
        if "url" not in answer:
            await self._stop()
            raise self._failed(model, f"{self._path}: {answer.get('error', 'the worker died')}")
        local = Deployment(
            provider=self.name, base_url=f"{answer['url']}/v1", api_key_env="worker", options=self._passed
        )
        return OpenAICompatible(local, lambda _: key, VENDORS["llamacpp"])

    async def _answer(
        self, process: asyncio.subprocess.Process, settings: Mapping[str, Any], model: Model
    ) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            return {}
        try:
            async with asyncio.timeout(self._startup_s):
                process.stdin.write((json.dumps(settings) + "\n").encode())
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError:
            await self._stop()
            message = f"{self._path}: not loaded within {self._startup_s:g} s; raise startup_timeout_s"
            raise self._failed(model, message) from None
        except OSError:
            return {}
        document = json.loads(line) if line else {}
        return document if isinstance(document, dict) else {}

    def _failed(self, model: Model, message: str) -> ProviderError:
        return ProviderError(message, provider=self.name, model=model.name, code="worker")


_COUNTS: Mapping[str, int] = {"slots": 1, "threads": 0, "context": 2048}


def _whole(options: Mapping[str, Any], key: str, default: int) -> int:
    value = options.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 20:
        raise ConfigError(f"provider 'gguf': option {key} is {value!r}; give a whole number")
    return value


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
