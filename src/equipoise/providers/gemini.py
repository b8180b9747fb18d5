"""Google's Gemini API, in its own format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from equipoise.contracts import UpstreamCall
from equipoise.providers.border import MAX_RETRY_AFTER_S, ErrorTable
from equipoise.providers.client import Client
from equipoise.providers.keys import Secret
from equipoise.types import Deployment, Model, WireFormat
from equipoise.wire import Body, dumps
from equipoise.wire.effort import BUDGETS
from equipoise.wire.gemini import settled
from equipoise.wire.history import GO_ON

BASE_URL = "https://generativelanguage.googleapis.com"
_GENERATION = re.compile(r"gemini-(\d+)")
# The first whose calls are signed, that takes functions and a JSON format in one request, and that gives one answer.
_THIRD_GENERATION = 3
_JSON = frozenset({"responseMimeType", "responseJsonSchema"})
_JSON_AT_LAST = "Call functions as you need them. What you answer at last is one JSON object and nothing else."
_THINKS = re.compile(r"gemini-(2\.5|[3-9])(?!.*(image|tts|audio))")
_TWO_LEVELS = re.compile("gemini-3-pro")
_NO_PENALTIES = re.compile(r"gemini-(2\.5|[3-9]|[a-z-]+-latest)")
_PENALTIES = ("presencePenalty", "frequencyPenalty")


def _parse(document: Any) -> tuple[str, str]:
    error = _error(document)
    code = str(error.get("status") or error.get("code") or "")
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error, "ErrorInfo")):
        code = "API_KEY_INVALID"
    # A quota that is renewed once a day, or is none at all, mends by no waiting that a request could bear.
    if any("PerDay" in quota for quota in _quotas(error)):
        code = "QUOTA_PER_DAY"
    return code, str(error.get("message") or "")


def _wait_s(document: Any) -> float | None:
    for detail in _details(_error(document), "RetryInfo"):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay")))
        if found:
            return min(float(found[1]), MAX_RETRY_AFTER_S)
    return None


def _error(document: Any) -> Body:
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else {}


def _details(error: Body, kind: str) -> list[Body]:
    details = error.get("details")
    found = [d for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    return [d for d in found if str(d.get("@type", "")).endswith(kind)]


def _quotas(error: Body) -> list[str]:
    violations = [v for d in _details(error, "QuotaFailure") for v in d.get("violations") or ()]
    return [str(v.get("quotaId")) for v in violations if isinstance(v, dict)]


ERRORS = ErrorTable(
    parse=_parse,
    statuses={
        "INVALID_ARGUMENT": 400,
        "FAILED_PRECONDITION": 400,
        "OUT_OF_RANGE": 400,
        "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403,
        "NOT_FOUND": 404,
        "ABORTED": 409,
        "RESOURCE_EXHAUSTED": 429,
        "QUOTA_PER_DAY": 429,
        "CANCELLED": 499,
        "INTERNAL": 500,
        "UNKNOWN": 500,
        "UNAVAILABLE": 503,
        "DEADLINE_EXCEEDED": 504,
    },
    final=frozenset({"QUOTA_PER_DAY"}),
    restated={"API_KEY_INVALID": 401},  # said with 400, as if the request were at fault
    wait_s=_wait_s,
)


class Gemini(Client):
    """``generateContent`` over HTTP.

    Further deployment option: ``version`` (of the API, default v1beta).
    """

    formats: frozenset[WireFormat] = frozenset({"gemini"})
    errors = ERRORS
    options = Client.options | {"version"}

    def __init__(self, deployment: Deployment, secret: Secret) -> None:
        self._version = str(deployment.options.get("version", "v1beta"))
        base_url = (deployment.base_url or BASE_URL).rstrip("/").removesuffix(f"/{self._version}")
        super().__init__(deployment, secret, base_url=base_url, key_env="GEMINI_API_KEY")

    def speaks(self, model: Model, body: Mapping[str, Any]) -> frozenset[WireFormat]:
        """None where several answers are wanted of a model that gives one."""
        several = isinstance(body.get("n"), int) and body["n"] > 1
        return frozenset() if several and self._is_third(model) else self.formats

    def _is_third(self, model: Model) -> bool:
        generation = _GENERATION.search(self.model_id(model))
        return generation is not None and int(generation[1]) >= _THIRD_GENERATION

    def path(self, call: UpstreamCall) -> str:
        """The model is a part of it."""
        verb = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        model = quote(self.model_id(call.model).removeprefix("models/"), safe="")
        return f"/{self._version}/models/{model}:{verb}"

    def credentials(self, key: str) -> dict[str, str]:
        """Google has a header of its own."""
        return {"x-goog-api-key": key}

    def fit(self, call: UpstreamCall) -> Body:
        """Without what is in the path, within the model's limit, with the signatures that it demands."""
        body = {k: v for k, v in call.body.items() if k not in ("model", "stream")}
        third = self._is_third(call.model)
        body = settled(body, mixed=call.mixed, signed=third)
        if third:
            body = _gone_on(body)
        elif _GENERATION.search(self.model_id(call.model)):
            body = _json_or_calls(body)
        config = body.get("generationConfig")
        if isinstance(config, dict):
            body["generationConfig"] = self._config(dict(config), call.model)
        return body

    def _config(self, config: Body, model: Model) -> Body:
        asked, most = config.get("maxOutputTokens"), model.max_output_tokens
        if isinstance(asked, int) and most is not None and asked > most:
            config["maxOutputTokens"] = most
        if _NO_PENALTIES.search(self.model_id(model)):
            for field in _PENALTIES:
                config.pop(field, None)
        thinking = config.pop("thinkingConfig", None)
        if isinstance(thinking, dict):
            thinking = _thinking(thinking, self.model_id(model))
        return {**config, "thinkingConfig": thinking} if thinking else config


