"""What the providers behind HTTP share: key, session, errors, and one completion the simple way."""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.aside import aside
from equipoise.contracts import Reply, UpstreamCall
from equipoise.errors import ConfigError, UnknownName
from equipoise.providers.border import Border, ErrorTable
from equipoise.providers.http import Http, HttpUpstream
from equipoise.providers.keys import Key, Secret
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import FORMATS, BadAnswer, Body, dumps, target_format, translate_answer, translate_request

DEFAULT_TIMEOUT_S = 600.0
_HEADER = re.compile("[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def seconds_of(deployment: Deployment, option: str, default: float) -> float:
    """A time among a deployment's options.

    Raises:
        ConfigError: it is none.
    """
    value = deployment.options.get(option, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < float("inf"):
        raise ConfigError(f"provider '{deployment.provider}': option '{option}' is {value!r}; give seconds above 0")
    return float(value)


class Client(ABC):
    """One deployment of a vendor. A vendor says where to post, what, and with which headers.

    Deployment options that all take: ``timeout_s`` (deadline of ``complete``, default 600), ``headers`` (extra
    request headers).
    """

    formats: frozenset[WireFormat]
    errors: ErrorTable
    options: frozenset[str] = frozenset({"timeout_s", "headers"})

    def __init__(
        self,
        deployment: Deployment,
        secret: Secret,
        *,
        base_url: str | None,
        key_env: str | None,
        keep_alive: bool = True,
    ) -> None:
        self.name = deployment.provider
        self.deployment = deployment
        self._http = Http(self.name, base_url, keep_alive=keep_alive)
        self._key = Key(deployment, secret, default_env=key_env)
        self._refuse_unknown_options()
        self._timeout_s = seconds_of(deployment, "timeout_s", DEFAULT_TIMEOUT_S)
        self._headers = self._extra_headers()

    def _refuse_unknown_options(self) -> None:
        for option in self.deployment.options:
            if option not in self.options:
                raise ConfigError(f"provider '{self.name}': {UnknownName('option', str(option), self.options)}")

    def _extra_headers(self) -> dict[str, str]:
        given = self.deployment.options.get("headers", {})
        # Nothing, true or a list would be sent as Python writes them.
        if not isinstance(given, Mapping) or not all(type(value) in (str, int, float) for value in given.values()):
            raise ConfigError(f"provider '{self.name}': option 'headers' should be a mapping of names to texts")
        headers = {str(name): str(value) for name, value in given.items()}
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or not value.isprintable():
                # Its value is not told: it may be a key.
                raise ConfigError(f"provider '{self.name}': {name!r} of its headers is none that can be sent")
        return headers

    @abstractmethod
    def path(self, call: UpstreamCall) -> str:
        """Where to post, below the base URL."""

    @abstractmethod
    def fit(self, call: UpstreamCall) -> Body:
        """The body as the vendor takes it; the call's own is not changed."""

    @abstractmethod
    def credentials(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""

    def headers(self, call: UpstreamCall) -> dict[str, str]:
        """Headers besides those of the key."""
        del call
        return self._headers

    def model_id(self, model: Model) -> str:
        """The vendor's own name of the model."""
        return self.deployment.model_id or model.name

    def lacks(self) -> str | None:
        """What is wrong with its key, as far as can be told without a call; None where nothing is."""
        try:
            self._key.value()
        except ConfigError as error:
            return str(error)
        return None

    def speaks(self, model: Model, body: Mapping[str, Any]) -> frozenset[WireFormat]:
        """The formats in which the model takes such a request."""
        del model, body
        return self.formats

    async def send(self, call: UpstreamCall) -> HttpUpstream:
        """Send a call; returns when a 2xx response has begun.

        Raises:
            ProviderError: whatever went wrong, mapped once.
        """
        try:
            return await self._send(call)
        except ConfigError as error:
            raise self._border(call.model, None).failed(str(error), code="no_key", retryable=False) from None

    async def _send(self, call: UpstreamCall) -> HttpUpstream:
        call.sent.begun = False
        key = self._key.value()
        headers = self.headers(call) if key is None else {**self.headers(call), **self.credentials(key)}
        border = self._border(call.model, key, translated=call.translated)
        payload = await aside(call.size, self._written, call)
        return await self._http.post(self.path(call), headers, payload, call, border)

    def _written(self, call: UpstreamCall) -> bytes:
        return dumps(self.fit(call))

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """One chat completion. An option ``timeout_s`` overrides the deployment's; the others are sent along.

        Raises:
            ProviderError: whatever went wrong, mapped once.
            ConfigError: there is no key.
        """
        deadline_s = float(options.pop("timeout_s", self._timeout_s))
        chat = {"messages": list(messages), **{k: v for k, v in options.items() if v is not None}}
        kind = target_format("chat", self.speaks(model, chat))
        if kind is None:
            said = "the model cannot be asked this, such as for several answers at once; ask for one"
            raise self._border(model, None).failed(said, code="unsupported_by_format", retryable=False)
        call = UpstreamCall(
            model=model,
            deployment=self.deployment,
            kind=kind,
            body=translate_request(chat, "chat", kind),
            first_byte_s=deadline_s,
        )
        started = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                upstream = await self._send(call)
                document = await upstream.document()
        except TimeoutError:
            message = f"no answer within {deadline_s:g} s"
            raise self._border(model, None).failed(message, code="timeout", retryable=True) from None
        return self._reply(model, document, kind, upstream.status, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _border(self, model: Model, key: str | None, *, translated: bool = False) -> Border:
        return Border(self.name, model.name, self.errors, key, translated)

    def _reply(self, model: Model, document: Body, kind: WireFormat, status: int, latency_s: float) -> Reply:
        try:
            answer = translate_answer(document, kind, "chat", model.name)
            finish = FORMATS["chat"].finish(answer)
            usage = FORMATS["chat"].usage(answer)
            if usage is None:
                raise BadAnswer("the answer has no usage")
        except BadAnswer as error:
            border = self._border(model, None)
            raise border.failed(str(error), code="bad_response", retryable=True, status=status) from None
        content = answer["choices"][0]["message"].get("content")
        return Reply(
            text=content if isinstance(content, str) else "",
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            latency_s=latency_s,
            compute_s=usage.compute_s,
            finish=finish or "unknown",
            raw=answer,
        )
