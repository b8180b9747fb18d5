"""Names of tools. Anthropic takes longer ones than others, who get them shortened; its clients get them back whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from equipoise.wire.format import Body

NO_NAMES: Mapping[str, str] = MappingProxyType({})
_MOST = 64
_MARK = 8


def fit(name: str) -> str:
    """The name itself, or a shorter one that always stands for it."""
    if len(name) <= _MOST:
        return name
    mark = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_MARK // 2).hexdigest()
    return f"{name[: _MOST - _MARK - 1]}_{mark}"


def long_names(body: Body) -> Mapping[str, str]:
    """The names of a Messages request that are too long for others, by what stands for them there."""
    tools = body.get("tools")
    names = [t.get("name") for t in tools if isinstance(t, dict)] if isinstance(tools, list) else []
    return {fit(name): name for name in names if isinstance(name, str) and len(name) > _MOST}


def restore(calls: Iterable[Any] | None, names: Mapping[str, str]) -> None:
    """Give the tool calls of a chat message or delta, in place, the names that the client knows."""
    for call in calls or ():
        function = call.get("function")
        if isinstance(function, dict) and function.get("name") in names:
            function["name"] = names[function["name"]]
