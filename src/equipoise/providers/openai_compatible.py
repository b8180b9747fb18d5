"""Any server that speaks OpenAI's formats: vendors, llama.cpp, vLLM, Ollama."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from equipoise.contracts import UpstreamCall
from equipoise.providers import openai_models
from equipoise.providers.client import Client
from equipoise.providers.keys import Secret
from equipoise.providers.vendors import VENDORS, Vendor
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import Body, history, responses
from equipoise.wire.pivot import EMPTY_SCHEMA

# Whoever hosts them takes OpenAI's words for how much they are to think.
_TAKES_EFFORT = re.compile("gpt-oss")
# Responses refuse to be shorter; chat completions do not.
_LEAST_OUTPUT = 16
_PATHS: Mapping[WireFormat, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
}


class OpenAICompatible(Client):
    """OpenAI's formats over HTTP.

    Further deployment option: ``max_tokens_field`` (the name under which the server takes the limit).
    """

    options = Client.options | {"max_tokens_field"}

    def __init__(self, deployment: Deployment, secret: Secret, vendor: Vendor = VENDORS["openai_compatible"]) -> None:
        self._vendor, self.formats, self.errors = vendor, vendor.formats, vendor.errors
        base_url = deployment.base_url or vendor.base_url
        super().__init__(deployment, secret, base_url=base_url, key_env=vendor.key_env, keep_alive=vendor.keep_alive)
        self._foreign = history.CARRIED - vendor.keeps
        self._unknown_marks = history.MARKS - vendor.cache_marks
        self._limit_field = str(deployment.options.get("max_tokens_field", vendor.limit_field))

    def path(self, call: UpstreamCall) -> str:
        """One path for each format."""
        return _PATHS[call.kind]

    def speaks(self, model: Model, body: Mapping[str, Any]) -> frozenset[WireFormat]:
        """Not chat where only responses do."""
        if self._vendor.openais and openai_models.needs_responses(body, self.model_id(model), model.name):
            return self.formats - {"chat"}
        return self.formats

    def credentials(self, key: str) -> dict[str, str]:
        """A bearer token, for most."""
        header = self._vendor.key_header
        return {header: f"Bearer {key}" if header == "Authorization" else key}

    def fit(self, call: UpstreamCall) -> Body:
        """The body as this vendor takes it."""
        body = {**call.body, "model": self.model_id(call.model)}
        if call.stream:
            body["stream"] = True
        if self._vendor.openais:
            openai_models.fit(body, body["model"], call.model.name)
        elif _TAKES_EFFORT.search(body["model"]):
            openai_models.fit_effort(body, body["model"])
        if call.translated and self._vendor.openais:
            openai_models.hold_to_schema(body)
        if call.kind == "responses":
            _limited(body, "max_output_tokens", call.model, least=_LEAST_OUTPUT if call.translated else 0)
            return responses.settled(body, mixed=call.mixed)
        return self._chat(body, call) if call.kind == "chat" else body

    def _chat(self, body: Body, call: UpstreamCall) -> Body:
        vendor = self._vendor
        if call.translated and not vendor.openais and not _TAKES_EFFORT.search(body["model"]):
            body.pop("reasoning_effort", None)  # which strict vendors refuse
        self._without_refused(body)
        if vendor.forced_unthinking and vendor.forced_unthinking.match(body["model"]) and _is_forced(body):
            body.setdefault("thinking", {"type": "disabled"})
        for field, renamed in vendor.renames.items():
            if field in body:
                body[renamed] = body.pop(field)
        self._limit(body, call.model)
        if call.stream and vendor.stream_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        tools = body.get("tools")
        if isinstance(tools, list):
            body["tools"] = self._tools(tools)
        messages = body.get("messages")
        if isinstance(messages, list):
            messages = self._settled(messages, call)
            if vendor.reasoning_stub is not None and (tools or any(m.get("tool_calls") for m in messages)):
                messages = history.reasoned(messages, vendor.reasoning_stub)
            body["messages"] = messages
        return body

    def _tools(self, tools: list[Body]) -> list[Body]:
        """Without marks of a prompt cache that the vendor does not know, and with parameters, which most demand."""
        if self._unknown_marks:
            tools = history.unmarked(tools, self._unknown_marks)
        return tools if self._vendor.openais else [_with_parameters(tool) for tool in tools]

    def _without_refused(self, body: Body) -> None:
        refuses = self._vendor.refuses
        # Those who refuse what they do not know refuse to be told that there is no need of it, too.
        needless = ("logprobs", "top_logprobs") if refuses and not body.get("logprobs") else ()
        # OpenAI and others say of a list of no tools that it is too short, and that there is nothing to choose.
        toolless = ("tools", "tool_choice", "parallel_tool_calls") if body.get("tools") == [] else ()
        for field in (*refuses, *needless, *toolless):
            body.pop(field, None)

    def _limit(self, body: Body, model: Model) -> None:
        """The longest answer, under the name that the vendor has for it and within what the model can."""
        for field in ("max_tokens", "max_completion_tokens"):
            if field != self._limit_field and field in body:
                limit = body.pop(field)
                body.setdefault(self._limit_field, limit)
        _limited(body, self._limit_field, model)

    def _settled(self, messages: list[Body], call: UpstreamCall) -> list[Body]:
        """Earlier turns without what other vendors' models left in them."""
        messages = history.unnoted(messages)
        messages = history.without(messages, history.CARRIED if call.mixed else self._foreign)
        if self._unknown_marks:
            messages = history.unmarked(messages, self._unknown_marks)
        # Of models that others host, templates often take a system prompt at the beginning alone, and demand turns.
        plain = call.translated and not self._vendor.openais
        if plain:
            messages = history.begun_by_system(messages)
        if not self._vendor.names:
            messages = history.nameless(messages)
        if plain or self._vendor.alternates:
            messages = history.in_turns(messages)
        if self._vendor.bridges:
            messages = history.bridged(messages)
        if not self._vendor.developer_role:
            messages = history.without_developer(messages)
        return messages if self._vendor.call_ids is None else history.with_ids(messages, self._vendor.call_ids)


def _with_parameters(tool: Body) -> Body:
    """A function that takes nothing, which says so in a schema: OpenAI's clients may leave that out."""
    function = tool.get("function")
    if not isinstance(function, dict) or function.get("parameters") is not None:
        return tool
    return {**tool, "function": {**function, "parameters": EMPTY_SCHEMA}}


def _is_forced(body: Body) -> bool:
    """Whether the model is made to call a tool, and not told how much to think."""
    return body.get("tool_choice") not in (None, "auto", "none") and "reasoning_effort" not in body


def _limited(body: Body, field: str, model: Model, *, least: int = 0) -> None:
    asked, most = body.get(field), model.max_output_tokens
    if isinstance(asked, int):
        body[field] = max(asked if most is None else min(asked, most), least)
