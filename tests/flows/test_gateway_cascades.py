"""Plans of several steps over HTTP: what is asked, returned and paid."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from equipoise.execution import Work
from equipoise.gateway.climbing import _Steps
from equipoise.gateway.waited import WaitedCalls
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.types import Decision, Plan, Request, Step
from equipoise.wire import Body
from tests.gateway_world import CHAT, LARGE, SMALL, World, logged_at_each_write, say, serving, settings, world

MESSAGES = {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "Which?"}]}


def climbing(
    gateway: World, monkeypatch: pytest.MonkeyPatch, *, samples: int = 3, last: tuple[str, ...] = (LARGE,)
) -> None:
    """The route asks the small model a few times, and the large one where the answers differ."""
    engine = gateway.gateway.live.serving.routes[0].engine
    decided = engine.decide_batch

    def decide_batch(requests: Sequence[Request]) -> list[Decision]:
        first = Step(model=SMALL, samples=samples, test="vote", accept_at=0.6)
        steps = (first, *(Step(model=name) for name in last))
        plan = Plan(model=SMALL, fallback=(LARGE,), steps=steps)
        return [replace(d, plan=plan) for d in decided(requests) if isinstance(d, Decision)]

    monkeypatch.setattr(engine, "decide_batch", decide_batch)


def unsure() -> FakeServer:
    """The small model says something else every time."""
    numbers = itertools.count()
    server = FakeServer(lambda prompt: f"answer {next(numbers)}")
    return server


async def test_all_models_that_a_turn_asked_are_cheaper_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unsure() as vendor:
        document = settings(vendor.base_url)
        for model in document["models"]:
            model["context_window"] = 20_000
            model["price"]["usd_per_1m_cached_input"] = 0.1 * model["price"]["usd_per_1m_input"]
        async with serving(tmp_path, document) as gateway:
            climbing(gateway, monkeypatch)
            told = [{"role": "system", "content": "Be brief. " * 1000}, {"role": "user", "content": "Which?"}]
            _, answer, headers = await gateway.post(CHAT, {"model": "auto", "messages": told})
            assert headers["x-equipoise-model"] == LARGE
            told += [answer["choices"][0]["message"], {"role": "user", "content": "And now?"}]
            _, _, then = await gateway.post(CHAT, {"model": "auto", "messages": told})
            first, second = gateway.record(headers), gateway.record(then)
            for cold, warm in zip(first.decision.candidates, second.decision.candidates, strict=True):
                assert cold.cost_usd is not None and warm.cost_usd is not None
                assert warm.cost_usd < 0.5 * cold.cost_usd, warm.model


async def test_answers_that_agree_are_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, FakeServer(lambda p: "Paris")) as gateway:
        climbing(gateway, monkeypatch)
        status, document, headers = await gateway.post(CHAT, say("Which?"))
        assert status == 200 and document["choices"][0]["message"]["content"] == "Paris"
        assert headers["x-equipoise-model"] == SMALL
        attempts = gateway.outcome(headers).attempts
        assert [a.model for a in attempts] == [SMALL] * 3 and sum(a.won for a in attempts) == 1


async def test_answers_that_differ_go_on_to_the_next_model_and_all_are_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = unsure()
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        _, document, headers = await gateway.post(CHAT, say("Which?"))
        assert headers["x-equipoise-model"] == LARGE and document["choices"][0]["message"]["content"] == "answer 3"
        outcome = gateway.outcome(headers)
        assert [(a.model, a.won) for a in outcome.attempts] == [(SMALL, False)] * 3 + [(LARGE, True)]
        paid = sum(a.cost_usd for a in outcome.attempts)
        assert outcome.cost_usd == pytest.approx(paid + outcome.routing_usd) and paid > 0
        *drawn, last = [r.get("temperature") for r in vendor.requests]
        # The three are asked for at the same time, each on a connection of its own.
        assert sorted(drawn, key=str) == [0.8, 0.8, None] and last is None


@pytest.mark.parametrize(
    ("said", "drawn"),
    [
        ({"temperature": 0}, [(0, None), (0.8, None), (0.8, None)]),
        ({"temperature": 0.3}, [(0.3, None)] * 3),
        ({"temperature": 0.3, "seed": 5}, [(0.3, 5), (0.3, 6), (0.3, 7)]),
    ],
)
async def test_answers_that_are_compared_are_drawn_apart_whatever_the_client_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], drawn: list[Any]
) -> None:
    vendor = FakeServer(lambda p: "Paris")
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        await gateway.post(CHAT, say("Which?", **said))
    assert sorted((r.get("temperature"), r.get("seed")) for r in vendor.requests) == drawn


async def test_the_accepted_answer_is_streamed_in_the_clients_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, unsure()) as gateway:
        climbing(gateway, monkeypatch)
        async with gateway.session.post(gateway.url + CHAT, json=say("Which?", stream=True)) as answer:
            text = (await answer.read()).decode()
            assert answer.headers["x-equipoise-model"] == LARGE
        events = [e.removeprefix("data: ") for e in text.split("\n\n") if e]
        said = [c["delta"].get("content") for e in events[:-1] for c in json.loads(e)["choices"]]
        assert events[-1] == "[DONE]" and "answer 3" in said
        async with gateway.session.post(gateway.url + "/v1/messages", json={**MESSAGES, "stream": True}) as answer:
            text = (await answer.read()).decode()
        assert "event: message_stop" in text and '"text":"answer 7"' in text.replace(": ", ":")
        status, document, _ = await gateway.post("/v1/messages", MESSAGES)
        assert status == 200 and document["content"][0]["text"] == "answer 11"


async def test_the_bill_of_a_streamed_cascade_is_logged_before_the_client_can_have_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, unsure()) as gateway:
        climbing(gateway, monkeypatch)
        logged = logged_at_each_write(gateway, monkeypatch)
        async with gateway.session.post(gateway.url + CHAT, json=say("Which?", stream=True)) as answer:
            await answer.read()
    assert logged[-1] and not any(logged[:-1])


async def test_calls_that_were_billed_and_brought_nothing_count_towards_the_limit_on_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def garbled(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(body='{"choices": [') if number in broken else None

    async def asked(limit: float) -> list[tuple[str, float]]:
        _, _, headers = await gateway.post(CHAT, say("Which? " * 50), x_equipoise_max_cost_usd=str(limit))
        return [(a.model, a.cost_usd) for a in gateway.outcome(headers).attempts]

    broken: set[int] = set()
    numbers = itertools.count()
    vendor = FakeServer(lambda p: f"answer {next(numbers)}", misbehave=garbled)
    async with world(tmp_path, vendor, execution={"attempts_per_model": 1, "max_attempts": 1}) as gateway:
        climbing(gateway, monkeypatch)
        _, document, _ = await gateway.post("/v1/route", say("Which? " * 50))
        dear = next(c["cost_usd"] for c in document["decision"]["candidates"] if c["model"] == LARGE)
        *cheap, last = await asked(1.0)
        one = cheap[0][1]
        assert [model for model, _ in cheap] == [SMALL] * 3 and last[0] == LARGE and one > 0
        broken |= {len(vendor.requests), len(vendor.requests) + 1}
        assert [model for model, _ in await asked(dear + 1.5 * one)] == [SMALL] * 3


async def test_cascades_at_once_do_not_spend_more_than_a_budget_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unsure() as vendor:
        document = settings(vendor.base_url, tenants={"default": {"budget": {"usd": 1.0}}})
        document["server"]["usd_per_core_hour"] = 0.0
        for model, usd in zip(document["models"], (0.01, 0.1), strict=True):
            model["price"] = {"usd_per_call": usd}
        async with serving(tmp_path, document) as gateway:
            climbing(gateway, monkeypatch)
            asked = [gateway.post(CHAT, say(f"Which? {i}")) for i in range(40)]
            answered = [status for status, _, _ in await asyncio.gather(*asked)].count(200)
            (standing,) = gateway.gateway.allowances.standings()
    assert answered >= 7 and 0.9 < standing.spent_usd <= 1.0 + 1e-9


@pytest.mark.parametrize("stream", [False, True])
async def test_a_route_with_a_cache_gives_the_accepted_answer_again_and_tells_what_all_its_calls_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    vendor = unsure()
    async with world(tmp_path, vendor, routes={"auto": {"cache": {"exact": True}}}) as gateway:
        climbing(gateway, monkeypatch)
        bodies, outcomes = [], []
        for said in ("miss", "exact"):
            async with gateway.session.post(gateway.url + CHAT, json=say("Which?", stream=stream)) as answer:
                bodies.append(await answer.read())
                assert answer.headers["x-equipoise-cache"] == said
                outcomes.append(gateway.outcome(answer.headers))
    assert bodies[0] == bodies[1] and b"answer 3" in bodies[0] and len(vendor.requests) == 4
    assert outcomes[1].attempts == () and (outcomes[1].model, outcomes[1].finish) == (LARGE, "stop")
    assert outcomes[1].saved_usd == pytest.approx(outcomes[0].cost_usd - outcomes[0].routing_usd)


@pytest.mark.parametrize(("down", "kept"), [(LARGE, False), (SMALL, True)])
async def test_an_answer_that_was_to_be_bettered_by_a_model_that_was_down_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, down: str, kept: bool
) -> None:
    def misbehave(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if ill and body["model"] == down else None

    ill, numbers = True, itertools.count()
    vendor = FakeServer(lambda p: f"answer {next(numbers)}", misbehave=misbehave)
    async with world(tmp_path, vendor, routes={"auto": {"cache": {"exact": True}}}) as gateway:
        climbing(gateway, monkeypatch)
        _, _, headers = await gateway.post(CHAT, say("Which?"))
        assert headers["x-equipoise-model"] == (SMALL if down == LARGE else LARGE)
        ill = False
        _, _, headers = await gateway.post(CHAT, say("Which?"))
        assert headers["x-equipoise-cache"] == ("exact" if kept else "miss") and headers["x-equipoise-model"] == LARGE


async def test_the_answer_of_a_cascades_fallback_is_not_kept_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] == SMALL else None

    vendor = FakeServer(lambda p: "x", misbehave=down)
    async with world(tmp_path, vendor, routes={"auto": {"cache": {"exact": True}}}) as gateway:
        climbing(gateway, monkeypatch, last=())
        for kept_s, then in ((60.0, "exact"), (0.0, "miss")):
            monkeypatch.setattr("equipoise.execution.cache._STANDS_IN_S", kept_s)
            found = [await gateway.post(CHAT, say(f"Which? {then}")) for _ in range(2)]
            assert [headers["x-equipoise-model"] for _, _, headers in found] == [LARGE, LARGE]
            assert [headers["x-equipoise-cache"] for _, _, headers in found] == ["miss", then]


async def test_the_answer_of_a_cascade_that_stopped_for_want_of_budget_is_not_kept_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.execution.cache._STANDS_IN_S", 0.0)
    async with unsure() as vendor:
        cached = {"auto": {"cache": {"exact": True}}}
        document = settings(vendor.base_url, routes=cached, tenants={"default": {"budget": {"usd": 0.2}}})
        document["server"]["usd_per_core_hour"] = 0.0
        for model, usd in zip(document["models"], (0.01, 0.1), strict=True):
            model["price"] = {"usd_per_call": usd}
        async with serving(tmp_path, document) as gateway:
            climbing(gateway, monkeypatch)
            found = [(await gateway.post(CHAT, say(said)))[2] for said in ("Why?", "Why?", "Which?", "Which?")]
    told = [(headers["x-equipoise-model"], headers["x-equipoise-cache"]) for headers in found]
    assert told == [(LARGE, "miss"), (LARGE, "exact"), (SMALL, "miss"), (SMALL, "miss")]


async def test_where_no_step_can_be_had_the_error_is_the_providers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = FakeServer(lambda p: "x", misbehave=lambda n, b: Misbehaviour(status=500))
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch, samples=1)
        status, document, headers = await gateway.post(CHAT, say("Which?"))
        assert status == 502 and document["error"]["code"] == "provider_error"
        assert {a.model for a in gateway.outcome(headers).attempts} == {SMALL, LARGE}


async def test_a_step_that_cannot_be_had_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] == SMALL else None

    async with world(tmp_path, FakeServer(lambda p: "x", misbehave=down)) as gateway:
        climbing(gateway, monkeypatch)
        status, _, headers = await gateway.post(CHAT, say("Which?"))
        assert status == 200 and headers["x-equipoise-model"] == LARGE


async def test_a_step_is_not_insisted_on_while_there_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] == SMALL else None

    async def asked() -> list[str]:
        status, _, headers = await gateway.post(CHAT, say("Which?"))
        assert status == 200 and headers["x-equipoise-model"] == LARGE
        return [a.model for a in gateway.outcome(headers).attempts]

    settings = {"attempts_per_model": 2, "max_attempts": 6, "backoff_s": 0.001, "breaker_min_calls": 2}
    async with world(tmp_path, FakeServer(lambda p: "x", misbehave=down), execution=settings) as gateway:
        climbing(gateway, monkeypatch, samples=1)
        assert await asked() == [SMALL, SMALL, LARGE]
        assert await asked() == [LARGE], "the breaker of the other is open"


async def test_a_step_that_hangs_leaves_half_of_the_time_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hanging(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(hang_s=30.0) if body["model"] == SMALL else None

    async with world(tmp_path, FakeServer(lambda p: "x", misbehave=hanging)) as gateway:
        climbing(gateway, monkeypatch)
        status, _, headers = await gateway.post(CHAT, say("Which?"), x_equipoise_timeout_s="1.2")
        assert status == 200 and headers["x-equipoise-model"] == LARGE


async def test_a_deployment_that_takes_all_of_the_gateways_time_counts_as_failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = FakeServer(lambda p: "x", misbehave=lambda n, b: Misbehaviour(hang_s=30.0))
    async with world(tmp_path, vendor, execution={"total_s": 0.2}) as gateway:
        climbing(gateway, monkeypatch, samples=1)
        assert (await gateway.post(CHAT, say("Which?")))[0] == 504
        assert max(place.error_rate for place in gateway.gateway.live.executor.status()) > 0


def saying(choice: dict[str, Any]) -> FakeServer:
    """A vendor whose every answer is this choice."""
    body = json.dumps({"id": "c", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    return FakeServer(lambda p: "Paris", misbehave=lambda n, b: Misbehaviour(body=body))


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [1],
        {"content": [{"token": "a", "logprob": None}]},
        {"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"a": 1}, {"b": 2}]}]},
        {"content": [{"token": "a", "logprob": 1e308, "top_logprobs": [{"logprob": 1e308}, {"logprob": 1}]}]},
    ],
)
async def test_log_probabilities_that_are_none_cost_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logprobs: Any
) -> None:
    class Sure(_Steps):
        def __init__(self, calls: WaitedCalls, work: Work, chat: Body, plan: Plan, *, signals: bool) -> None:
            super().__init__(calls, work, chat, plan, signals=True)

    message = {"role": "assistant", "content": "Paris"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    vendor = saying(choice)
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        monkeypatch.setattr("equipoise.gateway.climbing._Steps", Sure)
        status, document, _ = await gateway.post(CHAT, say("Which?"))
        assert status == 200 and document["choices"][0]["message"]["content"] == "Paris"
        assert "logprobs" not in document["choices"][0]


@pytest.mark.parametrize(
    ("path", "said"),
    [(CHAT, '"content":"Paris"'), ("/v1/messages", '"text":"Paris"'), ("/v1/responses", '"delta":"Paris"')],
)
async def test_an_answer_in_parts_is_streamed_as_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Paris"}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    vendor = saying(choice)
    question = {"model": "auto", "input": "Which?"} if path == "/v1/responses" else MESSAGES
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        async with gateway.session.post(gateway.url + path, json={**question, "stream": True}) as answer:
            text = await answer.text()
        assert said in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
async def test_an_answer_that_cannot_be_said_to_the_client_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    nameless = {"id": "1", "type": "function", "function": {"arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [nameless]}
    vendor = saying({"index": 0, "message": message, "finish_reason": "tool_calls"})
    question = {"model": "auto", "input": "Which?"} if path == "/v1/responses" else MESSAGES
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch, samples=1)
        status, document, headers = await gateway.post(path, {**question, "stream": stream})
        assert status == 502 and document["error"]["code"] == "provider_error"
        attempts = gateway.outcome(headers).attempts
        assert {a.model for a in attempts} == {SMALL, LARGE} and all(a.cost_usd > 0 for a in attempts)


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_that_the_client_asked_for_come_with_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    sure = {"content": [{"token": "Paris", "logprob": -0.25, "bytes": None, "top_logprobs": []}]}
    message = {"role": "assistant", "content": "Paris"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": sure}
    vendor = saying(choice)
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        asked = say("Which?", stream=stream, logprobs=True)
        async with gateway.session.post(gateway.url + CHAT, json=asked) as answer:
            text = await answer.text()
    events = [e.removeprefix("data: ") for e in text.split("\n\n") if e]
    documents = [json.loads(event) for event in events if event != "[DONE]"]
    assert [c["logprobs"] for d in documents for c in d["choices"] if c.get("logprobs")] == [sure]


async def test_hints_in_the_words_of_another_format_are_left_out_where_a_vendor_would_refuse_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = FakeServer(lambda p: "Paris")
    thinking = {**MESSAGES, "max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        assert (await gateway.post("/v1/messages", thinking))[0] == 200
        assert not any("reasoning_effort" in request for request in vendor.requests)
        assert (await gateway.post(CHAT, say("Which?", reasoning_effort="low")))[0] == 200
        assert vendor.requests[-1]["reasoning_effort"] == "low", "what the client said in these words is its own affair"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_whose_name_is_too_long_for_other_vendors_is_called_by_the_name_that_the_client_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    def call(prompt: str) -> Any:
        name = vendor.requests[-1]["tools"][0]["function"]["name"]
        assert len(name) <= 64
        return {"tool_calls": [{"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}]}

    vendor, name = FakeServer(call), "look_up_" * 12
    asked = {**MESSAGES, "stream": stream, "tools": [{"name": name, "input_schema": {"type": "object"}}]}
    async with world(tmp_path, vendor) as gateway:
        climbing(gateway, monkeypatch)
        async with gateway.session.post(gateway.url + "/v1/messages", json=asked) as answer:
            assert f'"{name}"' in await answer.text()
