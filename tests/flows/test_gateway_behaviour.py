"""Caches, conversations, failing routers, the log of prompts, traces: what a gateway does beyond one call."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientPayloadError, web
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from equipoise.analysis.tokens import count_tokens
from equipoise.config import ConfigError, read_config
from equipoise.execution.turns import Turns
from equipoise.gateway.decide import LONG_CHARACTERS
from equipoise.gateway.logs import Lines, lines_to_stderr
from equipoise.gateway.serving import _WARM_UP
from equipoise.gateway.traces import NoTraces, OtelTraces, open_traces
from equipoise.routers.static import Static
from equipoise.storage.reading import Record
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.types import Estimates
from tests.gateway_world import CHAT, LARGE, SMALL, World, echo, eventually, say, serving, settings, world, write
from tests.small_world import A_POEM, A_SUM, MODELS, POEM_MODEL, SUM_MODEL, write_small_table

CACHED = {"auto": {"cache": {"exact": True}}}


async def test_a_cached_answer_costs_no_call_and_says_what_it_saved(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        _, first, headers = await gateway.post(CHAT, say("Hello"))
        assert headers["x-equipoise-cache"] == "miss"
        _, again, cached = await gateway.post(CHAT, say("Hello"))
        assert again == first and cached["x-equipoise-cache"] == "exact" and len(vendor.requests) == 1
        outcome = gateway.outcome(cached)
        assert outcome.cache == "exact" and outcome.attempts == () and outcome.cost_usd == outcome.routing_usd
        assert outcome.saved_usd == gateway.outcome(headers).attempts[0].cost_usd
        _, _, off = await gateway.post(CHAT, say("Hello"), x_equipoise_cache="off")
        assert "x-equipoise-cache" not in off and len(vendor.requests) == 2


class Held(FakeServer):
    """A vendor that answers once it may."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.may = asyncio.Event()

    async def _answered(self, *asked: Any) -> web.StreamResponse:
        await self.may.wait()
        return await super()._answered(*asked)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Of each request that asked whether the same is being asked, what that was."""
    found: list[Any] = []
    wait = Turns.wait

    async def spy(self: Turns, key: Any, most_s: float) -> None:
        found.append(key)
        await wait(self, key, most_s)

    monkeypatch.setattr(Turns, "wait", spy)
    return found


async def test_of_those_who_ask_the_same_at_the_same_time_one_pays(tmp_path: Path, waiting: list[Any]) -> None:
    vendor = Held()
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        asked = [asyncio.create_task(gateway.post(CHAT, say("Hello"))) for _ in range(5)]
        off = asyncio.create_task(gateway.post(CHAT, say("Hello"), x_equipoise_cache="off"))
        await eventually(lambda: len(waiting) == 5 and len(vendor.requests) == 2)
        await asyncio.sleep(0.05)
        vendor.may.set()
        answers = await asyncio.gather(*asked, off)
        assert len(vendor.requests) == 2, "one for those who may share it, and one for who wants none of that"
        assert {status for status, _, _ in answers} == {200}
        shared = [gateway.outcome(headers) for _, _, headers in answers[:5]]
        assert sorted(outcome.cache for outcome in shared) == ["exact"] * 4 + ["miss"]
        assert sorted(len(outcome.attempts) for outcome in shared) == [0, 0, 0, 0, 1]
        hits = [outcome for outcome in shared if outcome.cache == "exact"]
        assert all(hit.cost_usd == hit.routing_usd and hit.saved_usd > 0 for hit in hits)
        assert all(hit.overhead_s < hit.latency_s - 0.04 for hit in hits), "to wait is no work"


async def test_an_answer_that_was_given_under_other_limits_is_not_given_again(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        found = []
        for limit in ("1", "2", "1"):
            _, _, headers = await gateway.post(CHAT, say("Hello"), x_equipoise_max_cost_usd=limit)
            found.append(headers["x-equipoise-cache"])
    assert found == ["miss", "miss", "exact"]


async def test_streams_of_the_same_do_not_wait_for_each_other(tmp_path: Path) -> None:
    vendor = Held()
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        asking = [gateway.session.post(gateway.url + CHAT, json=say("Hello", stream=True)) for _ in range(2)]
        answers = asyncio.gather(*asking)
        await eventually(lambda: len(vendor.requests) == 2)
        vendor.may.set()
        for answer in await answers:
            assert answer.status == 200 and (await answer.read()).endswith(b"[DONE]\n\n")


async def test_who_asks_the_same_as_one_that_goes_away_is_answered_all_the_same(
    tmp_path: Path, waiting: list[Any]
) -> None:
    vendor = Held()
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        leaves = asyncio.create_task(gateway.post(CHAT, say("Hello")))
        await eventually(lambda: len(vendor.requests) == 1)
        stay = [asyncio.create_task(gateway.post(CHAT, say("Hello"))) for _ in range(3)]
        await eventually(lambda: len(waiting) == 4)
        await asyncio.sleep(0.05)
        leaves.cancel()
        await eventually(lambda: len(vendor.requests) == 2)
        vendor.may.set()
        answers = await asyncio.gather(*stay)
        assert [status for status, _, _ in answers] == [200] * 3
        assert len(vendor.requests) == 2
        outcomes = [gateway.outcome(headers) for _, _, headers in answers]
        assert all(outcome.overhead_s < outcome.latency_s - 0.04 for outcome in outcomes)


async def test_the_answer_of_a_fallback_is_given_again_for_a_short_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.execution.cache._STANDS_IN_S", 0.0)
    failing = {SMALL}
    wrong = Misbehaviour(status=400)
    vendor = FakeServer(echo, misbehave=lambda number, body: wrong if body["model"] in failing else None)
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        for model, cached in ((LARGE, "miss"), (LARGE, "miss"), (SMALL, "miss"), (SMALL, "exact")):
            if model == SMALL:
                failing.clear()
            _, _, headers = await gateway.post(CHAT, say("Hello"))
            assert (headers["x-equipoise-model"], headers["x-equipoise-cache"]) == (model, cached)


async def test_a_cached_stream_is_replayed_as_a_stream(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor, routes=CACHED) as gateway:
        streams = []
        for _ in range(2):
            async with gateway.session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
                streams.append(await answer.read())
        assert streams[0] == streams[1] and streams[0].endswith(b"[DONE]\n\n") and len(vendor.requests) == 1


async def test_what_http_says_of_caches_holds_for_this_one(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor, routes=CACHED) as gateway:

        async def ask(text: str, wish: str = "") -> str | None:
            _, _, headers = await gateway.post(CHAT, say(text), **({"cache_control": wish} if wish else {}))
            return headers.get("x-equipoise-cache")

        assert await ask("A secret", "max-age=0, No-Store") is None
        assert await ask("A secret") == "miss", "it was not kept"
        assert await ask("A secret", "no-store") is None
        assert len(vendor.requests) == 3
        assert await ask("A secret", "no-cache") == "miss"
        assert await ask("A secret") == "exact"
        assert await ask("Something new", "no-cache") == "miss"
        assert await ask("Something new") == "exact", "it was kept"
        assert len(vendor.requests) == 5


async def test_betas_named_in_several_headers_are_all_passed_on_and_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, routes=CACHED)
        for model in document["models"]:
            model["deployments"] = [{"provider": "anthropic", "base_url": vendor.root_url}]
        async with serving(tmp_path, document) as gateway:
            body = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
            for betas in (("one", "two"), ("one",), ("one", "two")):
                headers = [("anthropic-beta", beta) for beta in betas]
                async with gateway.session.post(gateway.url + "/v1/messages", json=body, headers=headers) as answer:
                    assert answer.status == 200
        assert [headers["anthropic-beta"] for headers in vendor.headers] == ["one,two", "one"]


async def test_for_whom_a_request_is_anthropic_is_told_and_nobody_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        document["models"][0]["deployments"] = [{"provider": "anthropic", "base_url": vendor.root_url}]
        async with serving(tmp_path, document) as gateway:
            said = {"anthropic-user-profile-id": "uprof_1", "anthropic-workspace-id": "wrkspc_1"}
            for model in (SMALL, LARGE):
                asked = {**say("Hello", max_tokens=9), "model": model}
                assert (await gateway.post("/v1/messages", asked, **said))[0] == 200
        profiles = [headers.get("anthropic-user-profile-id") for headers in vendor.headers]
        assert profiles == ["uprof_1", None]
        assert not [headers for headers in vendor.headers if "anthropic-workspace-id" in headers]


async def test_tenants_share_no_cached_answer(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor, routes=CACHED, server={"port": 0, "keys": "required"}) as gateway:
        keys = [gateway.gateway.keys.create(name="k", tenant=t, now=0.0)[0] for t in ("a", "b")]
        for key in (*keys, *keys):
            await gateway.post(CHAT, say("Hello"), x_api_key=key)
        assert len(vendor.requests) == 2


def turns(*texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"model": "auto", "messages": [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]}


@pytest.mark.parametrize(("affinity", "second"), [("sticky", LARGE), ("off", SMALL)])
async def test_a_sticky_route_stays_with_the_model_of_the_conversation(
    tmp_path: Path, affinity: str, second: str
) -> None:
    async with world(tmp_path, routes={"auto": {"affinity": affinity}}) as gateway:
        _, _, headers = await gateway.post(CHAT, turns("Hello"), x_equipoise_min_quality="0.8")
        assert headers["x-equipoise-model"] == LARGE
        _, _, headers = await gateway.post(CHAT, turns("Hello", "Hi.", "And now?"))
        assert headers["x-equipoise-model"] == second
        assert {c.model: c.probability for c in gateway.record(headers).decision.candidates}[second] == 1.0
        _, _, headers = await gateway.post(CHAT, turns("Something else", "Yes?", "Never mind"))
        assert headers["x-equipoise-model"] == SMALL, "another conversation begins anew"


@pytest.mark.parametrize(("affinity", "second"), [("economic", LARGE), ("off", SMALL)])
async def test_an_economic_route_changes_model_only_for_more_than_the_prompt_cache_is_worth(
    tmp_path: Path, affinity: str, second: str
) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, routes={"auto": {"affinity": affinity}})
        small, large = document["models"]
        small["context_window"] = large["context_window"] = 8000
        large["price"] = {"usd_per_1m_input": 10.0, "usd_per_1m_cached_input": 0.5, "usd_per_1m_output": 4.0}
        system = {"role": "system", "content": "word " * 2500}
        async with serving(tmp_path, document) as gateway:

            async def ask(*texts: str, **headers: str) -> str:
                body = turns(*texts)
                body["messages"].insert(0, system)
                _, _, answered = await gateway.post(CHAT, body, **headers)
                return answered["x-equipoise-model"]

            assert await ask("Hello", x_equipoise_min_quality="0.8") == LARGE
            assert await ask("Hello", "Hi.", "And now?") == second, "most of the input is cheaper where it is cached"
            assert await ask("Another conversation") == SMALL


THOUGHT = {"type": "thinking", "thinking": "t", "signature": "c2ln"}


def thinking(*calls: str) -> dict[str, Any]:
    """A question, and the calls that were made for it so far, each after some thinking."""
    messages: list[Any] = [{"role": "user", "content": "Look"}]
    for name in calls:
        use = {"type": "tool_use", "id": name, "name": "look", "input": {}}
        messages.append({"role": "assistant", "content": [THOUGHT, use]})
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": name, "content": "r"}]})
    return {"model": "auto", "max_tokens": 99, "messages": messages}


@pytest.mark.parametrize("affinity", ["economic", "off"])
async def test_what_one_model_thought_is_not_sent_to_another_nor_sent_at_all_once_several_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, affinity: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, routes={"auto": {"affinity": affinity}})
        for model in document["models"]:
            model["deployments"] = [{"provider": "anthropic", "base_url": vendor.root_url}]
        async with serving(tmp_path, document) as gateway:
            for body, quality in ((thinking(), "0.8"), (thinking("a"), "0.8"), (thinking("a", "b"), "0.1")):
                await gateway.post("/v1/messages", body, x_equipoise_min_quality=quality)
            await gateway.post("/v1/messages", thinking("a", "b", "c"), x_equipoise_min_quality="0.1")
            await gateway.post("/v1/messages", thinking(), x_equipoise_min_quality="0.1")
            await gateway.post("/v1/messages", thinking("a"), x_equipoise_min_quality="0.1")
    assert [r["model"] for r in vendor.requests] == [LARGE, LARGE, SMALL, SMALL, SMALL, SMALL]
    thought = ["thinking" in str(r["messages"]) for r in vendor.requests]
    assert thought == [False, True, False, False, False, True], "a new conversation may begin like another"


async def test_what_one_model_thought_is_not_sent_to_another_that_is_asked_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        for model in document["models"]:
            model["deployments"] = [{"provider": "anthropic", "base_url": vendor.root_url}]
        async with serving(tmp_path, document) as gateway:

            async def thought_goes_to(name: str, *calls: str) -> bool:
                await gateway.post("/v1/messages", {**thinking(*calls), "model": name})
                return "thinking" in str(vendor.requests[-1]["messages"])

            asked = [(LARGE,), (LARGE, "a"), (SMALL, "a", "b"), (SMALL, "a", "b", "c")]
            assert [await thought_goes_to(*one) for one in asked] == [False, True, False, False]
            assert not await thought_goes_to(LARGE, "a", "b", "c", "d"), "it did not think what came in between"
            assert not await thought_goes_to("auto", "a", "b", "c", "d", "e")
            # Two models are compared on the same question: their conversations begin alike, and are two.
            asked = [(LARGE,), (SMALL,), (LARGE, "a"), (SMALL, "a"), (LARGE, "a", "b"), (SMALL, "a", "b")]
            assert [await thought_goes_to(*one) for one in asked] == [False, False, True, True, True, True]


async def test_reasoning_that_one_deployment_sealed_goes_to_no_other_of_the_same_model(tmp_path: Path) -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]}
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        place = document["models"][0]["deployments"][0]
        document["models"][0]["deployments"] = [{**place, "region": region} for region in ("eu", "us")]
        async with serving(tmp_path, document) as gateway:
            items: list[Any] = []
            for region in ("eu", "eu", "us", "us", "eu"):
                items += [{"role": "user", "content": "Go on"}]
                body = {"model": "auto", "input": items, "store": False}
                status, _, headers = await gateway.post("/v1/responses", body, x_equipoise_region=region)
                assert status == 200 and headers["x-equipoise-deployment"].endswith(region)
                items += [sealed, said]
    kinds = [[item.get("type") for item in r["input"]] for r in vendor.requests]
    assert ["reasoning" in of_one for of_one in kinds] == [False, True, False, False, False]
    assert all("id" not in item for item in vendor.requests[2]["input"])


async def test_who_stays_with_a_model_had_no_other_choice_whatever_the_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, routes={"auto": {"affinity": "sticky"}}) as gateway:
        policy = type(gateway.gateway.live.serving.routes[0].engine.policy)
        chosen = policy.choose

        def mixed(self: Any, situation: Any) -> Any:
            return chosen(self, situation)._replace(probability=np.where(situation.allowed, 0.5, 0.0))

        monkeypatch.setattr(policy, "choose", mixed)
        _, _, first = await gateway.post(CHAT, turns("Hello"))
        for _ in range(8):
            _, _, headers = await gateway.post(CHAT, turns("Hello", "Hi.", "And now?"))
            record = gateway.record(headers)
            assert record.decision.model == first["x-equipoise-model"]
            assert record.decision.selected.probability == 1.0


async def test_a_sticky_route_stays_with_its_model_in_a_loop_of_tools(tmp_path: Path) -> None:
    async with world(tmp_path, routes={"auto": {"affinity": "sticky"}}) as gateway:
        await gateway.post("/v1/messages", thinking(), x_equipoise_min_quality="0.8")
        _, _, headers = await gateway.post("/v1/messages", thinking("a"))
        assert headers["x-equipoise-model"] == LARGE


async def test_a_session_may_be_named(tmp_path: Path) -> None:
    async with world(tmp_path, routes={"auto": {"affinity": "sticky"}}) as gateway:
        await gateway.post(CHAT, say("Hello"), x_equipoise_session="s1", x_equipoise_min_quality="0.8")
        _, _, headers = await gateway.post(CHAT, say("Something else"), x_equipoise_session="s1")
        assert headers["x-equipoise-model"] == LARGE
        _, _, headers = await gateway.post(CHAT, say("Something else"), x_equipoise_session="s2")
        assert headers["x-equipoise-model"] == SMALL


async def test_a_router_that_fails_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, routes={"auto": {"fallback": [LARGE]}}) as gateway:
        route = gateway.gateway.live.serving.routes[0]

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError("a prompt: my secret")

        monkeypatch.setattr(route.engine.router, "predict_batch", broken, raising=False)
        status, _, headers = await gateway.post(CHAT, say("Hello"))
        assert status == 200 and headers["x-equipoise-model"] == LARGE, "the first of the named fallbacks"
        record = gateway.record(headers)
        assert record.decision.method == "without_router"
        cost = next(c.cost_usd for c in record.decision.candidates if c.model == LARGE)
        assert cost is not None
        status, _, headers = await gateway.post(CHAT, say("Hello"), x_equipoise_max_cost_usd=str(cost / 2))
        assert headers["x-equipoise-model"] == SMALL, "limits hold all the same"
        [told] = [line for line in gateway.lines if line.get("exception")][:1]
        assert told["exception"] == "ZeroDivisionError" and "secret" not in str(gateway.lines)
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            assert 'equipoise_degraded_decisions_total{route="auto"} 2.0' in await answer.text()


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The router ``static``, as one that is not quick and hangs on prompts of hang: whether it does, and its end."""
    hangs, end, predict = threading.Event(), threading.Event(), Static.predict_batch

    def waiting(router: Static, batch: Any, models: Any) -> Any:
        if any("hang" in text for text in batch.text):
            hangs.set()
            end.wait()
        return predict(router, batch, models)

    monkeypatch.setattr(Static, "quick", False)
    monkeypatch.setattr(Static, "predict_batch", waiting)
    try:
        yield hangs, end
    finally:
        end.set()


