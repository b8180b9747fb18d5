"""The ``gguf`` provider against a stand-in worker that speaks the real one's protocol."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from equipoise.contracts import UpstreamCall
from equipoise.errors import ConfigError, MissingExtra, ProviderError
from equipoise.providers import gguf, make_provider
from equipoise.types import Deployment, Model
from tests.gateway_world import eventually

WORKER = """
import http.server, json, os, sys, threading
settings = json.loads(sys.stdin.readline())
kind = open(settings["path"]).read()
if kind == "hang":
    sys.stdin.read()
if kind == "die":
    os._exit(3)
if kind == "bad":
    print(json.dumps({"error": "not a model"}), flush=True)
    os._exit(0)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if kind == "crash":
            os._exit(3)
        self.rfile.read(int(self.headers["Content-Length"]))
        allowed = self.headers["Authorization"] == "Bearer " + settings["key"]
        text = json.dumps({
            "choices": [{"message": {"content": f"{os.getpid()} {settings['slots']} {settings['context']}"}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            "model": settings["name"],
        } if allowed else {}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
sys.stdin.read()
os._exit(0)
"""
MODEL = Model(name="m")
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(gguf, "_WORKER", worker)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    path = tmp_path / "model.gguf"
    path.write_text("good")
    return path


def provider(path: Path, **options: Any) -> gguf.Gguf:
    return gguf.Gguf(Deployment(provider="gguf", options={"path": str(path), **options}))


async def test_answers_name_the_model_and_no_file_of_this_machine(model_file: Path) -> None:
    caller = provider(model_file)
    reply = await caller.complete(MODEL, HELLO)
    await caller.close()
    assert reply.raw["model"] == "m" and str(model_file.parent) not in str(reply.raw)


async def test_the_worker_serves_and_ends_on_close(model_file: Path) -> None:
    caller = provider(model_file, slots=3, context=99)
    replies = await asyncio.gather(*(caller.complete(MODEL, HELLO) for _ in range(3)))
    await caller.close()
    pids = {reply.text.split()[0] for reply in replies}
    assert len(pids) == 1 and replies[0].text.endswith(" 3 99")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.pop()), 0)


async def test_a_worker_that_died_is_started_again_however_often_it_did_after_an_answer(model_file: Path) -> None:
    caller = provider(model_file)
    seen = set()
    for _ in range(5):
        pid = int((await caller.complete(MODEL, HELLO)).text.split()[0])
        seen.add(pid)
        os.kill(pid, 9)
        await caller._process.wait()  # type: ignore[union-attr]
    await caller.close()
    assert len(seen) == 5


async def test_a_worker_that_dies_of_every_call_is_started_again_a_few_times(model_file: Path) -> None:
    model_file.write_text("crash")
    caller = provider(model_file)
    for _ in range(4):
        with pytest.raises(ProviderError, match="connection lost"):
            await caller.complete(MODEL, HELLO)
        await caller._process.wait()  # type: ignore[union-attr]
    with pytest.raises(ProviderError, match="died 4 times without an answer") as caught:
        await caller.complete(MODEL, HELLO)
    assert not caught.value.retryable
    await caller.close()


async def test_the_worker_dies_with_its_parent(model_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, os, sys, importlib.util, pathlib\n"
        "importlib.util.find_spec = lambda name: object()\n"
        "from equipoise.providers import gguf\n"
        "from equipoise.types import Deployment, Model\n"
        f"gguf._WORKER = pathlib.Path({str(tmp_path / 'worker.py')!r})\n"
        "async def main():\n"
        f"    p = gguf.Gguf(Deployment(provider='gguf', options={{'path': {str(model_file)!r}}}))\n"
        f"    print((await p.complete(Model(name='m'), {HELLO!r})).text.split()[0], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    async with asyncio.timeout(5):
        while Path(f"/proc/{int(out)}/cmdline").exists() and Path(f"/proc/{int(out)}/cmdline").read_bytes():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("kind", "says"), [("bad", "not a model"), ("die", "the worker died")])
async def test_a_file_that_does_not_load_is_an_error_that_no_retry_mends(
    model_file: Path, kind: str, says: str
) -> None:
    model_file.write_text(kind)
    with pytest.raises(ProviderError, match=says) as caught:
        await provider(model_file).complete(MODEL, HELLO)
    assert not caught.value.retryable


async def test_a_worker_that_does_not_come_up_in_time_is_ended(model_file: Path) -> None:
    model_file.write_text("hang")
    caller = provider(model_file, startup_timeout_s=0.2)
    with pytest.raises(ProviderError, match="not loaded within 0.2 s"):
        await caller.complete(MODEL, HELLO)
    assert caller._process is None


async def test_a_call_that_is_given_up_while_the_model_is_loaded_has_not_left(model_file: Path) -> None:
    model_file.write_text("hang")
    caller = provider(model_file)
    call = UpstreamCall(model=MODEL, deployment=Deployment(provider="gguf"), kind="chat", body={"messages": HELLO})
    calling = asyncio.create_task(caller.send(call))
    await eventually(lambda: caller._process is not None)
    calling.cancel()
    await asyncio.wait([calling])
    await caller.close()
    assert calling.cancelled() and call.sent.begun is False, "so it is not billed"


async def test_a_file_with_another_checksum_is_refused(model_file: Path) -> None:
    with pytest.raises(ConfigError, match="sha256 is .*, expected abc"):
        await provider(model_file, sha256="abc").complete(MODEL, HELLO)
    good = provider(model_file, sha256=hashlib.sha256(b"good").hexdigest().upper())
    await good.complete(MODEL, HELLO)
    await good.close()


def test_without_the_extra_the_error_names_it(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"equipoise\[local\]"):
        make_provider(Deployment(provider="gguf", options={"path": str(model_file)}), secret=str)
