"""What is known of a conversation from its earlier turns: which model answered it, and what that model still holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Literal

from equipoise.cascades.best_of import best_of_steps
from equipoise.execution import Hit, Running, Sessions, session_key
from equipoise.execution.affinity import held_tokens
from equipoise.gateway.climbing import Climbed
from equipoise.gateway.serving import Route, Target
from equipoise.gateway.steering import Steering
from equipoise.traffic import TokenUsage
from equipoise.types import Candidate, Decision, Plan, Price, Warm
from equipoise.wire import Asked

Affinity = Literal["economic", "sticky", "off"]


class Conversation:
    """One conversation of a tenant with a route or model.

    Args:
        names: of all routes and models, any of which may have answered in between.
        sealed: what a model thought is sealed, and opened by nobody but the deployment that it was thought at.

    Attributes:
        warm: the model that holds the conversation's beginning in its prompt cache, where that is to count.
        deployment: where that prompt cache is.
        answered_by: the model that answered the turn before, whoever was asked for it.
        answered_at: the deployment that did.
        mixed: whether the turns before are of several models.
    """

    __slots__ = (
        "answered_at", "answered_by", "deployment", "mixed", "warm",
        "_affinity", "_answers", "_key", "_latest", "_sealed", "_sessions",
    )  # fmt: skip

    def __init__(
        self,
        sessions: Sessions,
        tenant: str,
        target: Target,
        asked: Asked,
        said: Steering,
        names: Iterable[str],
        *,
        sealed: bool,
    ) -> None:
        self._sessions, self._answers, self._sealed = sessions, asked.answers, sealed
        self._affinity: Affinity = target.settings.affinity if isinstance(target, Route) else "economic"
        self._key = session_key(tenant, target.name, session=said.session, affinity=asked.affinity)
        last = sessions.recall(self._key)
        held = None if self._affinity == "off" else last
        self.warm = None if held is None else held.warm
        self.deployment = None if held is None else held.deployment
        turns = [] if last is None else [last]
        # Others are looked for only where answers came that were not asked of this one: conversations may begin alike.
        if asked.answers > (0 if last is None else last.answers + 1):
            keys = (session_key(tenant, n, session=said.session, affinity=asked.affinity) for n in names)
            others = [turn for key in keys if (turn := sessions.recall(key)) is not None]
            newest = max(others, key=attrgetter("at"), default=None)
            turns += [newest] if newest is not None and (last is None or newest.at > last.at) else []
        self._latest = turns[-1] if turns else None
        going_on = bool(asked.answers) or said.session is not None
        before = self._latest if going_on else None
        self.answered_by = None if before is None else before.model
        self.answered_at = None if before is None else before.deployment
        self.mixed = going_on and (any(t.mixed for t in turns) or len({t.model for t in turns}) > 1)

    def kept(self, decision: Decision) -> Decision:
        """The decision, or where the route is sticky, one for the model that answered before if it can go on."""
        model, plan = self.answered_by, decision.plan
        if self._affinity != "sticky" or model is None:
            return decision
        asked = tuple(dict.fromkeys(s.model for s in plan.steps)) or (plan.model,)
        if not any(c.model == model and c.refused is None for c in decision.candidates):
            return decision
        candidates = _staying(decision.candidates, model)
        if asked == (model,):
            return replace(decision, candidates=candidates)
        rest = (*asked, *plan.fallback)
        return replace(
            decision,
            plan=Plan(model=model, fallback=tuple(name for name in dict.fromkeys(rest) if name != model)),
            candidates=candidates,
            method=decision.method + "_sticky",
            reasons=(f"the conversation stays with {model}", *decision.reasons),
        )

    def answered(self, running: Running | Hit | Climbed, target: Target) -> None:
        """A turn was answered."""
        if running.status != "ok":
            return
        usage = running.usage
        if isinstance(running, Hit):
            # Its vendor was asked for nothing now: what that holds of this conversation stays as it was.
            latest = self._latest
            if latest is not None and (latest.model, latest.deployment) == (running.model, running.deployment):
                return
            usage = TokenUsage()
        moved = self._sealed and self.answered_at not in (None, running.deployment)
        mixed = self.mixed or moved or self.answered_by not in (None, running.model)
        held = _held(running, usage, {model.name: model.price for model in target.plain.models})
        self._sessions.remember(self._key, running.deployment, held, mixed=mixed, answers=self._answers)


def _held(answer: Running | Hit | Climbed, usage: TokenUsage, prices: Mapping[str, Price | None]) -> Warm:
    """What the model holds of the turn that it answered, and models whose answers were not returned."""
    beside = answer.beside if isinstance(answer, Climbed) else {}
    held = [Warm(name, held_tokens(read, prices.get(name))) for name, read in beside.items()]
    return Warm(answer.model, held_tokens(usage, prices.get(answer.model)), tuple(one for one in held if one.tokens))


def _staying(candidates: Sequence[Candidate], model: str) -> tuple[Candidate, ...]:
    """With the chances there were: whatever was drawn, the model answers, several times where that was drawn."""
    again = {c.model: c.probability for c in candidates if any(s.model == model for s in best_of_steps(c.model))}
    chances = {**again, model: 1.0 - sum(again.values())}
    return tuple(replace(c, probability=chances.get(c.model, 0.0)) for c in candidates)
