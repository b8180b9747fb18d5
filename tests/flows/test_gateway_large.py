"""What one client or vendor sends that is large: others are served meanwhile, and what is far too much is refused."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.streams import StreamReader

from equipoise.aside import HUGE_BYTES, LARGE_BYTES, aside
from equipoise.execution import cache, call, client_stream, pursuit
from equipoise.execution.calibration import Threshold
from equipoise.gateway import edge, listing, reload
from equipoise.providers.client import Client
from equipoise.providers.http import HttpUpstream
from equipoise.testing import FakeServer, Misbehaviour
from equipoise.wire import SseParser, messages
from tests.gateway_world import CHAT, LARGE, echo, say, serving, settings, world, write

LONG = "A" * (LARGE_BYTES + 1)
STEPS: dict[str, tuple[Any, str]] = {
    "the body is parsed": (edge, "parsed"),
    "it is read": (messages.Messages, "read"),
    "it is put in the vendor's format": (pursuit, "translate_request"),
    "it is written": (Client, "_written"),
    "the answer is parsed": (call.Call, "_understood"),
    "the answer is looked at for an error": (HttpUpstream, "_check_body"),
}


def watched(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, seen: dict[str, bool], step: str) -> None:
    work: Callable[..., Any] = getattr(where, name)

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen[step] = threading.current_thread() is threading.main_thread()
        return work(*args, **kwargs)

    monkeypatch.setattr(where, name, spy)


@pytest.mark.parametrize("large", [True, False])
async def test_large_requests_and_answers_are_worked_on_in_threads_and_small_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    on_the_loop: dict[str, bool] = {}
    for step, (where, name) in STEPS.items():
        watched(monkeypatch, where, name, on_the_loop, step)
    data = LONG if large else "AAAA"
    async with world(tmp_path, FakeServer(lambda _: data)) as gateway:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
        said = [{"role": "user", "content": [image, {"type": "text", "text": "Look"}]}]
        status, answer, _ = await gateway.post("/v1/messages", {"model": LARGE, "max_tokens": 100, "messages": said})
    assert status == 200, answer
    assert on_the_loop == dict.fromkeys(STEPS, not large)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("name", ["auto", LARGE])
async def test_a_prompt_of_more_than_a_million_characters_goes_to_a_model_whose_window_holds_it(
    tmp_path: Path, name: str
) -> None:
    text = "word " * 240_000
    async with FakeServer(lambda prompt: str(len(prompt))) as vendor:
        document = settings(vendor.base_url)
        document["models"][1]["context_window"] = 1_000_000
        async with serving(tmp_path, document) as gateway:
            status, answer, told = await gateway.post(CHAT, say(text, model=name))
            assert (status, told.get("x-equipoise-model")) == (200, LARGE), answer
            assert answer["choices"][0]["message"]["content"] == str(len(text))
            features = gateway.record(told).decision.features
            assert 239_000 < features["input_tokens"] < 242_000
            document["models"][1]["context_window"] = 200_000
        async with serving(tmp_path, document) as gateway:
            status, answer, _ = await gateway.post(CHAT, say(text, model=name))
            assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
            assert "about 24" in answer["error"]["message"] and f"{LARGE} 200000" in answer["error"]["message"]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_huge_requests_and_answers_are_worked_on_in_few_threads_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, str] = {}
    for step, (where, name) in STEPS.items():
        work = getattr(where, name)

        def spy(*args: Any, work: Callable[..., Any] = work, step: str = step, **kwargs: Any) -> Any:
            names[step] = threading.current_thread().name.rpartition("_")[0]
            return work(*args, **kwargs)

        monkeypatch.setattr(where, name, spy)
    async with world(tmp_path, FakeServer(lambda _: "A" * (HUGE_BYTES + 1))) as gateway:
        source = {"type": "base64", "media_type": "image/png", "data": "A" * (HUGE_BYTES + 4)}
        said = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "Look"}]}]
        status, answer, _ = await gateway.post("/v1/messages", {"model": LARGE, "max_tokens": 100, "messages": said})
    assert status == 200, answer
    assert names == dict.fromkeys(STEPS, "equipoise-huge")


async def test_what_a_cache_knows_a_large_request_by_is_found_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bool] = {}
    watched(monkeypatch, cache, "_hash", seen, "hashed")
    routes = {"auto": {"router": {"type": "static"}, "policy": {"type": "cost_aware"}, "cache": {"exact": True}}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + LONG}}
    said = [{"type": "text", "text": "Look"}, image]
    async with world(tmp_path, routes=routes) as gateway:
        status, answer, _ = await gateway.post(CHAT, {"model": "auto", "messages": [{"role": "user", "content": said}]})
    assert (status, seen) == (200, {"hashed": False}), answer


async def test_the_tokens_of_a_large_request_are_counted_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bool] = {}
    watched(monkeypatch, listing, "request_of", seen, "counted")
    async with world(tmp_path) as gateway:
        body = {"model": "auto", "messages": [{"role": "user", "content": LONG}]}
        status, answer, _ = await gateway.post("/v1/messages/count_tokens", body)
    assert (status, seen) == (200, {"counted": False}), answer


@pytest.mark.parametrize("large", [True, False])
async def test_large_events_of_a_stream_are_read_and_translated_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    seen: dict[str, bool] = {}
    word = LONG if large else "Hi"
    heard, take = call.Call._heard, client_stream.ClientStream.take

    def reading(one: call.Call, event: Any, reader: Any) -> Any:
        if event is not None and word.encode() in event.data:
            seen["read"] = threading.current_thread() is threading.main_thread()
        return heard(one, event, reader)

    def taking(side: client_stream.ClientStream, one: Any) -> bytes:
        if one.event is not None and word.encode() in one.event.data:
            seen["taken"] = threading.current_thread() is threading.main_thread()
        return take(side, one)

    monkeypatch.setattr(call.Call, "_heard", reading)
    monkeypatch.setattr(client_stream.ClientStream, "take", taking)
    async with world(tmp_path, FakeServer(lambda _: f"so {word}")) as gateway:
        body = {"model": LARGE, "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        async with gateway.session.post(gateway.url + "/v1/messages", json=body) as answer:
            said = await answer.read()
    assert word.encode() in said and seen == {"read": not large, "taken": not large}


async def test_thousands_of_events_that_come_at_once_are_not_cut_apart_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    feed = SseParser.feed

    def feeding(parser: SseParser, data: bytes) -> Any:
        sizes.append(len(data))
        return feed(parser, data)

    monkeypatch.setattr(SseParser, "feed", feeding)
    body = ":\n\n" * 60_000 + 'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    wrong = Misbehaviour(body=body, content_type="text/event-stream")
    vendor = FakeServer(echo, misbehave=lambda _n, _b: wrong)
    async with vendor as server, serving(tmp_path, settings(server.base_url)) as gateway:
        asked = {"model": LARGE, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        async with gateway.session.post(gateway.url + CHAT, json=asked) as answer:
            said = await answer.read()
    assert b'"content":"Hi"' in said and sum(sizes) == len(body) and max(sizes) <= 1 << 14


@contextmanager
def by_turn(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, counts: Callable[..., bool]
) -> Iterator[Counter[int]]:
    """How many calls that count were made in each turn of the event loop."""
    turn, seen = 0, Counter[int]()
    work: Callable[..., Any] = getattr(where, name)

    def spy(*args: Any) -> Any:
        seen[turn] += counts(*args)
        return work(*args)

    async def counting() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(where, name, spy)
    others = asyncio.create_task(counting())
    yield seen
    others.cancel()


def is_large(_stream: StreamReader, data: bytes, *_: Any) -> bool:
    return len(data) > LARGE_BYTES


async def test_others_have_their_turn_after_some_dozens_of_events_of_whatever_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = ":" + 600 * " " + "\n\n"
    body = comment * 2000 + 'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    wrong = Misbehaviour(body=body, content_type="text/event-stream")
    vendor = FakeServer(echo, misbehave=lambda _n, _b: wrong)
    async with vendor as server, serving(tmp_path, settings(server.base_url)) as gateway:
        asked = {"model": LARGE, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        with by_turn(monkeypatch, HttpUpstream, "_checked", lambda *_: True) as seen:
            async with gateway.session.post(gateway.url + CHAT, json=asked) as answer:
                said = await answer.read()
    assert b'"content":"Hi"' in said and seen.total() == 2001 and max(seen.values()) <= 32, seen.most_common(3)


@pytest.mark.parametrize(("most", "status"), [(20 << 20, 200), (1000, 413)])
async def test_others_have_their_turn_while_a_body_is_unpacked_or_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, status: int
) -> None:
    body = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}' + b" " * (8 << 20)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with world(tmp_path, server={"port": 0, "reload_s": 0.0, "max_body_bytes": most}) as gateway:
        with by_turn(monkeypatch, StreamReader, "feed_data", is_large) as unpacked:
            async with gateway.session.post(gateway.url + CHAT, data=gzip.compress(body), headers=headers) as answer:
                assert answer.status == status
    assert unpacked.total() > 4 >= max(unpacked.values())


async def test_what_came_at_once_is_read_in_one_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[edge.Connection] = []
    parse_on = edge.Connection._parse_on
    monkeypatch.setattr(edge.Connection, "_parse_on", lambda one: (later.append(one), parse_on(one)))
    asked = {"model": LARGE, "messages": [{"role": "user", "content": "Hi"}]}
    async with world(tmp_path) as gateway:
        for _ in range(2):
            status, answer, _ = await gateway.post(CHAT, asked)
            assert status == 200, answer
    assert not later


async def test_others_have_their_turn_while_an_answer_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
    packed = gzip.compress(said + b" " * (8 << 20))

    async def complete(request: web.BaseRequest) -> web.Response:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return web.Response(body=packed, headers=headers)

    runner = web.ServerRunner(web.Server(complete))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with serving(tmp_path, settings(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")) as gateway:
        with by_turn(monkeypatch, StreamReader, "feed_data", is_large) as unpacked:
            asked = {"model": LARGE, "messages": [{"role": "user", "content": "Hello"}]}
            async with gateway.session.post(gateway.url + CHAT, json=asked) as answer:
                assert answer.status == 200
                await answer.release()
    await runner.cleanup()
    assert unpacked.total() > 12 >= max(unpacked.values())


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/feedback"])
async def test_a_body_of_more_values_than_others_should_wait_for_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    vendor = FakeServer(echo)
    monkeypatch.setattr(edge, "_MOST_VALUES", 1000)
    parsed: list[bytes] = []
    monkeypatch.setattr(edge.orjson, "loads", parsed.append)
    async with world(tmp_path, vendor) as gateway:
        # Each list of them is short enough.
        calls = b",".join([b'{"role":"assistant","tool_calls":[%s{}]}' % (b"{}," * 10)] * 100)
        headers = {"Content-Type": "application/json"}
        data = b'{"model":"auto","messages":[%s]}' % calls
        async with gateway.session.post(gateway.url + path, data=data, headers=headers) as answer:
            said = await answer.read()
    assert answer.status == 400 and b'"too_many"' in said and b"more than 1000 values" in said
    assert not parsed and not vendor.requests


async def test_an_answer_of_more_values_than_others_should_wait_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "MOST_ANSWERED", 100)
    vendor = FakeServer(lambda _: {"content": "Hi", "annotations": [{}] * 200})
    async with vendor as server, serving(tmp_path, settings(server.base_url)) as gateway:
        status, answer, _ = await gateway.post(CHAT, {"model": LARGE, "messages": [{"role": "user", "content": "Hi"}]})
    assert (status, "more than 100 values" in answer["error"]["message"]) == (502, True), answer


async def test_an_error_in_a_thread_is_raised_where_it_is_waited_for() -> None:
    def failing(value: int) -> None:
        raise LookupError(value)

    for size in (0, LARGE_BYTES + 1, HUGE_BYTES + 1):
        with pytest.raises(LookupError, match="7"):
            await aside(size, failing, value=7)
    assert await asyncio.gather(aside(0, max, 1, 2), aside(LARGE_BYTES + 1, max, 1, 2)) == [2, 2]


async def test_what_is_large_does_not_wait_for_much_that_is_huge() -> None:
    done, at_once, most = threading.Event(), 0, 0

    def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert done.wait(30.0), "what is large waits for what is huge"
        at_once -= 1

    huge = [asyncio.create_task(aside(HUGE_BYTES + 1, slow)) for _ in range(40)]
    assert await aside(HUGE_BYTES, max, 1, 2) == 2
    done.set()
    await asyncio.gather(*huge)
    assert most <= 2


async def test_the_threshold_of_a_cache_is_calibrated_in_a_thread_when_the_configuration_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[float, bool] = {}

    def calibrating(rate: float) -> Threshold:
        known.setdefault(rate, threading.current_thread() is threading.main_thread())
        return Threshold(0.5, 1, 0, rate, 1.0)

    monkeypatch.setattr(cache, "calibrated", calibrating)
    async with FakeServer(echo) as server, serving(tmp_path, settings(server.base_url)) as gateway:
        route = {"router": {"type": "static"}, "policy": {"type": "cost_aware"}}
        kept = {"semantic": True, "false_hit_rate": 0.05}
        write(tmp_path, settings(server.base_url, routes={"auto": {**route, "cache": kept}}))
        assert await gateway.one.reloader.reload() is None
        assert gateway.gateway.live.caches["auto"].threshold == 0.5
    assert known == {0.05: False}


async def test_where_a_configuration_is_wrong_is_looked_for_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bool] = {}
    watched(monkeypatch, reload, "located", seen, "located")
    async with FakeServer(echo) as server, serving(tmp_path, settings(server.base_url)) as gateway:
        document = settings(server.base_url)
        document["models"][0]["deployments"] = []
        path = write(tmp_path, document)
        assert (await gateway.one.reloader.reload() or "").startswith(f"{path}:")
    assert seen == {"located": False}
