"""What a wire format promises, and what routing reads from a request.

The pivot between formats is OpenAI's chat completion: requests, answers and stream chunks as plain dicts.
What chat has no place for rides in it under the key ``NATIVE``, by format: ``{NATIVE: {"messages": {...}}}``
on the body, a message, a part, a tool or a choice holds the fields that only that format knows, so that there and
back loses nothing. Towards every other format it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire.sse import SseEvent

Body = dict[str, Any]


class _Key(Enum):
    """A key that is in no JSON, so that nothing from outside can pass for it."""

    NATIVE = "native"


NATIVE: Any = _Key.NATIVE


class Asked(NamedTuple):
    """What routing needs of a request body.

    Attributes:
        model: the name that was asked for, a route or a model.
        text: the last user message; where it says nothing, the last text of any kind. Never empty.
        context_text: everything else that is sent along: system prompt, earlier turns, tools.
        images: number of images.
        include_usage: whether a stream is to end with its usage.
        affinity: what stays the same over a conversation, hashed: tools, and all before the first answer.
        answers: how often a model has answered before, each time with one or more messages.
        vendor_state: the field by which the request leans on what one vendor remembers of earlier calls.
        echo: what of the request the answer says again, where the format has it so.
    """

    model: str
    text: str
    context_text: str = ""
    images: int = 0
    stream: bool = False
    include_usage: bool = False
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    n: int = 1
    affinity: bytes = b""
    answers: int = 0
    user: str | None = None
    vendor_state: str | None = None
    echo: Mapping[str, Any] = MappingProxyType({})

    @property
    def most_output(self) -> float:
        """How many tokens all answers together may have, as far as the request says."""
        return math.inf if self.max_output_tokens is None else float(self.max_output_tokens * self.n)


class Decoder(Protocol):
    """Reads one upstream stream: its events become chat chunks.

    ``complete`` says whether the vendor told that the answer is whole; a stream that ends without was cut.
    """

    complete: bool

    @property
    def bound(self) -> bool:
        """Whether only its author can go on from here: a tool that no other vendor knows is at work, or was called."""
        ...

    def feed(self, event: SseEvent) -> list[Body]:
        """The chunks that an event stands for; none for pings and the like, unless they tell that an answer is written.

        Raises:
            BadAnswer: the event is not of this format.
        """
        ...


class Encoder(Protocol):
    """Writes one stream to a client: chat chunks become events.

    ``model`` is the name of the model that writes, which is another one where it goes on for one that broke off.
    """

    model: str

    def feed(self, chunk: Body) -> list[bytes]:
        """The events that a chunk becomes."""
        ...

    def follow(self, event: SseEvent) -> None:
        """An event of this format that the client had from elsewhere: go on as if one had written it.

        Raises:
            BadAnswer: it is none.
        """
        ...

    def end(self, usage: TokenUsage | None = None) -> list[bytes]:
        """What closes the stream. Without ``usage``, what the chunks said is used."""
        ...

    def fail(self, code: str, message: str) -> list[bytes]:
        """What says that the stream broke."""
        ...


class Format(Protocol):
    """One wire format. All methods are pure, and none changes a request."""

    name: WireFormat

    def read(self, body: Body) -> Asked:
        """What routing needs.

        Raises:
            BadRequest: a field is missing or has the wrong type.
        """
        ...

    def to_chat(self, body: Body) -> Body:
        """A request of this format as a chat request."""
        ...

    def from_chat(self, chat: Body) -> Body:
        """A chat request as one of this format.

        Raises:
            Untranslatable: the format has no place for something that the request needs.
        """
        ...

    def answer_to_chat(self, answer: Body, *, now: int = 0) -> Body:
        """An answer of this format as a chat completion; ``now`` is its Unix time where it has none.

        Raises:
            BadAnswer: it is not an answer of this format.
        """
        ...

    def answer_from_chat(self, chat: Body, model_name: str, asked: Asked | None = None) -> Body:
        """A chat completion as an answer of this format to what was asked, by the model of that name."""
        ...

    def decoder(self, *, now: int = 0) -> Decoder:
        """For one upstream stream."""
        ...

    def encoder(self, model_name: str, asked: Asked, input_tokens: int = 0) -> Encoder:
        """For one client's stream; ``input_tokens`` is our count of what was asked, where there is one."""
        ...

    def usage(self, answer: Body) -> TokenUsage | None:
        """The tokens of an answer, where it says them."""
        ...

    def finish(self, answer: Body) -> str | None:
        """Why the answer ended, in chat's words.

        Raises:
            BadAnswer: it is not an answer of this format.
        """
        ...

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """The vendor's error shape, with a stable ``code``."""
        ...
