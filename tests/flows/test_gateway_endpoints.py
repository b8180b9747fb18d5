"""The gateway's own endpoints and its answers to bad input, over HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import threading
from pathlib import Path
from typing import Any

import anthropic
import pytest
from multidict import CIMultiDict

from equipoise.aside import LARGE_BYTES
from equipoise.gateway.health import tell_warnings
from equipoise.providers import gguf
from equipoise.storage.journal import Journal
from equipoise.storage.keys import PREFIX
from equipoise.storage.redact import redact
from equipoise.storage.store import StoreUnavailable
from equipoise.testing import FakeServer, Misbehaviour
from tests.gateway_world import CHAT, LARGE, SMALL, echo, eventually, say, serving, settings, world

FORMATS = {
    CHAT: {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]},
    "/v1/messages": {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]},
}


def code_of(document: dict[str, Any]) -> str:
    return str(document["error"]["code"])


async def test_an_answer_says_how_it_came_about(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document, headers = await gateway.post(CHAT, say("What is the capital of France?"))
        assert status == 200 and document["choices"][0]["message"]["content"].startswith("You said: What")
        assert headers["x-equipoise-model"] == SMALL
        assert headers["x-equipoise-deployment"] == f"{SMALL}/openai_compatible"
        assert float(headers["x-equipoise-overhead-ms"]) >= 0
        outcome = gateway.outcome(headers)
        assert outcome.status == "ok"
        assert float(headers["x-equipoise-cost-usd"]) == pytest.approx(outcome.cost_usd, abs=1e-9)
        usage, attempt = document["usage"], outcome.attempts[0]
        assert attempt.cost_usd == pytest.approx((usage["prompt_tokens"] + 4 * usage["completion_tokens"]) / 1e6)
        assert outcome.cost_usd == pytest.approx(attempt.cost_usd + outcome.routing_usd)
        assert outcome.routing_usd > 0


async def test_a_stream_is_passed_on_and_logged(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        async with gateway.session.post(gateway.url + CHAT, json=say("Count to three", stream=True)) as answer:
            assert answer.content_type == "text/event-stream" and answer.headers["X-Accel-Buffering"] == "no"
            text = (await answer.read()).decode()
            decision_id = answer.headers["x-equipoise-decision-id"]
        events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
        assert events[-1] == "[DONE]"
        said = "".join(c["delta"].get("content") or "" for e in events[:-1] for c in json.loads(e)["choices"])
        assert said == "You said: Count to three"
        outcome = gateway.outcome(decision_id)
        assert outcome.status == "ok" and outcome.first_token_s is not None


async def test_a_model_is_called_by_its_own_name(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello there", model=LARGE))
        assert status == 200 and headers["x-equipoise-model"] == LARGE
        record = gateway.record(headers)
        assert record.decision.method == "named" and record.decision.plan.fallback == ()


@pytest.mark.parametrize("path", sorted(FORMATS))
async def test_an_unknown_name_is_a_404_that_names_the_near_one(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(path, {**FORMATS[path], "model": "smal-model"})
        assert status == 404 and code_of(document) == "model_not_found"
        assert f"did you mean '{SMALL}'?" in document["error"]["message"]
        assert (document.get("type") == "error") == (path == "/v1/messages")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b"[1]", 400, "invalid_json"),
        (b'{"model": "auto", "messages": "hi"}', 400, "wrong_type"),
        (b'{"model": 5, "messages": [{"role": "user", "content": "hi"}]}', 400, "wrong_type"),
        (b'{"messages": [{"role": "user", "content": "hi"}]}', 400, "missing_field"),
        (b'{"model": "auto", "messages": []}', 400, "missing_field"),
        (b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
    ],
)
async def test_a_bad_body_is_told_with_a_stable_code(tmp_path: Path, body: bytes, status: int, code: str) -> None:
    async with world(tmp_path) as gateway:
        headers = {"Content-Type": "application/json"}
        async with gateway.session.post(gateway.url + CHAT, data=body, headers=headers) as answer:
            document = await answer.json()
        assert (answer.status, code_of(document)) == (status, code), document
        assert document["error"]["message"] and "\n" not in document["error"]["message"]


async def test_what_is_not_json_by_its_type_is_refused(tmp_path: Path) -> None:
    # Any web page may send text/plain to this machine; application/json it may not.
    async with world(tmp_path) as gateway:
        async with gateway.session.post(gateway.url + CHAT, data=json.dumps(say("Hello"))) as answer:
            assert answer.status == 415 and code_of(await answer.json()) == "unsupported_media_type"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-equipoise-max-cost-usd", "cheap"),
        ("x-equipoise-max-cost-usd", "-1"),
        ("x-equipoise-max-latency-s", "nan"),
        ("x-equipoise-min-quality", "1.5"),
        ("x-equipoise-urgency", "soon"),
        ("x-equipoise-timeout-s", "0"),
        ("x-equipoise-max-cost", "1"),
        ("x-equipoise-max-cost-usd", "1_0"),
        ("x-equipoise-max-cost-usd", "\u0663"),
    ],
)
async def test_a_header_that_makes_no_sense_is_refused_rather_than_ignored(
    tmp_path: Path, header: str, value: str
) -> None:
    async with world(tmp_path) as gateway:
        async with gateway.session.post(gateway.url + CHAT, json=say("Hello"), headers={header: value}) as answer:
            document = await answer.json()
        assert answer.status == 400 and code_of(document) == "bad_header" and document["error"]["param"] == header


async def test_a_header_that_is_given_twice_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        twice = CIMultiDict([("x-equipoise-max-cost-usd", "1"), ("x-equipoise-max-cost-usd", "2")])
        async with gateway.session.post(gateway.url + CHAT, json=say("Hello"), headers=twice) as answer:
            document = await answer.json()
        assert answer.status == 400 and code_of(document) == "bad_header" and "given twice" in str(document)


async def test_of_many_known_names_some_are_told(tmp_path: Path) -> None:
    async with world(tmp_path, routes={f"route-{i}": {} for i in range(60)}) as gateway:
        _, document, _ = await gateway.post(CHAT, say("Hello", model="???"))
        assert document["error"]["message"].endswith("and 12 more")


async def test_a_name_of_a_megabyte_is_told_in_few_words(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(CHAT, say("Hello", model="a" * 1_000_000))
        assert status == 404 and len(document["error"]["message"]) < 500


@pytest.mark.parametrize("encoding", ["br", "zstd", "nonsense", "gzip, gzip"])
async def test_a_body_in_an_encoding_that_is_not_known_is_told_so(tmp_path: Path, encoding: str) -> None:
    async with world(tmp_path) as gateway:
        headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
        async with gateway.session.post(gateway.url + CHAT, data=b"{}", headers=headers) as answer:
            document = await answer.json()
        assert answer.status == 415 and code_of(document) == "unsupported_media_type"
        assert "gzip or deflate" in document["error"]["message"]


async def test_a_body_that_is_not_in_its_encoding_is_told_in_one_line(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        async with gateway.session.post(gateway.url + CHAT, data=b"\x1f\x8bnot", headers=headers) as answer:
            document = await answer.json()
        assert answer.status == 400 and code_of(document) == "bad_body" and "\n" not in document["error"]["message"]


async def test_the_line_of_a_refused_request_says_whose_it_was(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        key, info = gateway.gateway.keys.create(name="k", tenant="acme", scopes=["call"], now=0.0)
        await gateway.post(CHAT, say("Hello", model="auot"), x_api_key=key)
        await gateway.post(CHAT, say("Hello"), x_api_key="eq-nobodys")
    told = [line for line in gateway.lines if line["event"] == "refused"]
    assert [(line["tenant"], line["key"]) for line in told] == [("acme", PREFIX + info.id), (None, None)]


async def test_a_request_that_is_refused_has_a_line_with_its_id(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        await gateway.post(CHAT, say("my secret", model="auot"), x_request_id="mine")
        await gateway.get("/nowhere" + "/x" * 200 + "?key=secret")
        told = [line for line in gateway.lines if line["event"] == "refused"]
        assert [(line["endpoint"], line["status"], line["error"]) for line in told] == [
            (CHAT, 404, "model_not_found"),
            ("/nowhere" + "/x" * 96, 404, "path_not_found"),
        ]
        assert told[0]["request_id"] == "mine" and "secret" not in str(told)


async def test_limits_that_no_model_meets_name_the_limit_of_each(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(CHAT, say("Hello"), x_equipoise_max_cost_usd="0.0000000001")
        assert status == 400 and code_of(document) == "no_model"
        assert f"{SMALL}: expected cost" in document["error"]["message"]
        assert f"{LARGE}: expected cost" in document["error"]["message"]


async def test_limits_choose_the_model(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        _, _, headers = await gateway.post(CHAT, say("Hello"), x_equipoise_min_quality="0.8")
        assert headers["x-equipoise-model"] == LARGE


async def test_a_route_may_take_the_cheapest_where_no_model_meets_the_limits(tmp_path: Path) -> None:
    routes = {"auto": {"when_none_fits": "cheapest"}}
    async with world(tmp_path, routes=routes) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello"), x_equipoise_max_cost_usd="0.0000000001")
        assert status == 200 and headers["x-equipoise-model"] == SMALL


@pytest.mark.parametrize("field", ["models", "fallbacks"])
async def test_a_request_names_no_further_models_to_a_provider(tmp_path: Path, field: str) -> None:
    async with FakeServer(echo) as vendor, serving(tmp_path, settings(vendor.base_url)) as gateway:
        for model in ("auto", SMALL):
            body = {**say("Hello"), "model": model}
            status, document, _ = await gateway.post(CHAT, {**body, field: ["openai/o1-pro"]})
            assert status == 400 and code_of(document) == f"{field}_unsupported_request"
            assert (await gateway.post(CHAT, {**body, field: []}))[0] == 200
        assert len(vendor.requests) == 2


async def test_a_prompt_that_fits_no_window_names_the_windows_and_its_length(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(CHAT, say("word " * 9000))
        message = document["error"]["message"]
        assert status == 400 and code_of(document) == "context_length_exceeded"
        assert f"{SMALL} 2000" in message and f"{LARGE} 8000" in message


async def test_a_prompt_is_too_long_also_where_what_would_hold_it_lacks_something_else(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        document["models"][1]["capabilities"] = ["json"]
        async with serving(tmp_path, document) as gateway:
            tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
            status, told, _ = await gateway.post(CHAT, say("word " * 4000, tools=tools))
            assert (status, code_of(told)) == (400, "context_length_exceeded")
            assert f"{SMALL} 2000, {LARGE} lacks tools" in told["error"]["message"]
            status, told, _ = await gateway.post(CHAT, say("word " * 4000, tools=tools), x_equipoise_region="eu")
            assert code_of(told) == "no_model", "no shorter one could be served"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
async def test_agents_recognise_a_prompt_that_is_too_long_by_its_words(tmp_path: Path, path: str) -> None:
    """As Claude Code, pi and Continue look for them; only some read the code."""
    long = "word " * 9000
    asked = {"input": long} if path.endswith("responses") else {"messages": [{"role": "user", "content": long}]}
    limit = {"max_tokens": 100} if path.endswith("messages") else {}
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(path, {"model": "auto", **limit, **asked})
        message = document["error"]["message"]
        found = re.search(r"prompt is too long[^0-9]*(\d+)\s*tokens?\s*>\s*(\d+)", message)
        assert status == 400 and found is not None, document
        assert int(found[1]) > 9001 and int(found[2]) == 8000
        assert "reduce the length of the messages" in message


async def test_agents_recognise_by_the_same_words_what_a_vendor_finds_too_long(tmp_path: Path) -> None:
    """Our count of the tokens may be less than the vendor's."""
    error = {"message": "This model's maximum context length is 8000 tokens.", "code": "context_length_exceeded"}
    refused = Misbehaviour(status=400, body=json.dumps({"error": error}))
    async with FakeServer(echo, misbehave=lambda n, b: refused) as vendor:
        async with serving(tmp_path, settings(vendor.base_url)) as gateway:
            for path in (CHAT, "/v1/messages"):
                status, document, _ = await gateway.post(path, say("Hello", max_tokens=50))
                assert status == 400 and code_of(document) == "context_length_exceeded"
                assert document["error"]["message"].startswith("prompt is too long: ")


