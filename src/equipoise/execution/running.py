"""An answer on its way to the client: whole, or a stream that has begun."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from equipoise.errors import ProviderError
from equipoise.execution.call import Call
from equipoise.execution.place import End
from equipoise.traffic import Attempt, TokenUsage

Status = Literal["ok", "failed", "cancelled", "interrupted"]
# Given a call that broke, another one whose first content is there; None where there is none.
Successor = Callable[[Call, ProviderError], Awaitable[Call | None]]


class Running:
    """What ``Executor.run`` returns.

    Attributes:
        model: whose answer it is.
        deployment: label of the deployment that gives it.
        body: the answer in the client's format, where it is not streamed.
        stream: otherwise its server-sent events, in the client's format, as bytes. Iterate once.
        attempts: every call made for the request; complete at the end.
        status: ``ok`` once all of it was handed over, ``interrupted`` for a stream that ended early and said so,
            ``cancelled`` after ``close``, and until one of these.
        usage: tokens of the answer, which several models may have written.
        finish: why the answer ended.
        continued: it broke off, and another call went on.
        error: code of what interrupted it.
        waited_s: time spent waiting for providers, and between attempts.
    """

    __slots__ = (
        "attempts", "body", "continued", "deployment", "error", "finish", "model", "status", "stream", "usage",
        "waited_s", "_call",
    )  # fmt: skip

    def __init__(self, call: Call, attempts: list[Attempt], waited_s: float) -> None:
        self._call: Call | None = call
        self.attempts, self.waited_s = attempts, waited_s
        self.model, self.deployment = call.place.model.name, call.place.label
        self.body: bytes | None = None
        self.stream: AsyncIterator[bytes] | None = None
        self.status: Status = "cancelled"
        self.usage = TokenUsage()
        self.finish: str | None = None
        self.continued = False
        self.error: str | None = None

    async def close(self) -> None:
        """The client went away: cut what still runs, and bill it. Nothing happens to an answer that is over."""
        call, self._call = self._call, None
        if call is not None:
            call.settle(End.CANCELLED)
            self._add(call)
            await call.close()

    def complete(self) -> None:
        """All of it was handed over."""
        call, self._call = self._call, None
        if call is not None:
            call.settle(End.ANSWERED, won=True)
            self._add(call)
            self.finish, self.status = call.finish, "ok"

    def broke(self, call: Call, error: ProviderError, how: End = End.FAILED) -> None:
        """The call broke after its first content."""
        self._call = None
        call.settle(how, error)
        self._add(call)

    def goes_on(self, call: Call) -> None:
        """Another call writes the rest."""
        self._call, self.continued = call, True
        self.model, self.deployment = call.place.model.name, call.place.label

    def interrupted(self, error: ProviderError) -> None:
        """It ends early."""
        self.status, self.error = "interrupted", error.vendor_code or "provider_error"

    @property
    def over(self) -> bool:
        """Whether nothing more comes, though its last piece may be yet to be handed over."""
        return self._call is None

    @property
    def made_usd(self) -> float:
        """What the call that gave it cost."""
        return sum(attempt.cost_usd for attempt in self.attempts if attempt.won)

    @property
    def unbilled_usd(self) -> float:
        """What the call that gives the answer comes to so far; nothing once it is among the attempts."""
        return 0.0 if self._call is None else self._call.cost_so_far()

    @property
    def call(self) -> Call | None:
        """The call that gives the answer; None when nothing more comes."""
        return self._call

    def _add(self, call: Call) -> None:
        """Of an answer that several models wrote, the input of the first and the output of all are told."""
        before, last = self.usage, call.usage
        self.usage = last
        if before.output_tokens:
            self.usage = TokenUsage(
                input_tokens=before.input_tokens,
                output_tokens=before.output_tokens + last.output_tokens,
                cached_tokens=before.cached_tokens,
                cache_write_tokens=before.cache_write_tokens,
                cache_write_1h_tokens=before.cache_write_1h_tokens,
                estimated=True,
            )
