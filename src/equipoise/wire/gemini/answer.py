"""Gemini answers and streams to chat and back. A stream's events are answers too, each with a piece."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from equipoise.traffic import TokenUsage
from equipoise.wire.chat import FILTERED, first_choice
from equipoise.wire.checks import checked_message
from equipoise.wire.errors import BadAnswer, BadRequest, reads_answers
from equipoise.wire.format import NATIVE, Asked, Body
from equipoise.wire.gemini.request import call_to_chat, picture_to_chat
from equipoise.wire.pivot import arguments_object, chunk_head, native, reasoning_of, rest
from equipoise.wire.reading import dumps, maybe_list, objects
from equipoise.wire.sse import SseEvent, frame
from equipoise.wire.usage import chat_usage, count, is_count, reasoning_tokens, usage_to_chat

MOST_CALLS = 4096
_NAME: Any = "gemini"
_FINISH: Mapping[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
            "MODEL_ARMOR",
            "ESCALATION",
            "PUP_LIMITED_DISABLED",
        ),
        "content_filter",
    ),
}
# The model tried to call a tool and failed: another try may do better.
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    }
)
_REASONS: Mapping[str, str] = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}


def candidates_of(answer: Body) -> list[Body]:
    """The candidates of an answer; one that was blocked stands for a prompt that was.

    Raises:
        BadAnswer: it is not an answer of Gemini's.
    """
    found = answer.get("candidates")
    if isinstance(found, list) and all(isinstance(c, dict) for c in found) and found:
        return found
    if _is_blocked(answer):
        return [{"finishReason": "SAFETY"}]
    raise BadAnswer("the answer is not one of Gemini's: it has no candidates")


def _is_blocked(answer: Body) -> bool:
    feedback = answer.get("promptFeedback")
    return isinstance(feedback, dict) and bool(feedback.get("blockReason"))


def finish_of(candidate: Body, calls: bool) -> str | None:
    """Why a candidate ended, in chat's words."""
    reason = candidate.get("finishReason")
    if not isinstance(reason, str) or reason == "FINISH_REASON_UNSPECIFIED":
        return None
    if reason in _BROKEN:
        raise BadAnswer(f"the model failed to call a tool ({reason})")
    finish = _FINISH.get(reason, "stop")
    return "tool_calls" if calls and finish == "stop" else finish


@reads_answers
def ended(answer: Body) -> str | None:
    """Why the first candidate ended, or one that was filtered, in chat's words.

    Raises:
        BadAnswer: it is not an answer of Gemini's.
    """
    reasons = [finish_of(one, "tool_calls" in message_of(one, "")) for one in candidates_of(answer)]
    return FILTERED if FILTERED in reasons else reasons[0]


def id_of(answer: Body, now: int) -> str:
    """The id of an answer. One that has none gets one of its own, from which those of its calls are made, too."""
    if given := answer.get("responseId"):
        return str(given)
    return f"gemini_{blake2b(dumps(answer) + str(now).encode(), digest_size=12).hexdigest()}"


