"""Cascades played on answers that are already there: the same steps as live, with the bill of every call."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from equipoise.cascades.continuation import Continuation
from equipoise.cascades.pool import Seen, View, after, asked, columns
from equipoise.cascades.scorer import Standing
from equipoise.tables.answers import Answers
from equipoise.types import Bools, Floats, Ints

STOP = -1


class Move(NamedTuple):
    """What to do next on n prompts.

    Attributes:
        ask: column of the model to ask, or ``STOP``.
        samples: answers to ask it for at once.
        best: which of the seen answers to return, where stopped.
        score: of that answer, in [0, 1].
    """

    ask: Ints
    samples: int
    best: Ints
    score: Floats


class Cascade(Protocol):
    """Decides after every answer whether to ask again. Bound to a view of n prompts; pure.

    ``checks``: whether it reads checks that cost a call of their own.
    """

    checks: bool

    def move(self, seen: Seen, rows: Ints, point: int) -> Move:
        """The next move on the given prompts, all of which have seen the same draws, at one operating point."""
        ...


class Played(NamedTuple):
    """What a cascade came to on n prompts.

    Attributes:
        model: column of the model whose answer was returned.
        cost_usd: of every call, the returned answer's among them.
        latency_s: step after step; the answers of one step are drawn at once.
        calls: answers that were paid for.
    """

    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    model: Ints
    calls: Ints

    def prompts(self, part: slice) -> Played:
        """Some of the prompts, which are the last axis."""
        return Played._make(values[..., part] for values in self)


def play(cascade: Cascade, point: int, answers: Answers) -> Played:
    """Play one operating point of a cascade on the prompts that it is bound to."""
    n = len(answers)
    usd = answers.cost_usd + answers.check_usd if cascade.checks else answers.cost_usd
    out = Played(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))
    front: dict[Seen, Ints] = {(): np.arange(n)}
    while front:
        grown: dict[Seen, list[Ints]] = {}
        for seen, rows in front.items():
            move = cascade.move(seen, rows, point)
            _settle(out, answers, seen, move, rows)
            for model in np.unique(move.ask[move.ask != STOP]):
                asking = rows[move.ask == model]
                first = asked(seen, int(model))
                draws = (asking[:, None], int(model), np.arange(first, first + move.samples)[None])
                out.cost_usd[asking] += usd[draws].sum(axis=1)
                out.latency_s[asking] += answers.latency_s[draws].max(axis=1)
                out.calls[asking] += move.samples
                grown.setdefault(after(seen, int(model), move.samples), []).append(asking)
        front = {seen: np.concatenate(parts) for seen, parts in grown.items()}
    return out


def _settle(out: Played, answers: Answers, seen: Seen, move: Move, rows: Ints) -> None:
    stopped = move.ask == STOP
    if not stopped.any():
        return
    models, draws = columns(seen)
    where, best = rows[stopped], move.best[stopped]
    out.quality[where] = answers.quality[where, models[best], draws[best]]
    out.model[where] = models[best]


class Routed:
    """Cascade routing on n prompts: one operating point per weight of cost."""

    checks = False

    def __init__(self, learned: Continuation, view: View) -> None:
        self._learned, self._view = learned, view
        self._known: dict[Seen, _Outlook] = {}

    def move(self, seen: Seen, rows: Ints, point: int) -> Move:
        """Stop, or ask the model whose further answer is worth most."""
        found = self._outlook(seen)
        worth = self.worth(seen, rows, point)
        ask = np.array([STOP, *found.models])[worth.argmax(axis=1)]
        if found.now is None:
            return Move(ask, 1, np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows)))
        return Move(ask, 1, found.now.best[rows], found.stopping[rows])

    def worth(self, seen: Seen, rows: Ints, point: int, allowed: Bools | None = None) -> Floats:
        """Utility of stopping and of asking every model that may be asked, (n, 1 + k); the plain move has a margin.

        Before the first answer that is to ask the best of the models ``allowed``, (n, m); None allows all.
        """
        found, weight = self._outlook(seen), self._learned.weights[point]
        worth = np.column_stack([found.stopping, found.value[..., point] - weight * found.usd])[rows]
        plain = np.zeros(len(rows), dtype=np.int64)
        if found.now is None:
            expected = self._view.prior - weight * self._view.cost_usd
            expected = expected if allowed is None else np.where(allowed, expected, -np.inf)
            plain = 1 + expected[rows][:, found.models].argmax(axis=1)
        worth[np.arange(len(rows)), plain] += self._learned.margin
        return worth

    def _outlook(self, seen: Seen) -> _Outlook:
        if seen not in self._known:
            view, learned = self._view, self._learned
            n, models = len(view.prior), learned.reach.open(view, seen)
            now = learned.scorer.standing(view, seen) if seen else None
            value = [learned.going_on(view, seen, now, j) for j in models]
            self._known[seen] = _Outlook(
                now=now,
                stopping=np.full(n, -np.inf) if now is None else learned.stopping(view, seen, now),
                models=models,
                value=np.stack(value, axis=1) if models else np.empty((n, 0, len(learned.weights))),
                usd=np.stack([view.next_usd(seen, j) for j in models], axis=1) if models else np.empty((n, 0)),
            )
        return self._known[seen]


class _Outlook(NamedTuple):
    """Stopping and going on from one state: (n,), (n, k, w) and (n, k)."""

    now: Standing | None
    stopping: Floats
    models: list[int]
    value: Floats
    usd: Floats
