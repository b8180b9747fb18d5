"""What Anthropic's models refuse, by the families that their names tell. Of other models nothing is known."""

from __future__ import annotations

import re
from typing import Any

from equipoise.wire import Body
from equipoise.wire.history import GO_ON, told_by_the_user
from equipoise.wire.messages import still_shown

# Opus from 4.7, Sonnet from 5, Haiku from 5 and all that came later: they sample by themselves, and think as much as
# they find right.
_BY_ITSELF = re.compile(r"claude-(opus-4-[7-9]|[a-z]+-([5-9]|preview))(?!\d)")
# They find out how much to think, if they are allowed to, and go on from no answer that was begun for them.
_ADAPTS = re.compile(r"claude-((opus|sonnet)-4-[6-9]|[a-z]+-([5-9]|preview))(?!\d)")
# They are told by a system prompt amid the conversation, too. Claude Code has them so for models that it does not know.
_TOLD_AMID = re.compile(r"claude-(opus-4-[89]|[a-z]+-[5-9])(?!\d)")
_TAKES_EFFORT = re.compile(r"claude-opus-4-5")
# They cannot do without thinking; those of the second can before their first call.
_ALWAYS_THINKS = re.compile(r"claude-(opus-(5-[5-9]|[6-9])|(fable|mythos)-([5-9]|preview))(?!\d)")
_NOT_AT_FIRST = re.compile(r"claude-sonnet-(5-[5-9]|[6-9])(?!\d)")
_NO_THINKING = ("disabled", "between_tools")
# They cannot be made to call a tool, and refuse thinking before which anything was changed.
_UNFORCED = re.compile(r"claude-((opus|sonnet)-(5-[5-9]|[6-9])|(fable|mythos)-(5-[1-9]|[6-9]))(?!\d)")
_BINDS = re.compile(rf"{_UNFORCED.pattern}|claude-haiku-(5-[5-9]|[6-9])(?!\d)")
_CLAUDE = re.compile(r"claude-(instant|[1-3]|opus|sonnet|haiku)")
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
CALL_ONE = "Answer by calling one of the tools, not with text."
CALL_THAT = "Answer by calling the tool '{}', not with text."


def fit(body: Body, *, translated: bool) -> Body:
    """A Messages request without hints that would cost the whole of it; itself where nothing is to be changed.

    ``translated``: how much the model is to think was not said in Anthropic's words.
    """
    name = body["model"]
    if _UNFORCED.search(name):
        body = _unforced(body, in_words=translated)
    if (_ADAPTS.search(name) or _CLAUDE.search(name)) and not _TOLD_AMID.search(name):
        body = _told_by_the_user(body)
    if _ADAPTS.search(name):
        body = _without_thinking(body, name)
        by_itself = _BY_ITSELF.search(name) is not None
        return _answered_by_the_user(_adapting(body) if by_itself else _effort(body, most="max"))
    if _CLAUDE.search(name):
        return _of_old(body, name)
    return _unthinking(_effort(body, most=None)) if translated else body


def binds(name: str) -> bool:
    """Whether the model refuses earlier thinking unless it gets back all that came before it exactly as it was."""
    return _BINDS.search(name) is not None


def _unforced(body: Body, *, in_words: bool) -> Body:
    """Free to choose among its tools.

    ``in_words``: it is told which choice was made for it. Clients that send thinking back must not find that, later, it
    was told something else.
    """
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") not in ("any", "tool"):
        return body
    body = {**body, "tool_choice": {"type": "auto", **{k: v for k, v in choice.items() if k not in ("type", "name")}}}
    if not in_words:
        return body
    said = CALL_THAT.format(choice.get("name")) if choice["type"] == "tool" else CALL_ONE
    system = body.get("system") or []
    before = system if isinstance(system, list) else [{"type": "text", "text": system}]
    return {**body, "system": [*before, {"type": "text", "text": said}]}


def _without_thinking(body: Body, name: str) -> Body:
    """A wish not to think, as the model takes it; one that always thinks is to do so with little effort."""
    if not _is_thinking(body, *_NO_THINKING):
        return body
    if _ALWAYS_THINKS.search(name):
        output = body.get("output_config")
        return {**_unthinking(body), "output_config": {"effort": "low", **(output if isinstance(output, dict) else {})}}
    return {**body, "thinking": {"type": "between_tools" if _NOT_AT_FIRST.search(name) else "disabled"}}


def _unthinking(body: Body) -> Body:
    """Without a word on thinking, where it is one for models that think unless they are told not to."""
    kinds = ("adaptive", *_NO_THINKING)
    return {k: v for k, v in body.items() if k != "thinking"} if _is_thinking(body, *kinds) else body


def _is_thinking(body: Body, *kinds: str) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in kinds


def _adapting(body: Body) -> Body:
    body = {k: v for k, v in body.items() if k not in _SAMPLING}
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled":
        kept = {k: v for k, v in thinking.items() if k not in ("type", "budget_tokens")}
        body["thinking"] = {"type": "adaptive", **kept}
    return body


def _of_old(body: Body, name: str) -> Body:
    return _effort(_unthinking(body), most="high" if _TAKES_EFFORT.search(name) else None)


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
