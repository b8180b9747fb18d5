"""The row of a prompts file. It lives here since the data sets may not import the collecting layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt with all that is needed to grade a reply to it."""

    prompt_id: str
    prompt: str
    dataset: str
    group: str
    level: int | None
    grader: str | None
    answer: tuple[str, ...]
    tests: str
