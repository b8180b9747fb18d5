"""How long the answer will be: ridge regression of log output tokens on structure and embedding."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.analysis.classifier import read_npz
from equipoise.errors import NotEnoughData, StateError
from equipoise.types import Floats, Singles

WEIGHTS = "output_length.npz"
SHORTEST = 1.0
LONGEST = 8192.0
MIN_ROWS = 50

_ARRAYS = ("weights", "mean", "scale", "intercept", "structure", "embedder")


def bounded(tokens: float) -> float:
    """A predicted length within what models answer."""
    return min(max(tokens, SHORTEST), LONGEST)


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputLength:
    """A fitted model of answer length.

    Attributes:
        weights: one per structural feature, then one per embedding dimension.
        mean: mean of every input in training.
        scale: its standard deviation (one for the embedding).
        intercept: mean log tokens in training.
        structure: how many of the inputs are structural.
        embedder: version of the embedder that the weights were trained on.
        version: hash of the weights.
    """

    weights: Floats
    mean: Floats
    scale: Floats
    intercept: float
    structure: int
    embedder: str
    version: str

    def predict(self, structure: Singles, embedding: Singles) -> float:
        """The usual number of output tokens of one prompt, by their logarithms, in [1, 8192]."""
        x = (np.concatenate([structure, embedding]).astype(np.float64) - self.mean) / self.scale
        log_tokens = self.intercept + float(np.add.reduce(x * self.weights))
        return bounded(float(np.exp(min(log_tokens, 20.0))))

    def to_bytes(self) -> bytes:
        """The npz file of the model."""
        return _npz({name: getattr(self, name) for name in _ARRAYS})


def fit_output_length(
    structure: Singles, embedding: Singles, output_tokens: Floats, *, embedder: str, penalty: float = 10.0
) -> OutputLength:
    """Fit by ridge regression; rows whose output is unknown (NaN) or below one token are left out.

    Args:
        structure: shape (n, s).
        embedding: shape (n, d).
        output_tokens: shape (n,), measured answer lengths.
        embedder: version of the embedder that made ``embedding``.
        penalty: ridge penalty on the standardised weights.

    Raises:
        NotEnoughData: fewer than ``MIN_ROWS`` usable rows.
    """
    usable = np.isfinite(output_tokens) & (output_tokens >= 1)
    if (n := int(usable.sum())) < MIN_ROWS:
        raise NotEnoughData(f"output length needs {MIN_ROWS} prompts with measured tokens, got {n}; collect more")
    x = np.concatenate([structure, embedding], axis=1).astype(np.float64)[usable]
    y = np.log(np.minimum(output_tokens[usable], LONGEST))
    mean, scale = x.mean(axis=0), np.ones(x.shape[1])
    deviation = x[:, : structure.shape[1]].std(axis=0)
    scale[: structure.shape[1]] = np.where(deviation > 1e-6, deviation, 1.0)
    z = (x - mean) / scale
    intercept = float(y.mean())
    gram = z.T @ z + penalty * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z.T @ (y - intercept))
    arrays = (weights, mean, scale, intercept, structure.shape[1], embedder)
    return load_output_length(_npz(dict(zip(_ARRAYS, arrays, strict=True))), where=WEIGHTS)


def load_output_length(raw: bytes, *, where: str) -> OutputLength:
    """A model from the bytes of its npz file.

    Raises:
        StateError: the file is no npz, or its arrays do not fit together.
    """
    a = read_npz(raw, _ARRAYS, where=where)
    if not a["weights"].shape == a["mean"].shape == a["scale"].shape or a["weights"].ndim != 1:
        raise StateError(f"{where}: weights have the wrong shape; train again with train_output_length.py")
    return OutputLength(
        weights=a["weights"].astype(np.float64),
        mean=a["mean"].astype(np.float64),
        scale=a["scale"].astype(np.float64),
        intercept=float(a["intercept"]),
        structure=int(a["structure"]),
        embedder=str(a["embedder"]),
        version=hashlib.sha256(raw).hexdigest()[:16],
    )


@cache
def bundled_output_length() -> OutputLength | None:
    """The model that ships with the package, loaded once; None when it ships without one."""
    path = files("equipoise.analysis").joinpath("data", WEIGHTS)
    return load_output_length(path.read_bytes(), where=WEIGHTS) if path.is_file() else None


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    ready: dict[str, npt.NDArray[Any]] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(buffer, **ready)  # type: ignore[arg-type]
    return buffer.getvalue()
