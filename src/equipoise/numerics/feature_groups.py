"""What is known of a prompt as groups of standardised numbers: meaning, shape, language, labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from equipoise.errors import NotEnoughData
from equipoise.types import DOMAINS, TASKS, FeatureBatch, Singles, Strings

_REQUIREMENTS, _URGENCIES = ("high", "medium", "low"), ("urgent", "normal", "batch")
_FURTHEST = 5.0


@dataclass(frozen=True, slots=True)
class FeatureGroups:
    """Means and inverse deviations of all columns, and the width of every group."""

    middle: Singles
    inverse: Singles
    widths: tuple[int, ...]

    @classmethod
    def fit(cls, raw: Singles, widths: tuple[int, ...]) -> Self:
        """Learn the standardisation of raw columns, as ``raw_groups`` gives them."""
        spread = raw.std(axis=0)
        inverse = np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 0.0)
        return cls(raw.mean(axis=0), inverse.astype(np.float32), widths)

    def rows(self, raw: Singles) -> Singles:
        """Standardised columns, within five standard deviations, shape (n, sum of widths)."""
        bounded: Singles = np.clip((raw - self.middle) * self.inverse, -_FURTHEST, _FURTHEST)
        return bounded

    def split(self, rows: Singles) -> list[Singles]:
        """The groups of rows (..., sum of widths)."""
        return np.split(rows, np.cumsum(self.widths)[:-1], axis=-1)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned, under names that stand beside a router's own."""
        return {"groups/middle": self.middle, "groups/inverse": self.inverse, "groups/widths": np.array(self.widths)}

    @classmethod
    def restore(cls, arrays: Mapping[str, Any]) -> Self:
        """The inverse of ``arrays``."""
        widths = tuple(int(w) for w in arrays["groups/widths"])
        return cls(arrays["groups/middle"], arrays["groups/inverse"], widths)


def raw_groups(batch: FeatureBatch, router: str, *, refuse: bool = True) -> tuple[Singles, tuple[int, ...]]:
    """All columns before standardisation, shape (n, sum of widths), and the widths of the groups.

    What is not finite is refused, or (when deciding) counts as zero.

    Raises:
        NotEnoughData: in the name of ``router``: a feature is missing or not finite.
    """
    if batch.embedding is None or batch.structure is None or batch.linguistic is None:
        raise NotEnoughData(f"router '{router}' needs embedding, structure and linguistic features; analyse with them")
    labels = [
        np.log1p(np.stack([batch.words, batch.input_tokens, batch.output_tokens], axis=1)),
        np.stack([batch.complexity, batch.difficulty], axis=1),
        _one_hot(batch.domain, DOMAINS),
        _one_hot(batch.task_type, TASKS),
        _one_hot(batch.quality_requirement, _REQUIREMENTS),
        _one_hot(batch.urgency, _URGENCIES),
    ]
    language = np.log1p(np.maximum(batch.linguistic, 0.0))
    shape = batch.structure if batch.form is None else np.concatenate([batch.structure, batch.form], axis=1)
    parts = (batch.embedding, shape, language, np.concatenate(labels, axis=1))
    raw = np.concatenate(parts, axis=1).astype(np.float32)
    if not refuse:
        np.nan_to_num(raw, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    elif not np.isfinite(raw).all():
        raise NotEnoughData(f"router '{router}': a feature holds NaN or infinity; analyse the prompts again")
    return raw, tuple(part.shape[1] for part in parts)


def _one_hot(values: Strings, names: tuple[str, ...]) -> Singles:
    hot: Singles = (values[:, None] == np.array(names, dtype=object)).astype(np.float32)
    return hot