async def test_a_long_conversation_goes_where_it_fits(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        history = [{"role": "user", "content": "word " * 3000}, {"role": "assistant", "content": "Yes."}]
        body = {"model": "auto", "messages": [*history, {"role": "user", "content": "And now?"}]}
        status, _, headers = await gateway.post(CHAT, body)
        assert status == 200 and headers["x-equipoise-model"] == LARGE


async def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "max_body_bytes": 1000}) as gateway:
        status, document, _ = await gateway.post(CHAT, say("x" * 2000))
        assert status == 413 and code_of(document) == "body_too_large"

        async def pieces() -> Any:
            for _ in range(100):
                yield b"x" * 100

        headers = {"Content-Type": "application/json"}
        async with gateway.session.post(gateway.url + CHAT, data=pieces(), headers=headers) as answer:
            assert answer.status == 413


async def test_headers_that_are_too_large_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "max_header_bytes": 2000}) as gateway:
        many = {f"x-{i}": "y" for i in range(120)}
        for large in (many, {f"x-{i}": "y" * 100 for i in range(30)}, {"x-one": "y" * 3000}):
            async with gateway.session.post(gateway.url + CHAT, json=say("Hello"), headers=large) as answer:
                assert answer.status == 431 and code_of(await answer.json()) == "headers_too_large"


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("/chat/completions", "chat"),
        ("/v1/chat/completions/", "chat"),
        ("/v1/v1/chat/completions", "chat"),
        ("/v1/v1/messages?beta=true", "messages"),
        ("/openai/v1/chat/completions", "chat"),
        ("/openai/deployments/auto/chat/completions?api-version=2024-10-21", "chat"),
    ],
)
async def test_base_urls_of_other_clients_and_azures_lead_to_the_same(tmp_path: Path, path: str, format: str) -> None:
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(path, {**say("Hello"), "max_tokens": 9})
        assert status == 200 and document["type" if format == "messages" else "object"] in (
            "message",
            "chat.completion",
        )


