"""What the formats that are not the pivot share: they read and write it through functions of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from equipoise.traffic import TokenUsage
from equipoise.wire.errors import BadAnswer, BadRequest
from equipoise.wire.format import Asked, Body, Decoder, Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The functions of a format.

    Attributes:
        to_chat: a request as a chat request.
        from_chat: a chat request as one of this format.
        answer_to_chat: an answer, and the time for one that has none, as a chat completion.
        answer_from_chat: a chat completion, and the name of the model, as an answer.
        decoder: makes the decoder of a stream, given the time.
        encoder: makes the encoder of a stream, given the name of the model.
        usage: the tokens of an answer.
        finish: checks an answer, and says why it ended.
    """

    to_chat: Callable[[Body], Body]
    from_chat: Callable[[Body], Body]
    answer_to_chat: Callable[[Body, int], Body]
    answer_from_chat: Callable[[Body, str], Body]
    decoder: Callable[[int], Decoder]
    encoder: Callable[[str], Encoder]
    usage: Callable[[Body], TokenUsage | None]
    finish: Callable[[Body], str | None]


class Foreign:
    """A format that is translated. What is left to it is to read requests and to tell errors."""

    parts: ClassVar[Parts]

    def to_chat(self, body: Body) -> Body:
        """The chat request that asks for the same."""
        return self.parts.to_chat(body)

    def from_chat(self, chat: Body) -> Body:
        """The request of this format that asks for the same."""
        return self.parts.from_chat(chat)

    def answer_to_chat(self, answer: Body, *, now: int = 0) -> Body:
        """The chat completion that says the same."""
        try:
            return self.parts.answer_to_chat(answer, now)
        except BadRequest as error:
            raise BadAnswer(str(error)) from None

    def answer_from_chat(self, chat: Body, model_name: str, asked: Asked | None = None) -> Body:
        """The answer of this format that says the same."""
        del asked
        return self.parts.answer_from_chat(chat, model_name)

    def decoder(self, *, now: int = 0) -> Decoder:
        """For one upstream stream."""
        return self.parts.decoder(now)

    def encoder(self, model_name: str, asked: Asked, input_tokens: int = 0) -> Encoder:
        """For one client's stream."""
        del asked, input_tokens
        return self.parts.encoder(model_name)

    def usage(self, answer: Body) -> TokenUsage | None:
        """The tokens of an answer, where it says them."""
        return self.parts.usage(answer)

    def finish(self, answer: Body) -> str | None:
        """Why the answer ended, in chat's words."""
        try:
            return self.parts.finish(answer)
        except BadRequest as error:
            raise BadAnswer(str(error)) from None
