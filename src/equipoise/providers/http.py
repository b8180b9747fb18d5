"""Calls over HTTP: one session for a deployment, bounded bodies, every failure a ``ProviderError``."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from aiohttp.tracing import Trace

from equipoise.aside import aside
from equipoise.contracts import Sent, UpstreamCall
from equipoise.errors import ConfigError
from equipoise.providers.border import Border
from equipoise.wire import BadAnswer, SseEvent, SseParser
from equipoise.wire.values import MOST_ANSWERED, holds_more_values

MAX_RESPONSE_BYTES = 64 << 20
MAX_STREAM_BYTES = 256 << 20
_MAX_ERROR_BYTES = 64 << 10
_REASON_S = 5.0
_KEEP_ALIVE_S = 30.0
_MOST_SPOILT = 20
# Thousands of events may come in one piece; the other streams have their turn in between.
_TURN_EVENTS = 32
_TURN_BYTES = 1 << 14
# What a server compressed is unpacked as it is read, without a wait.
_TURN_PIECES = 4


class Http:
    """Posts to one base URL. The session opens at the first call."""

    def __init__(self, provider: str, base_url: str | None, *, keep_alive: bool = True) -> None:
        if not base_url:
            raise ConfigError(f"provider '{provider}': a deployment has no base_url; give one, such as http://HOST/v1")
        parts = _checked_url(base_url, provider)
        self._base = base_url.rstrip("/")
        host = str(parts.hostname)
        self._proxy = None if is_loopback(host) else proxy_for(parts.scheme, host)
        if self._proxy is not None and _parts_of(self._proxy) is None:
            # Not told: a password may stand in it.
            said = f"the proxy that the variable {parts.scheme}_proxy names is no URL such as http://HOST:3128"
            raise ConfigError(f"provider '{provider}': {said}; mend the variable, or list {host} in no_proxy")
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str, headers: Mapping[str, str], body: bytes, call: UpstreamCall, border: Border
    ) -> HttpUpstream:
        """The response, when its 2xx headers have arrived.

        Raises:
            ProviderError: whatever went wrong.
        """
        patience_s = call.first_byte_s
        # A connection that does not come about is told as that, for then nothing was sent that could be billed.
        connect_s = call.connect_s if patience_s is None else min(call.connect_s, 0.95 * patience_s)
        timeout = _connecting_within(connect_s)
        expected = "text/event-stream" if call.stream else "json"
        payload = _Payload(body, call.sent)
        try:
            if patience_s is None:
                upstream = await self._begun(self._base + path, headers, payload, timeout, border)
                await upstream.check_type(expected)
            else:
                async with asyncio.timeout(patience_s):
                    upstream = await self._begun(self._base + path, headers, payload, timeout, border)
                    await upstream.check_type(expected)
        except aiohttp.ConnectionTimeoutError:
            message = f"no connection within {connect_s:g} s"
            raise border.failed(message, code="connection", retryable=True) from None
        except TimeoutError:
            message = f"no answer within {patience_s:g} s"
            raise border.failed(message, code="timeout", retryable=True) from None
        except aiohttp.InvalidURL:
            raise border.failed("base_url is not a URL", code="connection", retryable=False) from None
        except aiohttp.ClientConnectorCertificateError:
            raise border.failed("its certificate is not valid", code="connection", retryable=False) from None
        except aiohttp.ClientConnectorError as error:
            message = f"cannot connect: {_said_of(error.os_error)}"
            raise border.failed(message, code="connection", retryable=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(border, error) from None
        return upstream

    async def _begun(
        self, url: str, headers: Mapping[str, str], payload: _Payload, timeout: aiohttp.ClientTimeout, border: Border
    ) -> HttpUpstream:
        response = await self._posted(url, headers, payload, timeout)
        upstream = HttpUpstream(response, border)
        if not 200 <= response.status < 300:
            raise border.refused(response.status, response.headers, await upstream.reason())
        return upstream

    async def _posted(
        self, url: str, headers: Mapping[str, str], payload: _Payload, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        session = self._opened()
        try:
            return await session.post(url, data=payload, headers=headers, timeout=timeout, allow_redirects=False)
        except aiohttp.ClientOSError as error:
            if error.errno is not None or isinstance(error, aiohttp.ClientConnectorError):
                raise
        # The connection was kept from an earlier call and found closed before a byte was written: nothing was asked.
        return await session.post(url, data=payload, headers=headers, timeout=timeout, allow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Callers bound their own concurrency; aiohttp's pool of 100 would be a second, hidden one.
                connector=_Connector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
                if self._keep_alive
                else _Connector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Not trust_env: it would read ~/.netrc at every call, and send what it finds there.
                proxy=self._proxy,
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            )
        return self._session


def _checked_url(url: str, provider: str) -> SplitResult:
    """The parts of a base URL, which has no more than scheme, host, port and path."""
    host = url.partition("://")[2].partition("/")[0]
    if "@" in host or {*"?#"} & {*url}:
        # Not told: that is where people put keys.
        said = "a base_url may hold no user, query or fragment; name a key by api_key_env or api_key_file"
        raise ConfigError(f"provider '{provider}': {said}")
    parts = _parts_of(url)
    if parts is None or not url.isprintable() or " " in url:
        shown = "" if "@" in url else f" {url!r}"  # of a user's password even where the scheme was forgotten, nothing
        raise ConfigError(f"provider '{provider}': base_url{shown} is not a URL; give one, such as http://HOST/v1")
    return parts


def _parts_of(url: str) -> SplitResult | None:
    """The parts of a URL at which HTTP can be spoken; None if it is none."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # as looking it up will: a label may be empty or too long
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if sound else None


