"""Any server that speaks OpenAI's chat completions: vendors, llama.cpp, vLLM, Ollama."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from equipoise.contracts import Reply
from equipoise.errors import ConfigError, ProviderError
from equipoise.types import Deployment, Model

Secret = Callable[[str], str]

DEFAULT_TIMEOUT_S = 600.0
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
MAX_RETRY_AFTER_S = 3600.0
_CONNECT_TIMEOUT_S = 10.0
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_MESSAGE_LIMIT = 300
# Said with status 429, yet no waiting mends them.
_FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class OpenAICompatible:
    """Chat completions over HTTP. One session, opened at the first call.

    Deployment options: ``timeout_s`` (deadline of one call, default 600), ``max_tokens_field`` (the name
    under which the server takes the limit, default ``max_tokens``), ``headers`` (extra request headers).
    """

    name = "openai_compatible"

    def __init__(self, deployment: Deployment, *, secret: Secret) -> None:
        if not deployment.base_url:
            raise ConfigError(f"provider '{self.name}': a deployment has no base_url; give one, such as http://HOST/v1")
        self._deployment = deployment
        self._secret = secret
        self._url = deployment.base_url.rstrip("/") + "/chat/completions"
        self._timeout_s = float(deployment.options.get("timeout_s", DEFAULT_TIMEOUT_S))
        self._limit_field = str(deployment.options.get("max_tokens_field", "max_tokens"))
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """One chat completion. An option ``timeout_s`` overrides the deployment's; the others are sent along.

        Raises:
            ProviderError: whatever went wrong, mapped once.
        """
        deadline_s = float(options.pop("timeout_s", self._timeout_s))
        body = self._body(model, messages, options)
        started = time.perf_counter()
        try:
            status, headers, payload = await self._post(body, deadline_s)
        except TimeoutError:
            message = f"no answer within {deadline_s:g} s"
            raise self._failed(model, message, code="timeout", retryable=True) from None
        except aiohttp.InvalidURL:
            raise self._failed(model, "base_url is not a URL", code="connection", retryable=False) from None
        except aiohttp.ClientConnectorError as error:
            message = f"cannot connect: {error.os_error.strerror or 'refused'}"
            raise self._failed(model, message, code="connection", retryable=True) from None
        except (aiohttp.ClientError, OSError) as error:
            message = f"connection lost ({type(error).__name__})"
            raise self._failed(model, message, code="connection_lost", retryable=True) from None
        except _TooLarge:
            raise self._failed(model, "response too large", code="bad_response", retryable=False) from None
        if status >= 300:
            raise self._refused(model, status, headers, payload)
        return self._reply(model, payload, status, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _body(self, model: Model, messages: Sequence[dict[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._deployment.model_id or model.name, "messages": list(messages)}
        for key, value in options.items():
            if value is not None:
                body[self._limit_field if key == "max_tokens" else key] = value
        return body

    def _headers(self) -> dict[str, str]:
        headers = {str(k): str(v) for k, v in dict(self._deployment.options.get("headers", {})).items()}
        if self._deployment.api_key_env:
            headers["Authorization"] = f"Bearer {self._secret(self._deployment.api_key_env)}"
        return headers

    async def _post(self, body: dict[str, Any], deadline_s: float) -> tuple[int, Mapping[str, str], bytes]:
        if self._session is None:
            # Callers bound their own concurrency; aiohttp's pool of 100 would be a second, hidden one.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), trust_env=not _is_loopback(self._url)
            )
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT_S)
        async with (
            asyncio.timeout(deadline_s),
            self._session.post(
                self._url, json=body, headers=self._headers(), timeout=timeout, allow_redirects=False
            ) as response,
        ):
            payload = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                payload += chunk
                if len(payload) > MAX_RESPONSE_BYTES:
                    raise _TooLarge
            return response.status, response.headers, bytes(payload)

    def _failed(self, model: Model, message: str, *, code: str, retryable: bool) -> ProviderError:
        return ProviderError(message, provider=self.name, model=model.name, code=code, retryable=retryable)

    def _refused(self, model: Model, status: int, headers: Mapping[str, str], payload: bytes) -> ProviderError:
        code, message = _vendor_error(payload)
        return ProviderError(
            f"HTTP {status}{': ' + self._without_secret(message) if message else ''}",
            provider=self.name,
            model=model.name,
            status=status,
            code=code,
            retryable=status in _RETRYABLE and code not in _FINAL_CODES,
            retry_after_s=retry_after_s(headers.get("Retry-After"), now=datetime.now(UTC)),
        )

    def _without_secret(self, message: str) -> str:
        # Vendors quote part or all of a wrong key in their message.
        if self._deployment.api_key_env:
            message = message.replace(self._secret(self._deployment.api_key_env), "[key]")
        return message

    def _reply(self, model: Model, payload: bytes, status: int, latency_s: float) -> Reply:
        try:
            document = json.loads(payload)
            choice = document["choices"][0]
            usage = document["usage"]
            content = choice["message"].get("content")
            input_tokens, output_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise ProviderError(
                "the response is not a chat completion with usage",
                provider=self.name,
                model=model.name,
                status=status,
                code="bad_response",
                retryable=True,
            ) from None
        timings = document.get("timings")
        return Reply(
            text=content if isinstance(content, str) else "",
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            latency_s=latency_s,
            compute_s=_compute_s(timings),
            finish=str(choice.get("finish_reason") or "unknown"),
            raw=document,
        )


def _is_loopback(url: str) -> bool:
    """Whether a proxy, if the environment names one, has no business with this address."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _TooLarge(Exception):
    """The response passed the bound on its size."""


def cached_tokens(raw: Mapping[str, Any]) -> int:
    """Input tokens that the server took from its prompt cache, by usage or llama.cpp's timings."""
    usage = raw.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    timings = raw.get("timings")
    for source, key in ((details, "cached_tokens"), (timings, "cache_n")):
        value = source.get(key) if isinstance(source, dict) else None
        if isinstance(value, int) and value >= 0:
            return value
    return 0


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """Seconds of a Retry-After header, given as seconds or as a date; None if absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None


def _compute_s(timings: Any) -> float | None:
    if not isinstance(timings, dict):
        return None
    prefill, decode = timings.get("prompt_ms"), timings.get("predicted_ms")
    if not isinstance(prefill, int | float) or not isinstance(decode, int | float):
        return None
    return (prefill + decode) / 1000.0 if prefill >= 0 and decode >= 0 else None


def _vendor_error(payload: bytes) -> tuple[str, str]:
    try:
        error = json.loads(payload).get("error")
    except (ValueError, AttributeError, RecursionError):
        return "", ""
    if isinstance(error, str):
        return "", _one_line(error)
    if not isinstance(error, dict):
        return "", ""
    return str(error.get("code") or error.get("type") or ""), _one_line(str(error.get("message") or ""))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE_LIMIT]