async def test_nobody_waits_for_the_router_of_another_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = {"auto": {"fallback": [LARGE], "decide_s": 600.0}}
    with hanging(monkeypatch) as (hangs, end):
        async with world(tmp_path, routes=routes) as gateway:
            caller = asyncio.create_task(gateway.post(CHAT, say("hang")))
            await eventually(hangs.is_set)
            for _ in range(3):
                status, _, headers = await gateway.post(CHAT, say("Hello"))
                assert status == 200 and headers["x-equipoise-model"] == SMALL, "what its router says"
            assert not caller.done()
            end.set()
            status, _, headers = await caller
            assert status == 200 and headers["x-equipoise-model"] == SMALL


@pytest.mark.parametrize(("decide_s", "callers"), [(0.05, {}), (600.0, {"x_equipoise_timeout_s": "0.1"})])
@pytest.mark.parametrize("prompt", ["hang", "hang" + "-" * LONG_CHARACTERS])
async def test_a_router_that_takes_too_long_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decide_s: float, callers: dict[str, str], prompt: str
) -> None:
    routes = {"auto": {"fallback": [LARGE], "decide_s": decide_s}}
    with hanging(monkeypatch):
        async with world(tmp_path, routes=routes) as gateway:
            status, document, _ = await gateway.post("/v1/route", say(prompt), **callers)
            assert status == 200
            record = gateway.record(document["decision_id"])
            assert (record.decision.method, record.decision.model) == ("without_router", LARGE)
            assert any(line.get("exception") == "TimeoutError" for line in gateway.lines)
            async with gateway.session.get(gateway.url + "/metrics") as answer:
                assert 'equipoise_degraded_decisions_total{route="auto"} 1.0' in await answer.text()