def message_of(candidate: Body, answer_id: str, calls_before: int = 0) -> Body:
    """What a candidate of an answer says, as a message or a delta."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    message: Body = {}
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, dict):
            raise BadAnswer("the answer is not one of Gemini's: a part is no object")
        if "functionCall" in part:
            calls = message.setdefault("tool_calls", [])
            number = calls_before + len(calls)
            call = call_to_chat(part, f"call_{answer_id}_{number}")
            calls.append({"index": number, **rest(call, frozenset({NATIVE}))})
            if number >= MOST_CALLS:
                raise BadAnswer(f"the answer has more than {MOST_CALLS} tool calls")
        elif picture := picture_to_chat(part):
            message.setdefault("images", []).append(picture)
        elif isinstance(part.get("text"), str):
            field = "reasoning_content" if part.get("thought") else "content"
            message[field] = message.get(field, "") + part["text"]
        if part.get("thoughtSignature") and part.keys().isdisjoint({"functionCall", "inlineData"}):
            message["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return message


def logprobs_of(candidate: Body) -> Body:
    """The log-probabilities of a candidate as the field of a choice; nothing where it has none."""
    found = candidate.get("logprobsResult")
    if not isinstance(found, dict) or not found.get("chosenCandidates"):
        return {}
    chosen = [c for _, c in objects(maybe_list(found, "chosenCandidates"), "chosenCandidates")]
    others = [maybe_list(t, "candidates") for _, t in objects(maybe_list(found, "topCandidates"), "topCandidates")]
    content = []
    for i, token in enumerate(chosen):
        beside = objects(others[i], "candidates") if i < len(others) else ()
        content.append({**_logprob(token), "top_logprobs": [_logprob(c) for _, c in beside]})
    return {"logprobs": {"content": content, "refusal": None}}


def _logprob(said: Body) -> Body:
    token, logprob = str(said.get("token") or ""), said.get("logProbability")
    return {
        "token": token,
        "logprob": logprob if isinstance(logprob, int | float) else 0.0,
        "bytes": list(token.encode()),
    }


def usage_of(answer: Body) -> TokenUsage | None:
    """The tokens of an answer; thoughts are paid for as output."""
    usage = answer.get("usageMetadata")
    if not isinstance(usage, dict) or not is_count(usage.get("promptTokenCount")):
        return None
    return TokenUsage(
        input_tokens=count(usage["promptTokenCount"]) + count(usage.get("toolUsePromptTokenCount")),
        output_tokens=count(usage.get("candidatesTokenCount")) + thought(answer),
        cached_tokens=count(usage.get("cachedContentTokenCount")),
    )


def thought(answer: Body) -> int:
    """The output tokens that went into thoughts."""
    usage = answer.get("usageMetadata")
    return count(usage.get("thoughtsTokenCount")) if isinstance(usage, dict) else 0


@reads_answers
def to_chat(answer: Body, *, now: int = 0) -> Body:
    """The chat completion that says the same."""
    choices = []
    answer_id = id_of(answer, now)
    for i, candidate in enumerate(candidates_of(answer)):
        message = {"role": "assistant", "content": None, **message_of(candidate, answer_id)}
        for call in message.get("tool_calls", ()):
            del call["index"]
        finish = finish_of(candidate, "tool_calls" in message)
        choice = {"index": count(candidate.get("index", i)), "message": message, "finish_reason": finish}
        choices.append({**choice, **logprobs_of(candidate)})
    chat: Body = {
        "id": answer_id,
        "object": "chat.completion",
        "created": now,
        "model": str(answer.get("modelVersion") or ""),
        "choices": choices,
    }
    usage = usage_of(answer)
    return {**chat, "usage": usage_to_chat(usage, reasoning_tokens=thought(answer))} if usage else chat


def from_chat(chat: Body, model_name: str, asked: Asked | None = None) -> Body:
    """The Gemini answer that says the same."""
    del asked
    first_choice(chat)
    candidates = []
    for choice in chat["choices"]:
        message = choice["message"]
        parts = _parts(message) + [_call(c) for c in message.get("tool_calls") or []]
        made = {"content": {"role": "model", "parts": parts}, "index": choice.get("index", 0)}
        candidates.append({**made, "finishReason": _REASONS.get(str(choice.get("finish_reason")), "STOP")})
    answer: Body = {"candidates": candidates, "modelVersion": model_name, "responseId": str(chat.get("id") or "0")}
    usage = chat_usage(chat)
    return answer | ({} if usage is None else {"usageMetadata": usage_from_chat(usage, chat.get("usage"))})


def usage_from_chat(usage: TokenUsage, said: Any) -> Body:
    """Gemini's ``usageMetadata``."""
    thoughts = min(reasoning_tokens(said), usage.output_tokens)
    made = {"promptTokenCount": usage.input_tokens, "candidatesTokenCount": usage.output_tokens - thoughts}
    made["totalTokenCount"] = usage.input_tokens + usage.output_tokens
    extras = {"cachedContentTokenCount": usage.cached_tokens, "thoughtsTokenCount": thoughts}
    return made | {k: v for k, v in extras.items() if v}


def _parts(message: Body) -> list[Body]:
    parts: list[Body] = []
    if reasoning := reasoning_of(message):
        parts.append({"text": reasoning, "thought": True})
    if text := message.get("content") or message.get("refusal"):
        parts.append({"text": text})
    return parts


def _call(call: Body) -> Body:
    function = call.get("function") or {}
    arguments = arguments_object(function.get("arguments"))
    part: Body = {"functionCall": {**native(call, _NAME), "name": function.get("name"), "args": arguments}}
    google = (call.get("extra_content") or {}).get("google") or {}
    return {**part, "thoughtSignature": google["thought_signature"]} if google.get("thought_signature") else part


# ---------------------------------------------------------------- streams