def _gone_on(body: Body) -> Body:
    """With the user's word to go on where the model had the last: these models refuse that."""
    contents = body.get("contents")
    last = contents[-1] if isinstance(contents, list) and contents else None
    if not isinstance(contents, list) or not isinstance(last, dict) or last.get("role") != "model":
        return body
    return {**body, "contents": [*contents, {"role": "user", "parts": [{"text": GO_ON}]}]}


def _json_or_calls(body: Body) -> Body:
    """With the JSON format in words where there are functions to call: these models refuse to be asked for both."""
    config = body.get("generationConfig")
    declares = any("functionDeclarations" in tool for tool in body.get("tools", ()))
    if not declares or not isinstance(config, dict) or config.get("responseMimeType") != "application/json":
        return body
    schema = config.get("responseJsonSchema")
    said = f"{_JSON_AT_LAST} Its JSON schema: {dumps(schema).decode()}" if schema else _JSON_AT_LAST
    before = body.get("systemInstruction", {}).get("parts", ())
    kept = {k: v for k, v in config.items() if k not in _JSON}
    return {**body, "systemInstruction": {"parts": [*before, {"text": said}]}, "generationConfig": kept}


def _thinking(wish: Body, model_id: str) -> Body:
    """How much to think, as the generation of the model takes it; nothing where it does not."""
    level = wish.get("thinkingLevel")
    generation = _THINKS.search(model_id)
    if level is None or generation is None:
        return wish if level is None else {}
    if level == "none":
        if generation[1] == "2.5" and "pro" not in model_id:
            return {"thinkingBudget": 0}
        level = "low"  # the others cannot do without, and would think much if they were told nothing
    if generation[1] == "2.5":
        return {"thinkingBudget": BUDGETS[level]}
    # The first Pro of the third generation knows two levels.
    return {"thinkingLevel": "high" if level == "medium" and _TWO_LEVELS.search(model_id) else level}
