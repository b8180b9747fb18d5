"""How far a collection is: counts, mean qualities, money, time left."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from equipoise.collect.journal import Answer, Grade, Journal
from equipoise.collect.plan import Draw, Key


class Tally:
    """Counts of one run over a journal.

    Attributes:
        total: draws wanted.
        done: draws answered, earlier runs included.
        answered_now: draws answered in this run.
        unpriced: answers whose cost is not known, since their candidate has no price; earlier runs included.
        failures: draws given up in this run, with the error.
        ungradable: answers that could not be graded in this run, with the reason.
        stopped: why the run ended early: ``cost``, ``time``, ``interrupted``; None when it did not.
    """

    def __init__(self, draws: Iterable[Draw], journal: Journal) -> None:
        self._started = time.monotonic()
        keys = {d.key for d in draws}
        self.total = len(keys)
        self.done = sum(k in journal.answers for k in keys)
        self.answered_now = 0
        self.unpriced = sum(a.cost_usd is None for k, a in journal.answers.items() if k in keys)
        self.cost_now_usd = 0.0
        self.failures: dict[Key, str] = {}
        self.ungradable: dict[Key, str] = {}
        self.stopped: str | None = None
        self.candidates = list(dict.fromkeys(k[1] for k in sorted(keys)))
        self._qualities = {k: g.quality for k, g in journal.grades.items() if k in keys}

    def answered(self, answer: Answer) -> None:
        """Count one answer."""
        self.done += 1
        self.answered_now += 1
        self.unpriced += answer.cost_usd is None
        self.cost_now_usd += answer.cost_usd or 0.0

    def graded(self, grade: Grade) -> None:
        """Count one grade; a second one of the same answer replaces the first."""
        self._qualities[grade.key] = grade.quality

    def failed(self, key: Key, error: str) -> None:
        """Count one draw as given up."""
        self.failures[key] = error

    def ungraded(self, key: Key, problem: str) -> None:
        """Count one answer as not gradable."""
        self.ungradable[key] = problem

    def mean_quality(self) -> dict[str, float]:
        """Mean quality of the greedy draws so far, by candidate."""
        by_name: dict[str, list[float]] = {}
        for (_, name, sample), quality in self._qualities.items():
            if sample == 0:
                by_name.setdefault(name, []).append(quality)
        return {name: sum(v) / len(v) for name, v in by_name.items()}

    def line(self, spent_usd: float) -> str:
        """One line for people."""
        parts = [f"{self.done}/{self.total} draws"]
        if self.failures:
            parts.append(f"{len(self.failures)} given up")
        means = self.mean_quality()
        if means:
            parts.append("quality " + ", ".join(f"{n} {means[n]:.2f}" for n in self.candidates if n in means))
        parts.append(self.spent(spent_usd))
        left = self.total - self.done - len(self.failures)
        if left and self.answered_now:
            elapsed = time.monotonic() - self._started
            money = "" if self.unpriced else f" and ${left * self.cost_now_usd / self.answered_now:.4g}"
            parts.append(f"about {_duration(left * elapsed / self.answered_now)}{money} left")
        return "; ".join(parts)

    def spent(self, spent_usd: float) -> str:
        """What was spent, as far as it is known."""
        unknown = f", and the unknown cost of {self.unpriced} answers" if self.unpriced else ""
        return f"spent ${spent_usd:.4g}{unknown}"

    def summary(self, spent_usd: float) -> dict[str, Any]:
        """The JSON of how it went."""
        return {
            "draws": self.total,
            "answered": self.done,
            "answered_now": self.answered_now,
            "given_up": [
                {"prompt_id": p, "model": m, "sample": s, "error": e} for (p, m, s), e in self.failures.items()
            ],
            "ungraded": [
                {"prompt_id": p, "model": m, "sample": s, "why": e} for (p, m, s), e in self.ungradable.items()
            ],
            "mean_quality": self.mean_quality(),
            "spent_usd": spent_usd,
            "answers_of_unknown_cost": self.unpriced,
            "stopped": self.stopped,
        }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
