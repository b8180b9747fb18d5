"""The edge: what a client may send, how long it may take, and what becomes of one that is slow.

A connection must send the head of every request within a time, its body within another, and take what is
written to it. Sizes are bounded before anything is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any, NamedTuple, cast

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong
from aiohttp.streams import StreamReader

from equipoise.aside import aside
from equipoise.config import ServerConfig
from equipoise.gateway.problems import Problem
from equipoise.gateway.replies import JSON, SERVER
from equipoise.wire.values import holds_more_values

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Body = dict[str, Any]
_LINE_BYTES = 8190
_MOST_HEADERS = 100
_ENCODINGS = frozenset({"identity", "gzip", "deflate"})
_ENCODINGS_SAID = "the body's content-encoding is not known; send it as it is, or by gzip or deflate"
_DEEPEST = 250  # orjson writes four more, in which translations and answers have room
# No conversation has as many; they take some tens of milliseconds to parse, in which nobody else is served.
_MOST_VALUES = 500_000
_LINGER_S = 2.0
_SWEEP_S = 0.5
_CROWDED_RETRY_S = 1.0
_NEVER = float("inf")


class Room:
    """How many bytes of bodies may yet be held, of all connections together."""

    __slots__ = ("left",)

    def __init__(self, most: int) -> None:
        self.left = most


class Connection(web.RequestHandler):
    """One client's connection, which must send the head of each request, and take what is written, within a time.

    ``due`` is the loop time by which the head that is being sent must be complete.
    """

    __slots__ = (
        "_allowed_s", "_body", "_head_bytes", "_held", "_most_head", "_most_stuck_s", "_resuming", "_room",
        "_seen_unsent", "_taken_at", "_wire", "busy", "due",
    )  # fmt: skip

    def __init__(self, manager: web.Server, *, settings: ServerConfig, room: Room, **options: Any) -> None:
        super().__init__(manager, **options)
        self._room, self._held = room, 0
        self._allowed_s, self._most_stuck_s = settings.header_timeout_s, settings.write_timeout_s
        # What is taken, the request's line, and what stands between names and values.
        self._most_head = settings.max_header_bytes + _LINE_BYTES + 4 * _MOST_HEADERS
        self._head_bytes = 0
        self._body: StreamReader | None = None
        self._wire: asyncio.Transport | None = None
        self._seen_unsent, self._taken_at = 0, 0.0
        self.busy = self._resuming = False
        self.due = _NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A new connection, which has to say something soon."""
        super().connection_made(transport)
        # Kept: the base class forgets it once it closes, when there may be something yet to be sent.
        self._wire = cast(asyncio.Transport, transport)
        self.due = self._loop.time() + self._allowed_s

    @property
    def unsent(self) -> int:
        """Bytes that were written, and that the client has yet to take."""
        return 0 if self._wire is None else self._wire.get_write_buffer_size()

    def cut_if_late(self, now: float) -> None:
        """Cut a client that does not send its head in time, or for too long takes nothing of what is written."""
        if self.due < now:
            self.force_close()
        unsent = self.unsent
        if unsent == 0 or unsent != self._seen_unsent:
            self._seen_unsent, self._taken_at = unsent, now
        elif now - self._taken_at > self._most_stuck_s and self._wire is not None:
            self._wire.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes; the first of a head start its clock."""
        if data and not self.busy and self.due is _NEVER:
            self.due = self._loop.time() + self._allowed_s
        known, of_body = self._request_count, self._body is not None and not self._body.is_eof()
        super().data_received(data)
        if self._request_count != known:
            self._head_bytes, self._body = 0, self._messages[-1][1]
        elif not of_body:
            self._head_bytes += len(data)
            if self._head_bytes > self._most_head:
                self._refuse_head()

    def _refuse_head(self) -> None:
        """The parser would keep a head of megabytes, to tell in the end that it is too large."""
        if self._wire is not None and self._waiter is not None and not self._waiter.done():  # nobody is to be answered
            body = _document("headers_too_large", "invalid_request_error", "the headers are too large")
            told = f"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: {JSON}\r\nConnection: close\r\n"
            self._wire.write(f"{told}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.force_close()

    def hold(self, size: int) -> None:
        """Keep so many bytes of a body until its request is over.

        Raises:
            Problem: 503: there is no room for them just now.
        """
        if size > self._room.left:
            said = "the bodies of the requests that are being served take all the room there is for them; try again"
            raise Problem(503, "overloaded", said, retry_after_s=_CROWDED_RETRY_S, close=True)
        self._room.left -= size
        self._held += size

    def let_go(self) -> None:
        """The request is over, and its body is held no more."""
        self._room.left += self._held
        self._held = 0

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on to parse what came, at the next turn: who reads would else have all of a body unpacked in this one."""
        if not resume_parser or not self._reading_paused:  # all that came was parsed
            super().resume_reading(resume_parser)
        elif not self._resuming:
            self._resuming = True
            self._loop.call_soon(self._parse_on)

    def _parse_on(self) -> None:
        self._resuming = False
        super().resume_reading()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP, or too large a head, is told in JSON too, as clients of either vendor read it."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        code, kind, said = "bad_http", "invalid_request_error", "the request is not valid HTTP"
        if isinstance(exc, LineTooLong):
            status, code, said = 431, "headers_too_large", "a line or header of the request is too long"
        elif isinstance(exc, ContentEncodingError):
            status, code, said = 415, "unsupported_media_type", _ENCODINGS_SAID
        elif status >= 500:
            code, kind, said = "internal_error", "server_error", "the gateway failed; its log says where"
        headers = {"Server": SERVER, "Content-Type": JSON}
        response = web.Response(status=status, body=_document(code, kind, said), headers=headers)
        response.force_close()
        return response


