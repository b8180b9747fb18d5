"""Whatever the OpenAPI document allows is answered as it says, and never with a 500."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from equipoise.gateway.app import ENDPOINTS
from equipoise.gateway.openapi import document
from tests.gateway_world import CHAT, SMALL, World, world
from tests.wire_samples import request_in

schema = schemathesis.openapi.from_dict(document(ENDPOINTS))
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
# Up to here statuses say that the caller or a provider is at fault; 502 and 504 that no provider answered.
EXPECTED = {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 422, 431}


CALLED = {"role": "assistant", "tool_calls": request_in("chat")["messages"][2]["tool_calls"]}
SERVED = [
    (CHAT, request_in("chat")),
    (CHAT, {"model": "auto", "messages": [*request_in("chat")["messages"][:2], CALLED]}),
    ("/v1/responses", request_in("responses")),
    ("/v1/messages", request_in("messages")),
    ("/v1/messages/count_tokens", request_in("messages")),
    ("/v1/embeddings", {"model": SMALL, "input": [[1, 2], [3]]}),
    ("/v1/embeddings", {"model": SMALL, "input": [1, 2]}),
    ("/v1/route", request_in("chat")),
    ("/v1/route", {"model": "auto", "input": "hi"}),
    ("/v1/feedback", {"decision_id": "0", "thumb": "up"}),
]
REFUSED = [
    ("/v1/route", {"model": "auto"}),
    ("/v1/feedback", {"decision_id": "0"}),
    ("/v1/feedback", {"decision_id": "0", "thumb": "up", "reward": 1}),
]


@pytest.mark.parametrize(("path", "body", "served"), [(*s, True) for s in SERVED] + [(*r, False) for r in REFUSED])
def test_the_document_allows_the_bodies_that_are_served(path: str, body: dict[str, Any], served: bool) -> None:
    content = document(ENDPOINTS)["paths"][path]["post"]["requestBody"]["content"]
    assert jsonschema_rs.is_valid(content["application/json"]["schema"], body) == served


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its address and a key that opens everything."""
    started, stop, found = threading.Event(), asyncio.Event(), {}

    async def run() -> None:
        async with world(tmp_path_factory.mktemp("gateway")) as one:
            found["one"] = one
            found["loop"] = asyncio.get_running_loop()
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(60)
    one: World = found["one"]
    key, _ = one.gateway.keys.create(name="k", scopes=("call", "feedback", "read", "admin"), now=0.0)
    yield one.url, key
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join(60)


@schema.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_the_gateway_answers_as_documented(case: Any, gateway: tuple[str, str]) -> None:
    url, key = gateway
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and len(case.body["model"]) % 2:
        case.body["model"] = SMALL if case.path == "/v1/embeddings" else "auto"
        case.headers = {}  # limits made up at random leave no model to call
    if case.headers:
        case.headers.pop("x-equipoise-timeout-s", None)  # a time made up at random is over at once: a 504, as it says
    answer = case.call(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert answer.status_code in EXPECTED, (case.as_curl_command(), answer.status_code, answer.text[:300])
    case.validate_response(answer, checks=CHECKS)
