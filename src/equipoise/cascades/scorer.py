"""A learned scorer: how likely is it that an answer is right, given the prompt and all answers seen so far?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from equipoise.cascades.pool import LOOKS, Seen, View, agreement, columns
from equipoise.numerics.logistic import Logistic, fit_logistic
from equipoise.types import Floats, Ints

_PENALTY = 30.0
# An estimated quality is never taken for more certain than this.
_CLIP = 0.02


class Standing(NamedTuple):
    """Where a cascade stands on n prompts.

    Attributes:
        best: which of the seen answers is the best, (n,).
        chance: that it is right.
        rival: highest chance of an answer that says something else.
        support: share of the seen answers that say the same.
        own: highest chance among the answers of every model, (n, m); 0 for models not asked.
    """

    best: Ints
    chance: Floats
    rival: Floats
    support: Floats
    own: Floats


class Scorer(NamedTuple):
    """A fitted scorer: one regression for an answer that stands alone, one for answers that can be compared."""

    alone: Logistic
    together: Logistic

    def scores(self, view: View, seen: Seen) -> Floats:
        """Chance that each seen answer is right, (n, k)."""
        described = describe(view, seen)
        model = self.alone if len(seen) == 1 else self.together
        return model.chance(described.reshape(-1, described.shape[2])).reshape(described.shape[:2])

    def standing(self, view: View, seen: Seen) -> Standing:
        """The best of the answers seen so far."""
        scores, (said, _) = self.scores(view, seen), view.pool.of(seen)
        rows, best = np.arange(len(scores)), scores.argmax(axis=1)
        other = said != said[rows, best][:, None]
        own = np.zeros(view.prior.shape)
        for k, (model, _) in enumerate(seen):
            own[:, model] = np.maximum(own[:, model], scores[:, k])
        return Standing(
            best=best,
            chance=scores[rows, best],
            rival=np.where(other, scores, 0.0).max(axis=1),
            support=(~other & (said >= 0)).mean(axis=1),
            own=own,
        )

    def arrays(self) -> dict[str, Floats]:
        """What was learned, as arrays by name."""
        return self.alone.arrays("alone") | self.together.arrays("together")

    @staticmethod
    def from_arrays(arrays: Mapping[str, Floats]) -> Scorer:
        """The inverse of ``arrays``."""
        return Scorer(*(Logistic.from_arrays(arrays, part) for part in ("alone", "together")))


def log_odds(chance: Floats) -> Floats:
    """Log odds, bounded."""
    p = np.clip(chance, _CLIP, 1 - _CLIP)
    out: Floats = np.log(p / (1 - p))
    return out


def describe(view: View, seen: Seen) -> Floats:
    """Every seen answer of every prompt in numbers, (n, k, f).

    Who agrees with it and who does not, by model and weighted by what was expected of them; how it looks; and
    what was expected of its model on this prompt.
    """
    said, looks = view.pool.of(seen)
    (n, k), m = said.shape, view.prior.shape[1]
    models, draws = columns(seen)
    odds, one_hot = log_odds(view.prior), np.eye(m)[models]
    same = agreement(said).astype(float)
    other = 1.0 - same - np.eye(k)
    trust, balance = odds[:, models], (same.sum(axis=2) - other.sum(axis=2)) / k

    def each(values: Floats) -> Floats:
        return np.broadcast_to(values, (n, k, values.shape[-1]))

    return np.concatenate(
        [
            each(one_hot),
            np.log1p(same @ one_hot),
            np.log1p(other @ one_hot),
            np.stack(
                [
                    trust,
                    (same @ trust[..., None])[..., 0],
                    (other @ trust[..., None])[..., 0],
                    balance,
                    balance * trust,
                    _rival(said, same) / k,
                ],
                axis=2,
            ),
            each((draws > 0).astype(float)[:, None]),
            each(odds.max(axis=1)[:, None, None]),
            each(odds.mean(axis=1)[:, None, None]),
            _known(looks),
            balance[..., None] * looks[..., : len(LOOKS)],
        ],
        axis=2,
    )


def _known(looks: Floats) -> Floats:
    """Looks and signals; of a signal that was not recorded only that it was not."""
    signals = looks[..., len(LOOKS) :]
    return np.concatenate([np.nan_to_num(looks), np.isnan(signals).astype(float)], axis=2)


def _rival(said: Ints, same: Floats) -> Floats:
    """Size of the largest group of answers that agree on something else than this one, (n, k)."""
    size = np.where(said >= 0, same.sum(axis=2) + 1, 0)
    differs = said[:, :, None] != said[:, None, :]
    out: Floats = np.where(differs, size[:, None, :], 0).max(axis=2).astype(float)
    return out


def fit_scorer(view: View, quality: Floats, states: Sequence[Seen]) -> Scorer:
    """Fit on every answer of every state. ``quality`` is (n, m, s)."""
    draws: Ints = view.pool.draws
    single: list[Seen] = [((j, s),) for j in range(len(draws)) for s in range(int(draws[j]))]
    several = [seen for seen in states if len(seen) > 1]
    alone = _fit(view, quality, single)
    return Scorer(alone, _fit(view, quality, several) if several else alone)


def _fit(view: View, quality: Floats, states: Sequence[Seen]) -> Logistic:
    described, outcome = [], []
    for seen in states:
        models, draws = columns(seen)
        found = quality[:, models, draws]
        known = ~np.isnan(found)
        described.append(describe(view, seen)[known])
        outcome.append(found[known])
    x, y = np.concatenate(described), np.concatenate(outcome)
    # One prompt shows up in many states; together they count as one look at every model.
    weight = np.full(len(y), len(view.prior) * quality.shape[1] / len(y))
    return fit_logistic(x, y, _PENALTY, weight)
