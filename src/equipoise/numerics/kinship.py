"""One more model beside known ones: its parameters, found from little, with theirs as the prior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equipoise.numerics.odds import sigmoid
from equipoise.types import Floats, Ints

# How far a new model may leave the span of the known ones, and how far a published score may be off.
_FREEDOM, _LEAST_VARIANCE, _PUBLISHED_SPREAD = 0.25, 0.05, 0.03
# Of single answers of quality 0 or 1.
_ANSWER_VARIANCE = 0.2
_NEWTON_STEPS = 12
# How far the level of a model may be off that has published scores.
_LEVEL_SPREAD = 0.05


class Few(NamedTuple):
    """What is known of a new model: qualities (n,) on a few prompts.

    Attributes:
        z: what of every prompt meets the model's parameters, shape (n, p).
        offset: what is expected whatever its parameters, shape (n,).
        benchmark: given, a quality is the mean over the prompts of that benchmark, and only means are matched.
    """

    z: Floats
    offset: Floats
    quality: Floats
    benchmark: Ints | None = None


def newcomer_spread(answers: int, benchmark: Ints | None) -> float:
    """Standard deviation of what the level of a model is off by that gave some answers, or has published scores."""
    return float(np.sqrt(0.25 / (answers + 1))) if benchmark is None else _LEVEL_SPREAD


def newcomer(few: Few, kin: Floats, *, logistic: bool = True) -> Floats:
    """Parameters (p,) of one more model, whose quality is ``z . parameters + offset``, or that in log odds.

    It is taken to be one of the kind of the known models: the mean and covariance of their parameters, shape
    (m, p), are the prior, so that a few of its qualities suffice.
    """
    width = np.sqrt(np.square(few.z).mean(axis=0)) + 1e-9
    few, kin = few._replace(z=few.z / width), kin * width
    centre = kin.mean(axis=0)
    spread = np.atleast_2d(np.cov(kin.T, bias=True)) if len(kin) > 1 else np.zeros((len(centre), len(centre)))
    spread = spread + (_FREEDOM * np.trace(spread) / len(spread) + _LEAST_VARIANCE) * np.eye(len(spread))
    precision, w = np.linalg.inv(spread), centre.copy()
    for _ in range(_NEWTON_STEPS):
        jacobian, weight, residual = _mismatch(few, w, logistic)
        hessian = (jacobian.T * weight) @ jacobian + precision
        step = np.linalg.solve(hessian, jacobian.T @ (weight * residual) + precision @ (w - centre))
        w -= step * min(1.0, 2.0 / (float(np.linalg.norm(step)) + 1e-12))
    parameters: Floats = w / width
    return parameters


def combination(known: Floats, quality: Floats, benchmark: Ints | None = None) -> Floats:
    """How a new model's quality (n,) is made of estimates for known models (n, m): their weights, then a level to add.

    Without evidence it is their mean. ``benchmark`` as in ``Few``.
    """
    n, m = known.shape
    z = np.concatenate([known, np.ones((n, 1))], axis=1)
    return newcomer(Few(z, np.zeros(n), quality, benchmark), np.eye(m, m + 1), logistic=False)


def _mismatch(few: Few, w: Floats, logistic: bool) -> tuple[Floats, Floats, Floats]:
    """Jacobian, weights and residuals of the expected qualities, by prompt or by benchmark."""
    expected = few.z @ w + few.offset
    slope = np.ones(len(expected))
    if logistic:
        expected = sigmoid(expected)
        slope = expected * (1 - expected) + 1e-3
    jacobian, residual = few.z * slope[:, None], expected - few.quality
    if few.benchmark is None:
        return jacobian, 1.0 / slope if logistic else np.full(len(slope), _ANSWER_VARIANCE**-1), residual
    names, code = np.unique(few.benchmark, return_inverse=True)
    mean = np.zeros((len(names), len(code)))
    mean[code, np.arange(len(code))] = 1.0 / np.bincount(code)[code]
    return mean @ jacobian, np.full(len(names), _PUBLISHED_SPREAD**-2), mean @ residual
