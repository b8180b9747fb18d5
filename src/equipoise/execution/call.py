"""One call: sent to one place, read, and billed whatever becomes of it."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import orjson

from equipoise.aside import aside
from equipoise.contracts import Upstream, UpstreamCall
from equipoise.errors import ProviderError
from equipoise.execution.billing import cost_usd, counted, estimated, price_of, sound, was_accepted
from equipoise.execution.clock import Clock
from equipoise.execution.place import End, Place
from equipoise.execution.reader import Reader
from equipoise.execution.work import Work
from equipoise.records import record
from equipoise.traffic import Attempt, AttemptKind, TokenUsage
from equipoise.wire import FORMATS, NO_NAMES, BadAnswer, Body, SseEvent, translate_answer
from equipoise.wire.embeddings import without_vectors
from equipoise.wire.values import MOST_ANSWERED, holds_more_values

Count = Callable[[str], int]
# Vendors say some dozens of things at most before an answer begins.
_MOST_HELD = 10_000
_WORD, _UNTOLD = re.compile(r"[\w.:/-]{1,100}"), "other"
_WAITED_FOR = frozenset({"timeout", "connection"})


class Heard(NamedTuple):
    """An event of a stream, and the chat chunks that it stands for."""

    event: SseEvent
    chunks: list[Body]


@record(frozen=True, slots=True)
class Meter:
    """What the calls for one request are measured with: clocks, and a tokenizer for what providers do not say.

    Every call writes its bill into ``attempts`` when it ends.
    """

    clock: Clock
    count: Count
    attempts: list[Attempt]


class Call:
    """One attempt. ``begin`` brings the first content; ``more`` the rest of a stream; ``settle`` the bill.

    Args:
        work: what the answer is to, in the client's format.
        input_tokens: our count of all that is sent.
        names: what the client calls tools that go by other names.

    Attributes:
        held: what a stream has said up to its first content.
        payload: the answer, in the client's format, where it is not streamed.
        usage: what it was billed for; of use after ``settle``.
    """

    __slots__ = (
        "answer", "attempt", "held", "kind", "payload", "place", "reader", "request", "usage",
        "_began", "_events", "_finish", "_first_s", "_hurry_s", "_input_tokens", "_lease", "_meter", "_names", "_said",
        "_started", "_upstream", "_work",
    )  # fmt: skip

    def __init__(
        self,
        place: Place,
        request: UpstreamCall,
        kind: AttemptKind,
        meter: Meter,
        *,
        work: Work,
        input_tokens: int,
        names: Mapping[str, str] = NO_NAMES,
    ) -> None:
        self.place, self.request, self.kind = place, request, kind
        self._meter, self._work, self._input_tokens = meter, work, input_tokens
        self._started = meter.clock.time()
        self._began = meter.clock.monotonic()
        self._lease = place.begin(self._began, input_tokens, work.asked.most_output)
        self._upstream: Upstream | None = None
        self._finish: str | None = None
        self._first_s: float | None = None
        self._hurry_s = math.inf
        self._said: TokenUsage | None = None
        self._names = names
        self.reader = Reader(request.kind, int(self._started), names) if request.stream else None
        self.held: list[Heard] = []
        self.payload = b""
        self.answer: Body | None = None
        self.usage = TokenUsage()
        self.attempt: Attempt | None = None

    async def begin(self, limit_s: float, hurry_s: float = math.inf) -> None:
        """Send it, and wait for the whole answer, or for the first content of a stream.

        Args:
            hurry_s: who gives up waiting from then on does so since the caller has no more time.

        Raises:
            ProviderError: whatever went wrong.
        """
        self._hurry_s = hurry_s
        try:
            async with asyncio.timeout(limit_s):
                self._upstream = await self.place.provider.send(self.request)
                if self.reader is None:
                    await self._read(self._upstream)
                else:
                    await self._read_to_content(self._upstream, self.reader)
        except TimeoutError:
            raise self.wrong(f"no answer within {limit_s:.3g} s", code="timeout") from None
        now = self._meter.clock.monotonic()
        self._first_s = max(now - self._began, 0.0)
        self._hurry_s = math.inf
        self._lease.answering(now, stream=self.request.stream, hedge=self.kind == "hedge")

    async def more(self, until: float) -> Heard | None:
        """What a stream says next; None at its end.

        Args:
            until: time of the event loop by which it has to come.

        Raises:
            ProviderError: it broke, stalled, or ended before it was whole.
        """
        assert self.reader is not None
        try:
            async with asyncio.timeout_at(until):
                event = await anext(self._events, None)
        except TimeoutError:
            raise self.wrong("the rest of the answer did not come in time", code="timeout") from None
        return await aside(0 if event is None else len(event.data), self._heard, event, self.reader)

    async def close(self) -> None:
        """Cut the connection if the response is not over."""
        if self._upstream is not None:
            await self._upstream.close()

    def settle(self, how: End, error: ProviderError | None = None, *, won: bool = False) -> Attempt:
        """The bill, once; later calls return the same.

        Args:
            won: its answer is the one that is returned.
        """
        if self.attempt is not None:
            return self.attempt
        now = self._meter.clock.monotonic()
        elapsed = max(now - self._began, 0.0)
        left = self.request.sent.begun is not False
        accepted = self._answering or (left and (error is None or was_accepted(error)))
        self.usage = self._billed() if accepted else TokenUsage()
        if how is End.FAILED and error is not None and error.vendor_code in _WAITED_FOR and elapsed >= self._hurry_s:
            how = End.GIVEN_UP
        self._lease.end(now, how, self.usage, error, left=left)
        cost = cost_usd(self.usage, price_of(self.place.model), elapsed_s=elapsed) if accepted else 0.0
        status = self._upstream.status if self._upstream is not None else None
        self.attempt = Attempt(
            model=self.place.model.name,
            deployment=self.place.label,
            kind=self.kind,
            started=self._started,
            latency_s=elapsed,
            usage=self.usage,
            cost_usd=cost,
            first_token_s=self._first_s,
            status=error.status if error is not None and error.status is not None else status,
            error=_code(how, error),
            won=won,
        )
        self._meter.attempts.append(self.attempt)
        return self.attempt

    def cost_so_far(self) -> float:
        """What it would be billed if it ended now, in USD."""
        said = None if self.reader is None else self.reader.usage
        elapsed = max(self._meter.clock.monotonic() - self._began, 0.0)
        usage = self._billed() if said is None else sound(said)
        return cost_usd(usage, price_of(self.place.model), elapsed_s=elapsed)

    def withdraw(self) -> None:
        """It could not be sent as it is: no attempt was made."""
        self._lease.end(self._meter.clock.monotonic(), End.CANCELLED, self.usage, left=False)

    def outrun(self) -> None:
        """Another call for the same request was faster."""
        self._lease.outrun(self._meter.clock.monotonic(), stream=self.request.stream)

    @property
    def finish(self) -> str | None:
        """Why the answer ended. What is more than a word may quote the answer, and goes into no log."""
        found = self._finish if self.reader is None else self.reader.finish
        return found if found is None or _WORD.fullmatch(found) else _UNTOLD

    @property
    def _answering(self) -> bool:
        """Whether some of an answer came, which is billed even where an error follows."""
        reader = self.reader
        return self.answer is not None if reader is None else reader.started or reader.usage is not None

    def _billed(self) -> TokenUsage:
        if (reader := self.reader) is None:
            said, whole = self._said, self.answer is not None
        else:
            said, whole = reader.usage, reader.complete
        if whole and said is not None:
            return sound(said)
        written = (reader or self._answer_read()).output_tokens(self._meter.count)
        return estimated(said, input_tokens=self._input_tokens, output_tokens=written)

    async def _read(self, upstream: Upstream) -> None:
        payload = await upstream.read()
        try:
            self.payload, self.answer = await aside(len(payload), self._understood, payload)
        except orjson.JSONDecodeError:
            raise self.wrong("the answer is not JSON", code="bad_response") from None
        except BadAnswer as error:
            raise self.wrong(str(error), code="bad_response") from None

    def _understood(self, payload: bytes) -> tuple[bytes, Body]:
        """The answer in the client's format, and as it came."""
        form = FORMATS[self.request.kind]
        document = without_vectors(payload) if self.request.kind == "embeddings" else payload
        if holds_more_values(document, MOST_ANSWERED):
            raise BadAnswer(f"the answer has more than {MOST_ANSWERED} values")
        answer = orjson.loads(document)
        if not isinstance(answer, dict):
            raise self.wrong("the answer is not a JSON object", code="bad_response")
        self._said = counted(form.usage(answer))
        self._finish = form.finish(answer)
        return payload if self.request.kind == self._work.format else self._translated(answer), answer

    def _translated(self, answer: Body) -> bytes:
        kind, work, now = self.request.kind, self._work, int(self._started)
        name, names = self.place.model.name, self._names
        try:
            translated = translate_answer(answer, kind, work.format, name, now=now, names=names, asked=work.asked)
            return orjson.dumps(translated)
        except orjson.JSONEncodeError as error:
            raise BadAnswer(f"the answer cannot be written as JSON ({error})") from None

    async def _read_to_content(self, upstream: Upstream, reader: Reader) -> None:
        self._events = aiter(upstream.events())
        while not reader.started:
            event = await anext(self._events, None)
            heard = await aside(0 if event is None else len(event.data), self._heard, event, reader)
            if heard is None:
                raise self.wrong("the stream ended without an answer", code="bad_response")
            if heard.event.data:  # a comment that is told when the wait is over tells nothing
                self.held.append(heard)
            if len(self.held) > _MOST_HELD:
                raise self.wrong(f"{_MOST_HELD} events of the stream bring no answer", code="bad_response")

    def _heard(self, event: SseEvent | None, reader: Reader) -> Heard | None:
        if event is None:
            if not reader.complete:
                raise self.wrong("the stream ended before the answer was whole", code="connection_lost")
            return None
        try:
            return Heard(event, reader.feed(event))
        except BadAnswer as error:
            raise self.wrong(str(error), code="bad_response") from None

    def _answer_read(self) -> Reader:
        """An answer without usage, for counting."""
        reader = Reader("chat", 0)
        if self.answer is not None and self.request.kind != "embeddings":
            with suppress(BadAnswer):  # it passes to the client as it is; what it says, nobody here can read
                reader.read(FORMATS[self.request.kind].answer_to_chat(self.answer, now=int(self._started)))
        return reader

    def wrong(self, message: str, *, code: str) -> ProviderError:
        """An error of this call that its provider did not tell."""
        return ProviderError(
            message,
            provider=self.place.deployment.provider,
            model=self.place.model.name,
            code=code,
            retryable=True,
        )


def _code(how: End, error: ProviderError | None) -> str | None:
    if how is End.CANCELLED:
        return "cancelled"
    if error is None:
        return None
    return error.vendor_code or (f"http_{error.status}" if error.status else "provider_error")
