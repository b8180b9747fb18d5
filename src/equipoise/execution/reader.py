"""Reading one upstream stream: what it says, and what of it goes to the client."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire import FORMATS, NO_NAMES, Body, SseEvent, restore
from equipoise.wire.chat import FILTERED

_THINKING = frozenset({"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"})
# A vendor may send hundreds of megabytes. To put them together would hold up all other requests.
_MOST_COUNTED = 1 << 20


class Reader:
    """Follows a stream of one format. ``names`` are what the client calls tools that went by other names.

    Attributes:
        started: it has said something: text, thinking, a tool call, or that it is over.
        text: content of the first choice, in pieces: what another model would have to go on from.
        usage: tokens, as far as the provider told them.
        finish: why it ended.
    """

    __slots__ = ("_decoder", "_beside", "_names", "_plain", "finish", "started", "text", "usage")

    def __init__(self, kind: WireFormat, now: int, names: Mapping[str, str] = NO_NAMES) -> None:
        self._decoder, self._names = FORMATS[kind].decoder(now=now), names
        self.started = False
        self._plain = True
        self.text: list[str] = []
        self._beside: list[str] = []
        self.usage: TokenUsage | None = None
        self.finish: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the vendor said that the answer is whole."""
        return self._decoder.complete

    @property
    def plain(self) -> bool:
        """Whether there is nothing but text so far, from which another model can go on."""
        return self._plain and not self._decoder.bound

    def feed(self, event: SseEvent) -> list[Body]:
        """The chat chunks of an event.

        Raises:
            BadAnswer: it is not of the format.
        """
        chunks = self._decoder.feed(event)
        for chunk in chunks:
            self._note(chunk)
        return chunks

    def read(self, answer: Body) -> None:
        """Take in a whole chat completion instead of a stream."""
        for choice in answer["choices"]:
            self._note_delta(choice, choice["message"])

    def output_tokens(self, count: Callable[[str], int]) -> int:
        """All that was generated, counted; of more than any model writes, as many for each character as at first."""
        pieces = (*self.text, *self._beside)
        ends = list(accumulate(map(len, pieces)))
        sample = "".join(pieces[: bisect_left(ends, _MOST_COUNTED) + 1])
        return round(count(sample) * ends[-1] / len(sample)) if sample else 0

    def _note(self, chunk: Body) -> None:
        if chunk.get("usage") is not None:
            self.usage = FORMATS["chat"].usage(chunk) or self.usage
        for choice in chunk["choices"]:
            if reason := choice.get("finish_reason"):
                # Of several answers one that was filtered is what matters, or that is a refusal.
                self.finish = FILTERED if reason == FILTERED else self.finish or str(reason)
                self.started = True
            if delta := choice.get("delta"):
                self._note_delta(choice, delta)

    def _note_delta(self, choice: Body, delta: Body) -> None:
        for key, value in delta.items():
            if not value or key == "role":
                continue
            self.started = True
            if key == "refusal":
                self.finish = FILTERED
            if key == "content" and isinstance(value, str):
                self.text.append(value)
                self._plain = self._plain and not choice.get("index")
            elif isinstance(value, str):
                self._beside.append(value)
                self._plain = self._plain and key in _THINKING
            elif key == "tool_calls" and isinstance(value, list):
                self._plain = False
                if self._names:
                    restore(value, self._names)
                self._beside += [_call_text(call) for call in value if isinstance(call, dict)]
            else:
                self._plain = self._plain and key in _THINKING


def _call_text(call: dict[str, Any]) -> str:
    function = call.get("function")
    if not isinstance(function, dict):
        return ""
    return "".join(p for p in (function.get("name"), function.get("arguments")) if isinstance(p, str))
