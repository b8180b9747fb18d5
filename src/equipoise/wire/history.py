"""Makes the earlier turns of a conversation acceptable to the next model, whoever wrote them.

Works on the pivot: chat messages. Every function gives back the very same list where nothing is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from itertools import chain
from operator import is_not
from typing import Any

from equipoise.wire.checks import THOUGHT
from equipoise.wire.format import NATIVE, Body
from equipoise.wire.pivot import rest

SYSTEM_ROLES = frozenset({"system", "developer"})
CARRY_ON = "Go on."
# What is said to a model that would not go on by itself from an answer that was begun for it.
GO_ON = "Go on from exactly where your answer stops. Do not repeat any of it."
# What an assistant message may carry for the model that wrote it: thinking, its signatures and summaries, pictures that
# it made, and what OpenAI has beside the text. Mistral's thinking is a part of the content.
CARRIED = frozenset(
    {
        THOUGHT,
        "thinking_blocks",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "extra_content",
        "annotations",
        "audio",
        "images",
        "refusal",
    }
)
# Without one of these OpenAI demands a content that is not null.
_INSTEAD_OF_CONTENT = frozenset({"tool_calls", "function_call", "refusal", "audio"})
# What clients put into the parts of a text once more, though the whole answer has it.
_OF_THE_ANSWER = _INSTEAD_OF_CONTENT | {"role", "annotations"}
NO_RESULT = "No result: the call was not carried out."
_REMINDER = "<system-reminder>\n{}\n</system-reminder>"
_SEEN = "I have read the results."
# How Anthropic and its like are told of a prompt cache, and how OpenAI is.
MARKS = frozenset({"cache_control", "prompt_cache_breakpoint"})
_NAMES, _RESULTS = frozenset({"name"}), ("tool", "function")
_SPEAKERS, _SPOKEN = ("user", "assistant"), {"role", "content"}
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class IdRule:
    """Which tool-call ids a vendor takes; ``length`` is that of the ones that are made instead of the others."""

    def __init__(self, pattern: str, *, prefix: str = "call_", length: int = 24) -> None:
        self._fits = re.compile(pattern, re.ASCII).fullmatch
        self._prefix, self._length = prefix, length

    def fit(self, call_id: str) -> str:
        """The id itself, or one that always stands for it: prompts stay the same from turn to turn."""
        if self._fits(call_id):
            return call_id
        number = int.from_bytes(blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=32).digest())
        letters = []
        for _ in range(self._length - len(self._prefix)):
            number, digit = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[digit])
        return self._prefix + "".join(letters)


class DistinctIds:
    """Ids of calls as a vendor takes them, no two alike: some servers begin anew with every answer."""

    def __init__(self, rule: IdRule) -> None:
        self._rule = rule
        self._seen: Counter[str] = Counter()
        self._current: dict[str, str] = {}

    def of_call(self, given: str) -> str:
        """That of the next call."""
        self._seen[given] += 1
        self._current[given] = given if self._seen[given] == 1 else f"{given}_{self._seen[given]}"
        return self.of_result(given)

    def of_result(self, given: str) -> str:
        """That of the last call that had this one."""
        return self._rule.fit(self._current.get(given, given))


def settled(messages: list[Body], ids: IdRule) -> list[Body]:
    """Tool calls and results in pairs, with ids that the vendor takes and that are its only ones."""
    if not any(m.get("tool_calls") or m.get("role") == "tool" for m in messages):
        return messages
    return with_ids(distinct(paired(messages)), ids)


def paired(messages: list[Body]) -> list[Body]:
    """Every tool call followed by its result, and no result without its call.

    A call without a result gets one that says so; a result without a call becomes what the user says.
    """
    result: list[Body] = []
    changed, waiting = False, dict[str, None]()
    for message in messages:
        if message.get("role") == "tool":
            call_id = str(message.get("tool_call_id") or "")
            if call_id in waiting:
                del waiting[call_id]
                result.append(message)
                continue
            changed, message = True, _as_said(message)
        if waiting:
            changed = True
            result += _missing(waiting)
        result.append(message)
        waiting = dict.fromkeys(_call_ids(message))
    return [*result, *_missing(waiting)] if changed or waiting else messages


def in_order(messages: list[Body]) -> list[Body]:
    """Paired messages whose results come in the order of their calls, by which some vendors tell them apart."""
    result: list[Body] = []
    order: dict[str, int] = {}
    for message in messages:
        if message.get("role") != "tool":
            order = {call_id: len(result) + i for i, call_id in enumerate(dict.fromkeys(_call_ids(message)), 1)}
            result += [message, *({} for _ in order)]
        else:
            result[order[str(message["tool_call_id"])]] = message
    return result


def distinct(messages: list[Body]) -> list[Body]:
    """No id for two calls: some servers begin anew with every answer, and some vendors refuse that."""
    seen: dict[str, int] = {}
    current: dict[str, str] = {}
    result: list[Body] = []
    for message in messages:
        if message.get("role") != "tool":
            current = {}
            for call_id in _call_ids(message):
                seen[call_id] = seen.get(call_id, 0) + 1
                current[call_id] = call_id if seen[call_id] == 1 else f"{call_id}_{seen[call_id]}"
        result.append(_renamed(message, partial(_known_as, current)))
    return result if any(map(is_not, result, messages)) else messages


def with_ids(messages: list[Body], ids: IdRule) -> list[Body]:
    """Tool-call ids that the vendor takes, the same in call and result."""
    result = [_renamed(m, ids.fit) for m in messages]
    return result if any(map(is_not, result, messages)) else messages


def without(messages: list[Body], fields: frozenset[str]) -> list[Body]:
    """Messages and tool calls without some fields of theirs, and answers without those that say nothing.

    Vendors refuse of each other, and of themselves, what they put into every answer: ``tool_calls: []``, numbers of
    calls. Of a refusal that is left out the words stay.
    """
    result = [_without(m, fields) for m in messages]
    return result if any(map(is_not, result, messages)) else messages


def unnoted(messages: list[Body]) -> list[Body]:
    """Messages without what a client notes in them for itself, which vendors refuse.

    Copilot sends its notes, whose names begin with underscores, where it resumes a session.
    """
    result = [rest(m, notes) if (notes := {key for key in m if key.startswith("_")}) else m for m in messages]
    return result if any(map(is_not, result, messages)) else messages


def bridged(messages: list[Body]) -> list[Body]:
    """With a word of the assistant wherever the user speaks right after the results of tools."""
    result: list[Body] = []
    for message in messages:
        if message.get("role") == "user" and result and result[-1].get("role") == "tool":
            result.append({"role": "assistant", "content": _SEEN})
        result.append(message)
    return result if len(result) > len(messages) else messages


def in_turns(messages: list[Body]) -> list[Body]:
    """What the user says at once, and what the model does, as one message each, for models that demand turns."""
    turns: list[list[Body]] = []
    for message in messages:
        speaker = _speaker(message)
        if turns and speaker and speaker == _speaker(turns[-1][0]):
            turns[-1].append(message)
        else:
            turns.append([message])
    if len(turns) == len(messages):
        return messages
    return [turn[0] if len(turn) == 1 else _together(turn) for turn in turns]


def _speaker(message: Body) -> Any:
    """Who says a message; None for one that is more than what somebody says."""
    return message["role"] if message.keys() == _SPOKEN and message["role"] in _SPEAKERS else None


def _together(turn: list[Body]) -> Body:
    said = [m["content"] for m in turn if m["content"]]
    if all(isinstance(content, str) for content in said):
        return {**turn[0], "content": "\n\n".join(said)}
    parts = [c if isinstance(c, list) else [{"type": "text", "text": c}] for c in said]
    return {**turn[0], "content": list(chain.from_iterable(parts))}


def unmarked(holders: list[Body], marks: frozenset[str]) -> list[Body]:
    """Messages, or tools, without marks of a prompt cache that the vendor does not know."""
    result = [_unmarked(h, marks) for h in holders]
    return result if any(map(is_not, result, holders)) else holders


def _unmarked(holder: Body, marks: frozenset[str]) -> Body:
    holder = _with_each(holder, "content", partial(_unmarked_part, marks=marks))
    return holder if marks.isdisjoint(holder) else rest(holder, marks)


def _unmarked_part(part: Any, marks: frozenset[str]) -> Any:
    return part if not isinstance(part, dict) or marks.isdisjoint(part) else rest(part, marks)


def _with_each(holder: Body, field: str, plain: Callable[[Any], Any]) -> Body:
    """With every part of a field made plain; the very same where all are."""
    parts = holder.get(field)
    if not isinstance(parts, list):
        return holder
    made = [plain(p) for p in parts]
    return {**holder, field: made} if any(map(is_not, made, parts)) else holder


def reasoned(messages: list[Body], stub: str) -> list[Body]:
    """Answers with their reasoning, for which ``stub`` stands where it was another model's, or there was none."""
    return [
        {**m, "reasoning_content": stub} if m.get("role") == "assistant" and not m.get("reasoning_content") else m
        for m in messages
    ]


