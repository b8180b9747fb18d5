"""Answers as a cascade looks at them before anyone grades them: who says the same as whom, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from equipoise.cascades.reading import Reading, read_answer, same_answers
from equipoise.tables.answers import Answers
from equipoise.types import Bools, Floats, Ints

KINDS = ("code", "json", "number", "text")
LOOKS = ("unfinished", "refused", "parsed", "log_words", *KINDS)
_WHOLE = ("", "stop", "end_turn", "stop_sequence", "tool_calls")

# The answers that were seen: column of the model and number of the draw, sorted. The same for all prompts of a batch.
Seen = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """n prompts, m models, s draws.

    Attributes:
        said: (n, m, s), equal numbers for draws of one prompt that say the same; -1 where nothing is said.
        looks: (n, m, s, f), columns ``LOOKS`` and then the signals; a signal that was not recorded is NaN.
        paid_usd: (n, m, s), what every draw cost.
        checks: (n, m, s) by name, what checks said that cost a call of their own.
        draws: (m,), how many draws every prompt has of each model.
        signals: names of the last columns.
    """

    said: Ints
    looks: Floats
    paid_usd: Floats
    draws: Ints
    signals: tuple[str, ...] = ()
    checks: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.said)

    def take(self, rows: Ints) -> Pool:
        """The given prompts, in that order."""
        return replace(
            self,
            said=self.said[rows],
            looks=self.looks[rows],
            paid_usd=self.paid_usd[rows],
            checks={name: values[rows] for name, values in self.checks.items()},
        )

    def of(self, seen: Seen) -> tuple[Ints, Floats]:
        """What was said (n, k) and how it looked (n, k, f), for the draws that were seen."""
        models, draws = columns(seen)
        return self.said[:, models, draws], self.looks[:, models, draws]

    def signal(self, name: str, seen: Seen) -> Floats:
        """One signal or check of the draws that were seen, (n, k); all NaN if it was not recorded."""
        models, draws = columns(seen)
        if name in self.checks:
            return self.checks[name][:, models, draws]
        if name not in self.signals:
            return np.full((len(self), len(seen)), np.nan)
        return self.looks[:, models, draws, len(LOOKS) + self.signals.index(name)]


class View(NamedTuple):
    """What is known of n prompts: their answers so far, and the expected quality and cost of every model, (n, m)."""

    pool: Pool
    prior: Floats
    cost_usd: Floats

    def next_usd(self, seen: Seen, model: int) -> Floats:
        """Expected cost of asking a model (again): what it took on this prompt before, if it was asked, (n,)."""
        had = asked(seen, model)
        usd: Floats = self.pool.paid_usd[:, model, :had].mean(axis=1) if had else self.cost_usd[:, model]
        return usd

    def take(self, rows: Ints) -> View:
        """The given prompts, in that order."""
        return View(self.pool.take(rows), self.prior[rows], self.cost_usd[rows])


def columns(seen: Seen) -> tuple[Ints, Ints]:
    """The models and the draw numbers of what was seen."""
    pairs = np.array(seen, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def asked(seen: Seen, model: int) -> int:
    """How often a model was asked."""
    return sum(j == model for j, _ in seen)


def after(seen: Seen, model: int, samples: int = 1) -> Seen:
    """What will have been seen when a model was asked again."""
    had = asked(seen, model)
    return tuple(sorted((*seen, *((model, had + k) for k in range(samples)))))


def nothing_drawn(prompts: int, draws: Ints, signals: tuple[str, ...] = ()) -> Pool:
    """The pool before any answer came: ``draws`` says how often each model may be asked."""
    shape = (prompts, len(draws), max(int(draws.max()), 1))
    return Pool(
        said=np.full(shape, -1, dtype=np.int64),
        looks=np.zeros((*shape, len(LOOKS) + len(signals))),
        paid_usd=np.full(shape, np.nan),
        draws=draws,
        signals=signals,
    )


def pool_of(answers: Answers) -> Pool:
    """Read all answers, and compare those of every prompt."""
    n, m, s = answers.quality.shape
    said = np.full((n, m * s), -1, dtype=np.int64)
    names = tuple(sorted(answers.signals))
    looks = np.zeros((n, m * s, len(LOOKS) + len(names)))
    drawn = answers.drawn.reshape(n, m * s)
    text, finish = answers.text.reshape(n, m * s), answers.finish.reshape(n, m * s)
    for i in range(n):
        where = np.flatnonzero(drawn[i])
        readings = [read_answer(str(text[i, k])) for k in where]
        said[i, where] = same_answers(readings)
        for k, reading in zip(where, readings, strict=True):
            looks[i, k, : len(LOOKS)] = _look(reading, str(finish[i, k]))
    for f, name in enumerate(names, start=len(LOOKS)):
        looks[..., f] = answers.signals[name].reshape(n, m * s)
    shape = (n, m, s)
    return Pool(
        said=said.reshape(shape),
        looks=looks.reshape(*shape, -1),
        paid_usd=answers.cost_usd,
        draws=answers.count.min(axis=0),
        signals=names,
        checks=answers.checks,
    )


def _look(reading: Reading, finish: str) -> Sequence[float]:
    kinds = [float(reading.kind == kind) for kind in KINDS]
    seen = (finish not in _WHOLE, reading.refused, reading.parsed)
    return [*map(float, seen), float(np.log1p(reading.words)), *kinds]


def agreement(said: Ints) -> Bools:
    """Which draws say the same as which others, (n, k, k); nothing agrees with silence, nor with itself."""
    same: Bools = (said[:, :, None] == said[:, None, :]) & (said[:, :, None] >= 0)
    each = np.arange(said.shape[1])
    same[:, each, each] = False
    return same
