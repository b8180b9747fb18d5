"""A stream to the client: waits for the next event, and does not end silently when none comes."""

from __future__ import annotations

import asyncio
from typing import Self

from equipoise.aside import aside
from equipoise.errors import ProviderError
from equipoise.execution.call import Call, Heard
from equipoise.execution.client_stream import ClientStream
from equipoise.execution.clock import Clock
from equipoise.execution.place import End
from equipoise.execution.running import Running, Successor
from equipoise.wire import BadAnswer
from equipoise.wire.sse import is_keep_alive, is_last

# How long a response may take to end after the last event.
_END_S = 0.5


class Stream:
    """The events of a running answer, as bytes.

    Args:
        side: the client's side of it.
        successor: finds a call that goes on when one breaks.
        between_s: longest silence between two pieces of content.
        deadline: time of the event loop at which the whole answer has to be there.
    """

    __slots__ = (
        "_between_s", "_clock", "_deadline", "_given_at", "_heard_at", "_loop", "_ready", "_running", "_side",
        "_successor",
    )  # fmt: skip

    def __init__(
        self,
        running: Running,
        side: ClientStream,
        *,
        successor: Successor,
        between_s: float,
        deadline: float,
        clock: Clock,
    ) -> None:
        self._running, self._side, self._successor = running, side, successor
        self._between_s, self._deadline, self._clock = between_s, deadline, clock
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._given_at = self._loop.time()
        self._ready = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        # While the client takes what it was given, nobody listens: that is no silence of the provider.
        self._heard_at += self._loop.time() - self._given_at
        while not self._ready:
            call = self._running.call
            if call is None:
                raise StopAsyncIteration
            started = self._clock.monotonic()
            try:
                await self._advance(call)
            except BaseException:  # the client left, or something is wrong here: upstream is cut either way
                await self._running.close()
                raise
            finally:
                self._running.waited_s += self._clock.monotonic() - started
        ready, self._ready = self._ready, b""
        self._given_at = self._loop.time()
        return ready

    async def _advance(self, call: Call) -> None:
        try:
            if call.held:
                self._ready = await aside(sum(map(_size, call.held)), self._taken, call.held)
                return
            heard = await call.more(min(self._heard_at + self._between_s, self._deadline))
            if heard is not None:
                # Pings and comments are no sign that an answer is being written; what a vendor's own tools do is one.
                if heard.chunks or not is_keep_alive(heard.event):
                    self._heard_at = self._loop.time()
                self._ready = await aside(_size(heard), self._side.take, heard)
                if not is_last(heard.event):
                    return
                await self._see_out(call)
        except ProviderError as error:
            if call.reader is not None and call.reader.complete:
                self._end()  # only what follows the answer was lost
                await call.close()
            else:
                await self._broken(call, error)
        except BadAnswer as error:
            await self._broken(call, call.wrong(str(error), code="bad_response"))
        else:
            self._end()

    async def _see_out(self, call: Call) -> None:
        """Wait a little for the response to end: a client that has read the last event may leave at once."""
        until = min(self._loop.time() + _END_S, self._deadline)
        while (heard := await call.more(until)) is not None:
            self._ready += await aside(_size(heard), self._side.take, heard)

    def _end(self) -> None:
        self._running.complete()
        self._ready += self._side.end(self._running.usage)

    async def _broken(self, call: Call, error: ProviderError) -> None:
        hurried = error.vendor_code == "timeout" and self._deadline < self._heard_at + self._between_s
        self._running.broke(call, error, End.GIVEN_UP if hurried else End.FAILED)
        await call.close()
        if self._side.open_to_others and (successor := await self._successor(call, error)) is not None:
            try:
                name = successor.place.model.name
                self._ready = await aside(self._side.kept_bytes, self._side.take_over, name)
            except BaseException as stopped:  # it cannot be gone on from, or the client left
                successor.settle(End.CANCELLED)
                await successor.close()
                if not isinstance(stopped, BadAnswer):
                    raise
            else:
                self._running.goes_on(successor)
                self._heard_at = self._loop.time()
                return
        self._running.interrupted(error)
        self._ready = await aside(self._side.kept_bytes, self._side.fail, "stream_interrupted", str(error))

    def _taken(self, held: list[Heard]) -> bytes:
        taken = b"".join([self._side.take(heard) for heard in held])
        held.clear()
        return taken


def _size(heard: Heard) -> int:
    return len(heard.event.data)
