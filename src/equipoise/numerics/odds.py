"""From log odds to chances. Without SciPy, so that deciding need not load it."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from equipoise.types import Floats, Singles

Reals = TypeVar("Reals", Floats, Singles)


def sigmoid(x: Reals) -> Reals:
    """The logistic function, without overflow."""
    out: Reals = 0.5 * (1.0 + np.tanh(0.5 * x))
    return out


def softmax(x: Reals) -> Reals:
    """The softmax along the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    out: Reals = raised / raised.sum(axis=-1, keepdims=True)
    return out
