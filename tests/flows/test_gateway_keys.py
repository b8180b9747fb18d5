"""Who may do what: keys, scopes, tenants, and where the gateway may listen."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from equipoise.cli.main import main
from equipoise.gateway.auth import is_local_name
from equipoise.providers.http import is_loopback
from equipoise.storage.keys import KeyStore
from tests.gateway_world import CHAT, SMALL, World, say, settings, world, write

REQUIRED = {"port": 0, "keys": "required", "reload_s": 0.0}


def made(gateway: World, scopes: str, tenant: str = "a", expires: float | None = None) -> dict[str, str]:
    """The headers of a new key."""
    keys = gateway.gateway.keys
    key, _ = keys.create(name="k", tenant=tenant, scopes=scopes.split(","), expires=expires, now=time.time())
    return {"Authorization": f"Bearer {key}"}


async def test_without_a_valid_key_nothing_but_health_is_open(tmp_path: Path) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert (await gateway.get(path))[0] == 200
        for headers in ({}, {"Authorization": "Bearer eq-" + "x" * 43}, {"x-api-key": "nonsense"}):
            for path in ("/v1/models", "/metrics", "/v1/decisions/0", "/admin/status"):
                status, document = await gateway.get(path, **headers)
                assert status == 401 and document["error"]["code"] in ("missing_api_key", "invalid_api_key")
            status, _, answered = await gateway.post(CHAT, say("Hello"), **headers)
            assert status == 401 and answered["WWW-Authenticate"] == "Bearer"


async def test_all_vendors_ways_of_sending_a_key_are_taken(tmp_path: Path) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        headers = made(gateway, "call")
        assert (await gateway.get("/v1/models", **headers))[0] == 200
        key = headers["Authorization"].removeprefix("Bearer ")
        assert (await gateway.get("/v1/models", x_api_key=key))[0] == 200
        assert (await gateway.get("/v1/models", api_key=key))[0] == 200
        assert (await gateway.get("/v1/models", Authorization=key))[0] == 200


@pytest.mark.parametrize("other", ["Basic dTpw", "Bearer", "Bearer ", ""])
async def test_an_authorization_that_is_meant_for_a_proxy_or_empty_hides_no_key(tmp_path: Path, other: str) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        key = made(gateway, "call")["Authorization"].removeprefix("Bearer ")
        assert (await gateway.get("/v1/models", Authorization=other, x_api_key=key))[0] == 200
        status, told = await gateway.get("/v1/models", Authorization=other)
        assert (status, told["error"]["code"]) == (401, "missing_api_key")
        assert (await gateway.get("/v1/models", Authorization="Bearer eq-other", x_api_key=key))[0] == 401


@pytest.mark.parametrize(
    ("scope", "path", "body"),
    [
        ("call", CHAT, say("Hello")),
        ("call", "/v1/route", say("Hello")),
        ("feedback", "/v1/feedback", {"decision_id": "0", "thumb": "up"}),
        ("read", "/v1/decisions/0", None),
        ("read", "/metrics", None),
        ("admin", "/admin/status", None),
        ("admin", "/admin/keys", {"name": "x"}),
    ],
)
async def test_a_key_opens_what_its_scopes_say(tmp_path: Path, scope: str, path: str, body: Any) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        others = ",".join({"call", "feedback", "read", "admin"} - {scope})
        statuses = []
        for scopes in (scope, others):
            method = "POST" if body is not None else "GET"
            async with gateway.session.request(
                method, gateway.url + path, json=body, headers=made(gateway, scopes)
            ) as answer:
                statuses.append(answer.status)
                if scopes == others:
                    assert (await answer.json())["error"]["code"] == "missing_scope"
        assert statuses[0] not in (401, 403) and statuses[1] == 403


async def test_revoked_and_expired_keys_are_worthless(tmp_path: Path) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        headers = made(gateway, "call")
        soon = made(gateway, "call", expires=time.time() + 0.05)
        assert (await gateway.get("/v1/models", **headers))[0] == 200
        gateway.gateway.keys.revoke(headers["Authorization"].removeprefix("Bearer "), now=time.time())
        assert (await gateway.get("/v1/models", **headers))[0] == 401
        gateway.gateway.gate._clock = lambda: time.time() + 60
        assert (await gateway.get("/v1/models", **soon))[0] == 401


async def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        mine, theirs = made(gateway, "call,feedback,read"), made(gateway, "call,feedback,read", tenant="b")
        _, _, headers = await gateway.post(CHAT, say("Hello"), **mine)
        decision_id = headers["x-equipoise-decision-id"]
        assert (await gateway.get(f"/v1/decisions/{decision_id}", **mine))[0] == 200
        assert (await gateway.get(f"/v1/decisions/{decision_id}", **theirs))[0] == 404
        up = {"decision_id": decision_id, "thumb": "up"}
        assert (await gateway.post("/v1/feedback", up, **theirs))[0] == 404
        assert (await gateway.post("/v1/feedback", up, **mine))[0] == 200
        assert len(gateway.record(decision_id).feedback) == 1


async def test_keys_are_made_listed_and_revoked_by_an_administrator(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        status, document = await gateway.get("/admin/keys")
        assert status == 401, "without keys one may call models, but not make keys"
        admin = made(gateway, "admin")
        asked = {"name": "app", "tenant": "t", "scopes": ["call"], "expires_days": 1}
        status, made_key, _ = await gateway.post("/admin/keys", asked, **admin)
        assert status == 201 and made_key["key"].startswith(made_key["id"]) and made_key["tenant"] == "t"
        for headers, shown in (({"x_api_key": made_key["key"]}, made_key["id"]), ({}, None)):
            await gateway.post(CHAT, say("Hello"), **headers)
            assert [line["key"] for line in gateway.lines if line["event"] == "request"][-1] == shown
        _, listed = await gateway.get("/admin/keys", **admin)
        assert made_key["id"] in {k["id"] for k in listed["keys"]} and made_key["key"] not in json.dumps(listed)
        url = f"{gateway.url}/admin/keys/{made_key['id']}"
        async with gateway.session.delete(url, headers=admin) as answer:
            assert answer.status == 200 and (await answer.json())["revoked"] is not None
        for bad in ({"name": ""}, {"name": 3}, {"scopes": ["call"]}, {"name": "x", "scopes": ["fly"]}, {"nmae": "x"}):
            status, document, _ = await gateway.post("/admin/keys", bad, **admin)
            assert status == 400 and document["error"]["code"], bad
        async with gateway.session.delete(gateway.url + "/admin/keys/eq-nobody", headers=admin) as answer:
            assert answer.status == 404 and (await answer.json())["error"]["code"] == "key_not_found"


async def test_requests_do_not_wait_for_a_key_that_cannot_be_written_yet(tmp_path: Path) -> None:
    async with world(tmp_path, server=REQUIRED) as gateway:
        headers = made(gateway, "admin,call")
        with closing(sqlite3.connect(tmp_path / "kept.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            making = asyncio.create_task(gateway.post("/admin/keys", {"name": "x"}, **headers))
            for _ in range(3):
                assert (await gateway.get("/v1/models", **headers))[0] == 200
            assert not making.done()
            other.execute("ROLLBACK")
            assert (await making)[0] == 201


async def test_status_tells_how_everything_is_doing(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        await gateway.post(CHAT, say("Hello"))
        _, document = await gateway.get("/admin/status", **made(gateway, "admin"))
        assert document["log"]["recorded"] == 2 and document["warnings"] == []
        places = {d["deployment"]: d for d in document["deployments"]}
        assert places[f"{SMALL}/openai_compatible"]["calls"] == 1


async def test_without_keys_a_foreign_name_is_not_served(tmp_path: Path) -> None:
    # A browser can be led to this machine under any name: one that only a foreign name server answers is refused.
    async with world(tmp_path) as gateway:
        status, document, _ = await gateway.post(CHAT, say("Hello"), Host="evil.example:8080")
        assert status == 403 and document["error"]["code"] == "foreign_host"
        assert (await gateway.get("/v1/models", Host="localhost:1"))[0] == 200


def test_names_and_addresses_of_this_machine() -> None:
    assert all(is_local_name(h) for h in ("localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8", "10.0.0.3"))
    assert not any(is_local_name(h) for h in ("", "localhost.evil.example", "127.0.0.1.nip.io", "a b", "[::1"))
    assert all(is_loopback(h) for h in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "example.org", ""))


@pytest.mark.parametrize(("keys", "word"), [("off", "keys: required"), ("required", "keys create")])
def test_an_address_that_others_reach_needs_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str, word: str
) -> None:
    path = write(tmp_path, settings("http://127.0.0.1:9/v1", server={"keys": keys}))
    for check in (["--check"], []):
        assert main(["serve", "--config", str(path), "--host", "0.0.0.0", *check]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and word in said
    with KeyStoreOf(tmp_path) as store:
        store.create(name="x", now=0.0)
    assert main(["serve", "--config", str(path), "--host", "0.0.0.0", "--check"]) == (0 if keys == "required" else 2)


class KeyStoreOf:
    """The keys of a folder's configuration."""

    def __init__(self, folder: Path) -> None:
        self._keys = KeyStore("sqlite:///kept.db", folder=folder)

    def __enter__(self) -> KeyStore:
        return self._keys

    def __exit__(self, *error: object) -> None:
        self._keys.close()