async def test_a_router_that_breaks_its_contract_is_done_without_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, routes={"auto": {"fallback": [LARGE]}}) as gateway:
        wild = np.array([[87.0, 0.5]])
        monkeypatch.setattr(Static, "__module__", "of_others")
        monkeypatch.setattr(Static, "predict_batch", lambda *_: Estimates(wild, np.full((1, 2), 0.1)))
        status, _, headers = await gateway.post(CHAT, say("Hello"))
        assert status == 200 and headers["x-equipoise-model"] == LARGE, "the first of the named fallbacks"
        [told] = [line for line in gateway.lines if line.get("exception") == "ContractError"]
        assert told["reason"].startswith(f"router 'static' expects 87 +- 0.1 of '{SMALL}'")


async def test_a_router_may_run_an_event_loop_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Static.predict_batch

    async def asked(router: Static, batch: Any, models: Any) -> Any:
        return predict(router, batch, models)

    monkeypatch.setattr(Static, "quick", False)
    monkeypatch.setattr(Static, "predict_batch", lambda *given: asyncio.run(asked(*given)))
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post("/v1/route", say("Hello"))
        assert status == 200 and gateway.record(document["decision_id"]).decision.method == "cost_aware"


async def test_a_router_that_fails_on_its_first_prompt_is_told_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(Static, "quick", False)
    monkeypatch.setattr(Static, "predict_batch", broken)
    said = (
        r"route 'auto': router 'static' with policy 'cost_aware' fails on a prompt: ConnectionError: nobody there .*py:"
    )
    with pytest.raises(ConfigError, match=said):
        async with world(tmp_path):
            pass


