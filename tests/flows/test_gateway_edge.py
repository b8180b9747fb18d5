"""The gateway's edge, byte by byte: what is not plainly one HTTP request is refused, and the connection with it."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from equipoise.gateway.problems import Problem
from equipoise.testing import FakeServer
from tests.gateway_world import CHAT, SMALL, World, echo, say, serving, settings, world

BODY = json.dumps(say("Hello")).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def post(*headers: bytes, body: bytes = BODY, length: bool = True) -> bytes:
    """A chat completion as bytes."""
    lines = [b"POST %s HTTP/1.1" % CHAT.encode(), b"Host: 127.0.0.1", b"Content-Type: application/json", *headers]
    return b"\r\n".join([*lines, *([b"Content-Length: %d" % len(body)] if length else []), b"", body])


async def answers(gateway: World, *pieces: bytes, wait_s: float = 0.5) -> tuple[bytes, bool]:
    """What comes back, and whether the gateway closed the connection.

    Args:
        pieces: what is sent, one a turn.
    """
    reader, writer = await gateway.connect()
    said = bytearray()
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0)
    try:
        async with asyncio.timeout(wait_s):
            while data := await reader.read(1 << 16):
                said += data
        closed = True
    except TimeoutError:
        closed = False
    writer.close()
    return bytes(said), closed


AMBIGUOUS = {
    "a length and chunks": post(b"Transfer-Encoding: chunked", body=CHUNKED),
    "two lengths": post(b"Content-Length: 5"),
    "the same length twice": post(b"Content-Length: %d" % len(BODY)),
    "a list of lengths": post(b"Content-Length: 5, 5", length=False),
    "a length with a sign": post(b"Content-Length: +5", length=False),
    "a length with an underscore": post(b"Content-Length: 5_0", length=False),
    "chunks before there were any": post(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", body=CHUNKED, length=False
    ).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunks twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKED, length=False),
    "chunks not last": post(b"Transfer-Encoding: chunked, identity", body=CHUNKED, length=False),
    "a coding that is nearly chunked": post(b"Transfer-Encoding: xchunked", body=CHUNKED, length=False),
    "a folded header": post(b"x-a: b\r\n c"),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked", body=CHUNKED, length=False),
    "a bare line feed": post(b"x-a: b\nx-b: c"),
    "line feeds only": post().replace(b"\r\n", b"\n"),
    "a bare carriage return": post(b"x-a: b\rx-b: c"),
    "a NUL in a value": post(b"x-a: b\0c"),
    "a NUL in a name": post(b"x\0a: b"),
    "a space before the colon": post(b"Content-Length : 5"),
    "two hosts": post(b"Host: evil.example"),
    "a chunk of a negative size": post(b"Transfer-Encoding: chunked", body=b"-4\r\nabcd\r\n0\r\n\r\n", length=False),
    "a chunk that does not end": post(
        b"Transfer-Encoding: chunked", body=b"1\r\n{XX0\r\n\r\n", length=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_a_request_that_another_server_may_read_otherwise_is_refused(tmp_path: Path, case: str) -> None:
    async with world(tmp_path) as gateway:
        said, closed = await answers(gateway, AMBIGUOUS[case] + HEALTH)
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.split()[1] == b"400" and b"Server: equipoise\r\n" in head
        told = json.loads(body)
        assert told["error"]["code"] == "bad_http", "and nothing after it was taken for a request"
        assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error"), (
            "as both vendors' SDKs read it"
        )
        assert closed


async def test_requests_that_follow_one_another_at_once_are_answered_in_their_order(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        chunked = post(b"Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"x-trailer: a\r\n\r\n", length=False)
        said, closed = await answers(gateway, post() + HEALTH + chunked + post(b"Connection: close"), wait_s=5.0)
        assert closed and said.count(b"HTTP/1.1 200") == 4 and said.count(b"You said: Hello") == 3
        assert said.index(b'{"status":"ok"}') < said.rindex(b"You said: Hello")


async def test_a_body_is_asked_for_where_the_client_waits_for_that(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        head = post(b"Expect: 100-continue", b"Content-Length: %d" % len(BODY), body=b"", length=False)
        assert (await answers(gateway, head))[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
        # The head alone tells that this one will not be taken.
        for bad in (head.replace(b"chat", b"nowhere"), head.replace(b"Length: ", b"Length: 9999999999")):
            said, _ = await answers(gateway, bad)
            assert said.split()[1] in (b"404", b"413") and b" 100 " not in said


async def test_a_head_without_end_is_refused_before_much_of_it_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "max_header_bytes": 2000}) as gateway:
        endless = b"GET /healthz HTTP/1.1\r\n" + b"".join([b"x-%d: %s\r\n" % (i, 1000 * b"a") for i in range(20)])
        said, closed = await answers(gateway, endless, wait_s=10.0)
        head, told = said.split(b"\r\n\r\n")
        assert closed and head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
        assert json.loads(told)["error"]["code"] == "headers_too_large"
        # So it is behind one that was answered; the answer to one that is not yet is not taken for it.
        reader, writer = await gateway.connect()
        writer.write(HEALTH)
        await reader.readuntil(b'{"status":"ok"}')
        writer.write(endless)
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
        writer.close()
        said, _ = await answers(gateway, HEALTH, endless)
        assert b" 431 " not in said.split(b"\r\n")[0]


async def test_a_body_in_pieces_is_no_head(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "max_header_bytes": 2000}) as gateway:
        request = post(b"Connection: close", body=BODY + 100_000 * b" ")
        pieces = [request[at : at + 10_000] for at in range(0, len(request), 10_000)]
        assert (await answers(gateway, *pieces, wait_s=10.0))[0].startswith(b"HTTP/1.1 200")


async def test_each_request_of_a_connection_has_a_head_of_its_own(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "max_header_bytes": 2000}) as gateway:
        reader, writer = await gateway.connect()
        for _ in range(10):
            writer.write(HEALTH[:-2] + b"x-a: " + 1500 * b"a")
            await asyncio.sleep(0.005)
            writer.write(b"\r\n\r\n")
            assert (await reader.readuntil(b'{"status":"ok"}')).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/%00",
        "/v1/decisions/%2e%2e%2f%2e%2e",
        "/healthz/../admin/status",
    ],
)
async def test_a_path_that_climbs_leads_nowhere(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as gateway:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        assert (await answers(gateway, request))[0].startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("name", ["127.0.0.1", "evil.example", "xn--", "xn--a..b", "u:p@[::1]:80"])
async def test_a_path_is_the_same_behind_whatever_name_it_is_asked_for(tmp_path: Path, name: str) -> None:
    async with world(tmp_path) as gateway:
        request = f"GET http://{name}/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        said, _ = await answers(gateway, HEALTH + request)
        assert said.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("header", [b"max-cost-usd", b"timeout-s", b"urgency", b"cache", b"region", b"session"])
async def test_a_header_of_bytes_that_are_no_text_is_refused_as_any_other(tmp_path: Path, header: bytes) -> None:
    async with world(tmp_path) as gateway:
        said, _ = await answers(gateway, post(b"x-equipoise-%s: \xff" % header, b"Connection: close"))
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.split()[1] == b"400" and json.loads(body)["error"]["code"] == "bad_header"


# ---------------------------------------------------------------- every field, of every type

TOOL = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
FIELDS: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": "auto",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "tools": [{"type": "function", "function": TOOL}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        "stream_options": {"include_usage": True},
        "max_tokens": 10,
        "n": 1,
        "stop": ["x"],
    },
    "/v1/responses": {
        "model": "auto",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
        ],
        "instructions": "Be brief",
        "tools": [{"type": "function", **TOOL}],
        "text": {"format": {"type": "json_object"}},
        "max_output_tokens": 20,
        "background": False,
        "previous_response_id": None,
    },
    "/v1/messages": {
        "model": "auto",
        "max_tokens": 20,
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "disabled"},
        "metadata": {"user_id": "u"},
    },
    "/v1/embeddings": {"model": SMALL, "input": ["a"], "encoding_format": "float", "dimensions": 3},
    "/v1/route": {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5},
    "/v1/feedback": {"decision_id": "x", "reward": 0.5, "thumb": None, "source": "u", "comment": "c"},
}
VALUES = (None, True, -1, 0.5, 2**63, "", "x\r\ny\0", [], [None], [[]], {}, {"type": "x"}, {"type": ["text"]})


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything inside."""
    if above:
        yield above
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*above, key))