@pytest.mark.parametrize("said", [{}, {"model": None}, {"model": "gpt-4o"}])
async def test_azures_clients_name_the_model_in_the_path(tmp_path: Path, said: dict[str, Any]) -> None:
    async with world(tmp_path) as gateway:
        body = {"messages": say("Hello")["messages"], **said}
        status, document, _ = await gateway.post(f"/openai/deployments/{LARGE}/chat/completions?api-version=1", body)
        assert (status, document["model"]) == (200, LARGE)


async def test_models_are_found_under_other_base_urls_too(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        for path in ("/models", "/v1/v1/models/", "/openai/models"):
            assert (await gateway.get(path))[1]["data"][0]["id"] == "auto"
        assert (await gateway.get("/v1/v1/models/" + SMALL))[1]["id"] == SMALL
        for path in ("/v1", "/openai/admin/status", "/v1/metrics", "/openai/deployments/a/b/chat/completions"):
            assert (await gateway.get(path))[0] == 404
        async with gateway.session.get(gateway.url + "/chat/completions") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_clients_that_first_look_at_the_base_url_find_it_alive(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        async with gateway.session.head(gateway.url) as answer:
            assert answer.status == 200
        assert not [line for line in gateway.lines if line["event"] == "refused"]


async def test_paths_and_methods_that_are_not_served(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document = await gateway.get("/v2/chat")
        assert status == 404 and code_of(document) == "path_not_found"
        async with gateway.session.get(gateway.url + CHAT) as answer:
            assert answer.status == 405 and answer.headers["Allow"] == "POST"
            assert code_of(await answer.json()) == "method_not_allowed"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/messages", {}),
        ("GET", "/v1/messages/batches", {}),
        ("GET", "/v1/models/smal-model", {"anthropic-version": "2023-06-01"}),
        ("GET", "/v1/nowhere", {"anthropic-version": "2023-06-01"}),
        ("POST", "/v1/messages", {"x-api-key": "eq-unknown"}),
    ],
)
async def test_anthropics_clients_get_errors_in_its_shape_wherever_they_arise(
    tmp_path: Path, method: str, path: str, headers: dict[str, str]
) -> None:
    async with world(tmp_path) as gateway:
        async with gateway.session.request(method, gateway.url + path, headers=headers) as answer:
            document = await answer.json()
        assert 400 <= answer.status < 500 and document["type"] == "error" and code_of(document)
        assert answer.headers["request-id"] == answer.headers["x-request-id"]


async def test_a_request_that_no_model_can_be_asked_names_the_field(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        body = {**say("Hello"), "tools": [{"type": "web_search_20250305", "name": "web_search"}], "max_tokens": 9}
        status, document, _ = await gateway.post("/v1/messages", body)
        assert status == 400 and code_of(document) == "unsupported_by_format"
        assert document["error"]["param"] == "tools" and "web_search_20250305" in document["error"]["message"]


async def test_a_caller_may_be_in_more_of_a_hurry_than_the_gateway(tmp_path: Path) -> None:
    async with world(tmp_path, FakeServer(echo, delay_s=30.0)) as gateway:
        for seconds in ("0.2", "1e-9"):
            status, document, _ = await gateway.post(CHAT, say("Hello"), x_equipoise_timeout_s=seconds)
            assert status == 504 and code_of(document) == "timeout"


async def test_the_decision_without_the_call(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor) as gateway:
        status, document, headers = await gateway.post("/v1/route", say("What is 2 + 2?"))
        assert status == 200 and document["model"] == SMALL and not vendor.requests
        assert headers["x-equipoise-decision-id"] == document["decision_id"] and headers["x-equipoise-model"] == SMALL
        assert document["decision"]["fallback" if "fallback" in document["decision"] else "plan"]
        assert document["counterfactuals"][0]["model"] == LARGE
        assert document["counterfactuals"][0]["expected_cost_difference_usd"] > 0
        known, again = await gateway.get(f"/v1/decisions/{document['decision_id']}")
        assert known == 200 and again["decision"]["id"] == document["decision_id"]


async def test_a_decision_is_explained_with_what_the_others_would_have_cost(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        _, answer, headers = await gateway.post(CHAT, say("What is the capital of France?"))
        status, document = await gateway.get(f"/v1/decisions/{headers['x-equipoise-decision-id']}")
        assert status == 200 and document["outcome"]["status"] == "ok" and document["prompt"] is None
        other, usage = document["counterfactuals"][0], answer["usage"]
        cost = (10 * usage["prompt_tokens"] + 40 * usage["completion_tokens"]) / 1e6
        assert other["model"] == LARGE and other["cost_at_actual_tokens_usd"] == pytest.approx(cost)
        assert other["expected_quality_difference"] > 0


async def test_what_a_model_that_is_paid_by_compute_time_would_have_cost_is_not_known(tmp_path: Path) -> None:
    async with FakeServer(echo) as server:
        document = settings(server.base_url)
        document["models"][1] |= {"price": {"usd_per_compute_s": 1.0}, "latency_s": 1.0}
        async with serving(tmp_path, document) as gateway:
            _, _, headers = await gateway.post(CHAT, say("Hello"))
            assert headers["x-equipoise-model"] == SMALL
            _, explained = await gateway.get(f"/v1/decisions/{headers['x-equipoise-decision-id']}")
            assert [c["cost_at_actual_tokens_usd"] for c in explained["counterfactuals"]] == [None]


async def test_feedback_joins_its_decision(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        _, _, headers = await gateway.post(CHAT, say("Hello"))
        decision_id = headers["x-equipoise-decision-id"]
        for body in ({"thumb": "up"}, {"reward": 0.25, "source": "judge", "comment": "meh"}):
            status, _, _ = await gateway.post("/v1/feedback", {"decision_id": decision_id, **body})
            assert status == 200
        _, document = await gateway.get(f"/v1/decisions/{decision_id}")
        assert {f["source"]: f["reward"] for f in document["feedback"]} == {"user": 1.0, "judge": 0.25}


@pytest.mark.parametrize(("prompts", "kept"), [("none", "[email]"), ("redacted", "[email]"), ("full", "me@acme.org")])
async def test_comments_of_feedback_are_kept_as_prompts_are(tmp_path: Path, prompts: str, kept: str) -> None:
    async with world(tmp_path, log={"prompts": prompts}) as gateway:
        _, _, headers = await gateway.post(CHAT, say("Hello"))
        decision_id = headers["x-equipoise-decision-id"]
        said = {"decision_id": decision_id, "thumb": "down", "comment": "wrong, ask me@acme.org"}
        assert (await gateway.post("/v1/feedback", said))[0] == 200
        _, document = await gateway.get(f"/v1/decisions/{decision_id}")
        assert [f["comment"] for f in document["feedback"]] == [f"wrong, ask {kept}"]


@pytest.mark.parametrize("what", ["get", "feedback"])
async def test_while_the_log_is_looked_through_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with world(tmp_path) as gateway:
        served = threading.Event()

        def searching(*asked: Any, **more: Any) -> None:
            assert served.wait(30.0), "nobody else was served meanwhile"

        monkeypatch.setattr(gateway.gateway.log, what, searching)
        said = {"decision_id": "0" * 32, "reward": 1}
        path = "/v1/decisions/" + "0" * 32
        asking = asyncio.create_task(gateway.post("/v1/feedback", said) if what == "feedback" else gateway.get(path))
        await eventually(lambda: gateway.gateway.in_flight == 1)
        assert (await gateway.get("/healthz"))[0] == 200
        served.set()
        assert (await asking)[0] == 404


@pytest.mark.parametrize("path", [CHAT, "/v1/route"])
async def test_while_a_long_text_is_redacted_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    served, text = threading.Event(), "-" * (LARGE_BYTES + 1)

    def redacting(text: str) -> str:
        assert served.wait(30.0), "nobody else was served meanwhile"
        return redact(text)

    monkeypatch.setattr("equipoise.gateway.exchange.redact", redacting)
    async with world(tmp_path, log={"prompts": "redacted"}) as gateway:
        asking = asyncio.create_task(gateway.post(path, say(text)))
        await eventually(lambda: gateway.gateway.in_flight == 1)
        assert (await gateway.get("/healthz"))[0] == 200
        served.set()
        assert (await asking)[0] == 200


async def test_a_comment_that_is_too_long_is_refused_before_it_is_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redacting(text: str) -> str:
        raise AssertionError(f"{len(text)} characters are redacted")

    monkeypatch.setattr("equipoise.gateway.exchange.redact", redacting)
    async with world(tmp_path, log={"prompts": "redacted"}) as gateway:
        said = {"decision_id": "0" * 32, "reward": 1, "comment": "-" * 10_001}
        status, answer, _ = await gateway.post("/v1/feedback", said)
    assert (status, answer["error"]["code"]) == (400, "bad_feedback")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"decision_id": "0" * 32, "reward": 1}, 404, "decision_not_found"),
        ({"decision_id": "0" * 32}, 400, "bad_feedback"),
        ({"decision_id": "0" * 32, "reward": 2}, 400, "bad_feedback"),
        ({"decision_id": "0" * 32, "reward": True}, 400, "bad_feedback"),
        ({"decision_id": "0" * 32, "thumb": "sideways"}, 400, "bad_feedback"),
        ({"decision_id": "0" * 32, "thumb": "up", "reward": 1}, 400, "bad_feedback"),
        ({"decision_id": 7, "reward": 1}, 400, "bad_feedback"),
        ({"decision_id": "", "reward": 1}, 400, "bad_feedback"),
        ({"decision_id": "0", "reward": 1, "source": ""}, 400, "bad_feedback"),
        ({"decision_id": "0", "reward": 1, "score": 1}, 400, "bad_feedback"),
        ({"decision_id": "0", "reward": 1, "comment": "x" * 20000}, 400, "bad_feedback"),
    ],
)
async def test_bad_feedback(tmp_path: Path, body: dict[str, Any], status: int, code: str) -> None:
    async with world(tmp_path) as gateway:
        got, document, _ = await gateway.post("/v1/feedback", body)
        assert (got, code_of(document)) == (status, code), document