async def test_a_router_that_hangs_on_its_first_prompt_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(Static, "quick", False)
    monkeypatch.setattr(Static, "predict_batch", lambda *_: go_on.wait())
    monkeypatch.setattr("equipoise.gateway.serving._FIRST_S", 0.05)
    try:
        with pytest.raises(ConfigError, match="'static' .* did not decide on a prompt within 0.05 s"):
            async with world(tmp_path):
                pass
    finally:
        go_on.set()


async def test_a_router_that_says_nothing_of_any_model_is_done_without_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as gateway:
        router = gateway.gateway.live.serving.routes[0].engine.router
        nothing = np.full((1, 2), np.nan)
        monkeypatch.setattr(router, "predict_batch", lambda *_: Estimates(nothing, nothing), raising=False)
        status, _, headers = await gateway.post(CHAT, say("Hello"))
        assert status == 200 and headers["x-equipoise-model"] == SMALL
        assert gateway.record(headers).decision.method == "without_router"
        status, document, _ = await gateway.post(CHAT, say("Hello"), x_equipoise_max_cost_usd="0")
        assert status == 400 and document["error"]["code"] == "no_model", "limits hold all the same"


async def test_a_prompt_that_breaks_the_router_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as gateway:
        router = gateway.gateway.live.serving.routes[0].engine.router
        predict, sizes = router.predict_batch, []

        def broken(batch: Any, models: Any) -> Any:
            sizes.append(len(batch))
            if "poison" in batch.text:
                raise ZeroDivisionError
            return predict(batch, models)

        monkeypatch.setattr(router, "predict_batch", broken, raising=False)
        prompts = ["Hello", "poison", "Write a poem", "too long " * 7000, "What is 2 + 2?"]
        answers = await asyncio.gather(*(gateway.post(CHAT, say(prompt)) for prompt in prompts))
        assert [status for status, _, _ in answers] == [200, 200, 200, 400, 200]
        decided = [gateway.record(answers[i][2]).decision for i in (0, 1, 2, 4)]
        assert [decision.method for decision in decided] == [
            "cost_aware", "without_router", "cost_aware", "cost_aware"
        ]  # fmt: skip
        assert max(sizes) > 1, "some were decided together"


