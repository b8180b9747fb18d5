"""An answer that broke off in the middle of a stream: what another model is asked, and when that is possible."""

from __future__ import annotations

from equipoise.execution.reader import Reader
from equipoise.execution.work import Work
from equipoise.wire import FORMATS, Body

GO_ON = (
    "Your answer was cut off by a lost connection. Go on from exactly where it stops, in the middle of a word if need "
    "be. Do not repeat any of it, do not start again, and do not mention the interruption."
)


def can_continue(work: Work, reader: Reader) -> bool:
    """Whether another model can go on: the answer is one text so far, whose beginning binds nothing but its rest.

    JSON, tool calls, several choices and log-probabilities cannot be taken over by another model.
    """
    asked = work.asked
    one_text = reader.plain and bool(reader.text) and asked.n == 1
    return one_text and "json" not in asked.capabilities and not work.body.get("logprobs")


def continued(work: Work, text: str, tokens: int) -> Body:
    """A chat request that asks for the rest of an answer of which ``text`` is there."""
    chat = dict(FORMATS[work.format].to_chat(work.body))
    chat["messages"] = [
        *chat["messages"],
        {"role": "assistant", "content": text},
        {"role": "user", "content": GO_ON},
    ]
    for limit in ("max_tokens", "max_completion_tokens"):
        if isinstance(asked := chat.get(limit), int):
            chat[limit] = max(asked - tokens, 1)
    return chat