async def test_what_is_wrong_with_feedback_is_told_by_its_field(tmp_path: Path) -> None:
    no_id, no_source = {"reward": 1}, {"decision_id": "0", "reward": 1, "source": ""}
    async with world(tmp_path) as gateway:
        for said, field in ((no_id, "decision_id"), (no_source, "source")):
            _, document, _ = await gateway.post("/v1/feedback", said)
            assert document["error"]["message"] == f"{field} is missing; give one"
        _, document, _ = await gateway.post("/v1/feedback", {"decision_id": "0" * 32, "reward": 1})
        assert document["error"]["param"] == "decision_id"


async def test_the_list_of_models_comes_in_the_pages_that_anthropics_clients_ask_for(tmp_path: Path) -> None:
    async def page(query: str) -> tuple[list[str], bool]:
        status, listed = await gateway.get(f"/v1/models?{query}", anthropic_version="2023-06-01")
        assert status == 200, listed
        return [m["id"] for m in listed["data"]], listed["has_more"]

    async with world(tmp_path) as gateway:
        assert await page("limit=2") == (["auto", SMALL], True)
        assert await page(f"limit=2&after_id={SMALL}") == ([LARGE], False)
        assert await page(f"after_id={LARGE}") == ([], False)
        assert await page(f"limit=1&before_id={LARGE}") == ([SMALL], True)
        assert await page("before_id=auto") == ([], False)
        for query, code in (
            ("limit=0", "out_of_range"),
            ("limit=x", "out_of_range"),
            ("after_id=q", "model_not_found"),
        ):
            status, document = await gateway.get(f"/v1/models?{query}", anthropic_version="2023-06-01")
            assert status in (400, 404) and document["error"]["code"] == code
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="any") as client:
            listed = [m async for m in client.models.list(limit=1)]
        assert [(m.id, m.lifecycle, m.max_input_tokens) for m in listed] == [
            ("auto", "active", None),
            (SMALL, "active", 2000),
            (LARGE, "active", 8000),
        ]


