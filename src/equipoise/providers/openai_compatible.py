"""Any server that speaks OpenAI's formats: vendors, llama.cpp, vLLM, Ollama."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.contracts import UpstreamCall
from equipoise.providers.border import retry_after_s
from equipoise.providers.client import DEFAULT_TIMEOUT_S, Client
from equipoise.providers.keys import Secret
from equipoise.providers.vendors import VENDORS, Vendor
from equipoise.types import Deployment, WireFormat
from equipoise.wire import Body
from equipoise.wire.usage import cached_tokens

_PATHS: Mapping[WireFormat, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
}


class OpenAICompatible(Client):
    """OpenAI's formats over HTTP.

    Further deployment option: ``max_tokens_field`` (the name under which the server takes the limit).
    """

    native: WireFormat = "chat"

    def __init__(self, deployment: Deployment, *, secret: Secret, vendor: Vendor | None = None) -> None:
        self._vendor = vendor or VENDORS["openai_compatible"]
        self.formats, self.errors = self._vendor.formats, self._vendor.errors
        base_url = deployment.base_url or self._vendor.base_url
        super().__init__(deployment, secret, base_url=base_url, key_env=self._vendor.key_env)
        self._limit_field = str(deployment.options.get("max_tokens_field", self._vendor.limit_field))

    def path(self, call: UpstreamCall) -> str:
        """One path for each format."""
        return _PATHS[call.kind]

    def credentials(self, key: str) -> dict[str, str]:
        """A bearer token, for most."""
        header = self._vendor.key_header
        return {header: f"Bearer {key}" if header == "Authorization" else key}

    def fit(self, call: UpstreamCall) -> Body:
        """The body as this vendor takes it."""
        body = {**call.body, "model": self.model_id(call.model)}
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


__all__ = ["DEFAULT_TIMEOUT_S", "OpenAICompatible", "Secret", "cached_tokens", "retry_after_s"]
