"""What Anthropic's models refuse, by the families that their names tell. Of other models nothing is known."""

from __future__ import annotations

import re
from typing import Any

from equipoise.wire import Body
from equipoise.wire.history import told_by_the_user
from equipoise.wire.messages import still_shown

# Opus from 4.7, Sonnet from 5, Haiku from 5 and all that came later: they sample by themselves, and think as much as
# they find right.
_BY_ITSELF = re.compile(r"claude-(opus-4-[7-9]|[a-z]+-([5-9]|preview))(?!\d)")
# They find out how much to think, if they are allowed to, and go on from no answer that was begun for them.
_ADAPTS = re.compile(r"claude-((opus|sonnet)-4-[6-9]|[a-z]+-([5-9]|preview))(?!\d)")
# They are told by a system prompt amid the conversation, too. Claude Code has them so for models that it does not know.
_TOLD_AMID = re.compile(r"claude-(opus-4-[89]|[a-z]+-[5-9])(?!\d)")
_TAKES_EFFORT = re.compile(r"claude-opus-4-5")
_CLAUDE = re.compile(r"claude-(instant|[1-3]|opus|sonnet|haiku)")
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
GO_ON = "Go on from exactly where your answer stops. Do not repeat any of it."


def fit(body: Body, *, translated: bool) -> Body:
    """A Messages request without hints that would cost the whole of it; itself where nothing is to be changed.

    ``translated``: how much the model is to think was not said in Anthropic's words.
    """
    name = body["model"]
    if (_ADAPTS.search(name) or _CLAUDE.search(name)) and not _TOLD_AMID.search(name):
        body = _told_by_the_user(body)
    if _ADAPTS.search(name):
        by_itself = _BY_ITSELF.search(name) is not None
        return _answered_by_the_user(_adapting(body) if by_itself else _effort(body, most="max"))
    if _CLAUDE.search(name):
        return _of_old(body, name)
    return _effort(body, most=None) if translated else body


def _adapting(body: Body) -> Body:
    body = {k: v for k, v in body.items() if k not in _SAMPLING}
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled":
        kept = {k: v for k, v in thinking.items() if k not in ("type", "budget_tokens")}
        body["thinking"] = {"type": "adaptive", **kept}
    return body


def _of_old(body: Body, name: str) -> Body:
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "adaptive":
        body = {k: v for k, v in body.items() if k != "thinking"}
    return _effort(body, most="high" if _TAKES_EFFORT.search(name) else None)


def _effort(body: Body, *, most: str | None) -> Body:
    """With no more effort than the model knows a word for; ``most`` is None where it knows none."""
    output = body.get("output_config")
    effort = output.get("effort") if isinstance(output, dict) else None
    if not isinstance(output, dict) or effort is None or (most and effort not in ("xhigh", "max")) or effort == most:
        return body
    kept = {k: v for k, v in output.items() if k != "effort"} | ({"effort": "high"} if most else {})
    body = {k: v for k, v in body.items() if k != "output_config"}
    return {**body, "output_config": kept} if kept else body


def _told_by_the_user(body: Body) -> Body:
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return body
    told = told_by_the_user(still_shown(messages))
    return body if told == messages else {**body, "messages": told}


def _answered_by_the_user(body: Body) -> Body:
    """The begun answer of a model that refuses to go on from it is one that the user asks it to go on from."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(messages, list) or not isinstance(last, dict) or last.get("role") != "assistant":
        return body
    # One that ends with a tool of the vendor's own is not begun but paused.
    if not _all_text(last.get("content")):
        return body
    return {**body, "messages": [*messages, {"role": "user", "content": GO_ON}]}


def _all_text(content: Any) -> bool:
    if isinstance(content, list):
        return all(isinstance(block, dict) and block.get("type") == "text" for block in content)
    return isinstance(content, str)