async def test_routes_and_models_are_listed_for_both_vendors_clients(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        _, listed = await gateway.get("/v1/models")
        assert [m["id"] for m in listed["data"]] == ["auto", SMALL, LARGE] and listed["object"] == "list"
        assert [m["owned_by"] for m in listed["data"]] == ["equipoise", "openai_compatible", "openai_compatible"]
        _, listed = await gateway.get("/v1/models", anthropic_version="2023-06-01")
        assert listed["data"][0]["type"] == "model" and listed["has_more"] is False
        status, one = await gateway.get(f"/v1/models/{SMALL}")
        assert status == 200 and one["id"] == SMALL
        status, document = await gateway.get("/v1/models/a/b%2Fc")
        assert status == 404 and "a/b/c" in document["error"]["message"]
        status, document = await gateway.get("/v1/models/smol-model")
        assert status == 404 and code_of(document) == "model_not_found"


async def test_embeddings_of_a_model_and_not_of_a_route(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document, headers = await gateway.post("/v1/embeddings", {"model": SMALL, "input": ["one", "two"]})
        assert status == 200 and len(document["data"]) == 2 and headers["x-equipoise-model"] == SMALL
        status, document, _ = await gateway.post("/v1/embeddings", {"model": "auto", "input": "one"})
        assert status == 400 and code_of(document) == "embeddings_need_a_model"


async def test_a_model_that_only_embeds_is_asked_by_name_and_no_candidate_of_a_route(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        document = settings(vendor.base_url)
        place = {"provider": "openai_compatible", "base_url": vendor.base_url}
        document["models"].insert(0, {"name": "text-embedding-3-small", "deployments": [place]})
        async with serving(tmp_path, document) as gateway:
            assert (await gateway.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "one"}))[0] == 200
            _, route, _ = await gateway.post("/v1/route", say("Hello"))
            assert [c["model"] for c in route["decision"]["candidates"]] == [SMALL, LARGE]
            assert not [line for line in gateway.lines if line["event"] == "other than meant"]


async def test_of_texts_to_embed_each_has_the_models_window_for_itself(tmp_path: Path) -> None:
    async with FakeServer(echo) as vendor:
        place = {"provider": "openai_compatible", "base_url": vendor.base_url}
        document = settings(vendor.base_url)
        document["models"].append({"name": "text-embedding-3-small", "deployments": [place]})
        document["models"].append({**document["models"][0], "name": "both", "capabilities": ["embeddings", "tools"]})
        async with serving(tmp_path, document) as gateway:
            texts = ["word " * 300] * 40
            status, told, _ = await gateway.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": texts})
            assert (status, len(told["data"])) == (200, 40), told
            status, told, _ = await gateway.post(CHAT, {**say("word " * 3000), "model": "both"})
            assert (status, code_of(told)) == (400, "context_length_exceeded"), "it writes answers, too"


async def test_what_leans_on_one_vendors_memory_is_not_routed(tmp_path: Path) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor) as gateway:
        body = {"model": "auto", "input": "And then?", "previous_response_id": "resp_1"}
        status, document, _ = await gateway.post("/v1/responses", body)
        assert status == 400 and code_of(document) == "previous_response_id_unsupported_request"
        assert not vendor.requests


