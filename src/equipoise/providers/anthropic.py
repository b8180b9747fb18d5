"""Anthropic's Messages API, and whoever else speaks it."""

from __future__ import annotations

from typing import Any

from equipoise.contracts import UpstreamCall
from equipoise.providers import claude
from equipoise.providers.border import ErrorTable
from equipoise.providers.client import Client
from equipoise.providers.keys import Secret
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import Body
from equipoise.wire.messages import settled

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
# What every model of theirs can give, for requests of formats that need no limit.
_LEAST_MAX_TOKENS = 4096
_LEAST_THINKING = 1024
# Beta features, and for whom it is. Not the workspace: in whose name a key is used is for who has the key.
_OF_CLIENTS = frozenset({"anthropic-beta", "anthropic-user-profile-id"})


def _parse(document: Any) -> tuple[str, str]:
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return "", ""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return str(code or error.get("type") or ""), str(error.get("message") or "")


ERRORS = ErrorTable(
    parse=_parse,
    statuses={
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "conflict_error": 409,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "enforced_spend_limit_reached": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    },
    # Said with status 429; it ends with the month.
    final=frozenset({"enforced_spend_limit_reached"}),
)


class Anthropic(Client):
    """Messages over HTTP.

    Further deployment option: ``version`` (header ``anthropic-version``, default 2023-06-01).
    """

    formats: frozenset[WireFormat] = frozenset({"messages"})
    errors = ERRORS
    options = Client.options | {"version"}

    def __init__(self, deployment: Deployment, secret: Secret) -> None:
        base_url = (deployment.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
        super().__init__(deployment, secret, base_url=base_url, key_env="ANTHROPIC_API_KEY")
        self._version = {"anthropic-version": str(deployment.options.get("version", VERSION))}

    def path(self, call: UpstreamCall) -> str:
        """There is one."""
        del call
        return "/v1/messages"

    def credentials(self, key: str) -> dict[str, str]:
        """Anthropic has a header of its own."""
        return {"x-api-key": key}

    def headers(self, call: UpstreamCall) -> dict[str, str]:
        """The version of the API, and what the client says in headers of its own."""
        said = {k: v for k, v in call.headers.items() if k in _OF_CLIENTS}
        return {**self._headers, **self._version, **said}

    def fit(self, call: UpstreamCall) -> Body:
        """With a limit, which Anthropic demands, and without what its models would refuse."""
        name = self.model_id(call.model)
        # Chat has thinking, text and calls apart: it does not come back as it was.
        mixed = call.mixed or (call.translated and claude.binds(name))
        body = settled({**call.body, "model": name}, mixed=mixed)
        body = {**body, "max_tokens": _limit(body.get("max_tokens"), call.model)}
        if call.stream:
            body["stream"] = True
        body = _with_room_to_think(claude.fit(body, translated=call.translated))
        # What edits thinking is refused where there is none.
        return _without_edits_of_thinking(body) if "thinking" in call.body and "thinking" not in body else body


def _limit(asked: Any, model: Model) -> int:
    most = model.max_output_tokens
    if not isinstance(asked, int):
        return most or _LEAST_MAX_TOKENS
    return min(asked, most) if most else asked


def _with_room_to_think(body: Body) -> Body:
    """Thinking has to fit below ``max_tokens``."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(thinking, dict) or not isinstance(budget, int) or budget < body["max_tokens"]:
        return body
    room = body["max_tokens"] - 1
    if room < _LEAST_THINKING:
        return {k: v for k, v in body.items() if k != "thinking"}
    return {**body, "thinking": {**thinking, "budget_tokens": room}}


def _without_edits_of_thinking(body: Body) -> Body:
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, dict) else None
    if not isinstance(management, dict) or not isinstance(edits, list):
        return body
    kept = [e for e in edits if not (isinstance(e, dict) and str(e.get("type")).startswith("clear_thinking"))]
    if kept or len(management) > 1:
        return {**body, "context_management": {**management, "edits": kept}}
    return {k: v for k, v in body.items() if k != "context_management"}
