"""Where one live request stands, in the form in which cascades learn: one prompt, models in the learned order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.pool import Pool, Seen, View, after, asked, columns, pool_of
from equipoise.tables.answers import CHECKS, Answers
from equipoise.types import Candidate, Decision, Floats, Ints

# Answers of one model that a policy which names its steps as it goes may ask for.
MOST_ANSWERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One answer that came back.

    Attributes:
        signals: what came with it, by name (``logprob_mean`` ...).
        kept: whatever the caller wants back with the accepted answer.
    """

    model: str
    text: str
    finish: str = "stop"
    cost_usd: float = 0.0
    latency_s: float = 0.0
    signals: Mapping[str, float] = field(default_factory=dict)
    kept: Any = None


class Board:
    """The answers given so far, and what the decision expected of every model.

    Of the names the first ``width`` are models whose answers are judged; the others are asked only where those fail.
    """

    def __init__(self, names: Sequence[str], width: int, signals: Sequence[str]) -> None:
        self.given: list[Given] = []
        self._columns: list[int] = []
        self._names, self._width, self._signals = list(names), width, tuple(signals)
        self._prior: Floats = np.full((1, len(names)), 0.5)
        self._cost: Floats = np.zeros((1, len(names)))
        self._draws: Ints = np.zeros(len(names), dtype=np.int64)

    @classmethod
    def of(cls, decision: Decision, policy: AnswerPolicy | None) -> Self:
        """The board before the first answer: the policy's models where it judges, else the plan's."""
        plan = decision.plan
        judged = [s.model for s in plan.steps] or [plan.model]
        signals: tuple[str, ...] = ()
        if policy is not None and policy.learned and set(judged) <= set(policy.names):
            judged, signals = list(policy.names), policy.signals
        judged = list(dict.fromkeys(judged))
        names = list(dict.fromkeys((*judged, *plan.fallback)))
        board = cls(names, len(judged), signals)
        for candidate in decision.candidates:
            if candidate.model in names:
                board._expect(candidate)
        return board

    def _expect(self, candidate: Candidate) -> None:
        j = self._names.index(candidate.model)
        self._prior[0, j] = 0.5 if candidate.quality is None else candidate.quality.mean
        self._cost[0, j] = candidate.cost_usd or 0.0
        self._draws[j] = 0 if candidate.refused else MOST_ANSWERS

    def add(self, name: str, answers: Sequence[Given]) -> None:
        """Take what one step brought: answers of the model that was asked, whoever gave them in the end."""
        self.given.extend(answers)
        self._columns.extend([self._names.index(name)] * len(answers))

    def leave_out(self, name: str) -> None:
        """No further calls of a model."""
        self._draws[self._names.index(name)] = 0

    def order(self) -> list[int]:
        """For every draw of ``seen``, in its order, which of the given answers it is."""
        return sorted(range(len(self.given)), key=lambda i: (self._columns[i], i))

    def seen(self) -> Seen:
        """The draws that were seen."""
        seen: Seen = ()
        for column in self._columns:
            seen = after(seen, column)
        return seen

    def view(self) -> View:
        """What is known of the request."""
        return View(self._pool(), self._prior[:, : self._width], self._cost[:, : self._width])

    def dearest_unasked(self) -> str | None:
        """The dearest model that may be asked and was not."""
        seen = self.seen()
        left = [j for j in range(self._width) if self._draws[j] and not asked(seen, j)]
        return self._names[max(left, key=lambda j: float(self._cost[0, j]))] if left else None

    def _pool(self) -> Pool:
        seen = self.seen()
        models, draws = columns(seen)
        given = [self.given[i] for i in self.order()]
        shape = (1, self._width, max(MOST_ANSWERS, len(given)))

        def spread(values: Sequence[Any], empty: Any, kind: Any = float) -> Any:
            out = np.full(shape, empty, dtype=kind)
            out[0, models, draws] = values
            return out

        cost = spread([g.cost_usd for g in given], np.nan)
        signals = {s: spread([g.signals.get(s, np.nan) for g in given], np.nan) for s in (*self._signals, *CHECKS)}
        answers = Answers(
            models=tuple(self._names[: self._width]),
            text=spread([g.text for g in given], "", object),
            finish=spread([g.finish for g in given], "", object),
            quality=spread([0.0] * len(given), np.nan),
            cost_usd=cost,
            latency_s=cost,
            output_tokens=cost,
            check_usd=cost,
            signals={s: signals[s] for s in self._signals},
            checks={s: signals[s] for s in CHECKS},
        )
        return replace(pool_of(answers), draws=self._draws[: self._width])
