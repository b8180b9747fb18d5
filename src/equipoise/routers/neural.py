"""A small attention network with a selection head and a utility head, trained and run in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Lt, MultipleOf

from equipoise.numerics import attention
from equipoise.numerics.adam import Adam
from equipoise.numerics.attention_training import Training, target_of, train_networks
from equipoise.numerics.blend import Blend
from equipoise.numerics.deviating import Deviating
from equipoise.numerics.feature_groups import FeatureGroups, raw_groups
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.kinship import Few, newcomer
from equipoise.numerics.named import part_of, prefixed
from equipoise.numerics.roster import Roster, measured_only, refuse_few
from equipoise.routers.static import Static
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, Singles, State

# Online: a first lesson at so many observations, another after every ten, later after every tenth more.
_FIRST_LESSON, _LESSON = 20, 10
_MOST_REMEMBERED = 2000
# A lesson for networks that were fitted to a table.
_REFINE_STEPS, _REFINE_ROWS, _REFINE_RATE = 20, 128, 1e-4


@dataclass(kw_only=True)
class Neural(Deviating):
    """Feature groups attend to each other; a selection head says which model is best, a utility head how good each is.

    The utility head reads the selection head, both are trained at once, and quality is what the utility head
    says, as the mean of one network per fold (each is shrunk by the fold that it has not seen). Until there are
    20 observations the published priors of the models stand in, as in the router ``static``. Single observations
    are remembered, and the networks trained anew on them, or refined where a table was fitted before. All of it
    is numpy: about 300 steps of Adam, gradients by hand.

    Args:
        hidden: width of the network; less with under 16 prompts for each unit.
        steps: steps of training, within three to twelve passes over the data.
        rate: step size at the beginning; it falls to zero.
        decay: weight decay.
        dropout: share of units left out at every step of training.
        utility_weight: weight of the utility head's loss beside the selection head's.
        folds: number of networks.
        min_rows: fewest prompts to fit on.
        seed: of initial weights, order and dropout.
    """

    name = "neural"
    quick = True
    needs = frozenset({"embedding", "structure", "form", "linguistic"})

    hidden: Annotated[int, Ge(8), MultipleOf(8)] = 128
    steps: Annotated[int, Ge(1)] = 300
    rate: Annotated[float, Gt(0)] = 1e-3
    decay: Annotated[float, Ge(0)] = 1.0
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    utility_weight: Annotated[float, Ge(0)] = 5.0
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(8)] = 20
    seed: int = 0

    _static: Static = field(default_factory=Static, init=False, repr=False, compare=False)
    _groups: FeatureGroups | None = field(default=None, init=False, repr=False, compare=False)
    _nets: attention.Parameters = field(default_factory=dict, init=False, repr=False, compare=False)
    _fitted_to_table: bool = field(default=False, init=False, repr=False, compare=False)
    _seen: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32), init=False, repr=False, compare=False)
    _asked: Ints = field(default_factory=lambda: np.zeros(0, np.int64), init=False, repr=False, compare=False)
    _rewards: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _observed: int = field(default=0, init=False, repr=False, compare=False)
    _next_lesson: int = field(default=_FIRST_LESSON, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Train one network per fold; shrink by what each says about its fold."""
        outcomes = measured_only(outcomes)
        refuse_few(self, len(outcomes), self.min_rows)
        raw, widths = raw_groups(outcomes.features, self.name)
        self._static = Static().fit(outcomes)
        self._roster = Roster.of(outcomes)
        held_out = self._train(raw, widths, outcomes.quality, outcomes.groups)
        self._shrink(held_out, outcomes)
        self._fitted_to_table = True
        self._forget()
        return self

    def _forget(self) -> None:
        self._seen, self._asked, self._rewards = np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0)
        self._observed, self._next_lesson = 0, _FIRST_LESSON

    def _train(self, raw: Singles, widths: tuple[int, ...], quality: Floats, groups: Ints) -> Floats:
        """Train; returns held-out qualities (n, m)."""
        how = Training(self.hidden, self.steps, self.rate, self.decay, self.dropout, self.utility_weight, self.seed)
        self._groups = FeatureGroups.fit(raw, widths)
        fold_of = grouped_folds(groups, self.folds)
        self._nets = train_networks(self._groups, self._groups.rows(raw), quality, fold_of, how)
        said = self._utilities(raw)
        return said[fold_of, np.arange(len(raw))]

    def _pass(self, raw: Singles) -> attention.Pass:
        assert self._groups is not None
        return attention.forward(self._nets, self._groups.split(self._groups.rows(raw)[None]))

    def _utilities(self, raw: Singles) -> Floats:
        """What every network says, shape (nets, n, m)."""
        return self._pass(raw).utility.astype(np.float64)

    def _raw(self, batch: FeatureBatch) -> tuple[Floats, Floats | None] | None:
        if not self._nets or batch.embedding is None:
            return None
        return self._utilities(raw_groups(batch, self.name, refuse=False)[0]).mean(axis=0), None

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m); from published priors where nothing was learned yet."""
        if not self._nets:
            return self._static.predict_batch(batch, models)
        found = super().predict_batch(batch, models)
        if self._fitted_to_table:
            return found
        prior, unknown = self._static.predict_batch(batch, models), np.isnan(found.mean)
        return Estimates(np.where(unknown, prior.mean, found.mean), np.where(unknown, prior.std, found.std))

    # ------------------------------------------------------------ online

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level, remember the observation, and take a lesson when one is due."""
        self._static.learn(features, model, reward)
        if features.embedding is None or features.structure is None or features.linguistic is None:
            return
        j, _ = self._observe(features, model, reward)
        raw, widths = raw_groups(FeatureBatch.one(features), self.name, refuse=False)
        first = max(0, len(self._seen) + 1 - _MOST_REMEMBERED)
        self._seen = np.concatenate([self._seen[first:], raw]) if len(self._seen) else raw
        self._asked, self._rewards = np.append(self._asked[first:], j), np.append(self._rewards[first:], reward)
        self._observed += 1
        if self._observed >= self._next_lesson:
            self._next_lesson = self._observed + max(_LESSON, self._observed // 10)
            if self._fitted_to_table:
                self._refine()
            else:
                self._study(widths)

    def _study(self, widths: tuple[int, ...]) -> None:
        """Train on all that is remembered."""
        quality = np.full((len(self._seen), len(self._roster)), np.nan)
        quality[np.arange(len(self._seen)), self._asked] = self._rewards
        self._roster = Roster.at(self._roster.names, quality)
        _, same = np.unique(self._seen, axis=0, return_inverse=True)
        held_out = self._train(self._seen, widths, quality, same.ravel().astype(np.int64))
        self._blend = Blend.fit(held_out - self._roster.level, self._roster.level, quality)

    def _refine(self) -> None:
        """Some steps on the latest observations, then levels anew from what the networks still get wrong."""
        assert self._groups is not None
        rows = slice(-_REFINE_ROWS, None)
        x, m = self._groups.rows(self._seen[rows])[None], len(self._roster)
        quality = np.full((x.shape[1], m), np.nan)
        quality[np.arange(x.shape[1]), self._asked[rows]] = self._rewards[rows]
        target = attention.Target(*(part[None] for part in target_of(quality)))
        shares = self._nets["ws2"].shape[2]
        target = target._replace(share=target.share[:, :, :shares], share_weight=0 * target.share_weight)
        self._nets, adam = {name: values.copy() for name, values in self._nets.items()}, Adam()
        for _ in range(_REFINE_STEPS):
            found = attention.forward(self._nets, self._groups.split(x))
            slopes = attention.backward(self._nets, self._groups.split(x), found, target, self.utility_weight)
            adam.step(self._nets, slopes, _REFINE_RATE)
        said = self._utilities(self._seen).mean(axis=0)
        expected = self._roster.level + self._blend.apply(said - self._roster.level)
        surprise = self._rewards - expected[np.arange(len(said)), self._asked]
        self._roster.later = np.stack(
            [np.bincount(self._asked, weights, m) for weights in (surprise, 0 * surprise + 1)]
        )

    # ------------------------------------------------------------ models that come and go

    def _widen(self) -> None:
        if self._nets:
            self._append(self._nets["wu2"].mean(axis=2), self._nets["bu2"].mean(axis=(1, 2)))

    def _append(self, weights: Singles, bias: Singles) -> None:
        """One more output of the utility heads: weights (nets, half), bias (nets,). The selection heads stay."""
        self._nets = {
            **self._nets,
            "wu2": np.concatenate([self._nets["wu2"], weights[:, :, None]], axis=2),
            "bu2": np.concatenate([self._nets["bu2"], bias[:, None, None]], axis=2),
        }

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Give one more model an output of its own; everything before it stays."""
        seen = np.flatnonzero(~np.isnan(quality))
        if not self._fitted_to_table or not len(seen):
            return super().add_model(model, features, quality, benchmark=benchmark)
        self.without(model)
        features = features.take(seen)
        which = None if benchmark is None else benchmark[seen]
        rated = self._pass(raw_groups(features, self.name)[0]).rated.astype(np.float64)
        own = []
        for e, hidden in enumerate(rated):
            z = np.concatenate([hidden, np.ones((len(seen), 1))], axis=1)
            kin = np.concatenate([self._nets["wu2"][e], self._nets["bu2"][e]]).T.astype(np.float64)
            own.append(newcomer(Few(z, np.zeros(len(seen)), quality[seen], which), kin))
        self._roster.add(model)
        parameters = np.stack(own).astype(np.float32)
        self._append(parameters[:, :-1], parameters[:, -1])
        self._admit(model, features, benchmark)
        return self

    def without(self, model: str) -> Self:
        """Forget a model's output, and what was remembered of it."""
        self._static.without(model)
        gone = self._drop(model)
        if gone is not None:
            kept = self._asked != gone
            self._seen, self._asked, self._rewards = self._seen[kept], self._asked[kept], self._rewards[kept]
            self._asked = self._asked - (self._asked > gone)
        if gone is not None and self._nets:
            cut = {name: np.delete(self._nets[name], gone, axis=2) for name in ("wu2", "bu2")}
            self._nets = {**self._nets, **cut}
        return self

    def explain(self, features: Features) -> tuple[str, ...]:
        """Whether networks or priors speak, and how far the networks agree."""
        if not self._nets:
            return (f"published priors: {self._observed} of the {_FIRST_LESSON} observations for a first lesson",)
        raw, _ = raw_groups(FeatureBatch.one(features), self.name)
        spread = float(self._utilities(raw).std(axis=0).mean())
        return (f"{self.folds} networks, which differ by {spread:.3f} about this prompt",)

    # ------------------------------------------------------------ state

    def state(self) -> State:
        """Networks, standardisation, shrinkage, guard, and the observations remembered as numbers; no text."""
        roster, static = self._roster.state(), self._static.state()
        arrays: dict[str, npt.NDArray[Any]] = {
            **roster.arrays,
            "static/sums": static.arrays["sums"],
            "seen": self._seen,
            "asked": self._asked,
            "rewards": self._rewards,
            **prefixed("net", self._nets),
        }
        if self._groups is not None:
            arrays |= self._groups.arrays()
        meta = {
            **roster.meta,
            "blend": list(self._blend),
            "static": static.meta["models"],
            "fitted_to_table": self._fitted_to_table,
            "lessons": [self._observed, self._next_lesson],
        }
        return State(arrays, meta)

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a, meta = state.arrays, state.meta
        self._roster, self._blend = Roster.restore(a, meta), Blend(*meta["blend"])
        self._static = Static().restore(State({"sums": a["static/sums"]}, {"models": meta["static"]}))
        self._nets = part_of(a, "net")
        self._groups = FeatureGroups.restore(a) if "groups/middle" in a else None
        self._seen, self._asked, self._rewards = a["seen"], a["asked"], a["rewards"]
        self._fitted_to_table = bool(meta["fitted_to_table"])
        self._observed, self._next_lesson = meta["lessons"]
        return self
