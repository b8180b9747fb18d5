"""Checks that ask a model about an answer: self-verification, and a judge of another model."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from equipoise.cascades.board import Given
from equipoise.cascades.live import Check, Checked

# Asks a model something, for so many replies.
Ask = Callable[[str, str, int], Awaitable[Sequence[Given]]]

QUESTION = (
    "Question:\n{question}\n\nProposed answer:\n{answer}\n\n"
    "Is the proposed answer correct? Reply with one word, yes or no."
)
_YES = re.compile(r"\W*(yes|true|correct)\b", re.IGNORECASE)
_NO = re.compile(r"\W*(no|false|incorrect|wrong)\b", re.IGNORECASE)


def verification(ask: Ask, question: str, *, samples: int = 3, judge: str | None = None) -> Check:
    """A check that asks whether an answer is right, and takes the share of replies that say yes.

    Args:
        question: what was asked in the first place.
        samples: replies; the more, the finer the score.
        judge: the model that is asked; the one that gave the answer if None (self-verification, as in AutoMix).

    A reply that says neither counts as half a yes; no reply at all is no trust.
    """

    async def check(answer: Given) -> Checked:
        text = QUESTION.format(question=question, answer=answer.text)
        replies = await ask(judge or answer.model, text, samples)
        said = [1.0 if _YES.match(r.text) else 0.0 if _NO.match(r.text) else 0.5 for r in replies]
        return Checked(sum(said) / len(said) if said else 0.0, sum(r.cost_usd for r in replies))

    return check
