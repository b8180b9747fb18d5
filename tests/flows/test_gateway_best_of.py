"""A cheap model asked several times as one more candidate of a route: configured, decided, called, billed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from equipoise.api import engine_from, open_answers, open_table, train
from equipoise.cli.main import main
from equipoise.config import read_config
from equipoise.errors import InputError
from equipoise.tables import write_table
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.types import Model, Price, Step
from tests.gateway_world import CHAT, World, say, settings, world, write
from tests.sampled import sampled_table, write_answers

CHEAP, DEAR, SEVERAL = "m1", "m2", "m1*3"
USD = {CHEAP: 3e-5, DEAR: 60e-5}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
# At this rate three answers of the cheap model are worth their price, and one of the dear model is not.
RATE = {"type": "cost_aware", "form": "linear", "cost_weight": 400}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outcomes with the sampled answers beside them."""
    folder = tmp_path_factory.mktemp("sampled")
    sampled = sampled_table(prompts=300, draws=3, seed=6, cost=(1.0, 3.0, 60.0))
    write_table(sampled.table, folder / "mine.parquet")
    write_answers(sampled, folder / "mine.answers.parquet")
    write_table(sampled.table, folder / "bare.parquet")
    return folder / "mine.parquet"


def configured(table: Path, **route: Any) -> dict[str, Any]:
    """The models and the route ``auto``; models come without a place."""
    models = [{"name": name, "price": {"usd_per_call": usd}, "capabilities": ["tools"]} for name, usd in USD.items()]
    router = {"type": "knn", "k": 60, "table": str(table)}
    return {"models": models, "routes": {"auto": {"router": router, "policy": RATE, "best_of": [SEVERAL], **route}}}


def placed(table: Path, vendor: FakeServer, **route: Any) -> dict[str, Any]:
    changes = configured(table, **route)
    place = {"provider": "openai_compatible", "base_url": vendor.base_url}
    return {**changes, "models": [{**model, "deployments": [place]} for model in changes["models"]]}


def asked(vendor: FakeServer) -> dict[str, int]:
    return dict(Counter(body["model"] for body in vendor.requests))


def in_turn(*said: str) -> FakeServer:
    """A vendor whose answers are these, over and over."""
    answers = itertools.cycle(said)
    return FakeServer(lambda prompt: next(answers))


class Started:
    """A vendor that runs already, for ``world``."""

    def __init__(self, vendor: FakeServer) -> None:
        self._vendor = vendor

    async def __aenter__(self) -> FakeServer:
        return self._vendor

    async def __aexit__(self, *error: object) -> None:
        return None


def served(folder: Path, table: Path, vendor: FakeServer, **route: Any) -> Any:
    return world(folder, Started(vendor), **placed(table, vendor, **route))  # type: ignore[arg-type]


async def look_up(gateway: World, headers: dict[str, str]) -> Any:
    status, document = await gateway.get("/v1/decisions/" + headers["x-equipoise-decision-id"])
    assert status == 200
    return document


async def qualities(gateway: World) -> dict[str, float]:
    _, route, _ = await gateway.post("/v1/route", QUESTION)
    return {c["model"]: c["quality"]["mean"] for c in route["decision"]["candidates"]}


QUESTION = say("capital question 77")


async def test_the_answer_that_most_calls_give_is_returned_and_every_call_is_paid(tmp_path: Path, table: Path) -> None:
    async with in_turn("Paris", "Lyon", "The answer is Paris.") as vendor, served(tmp_path, table, vendor) as gateway:
        status, document, headers = await gateway.post(CHAT, QUESTION)
        assert status == 200 and "Paris" in document["choices"][0]["message"]["content"]
        assert headers["x-equipoise-model"] == CHEAP and asked(vendor) == {CHEAP: 3}
        known = await look_up(gateway, headers)
        assert known["model"] == SEVERAL and len(known["outcome"]["attempts"]) == 3
        assert {c["model"] for c in known["decision"]["candidates"]} == {CHEAP, DEAR, SEVERAL}
        cost = {c["model"]: c["cost_usd"] for c in known["decision"]["candidates"]}
        assert cost[SEVERAL] == pytest.approx(3 * cost[CHEAP]) == pytest.approx(3 * USD[CHEAP])
        paid = float(headers["x-equipoise-cost-usd"])
        assert known["outcome"]["cost_usd"] == pytest.approx(3 * USD[CHEAP] + known["outcome"]["routing_usd"])
        assert paid == pytest.approx(known["outcome"]["cost_usd"], abs=1e-9)


