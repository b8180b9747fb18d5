"""What clients are told instead of an answer: a status, a stable code, one line that says how to mend it."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.errors import EquipoiseError, InputError, UnknownName
from equipoise.storage.store import StoreUnavailable

# What requests ask for; other names that are not known are faults of the request.
_LOOKED_UP = frozenset({"model", "key"})
CONTEXT_LENGTH = "context_length_exceeded"
# Anthropic's words, in which agents that do not read the code find that they are to shorten the conversation and go on.
TOO_LONG = "prompt is too long"


class Problem(EquipoiseError):
    """An answer that is an error.

    Args:
        status: HTTP status.
        code: stable and machine-readable.
        message: one line, for people.
        param: the field, header or path part at fault.
        retry_after_s: when trying again makes sense.
        close: the connection is not fit for another request.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        close: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.code, self.param = status, code, param
        self.retry_after_s, self.close, self.headers = retry_after_s, close, headers or {}
        super().__init__(message)


def problem_of(error: EquipoiseError) -> Problem:
    """The problem that an error is to a client."""
    if isinstance(error, Problem):
        return error
    message = " ".join(str(error).split())
    if isinstance(error, UnknownName):
        return Problem(404 if error.kind in _LOOKED_UP else 400, f"{error.kind}_not_found", message)
    if isinstance(error, InputError):
        return Problem(400, error.code, message, param=getattr(error, "param", None))
    if isinstance(error, StoreUnavailable):
        said = "the file of decisions and keys cannot be used just now; try again"  # which file is no caller's business
        return Problem(503, error.code, said, retry_after_s=1.0)
    return Problem(500, error.code, "the gateway cannot serve this; its log says why")
