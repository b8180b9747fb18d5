"""A promised mean cost over HTTP: every bill moves the price, so what is spent comes to what was promised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml

from equipoise.gateway.serving import make_serving
from equipoise.policy.paced import Paced
from equipoise.testing import FakeServer, Misbehaviour
from tests.gateway_world import CHAT, LARGE, SMALL, World, echo, eventually, say, serving, settings, world, write


def paced(mean_cost_usd: float, **more: Any) -> dict[str, Any]:
    policy = {"type": "paced", "mean_cost_usd": mean_cost_usd, "pace": 10}
    return {"auto": {"router": {"type": "static"}, "policy": policy, "affinity": "off", **more}}


def price_of(gateway: World) -> float:
    policy = gateway.gateway.live.serving.routes[0].engine.policy
    assert isinstance(policy, Paced)
    return policy.price


async def bills(gateway: World, models: Sequence[str], **headers: str) -> tuple[list[float], set[str]]:
    """What requests to each of the named models or routes cost, and who answered them."""
    paid, by = [], set()
    for i, model in enumerate(models):
        status, _, told = await gateway.post(CHAT, {**say(f"Question number {i}"), "model": model}, **headers)
        assert status == 200
        paid.append(float(told["x-equipoise-cost-usd"]))
        by.add(told["x-equipoise-model"])
    return paid, by


async def test_the_mean_cost_of_some_hundred_requests_comes_to_the_promise(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        (small, large), _ = await bills(gateway, [SMALL, LARGE])
    assert large > 5 * small
    promise = 0.5 * (small + large)
    (tmp_path / "paced").mkdir()
    async with world(tmp_path / "paced", routes=paced(promise)) as gateway:
        paid, by = await bills(gateway, ["auto"] * 400)
    assert by == {SMALL, LARGE}
    assert mean(paid[:50]) != pytest.approx(promise, rel=0.1), "it began elsewhere"
    assert mean(paid[100:]) == pytest.approx(promise, rel=0.08)


async def test_a_failure_that_was_billed_raises_the_price_and_one_for_nothing_does_not(tmp_path: Path) -> None:
    def down(number: int, body: Any) -> Misbehaviour | None:
        garbled = Misbehaviour(body='{"choices": [')
        return garbled if "garbled" in str(body) else Misbehaviour(status=503)

    async with world(tmp_path, FakeServer(echo, misbehave=down), routes=paced(1e-7)) as gateway:
        before = price_of(gateway)
        status, _, _ = await gateway.post(CHAT, say("Hello"))
        assert status == 502 and price_of(gateway) == before
        status, _, _ = await gateway.post(CHAT, say("garbled, please"))
        assert status == 502 and price_of(gateway) > before


async def test_a_policy_that_fails_to_take_a_bill_leaves_the_request_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(policy: Paced, cost_usd: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Paced, "paid", broken)
    async with world(tmp_path, routes=paced(1e-6)) as gateway:
        await bills(gateway, ["auto"])
        await eventually(lambda: any(line["event"] == "request" for line in gateway.lines))
        [told] = [line for line in gateway.lines if line.get("exception")]
        assert (told["exception"], told["route"]) == ("ZeroDivisionError", "auto")
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            assert f'requests_total{{model="{SMALL}",route="auto",status="ok"}} 1.0' in await answer.text()


async def test_a_policy_that_cannot_go_on_where_it_stood_is_reloaded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(policy: Paced, before: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Paced, "follow", broken)
    async with world(tmp_path, routes=paced(1e-6)) as gateway:
        before = gateway.gateway.live
        write(
            tmp_path,
            settings(before.serving.models[SMALL].deployments[0].base_url or "", routes=paced(1e-6, fallback=[LARGE])),
        )
        assert await gateway.one.reloader.reload() is None
        assert gateway.gateway.live is not before
        [told] = [line for line in gateway.lines if line.get("exception")]
        assert (told["exception"], told["route"]) == ("ZeroDivisionError", "auto")


async def test_decisions_without_a_call_and_models_asked_by_name_leave_the_price(tmp_path: Path) -> None:
    async with world(tmp_path, routes=paced(1e-6)) as gateway:
        before = price_of(gateway)
        await bills(gateway, [LARGE, SMALL])
        assert (await gateway.post("/v1/route", say("Hello")))[0] == 200
        assert price_of(gateway) == before
        await bills(gateway, ["auto"])
        assert price_of(gateway) != before


async def test_all_tenants_of_a_route_move_one_price(tmp_path: Path) -> None:
    keyed = {"port": 0, "keys": "required", "reload_s": 0.0}
    async with world(tmp_path, routes=paced(1e-6), server=keyed) as gateway:
        prices = [price_of(gateway)]
        for tenant in ("a", "b"):
            key, _ = gateway.gateway.keys.create(name="k", tenant=tenant, now=0.0)
            await bills(gateway, ["auto"], x_api_key=key)
            prices.append(price_of(gateway))
        assert len(set(prices)) == 3


async def test_a_reload_keeps_the_price_unless_the_promise_changes(tmp_path: Path) -> None:
    def changed(routes: dict[str, Any]) -> None:
        before = yaml.safe_load((tmp_path / "equipoise.yaml").read_text())
        write(tmp_path, {**before, "routes": routes})

    async with world(tmp_path, routes=paced(1e-5)) as gateway:
        start = price_of(gateway)
        await bills(gateway, ["auto"] * 5)
        moved = price_of(gateway)
        assert moved != start
        changed(paced(1e-5, constraints={"min_quality": 0.1}))
        assert await gateway.one.reloader.reload() is None
        assert price_of(gateway) == moved
        changed(paced(2e-5))
        assert await gateway.one.reloader.reload() is None
        assert price_of(gateway) == pytest.approx(start / 2)


async def test_bills_that_come_while_a_configuration_is_made_ready_move_the_price_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, go_on = threading.Event(), threading.Event()

    def slowly(*args: Any, **more: Any) -> Any:
        ready = make_serving(*args, **more)
        made.set()
        assert go_on.wait(30.0)
        return ready

    async with FakeServer(echo, delay_s=0.2) as vendor:
        document = settings(vendor.base_url, routes=paced(1e-5))
        async with serving(tmp_path, document) as gateway:
            monkeypatch.setattr("equipoise.gateway.reload.make_serving", slowly)
            write(tmp_path, {**document, "routes": paced(1e-5, constraints={"min_quality": 0.1})})
            reloading = asyncio.create_task(gateway.one.reloader.reload())
            await eventually(made.is_set)
            told = Paced(mean_cost_usd=1e-5, pace=10)
            before, _ = await bills(gateway, ["auto"])
            asking = asyncio.create_task(bills(gateway, ["auto"]))
            await eventually(lambda: len(vendor.requests) == 2)
            go_on.set()
            assert await reloading is None
            during, _ = await asking
            for usd in (*before, *during):
                told.paid(usd)
            assert price_of(gateway) == pytest.approx(told.price, rel=1e-3)
