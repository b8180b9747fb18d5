"""What is said when no attempt brought an answer."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.errors import EquipoiseError, ProviderError
from equipoise.execution.retry import REQUEST_FAULTS
from equipoise.traffic import Attempt
from equipoise.wire import BadRequest


class ExecutionFailed(EquipoiseError):
    """No attempt brought an answer.

    Attributes:
        attempts: all that were made, with their bills.
        error: what the deciding one of them met; None where none could be made.
        status: HTTP status for the client.
        code: stable: ``rate_limited``, ``timeout``, ``provider_error``, ``no_deployment``, or for a request that the
            provider refused, its own code.
        retry_after_s: when it is worth trying again, where known.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        attempts: Sequence[Attempt] = (),
        error: ProviderError | BadRequest | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.status, self.code, self.error, self.retry_after_s = status, code, error, retry_after_s
        self.attempts = tuple(attempts)
        super().__init__(message)


def failure(
    errors: Sequence[ProviderError | BadRequest],
    attempts: Sequence[Attempt],
    *,
    free_in_s: float | None,
    out_of_time: bool = False,
) -> ExecutionFailed:
    """What to tell the client of a request that met ``errors``, in their order.

    A refusal of the request itself says more than an outage met on the way; the first one is of the model that was
    chosen.

    Args:
        free_in_s: when the first deployment takes calls again, if all of them are full or asked to wait.
        out_of_time: the time for all of the request is over.
    """
    for error in errors:
        if isinstance(error, BadRequest):
            return ExecutionFailed(str(error), status=400, code=error.code, attempts=attempts, error=error)
        if error.status in REQUEST_FAULTS:
            code = error.vendor_code or "invalid_request"
            return ExecutionFailed(str(error), status=error.status, code=code, attempts=attempts, error=error)
    met = [e for e in errors if isinstance(e, ProviderError)]
    broken = [e for e in met if e.status != 429]
    if broken:
        last = broken[-1]
        late = last.vendor_code == "timeout" or (out_of_time and any(e.vendor_code == "timeout" for e in broken))
        status, code = (504, "timeout") if late else (502, "provider_error")
        return ExecutionFailed(str(last), status=status, code=code, attempts=attempts, error=last)
    if met or free_in_s is not None:
        asked = [e.retry_after_s for e in met if e.retry_after_s is not None]
        return ExecutionFailed(
            str(met[-1]) if met else "every deployment that may serve this request is at its limit",
            status=429,
            code="rate_limited",
            attempts=attempts,
            error=met[-1] if met else None,
            retry_after_s=min(asked, default=None) if free_in_s is None else free_in_s,
        )
    if out_of_time:
        said = "the time for this request was over before a call was made"
        return ExecutionFailed(said, status=504, code="timeout", attempts=attempts)
    message = "no deployment may serve this request"
    return ExecutionFailed(message, status=503, code="no_deployment", attempts=attempts)
