"""What tenants may ask for and spend, through a gateway."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from equipoise.gateway.allowances import Reserved
from equipoise.storage.decisions import DecisionLog
from equipoise.storage.migrations import MIGRATIONS, migrate
from equipoise.storage.store import Stored
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.traffic import Outcome
from tests.gateway_world import (
    BETTER,
    CHAT,
    LARGE,
    QUALITY,
    SMALL,
    World,
    echo,
    eventually,
    say,
    serving,
    settings,
    world,
    write,
)

REQUIRED = {"port": 0, "keys": "required", "reload_s": 0.0}
MESSAGES = "/v1/messages"


def key_of(gateway: World, tenant: str, scopes: str = "call") -> dict[str, str]:
    key, _ = gateway.gateway.keys.create(name="k", tenant=tenant, scopes=scopes.split(","), now=time.time())
    return {"Authorization": f"Bearer {key}"}


def logged(gateway: World) -> list[Stored]:
    gateway.gateway.log.flush()
    return list(gateway.gateway.log.store.rows())


def standing(gateway: World, tenant: str) -> Any:
    return next(one for one in gateway.gateway.allowances.standings() if one.tenant == tenant)


def budget(usd: float, **more: Any) -> dict[str, Any]:
    return {"a": {"budget": {"usd": usd, **more}}}


def models(base_url: str, **prices: float) -> list[dict[str, Any]]:
    """Models that cost so much a call, whatever they say."""
    place = {"provider": "openai_compatible", "base_url": base_url}
    return [
        {
            "name": name,
            "price": {"usd_per_call": usd},
            "context_window": 8000,
            "quality": BETTER if name == "dear" else QUALITY,
            "deployments": [place],
        }
        for name, usd in prices.items()
    ]


def billed(usd: float) -> Outcome:
    """How a request ended that cost so much."""
    return Outcome(decision_id="x", status="ok", finished=time.time(), cost_usd=usd)


async def test_one_request_too_many_is_refused_before_it_is_read_and_others_are_served(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, server=REQUIRED, tenants={"a": {"rpm": 2}})
        async with serving(tmp_path, document) as gateway:
            mine, other = key_of(gateway, "a"), key_of(gateway, "b")
            another = key_of(gateway, "a")
            assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 200
            assert (await gateway.post(CHAT, {"model": 5}, **another))[0] == 400
            status, told, headers = await gateway.post(CHAT, say("Hello"), **mine)
            assert (status, told["error"]["code"]) == (429, "tenant_rate_limited")
            assert 0 < int(headers["Retry-After"]) <= 61
            status, told, _ = await gateway.post(MESSAGES, say("Hello", max_tokens=5), **mine)
            assert (status, told["type"], told["error"]["type"]) == (429, "error", "rate_limit_error")
            assert (await gateway.get("/v1/models", **mine))[0] == 200
            assert (await gateway.post(CHAT, say("Hello"), **other))[0] == 200
            assert len(vendor.requests) == 2
            refused = [line for line in gateway.lines if line["event"] == "refused"]
            assert [(line["tenant"], line["error"]) for line in refused[-2:]] == [("a", "tenant_rate_limited")] * 2


async def test_when_little_is_left_a_cheaper_model_answers_and_then_none(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(
            vendor.base_url,
            models=models(vendor.base_url, cheap=0.1, dear=0.4),
            routes={"auto": {"router": {"type": "static"}, "policy": {"type": "quality_first"}}},
            server={**REQUIRED, "usd_per_core_hour": 0.0},
            tenants=budget(1.0),
        )
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a", "call,read,admin")
            answered = []
            for _ in range(4):
                status, _, headers = await gateway.post(CHAT, say("Prove it"), **mine)
                answered.append((status, headers["x-equipoise-model"]))
            assert answered == [(200, "dear"), (200, "dear"), (200, "cheap"), (200, "cheap")]
            _, explained = await gateway.get(f"/v1/decisions/{headers['x-equipoise-decision-id']}", **mine)
            dear = next(one for one in explained["decision"]["candidates"] if one["model"] == "dear")
            assert "0.1" in dear["refused"]
            assert (await gateway.post(CHAT, say("Prove it"), **mine))[0] == 429
            assert (await gateway.post(CHAT, {"model": 5}, **mine))[0] == 429, "it is not even read"
            status, told, headers = await gateway.post(CHAT, {**say("Prove it"), "model": "cheap"}, **mine)
            assert (status, told["error"]["code"]) == (429, "budget_exceeded")
            # Codex goes on trying at other types, and it, opencode and Qwen Code sleep as long as they are told to.
            assert told["error"]["type"] == "insufficient_quota"
            assert headers["x-should-retry"] == "false" and "Retry-After" not in headers
            assert len(vendor.requests) == 4
            (found,) = (await gateway.get("/admin/status", **mine))[1]["tenants"]
            assert found["tenant"] == "a" and found["spent_usd"] == pytest.approx(1.0) == found["budget_usd"]


@pytest.mark.parametrize("spent", [0.4, 0.5, 0.6])
async def test_an_answer_that_is_kept_is_given_however_little_is_left(tmp_path: Path, spent: float) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(
            vendor.base_url,
            models=models(vendor.base_url, only=0.2),
            routes={"auto": {"router": {"type": "static"}, "cache": {"exact": True}}, "plain": {}},
            server={**REQUIRED, "usd_per_core_hour": 0.0},
            tenants=budget(0.5),
        )
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 200
            gateway.gateway.allowances.of("a").settle(Reserved(0.0), billed(spent - 0.2))
            for again in (say("Hello"), say("Hello")):
                status, _, headers = await gateway.post(CHAT, again, **mine)
                assert (status, headers["x-equipoise-cache"]) == (200, "exact")
            for other in (say("Hullo"), {**say("Hello"), "model": "plain"}):
                status, told, _ = await gateway.post(CHAT, other, **mine)
                assert (status, told["error"]["code"]) == (429, "budget_exceeded")
            status, _, _ = await gateway.post(CHAT, say("Hello"), **mine, Cache_Control="no-cache")
            assert status == 429 and len(vendor.requests) == 1
            assert standing(gateway, "a").spent_usd == pytest.approx(spent)


async def test_an_answer_that_is_kept_takes_no_tokens(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        routes = {"auto": {"cache": {"exact": True}}}
        document = settings(vendor.base_url, routes=routes, server=REQUIRED, tenants={"a": {"tpm": 6}})
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            found = [await gateway.post(CHAT, say("Hello"), **mine) for _ in range(9)]
            assert [status for status, _, _ in found] == [200] * 9 and len(vendor.requests) == 1
            assert (await gateway.post(CHAT, say("Hello " * 20), **mine))[0] == 429


async def test_the_answer_of_a_cheaper_model_for_want_of_budget_is_given_again_for_a_short_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeServer(echo) as vendor:
        routed = {"router": {"type": "static"}, "policy": {"type": "quality_first"}, "cache": {"exact": True}}
        document = settings(
            vendor.base_url,
            models=models(vendor.base_url, cheap=0.1, dear=0.4),
            routes={"auto": routed},
            server={**REQUIRED, "usd_per_core_hour": 0.0},
            tenants=budget(0.35),
        )
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")

            async def ask(text: str) -> tuple[str, str]:
                _, _, headers = await gateway.post(CHAT, say(text), **mine)
                return headers["x-equipoise-model"], headers["x-equipoise-cache"]

            assert [await ask("Hello") for _ in range(2)] == [("cheap", "miss"), ("cheap", "exact")]
            monkeypatch.setattr("equipoise.execution.cache._STANDS_IN_S", 0.0)
            assert [await ask("Hullo") for _ in range(2)] == [("cheap", "miss"), ("cheap", "miss")]


async def test_a_model_of_ones_own_choice_is_not_replaced_by_a_cheaper_one(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(
            vendor.base_url,
            models=models(vendor.base_url, cheap=0.1, dear=0.4),
            server=REQUIRED,
            tenants=budget(0.3),
        )
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            status, told, _ = await gateway.post(CHAT, {**say("Hi"), "model": "dear"}, **mine)
            assert (status, told["error"]["code"]) == (429, "budget_exceeded")
            assert (await gateway.post(CHAT, {**say("Hi"), "model": "cheap"}, **mine))[0] == 200


async def test_where_even_the_cheapest_model_costs_more_than_is_left_nobody_is_told_to_wait_for_others(
    tmp_path: Path,
) -> None:
    def hang(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(hang_s=1000.0) if number == 1 else None

    async with FakeServer(echo, misbehave=hang) as vendor:
        document = settings(
            vendor.base_url,
            models=models(vendor.base_url, cheap=0.3, dear=0.4),
            server={**REQUIRED, "usd_per_core_hour": 0.0},
            tenants=budget(0.75),
        )
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            assert (await gateway.post(CHAT, {**say("Hi"), "model": "dear"}, **mine))[0] == 200
            hangs = asyncio.create_task(gateway.post(CHAT, {**say("Hi"), "model": "cheap"}, **mine))
            await eventually(lambda: len(vendor.requests) == 2)
            codes = []
            for n in (1, 2):
                status, told, _ = await gateway.post(CHAT, say("Hi", n=n), **mine)
                codes.append((status, told["error"]["code"]))
            assert codes == [(429, "tenant_rate_limited"), (429, "budget_exceeded")]
            hangs.cancel()


async def test_requests_at_once_do_not_spend_more_than_the_budget_together(tmp_path: Path) -> None:
    async with FakeServer(echo, delay_s=0.05) as vendor:
        document = settings(
            vendor.base_url,
            models=models(vendor.base_url, only=0.1),
            server={**REQUIRED, "usd_per_core_hour": 0.0},
            tenants=budget(1.05, per="day"),
        )
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            asked = [gateway.post(CHAT, say(f"Question {i}"), **mine) for i in range(40)]
            found = [status for status, _, _ in await asyncio.gather(*asked)]
            assert (found.count(200), found.count(429)) == (10, 30)
            assert len(vendor.requests) == 10
            assert standing(gateway, "a").reserved_usd == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("reloaded", [False, True])
async def test_what_was_spent_is_known_after_a_restart_also_of_what_no_store_has_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reloaded: bool
) -> None:
    # Nothing gets into the store that is not moved there at once.
    monkeypatch.setattr(DecisionLog, "_move_until_closed", lambda log: None)
    folder, killed = tmp_path / "one", tmp_path / "killed"
    folder.mkdir()
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, server=REQUIRED, tenants=budget(5.0))
        async with serving(folder, document) as gateway:
            mine = key_of(gateway, "a")
            for _ in range(3):
                assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 200
            spent = standing(gateway, "a").spent_usd
            shutil.copytree(folder, killed)
            assert not gateway.gateway.log.store.spent(0)
            billed = sum(stored.outcome.cost_usd for stored in logged(gateway) if stored.outcome)
            assert spent == pytest.approx(billed) and spent > 0
        async with serving(killed, {**document, "tenants": {}} if reloaded else document) as gateway:
            write(killed, document)
            assert await gateway.gateway.reload() is None
            assert standing(gateway, "a").spent_usd == pytest.approx(spent)
            assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 200
            assert standing(gateway, "a").spent_usd == pytest.approx(spent / 3 * 4, rel=0.2)


async def test_calls_that_failed_and_streams_that_were_left_count_as_they_are_billed(tmp_path: Path) -> None:
    async with FakeServer(echo, between_s=0.01) as vendor:
        document = settings(vendor.base_url, server=REQUIRED, tenants=budget(5.0))
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            async with gateway.session.post(
                gateway.url + CHAT, json=say("word " * 200, stream=True), headers=mine
            ) as answer:
                await answer.content.readline()
            for _ in range(200):
                if gateway.gateway.in_flight == 0 and standing(gateway, "a").reserved_usd == 0.0:
                    break
                await asyncio.sleep(0.01)
            (stored,) = logged(gateway)
            assert stored.outcome is not None and stored.outcome.status == "cancelled"
            assert standing(gateway, "a").spent_usd == pytest.approx(stored.outcome.cost_usd)


async def test_limits_come_and_go_with_the_configuration(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, server=REQUIRED)
        async with serving(tmp_path, document) as gateway:
            mine = key_of(gateway, "a")
            assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 200
            write(tmp_path, {**document, "tenants": {"*": {"budget": {"usd": 1e-9}}}})
            assert await gateway.gateway.reload() is None
            assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 429
            write(tmp_path, document)
            assert await gateway.gateway.reload() is None
            assert (await gateway.post(CHAT, say("Hello"), **mine))[0] == 200


async def test_a_budget_that_goes_while_a_request_is_decided_again_counts_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, server=REQUIRED, tenants=budget(1e-6))
        async with serving(tmp_path, document) as gateway:
            decide, limits = gateway.gateway.deciding.decide, list[Any]()

            async def decide_while_reloading(target: Any, asked: Any, said: Any, *more: Any, **options: Any) -> Any:
                limits.append(said.max_cost_usd)
                if len(limits) == 2:
                    gateway.gateway.allowances.limit({})
                return await decide(target, asked, said, *more, **options)

            monkeypatch.setattr(gateway.gateway.deciding, "decide", decide_while_reloading)
            assert (await gateway.post(CHAT, say("Hello"), **key_of(gateway, "a")))[0] == 200
            assert limits == [None, 1e-6]


async def test_limits_of_a_tenant_without_a_key_are_told_of(tmp_path: Path) -> None:
    async with world(tmp_path, tenants={"acem": {"rpm": 1}, "*": {"rpm": 5}, "default": {"rpm": 5}}) as gateway:
        gateway.one.reloader.tell_doubts()
        reasons = [line["reason"] for line in gateway.lines if line["event"] == "other than meant"]
        assert reasons == ["tenant 'acem' has limits and no key; name a tenant of: equipoise keys list"]


async def test_openais_client_does_not_try_again_when_nothing_is_left(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, tenants={"default": {"budget": {"usd": 1e-9}}})
        async with serving(tmp_path, document) as gateway:
            client = openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="none", max_retries=5)
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model=SMALL, messages=[{"role": "user", "content": "Hi"}])
            assert caught.value.code == "budget_exceeded"
            assert len([line for line in gateway.lines if line["event"] == "refused"]) == 1
            await client.close()


def test_a_log_of_before_knows_what_was_spent(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, MIGRATIONS[:2])
        for name, tenant, finished in (("x", "a", 86400.0), ("y", "a", 86401.0), ("z", "b", 0.0)):
            decision = (name, tenant, finished, "auto", "chat", LARGE, "{}")
            connection.execute(
                "INSERT INTO decisions (id, tenant, received, route, format, model, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                decision,
            )
            connection.execute(
                "INSERT INTO outcomes (id, finished, status, cost_usd, body) VALUES (?, ?, 'ok', 0.25, '{}')",
                (name, finished),
            )
        migrate(connection, path)
        found = connection.execute("SELECT tenant, day, cost_usd FROM spending ORDER BY tenant").fetchall()
    assert found == [("a", 1, 0.5), ("b", 0, 0.25)]