async def test_a_route_that_names_its_models_goes_to_no_other(tmp_path: Path) -> None:
    failing: set[str] = set()
    wrong = Misbehaviour(status=500)
    vendor = FakeServer(echo, misbehave=lambda number, body: wrong if body["model"] in failing else None)
    hard = "Prove that there are infinitely many primes of the form 4n + 3, then generalise it."
    routes = {"auto": {"policy": {"type": "quality_first"}}}
    routes["small"] = {**routes["auto"], "models": [SMALL]}
    async with world(tmp_path, vendor, routes=routes) as gateway:
        for route, model in (("auto", LARGE), ("small", SMALL)):
            _, _, headers = await gateway.post(CHAT, say(hard, model=route))
            assert headers["x-equipoise-model"] == model
        assert [c.model for c in gateway.record(headers).decision.candidates] == [SMALL]
        failing.add(SMALL)
        status, document, _ = await gateway.post(CHAT, say(hard, model="small"))
        assert status == 502 and document["error"]["code"] == "provider_error"
        status, document, _ = await gateway.post(CHAT, say("word " * 3000, model="small"))
        assert (status, document["error"]["code"]) == (400, "context_length_exceeded")
        status, _, _ = await gateway.post(CHAT, say("Hello", model=LARGE))
        assert status == 200, "by its own name it can be asked"


