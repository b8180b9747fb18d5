"""What a policy promises that looks at answers before it is done."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge

from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import Cascade
from equipoise.cascades.pool import View
from equipoise.contracts import Policy
from equipoise.errors import NotEnoughData
from equipoise.numerics.folds import grouped_folds

LEAST_PROMPTS = 40
# So that each half of the prompts can be halved again.
LEAST_GROUPS = 4
_TAUGHT_FOLDS = 4


@dataclass(kw_only=True)
class AnswerPolicy(Policy):
    """Learns on graded answers when to return one and when to ask again.

    It has one or more operating points, best quality first; ``point`` is the one that is used live. Before it has
    learned from answers, and for models that it has not met, it routes to a single model, by quality minus
    ``cost_weight`` times cost.

    ``names`` are the models and ``signals`` the recorded signals that it learned on, in the order of its columns.
    """

    cost_weight: Annotated[float, Ge(0)] = 0.0

    names: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)
    signals: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)
    point: int = field(default=0, init=False, repr=False, compare=False)

    @abstractmethod
    def learn_answers(self, lesson: Lesson, names: Sequence[str], rng: np.random.Generator) -> Self:
        """Replace what was learned. ``names`` are the models, in the order of the lesson's columns. Returns self."""

    @abstractmethod
    def calibrate_answers(self, lesson: Lesson) -> Self:
        """Choose the operating point, on prompts that were not learned from. Returns self."""

    def teach(self, lesson: Lesson, names: Sequence[str], rng: np.random.Generator) -> Self:
        """Learn on three quarters of the prompts and calibrate on the rest. Returns self."""
        held = grouped_folds(lesson.groups, _TAUGHT_FOLDS) == 0
        self.learn_answers(lesson.take(np.flatnonzero(~held)), names, rng)
        return self.calibrate_answers(lesson.take(np.flatnonzero(held)))

    @property
    @abstractmethod
    def points(self) -> int:
        """How many operating points there are."""

    @abstractmethod
    def bound(self, view: View) -> Cascade:
        """The cascade on the given prompts."""

    def refuse_few(self, lesson: Lesson) -> None:
        """Refuse a lesson of too few prompts, or too few that differ.

        Raises:
            NotEnoughData: it is.
        """
        if len(lesson) < LEAST_PROMPTS:
            raise NotEnoughData(f"policy '{self.name}' needs {LEAST_PROMPTS} prompts with answers, not {len(lesson)}")
        if (groups := len(np.unique(lesson.groups))) < LEAST_GROUPS:
            raise NotEnoughData(
                f"policy '{self.name}' needs {LEAST_GROUPS} groups of prompts that are no near duplicates, not {groups}"
            )

    @property
    def learned(self) -> bool:
        """Whether it has learned from answers."""
        return bool(self.names)

    @property
    def asks(self) -> tuple[str, ...]:
        """The models that it may ask; it does what it has learned only where all of them are there."""
        return self.names

    def meta(self) -> dict[str, Any]:
        """The part of the state that all such policies have."""
        return {"names": list(self.names), "signals": list(self.signals), "point": self.point}

    def remember(self, meta: Mapping[str, Any]) -> None:
        """The inverse of ``meta``."""
        self.names, self.signals, self.point = tuple(meta["names"]), tuple(meta["signals"]), int(meta["point"])
