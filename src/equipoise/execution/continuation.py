"""An answer that broke off in the middle of a stream: what another model is asked, and when that is possible."""

from __future__ import annotations

from equipoise.execution.reader import Reader
from equipoise.execution.work import Work
from equipoise.wire import FORMATS, BadRequest, Body

# Of servers at home: a second answer would begin at the beginning of what it is held to.
_GRAMMARS = ("grammar", "guided_", "json_schema", "structured_outputs")
# Characters; more than any model writes.
_MOST_CONTINUED = 1 << 20

GO_ON = (
    "Your answer was cut off by a lost connection. Go on from exactly where it stops, in the middle of a word if need "
    "be. Do not repeat any of it, do not start again, and do not mention the interruption."
)


def can_continue(work: Work, reader: Reader) -> bool:
    """Whether another model can go on: the answer is one text so far, whose beginning binds nothing but its rest.

    JSON, tool calls, several choices and log-probabilities cannot be taken over by another model.
    """
    asked = work.asked
    one_text = reader.plain and 0 < sum(map(len, reader.text)) <= _MOST_CONTINUED and asked.n == 1
    return one_text and "json" not in asked.capabilities and not _is_bound(work)


def _is_bound(work: Work) -> bool:
    """Whether more is asked of the answer than that it be text: probabilities, or a grammar."""
    try:
        chat = FORMATS[work.format].to_chat(work.body)
    except BadRequest:
        return True  # nobody else could be asked, either
    form = chat.get("response_format")
    free = form is None or (isinstance(form, dict) and form.get("type") == "text")
    return bool(chat.get("logprobs")) or not free or any(f.startswith(_GRAMMARS) for f in work.body)


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
