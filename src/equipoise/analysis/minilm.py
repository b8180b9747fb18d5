"""all-MiniLM-L6-v2 (a six-layer BERT encoder) in plain numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from equipoise.types import Singles

_LAYERS = 6
_HEADS = 12
_MAX_TOKENS = 256
_EPSILON = 1e-12

Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(eq=False, kw_only=True)
class MiniLM:
    """Sentence vectors: mean of the last layer over a text's tokens, made unit length.

    Texts are cut to 256 tokens, as the model's authors do. Each text is run by itself, so that its
    vector does not depend on its neighbours in a batch.
    """

    weights: Weights
    tokenizer: Tokenizer
    version: str
    dimension: int = 384

    @classmethod
    def build(cls, *, weights: Weights, tokenizer: Tokenizer, version: str) -> Self:
        """From the model's own tensors and tokenizer."""
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        ready = {name: np.ascontiguousarray(w, dtype=np.float32) for name, w in weights.items() if w.dtype.kind == "f"}
        return cls(weights=ready, tokenizer=tokenizer, version=version)

    def embed(self, texts: Sequence[str]) -> Singles:
        """Vectors of shape (n, 384)."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = self.tokenizer.encode(text).ids
            if len(ids) > 2:  # more than the start and end marks
                out[row] = self._sentence(ids)
        return out

    def _sentence(self, ids: Sequence[int]) -> Singles:
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}.")
        mean = x.mean(axis=0)
        norm = float(mean @ mean) ** 0.5
        unit: Singles = (mean / norm if norm > 0 else mean).astype(np.float32)
        return unit

    def _layer(self, x: Singles, prefix: str) -> Singles:
        attended = self._linear(self._attention(x, prefix), prefix + "attention.output.dense")
        x = self._norm(x + attended, prefix + "attention.output.LayerNorm")
        hidden = self._linear(x, prefix + "intermediate.dense")
        hidden = _gelu(hidden)
        return self._norm(x + self._linear(hidden, prefix + "output.dense"), prefix + "output.LayerNorm")

    def _attention(self, x: Singles, prefix: str) -> Singles:
        def heads(name: str) -> Singles:
            projected = self._linear(x, f"{prefix}attention.self.{name}")
            return projected.reshape(len(x), _HEADS, -1).transpose(1, 0, 2)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1]))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Singles = (scores @ value).transpose(1, 0, 2).reshape(x.shape)
        return mixed

    def _linear(self, x: Singles, name: str) -> Singles:
        result: Singles = x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]
        return result

    def _norm(self, x: Singles, name: str) -> Singles:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + np.float32(_EPSILON))
        result: Singles = centred / scale * self.weights[name + ".weight"] + self.weights[name + ".bias"]
        return result


def _gelu(x: Singles) -> Singles:
    """x times the normal distribution function, by Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1.0 / (1.0 + np.float32(0.3275911) * z)
    poly = np.float32(1.061405429) * t + np.float32(-1.453152027)
    for coefficient in (1.421413741, -0.284496736, 0.254829592):
        poly = poly * t + np.float32(coefficient)
    erf = np.copysign(1.0 - poly * t * np.exp(-z * z), x)
    result: Singles = np.float32(0.5) * x * (1.0 + erf)
    return result