async def test_a_fallback_is_invisible_and_on_the_bill(tmp_path: Path) -> None:
    def down(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] == SMALL else None

    async with world(tmp_path, FakeServer(echo, misbehave=down)) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello"))
        assert status == 200 and headers["x-equipoise-model"] == LARGE
        outcome = gateway.outcome(headers)
        assert outcome.model == LARGE and {a.model for a in outcome.attempts} == {SMALL, LARGE}


async def test_a_decision_is_logged_before_its_model_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[int] = []
    async with world(tmp_path) as gateway:
        executor = gateway.gateway.live.executor
        run = executor.run

        async def asked(*args: Any, **more: Any) -> Any:
            known.append(gateway.gateway.log.status.recorded)
            return await run(*args, **more)

        monkeypatch.setattr(executor, "run", asked)
        assert (await gateway.post(CHAT, say("What is 2 + 2?")))[0] == 200
    assert known == [1]


async def test_prompts_are_kept_only_as_configured(tmp_path: Path) -> None:
    for kept, expected in (("none", None), ("redacted", "Mail [email] now"), ("full", "Mail a@b.example now")):
        folder = tmp_path / kept
        folder.mkdir()
        async with world(folder, log={"prompts": kept}) as gateway:
            _, _, headers = await gateway.post(CHAT, say("Mail a@b.example now"))
            assert gateway.record(headers).prompt == expected
            _, route, _ = await gateway.post("/v1/route", say("Mail a@b.example now"))
            assert gateway.record(route["decision_id"]).prompt == route["prompt"] == expected


async def test_a_client_that_goes_away_stops_the_call_and_is_billed(tmp_path: Path) -> None:
    vendor = FakeServer(lambda p: " ".join(["word"] * 500), between_s=0.01)
    async with world(tmp_path, vendor) as gateway:
        async with gateway.session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
            await answer.content.readline()
            decision_id = answer.headers["x-equipoise-decision-id"]
            answer.close()
        for _ in range(1000):
            record = gateway.gateway.log.get(decision_id)
            if record is not None and record.outcome is not None:
                break
            await asyncio.sleep(0.01)
        assert record is not None and record.outcome is not None
        assert record.outcome.status == "cancelled" and record.outcome.error == "client_gone"
        [attempt] = record.outcome.attempts
        assert 0 < attempt.usage.output_tokens < 500 and attempt.usage.estimated and attempt.cost_usd > 0


async def test_a_client_that_leaves_before_the_answer_begins_is_billed(tmp_path: Path) -> None:
    vendor = FakeServer(echo, delay_s=30.0)
    async with world(tmp_path, vendor) as gateway:
        asking = asyncio.create_task(gateway.post(CHAT, say("Hello")))
        while not vendor.requests:
            await asyncio.sleep(0.01)
        asking.cancel()
        for _ in range(1000):
            await asyncio.to_thread(gateway.gateway.log.flush)
            records = gateway.gateway.log.tail()
            if records and records[0].outcome is not None:
                break
            await asyncio.sleep(0.01)
        outcome = records[0].outcome
        assert outcome is not None and outcome.status == "cancelled"
        assert 0.0 <= outcome.overhead_s <= outcome.latency_s - outcome.attempts[0].latency_s + 1e-6
        assert [a.cost_usd > 0 for a in outcome.attempts] == [True], "the provider had the request"


async def test_more_requests_than_are_taken_at_once_are_refused(tmp_path: Path) -> None:
    vendor = FakeServer(echo, delay_s=0.3)
    async with world(tmp_path, vendor, server={"port": 0, "max_in_flight": 5}) as gateway:
        answers = await asyncio.gather(*(gateway.post(CHAT, say("Hello")) for _ in range(20)))
        statuses = sorted(status for status, _, _ in answers)
        assert statuses == [200] * 5 + [503] * 15
        refused = next(a for a in answers if a[0] == 503)
        assert refused[1]["error"]["code"] == "overloaded" and refused[2]["Retry-After"] == "1"
        assert (await gateway.get("/healthz"))[0] == 200


