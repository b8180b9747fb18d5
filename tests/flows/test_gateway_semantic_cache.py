"""The semantic cache over HTTP: the same in other words is answered again, anything else never is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from equipoise.testing import FakeServer
from tests.gateway_world import CHAT, LARGE, SMALL, World, echo, say, serving, settings, world

ASKED = "How do I reverse a list in Python?"
SAME = "What is the way to reverse a Python list?"
# Each differs in the one word that matters.
NEAR = (
    "How do I reverse a list in Java?",
    "How do I sort a list in Python?",
    "How do I not reverse a list in Python?",
    "How do I reverse a list in Python 2?",
)
CACHE = {"cache": {"semantic": True}}
ROUTES = {"auto": CACHE, "second": CACHE, "bare": {}}
KEYED = {"port": 0, "keys": "required", "reload_s": 0.0}


def served(folder: Path, vendor: FakeServer, **changes: Any) -> Any:
    return world(folder, vendor, routes=ROUTES, **changes)


async def ask(gateway: World, text: str, *, model: str = "auto", **headers: str) -> tuple[str, str | None]:
    """What is said, and what the cache had."""
    status, document, told = await gateway.post(CHAT, {**say(text), "model": model}, **headers)
    assert status == 200
    return document["choices"][0]["message"]["content"], told.get("x-equipoise-cache")


async def test_a_paraphrase_is_answered_without_a_call_and_the_log_says_what_it_saved(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        first = await ask(gateway, ASKED)
        _, document, headers = await gateway.post(CHAT, say(SAME))
        assert first == (echo(ASKED), "miss") and headers["x-equipoise-cache"] == "semantic"
        assert document["choices"][0]["message"]["content"] == echo(ASKED) and len(vendor.requests) == 1
        status, known = await gateway.get("/v1/decisions/" + headers["x-equipoise-decision-id"])
        outcome = known["outcome"]
        assert status == 200 and outcome["cache"] == "semantic" and outcome["attempts"] == []
        assert outcome["cost_usd"] == outcome["routing_usd"] < outcome["saved_usd"]
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            text = await answer.text()
        hits = [line for line in text.splitlines() if "semantic" in line and not line.startswith("#")]
        assert hits and hits[0].endswith(" 1.0")


@pytest.mark.parametrize("near", NEAR)
async def test_a_near_miss_is_asked_anew(tmp_path: Path, near: str) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        await ask(gateway, ASKED)
        assert await ask(gateway, near) == (echo(near), "miss") and len(vendor.requests) == 2


async def test_a_stricter_threshold_lets_the_same_question_pass_only_where_every_word_agrees(tmp_path: Path) -> None:
    vendor, routes = FakeServer(echo), {"auto": {"cache": {"semantic": True, "threshold": 1.0}}}
    async with world(tmp_path, vendor, routes=routes) as gateway:
        await ask(gateway, "Who invented the telephone?")
        assert (await ask(gateway, "Please, who invented the telephone"))[1] == "semantic"
        assert (await ask(gateway, "Who is the inventor of the telephone?"))[1] == "miss"


async def test_another_tenant_never_gets_it(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor, server=KEYED) as gateway:
        ours, theirs = (gateway.gateway.keys.create(name="k", tenant=t, now=0.0)[0] for t in ("a", "b"))
        assert (await ask(gateway, ASKED, x_api_key=ours))[1] == "miss"
        assert await ask(gateway, SAME, x_api_key=theirs) == (echo(SAME), "miss")
        assert await ask(gateway, SAME, x_api_key=ours) == (echo(ASKED), "semantic")
        assert len(vendor.requests) == 2


async def test_another_route_or_model_never_gets_it(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        await ask(gateway, ASKED)
        assert await ask(gateway, SAME, model="second") == (echo(SAME), "miss")
        assert await ask(gateway, SAME, model="bare") == (echo(SAME), None)
        assert await ask(gateway, SAME, model="small-model") == (echo(SAME), None)
        assert len(vendor.requests) == 4


async def test_what_stands_around_the_question_must_be_the_same(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        await ask(gateway, ASKED)
        terse = [{"role": "system", "content": "Be terse."}, *say(SAME)["messages"]]
        for body in ({**say(SAME), "messages": terse}, say(SAME, temperature=0.5), say(SAME, max_tokens=9)):
            _, _, headers = await gateway.post(CHAT, body)
            assert headers["x-equipoise-cache"] == "miss"
        _, _, headers = await gateway.post(CHAT, say(SAME), x_equipoise_max_cost_usd="1")
        assert headers["x-equipoise-cache"] == "miss", "limits are part of what is asked"


async def test_the_opt_out_neither_reads_nor_writes(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        assert await ask(gateway, ASKED, x_equipoise_cache="off") == (echo(ASKED), None)
        assert await ask(gateway, SAME) == (echo(SAME), "miss"), "the first answer was not kept"
        assert await ask(gateway, ASKED, x_equipoise_cache="off") == (echo(ASKED), None)
        assert await ask(gateway, ASKED) == (echo(SAME), "semantic") and len(vendor.requests) == 3


async def test_a_streamed_hit_is_replayed_as_the_stream_that_it_was(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        streams, kinds = [], []
        for text in (ASKED, SAME):
            async with gateway.session.post(gateway.url + CHAT, json=say(text, stream=True)) as answer:
                assert answer.content_type == "text/event-stream"
                kinds.append(answer.headers["x-equipoise-cache"])
                streams.append(await answer.read())
        assert kinds == ["miss", "semantic"] and streams[0] == streams[1] and len(vendor.requests) == 1
        events = streams[1].split(b"\n\n")
        assert len(events) > 4 and events[-2] == b"data: [DONE]"
        chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == echo(ASKED)
        assert (await ask(gateway, SAME))[1] == "miss", "who does not stream gets no stream"


async def test_a_conversation_that_the_cache_began_is_known_by_the_model_that_wrote_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    thought = {"type": "thinking", "thinking": "t", "signature": "c2ln"}
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url, routes={"auto": CACHE, "sticky": {**CACHE, "affinity": "sticky"}})
        for model in document["models"]:
            model["deployments"] = [{"provider": "anthropic", "base_url": vendor.root_url}]
        async with serving(tmp_path, document) as gateway:
            for route, second in (("auto", SMALL), ("sticky", LARGE)):
                begun = [{"role": "user", "content": ASKED}]
                asked = {"model": route, "max_tokens": 99, "messages": begun}
                await gateway.post("/v1/messages", asked, x_equipoise_min_quality="0.8")
                begun[0] = {"role": "user", "content": SAME}
                _, _, hit = await gateway.post("/v1/messages", asked, x_equipoise_min_quality="0.8")
                assert (hit["x-equipoise-cache"], hit["x-equipoise-model"]) == ("semantic", LARGE)
                answer = {"role": "assistant", "content": [thought, {"type": "text", "text": "So."}]}
                asked["messages"] = [*begun, answer, {"role": "user", "content": "And now?"}]
                _, _, then = await gateway.post("/v1/messages", asked, x_equipoise_min_quality="0.1")
                assert then["x-equipoise-model"] == second
    assert ["thinking" in str(r["messages"]) for r in vendor.requests] == [False, False, False, True]


async def test_a_streamed_hit_is_read_by_anthropics_sdk(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with served(tmp_path, vendor) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            for text in (ASKED, SAME):
                message = {"role": "user", "content": text}
                async with client.messages.stream(model="auto", max_tokens=50, messages=[message]) as stream:  # type: ignore[list-item]
                    assert "".join([piece async for piece in stream.text_stream]) == echo(ASKED)
        assert len(vendor.requests) == 1
