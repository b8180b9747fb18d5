"""A Gemini request that other models had a hand in, made acceptable to the next one."""

from __future__ import annotations

from typing import Any

from equipoise.wire.format import Body

# What Google names for calls that another model made, where its own signature is demanded.
FROM_ELSEWHERE = "skip_thought_signature_validator"


def settled(body: Body, *, mixed: bool, signed: bool) -> Body:
    """Without signatures that the next model did not write, and with the mark where it demands one.

    Args:
        mixed: other models answered before, so no signature counts.
        signed: the model refuses calls without a signature.
    """
    contents = body.get("contents")
    if not isinstance(contents, list) or not (mixed or signed):
        return body
    return {**body, "contents": [_content(c, mixed, signed) for c in contents]}


def _content(content: Any, mixed: bool, signed: bool) -> Any:
    if not isinstance(content, dict) or content.get("role") != "model" or not isinstance(content.get("parts"), list):
        return content
    parts = content["parts"]
    if mixed:
        parts = [_unsigned(p) for p in parts]
    # Parallel calls are signed at the first of them only.
    first = next((i for i, p in enumerate(parts) if isinstance(p, dict) and "functionCall" in p), None)
    if signed and first is not None and not parts[first].get("thoughtSignature"):
        parts = [*parts[:first], {**parts[first], "thoughtSignature": FROM_ELSEWHERE}, *parts[first + 1 :]]
    return {**content, "parts": parts}


def _unsigned(part: Any) -> Any:
    return {k: v for k, v in part.items() if k != "thoughtSignature"} if isinstance(part, dict) else part