async def test_it_stands_under_the_same_limits_as_any_candidate(tmp_path: Path, table: Path) -> None:
    async with in_turn("Paris") as vendor, served(tmp_path, table, vendor) as gateway:
        _, _, headers = await gateway.post(CHAT, QUESTION, x_equipoise_max_cost_usd=str(2 * USD[CHEAP]))
        assert (await look_up(gateway, headers))["model"] == CHEAP and asked(vendor) == {CHEAP: 1}
        vendor.requests.clear()
        _, _, headers = await gateway.post(CHAT, {**QUESTION, "tools": [TOOL]})
        known = await look_up(gateway, headers)
        assert known["model"] != SEVERAL and len(vendor.requests) == 1
        refused = {c["model"]: c["refused"] for c in known["decision"]["candidates"]}
        assert refused == {CHEAP: None, DEAR: None, SEVERAL: "lacks tools"}


async def test_it_serves_where_one_call_is_not_good_enough(tmp_path: Path, table: Path) -> None:
    async with in_turn("Paris", "Rome", "Paris") as vendor, served(tmp_path, table, vendor) as gateway:
        quality = await qualities(gateway)
        assert quality[CHEAP] < quality[SEVERAL] < quality[DEAR]
        between = 0.5 * (quality[CHEAP] + quality[SEVERAL])
        status, document, headers = await gateway.post(CHAT, QUESTION, x_equipoise_min_quality=str(between))
        known = await look_up(gateway, headers)
        assert {c["model"] for c in known["decision"]["candidates"] if c["refused"]} == {CHEAP}
        assert status == 200 and document["choices"][0]["message"]["content"] == "Paris" and asked(vendor) == {CHEAP: 3}


async def test_it_streams_the_answer_and_speaks_the_clients_format(tmp_path: Path, table: Path) -> None:
    body = {"model": "auto", "max_tokens": 9, "stream": True, "messages": QUESTION["messages"]}
    async with in_turn("Rome", "Paris", "Paris") as vendor, served(tmp_path, table, vendor) as gateway:
        async with gateway.session.post(gateway.url + "/v1/messages", json=body) as answer:
            text = (await answer.read()).decode()
        assert "event: message_stop" in text and "Paris" in text and "Rome" not in text and asked(vendor) == {CHEAP: 3}


@pytest.mark.parametrize(("policy", "down", "answers"), [(RATE, CHEAP, DEAR), ({"type": "quality_first"}, DEAR, CHEAP)])
async def test_fallbacks_are_single_calls(
    tmp_path: Path, table: Path, policy: dict[str, Any], down: str, answers: str
) -> None:
    def failing(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] == down else None

    async with FakeServer(lambda p: "Paris", misbehave=failing) as vendor:
        async with served(tmp_path, table, vendor, policy=policy) as gateway:
            status, _, headers = await gateway.post(CHAT, QUESTION)
            assert status == 200 and headers["x-equipoise-model"] == answers and asked(vendor)[answers] == 1


async def test_a_sticky_conversation_goes_on_with_single_calls_and_can_fall_back(tmp_path: Path, table: Path) -> None:
    lost: set[str] = set()

    def failing(number: int, body: Any) -> Misbehaviour | None:
        return Misbehaviour(status=503) if body["model"] in lost else None

    messages = [*QUESTION["messages"], {"role": "assistant", "content": "Paris"}, {"role": "user", "content": "Sure?"}]
    async with FakeServer(lambda p: "Paris", misbehave=failing) as vendor:
        async with served(tmp_path, table, vendor, affinity="sticky") as gateway:
            quality = await qualities(gateway)
            between = str(0.5 * (quality[SEVERAL] + quality[DEAR]))
            _, _, headers = await gateway.post(CHAT, QUESTION, x_equipoise_min_quality=between)
            assert headers["x-equipoise-model"] == DEAR
            _, _, headers = await gateway.post(CHAT, {**QUESTION, "messages": messages})
            assert headers["x-equipoise-model"] == DEAR, "it stays, though asking the cheap one thrice was decided on"
            lost.add(DEAR)
            vendor.requests.clear()
            status, _, headers = await gateway.post(CHAT, {**QUESTION, "messages": messages})
            assert status == 200 and headers["x-equipoise-model"] == CHEAP and asked(vendor)[CHEAP] == 1
            vendor.requests.clear()
            await gateway.post(CHAT, {**QUESTION, "messages": messages})
            assert asked(vendor) == {CHEAP: 3}, "it stays with the cheap one, asked as often as was decided on"


