"""What can be routed: a prompt of some text and bounded length, under limits that mean something."""

from __future__ import annotations

from typing import get_args

import numpy as np

from equipoise.errors import InputError, UnknownName
from equipoise.types import Request, Requirement, Urgency

MOST_CHARACTERS = 1_000_000
_REQUIREMENTS, _URGENCIES = get_args(Requirement), get_args(Urgency)


def check_prompt(text: str) -> None:
    """Refuse what cannot be routed.

    Raises:
        InputError: the prompt is empty or longer than a million characters.
    """
    if not text.strip():
        raise InputError("the prompt is empty; give some text to route")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the prompt has more than {MOST_CHARACTERS} characters; shorten it")


def check_request(request: Request) -> None:
    """Refuse a prompt that cannot be routed, and limits that mean nothing.

    Raises:
        InputError: the prompt is empty or too long, or a limit is negative or not a number.
        UnknownName: there is no such quality requirement or urgency.
    """
    if not isinstance(request, Request):
        raise InputError(f"a prompt is a text or a Request, not {type(request).__name__}; give the text to route")
    check_prompt(request.text)
    limits = request.constraints
    if not isinstance(limits.capabilities, (frozenset, set)):
        raise InputError(f"capabilities is {limits.capabilities!r}; give a set, such as {{'tools'}}")
    for said, known in ((request.quality_requirement, _REQUIREMENTS), (request.urgency, _URGENCIES)):
        if said is not None and said not in known:
            raise UnknownName("urgency" if known is _URGENCIES else "quality requirement", said, known)
    for name in ("context_tokens", "max_output_tokens"):
        if (getattr(request, name) or 0) < 0:
            raise InputError(f"{name} is {getattr(request, name)!r}; give a number from 0 up")
    for name, most in (("max_cost_usd", np.inf), ("max_latency_s", np.inf), ("min_quality", 1.0)):
        value = getattr(limits, name)
        if value is not None and not 0.0 <= value <= most:
            span = "a quality in [0, 1]" if name == "min_quality" else "a number from 0 up"
            raise InputError(f"{name} is {value!r}; give {span}")
