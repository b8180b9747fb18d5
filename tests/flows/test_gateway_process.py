"""``equipoise serve`` as a process: checks, reloads, drains, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import yaml

from equipoise.cli.main import main
from equipoise.config import read_config
from equipoise.contracts import Provider
from equipoise.errors import ConfigError
from equipoise.gateway.logs import Lines
from equipoise.gateway.pool import ProviderPool
from equipoise.gateway.serve import opened, provider_of
from equipoise.storage.decisions import DecisionLog
from equipoise.storage.keys import KeyStore
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.types import Deployment
from tests.gateway_world import CHAT, LARGE, SMALL, echo, eventually, process, say, serving, settings, write
from tests.small_world import MODELS, write_small_table


def test_check_says_what_would_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, settings("http://127.0.0.1:9/v1"))
    assert main(["serve", "--config", str(path), "--check"]) == 0
    said = capsys.readouterr().out
    assert "route auto: static, cost_aware, 2 models" in said and f"model {SMALL}: openai_compatible" in said
    assert main(["serve", "--config", str(path), "--check", "--json", "--port", "99"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["routes"]["auto"]["models"] == [SMALL, LARGE] and document["server"]["port"] == 99
    assert not list(tmp_path.glob("kept.db*")), "a check writes nothing"


def test_the_check_names_keys_that_are_missing_also_where_the_vendors_own_variable_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    document = settings("http://127.0.0.1:9/v1")
    document["models"][0]["deployments"] = [{"provider": "anthropic"}]
    document["models"][1]["deployments"] = [{"provider": "gemini", "api_key_file": str(tmp_path / "none")}]
    assert main(["serve", "--config", str(write(tmp_path, document)), "--check"]) == 0
    [variable, file] = sorted(capsys.readouterr().err.splitlines(), reverse=True)
    assert "ANTHROPIC_API_KEY is not set" in variable and f"{tmp_path / 'none'}: No such file" in file


def test_the_check_names_models_that_the_router_knows_nothing_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = settings("http://127.0.0.1:9/v1")
    del document["models"][0]["quality"]
    path = write(tmp_path, document)
    assert main(["serve", "--config", str(path), "--check"]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: route 'auto': {SMALL}: its router knows nothing of them")
    del document["models"][1]["quality"]
    path = write(tmp_path, document)
    assert main(["serve", "--config", str(path), "--check"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    number = 1 + path.read_text().splitlines().index("  auto:")
    assert f"{path}:{number}: route 'auto' serves no request" in line and "give the models 'quality'" in line


def broken(change: Any) -> dict[str, Any]:
    document = settings("http://127.0.0.1:9/v1")
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "at", "said"),
    [
        (lambda d: d["models"][1].update(deployments=[]), "- capabilities", "has no deployments"),
        (lambda d: d["models"][0].pop("price"), "- capabilities", "no price"),
        (
            lambda d: d["models"][0]["deployments"][0].update(provider="opnai"),
            "  - &",
            "did you mean 'openai'?",
        ),
        (lambda d: d["models"][0]["deployments"][0].update(base_url="ftp://x"), "  - &", "is not a URL"),
        (lambda d: d["models"][0]["deployments"][0].update(base_url="http://[::1"), "  - &", "is not a URL"),
        (lambda d: d["models"][0]["deployments"][0].update(base_url="http://x:99999/v1"), "  - &", "is not a URL"),
        (lambda d: d["models"][0]["deployments"][0].update(base_url="me:mine@x/v1"), "  - &", "base_url is not a URL"),
        (lambda d: d["models"][0]["deployments"][0].update(base_url="http://x/v1?k=1"), "  - &", "no user, query"),
        (
            lambda d: d["models"][0]["deployments"][0].update(options={"timeot_s": 1}),
            "  - &",
            "did you mean 'timeout_s'?",
        ),
        (
            lambda d: d["models"][0]["deployments"][0].update(options={"timeout_s": "x"}),
            "  - &",
            "give seconds above 0",
        ),
        (lambda d: d["models"][0]["deployments"][0].update(options={"headers": 4}), "  - &", "mapping of names"),
        (lambda d: d["server"].update(host="0.0.0.0"), "host: 0.0.0.0", "server.keys is off"),
        (lambda d: d["routes"]["auto"].update(cache={"semantic": True, "false_hit_rate": 1e-7}), "cache:", "pairs"),
        (lambda d: d["storage"].update(url="sqlite:////no/such/folder/x.db"), "url: sqlite", "make it"),
        (lambda d: d["storage"].update(url="sqlite:////tmp"), "url: sqlite", "this is a folder"),
        (lambda d: d["routes"].update({SMALL: {}}), f"{SMALL}: {{}}", "both a route and a model"),
        (lambda d: d["routes"]["auto"].update(router={"type": "statc"}), "router:", "did you mean 'static'?"),
        (lambda d: d["routes"]["auto"].update(router={"file": "none.npz"}), "auto:", "none.npz"),
        (lambda d: d["routes"]["auto"].update(fallback=["nobody"]), "fallback:", "unknown model 'nobody'"),
        (lambda d: d["routes"]["auto"].update(models=[SMALL, "nobody"]), "- nobody", "unknown model 'nobody'"),
        (lambda d: d["routes"]["auto"].update(models=[SMALL], fallback=[LARGE]), "fallback:", f"model '{LARGE}'"),
        (lambda d: d["routes"]["auto"].update(constraints={"region": "eu"}), "region: eu", "regions: none"),
        (
            lambda d: d["routes"]["auto"].update(policy={"type": "cascade", "test": "reward"}),
            "test: reward",
            "nobody makes the check 'reward'",
        ),
        (lambda d: d["routes"]["auto"].update(router={"type": "static", "spred": 1}), "spred: 1", "'spread'?"),
        (lambda d: d["routes"]["auto"].update(router={"spread": 1}), "router:", "has no 'type'"),
        (lambda d: d["routes"]["auto"].update(router={"file": 5}), "file: 5", "the name of a file"),
        (lambda d: d["routes"]["auto"].update(router={"file": "x", "k": 5}), "k: 5", "stands beside 'file'"),
        (lambda d: d["routes"]["auto"]["policy"].update(cost_weight=-4), "cost_weight: -4", "not -4"),
        (lambda d: d["routes"]["auto"].update(policy={"type": "budget"}), "policy:", "needs the parameter"),
        (lambda d: d["routes"]["auto"].update(best_of=[f"{SMALL}*3"]), "best_of:", "needs measured answers"),
        (lambda d: d["storage"].update(url="mysql://x"), "url: mysql", "storage.url"),
        (
            lambda d: d["models"][1].update(price={"usd_per_compute_s": 1e-5}),
            "auto:",
            f"no price for model '{LARGE}': the policy weighs costs, and of one that is paid by compute time",
        ),
    ],
)
def test_a_configuration_that_cannot_be_served_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, at: str, said: str
) -> None:
    path = write(tmp_path, broken(change))
    assert main(["serve", "--config", str(path), "--check"]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and str(path) in told.err and said in told.err, told.err
    if at:
        number = told.err.partition(f"{path}:")[2].partition(":")[0]
        assert at in path.read_text().splitlines()[int(number) - 1], told.err
    assert not told.out


def test_a_check_of_a_public_address_writes_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = settings("http://127.0.0.1:9/v1")
    document["server"].update(host="0.0.0.0", keys="required")
    assert main(["serve", "--config", str(write(tmp_path, document)), "--check"]) == 2
    assert "there is no valid key" in capsys.readouterr().err and not list(tmp_path.glob("kept.db*"))


def test_a_password_in_a_base_url_is_refused_and_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = settings("http://me:secret@127.0.0.1:9/v1")
    assert main(["serve", "--config", str(write(tmp_path, document)), "--check"]) == 2
    told = capsys.readouterr()
    assert "no user, query or fragment" in told.err and "secret" not in told.err + told.out


@pytest.mark.parametrize("unwritable", ["kept.db", "."])
def test_a_database_that_cannot_be_written_is_told_before_anything_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unwritable: str
) -> None:
    path = write(tmp_path, settings("http://127.0.0.1:9/v1"))
    KeyStore("sqlite:///kept.db", folder=tmp_path).close()
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path / unwritable)  # root may write all
    for check in (["--check"], []):
        assert main(["serve", "--config", str(path), *check]) == 2
        assert f"{tmp_path / unwritable}: cannot be written; give this user the right to" in capsys.readouterr().err


def test_a_database_that_cannot_be_opened_is_told_by_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, settings("http://127.0.0.1:9/v1"))
    (tmp_path / "kept.db").write_text("this is no database, but a letter")
    assert main(["serve", "--config", str(path), "--check"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "kept.db: cannot be opened (file is not a database)" in line
    assert (tmp_path / "kept.db").read_text() == "this is no database, but a letter"


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, settings("http://127.0.0.1:9/v1"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--config", str(path), "--port", str(taken.getsockname()[1])]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"equipoise serve: {path}:") and "cannot listen on 127.0.0.1:" in line


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_a_host_that_is_none_is_told_in_one_line(tmp_path: Path, host: str) -> None:
    document = settings("http://127.0.0.1:9/v1")
    path, lines = write(tmp_path, document), Lines(lambda _: None)
    async with opened(read_config(path), path, lines) as one:
        one.gateway.settings = one.gateway.settings.model_copy(update={"host": host})
        with pytest.raises(ConfigError, match=r"cannot listen on .*; name another host or port"):
            await one.listen()
    lines.close()


async def ask(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> tuple[int, Any, str]:
    async with session.post(url + CHAT, json=body) as answer:
        return answer.status, await answer.json(), answer.headers.get("x-equipoise-decision-id", "")


async def test_a_kill_loses_no_record_of_an_answered_request(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor, aiohttp.ClientSession() as session:
        write(tmp_path, settings(vendor.base_url))
        with process(tmp_path) as gateway:
            answered: list[str] = []

            async def keep_asking() -> None:
                while True:
                    status, _, decision_id = await ask(session, gateway.url, say("Hello"))
                    assert status == 200
                    answered.append(decision_id)

            asking = [asyncio.create_task(keep_asking()) for _ in range(8)]
            await eventually(lambda: len(answered) >= 200, 60)
            gateway.signal(signal.SIGKILL)
            await asyncio.to_thread(gateway.popen.wait)
            kept = list(answered)
            for task in asking:
                task.cancel()
            ended = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(e, aiohttp.ClientError | asyncio.CancelledError | OSError) for e in ended), ended
    log = DecisionLog("sqlite:///kept.db", folder=tmp_path)
    try:
        assert log.flush()
        records = [log.get(decision_id) for decision_id in kept]
        assert len(records) >= 200
        assert all(r is not None and r.outcome is not None and r.outcome.status == "ok" for r in records)
    finally:
        log.close()


async def test_other_programs_may_open_the_database_of_a_running_gateway(tmp_path: Path) -> None:
    document = settings("")
    document["server"]["keys"] = "required"

    def keys(*arguments: str) -> Any:
        command = [sys.executable, "-m", "equipoise", "keys", *arguments, "--json"]
        return json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)

    async with FakeServer(echo) as vendor:
        document["models"] = settings(vendor.base_url)["models"]
        write(tmp_path, document)
        made = keys("create", "--name", "app")
        headers = {"x-api-key": made["key"]}
        async with aiohttp.ClientSession(headers=headers) as session:
            with process(tmp_path) as gateway:
                assert (await ask(session, gateway.url, say("Hello")))[0] == 200
                keys("list")
                # Whoever closes the file last tidies up. That is not a command: the gateway has it open.
                assert (tmp_path / "kept.db-wal").exists(), "what the gateway writes to was deleted under it"
                keys("revoke", made["id"])
                until = time.monotonic() + 2.0
                while (await ask(session, gateway.url, say("Hello")))[0] != 401:
                    assert time.monotonic() < until, "a key that was revoked is still taken"


async def test_a_reload_during_a_stream_drops_nothing(tmp_path: Path) -> None:
    words = " ".join(str(i) for i in range(60))
    async with FakeServer(lambda p: words, between_s=0.01) as vendor, aiohttp.ClientSession() as session:
        document = settings(vendor.base_url)
        write(tmp_path, document)
        with process(tmp_path) as gateway:
            async with session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
                first = await answer.content.readline()
                document["models"] = document["models"][1:]
                document["routes"]["careful"] = {"router": {"type": "static"}}
                write(tmp_path, document)
                gateway.signal(signal.SIGHUP)
                await asyncio.to_thread(gateway.until, "configuration reloaded")
                status, _, _ = await ask(session, gateway.url, say("Hi", model="careful"))
                assert status == 200, "the new configuration is served while the stream goes on"
                rest = await answer.read()
            events = [e.removeprefix(b"data: ") for e in (first + rest).split(b"\n\n") if e.strip()]
            assert events[-1] == b"[DONE]"
            pieces = [json.loads(e) for e in events[:-1]]
            said = "".join(c["delta"].get("content") or "" for p in pieces for c in p["choices"])
            assert said == words
            status, _, _ = await ask(session, gateway.url, say("Hi", model=SMALL))
            assert status == 404, "the model that was taken out is gone"


async def test_a_bad_file_keeps_what_is_served_and_is_told(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        async with serving(tmp_path, document) as gateway:
            (tmp_path / "equipoise.yaml").write_text("models: [{nmae: x}]\n")
            assert await gateway.one.reloader.reload() is not None
            status, _, _ = await gateway.post(CHAT, say("Hello"))
            assert status == 200
            status, ready = await gateway.get("/readyz")
            assert status == 200 and "the one before is served" in ready["warnings"][0]
            assert "did you mean 'name'?" in gateway.lines[-2]["reason"]
            document["routes"]["auto"]["fallback"] = ["nobody"]
            path = write(tmp_path, document)
            refused = await gateway.one.reloader.reload()
            line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "fallback:" in text)
            assert refused is not None and refused.startswith(f"{path}:{line}: route 'auto': unknown model 'nobody'")
            del document["routes"]["auto"]["fallback"]
            write(tmp_path, document)
            assert await gateway.one.reloader.reload() is None
            assert (await gateway.get("/readyz"))[1]["warnings"] == []
            async with gateway.session.get(gateway.url + "/metrics") as answer:
                text = await answer.text()
            assert 'equipoise_config_reloads_total{result="refused"} 2.0' in text
            assert 'equipoise_config_reloads_total{result="done"} 1.0' in text


@pytest.mark.parametrize("error", [KeyError, SystemExit])
async def test_a_router_that_cannot_be_made_ready_keeps_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        async with serving(tmp_path, document) as gateway:

            def broken(*_: Any, **__: Any) -> Any:
                raise error("my secret")

            monkeypatch.setattr("equipoise.gateway.serving.engine_from", broken)
            document["routes"]["second"] = {}
            write(tmp_path, document)
            assert error.__name__ in str(await gateway.one.reloader.reload())
            assert (await gateway.post(CHAT, say("Hello")))[0] == 200 and "secret" not in str(gateway.lines)


async def test_a_reload_tells_of_keys_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        async with serving(tmp_path, document) as gateway:
            document["models"][0]["deployments"] = [
                {**document["models"][0]["deployments"][0], "api_key_env": "NO_SUCH_KEY"}
            ]
            write(tmp_path, document)
            assert await gateway.one.reloader.reload() is None
            told = [line for line in gateway.lines if line["event"] == "provider cannot be called"]
            assert [("NO_SUCH_KEY is not set" in line["reason"], line["level"]) for line in told] == [(True, "warning")]
            status, ready = await gateway.get("/readyz")
            assert status == 200 and "keys are missing" in ready["warnings"][0] and "NO_SUCH_KEY" not in str(ready)
            monkeypatch.setenv("NO_SUCH_KEY", "sk-1")
            assert (await gateway.get("/readyz"))[1]["warnings"] == []


async def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        async with serving(tmp_path, document) as gateway:
            watching = asyncio.create_task(gateway.one.reloader.watch(0.01))
            document["routes"]["second"] = {}
            write(tmp_path, document)
            await eventually(lambda: len(gateway.gateway.live.serving.routes) == 2)
            assert (await gateway.post(CHAT, say("Hello", model="second")))[0] == 200
            watching.cancel()


async def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    document = settings("http://127.0.0.1:9/v1")
    document["routes"] = {"auto": {}, "also": {}}
    async with serving(tmp_path, document) as gateway:
        reloader, path = gateway.one.reloader, tmp_path / "equipoise.yaml"
        document["routes"]["third"] = {}
        whole = yaml.safe_dump(document)
        for i in range(0, len(whole), 200):  # some of which are configurations
            path.write_text(whole[: i + 200])
            await reloader.look()
            assert len(gateway.gateway.live.serving.routes) == 2
        await reloader.look()
        assert len(gateway.gateway.live.serving.routes) == 3 and gateway.gateway.trouble is None


async def test_another_file_of_the_same_time_and_size_is_noticed(tmp_path: Path) -> None:
    """As where a link is changed to another version that was unpacked with the same time."""
    document = settings("http://127.0.0.1:9/v1")
    async with serving(tmp_path, document) as gateway:
        path, watching = tmp_path / "equipoise.yaml", asyncio.create_task(gateway.one.reloader.watch(0.01))
        os.link(path, tmp_path / "before")
        document["routes"] = {"also": document["routes"]["auto"]}
        fresh = tmp_path / "fresh.yaml"
        fresh.write_text(yaml.safe_dump(document))
        os.utime(fresh, ns=(1, path.stat().st_mtime_ns))
        fresh.replace(path)
        await eventually(lambda: list(gateway.gateway.live.serving.config.routes) == ["also"])
        watching.cancel()


async def test_a_file_that_changes_while_the_gateway_starts_is_noticed(tmp_path: Path) -> None:
    document = settings("http://127.0.0.1:9/v1")
    path = write(tmp_path, document)
    config, written = read_config(path), list[bytes]()
    document["routes"]["second"] = {}

    def changing(deployment: Deployment) -> Provider:
        write(tmp_path, document)
        return provider_of(deployment)

    lines = Lines(written.append)
    async with opened(config, path, lines, make=changing) as one:
        assert list(one.gateway.live.serving.config.routes) == ["auto"]
        watching = asyncio.create_task(one.reloader.watch(0.01))
        await eventually(lambda: len(one.gateway.live.serving.routes) == 2)
        watching.cancel()
    lines.close()


def learner(folder: Path) -> list[str]:
    """The command that serves a route which has to learn before it is served."""
    write_small_table(folder, "outcomes.parquet")
    place = {"provider": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}
    document = settings("")
    document["models"] = [{"name": m, "price": {"usd_per_call": 1.0}, "deployments": [place]} for m in MODELS]
    document["routes"]["auto"]["router"] = {"type": "knn", "table": "outcomes.parquet"}
    return [sys.executable, "-m", "equipoise", "serve", "--config", str(write(folder, document))]


def test_a_sighup_while_the_gateway_starts_is_heeded_when_it_has_started(tmp_path: Path) -> None:
    events = list[str]()
    with subprocess.Popen(learner(tmp_path), stderr=subprocess.PIPE, text=True) as popen:
        assert popen.stderr is not None
        for line in popen.stderr:
            events.append(json.loads(line)["event"])
            if events[-1] == "learning":
                popen.send_signal(signal.SIGHUP)
            elif events[-1] == "configuration reloaded":
                popen.kill()
    assert events == ["learning", "listening", "configuration reloaded"]


def test_a_sigterm_while_the_gateway_starts_stops_it(tmp_path: Path) -> None:
    with subprocess.Popen(learner(tmp_path), stderr=subprocess.PIPE, text=True) as popen:
        assert popen.stderr is not None and json.loads(popen.stderr.readline())["event"] == "learning"
        popen.send_signal(signal.SIGTERM)
        rest = popen.stderr.read()
    # By a handler: the first process of a container is not ended by a signal that it does not handle.
    assert popen.returncode == 0 and "Traceback" not in rest


async def test_a_reload_is_given_no_provider_that_is_being_closed() -> None:
    class Closing:
        closed = False

        async def close(self) -> None:
            await asyncio.sleep(0)
            self.closed = True

    pool = ProviderPool(lambda _: cast(Provider, Closing()))
    here, there = (Deployment(provider="openai", base_url=f"http://127.0.0.1:{port}") for port in (1, 2))
    first, second = pool.get(here), pool.get(there)
    releasing = asyncio.create_task(pool.keep_only(()))
    await asyncio.sleep(0)  # the first is being closed
    again = pool.get(there)
    await releasing
    assert cast(Closing, first).closed and cast(Closing, second).closed and not cast(Closing, again).closed


async def test_what_did_not_change_is_taken_over_by_a_reload(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        async with serving(tmp_path, document) as gateway:
            await gateway.post(CHAT, say("Hello"))
            before = gateway.gateway.live
            provider = gateway.one.pool.get(before.serving.models[SMALL].deployments[0])
            document["routes"]["second"] = {}
            write(tmp_path, document)
            assert await gateway.one.reloader.reload() is None
            after = gateway.gateway.live
            assert after is not before and after.serving.target("auto") is before.serving.target("auto")
            assert gateway.one.pool.get(after.serving.models[SMALL].deployments[0]) is provider


def test_an_address_given_to_the_command_is_no_change_of_the_file(tmp_path: Path) -> None:
    document = settings("http://127.0.0.1:9/v1")
    document["server"]["port"] = 8080
    write(tmp_path, document)
    with process(tmp_path, "--port", "0") as gateway:
        gateway.signal(signal.SIGHUP)
        gateway.until("configuration reloaded")
        gateway.signal(signal.SIGTERM)
        assert gateway.until("draining") == gateway.lines[-1]
        assert "changed for the next start only" not in {line["event"] for line in gateway.lines}


async def test_settings_of_the_process_wait_for_the_next_start(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        async with serving(tmp_path, document) as gateway:
            document["server"] = {"port": 0, "keys": "required", "reload_s": 0.0}
            document["log"] = {"retention_days": 3}
            write(tmp_path, document)
            assert await gateway.one.reloader.reload() is None
            assert gateway.lines[-1]["settings"] == ["server", "log.retention_days"]
            assert (await gateway.post(CHAT, say("Hello")))[0] == 200, "keys are still off"


async def test_a_setting_of_the_process_is_compared_with_that_of_its_start(tmp_path: Path) -> None:
    document = settings("http://127.0.0.1:9/v1")
    async with serving(tmp_path, document) as gateway:
        for days, waiting in ((3, True), (3, True), (None, False)):  # changed, still changed, as at the start
            document["log"] = {"retention_days": days}
            write(tmp_path, document)
            assert await gateway.one.reloader.reload() is None
            assert (gateway.lines[-1]["event"] == "changed for the next start only") is waiting


async def test_sigterm_lets_what_is_in_flight_end(tmp_path: Path) -> None:
    async with FakeServer(echo, between_s=0.03) as vendor, aiohttp.ClientSession() as session:
        write(tmp_path, settings(vendor.base_url))
        with process(tmp_path) as gateway:
            body = say("one two three four five six seven eight nine ten", stream=True)
            async with session.post(gateway.url + CHAT, json=body) as answer:
                await answer.content.readline()
                gateway.signal(signal.SIGTERM)
                await asyncio.to_thread(gateway.until, "draining")
                rest = await answer.read()
            assert rest.endswith(b"data: [DONE]\n\n")
            await asyncio.to_thread(gateway.until, "stopped")
            assert await asyncio.to_thread(gateway.popen.wait) == 0
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask(session, gateway.url, say("Hello"))


def test_closed_standard_streams_are_no_place_for_a_socket(tmp_path: Path) -> None:
    write(tmp_path, settings("http://127.0.0.1:9/v1"))
    with process(tmp_path, redirected="<&- >&-") as gateway:
        places = [Path(f"/proc/{gateway.popen.pid}/fd/{number}").resolve() for number in (0, 1)]
        assert places == [Path("/dev/null")] * 2
        gateway.signal(signal.SIGTERM)
        gateway.until("stopped")
        assert gateway.popen.wait() == 0


def test_the_gateway_takes_all_descriptors_that_it_may_have(tmp_path: Path) -> None:
    write(tmp_path, settings("http://127.0.0.1:9/v1"))
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual // 2, most))
    try:
        with process(tmp_path) as gateway:
            assert resource.prlimit(gateway.popen.pid, resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


async def test_what_does_not_end_in_time_is_cut(tmp_path: Path) -> None:
    stalling = FakeServer(echo, misbehave=lambda number, body: Misbehaviour(break_after=3, then="stall"))
    async with stalling as vendor, aiohttp.ClientSession() as session:
        write(tmp_path, settings(vendor.base_url, server={"port": 0, "drain_s": 0.2}))
        with process(tmp_path) as gateway:
            async with session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
                await answer.content.readline()
                gateway.signal(signal.SIGTERM)
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()
            await asyncio.to_thread(gateway.until, "stopped")
    log = DecisionLog("sqlite:///kept.db", folder=tmp_path)
    try:
        [record] = log.tail()
        assert record.outcome is not None
        assert (record.outcome.status, record.outcome.error) == ("cancelled", "gateway_stopped")
    finally:
        log.close()


def test_two_gateways_do_not_write_one_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, settings("http://127.0.0.1:9/v1"))
    with process(tmp_path) as gateway:
        assert main(["serve", "--config", str(path), "--port", "0"]) == 2
        assert f"process {gateway.popen.pid} writes this log" in capsys.readouterr().err


def test_the_benchmark_measures_everything_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["--rounds", "1", "--seconds", "0.5", "--connections", "2"]
    assert main(["bench", "gateway", *plan, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert set(found["servers"]) == {"direct", "bare proxy", "aiohttp application", "equipoise"}
    assert "round 1, equipoise" in said.err
    for name, server in found["servers"].items():
        assert server["failed"] == 0 and server["per_second"] > 0, name