def changed(body: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    whole = part = copy.deepcopy(body)
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return whole


@pytest.mark.parametrize("path", FIELDS)
async def test_a_field_of_any_type_is_answered_or_refused_with_a_code(tmp_path: Path, path: str) -> None:
    async with world(tmp_path, server={"port": 0, "reload_s": 0.0, "request_lines": "none"}) as gateway:
        for place in places(FIELDS[path]):
            for value in VALUES:
                async with gateway.session.post(gateway.url + path, json=changed(FIELDS[path], place, value)) as answer:
                    document = await answer.json()
                if answer.status >= 400:
                    told = (place, value, document)
                    assert answer.status < 500 and isinstance(document["error"]["code"], str), told
                    assert document["error"]["message"] and "\n" not in document["error"]["message"], told
                    assert (document.get("type") == "error") == (path == "/v1/messages"), told


@pytest.mark.parametrize("field", ["tool_choice", "text", "metadata"])
@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/v1/route"])
async def test_a_body_that_is_nested_too_deeply_is_refused_before_a_call(tmp_path: Path, path: str, field: str) -> None:
    vendor = FakeServer(echo)
    async with world(tmp_path, vendor) as gateway:
        for depth in (300, 980):
            whole = json.dumps({**FIELDS[path], field: "deep"})
            data = whole.replace('"deep"', '{"type": ' * depth + "1" + "}" * depth)
            headers = {"Content-Type": "application/json"}
            async with gateway.session.post(gateway.url + path, data=data, headers=headers) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (400, "too_deep")
        assert vendor.requests == []


@pytest.mark.parametrize(("depth", "status"), [(250, 200), (251, 400), (254, 400)])
async def test_a_body_that_is_as_deep_as_may_be_is_answered_by_vendors_of_other_formats_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, status: int
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-upstream")
    vendor = FakeServer(echo)
    async with vendor as server:
        document = settings(server.base_url)
        for model in document["models"]:
            model["deployments"] = [{"provider": "anthropic", "base_url": server.base_url.removesuffix("/v1")}]
        async with serving(tmp_path, document) as gateway:
            # Answers say it again, and events of a stream hold the answer.
            metadata = '{"a": ' * (depth - 1) + "1" + "}" * (depth - 1)
            data = f'{{"model": "auto", "input": "Hi", "stream": true, "metadata": {metadata}}}'
            headers = {"Content-Type": "application/json"}
            async with gateway.session.post(gateway.url + "/v1/responses", data=data, headers=headers) as answer:
                whole = b"response.completed" in await answer.read()
    assert (answer.status, whole, len(vendor.requests)) == (status, status == 200, status == 200)


async def test_a_connection_holds_what_there_is_room_for_to_the_byte(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        edge = gateway.one.edge
        room, one, other = edge._room, edge(), edge()
        room.left = 100
        one.hold(60)
        for connection in (one, other):
            with pytest.raises(Problem) as caught:
                connection.hold(41)
            assert caught.value.status == 503 and caught.value.close
        other.hold(40)
        assert room.left == 0
        one.let_go()
        one.let_go()
        assert room.left == 60
        one.hold(30)
        one.hold(30)
        one.let_go()
        other.let_go()
        assert room.left == 100


async def test_there_is_always_room_for_one_body_that_may_be_sent(tmp_path: Path) -> None:
    async with world(tmp_path, server={"port": 0, "max_body_bytes": 2_000_000, "max_bodies_bytes": 1000}) as gateway:
        assert (await gateway.post(CHAT, say("Hello", metadata={"padding": "x" * 1_000_000})))[0] == 200


async def test_bodies_together_get_no_more_room_than_there_is_and_give_it_back(tmp_path: Path) -> None:
    limits = {"port": 0, "max_body_bytes": 2_000_000, "max_bodies_bytes": 2_500_000}
    async with world(tmp_path, server=limits) as gateway:
        room, large = gateway.one.edge._room, say("Hello", metadata={"padding": "x" * 1_000_000})

        async def held(most: int) -> None:
            while limits["max_bodies_bytes"] - room.left != most:
                await asyncio.sleep(0.005)

        begun = [await gateway.connect() for _ in range(2)]
        for _, writer in begun:
            writer.write(post(b"Content-Length: 1500000", body=b" " * 1_000_000, length=False))
        await asyncio.wait_for(held(2_000_000), 60)
        status, told, headers = await gateway.post(CHAT, large)
        assert (status, told["error"]["code"], headers["Retry-After"]) == (503, "overloaded", "1")
        assert (await gateway.post(CHAT, say("Hello")))[0] == 200
        begun[0][1].close()
        await asyncio.wait_for(held(1_000_000), 60)
        assert (await gateway.post(CHAT, large))[0] == 200
        begun[1][1].close()
        await asyncio.wait_for(held(0), 60)