async def test_what_a_provider_says_no_to_is_told_without_a_500(tmp_path: Path) -> None:
    vendor = FakeServer(echo, misbehave=lambda number, body: Misbehaviour(status=500))
    async with world(tmp_path, vendor) as gateway:
        status, document, headers = await gateway.post(CHAT, say("Hello"))
        assert status == 502 and code_of(document) == "provider_error"
        outcome = gateway.outcome(headers)
        assert outcome.status == "failed"
        assert len(outcome.attempts) >= 2 and outcome.cost_usd == outcome.routing_usd


@pytest.mark.parametrize("lacking", [{"api_key_env": "NO_SUCH_KEY"}, {"api_key_file": "no/such.key"}])
async def test_which_key_is_missing_is_told_in_the_log_and_to_no_client(
    tmp_path: Path, lacking: dict[str, str]
) -> None:
    document = settings("http://127.0.0.1:9/v1")
    for model in document["models"]:
        model["deployments"] = [{"provider": "openai", **lacking}]
    async with serving(tmp_path, document) as gateway:
        for path in (CHAT, "/v1/messages"):
            status, told, _ = await gateway.post(path, say("Hello", max_tokens=5))
            assert status == 502 and "such" not in str(told).lower()
            assert told["error"]["message"].endswith("the gateway cannot call it; its log says why")
        reasons = [line["reason"] for line in gateway.lines if line["event"] == "a provider cannot be called"]
        assert len(reasons) == 2 and all("such" in reason.lower() for reason in reasons)


