"""What a router must beat, as estimates of quality and cost. Each is fitted on the fit rows alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equipoise.numerics.folds import numbered
from equipoise.types import FeatureBatch, Floats, Ints

PREFIX = "baseline:"
LENGTH_BINS = 10


class Guess(NamedTuple):
    """Estimated quality and cost of every prompt and model, shape (n, m)."""

    quality: Floats
    cost: Floats


def by_label(label: Ints, fit: Ints, quality: Floats, cost: Floats) -> Guess:
    """Mean quality and cost of the fit rows with the same label; labels never fitted get the overall means.

    Args:
        label: shape (n,), of all prompts.
        fit: row numbers to learn from.
        quality: shape (n, m), as are costs; NaN where not measured.
    """
    return Guess(_label_means(label, fit, quality), _label_means(label, fit, cost))


def length_label(words: Floats, fit: Ints) -> Ints:
    """Ten classes of prompt length with about equally many fit rows each."""
    edges = np.unique(np.quantile(words[fit], np.arange(1, LENGTH_BINS) / LENGTH_BINS))
    return np.searchsorted(edges, words, side="right").astype(np.int64)


def topic_label(features: FeatureBatch) -> Ints:
    """Number of every prompt's topic: the domain and task that the analysis reads from its text, and nothing finer."""
    topics = [f"{domain}/{task}" for domain, task in zip(features.domain, features.task_type, strict=True)]
    return numbered(topics)


def by_chance(cost: Floats, rng: np.random.Generator) -> Guess:
    """Quality drawn from a hat: the choice knows nothing."""
    return Guess(rng.random(cost.shape), cost)


def _label_means(label: Ints, fit: Ints, values: Floats) -> Floats:
    size = int(label.max()) + 1
    known = ~np.isnan(values[fit])
    overall = np.nanmean(values[fit], axis=0)
    means = np.empty((size, values.shape[1]))
    for j in range(values.shape[1]):
        rows = fit[known[:, j]]
        count = np.bincount(label[rows], minlength=size)
        total = np.bincount(label[rows], weights=values[rows, j], minlength=size)
        means[:, j] = np.where(count > 0, total / np.maximum(count, 1), overall[j])
    return means[label]