def nameless(messages: list[Body]) -> list[Body]:
    """Messages that do not name who speaks; results of tools go on saying whose they are."""
    result = [rest(m, _NAMES) if "name" in m and m.get("role") not in _RESULTS else m for m in messages]
    return result if any(map(is_not, result, messages)) else messages


def without_developer(messages: list[Body]) -> list[Body]:
    """The role ``developer`` under its older name."""
    if not any(m.get("role") == "developer" for m in messages):
        return messages
    return [{**m, "role": "system"} if m.get("role") == "developer" else m for m in messages]


def begun_by_system(messages: list[Body]) -> list[Body]:
    """System prompts amid a conversation as words of the user, for models that take them at its beginning alone."""
    if not any(m.get("role") in SYSTEM_ROLES for m in messages[1:]):
        return messages
    first = next((i for i, m in enumerate(messages) if m.get("role") not in SYSTEM_ROLES), len(messages))
    return [*messages[:first], *told_by_the_user(messages[first:])]


def told_by_the_user(messages: list[Body]) -> list[Body]:
    """System prompts as the user says them, marked as Claude Code marks those that it says so.

    One that holds something else than texts stays what it is: it says what the user cannot.
    """
    return [told for m in messages for told in ((m,) if m.get("role") not in SYSTEM_ROLES else _reminders(m))]


