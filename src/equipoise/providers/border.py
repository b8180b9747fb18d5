"""Where a vendor's failures become ``ProviderError``: by status and code, never by message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson

from equipoise.errors import ProviderError

MAX_RETRY_AFTER_S = 3600.0
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_MESSAGE_LIMIT = 300
_CODE = re.compile(r"[\w.:/-]{1,100}")
# 6m0s, 1h2m3.5s, 120ms
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SPAN_UNITS_S = (3600.0, 60.0, 1.0, 0.001)
_DATE = re.compile(r"\d{4}-")
# Seconds or milliseconds of a clock.
_CLOCK = re.compile(r"\d{10}|\d{13}")
# Shorter ones, such as `none` for a server that wants any, are no secrets, and stand in other words.
_LEAST_KEY = 8


def openai_error(document: Any) -> tuple[str, str]:
    """Code and message of ``{"error": {...}}``, or of the flatter shapes that compatible servers have."""
    if isinstance(document, list) and document:
        document = document[0]  # as Google's endpoint for OpenAI's clients has it
    if not isinstance(document, dict):
        return "", ""
    error = document.get("error", document)
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    return str(error.get("code") or error.get("type") or ""), str(error.get("message") or error.get("detail") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTable:
    """How one vendor's errors are read.

    Attributes:
        parse: code and message of an error document.
        statuses: the HTTP status that a code stands for, where none came with it: inside a stream.
        final: codes that no waiting mends, whatever their status.
        restated: statuses of codes for which the vendor answers with a misleading one.
        wait_s: the wait that an error document asks for.
    """

    parse: Callable[[Any], tuple[str, str]] = openai_error
    statuses: Mapping[str, int] = field(default_factory=dict)
    final: frozenset[str] = frozenset()
    restated: Mapping[str, int] = field(default_factory=dict)
    wait_s: Callable[[Any], float | None] = lambda document: None  # most vendors ask for a wait in a header only


class Border(NamedTuple):
    """Makes the errors of one call. ``translated``: fields that its vendor names are not those of the client."""

    provider: str
    model: str
    table: ErrorTable
    key: str | None = None
    translated: bool = False

    def failed(self, message: str, *, code: str, retryable: bool, status: int | None = None) -> ProviderError:
        """An error that the vendor did not report itself."""
        return ProviderError(
            message, provider=self.provider, model=self.model, status=status, code=code, retryable=retryable
        )

    def refused(self, status: int, headers: Mapping[str, str], payload: bytes) -> ProviderError:
        """The error of a response that is not 2xx."""
        document = _document(payload)
        code, message = self._parsed(document)
        wait_s = _asked_wait_s(headers)
        if wait_s is None:
            wait_s = self.table.wait_s(document)
        if wait_s is None and status == 429:
            wait_s = _replenished_in_s(headers)
        said = f"HTTP {status}{': ' + self._shown(message) if message else ''}"
        status = self.table.restated.get(code, status)
        error = ProviderError(
            said,
            provider=self.provider,
            model=self.model,
            status=status,
            code=code,
            retryable=status in RETRYABLE and code not in self.table.final,
            retry_after_s=wait_s,
        )
        error.param = self._param(document)
        return error

    def reported(self, document: Any) -> ProviderError:
        """The error that a response tells though its status is 2xx: in an event of a stream, or as its body."""
        code, message = self._parsed(document)
        status = self.table.statuses.get(code)
        if status is None and code.isdecimal() and 400 <= int(code) < 600:
            status = int(code)
        error = ProviderError(
            f"it reports an error: {self._shown(message) or code or 'unknown'}",
            provider=self.provider,
            model=self.model,
            status=status,
            code=code,
            retryable=(status is None or status in RETRYABLE) and code not in self.table.final,
            retry_after_s=self.table.wait_s(document),
        )
        error.param = self._param(document)
        return error

    def _parsed(self, document: Any) -> tuple[str, str]:
        """Code and message. More than a word is no code: logs and metrics tell those, and prose may quote a prompt."""
        code, message = self.table.parse(document)
        code = self._without_key(code)
        return (code, message) if _CODE.fullmatch(code) else ("", message or code)

    def _param(self, document: Any) -> str | None:
        error = document.get("error") if isinstance(document, dict) and not self.translated else None
        param = error.get("param") if isinstance(error, dict) else None
        return self._shown(param) if isinstance(param, str) and param else None

    def _shown(self, message: str) -> str:
        return self._without_key(message)[:_MESSAGE_LIMIT]

    def _without_key(self, text: str) -> str:
        """One line, in which a key that the vendor quotes does not stand."""
        secret = self.key is not None and len(self.key) >= _LEAST_KEY
        shown = text.replace(str(self.key), "[key]") if secret else text
        return " ".join(shown.split())


def retry_after_s(value: str | None, *, now: datetime, unit_s: float = 1.0) -> float | None:
    """Seconds of a Retry-After header, given as a number of units or as a date; None if absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value) * unit_s
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    now = datetime.now(UTC)
    asked = retry_after_s(headers.get("Retry-After-Ms"), now=now, unit_s=0.001)
    return retry_after_s(headers.get("Retry-After"), now=now) if asked is None else asked


def _replenished_in_s(headers: Mapping[str, str]) -> float | None:
    """In how many seconds the last of the limits is reset of which a refusal says that nothing remains.

    An answer may say so, too, but a limit that is reset in a minute mostly has room for another call much sooner.
    """
    now = datetime.now(UTC)
    waits = [
        _reset_in_s(headers.get(name.lower().replace("remaining", "reset")), now)
        for name, left in headers.items()
        if "ratelimit-" in name.lower() and "remaining" in name.lower() and left.strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _reset_in_s(value: str | None, now: datetime) -> float | None:
    """Seconds until a limit is reset, given as a span, as seconds, as the time of a clock, or as a date."""
    if value and (span := _SPAN.fullmatch(value)):
        seconds = sum(float(n) * unit_s for n, unit_s in zip(span.groups("0"), _SPAN_UNITS_S, strict=True))
        return min(seconds, MAX_RETRY_AFTER_S)
    if value is not None and _DATE.match(value):
        with suppress(ValueError):
            when = datetime.fromisoformat(value)
            value = str((when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())
    elif value is not None and _CLOCK.fullmatch(value):
        value = str(float(value) / (1.0 if len(value) == len("1700000000") else 1000.0) - now.timestamp())
    return retry_after_s(value, now=now)


def _document(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
