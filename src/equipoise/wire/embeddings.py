"""OpenAI embeddings: read for routing and passed through; nothing is translated into them."""

from __future__ import annotations

from typing import Any

from equipoise.traffic import TokenUsage
from equipoise.types import WireFormat
from equipoise.wire.chat import openai_error
from equipoise.wire.errors import BadAnswer, Untranslatable
from equipoise.wire.format import Asked, Body, Decoder, Encoder
from equipoise.wire.reading import Reading, bounded, maybe_text, text_of, wrong
from equipoise.wire.usage import count, is_count

_TOKENS = "a text or a list of texts (or of token numbers)"


class Embeddings:
    """The format ``embeddings``."""

    name: WireFormat = "embeddings"

    def read(self, body: Body) -> Asked:
        """What routing needs: the first text stands for all; tokens count as what they are, numbers."""
        texts = _texts(body.get("input"))
        reading = Reading("input")
        reading.say("user", texts[0])
        for text in texts[1:]:
            reading.say("other", text)
        return reading.asked(text_of(body, "model"), [], user=maybe_text(body, "user"), max_output_tokens=0)

    def to_chat(self, body: Body) -> Body:
        """Never possible."""
        raise Untranslatable("embeddings have no other format; ask for a model that makes them", param="model")

    def from_chat(self, chat: Body) -> Body:
        """Never possible."""
        raise Untranslatable("this model makes embeddings, not answers", param="model")

    def answer_to_chat(self, answer: Body, *, now: int = 0) -> Body:
        """Never possible."""
        raise BadAnswer("embeddings are not a chat completion")

    def answer_from_chat(self, chat: Body, model_name: str, asked: Asked | None = None) -> Body:
        """Never possible."""
        raise BadAnswer("a chat completion is not embeddings")

    def decoder(self, *, now: int = 0) -> Decoder:
        """Never possible."""
        raise BadAnswer("embeddings are not streamed")

    def encoder(self, model_name: str, asked: Asked, input_tokens: int = 0) -> Encoder:
        """Never possible."""
        raise BadAnswer("embeddings are not streamed")

    def usage(self, answer: Body) -> TokenUsage | None:
        """The tokens that were embedded, where the answer says them."""
        usage = answer.get("usage")
        if not isinstance(usage, dict) or not is_count(usage.get("prompt_tokens")):
            return None
        return TokenUsage(input_tokens=count(usage["prompt_tokens"]))

    def finish(self, answer: Body) -> str | None:
        """Always ``stop``: embeddings are whole or not there."""
        if not isinstance(answer.get("data"), list):
            raise BadAnswer("the answer is not a list of embeddings: it has no data")
        return "stop"

    def error(self, status: int, code: str, message: str, param: str | None = None) -> Body:
        """OpenAI's error shape."""
        return openai_error(status, code, message, param)


def without_vectors(answer: bytes) -> bytes:
    """An answer in JSON whose lists are empty, as far as there are only numbers in them: they take long to parse.

    It may change what stands within a text, too. Nothing that is read here does.
    """
    head, *lists = answer.split(b"[")
    return b"[".join([head, *map(_emptied, lists)])


def _emptied(rest: bytes) -> bytes:
    """What follows the bracket that opens a list, without its numbers, if those are all it holds."""
    end = max(rest.find(b"]"), 0)
    return rest if rest.find(b'"', 0, end) >= 0 or rest.find(b"{", 0, end) >= 0 else rest[end:]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str) and value:
        return [value]
    if not isinstance(value, list) or not value:
        raise wrong("input", _TOKENS, value if value not in ("", []) else None)
    bounded(value, "input")
    if all(isinstance(item, str) for item in value):
        return value
    if all(is_count(item) for item in value):
        return [_words(value)]
    if all(isinstance(item, list) and item and all(is_count(t) for t in item) for item in value):
        return [_words(item) for item in value]
    raise wrong("input", _TOKENS, value)


def _words(tokens: list[int]) -> str:
    """As many words as there are tokens."""
    return " ".join(map(str, tokens))
