"""Answers that are given again, and to whom."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import orjson
import pytest

from equipoise.config import CacheConfig
from equipoise.errors import ConfigError
from equipoise.execution import AnswerCache, Running, ask_of
from equipoise.execution.cache import Ask, Hit, Kept
from equipoise.testing import FakeUpstream, FlakyProvider, ScriptedProvider
from equipoise.traffic import TokenUsage
from equipoise.types import Deployment, Plan, WireFormat
from equipoise.wire import FORMATS, Body
from tests.execution_fakes import (
    Hands,
    Provided,
    always,
    answering,
    chunk,
    executor,
    model,
    read,
    streamed,
    text_of,
    virtually,
    work,
)

PLAN = Plan(model="m")
REVERSE = "How do I reverse a list in Python?"
SAME = "What is the way to reverse a Python list?"
NEAR = "How do I reverse a list in Java?"


def cache(clock: Any = None, **settings: Any) -> AnswerCache:
    return AnswerCache(CacheConfig(**{"exact": True, **settings}), clock=clock or Hands())


async def ask(store: AnswerCache, tenant: str, prompt: str, *, limits: str = "", **fields: Any) -> Running | Hit:
    """As the gateway does it: from the cache, else from the model, which is then kept."""
    asked = work(prompt, **fields)
    key = ask_of(asked, limits=limits)
    if key is not None and (hit := store.find(tenant, key)) is not None:
        return hit
    anywhere = (Deployment(provider="m"), Deployment(provider="m", region="eu"))
    ex = executor([model("m", deployments=anywhere)], {"m": ScriptedProvider(lambda text: f"answer to {text}")})
    running = await ex.run(PLAN, asked, always)
    if key is not None:
        store.keep(tenant, key, running)
    return running


async def is_kept(sent: FakeUpstream, **fields: Any) -> bool:
    """Whether an answer of a vendor is found again."""
    store, asked = cache(), work("Hello", **fields)
    key = ask_of(asked)
    assert key is not None
    running = await executor([model("m")], {"m": Provided(lambda n, call: sent)}).run(PLAN, asked, always)
    store.keep("t", key, running)
    await read(running)
    return store.find("t", key) is not None


@virtually
async def test_a_request_under_another_beta_header_asks_for_something_else() -> None:
    store = cache()
    await ask(store, "t", REVERSE)
    assert isinstance(await ask(store, "t", REVERSE, headers={"anthropic-beta": "new"}), Running)
    assert isinstance(await ask(store, "t", REVERSE, headers={"anthropic-beta": "new"}), Hit)


@pytest.mark.parametrize("stream", [False, True])
@virtually
async def test_the_same_request_gets_the_same_bytes_again_and_tells_what_it_saved(stream: bool) -> None:
    store = cache()
    first = await ask(store, "t", REVERSE, stream=stream)
    original = await read(first)
    second = await ask(store, "t", REVERSE, stream=stream)
    assert isinstance(second, Hit)
    assert (second.stream is not None) is stream
    assert await read(second) == original
    assert (second.kind, second.likeness, second.model, second.finish) == ("exact", 1.0, "m", "stop")
    assert second.saved_usd == pytest.approx(sum(a.cost_usd for a in first.attempts))
    assert second.status == "ok"


@virtually
async def test_a_replayed_stream_comes_event_by_event() -> None:
    store = cache()
    await read(await ask(store, "t", REVERSE, stream=True))
    hit = await ask(store, "t", REVERSE, stream=True)
    assert isinstance(hit, Hit) and hit.stream is not None
    events = [event async for event in hit.stream]
    assert len(events) > 5
    assert all(event.endswith(b"\n\n") for event in events)


async def test_others_have_their_turn_while_a_long_stream_is_replayed() -> None:
    frame = b'data: {"choices":[]}\n\n'
    kept = Kept(frame * 5000, True, "m", "m/p", TokenUsage(), "stop", 0.0)
    turns = 0

    async def counting() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    hit, other = Hit(kept, "exact", 1.0), asyncio.create_task(counting())
    assert hit.stream is not None
    told = [(event, hit.over) async for event in hit.stream]
    other.cancel()
    assert told == [(frame, False)] * 4999 + [(frame, True)]
    assert turns >= 5


@virtually
async def test_a_stream_is_kept_with_its_last_event_for_a_client_that_leaves_then() -> None:
    store, asked = cache(), work(REVERSE, stream=True)
    key = ask_of(asked)
    assert key is not None
    running = await executor([model("m")], {"m": answering()}).run(PLAN, asked, always)
    store.keep("t", key, running)
    assert running.stream is not None
    async for event in running.stream:
        if b"[DONE]" in event:
            break
        assert store.entries.count == 0
    await running.close()
    hit = store.find("t", key)
    assert hit is not None
    assert text_of(await read(hit)) == "hello there my friend"


@virtually
async def test_no_tenant_ever_gets_another_tenants_answer() -> None:
    store = cache(semantic=True)
    await ask(store, "t", REVERSE)
    for other, prompt in (("u", REVERSE), ("v", SAME)):
        assert isinstance(await ask(store, "t", prompt), Hit)
        assert not isinstance(await ask(store, other, prompt), Hit)
        assert isinstance(await ask(store, other, prompt), Hit)


DIFFERENT: list[dict[str, Any]] = [
    {"temperature": 0.5},
    {"stream": True},
    {"max_tokens": 10},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"response_format": {"type": "json_object"}},
    {"limits": "min_quality=0.9"},
    {"region": "eu"},
    {"messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": REVERSE}]},
    {"unknown_field": 1},
]


def answer_in_order(*names: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


@virtually
async def test_the_order_of_a_schema_counts_for_models_answer_in_it() -> None:
    store = cache(semantic=True)
    await ask(store, "t", SAME, **answer_in_order("reasons", "verdict"))
    for prompt in (SAME, REVERSE):
        assert isinstance(await ask(store, "t", prompt, **answer_in_order("reasons", "verdict")), Hit)
    assert not isinstance(await ask(store, "t", REVERSE, **answer_in_order("verdict", "reasons")), Hit)


@virtually
async def test_the_order_of_fields_in_a_message_makes_no_other_request() -> None:
    store = cache()
    await ask(store, "t", "", messages=[{"role": "user", "content": REVERSE}])
    assert isinstance(await ask(store, "t", "", messages=[{"content": REVERSE, "role": "user"}]), Hit)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "kept"), [({}, False), ({"max_tokens": 9}, True)], ids=["unasked", "asked"])
@virtually
async def test_an_answer_that_was_cut_is_kept_only_where_its_length_was_asked_for(
    fields: dict[str, Any], kept: bool, stream: bool
) -> None:
    if stream:
        sent: Any = streamed(chunk("half of"), chunk(finish="length"))
    else:
        said = {"index": 0, "message": {"content": "half of"}, "finish_reason": "length"}
        sent = FakeUpstream(body=orjson.dumps({"choices": [said]}))
    assert await is_kept(sent, stream=stream, **fields) is kept


@pytest.mark.parametrize("fields", [*DIFFERENT, {"messages": [{"role": "user", "content": f"{REVERSE} "}]}], ids=str)
@virtually
async def test_a_request_that_differs_in_anything_that_matters_is_another(fields: dict[str, Any]) -> None:
    store = cache()
    await ask(store, "t", REVERSE)
    assert not isinstance(await ask(store, "t", REVERSE, **fields), Hit)


@pytest.mark.parametrize("fields", [{"user": "u1"}, {"metadata": {"a": "b"}}, {"model": "other"}], ids=str)
@virtually
async def test_who_asks_makes_no_other_request(fields: dict[str, Any]) -> None:
    store = cache()
    await ask(store, "t", REVERSE)
    assert isinstance(await ask(store, "t", REVERSE, **fields), Hit)


@pytest.mark.parametrize("field", ["user", "safety_identifier", "prompt_cache_key", "metadata"])
def test_who_asks_makes_another_request_where_the_answer_says_it_again(field: str) -> None:
    one, other = (work(format="responses", input="Hello", **{field: who}) for who in ("one", "other"))
    assert ask_of(one) != ask_of(other)
    assert ask_of(one) == ask_of(work(format="responses", input="Hello", **{field: "one"}, model="fast"))


def test_what_is_nested_too_deeply_to_be_written_is_not_cached() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    assert ask_of(work("Hello", unknown_field=deep)) is None


@virtually
async def test_the_order_of_fields_makes_no_other_request() -> None:
    store = cache()
    await ask(store, "t", REVERSE, top_p=0.5, temperature=0.1)
    assert isinstance(await ask(store, "t", REVERSE, temperature=0.1, top_p=0.5), Hit)


def test_what_depends_on_a_vendors_memory_is_not_cached() -> None:
    asked = work(format="responses", input="go on", previous_response_id="resp_1")
    assert ask_of(asked) is None


@virtually
async def test_the_same_in_other_words_is_answered_and_a_near_miss_is_not() -> None:
    store = cache(semantic=True)
    await ask(store, "t", REVERSE)
    hit = await ask(store, "t", SAME)
    assert isinstance(hit, Hit)
    assert hit.kind == "semantic"
    assert text_of(hit.body or b"") == f"answer to {REVERSE}"
    assert store.threshold <= hit.likeness <= 1.0
    assert not isinstance(await ask(store, "t", NEAR), Hit)


@pytest.mark.parametrize("fields", DIFFERENT, ids=str)
@virtually
async def test_other_words_never_cross_what_stands_around_them(fields: dict[str, Any]) -> None:
    store = cache(semantic=True)
    await ask(store, "t", SAME)
    assert not isinstance(await ask(store, "t", REVERSE, **fields), Hit)


@virtually
async def test_only_the_last_message_may_be_in_other_words() -> None:
    def talk(first: str, last: str) -> dict[str, Any]:
        return {
            "messages": [
                {"role": "user", "content": first},
                {"role": "assistant", "content": "fine"},
                {"role": "user", "content": last},
            ]
        }

    store = cache(semantic=True)
    await ask(store, "t", "", **talk("We use CPython.", REVERSE))
    assert isinstance(await ask(store, "t", "", **talk("We use CPython.", SAME)), Hit)
    assert not isinstance(await ask(store, "t", "", **talk("We use Jython.", SAME)), Hit)


@virtually
async def test_without_semantic_only_the_same_request_is_answered() -> None:
    store = cache()
    await ask(store, "t", REVERSE)
    assert not isinstance(await ask(store, "t", SAME), Hit)


@virtually
async def test_answers_expire() -> None:
    clock = Hands()
    store = cache(clock, ttl_s=60.0, semantic=True)
    await ask(store, "t", REVERSE)
    clock.now = 59.0
    assert isinstance(await ask(store, "t", SAME), Hit)
    for now, prompt in ((60.0, SAME), (120.0, REVERSE)):
        clock.now = now
        assert not isinstance(await ask(store, "t", prompt), Hit)


@pytest.mark.parametrize("stream", [False, True])
@virtually
async def test_the_answer_of_a_model_that_stands_in_for_another_is_kept_for_a_minute(stream: bool) -> None:
    clock, asked = Hands(), work(REVERSE, stream=stream)
    store, key = cache(clock, ttl_s=3600.0), ask_of(asked)
    assert key is not None
    for stands_in, kept in ((True, False), (False, True)):
        running = await executor([model("m")], {"m": answering()}).run(PLAN, asked, always)
        store.keep("t", key, running, stands_in=stands_in)
        await read(running)
        clock.now += 59.0
        assert store.find("t", key) is not None
        clock.now += 1.0
        assert (store.find("t", key) is not None) is kept


@virtually
async def test_the_least_recently_used_go_when_there_are_too_many() -> None:
    store = cache(max_entries=2, semantic=True)
    for prompt in ("one thing", REVERSE):
        await ask(store, "t", prompt)
    assert isinstance(await ask(store, "t", "one thing"), Hit)
    await ask(store, "u", "third thing")
    assert store.entries.count == 2
    assert isinstance(await ask(store, "t", "one thing"), Hit)
    assert not isinstance(await ask(store, "t", SAME), Hit), "its meaning went with it"


@pytest.mark.parametrize("bound", [{"max_entries": 10}, {"max_bytes": 60_000}], ids=str)
@virtually
async def test_a_tenant_that_asks_for_much_drives_out_none_of_anothers_answers(bound: dict[str, int]) -> None:
    store = cache(semantic=True, **bound)
    for prompt in (REVERSE, "one thing"):
        await ask(store, "small", prompt)
    for i in range(50):
        await ask(store, "large", f"question {i} with some words of its own")
    for prompt in (SAME, "one thing"):
        assert isinstance(await ask(store, "small", prompt), Hit)
    assert store.entries.count <= 10 or store.entries.bytes <= 60_000
    assert isinstance(await ask(store, "large", "question 49 with some words of its own"), Hit)


@virtually
async def test_bytes_are_bounded_and_no_answer_takes_most_of_them() -> None:
    store = cache(max_bytes=20_000)
    for i in range(50):
        await ask(store, "t", f"question {i} with words")
        assert store.entries.bytes <= 20_000
    assert 0 < store.entries.count < 50
    before = store.entries.count
    for stream in (False, True):
        await read(await ask(store, "t", "word " * 1000, stream=stream))
    assert store.entries.count == before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("second", "kept"), [("content_filter", False), ("length", True)])
@virtually
async def test_several_answers_of_which_one_was_filtered_are_not_kept(second: str, kept: bool, stream: bool) -> None:
    ends = list(enumerate(("stop", second)))
    if stream:
        heads = [chunk(f"text {i}", index=i) for i, _ in ends]
        sent: Any = streamed(*heads, *(chunk(finish=reason, index=i) for i, reason in ends))
    else:
        said = [{"index": i, "message": {"content": f"text {i}"}, "finish_reason": reason} for i, reason in ends]
        sent = FakeUpstream(body=orjson.dumps({"choices": said}))
    assert await is_kept(sent, n=2, max_tokens=9, stream=stream) is kept


@pytest.mark.parametrize("around", [b"the same", None], ids=["one context", "many contexts"])
def test_what_comparing_prompts_takes_counts_as_well(around: bytes | None) -> None:
    store = cache(semantic=True, threshold=0.7, max_bytes=2 << 20)
    kept = Kept(b"x" * 300, False, "m", "m/p", TokenUsage(), "stop", 0.0)
    text = "How do I reverse a long list in Python with as few lines and allocations as that takes?"
    store._put("t", Ask(b"", b"", text), kept, 60.0)  # what is loaded once
    tracemalloc.start()
    try:
        for i in range(1000):
            name = str(i).encode()
            store._put("t", Ask(name, around or name, text), kept, 60.0)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 100 < store.entries.count < 1000
    assert taken < 1.3 * store.entries.bytes


KEPT = Kept(b"{}", False, "m", "m/p", TokenUsage(), "stop", 0.0)


def test_contexts_that_were_large_once_take_no_memory_for_what_has_gone() -> None:
    store = cache(semantic=True, max_entries=100)
    store._put("t", Ask(b"", b"", REVERSE), KEPT, 60.0)  # what is loaded once
    tracemalloc.start()
    try:
        for context in range(12):
            for i in range(100):
                store._put("t", Ask(b"%d %d" % (context, i), b"%d" % context, REVERSE), KEPT, 60.0)
                for one in range(context + 1):  # of each one stays
                    store._fresh("t", b"%d 0" % one)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.entries.count <= 100
    assert taken < 1.3 * store.entries.bytes


def test_what_goes_is_not_looked_for_among_all_others() -> None:
    class Name(bytes):
        compared = 0
        __hash__ = bytes.__hash__

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return bytes.__eq__(self, other)

    store = cache(semantic=True, max_entries=1000)
    for i in range(1000):
        store._put("t", Ask(Name(i), b"", REVERSE), KEPT, 60.0)
    for i in reversed(range(1000)):
        store._fresh("t", bytes(i))
    Name.compared = 0
    for i in range(1000, 1500):
        store._put("t", Ask(Name(i), b"", REVERSE), KEPT, 60.0)
    assert Name.compared < 20 * 500


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("said", "finish", "kept"),
    [
        ({"content": "Here it is."}, "stop", True),
        ({"content": None, "refusal": "I cannot help with that."}, "stop", False),
        ({"content": "Here it"}, "content_filter", False),
        ({"content": "Here it"}, "length", False),
    ],
)
@virtually
async def test_no_refusal_is_kept_in_any_format(
    said: Body, finish: str, kept: bool, format: WireFormat, stream: bool
) -> None:
    if format == "messages" and finish == "length":
        return  # there a length is always named
    if format == "messages" and said.get("refusal"):
        finish = "content_filter"  # as Anthropic tells them
    asked = work("Hello", format=format, stream=stream, **({"input": "Hello"} if format == "responses" else {}))
    if stream:
        encoder = FORMATS[format].encoder("m", asked.asked)
        chunks = [orjson.loads(chunk(finish=end, **what).data) for what, end in ((said, None), ({}, finish))]
        frames = [frame for one in chunks for frame in encoder.feed(one)] + encoder.end(TokenUsage(output_tokens=3))
        sent = FakeUpstream(frames=[(frame, 0) for frame in frames])
    else:
        answer = {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}
        sent = FakeUpstream(body=orjson.dumps(FORMATS[format].answer_from_chat(answer, "m", asked.asked)))
    store, key = cache(), ask_of(asked)
    assert key is not None
    provider = Provided(lambda n, call: sent, formats=frozenset({format}))
    running = await executor([model("m")], {"m": provider}).run(PLAN, asked, always)
    store.keep("t", key, running)
    await read(running)
    assert (store.find("t", key) is not None) is kept


@virtually
async def test_answers_that_did_not_end_well_are_not_kept() -> None:
    store = cache()
    asked = work("say something long to me please", stream=True)
    key = ask_of(asked)
    assert key is not None
    breaking = FlakyProvider(answering("a b c d e f"), failing=lambda n: True, breaks_after=4)
    for providers in ({"m": breaking, "n": breaking}, {"m": breaking, "n": answering(" the rest")}):
        ex = executor([model("m"), model("n")], providers, attempts_per_model=1, backoff_s=0.01)
        running = await ex.run(Plan(model="m", fallback=("n",)), asked, always)
        store.keep("t", key, running)
        await read(running)
        assert store.find("t", key) is None, running.status
    gone = await executor([model("m")], {"m": answering()}).run(PLAN, asked, always)
    store.keep("t", key, gone)
    assert gone.stream is not None
    await anext(gone.stream)
    await gone.close()
    assert store.find("t", key) is None


def test_a_rate_that_the_pairs_cannot_show_is_refused_with_the_least_that_they_can() -> None:
    with pytest.raises(
        ConfigError, match=r"false_hit_rate 0.001 cannot be shown with 400 labelled pairs; give 0.0075 or"
    ):
        cache(semantic=True, false_hit_rate=0.001)
    assert cache(semantic=True, false_hit_rate=0.001, threshold=0.9).threshold == 0.9