async def test_many_answers_at_once_do_not_pass_a_limit_on_the_cost(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        _, document, _ = await gateway.post("/v1/route", say("Hello"))
        limit = str(4 * document["decision"]["candidates"][0]["cost_usd"])
        for n, status in ((1, 200), (4, 200), (5, 400)):
            asked = await gateway.post(CHAT, say("Hello", n=n), x_equipoise_max_cost_usd=limit)
            assert asked[0] == status, (n, asked[1])
        assert asked[1]["error"]["code"] == "no_model"


async def test_a_trained_router_is_served(tmp_path: Path) -> None:
    write_small_table(tmp_path, "outcomes.parquet")
    async with FakeServer(echo) as vendor:
        place = {"provider": "openai_compatible", "base_url": vendor.base_url}
        price = {"usd_per_1m_input": 1.0, "usd_per_1m_output": 4.0}
        models = [{"name": m, "price": price, "deployments": [place]} for m in MODELS]
        router = {"type": "linear", "table": "outcomes.parquet"}
        policy = {"type": "cost_aware", "form": "linear", "cost_weight": 10}
        changes = {"models": models, "routes": {"auto": {"router": router, "policy": policy}}}
        async with world(tmp_path, vendor_of(vendor), **changes) as gateway:
            _, _, sums = await gateway.post(CHAT, say(A_SUM))
            _, _, poems = await gateway.post(CHAT, say(A_POEM))
            assert sums["x-equipoise-model"] != POEM_MODEL and poems["x-equipoise-model"] != SUM_MODEL
            first = gateway.lines[0]
            assert (first["event"], first["routes"]) == ("learning", ["auto"]), "silence for a minute looks like a hang"


def vendor_of(server: FakeServer) -> Any:
    """A vendor that is running already."""

    class Running:
        async def __aenter__(self) -> FakeServer:
            return server

        async def __aexit__(self, *error: object) -> None:
            return None

    return Running()


async def test_spans_of_a_request_and_its_calls_are_in_the_callers_trace(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()

    def down(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] == SMALL else None

    async with world(tmp_path, FakeServer(echo, misbehave=down)) as gateway:
        gateway.gateway.traces = OtelTraces("gateway", spans)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await gateway.post(CHAT, say("Hello"), traceparent=parent)
        gateway.gateway.traces.close()
        assert gateway.lines[-1]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    *calls, request = spans.get_finished_spans()
    assert f"{request.get_span_context().trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert request.name == "chat auto" and request.attributes is not None
    assert request.attributes["gen_ai.response.model"] == LARGE
    assert request.attributes["gen_ai.provider.name"] == "openai_compatible"
    assert all(c.parent is not None and c.parent.span_id == request.get_span_context().span_id for c in calls)
    assert {c.attributes["gen_ai.request.model"] for c in calls if c.attributes} == {SMALL, LARGE}
    assert request.start_time is not None and request.end_time is not None and request.start_time < request.end_time


async def test_a_callers_trace_state_of_any_length_costs_no_time(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with world(tmp_path) as gateway:
        gateway.gateway.traces = OtelTraces("gateway", spans)
        long = ",".join(f"v{i}={'x' * 50}" for i in range(10))  # nothing of which is wrong
        for state in ("vendor=of-the-caller", long):
            await gateway.post(CHAT, say("Hello"), traceparent=parent, tracestate=state)
        gateway.gateway.traces.close()
    requests = [span.get_span_context() for span in spans.get_finished_spans() if span.name == "chat auto"]
    told = [dict(request.trace_state) for request in requests]
    assert told == [{"vendor": "of-the-caller"}, {}], "older SDKs read it in time of the square of its length"


async def test_spans_of_a_stream_and_of_no_other_tell_when_it_began(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    async with world(tmp_path) as gateway:
        gateway.gateway.traces = OtelTraces("gateway", spans)
        await gateway.post(CHAT, say("Hello"))
        async with gateway.session.post(gateway.url + CHAT, json=say("Hello", stream=True)) as answer:
            await answer.read()
        gateway.gateway.traces.close()
    told = [span.attributes or {} for span in spans.get_finished_spans()]
    assert ["gen_ai.request.stream" in span for span in told] == [False, False, True, True]
    assert all(span["gen_ai.response.time_to_first_chunk"] > 0.0 for span in told[2:])


class Collector(InMemorySpanExporter):
    """Takes nothing; with ``stuck`` it also does not say so."""

    def __init__(self, stuck: bool = False) -> None:
        super().__init__()
        self.begun, self.over = threading.Event(), threading.Event()
        if not stuck:
            self.over.set()

    def export(self, spans: Any) -> SpanExportResult:
        self.begun.set()
        self.over.wait()
        return SpanExportResult.FAILURE


async def test_a_collector_that_takes_nothing_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        gateway.gateway.traces = traces = OtelTraces("gateway", Collector())
        await gateway.post(CHAT, say("Hello"))
        traces.close()
        _, ready = await gateway.get("/readyz")
        assert ready["ready"] and "traces" in ready["warnings"][0]
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            assert "equipoise_spans_lost_total 2.0" in await answer.text()


async def test_a_collector_that_hangs_delays_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.gateway.traces._CLOSING_S", 0.01)
    collector = Collector(stuck=True)
    async with world(tmp_path) as gateway:
        gateway.gateway.traces = traces = OtelTraces("gateway", collector)
        await gateway.post(CHAT, say("Hello"))
        traces.close()
    collector.begun.wait()
    collector.over.set()


async def test_traces_are_off_unless_configured(tmp_path: Path) -> None:
    assert isinstance(open_traces(None), NoTraces)
    path = write(tmp_path, settings("http://127.0.0.1:9/v1", traces={"endpoit": "http://x"}))
    with pytest.raises(ConfigError, match="did you mean 'endpoint'"):
        read_config(path)


async def test_a_handler_that_fails_says_so_without_telling_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as gateway:

        def broken(*_: Any, **__: Any) -> Any:
            raise RuntimeError("password: hunter2")

        monkeypatch.setattr(gateway.gateway.log, "record", broken)
        status, document, _ = await gateway.post(CHAT, say("Hello"))
        assert status == 500 and document["error"]["code"] == "internal_error"
        assert "hunter2" not in str(document) and "hunter2" not in str(gateway.lines)
        assert gateway.lines[-1]["exception"] == "RuntimeError" and gateway.lines[-1]["where"]
        assert gateway.gateway.in_flight == 0


async def test_a_request_that_no_call_answered_tells_what_it_cost_all_the_same(tmp_path: Path) -> None:
    vendor = FakeServer(echo, misbehave=lambda n, b: Misbehaviour(body='{"choices": [{"mess'))
    async with world(tmp_path, vendor) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello"))
        outcome = gateway.outcome(headers)
        assert status == 502 and outcome.cost_usd > outcome.routing_usd
        assert float(headers["x-equipoise-cost-usd"]) == pytest.approx(outcome.cost_usd, abs=1e-9)


async def test_a_request_that_fails_here_is_logged_with_the_calls_that_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as gateway:
        executor = gateway.gateway.live.executor
        run = executor.run

        async def broken(*given: Any, **named: Any) -> Any:
            await run(*given, **named)
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(executor, "run", broken)
        status, _, _ = await gateway.post(CHAT, say("Hello"))
        (record,) = tail_of(gateway)
        assert status == 500 and record.outcome is not None
        assert (record.outcome.status, record.outcome.error) == ("failed", "internal_error")
        assert len(record.outcome.attempts) == 1 and record.outcome.cost_usd > 0.0


async def test_a_stream_that_fails_here_is_cut_and_not_ended_as_if_it_were_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(stream: Any, *_: Any) -> Any:
        async for part in stream:
            yield part
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr("equipoise.gateway.answer.with_cost", broken)
    body = say("Tell me more of it", stream=True, stream_options={"include_usage": True})
    async with world(tmp_path) as gateway:
        with pytest.raises(ClientPayloadError):
            async with asyncio.timeout(5), gateway.session.post(gateway.url + CHAT, json=body) as answer:
                assert answer.status == 200
                await answer.read()
        await eventually(lambda: gateway.gateway.in_flight == 0)
        (record,) = tail_of(gateway)
        assert record.outcome is not None
        assert (record.outcome.status, record.outcome.error) == ("failed", "internal_error")
        assert [a.error for a in record.outcome.attempts] == ["cancelled"] and record.outcome.cost_usd > 0.0
        assert gateway.gateway.live.executor.status()[0].outstanding == 0


def tail_of(gateway: World) -> list[Record]:
    """The decisions in the log, all of it moved."""
    assert gateway.gateway.log.flush()
    return gateway.gateway.log.tail()


def test_lines_that_nobody_reads_hold_up_nothing() -> None:
    stuck, written = threading.Event(), list[bytes]()

    def slowly(data: bytes) -> None:
        stuck.wait(10)
        written.append(data)

    lines = Lines(slowly)
    for i in range(50_000):
        lines.say("event", number=i)
    stuck.set()
    lines.close()
    told = [json.loads(line) for line in b"".join(written).splitlines()]
    events = [line for line in told if line["event"] == "event"]
    dropped = sum(line["lines"] for line in told if line["event"] == "lines dropped")
    assert events[0]["number"] == 0 and dropped > 0 and len(events) + dropped == 50_000


def test_a_line_with_what_is_no_text_ends_no_log() -> None:
    written = list[bytes]()
    lines = Lines(written.append)
    for name in ("\udcff.yaml", "equipoise.yaml"):
        lines.say("event", file=name)
        lines._write()
    lines.close()
    assert [json.loads(line)["file"] for line in b"".join(written).splitlines()] == ["\udcff.yaml", "equipoise.yaml"]


async def test_what_the_event_loop_tells_without_an_error_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with lines_to_stderr():
        asyncio.get_running_loop().call_exception_handler({"message": "a task was destroyed"})
    [line] = capfd.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("asyncio", "error") and "exception" not in told


def test_warnings_and_failing_threads_put_only_lines_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("a prompt")

    with lines_to_stderr(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a prompt", RuntimeWarning, stacklevel=1)
        thread = threading.Thread(target=fail, name="mine")
        thread.start()
        thread.join()
    [line] = capfd.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["thread"], told["exception"]) == ("error", "mine", "ValueError")
    assert "prompt" not in line


def test_a_body_that_a_client_broke_is_no_error_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    with lines_to_stderr():
        for error in (web.RequestPayloadError("broken"), ValueError("ours")):
            logging.getLogger("aiohttp.server").error("unhandled", exc_info=error)
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["exception"] == "ValueError" and "ours" not in line


def test_what_is_decided_before_serving_has_a_word_that_the_tokenizer_must_split() -> None:
    # It makes ready what it splits with at the first such word: .2 s, which the first request had to wait.
    assert any(count_tokens(word) > 1 for word in re.findall("[A-Za-z]+", _WARM_UP))
