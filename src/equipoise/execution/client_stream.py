"""The client's side of a stream. It outlives the upstream that it began with."""

from __future__ import annotations

from equipoise.execution.call import Heard
from equipoise.execution.work import Work
from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire import DONE, FORMATS, BadAnswer, Encoder, SseEvent, SseParser, only_usage, resumed
from equipoise.wire.sse import frame, is_last

_MOST_KEPT_BYTES = 4 << 20
# What clients wait for behind an answer that is whole. Some vendors leave it out, and some connections lose it.
_CLOSING: dict[WireFormat, bytes] = {
    "chat": frame(DONE),
    "messages": frame(b'{"type":"message_stop"}', "message_stop"),
}


class ClientStream:
    """Turns what is heard into what the client reads: the same bytes, or events of its own format.

    What passes as it is is kept, up to a bound, so that the stream can be continued, or ended, in its own terms.

    Args:
        kind: the upstream's format. Its events pass as they are where the client speaks it too.

    Attributes:
        kept_bytes: how much of what passed would be read again.
    """

    __slots__ = ("_encoder", "_keep", "_kept", "_kind", "_latest", "_model", "_work", "kept_bytes")

    def __init__(self, work: Work, kind: WireFormat, model: str) -> None:
        self._work, self._kind, self._model = work, kind, model
        self._encoder: Encoder | None = None
        if kind != work.format:
            self._encoder = FORMATS[work.format].encoder(model, work.asked, work.input_tokens)
        self._keep = True
        self._kept: list[bytes] = []
        self.kept_bytes = 0
        self._latest: SseEvent | None = None

    def take(self, heard: Heard) -> bytes:
        """What the client reads of it.

        Raises:
            BadAnswer: it cannot be said in the client's format.
        """
        if self._encoder is not None:
            return b"".join(frame for chunk in heard.chunks for frame in self._encoder.feed(chunk))
        event = heard.event
        if self._hidden(heard):
            return b""
        if event.data:
            self._latest = event
        if self._keep:
            self._kept.append(event.raw)
            self.kept_bytes += len(event.raw)
            self._keep = self.kept_bytes <= _MOST_KEPT_BYTES
        return event.raw

    @property
    def open_to_others(self) -> bool:
        """Whether another model can take over."""
        return self._encoder is not None or self._keep

    def take_over(self, model: str) -> bytes:
        """Another model goes on from here. A comment says so; it is no part of the answer.

        Raises:
            BadAnswer: what passed cannot be gone on from.
        """
        if self._encoder is None:
            self._encoder = self._resumed(model)
        self._encoder.model = model
        return f": continued by {model}\n\n".encode()

    def end(self, usage: TokenUsage) -> bytes:
        """What closes the stream."""
        if self._encoder is not None:
            return b"".join(self._encoder.end(usage))
        closed = self._latest is None or is_last(self._latest)
        return b"" if closed else _CLOSING.get(self._work.format, b"")

    def fail(self, code: str, message: str) -> bytes:
        """What says that the stream broke."""
        try:
            encoder = self._encoder or self._resumed(self._model)
        except BadAnswer:
            encoder = FORMATS[self._work.format].encoder(self._model, self._work.asked)
        return b"".join(encoder.fail(code, message))

    def _hidden(self, heard: Heard) -> bool:
        """The usage that we asked for and the client did not."""
        if self._kind != "chat" or self._work.asked.include_usage:
            return False
        return bool(heard.chunks) and all(only_usage(chunk) for chunk in heard.chunks)

    def _resumed(self, model: str) -> Encoder:
        """An encoder that stands where the events that passed have left the client."""
        events = SseParser().feed(b"".join(self._kept))
        self._kept.clear()
        return resumed(self._work.format, model, self._work.asked, events)
