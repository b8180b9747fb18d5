"""Any server that speaks OpenAI's formats: vendors, llama.cpp, vLLM, Ollama."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.contracts import Reply, UpstreamCall
from equipoise.errors import ConfigError, ProviderError
from equipoise.providers.border import Border, retry_after_s
from equipoise.providers.http import Http, HttpUpstream
from equipoise.providers.keys import Key, Secret
from equipoise.providers.vendors import VENDORS, Vendor
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import FORMATS, BadAnswer, dumps
from equipoise.wire.usage import cached_tokens

DEFAULT_TIMEOUT_S = 600.0
_PATHS: Mapping[str, str] = {"chat": "/chat/completions", "responses": "/responses", "embeddings": "/embeddings"}


class OpenAICompatible:
    """OpenAI's formats over HTTP. One session, opened at the first call.

    Deployment options: ``timeout_s`` (deadline of ``complete``, default 600), ``max_tokens_field`` (the name
    under which the server takes the limit), ``headers`` (extra request headers).
    """

    def __init__(self, deployment: Deployment, *, secret: Secret, vendor: Vendor | None = None) -> None:
        self.name = deployment.provider
        self._vendor = vendor or VENDORS["openai_compatible"]
        self.formats: frozenset[WireFormat] = self._vendor.formats
        self._deployment = deployment
        self._http = Http(self.name, deployment.base_url or self._vendor.base_url)
        self._key = Key(deployment, secret, default_env=self._vendor.key_env)
        self._timeout_s = float(deployment.options.get("timeout_s", DEFAULT_TIMEOUT_S))
        self._limit_field = str(deployment.options.get("max_tokens_field", self._vendor.limit_field))
        self._headers = {str(k): str(v) for k, v in dict(deployment.options.get("headers", {})).items()}

    async def send(self, call: UpstreamCall) -> HttpUpstream:
        """Send a call; returns when a 2xx response has begun.

        Raises:
            ProviderError: whatever went wrong, mapped once.
        """
        try:
            return await self._send(call)
        except ConfigError as error:
            border = Border(self.name, call.model.name, self._vendor.errors)
            raise border.failed(str(error), code="no_key", retryable=False) from None

    async def _send(self, call: UpstreamCall) -> HttpUpstream:
        key = self._key.value()
        border = Border(self.name, call.model.name, self._vendor.errors, key)
        return await self._http.post(_PATHS[call.kind], self._with_key(key), dumps(self._fit(call)), call, border)

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """One chat completion. An option ``timeout_s`` overrides the deployment's; the others are sent along.

        Raises:
            ProviderError: whatever went wrong, mapped once.
            ConfigError: there is no key.
        """
        deadline_s = float(options.pop("timeout_s", self._timeout_s))
        body = {"messages": list(messages), **{k: v for k, v in options.items() if v is not None}}
        call = UpstreamCall(model=model, deployment=self._deployment, kind="chat", body=body, first_byte_s=deadline_s)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                upstream = await self._send(call)
                document = await upstream.document()
        except TimeoutError:
            border = Border(self.name, model.name, self._vendor.errors)
            raise border.failed(f"no answer within {deadline_s:g} s", code="timeout", retryable=True) from None
        return self._reply(model, document, upstream.status, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _with_key(self, key: str | None) -> dict[str, str]:
        if key is None:
            return self._headers
        header = self._vendor.key_header
        return {**self._headers, header: f"Bearer {key}" if header == "Authorization" else key}

    def _fit(self, call: UpstreamCall) -> dict[str, Any]:
        """The body as this vendor takes it."""
        body = {**call.body, "model": self._deployment.model_id or call.model.name}
        if call.stream:
            body["stream"] = True
        if call.kind != "chat":
            return body
        for field in ("max_tokens", "max_completion_tokens"):
            if field != self._limit_field and field in body:
                limit = body.pop(field)
                body.setdefault(self._limit_field, limit)
        if call.stream and self._vendor.stream_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return body

    def _reply(self, model: Model, document: dict[str, Any], status: int, latency_s: float) -> Reply:
        chat = FORMATS["chat"]
        try:
            finish = chat.finish(document)
            usage = chat.usage(document)
            if usage is None:
                raise BadAnswer("the answer has no usage")
        except BadAnswer as error:
            raise ProviderError(
                str(error), provider=self.name, model=model.name, status=status, code="bad_response", retryable=True
            ) from None
        content = document["choices"][0]["message"].get("content")
        return Reply(
            text=content if isinstance(content, str) else "",
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            latency_s=latency_s,
            compute_s=usage.compute_s,
            finish=finish or "unknown",
            raw=document,
        )


__all__ = ["DEFAULT_TIMEOUT_S", "OpenAICompatible", "Secret", "cached_tokens", "retry_after_s"]
