"""Reading bodies field by field: the right type, or one clear line that names the field."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import orjson

from equipoise.wire.errors import BadRequest
from equipoise.wire.format import Asked, Body

MOST_CHOICES = 128
MOST_TOOLS = 4096
MOST_ITEMS = 100_000
# No window of a model comes near it; counting more tokens would only take time.
MOST_CONTEXT_CHARACTERS = 8_000_000
# The types of OpenAI's forms of an answer that are JSON.
JSON_FORMS = ("json_object", "json_schema")
_NOTHING: frozenset[str] = frozenset()
_KINDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def wrong(param: str, expected: str, value: Any) -> BadRequest:
    """The error for a field of the wrong type."""
    if value is None:
        return BadRequest(f"'{param}' is missing; give {expected}", param=param, code="missing_field")
    found = next((name for kind, name in _KINDS.items() if isinstance(value, kind)), type(value).__name__)
    return BadRequest(f"'{param}' is {found}; give {expected}", param=param, code="wrong_type")


def text_of(holder: Body, key: str, where: str = "") -> str:
    """A string that has to be there, and not be empty."""
    value = holder.get(key)
    if isinstance(value, str) and value:
        return value
    raise wrong(where + key, "a string that is not empty", value)


def maybe_text(holder: Body, key: str, where: str = "") -> str | None:
    """A string, or None where the field is absent."""
    value = holder.get(key)
    if value is None or isinstance(value, str):
        return value
    raise wrong(where + key, "a string", value)


def maybe_flag(holder: Body, key: str, where: str = "") -> bool:
    """A truth value; absent is false."""
    value = holder.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise wrong(where + key, "true or false", value)


def maybe_count(holder: Body, key: str, most: int = 1 << 31, where: str = "", least: int = 1) -> int | None:
    """A whole number of at least ``least``, or None where the field is absent."""
    value = holder.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if least <= value <= most:
            return value
        raise BadRequest(f"'{where}{key}' is {value}; give {least} to {most}", param=where + key, code="out_of_range")
    raise wrong(where + key, "a whole number", value)


def maybe_object(holder: Body, key: str, where: str = "") -> Body:
    """An object; absent is an empty one."""
    value = holder.get(key)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise wrong(where + key, "an object", value)


def maybe_list(holder: Body, key: str, where: str = "") -> list[Any]:
    """A list; absent is an empty one."""
    value = holder.get(key)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise wrong(where + key, "a list", value)


def some(holder: Body, key: str) -> list[Any]:
    """A list that has to be there, and not be empty."""
    items = maybe_list(holder, key)
    if not items:
        raise BadRequest(f"'{key}' is missing; give at least one", param=key, code="missing_field")
    return items


def bounded(items: list[Any], param: str, most: int = MOST_ITEMS) -> list[Any]:
    """The list, unless it is so long that reading it would hold up other requests."""
    if len(items) > most:
        raise BadRequest(f"'{param}' has {len(items)} entries; give at most {most}", param=param, code="too_many")
    return items


def objects(items: list[Any], where: str) -> Iterator[tuple[str, Body]]:
    """The objects of a list with their paths, such as ``messages[2]``."""
    for i, item in enumerate(bounded(items, where)):
        path = f"{where}[{i}]"
        if not isinstance(item, dict):
            raise wrong(path, "an object", item)
        yield path, item


def tools_of(body: Body) -> list[Any]:
    """The tools of a request: objects, of a bounded number."""
    tools = bounded(maybe_list(body, "tools"), "tools", MOST_TOOLS)
    for path, tool in objects(tools, "tools"):
        maybe_text(tool, "type", f"{path}.")
    return tools


class Reading:
    """Gathers what was said while a format walks its own shape; ``field`` is where it looks.

    Attributes:
        images: how many.
        files: there is something else that is no text: a document, a sound.
        answers: turns that a model had, whether or not it said anything that can be read.
    """

    __slots__ = ("_answering", "_field", "_fresh", "_opening", "_said", "_sent", "answers", "files", "images")

    def __init__(self, field: str = "messages") -> None:
        self._field = field
        self._said: list[tuple[str, list[str]]] = []
        self._fresh = True
        self._opening: int | None = None
        self._sent = 0
        self.images = self.answers = 0
        self.files = self._answering = False

    def turn(self, role: str = "") -> None:
        """A new message begins."""
        self._fresh = True
        answering = role == "assistant"
        if answering and self._opening is None:
            self._opening = len(self._said)
        self.answers += answering and not self._answering
        self._answering = answering

    def say(self, role: str, text: str) -> None:
        """A piece of text; ``role`` is ``system``, ``user`` or anything else. Pieces of a message are one text."""
        if role == "user" and text.startswith("<system-reminder>") and text.rstrip().endswith("</system-reminder>"):
            role = "system"  # what Claude Code and others put beside the question: project notes, skills, the date
        if not self._fresh and self._said[-1][0] == role:
            self._said[-1][1].append(text)
        else:
            self._said.append((role, [text]))
            self._fresh = False

    def sum_up(self, text: str) -> None:
        """A summary that the model is given in place of all that was said before it, but for system prompts."""
        self._sent, self._fresh = len(self._said), True
        self.images, self.files = 0, False
        self.say("other", text)

    def asked(self, model: str, tools: list[Any], *, json: bool = False, **rest: Any) -> Asked:
        """The whole of it. ``json``: the answer is to be JSON.

        Raises:
            BadRequest: nothing was said at all.
        """
        said = [(role, pieces[0] if len(pieces) == 1 else "\n".join(pieces)) for role, pieces in self._said]
        last = self._last(said)
        schemas = _json(tools) if tools else ""
        sent = [(i, text) for i, (role, text) in enumerate(said) if i >= self._sent or role == "system"]
        others = [text for i, text in sent if i != last and text]
        if schemas:
            others.append(schemas)
        return Asked(
            model=model,
            text=said[last][1] if last >= 0 else "(image)" if self.images else "(file)",
            context_text="\n".join(others)[:MOST_CONTEXT_CHARACTERS] if others else "",
            images=self.images,
            affinity=_affinity(said[: self._opening], schemas),
            capabilities=self._needed(tools, json),
            answers=self.answers,
            **rest,
        )

    def _needed(self, tools: list[Any], json: bool) -> frozenset[str]:
        if not (tools or json or self.images):
            return _NOTHING
        return frozenset(name for name, used in (("tools", tools), ("vision", self.images), ("json", json)) if used)

    def _last(self, said: list[tuple[str, str]]) -> int:
        fallback = -1
        for i in range(len(said) - 1, -1, -1):
            role, text = said[i]
            if text and not text.isspace():
                if role == "user":
                    return i
                fallback = max(fallback, i)
        if fallback < 0 and not self.images and not self.files:
            nothing = f"'{self._field}' says nothing; give at least one text"
            raise BadRequest(nothing, param=self._field, code="empty_prompt")
        return fallback


def _affinity(opening: list[tuple[str, str]], schemas: str) -> bytes:
    """What all turns of a conversation have in common: what came before the first answer. Agents tell more later."""
    seed = blake2b(schemas.encode(), digest_size=16)
    for _, text in opening:
        seed.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    return seed.digest()


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise BadRequest("'tools' is nested too deeply", param="tools", code="too_deep") from None


def dumps(body: Body) -> bytes:
    """A body as JSON.

    Raises:
        BadRequest: it is nested too deeply to be written.
    """
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"the body cannot be written as JSON ({error})", code="too_deep") from None
