"""How much a model is to think before it answers. Every vendor has its own field for it."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.wire.format import NATIVE, Body

# What is common to all: OpenAI's and Anthropic's newer words stand for the nearest of the older ones.
_WORDS: Mapping[str, str] = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
# The thinking tokens that a word stands for, by the table with which Google reads OpenAI's.
BUDGETS: Mapping[str, int] = {"low": 1024, "medium": 8192, "high": 24576}


def effort_of(chat: Body) -> str | None:
    """``none``, ``low``, ``medium`` or ``high``, in whichever format it was asked for; None where it was not."""
    every = chat.get(NATIVE)
    every = every if isinstance(every, dict) else {}
    messages, responses = _object(every, "messages"), _object(every, "responses")
    said = (
        chat.get("reasoning_effort")
        or _object(responses, "reasoning").get("effort")
        or _object(messages, "output_config").get("effort")
        or _of_budget(_object(messages, "thinking"))
    )
    return _WORDS.get(said) if isinstance(said, str) else None


def _of_budget(thinking: Body) -> str | None:
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or not isinstance(budget, int):
        return None
    return next((word for word in ("high", "medium") if budget >= BUDGETS[word]), "low")


def _object(holder: Body, key: str) -> Body:
    found = holder.get(key)
    return found if isinstance(found, dict) else {}
