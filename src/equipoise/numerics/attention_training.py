"""Training the networks of ``numerics.attention`` on outcomes, one network per fold, each without its own fold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equipoise.numerics.adam import Adam
from equipoise.numerics.attention import Parameters, Target, backward, forward, initial
from equipoise.numerics.feature_groups import FeatureGroups
from equipoise.numerics.lowrank import level_bias
from equipoise.types import Floats, Ints, Singles

_LEAST_BATCH, _MOST_BATCH, _BATCHES_PER_EPOCH = 16, 128, 32
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 12
# With little data a wide network only takes longer.
_ROWS_PER_UNIT, _LEAST_HIDDEN = 16, 32


class Training(NamedTuple):
    """How to train. ``utility_weight`` is what the utility head's loss counts beside that of the selection head."""

    hidden: int
    steps: int
    rate: float
    decay: float
    dropout: float
    utility_weight: float
    seed: int


def train_networks(groups: FeatureGroups, x: Singles, quality: Floats, fold_of: Ints, how: Training) -> Parameters:
    """Networks trained on standardised rows (n, d) and qualities (n, m), NaN where a model was not asked."""
    nets = int(fold_of.max()) + 1
    rng = np.random.default_rng(how.seed)
    hidden = min(how.hidden, max(_LEAST_HIDDEN, len(x) // _ROWS_PER_UNIT // 8 * 8))
    parameters = initial(groups.widths, hidden, quality.shape[1], nets, rng)
    parameters["bu2"][:] = level_bias(quality)
    every = target_of(quality)
    own = [np.flatnonzero(fold_of != e) for e in range(nets)] if nets > 1 else [np.arange(len(x))]
    rows = min(map(len, own))
    batch = min(max(rows // _BATCHES_PER_EPOCH, _LEAST_BATCH), _MOST_BATCH, rows)
    each = rows // batch
    steps = min(max(how.steps, _LEAST_EPOCHS * each), _MOST_EPOCHS * each)
    adam = Adam(how.decay)
    order = np.zeros((nets, 0), dtype=np.int64)
    for step in range(steps):
        if step % each == 0:
            order = np.stack([rng.permutation(part)[: each * batch] for part in own])
        chosen = order[:, (step % each) * batch : (step % each + 1) * batch]
        inputs, target = groups.split(x[chosen]), Target(*(part[chosen] for part in every))
        found = forward(parameters, inputs, 1.0 - how.dropout, rng)
        slopes = backward(parameters, inputs, found, target, how.utility_weight)
        adam.step(parameters, slopes, how.rate * 0.5 * (1.0 + np.cos(np.pi * step / steps)))
    return parameters


def target_of(quality: Floats) -> Target:
    """What networks should give for qualities (n, m): ties share the label of the best model."""
    seen = ~np.isnan(quality)
    top = np.where(seen, quality, -np.inf).max(axis=1, keepdims=True)
    least = np.where(seen, quality, np.inf).min(axis=1, keepdims=True)
    best = (seen & (quality == top)).astype(np.float32)
    return Target(
        best / np.maximum(best.sum(axis=1, keepdims=True), 1.0),
        (top > least).astype(np.float32),
        np.where(seen, quality, 0.0).astype(np.float32),
        (seen / max(float(seen.sum(axis=1).mean()), 1e-9)).astype(np.float32),
    )