async def test_where_a_local_model_lies_that_does_not_start_is_told_in_the_log_and_to_no_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, file = tmp_path / "worker.py", tmp_path / "secret.gguf"
    for written in (worker, file):
        written.write_text("")
    monkeypatch.setattr(gguf, "_WORKER", worker)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    document = settings("http://127.0.0.1:9/v1")
    for model in document["models"]:
        model["deployments"] = [{"provider": "gguf", "options": {"path": str(file)}}]
    async with serving(tmp_path, document) as gateway:
        status, told, _ = await gateway.post(CHAT, say("Hello"))
        assert status == 502 and file.name not in str(told)
        (reason,) = [line["reason"] for line in gateway.lines if line["event"] == "a provider cannot be called"]
        assert str(file) in reason


async def test_health_and_readiness(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        assert await gateway.get("/healthz") == (200, {"status": "ok"})
        assert await gateway.get("/readyz") == (200, {"ready": True, "reasons": [], "warnings": []})
        gateway.gateway.draining = True
        status, document = await gateway.get("/readyz")
        assert status == 503 and "draining" in document["reasons"][0]


async def test_what_the_disk_did_not_take_until_the_end_is_told_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as gateway:
        monkeypatch.setattr(Journal, "_write", lambda journal, line: False)
        assert (await gateway.post(CHAT, say("Hello")))[0] == 200
    [line] = [line for line in gateway.lines if line["event"] == "entries of the decision log lost"]
    assert line["level"] == "error" and line["entries"] == 2  # the decision, and what became of it


async def test_what_is_wrong_with_the_log_is_told_in_full_to_administrators_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as gateway:
        log, keys = gateway.gateway.log, gateway.gateway.keys
        _, _, headers = await gateway.post(CHAT, say("Hello"))

        def locked(*_: object) -> None:
            raise StoreUnavailable(f"{tmp_path}/kept.db: database is locked")

        monkeypatch.setattr(log.store, "read", locked)
        monkeypatch.setattr(log.store, "ingest", locked)
        assert not log.flush()
        _, ready = await gateway.get("/readyz")
        status, told = await gateway.get("/v1/decisions/" + headers["x-equipoise-decision-id"])
        assert (status, told["error"]["code"]) == (503, "store_unavailable")
        for said in (ready["warnings"][0], told["error"]["message"]):
            assert str(tmp_path) not in said and "just now" in said
        key, _ = keys.create(name="k", scopes=["admin"], now=0.0)
        _, full = await gateway.get("/admin/status", x_api_key=key)
        assert full["log"]["trouble"].endswith("kept.db: database is locked")
        monkeypatch.undo()


async def test_a_provider_that_is_not_called_since_it_fails_is_told(tmp_path: Path) -> None:
    down = FakeServer(echo, misbehave=lambda number, body: Misbehaviour(status=500))
    hasty = {"breaker_min_calls": 1, "attempts_per_model": 1, "max_attempts": 1, "backoff_s": 0.001}
    told = ["providers: some fail, and are not called but to try them out"]
    for cooldown_s in (15.0, 1e-6):  # until it may be tried out, and from then on
        async with world(tmp_path, down, execution={**hasty, "breaker_cooldown_s": cooldown_s}) as gateway:
            assert (await gateway.get("/readyz"))[1]["warnings"] == []
            await gateway.post(CHAT, say("Hello"))
            _, ready = await gateway.get("/readyz")
            assert ready["ready"] and ready["warnings"] == told


async def test_what_there_is_to_warn_of_is_told_in_the_log_once_and_when_it_is_over(tmp_path: Path) -> None:
    def told() -> list[tuple[str, str]]:
        return [(line["event"], line["reason"][:13]) for line in gateway.lines if "warning" in line["event"]]

    async with world(tmp_path) as gateway:
        telling = asyncio.create_task(tell_warnings(gateway.gateway, 0.001))
        gateway.gateway.trouble = "line 7"
        await eventually(told)
        gateway.gateway.trouble = None
        await eventually(lambda: len(told()) > 1)
        telling.cancel()
    assert told() == [("warning", "configuration"), ("warning is over", "configuration")]


async def test_metrics_have_the_genai_names_and_the_routers_own(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        await gateway.post(CHAT, say("Hello"))
        await gateway.post(CHAT, say("Hello", model="nobody"))
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            text = await answer.text()
        by = 'gen_ai_operation_name="chat",gen_ai_provider_name="openai_compatible",gen_ai_request_model='
        served = f'{by}"auto",gen_ai_response_model="{SMALL}"'
        for line in (
            f'gen_ai_server_request_duration_seconds_count{{error_type="",{served}}} 1.0',
            f'gen_ai_client_operation_duration_seconds_count{{error_type="",{by}"{SMALL}",route="auto"}} 1.0',
            f'gen_ai_client_token_usage_count{{{by}"{SMALL}",gen_ai_token_type="input",route="auto"}} 1.0',
            f'equipoise_requests_total{{model="{SMALL}",route="auto",status="ok"}} 1.0',
            'equipoise_overhead_seconds_count{route="auto"} 1.0',
            'equipoise_problems_total{code="model_not_found",status="404"} 1.0',
            "equipoise_log_recorded_total 2.0",
        ):
            assert line in text, line
        assert "nobody" not in text


async def test_counters_that_alarms_wait_for_are_told_before_they_count(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            text = await answer.text()
    for line in (
        'equipoise_config_reloads_total{result="refused"} 0.0',
        'equipoise_degraded_decisions_total{route="auto"} 0.0',
        'equipoise_feedback_total{result="unknown_decision"} 0.0',
        "equipoise_spans_lost_total 0.0",
    ):
        assert line in text, line


async def test_whoever_asks_how_many_requests_are_served_is_not_one_of_them(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        async with gateway.session.get(gateway.url + "/metrics") as answer:
            assert "equipoise_requests_in_flight 0.0" in await answer.text()
        key, _ = gateway.gateway.keys.create(name="k", scopes=["admin"], now=0.0)
        assert (await gateway.get("/admin/status", x_api_key=key))[1]["in_flight"] == 0


async def test_lines_of_the_log_tell_requests_apart_without_prompts_or_keys(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        await gateway.post(CHAT, say("A secret plan"), x_request_id="mine-1", Authorization="Bearer sk-of-the-vendor")
        line = gateway.lines[-1]
        assert line["event"] == "request" and line["request_id"] == "mine-1" and line["model"] == SMALL
        assert "secret" not in json.dumps(gateway.lines) and "sk-of" not in json.dumps(gateway.lines)


async def test_the_openapi_document_names_every_endpoint(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        _, document = await gateway.get("/openapi.json")
        assert document["openapi"].startswith("3.") and CHAT in document["paths"]
        assert {"/v1/route", "/v1/feedback", "/v1/decisions/{id}", "/metrics"} <= set(document["paths"])
        operation = document["paths"][CHAT]["post"]
        assert any(p["name"] == "x-equipoise-max-cost-usd" for p in operation["parameters"])


@pytest.mark.parametrize("keys", ["off", "required"])
async def test_the_openapi_document_says_whether_a_key_is_needed(tmp_path: Path, keys: str) -> None:
    async with world(tmp_path, server={"port": 0, "keys": keys}) as gateway:
        _, document = await gateway.get("/openapi.json")
        needed = [{"key": []}] if keys == "required" else [{"key": []}, {}]
        assert document["paths"][CHAT]["post"]["security"] == needed
        assert document["paths"]["/admin/keys"]["get"]["security"] == [{"key": []}]
        async with gateway.session.get(gateway.url + "/v1/models") as answer:
            assert answer.status == (401 if keys == "required" else 200)


async def test_the_field_that_a_vendor_finds_wrong_is_named(tmp_path: Path) -> None:
    document = {"error": {"message": "no", "code": "invalid_value", "param": "seed"}}
    for status, param in ((400, "seed"), (500, None)):
        wrong = Misbehaviour(status=status, body=json.dumps(document))
        async with world(tmp_path, FakeServer(echo, misbehave=lambda n, b, wrong=wrong: wrong)) as gateway:
            _, told, _ = await gateway.post(CHAT, say("Hello", seed=1))
            assert told["error"]["param"] == param
            _, told, _ = await gateway.post("/v1/messages", {**say("Hello"), "max_tokens": 9})
            assert told["error"]["param"] is None
