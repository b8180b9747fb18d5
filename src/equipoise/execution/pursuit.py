"""The pursuit of one answer: attempts in the order of the course, within the time that there is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from equipoise.aside import LARGE_BYTES, aside
from equipoise.config import ExecutionConfig
from equipoise.contracts import UpstreamCall
from equipoise.errors import ProviderError
from equipoise.execution.call import Call, Meter
from equipoise.execution.continuation import GO_ON, can_continue, continued
from equipoise.execution.course import Course, Step
from equipoise.execution.failure import ExecutionFailed, failure
from equipoise.execution.hedge import Begun, Hedging, race
from equipoise.execution.place import End, Place
from equipoise.execution.work import Work
from equipoise.traffic import AttemptKind
from equipoise.types import WireFormat
from equipoise.wire import NO_NAMES, BadRequest, Body, long_names, target_format, translate_request

_CONNECTING = 0.9
_MOST_OF_IT = 0.8
# Nobody answers in less, and event loops count in milliseconds.
_NO_TIME_S = 0.01


class Pursuit:
    """Makes attempts for one request until one brings an answer.

    Attributes:
        deadline: time of the event loop at which all of the answer has to be there.
        waited_s: time spent waiting, for providers and between attempts.
    """

    __slots__ = (
        "deadline", "waited_s", "_bodies", "_body", "_course", "_format", "_hedging", "_input_tokens", "_loop",
        "_meter", "_names", "_own_deadline", "_said", "_settings", "_work",
    )  # fmt: skip

    def __init__(self, course: Course, work: Work, settings: ExecutionConfig, hedging: Hedging, meter: Meter) -> None:
        self._course, self._work, self._settings = course, work, settings
        self._hedging, self._meter = hedging, meter
        self._format: WireFormat = work.format
        self._input_tokens = work.input_tokens
        self._said = ""
        self._body, self._bodies = work.body, dict[WireFormat, Body]()
        self._names = long_names(work.body) if work.format == "messages" else NO_NAMES
        self._loop = asyncio.get_running_loop()
        total_s = settings.total_s if work.total_s is None else work.total_s
        self._own_deadline = self.deadline = self._loop.time() + total_s
        if work.deadline_s is not None:
            self.deadline = min(self.deadline, self._loop.time() + work.deadline_s)
        self.waited_s = 0.0

    async def call(self) -> Call:
        """The first call that answers: all of the answer, or a stream with its first content in hand.

        Raises:
            ExecutionFailed: none did.
        """
        while True:
            step = self._course.next(self._meter.clock.monotonic(), self._left_s())
            if step is None:
                raise failure(
                    self._course.errors,
                    self._meter.attempts,
                    free_in_s=self._course.free_in_s,
                    out_of_time=self._left_s() <= 0.0,
                )
            if step.wait_s > 0.0:
                await self._rest(step.wait_s)
                if not self._course.open(step.place, self._meter.clock.monotonic(), forced=step.forced):
                    continue
            try:
                if not await self._ready(step.place, forced=step.forced):
                    continue
                return await self._attempt(step)
            except (ProviderError, BadRequest) as error:
                self._course.failed(step.place, error)
                if isinstance(error, BadRequest) and self._work.asked.vendor_state is not None:
                    # The client knows how to ask without leaning on a vendor's memory: told now, it does.
                    raise failure([error], self._meter.attempts, free_in_s=None) from None

    async def go_on(self, broken: Call, error: ProviderError) -> Call | None:
        """A call that continues the answer of a broken stream; None where that is impossible or none answers."""
        self._course.failed(broken.place, error)
        reader = broken.reader
        work, count = self._work, self._meter.count
        if self._settings.midstream != "continue" or reader is None:
            return None
        if not await aside(work.size, can_continue, work, reader):
            return None
        self._said += "".join(reader.text)
        said, tokens = self._said, count(self._said)
        try:
            self._body = await aside(work.size, continued, work, said, tokens)
            self._bodies = {}
            self._format = "chat"
            self._input_tokens = work.input_tokens + tokens + count(GO_ON)
            return await self.call()
        except (ExecutionFailed, BadRequest):
            return None

    async def _attempt(self, step: Step) -> Call:
        limit_s, hurry_s = self._limits_s()
        first = self._make(step.place, step.kind, limit_s)
        delay_s = self._hedging.delay_s(step.place, stream=self._work.asked.stream, within_s=limit_s)
        started = self._meter.clock.monotonic()
        try:
            if delay_s is None:
                await first.begin(limit_s, hurry_s)
                return first
            until = self._loop.time() + limit_s
            return await race(
                (first, first.begin(limit_s, hurry_s)), delay_s, lambda late: self._second(step.place, until, late)
            )
        except BadRequest:
            first.withdraw()
            raise
        except BaseException as error:
            failed = error if isinstance(error, ProviderError) else None
            first.settle(End.FAILED if failed else End.CANCELLED, failed)
            await first.close()
            raise
        finally:
            self.waited_s += self._meter.clock.monotonic() - started

    async def _second(self, place: Place, until: float, late: Callable[[], bool]) -> Begun | None:
        """A hedge for a call to that place, if one more is allowed and there is somewhere to send it."""
        other = self._course.beside(place, self._meter.clock.monotonic())
        try:
            if other is None or not await self._ready(other):
                return None
        except BadRequest:
            return None  # it cannot be said there
        if not late() or not self._hedging.spend():
            return None
        limit_s = until - self._loop.time()
        call = self._make(other, "hedge", limit_s)
        return call, self._begun(call, limit_s)

    async def _begun(self, hedge: Call, limit_s: float) -> None:
        try:
            # It ends with the attempt: that it has less time than the first is no fault of its place.
            await hedge.begin(limit_s, limit_s * _MOST_OF_IT)
        except ProviderError as error:
            self._course.failed(hedge.place, error)
            raise

    async def _ready(self, place: Place, *, forced: bool = False) -> bool:
        """Have the request in the format of the place. False where the place, or the time, is gone when that is done.

        Raises:
            BadRequest: it cannot be said there.
        """
        work, target = self._work, self._target(place)
        if target in self._bodies:
            return True
        if work.size <= LARGE_BYTES:
            self._bodies[target] = translate_request(self._body, self._format, target)
            return True
        try:
            async with asyncio.timeout_at(self.deadline):
                self._bodies[target] = await aside(work.size, translate_request, self._body, self._format, target)
        except TimeoutError:
            return False
        return self._left_s() > 0.0 and self._course.open(place, self._meter.clock.monotonic(), forced=forced)

    def _target(self, place: Place) -> WireFormat:
        target = target_format(self._format, place.formats(self._body))
        if target is None:
            told = f"{place.label} does not take such a request in {self._format}"
            raise BadRequest(told, code="unsupported_by_format")
        return target

    def _make(self, place: Place, kind: AttemptKind, limit_s: float) -> Call:
        work, settings, target = self._work, self._settings, self._target(place)
        request = UpstreamCall(
            model=place.model,
            deployment=place.deployment,
            kind=target,
            body=self._bodies[target],
            stream=work.asked.stream,
            # Sooner than the attempt's own limit: what never connected is not billed.
            connect_s=min(settings.connect_s, limit_s * _CONNECTING),
            first_byte_s=None,
            headers=work.headers,
            mixed=work.mixed or _is_anothers(work, place, target),
            translated=work.translated or target != work.format or self._format != work.format,
            size=work.size,
        )
        self._course.called(place, hedge=kind == "hedge")
        return Call(place, request, kind, self._meter, work=work, input_tokens=self._input_tokens, names=self._names)

    async def _rest(self, seconds: float) -> None:
        self.waited_s += seconds
        await asyncio.sleep(seconds)

    def _left_s(self) -> float:
        left = self.deadline - self._loop.time()
        return left if left > _NO_TIME_S else 0.0

    def _limits_s(self) -> tuple[float, float]:
        """Time for one attempt, and the time from which a wait that is given up is the caller's doing alone."""
        limit = self._limit_within(self._left_s())
        if self.deadline == self._own_deadline:
            return limit, math.inf
        own = self._limit_within(self._own_deadline - self._loop.time())
        return limit, limit * _MOST_OF_IT if limit < own else math.inf

    def _limit_within(self, left: float) -> float:
        """While there is another place to call, half of the time left is kept for it."""
        limit = min(left, self._settings.first_token_s) if self._work.asked.stream else left
        return min(limit, left / 2.0) if self._course.others else limit


def _is_anothers(work: Work, place: Place, kind: WireFormat) -> bool:
    """Whether what was thought in the turn before is another model's, or was sealed for another deployment."""
    sealed = kind == "responses" and work.answered_at not in (None, place.label)
    return sealed or work.answered_by not in (None, place.model.name)