def _reminders(system: Body) -> list[Body]:
    content = system.get("content")
    if isinstance(content, list):
        if any(not isinstance(p, dict) or p.get("type") != "text" for p in content):
            return [system]
        content = [{**p, "text": _REMINDER.format(p.get("text"))} for p in content]
    elif content:
        content = _REMINDER.format(content)
    return [{"role": "user", "content": content}] if content else []


def _without(message: Body, fields: frozenset[str]) -> Body:
    if message.get("role") != "assistant":
        return message
    if THOUGHT in fields:
        message = _unthought(message)
    kept = {k: v for k, v in message.items() if k == "content" or not (k in fields or v is None or v == [])}
    if len(kept) < len(message):
        refusal = message.get("refusal")
        if refusal and "refusal" not in kept and not kept.get("content"):
            kept["content"] = refusal
        message = kept
    if message.get("content") is None and kept.keys().isdisjoint(_INSTEAD_OF_CONTENT):
        message = {**message, "content": ""}
    message = _with_each(message, "content", _plain_text)
    return _with_each(message, "tool_calls", partial(_plain_call, fields=fields | {"index"}))


def _unthought(message: Body) -> Body:
    """The message without the parts that are reasoning; texts that are left are one, which more servers read."""
    content = message.get("content")
    if not isinstance(content, list) or not any(isinstance(p, dict) and p.get("type") == THOUGHT for p in content):
        return message
    parts = [p for p in content if not (isinstance(p, dict) and p.get("type") == THOUGHT)]
    if all(isinstance(p, dict) and p.get("type") == "text" for p in parts):
        return {**message, "content": "".join(str(p.get("text") or "") for p in parts) or None}
    return {**message, "content": parts}


def _plain_text(part: Any) -> Any:
    if not isinstance(part, dict) or part.get("type") != "text":
        return part  # such as a refusal, which says so under that name
    return part if _OF_THE_ANSWER.isdisjoint(part) else rest(part, _OF_THE_ANSWER)


def _plain_call(call: Any, fields: frozenset[str]) -> Any:
    if not isinstance(call, dict):
        return call
    function = call.get("function")
    if isinstance(function, dict) and function.get("arguments") == "":
        call = {**call, "function": {**function, "arguments": "{}"}}  # which servers parse when it comes back
    return call if fields.isdisjoint(call) else rest(call, fields)


def _known_as(names: dict[str, str], call_id: str) -> str:
    return names.get(call_id, call_id)


def _renamed(message: Body, rename: Callable[[str], str]) -> Body:
    call_id = message.get("tool_call_id")
    if message.get("role") == "tool" and isinstance(call_id, str):
        return message if rename(call_id) == call_id else {**message, "tool_call_id": rename(call_id)}
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or all(rename(i) == i for i in _call_ids(message)):
        return message
    renamed = [{**c, "id": rename(c["id"])} if isinstance(c.get("id"), str) else c for c in calls]
    # What another format kept of this message as it was has the old ids.
    return {**rest(message, {NATIVE}), "tool_calls": renamed}


def _call_ids(message: Body) -> list[str]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return []
    return [c["id"] for c in calls if isinstance(c, dict) and isinstance(c.get("id"), str)]


def _missing(call_ids: Iterable[str]) -> list[Body]:
    return [{"role": "tool", "tool_call_id": i, "content": NO_RESULT} for i in call_ids]


def _as_said(result: Body) -> Body:
    content = result.get("content")
    note = {"type": "text", "text": "Result of an earlier tool call:"}
    parts = content if isinstance(content, list) else [{"type": "text", "text": str(content or "")}]
    return {"role": "user", "content": [note, *parts]}
