"""Which pages a browser lets call the gateway."""

from __future__ import annotations

from pathlib import Path

from tests.gateway_world import CHAT, say, world

APP, OTHER = "https://app.example.com", "https://app.example.com.evil.org"
LET_IN = {"port": 0, "cors_origins": [APP, "http://localhost:3000"]}


async def test_a_page_that_is_named_may_ask_and_read_what_it_gets(tmp_path: Path) -> None:
    async with world(tmp_path, server=LET_IN) as gateway:
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-lang"}
        async with gateway.session.options(gateway.url + CHAT, headers={"Origin": APP, **wanted}) as told:
            assert (told.status, told.headers["Access-Control-Allow-Origin"]) == (204, APP)
            assert told.headers["Vary"] == "Origin"
            assert told.headers["Access-Control-Allow-Headers"] == "authorization,x-lang"
            assert told.headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE"
            assert told.headers["Access-Control-Max-Age"] == "600"
            assert "Access-Control-Allow-Credentials" not in told.headers
        for path, body, status in (
            (CHAT, say("Hello"), 200),
            (CHAT, say("Hello", stream=True), 200),
            (CHAT, say("Hello", n=0), 400),
            ("/v1/nothing", {}, 404),
        ):
            async with gateway.session.post(gateway.url + path, json=body, headers={"Origin": APP}) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, APP)
                assert answer.headers["Access-Control-Expose-Headers"] == "*"


async def test_what_asks_for_no_permission_is_a_request_like_any_other(tmp_path: Path) -> None:
    async with world(tmp_path, server=LET_IN) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello"), origin=APP, access_control_request_method="POST")
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, APP)
        async with gateway.session.options(gateway.url + CHAT, headers={"Origin": APP}) as told:
            assert (told.status, told.headers["Access-Control-Allow-Origin"]) == (405, APP)


async def test_no_other_page_may(tmp_path: Path) -> None:
    for number, (server, origin) in enumerate(((LET_IN, OTHER), (LET_IN, "null"), ({"port": 0}, APP))):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with world(folder, server=server) as gateway:
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            async with gateway.session.options(gateway.url + CHAT, headers=asked) as told:
                assert told.status == 405 and not [name for name in told.headers if name.startswith("Access-Control")]
            _, _, headers = await gateway.post(CHAT, say("Hello"), origin=origin)
            assert not [name for name in headers if name.startswith("Access-Control")]
            assert ("Vary" in headers) is (server is LET_IN)


async def test_a_page_that_is_named_needs_a_key_where_all_do(tmp_path: Path) -> None:
    async with world(tmp_path, server={**LET_IN, "keys": "required"}) as gateway:
        status, _, headers = await gateway.post(CHAT, say("Hello"), origin=APP)
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, APP)
        key, _ = gateway.gateway.keys.create(name="k", now=0.0)
        assert (await gateway.post(CHAT, say("Hello"), origin=APP, authorization=f"Bearer {key}"))[0] == 200
