"""Server-sent events: bytes in, whole events out, wherever the bytes were cut."""

from __future__ import annotations

import re
from typing import NamedTuple

from equipoise.wire.errors import BadAnswer
from equipoise.wire.values import holds_more_values

MAX_EVENT_BYTES = 8 << 20
# What takes longer to read than others should wait.
_MAX_VALUES, _MAX_LINES = 1 << 20, 1 << 17
DONE = b"[DONE]"
_LAST = frozenset({"message_stop", "response.completed", "response.incomplete"})
_KEEP_ALIVES = frozenset({"ping", "keepalive"})
_CR = 13
_BOM = b"\xef\xbb\xbf"
# Atomic: a line end of two bytes must not be taken for two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class SseEvent(NamedTuple):
    """One event. ``raw`` are its bytes as they came, blank line included; a comment has no ``data``."""

    raw: bytes
    event: str
    data: bytes


class SseParser:
    """Cuts a stream of bytes into events."""

    __slots__ = ("_buffer", "_most", "_returns", "_searched")

    def __init__(self, *, most_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._returns = False
        self._most = most_bytes

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that these bytes complete.

        Raises:
            BadAnswer: an event is larger than the bound.
        """
        held = self._buffer
        held += data
        events: list[SseEvent] = []
        start = 0
        self._returns = self._returns or _CR in data
        while (end := _event_end(held, max(start, self._searched), returns=self._returns)) > 0:
            events.append(self._event(bytes(held[start:end])))
            start, self._searched = end, 0
        if start:
            del held[:start]
            self._returns = _CR in held
        if len(held) > self._most:
            raise BadAnswer(f"an event of the stream is larger than {self._most} bytes")
        self._searched = max(len(held) - 3, 0)
        return events

    def end(self) -> list[SseEvent]:
        """What is left when the stream ends: at most one event, given the blank line that it lacks."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched, self._returns = 0, False
        if not rest.strip():
            return []
        return [self._event(rest if _BLANK_LINE.search(rest) else rest + b"\n\n")]

    def _event(self, raw: bytes) -> SseEvent:
        if len(raw) > self._most:
            raise BadAnswer(f"an event of the stream is larger than {self._most} bytes")
        if len(raw) > _MAX_LINES:
            _check_parts(raw)
        if raw[:6] == b"data: " and raw.find(b"\n") == len(raw) - 2 and raw[-2:] == b"\n\n" and b"\r" not in raw:
            return SseEvent(raw, "", raw[6:-2])
        return _with_fields(raw)


def _check_parts(raw: bytes) -> None:
    if raw.count(b"\n") + raw.count(b"\r") > _MAX_LINES:
        raise BadAnswer(f"an event of the stream has more than {_MAX_LINES} lines")
    if holds_more_values(raw, _MAX_VALUES):
        raise BadAnswer(f"an event of the stream has more than {_MAX_VALUES} values")


def _event_end(held: bytearray, search: int, *, returns: bool) -> int:
    """Where the first blank line ends; 0 while there is none. ``returns``: there are carriage returns."""
    if not returns:
        at = held.find(b"\n\n", search)
        return at + 2 if at >= 0 else 0
    found = _BLANK_LINE.search(held, search)
    if found is None or (found.end() == len(held) and held[-1] == _CR):
        return 0  # the next byte may be the other half of a line end
    return found.end()


def _with_fields(raw: bytes) -> SseEvent:
    name, data = "", []
    for line in raw.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return SseEvent(raw, name, b"\n".join(data))


def is_keep_alive(event: SseEvent) -> bool:
    """Whether it says nothing but that the connection stands."""
    return not event.data or event.event in _KEEP_ALIVES


def is_last(event: SseEvent) -> bool:
    """Whether a vendor that streams says nothing after it."""
    return event.data == DONE or event.event in _LAST


def frame(data: bytes, event: str = "") -> bytes:
    """An event as bytes. ``data`` is one line, as JSON is."""
    if event:
        return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"