# ---------------------------------------------------------------- configuration, command line, library


def test_a_router_file_that_was_trained_with_it_serves_it(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = ["train", str(table), "--router", "knn:k=60", "--out", str(tmp_path / "router.npz")]
    assert main([*trained, "--models", f"{CHEAP},{DEAR}", "--best-of", "3", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["models"]) == {CHEAP, DEAR, SEVERAL, "m2*3"}
    document = configured(table, router={"file": "router.npz"})
    engine, _ = engine_from(read_config(write(tmp_path, document)), folder=tmp_path)
    decision = engine.decide("capital question 77")
    assert decision.model == SEVERAL and decision.plan.steps == (Step(model=CHEAP, samples=3, test="vote"),)
    assert decision.plan.fallback == (DEAR, CHEAP) or decision.plan.fallback == (CHEAP, DEAR)
    assert main([*trained, "--models", f"{CHEAP},{DEAR}", "--json"]) == 0
    with pytest.raises(InputError, match=r"router.npz: knows nothing of 'm1\*3'; train it with --best-of m1\*3"):
        engine_from(read_config(tmp_path / "equipoise.yaml"), folder=tmp_path)


def test_the_library_prices_every_answer(table: Path) -> None:
    opened = open_table(table, best_of=[SEVERAL])
    priced = [Model(name=name, price=Price(usd_per_1m_input=1e6, usd_per_call=usd)) for name, usd in USD.items()]
    engine = train(opened.only([CHEAP, SEVERAL]), router="knn:k=60", models=priced)
    cost = {c.model: c.cost_usd for c in engine.decide("capital question 77").candidates}
    assert cost[CHEAP] is not None and cost[SEVERAL] == pytest.approx(3 * cost[CHEAP])
    with pytest.raises(InputError, match="asks as often as it pays"):
        train(opened, policy="cascade:test=vote", answers=open_answers(table, opened.only([CHEAP])))


def test_a_route_may_have_a_cascade_that_learns_from_the_answers_beside_its_table(tmp_path: Path, table: Path) -> None:
    cascade = {"type": "cascade", "test": "vote", "steps": ["m1*3", "m2"], "max_loss": 0.5}
    document = configured(table, best_of=[], policy=cascade)
    engine, _ = engine_from(read_config(write(tmp_path, document)), folder=tmp_path)
    assert engine.decide("capital question 77").plan.steps, "it asks in steps"
    document["routes"]["auto"]["best_of"] = [SEVERAL]
    with pytest.raises(InputError, match="leave best of n out"):
        engine_from(read_config(write(tmp_path, document)), folder=tmp_path)


@contextmanager
def checked(folder: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """The one line that ``serve --check`` says is wrong."""
    document = {**settings("http://127.0.0.1:9/v1"), **document}
    said: list[str] = []
    assert main(["serve", "--check", "--config", str(write(folder, document))]) == 2
    said += capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    yield said


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({"best_of": ["m1*33"]}, "routes.auto.best_of.0: write NAME*N with N from 2 to 20, not 'm1*33'"),
        ({"best_of": ["m1"]}, "write NAME*N"),
        ({"best_of": ["m1*3", "m11*3"]}, "routes.auto.best_of.1: unknown model 'm11'; did you mean 'm1'?"),
        ({"bestof": ["m1*3"]}, "unknown key; did you mean 'best_of'?"),
        ({"router": {"type": "static"}}, "route 'auto': best_of needs measured answers"),
        ({"best_of": ["m2*4"]}, "'m2*4' needs 4 draws of every prompt, there are 3"),
    ],
)
def test_what_cannot_be_offered_is_said_with_its_line(
    tmp_path: Path, table: Path, route: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with checked(tmp_path, configured(table, **route), capsys) as [said]:
        assert message in said and str(tmp_path / "equipoise.yaml") in said
        if "routes.auto.best_of" in message:
            line = int(said.split("equipoise.yaml:")[1].split(":")[0])
            assert "m1" in (tmp_path / "equipoise.yaml").read_text().splitlines()[line - 1]


def test_a_table_without_sampled_answers_cannot_offer_it(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with checked(tmp_path, configured(table.with_name("bare.parquet")), capsys) as [said]:
        assert "best of n need sampled answers in bare.answers.parquet beside it" in said
