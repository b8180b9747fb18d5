"""A Responses request that other models had a hand in, made acceptable to the next one."""

from __future__ import annotations

from typing import Any

from equipoise.wire.format import Body
from equipoise.wire.history import DistinctIds
from equipoise.wire.responses.answer import made_here
from equipoise.wire.responses.request import IDS

# By their ids, OpenAI knows which reasoning came before these, and refuses them without it.
_TIED = frozenset({"message", "function_call", "custom_tool_call"})


def settled(body: Body, *, mixed: bool) -> Body:
    """Without reasoning that the next model cannot decrypt, and with ids that OpenAI takes.

    ``mixed``: other models answered before. The body itself where nothing is wrong.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return body
    mixed = mixed or (body.get("store") is False and any(map(_forgotten, items)))
    ids = DistinctIds(IDS)
    cleaned = [_item(i, ids, mixed) for i in items if not _unusable(i, mixed)]
    if len(cleaned) == len(items) and all(new is old for new, old in zip(cleaned, items, strict=True)):
        return body
    return {**body, "input": cleaned}


def _forgotten(item: Any) -> bool:
    """Whether this is reasoning of which nothing is left but its id: open models have it in plain words."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    return not (item.get("encrypted_content") or item.get("content"))


def _unusable(item: Any, mixed: bool) -> bool:
    kind = item.get("type") if isinstance(item, dict) else None
    return (kind == "reasoning" and (mixed or made_here(item))) or (kind == "image_generation_call" and made_here(item))


def _item(item: Any, ids: DistinctIds, mixed: bool) -> Any:
    if not isinstance(item, dict):
        return item
    if made_here(item) or (mixed and "id" in item and item.get("type") in _TIED):
        item = {k: v for k, v in item.items() if k != "id"}
    given = item.get("call_id")
    if not isinstance(given, str):
        return item
    fitting = ids.of_result(given) if str(item.get("type")).endswith("_output") else ids.of_call(given)
    return item if fitting == given else {**item, "call_id": fitting}