def _document(code: str, kind: str, said: str) -> bytes:
    """An error as clients of either vendor read it."""
    return orjson.dumps({"type": "error", "error": {"message": said, "type": kind, "param": None, "code": code}})


class Edge(web.Server):
    """Makes connections, and cuts those whose time is up. ``handler`` sees whole heads only."""

    def __init__(self, handler: Handler, settings: ServerConfig) -> None:
        super().__init__(
            self._entered,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=settings.keepalive_s,
            max_line_size=_LINE_BYTES,
            max_field_size=min(settings.max_header_bytes, 2 * _LINE_BYTES),
            max_headers=2 * _MOST_HEADERS,  # so that it is told here what is wrong with those beyond
            lingering_time=_LINGER_S,
        )
        self._handler, self._settings = handler, settings
        self._room = Room(max(settings.max_bodies_bytes, settings.max_body_bytes))
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)

    def __call__(self) -> Connection:
        """A connection that was accepted."""
        return Connection(self, loop=self._loop, settings=self._settings, room=self._room, **self._kwargs)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        most = self._settings.max_body_bytes
        if message.url.absolute:
            # At whose name it was sent says nothing here, and it may be none, at which aiohttp would fail unheard.
            message = message._replace(url=message.url.relative())
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=most)

    async def _entered(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.busy, connection.due = True, _NEVER
        try:
            if request.version < HttpVersion11 and "Transfer-Encoding" in request.headers:
                # Before 1.1 there were no chunks: a proxy in front may have taken them for requests.
                return connection.handle_error(request, 400)
            return await self._handler(request)
        finally:
            connection.busy = False
            connection.let_go()

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.cut_if_late(now)
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)

    @property
    def unsent(self) -> int:
        """Clients that have yet to take something that was written to them."""
        return sum([isinstance(c, Connection) and c.unsent > 0 for c in self.connections])

    async def shutdown(self, timeout: float | None = None) -> None:
        """Close every connection, waiting for handlers as long as ``timeout``."""
        self._sweeping.cancel()
        await super().shutdown(timeout)


def check_head(request: web.BaseRequest, settings: ServerConfig) -> None:
    """Refuse a head that is too large in sum, and a body that says so of itself.

    Raises:
        Problem: 431 or 413.
    """
    if len(request.raw_headers) > _MOST_HEADERS:
        said = f"there are {len(request.raw_headers)} headers; at most {_MOST_HEADERS} are taken"
        raise Problem(431, "headers_too_large", said, close=True)
    size = sum(map(len, chain.from_iterable(request.raw_headers)))
    if size > settings.max_header_bytes:
        most = settings.max_header_bytes
        raise Problem(431, "headers_too_large", f"the headers have {size} bytes; at most {most} are taken", close=True)
    length = request.content_length
    if length is not None and length > settings.max_body_bytes:
        raise _too_large(settings)


class Received(NamedTuple):
    """A body, and how many bytes it had."""

    body: Body
    size: int


async def read_body(request: web.BaseRequest, settings: ServerConfig) -> Received:
    """The body, a JSON object.

    Raises:
        Problem: it is too large, too slow, not JSON, or not an object.
    """
    if request.content_type != "application/json":
        said = f"content-type is '{request.content_type}'; send application/json"
        raise Problem(415, "unsupported_media_type", said, param="content-type")
    if request.headers.get("Content-Encoding", "identity").lower() not in _ENCODINGS:
        raise Problem(415, "unsupported_media_type", _ENCODINGS_SAID, param="content-encoding")
    try:
        if request.content.is_eof():
            data = await request.read()
        else:
            async with asyncio.timeout(settings.body_timeout_s):
                await _ask_for_body(request)
                data = await _read(request, settings)
    except TimeoutError:
        said = f"the body did not come within {settings.body_timeout_s:g} s"
        raise Problem(408, "body_timeout", said, close=True) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(settings) from None
    except web.RequestPayloadError as error:
        said = f"the body cannot be read ({' '.join(str(error).split())})"
        raise Problem(400, "bad_body", said, close=True) from None
    return Received(await aside(len(data), parsed, data), len(data))


async def _read(request: web.BaseRequest, settings: ServerConfig) -> bytes:
    """The bytes of a body, as they come, without waiting for more than are taken at once."""
    data = bytearray()
    while piece := await request.content.readany():
        data += piece
        if len(data) > settings.max_body_bytes:
            raise _too_large(settings)
        if isinstance(request.protocol, Connection):
            request.protocol.hold(len(piece))
    return bytes(data)


async def _ask_for_body(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to go on, now that its head was found good."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Which is no part of the answer.
        request.writer.output_size = 0


def parsed(data: bytes) -> Body:
    """A JSON object.

    Raises:
        Problem: the bytes are not one, or one of more values than others should wait for.
    """
    if holds_more_values(data, _MOST_VALUES):
        raise Problem(400, "too_many", f"the body has more than {_MOST_VALUES} values; send less at once")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Problem(400, "invalid_json", f"the body is a JSON {_kind(body)}; send an object")
    if len(data) > 2 * _DEEPEST:
        _check_depth(body)
    return body


def _check_depth(body: Body) -> None:
    """Refuse what is nested deeper than can be written again inside other things, before any of it is paid for."""
    try:
        orjson.dumps([[[[body]]]])
    except orjson.JSONEncodeError:
        raise Problem(400, "too_deep", f"the body is nested more than {_DEEPEST} deep; flatten it") from None


def _kind(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _too_large(settings: ServerConfig) -> Problem:
    most = settings.max_body_bytes
    return Problem(413, "body_too_large", f"the body is larger than {most} bytes, which is the most taken", close=True)
