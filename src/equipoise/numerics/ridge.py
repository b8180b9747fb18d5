"""Ridge regression of many outputs at once, with missing cells, dense and sparse.

Every output (model) has its own observed rows. Targets are centred per output by the caller.
Dense solves go through one eigendecomposition per pattern of missing cells, so that a whole grid of
penalties costs one solve; sparse ones through block conjugate gradients, since the normal matrix
of 10^5 word columns would not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from equipoise.types import Bools, Floats

# Squared residual, relative to the target's: predictions are good to about 1 %.
_TOLERANCE = 1e-5
_STEPS = 40


def dense_path(x: Floats, y: Floats, observed: Bools, penalties: Sequence[float]) -> Floats:
    """Weights for every penalty, shape (p, d, m). ``x`` (n, d), ``y`` (n, m) centred, zero where not observed."""
    weights = np.zeros((len(penalties), x.shape[1], y.shape[1]))
    for columns, rows in _patterns(observed):
        part = x[rows]
        values, vectors = np.linalg.eigh(part.T @ part)
        values = np.maximum(values, 0.0)
        rhs = vectors.T @ (part.T @ y[rows][:, columns])
        for i, penalty in enumerate(penalties):
            weights[i][:, columns] = vectors @ (rhs / (values + penalty)[:, None])
    return weights


def sparse_weights(
    x: csr_matrix, y: Floats, observed: Bools, penalty: float, *, start: Floats | None = None
) -> tuple[Floats, Floats]:
    """Weights of shape (d, m), and the dual coefficients (n, m) that warm-start the next penalty.

    Conjugate gradients on (M X X' M + penalty) a = y with weights X' a: as many unknowns as rows, which are
    fewer than words. Stops when every residual is a thousandth of its target.
    """
    mask = None if observed.all() else observed.astype(y.dtype)
    xt = x.T.tocsr()

    def kernel(a: Floats) -> Floats:
        fitted: Floats = x @ (xt @ a)
        return (fitted if mask is None else fitted * mask) + y.dtype.type(penalty) * a

    a = np.zeros_like(y) if start is None else start.copy()
    residual = y - kernel(a) if start is not None else y.copy()
    direction = residual.copy()
    norm = np.square(residual).sum(axis=0)
    target = _TOLERANCE * np.maximum(np.square(y).sum(axis=0), 1e-12)
    for _ in range(_STEPS):
        if np.all(norm <= target):
            break
        image = kernel(direction)
        step = norm / np.maximum((direction * image).sum(axis=0), 1e-30)
        a += step * direction
        residual -= step * image
        new = np.square(residual).sum(axis=0)
        direction = residual + (new / np.maximum(norm, 1e-30)) * direction
        norm = new
    return xt @ a, a


def _patterns(observed: Bools) -> Iterator[tuple[list[int], Bools]]:
    """Outputs that share the same observed rows, with those rows."""
    seen: dict[bytes, list[int]] = {}
    for j in range(observed.shape[1]):
        seen.setdefault(np.packbits(observed[:, j]).tobytes(), []).append(j)
    for columns in seen.values():
        yield columns, observed[:, columns[0]]