class Decoder:
    """Gemini's events become chunks."""

    def __init__(self, *, now: int = 0) -> None:
        self.complete = self.bound = False
        self._now = now
        self._id = ""
        self._calls: dict[int, int] = {}
        self._started: set[int] = set()
        self._ended: set[int] = set()

    def feed(self, event: SseEvent) -> list[Body]:
        """The chunk of an event."""
        if not event.data:
            return []
        try:
            answer = orjson.loads(event.data)
            return [self._chunk(answer)]
        except (ValueError, KeyError, TypeError, AttributeError, BadRequest):
            raise BadAnswer("an event of the stream is not one of Gemini's") from None

    def _chunk(self, answer: Body) -> Body:
        self._id = self._id or id_of(answer, self._now)
        head = chunk_head(self._id, str(answer.get("modelVersion") or ""), self._now)
        said = answer.get("candidates") or _is_blocked(answer)  # some events tell of the prompt or the usage alone
        choices = [self._choice(i, c) for i, c in enumerate(candidates_of(answer))] if said else []
        usage = usage_of(answer)
        counted = {} if usage is None else {"usage": usage_to_chat(usage, reasoning_tokens=thought(answer))}
        return {**head, "choices": choices, **counted}

    def _choice(self, i: int, candidate: Body) -> Body:
        index = count(candidate.get("index", i))
        before = self._calls.get(index, 0)
        delta = message_of(candidate, self._id, before)
        self._calls[index] = before + len(delta.get("tool_calls", ()))
        if index not in self._started:
            self._started.add(index)
            delta = {"role": "assistant", **delta}
        finish = finish_of(candidate, bool(self._calls[index]))
        if finish is not None:
            self._ended.add(index)
        self.complete = self._started <= self._ended  # of several, one may end while another is being written
        choice = {"index": index, "delta": checked_message(delta), "finish_reason": finish}
        return {**choice, **logprobs_of(candidate)}


class Encoder:
    """Chunks become Gemini's events. Calls go out whole, with the end."""

    def __init__(self, model_name: str, asked: Asked, input_tokens: int = 0) -> None:
        del asked, input_tokens
        self.model, self._id = model_name, "0"
        self._followed = Decoder()
        self._held: dict[tuple[int, int], Body] = {}
        self._finish: dict[int, str] = {}
        self._usage: Body = {}

    def feed(self, chunk: Body) -> list[bytes]:
        """The events of a chunk."""
        if self._id == "0":
            self._id = str(chunk.get("id") or "0")
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk
        candidates = []
        for choice in chunk.get("choices") or ():
            delta, index = choice.get("delta") or {}, choice.get("index", 0)
            for part in delta.get("tool_calls") or ():
                self._hold(index, part)
            if parts := _parts(delta):
                candidates.append({"content": {"role": "model", "parts": parts}, "index": index})
            if choice.get("finish_reason"):
                self._finish[index] = choice["finish_reason"]
        return [self._event(candidates)] if candidates else []

    def follow(self, event: SseEvent) -> None:
        """Takes the name of the answer, its usage, and the calls that are not out."""
        for chunk in self._followed.feed(event):
            self.feed(chunk)

    def end(self, usage: TokenUsage | None = None) -> list[bytes]:
        """The calls, why the answer ended, its usage."""
        counted = usage or chat_usage(self._usage)
        said = {} if counted is None else {"usageMetadata": usage_from_chat(counted, self._usage.get("usage"))}
        candidates = []
        for index in sorted({0, *self._finish, *(i for i, _ in self._held)}):
            parts = [_call(call) for (i, _), call in sorted(self._held.items(), key=lambda held: held[0]) if i == index]
            reason = _REASONS.get(self._finish.get(index, "stop"), "STOP")
            candidates.append({"content": {"role": "model", "parts": parts}, "index": index, "finishReason": reason})
        return [self._event(candidates, said)]

    def fail(self, code: str, message: str) -> list[bytes]:
        """An error event."""
        error = {"code": 500, "message": message, "status": "INTERNAL", "details": [{"reason": code}]}
        return [frame(orjson.dumps({"error": error}))]

    def _hold(self, index: int, part: Body) -> None:
        if len(self._held) >= MOST_CALLS:
            raise BadAnswer(f"the answer has more than {MOST_CALLS} tool calls")
        held = self._held.setdefault((index, part.get("index") or 0), {"function": {"name": None, "arguments": ""}})
        function = part.get("function") or {}
        held |= {k: v for k, v in part.items() if k not in ("function", "index")}
        held["function"]["name"] = function.get("name") or held["function"]["name"]
        held["function"]["arguments"] += function.get("arguments") or ""

    def _event(self, candidates: list[Body], more: Body | None = None) -> bytes:
        head = {"modelVersion": self.model, "responseId": self._id}
        return frame(orjson.dumps({"candidates": candidates, **(more or {}), **head}))