class _Payload(BytesPayload):
    """A body that tells when it is written."""

    def __init__(self, body: bytes, sent: Sent) -> None:
        super().__init__(body)
        self._sent = sent

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._sent.begun = True
        await super().write_with_length(writer, content_length)


class _Connector(aiohttp.TCPConnector):
    """Does not take up a kept connection on which something came unasked: it would be read as the next answer."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """A connection on which nothing waits."""
        connection = await super().connect(req, traces, timeout)
        # One whose server speaks first has something waiting however often it is made: that fails where it is read.
        for _ in range(_MOST_SPOILT):
            if connection.protocol is None or not connection.protocol.should_close:
                break
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection


class HttpUpstream:
    """A response that has begun."""

    def __init__(self, response: aiohttp.ClientResponse, border: Border) -> None:
        self._response, self._border = response, border
        self._body: bytes | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def check_type(self, expected: str) -> None:
        """Refuse a response of another content type; where a stream was asked for, it may be an error in JSON."""
        found = self._response.headers.get("Content-Type", expected)
        if expected not in found.lower():
            if "json" in found.lower():
                self._check_body(await self.beginning(_MAX_ERROR_BYTES))
            self._response.close()
            raise self._bad(f"content type {found[:80]!r} where {expected} was expected")

    async def beginning(self, most: int) -> bytes:
        """The body's first bytes; what is longer is cut off with the connection."""
        content, parts, left = self._response.content, list[bytes](), most
        try:
            while left >= 0 and not content.at_eof():
                parts.append(await content.readany())
                left -= len(parts[-1])
                if len(parts) % _TURN_PIECES == 0:
                    await asyncio.sleep(0)
        finally:
            self._response.close()
        return b"".join(parts)[:most]

    async def reason(self) -> bytes:
        """What a refusal says; nothing where that breaks off or does not come: its status says enough."""
        try:
            async with asyncio.timeout(_REASON_S):
                return await self.beginning(_MAX_ERROR_BYTES)
        except (aiohttp.ClientError, OSError):
            return b""

    async def read(self) -> bytes:
        """The whole body, bounded."""
        if self._body is None:
            try:
                body = await self.beginning(MAX_RESPONSE_BYTES + 1)
            except (aiohttp.ClientError, OSError) as error:
                raise _lost(self._border, error) from None
            if len(body) > MAX_RESPONSE_BYTES:
                raise self._bad(f"the response is larger than {MAX_RESPONSE_BYTES} bytes", retryable=False)
            await aside(len(body), self._check_body, body)
            self._body = body
        return self._body

    async def document(self) -> dict[str, Any]:
        """The whole body as a JSON object."""
        try:
            document = orjson.loads(await self.read())
        except orjson.JSONDecodeError:
            raise self._bad("the response is not JSON") from None
        if not isinstance(document, dict):
            raise self._bad("the response is not a JSON object")
        return document

    async def events(self) -> AsyncIterator[SseEvent]:
        """The events of a stream."""
        parser, total, found = SseParser(), 0, 0
        try:
            async for data in self._response.content.iter_any():
                total += len(data)
                if total > MAX_STREAM_BYTES:
                    raise self._bad(f"the stream is longer than {MAX_STREAM_BYTES} bytes", retryable=False)
                for start in range(0, len(data), _TURN_BYTES):
                    for event in parser.feed(data[start : start + _TURN_BYTES]):
                        yield self._checked(event)
                        found += 1
                        if found % _TURN_EVENTS == 0:
                            await asyncio.sleep(0)
            for event in parser.end():
                yield self._checked(event)
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(self._border, error) from None
        except BadAnswer as error:
            raise self._bad(str(error)) from None
        finally:
            self._response.close()

    async def close(self) -> None:
        """Give the connection back, or cut it if the response is not over."""
        self._response.close()

    def _checked(self, event: SseEvent) -> SseEvent:
        # Inside a string a quotation mark is escaped, so this is a key or a whole value of its own.
        if b'"error"' in event.data and (said := _error_in(event.data, event.event)) is not None:
            raise self._border.reported(said)
        return event

    def _check_body(self, body: bytes) -> None:
        """Some vendors answer 200 and tell an error where the answer should be."""
        if b'"error"' not in body or holds_more_values(body, MOST_ANSWERED):
            return
        if (said := _error_in(body)) is not None and not said.get("choices"):
            raise self._border.reported(said)

    def _bad(self, message: str, *, retryable: bool = True) -> Exception:
        return self._border.failed(message, code="bad_response", retryable=retryable, status=self.status)


def _error_in(data: bytes, event: str = "") -> Any:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    if document.get("type") == "response.failed":
        return document.get("response")
    if document.get("error") or event == "error" or "error" in (document.get("type"), document.get("object")):
        return document
    return None


@lru_cache
def _connecting_within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds)


def _said_of(error: OSError) -> str:
    """What the system calls it: event loops add the address, which is nobody's business but the operator's."""
    if isinstance(error, socket.gaierror | ssl.SSLError) or not error.errno:
        return error.strerror or "refused"
    return os.strerror(error.errno)


def _lost(border: Border, error: Exception) -> Exception:
    return border.failed(f"connection lost ({type(error).__name__})", code="connection_lost", retryable=True)


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a host, if it does."""
    return None if proxy_bypass(host) else getproxies().get(scheme)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
