"""Acceptance tests: which of the answers seen so far is the best, and how far it can be trusted, in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from equipoise.cascades.pool import Seen, View, agreement, columns
from equipoise.cascades.scorer import Scorer
from equipoise.tables.answers import CHECKS
from equipoise.types import Floats, Ints


class Trust(NamedTuple):
    """The best answer of every prompt among those seen, and its score in [0, 1], both (n,)."""

    best: Ints
    score: Floats


class Acceptance(Protocol):
    """A test of answers. Pure."""

    @property
    def name(self) -> str:
        """As it stands in the plan."""
        ...

    def trust(self, view: View, seen: Seen) -> Trust:
        """Look at the answers seen so far; ``seen`` is not empty."""
        ...


@dataclass(frozen=True, slots=True)
class Vote:
    """Share of the *other* answers, of whatever model, that say the same. An answer that stands alone scores 0.

    With several draws of one model this is self-consistency; with one draw of several models, agreement-based
    cascading (arXiv 2407.02348).
    """

    name: ClassVar[str] = "vote"

    def trust(self, view: View, seen: Seen) -> Trust:
        """The answer that most others agree with; of equals that of the dearest model."""
        said, _ = view.pool.of(seen)
        return _most(agreement(said).sum(axis=2) / max(len(seen) - 1, 1), said, _dearness(view, seen))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Share of the *other* candidates whose own answer (the first that most of its draws agree with) says the same.

    Where the candidates are one model asked in two ways, directly and step by step, this is the mixture of
    reasoning formats of arXiv 2310.03094: an answer counts as sure when both ways lead to it.
    """

    name: ClassVar[str] = "agreement"

    def trust(self, view: View, seen: Seen) -> Trust:
        """The answer that most candidates agree on; of equals that of the dearest."""
        said, _ = view.pool.of(seen)
        same, (models, _) = agreement(said), columns(seen)
        mine = models[:, None] == models[None, :]
        own = (same & mine).sum(axis=2) - np.arange(len(seen)) * 1e-6 - (said < 0)
        each = np.unique(models)
        lead = np.stack([np.flatnonzero(models == j)[own[:, models == j].argmax(axis=1)] for j in each], axis=1)
        rows = np.arange(len(said))[:, None]
        agree = agreement(said[rows, lead]).sum(axis=2) / max(len(each) - 1, 1)
        best, score = _most(agree, said[rows, lead], np.take_along_axis(_dearness(view, seen), lead, axis=1))
        return Trust(lead[np.arange(len(said)), best], score)


@dataclass(frozen=True, slots=True)
class Signal:
    """A recorded number: token log-probability, margin between the likeliest tokens, self-verification, a reward.

    ``logprob_*`` are taken as chances, exp(log-probability). An answer without the number scores 0: it is not
    trusted. Log-probabilities of two models do not compare, so the answer is the dearest model's; a check or a reward
    compares all answers, and of equals that of the dearest is taken. Where a check came to no verdict on the dearest
    model's answers, one of them is taken, too: that model was asked since the others were not good enough.
    """

    name: str

    def trust(self, view: View, seen: Seen) -> Trust:
        """The answer with the highest score among those that compare."""
        found = view.pool.signal(self.name, seen)
        score = np.exp(np.minimum(found, 0.0)) if self.name.startswith("logprob") else np.clip(found, 0.0, 1.0)
        score = np.nan_to_num(score, nan=0.0)
        dearness = _dearness(view, seen)
        compares = dearness == dearness.max(axis=1, keepdims=True)
        if self.name in CHECKS:
            compares |= (~np.isnan(found) & compares).any(axis=1, keepdims=True)
        best = _highest(np.where(compares, score, -1.0), dearness)
        return Trust(best, score[np.arange(len(score)), best])


@dataclass(frozen=True, slots=True)
class Learned:
    """A learned scorer on prompt and answers: the chance that an answer is right."""

    scorer: Scorer
    name: ClassVar[str] = "scorer"

    def trust(self, view: View, seen: Seen) -> Trust:
        """The answer that is likeliest right."""
        now = self.scorer.standing(view, seen)
        return Trust(now.best, now.chance)


def plain_test(name: str) -> Acceptance:
    """A test that nobody has to learn, by its name; any but that of a vote is the name of a recorded number."""
    known: dict[str, Acceptance] = {Vote.name: Vote(), Agreement.name: Agreement()}
    return known.get(name) or Signal(name)


def _dearness(view: View, seen: Seen) -> Floats:
    models, _ = columns(seen)
    return np.nan_to_num(view.cost_usd[:, models], nan=0.0)


def _most(score: Floats, said: Ints, dearness: Floats) -> Trust:
    """Highest score; silence counts below everything, and of equals the dearer answer, then the earlier, is taken."""
    ranked = np.where(said >= 0, score, -1.0)
    best = _highest(ranked, dearness)
    return Trust(best, score[np.arange(len(said)), best])


def _highest(ranked: Floats, dearness: Floats) -> Ints:
    top = ranked == ranked.max(axis=1, keepdims=True)
    best: Ints = np.where(top, dearness, -np.inf).argmax(axis=1)
    return best
