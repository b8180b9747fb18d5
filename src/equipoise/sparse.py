"""Rows of which most columns are zero, such as the hashed words of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class SparseRows:
    """n sparse rows over ``width`` columns, in compressed row form."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    width: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @staticmethod
    def stack(parts: Sequence[SparseRows]) -> SparseRows:
        """Single rows below each other."""
        lengths = [len(part.indices) for part in parts]
        return SparseRows(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.values for part in parts]),
            parts[0].width,
        )

    def row(self, i: int) -> SparseRows:
        """One row by itself."""
        start, end = self.indptr[i : i + 2].tolist()
        return SparseRows(
            np.array([0, end - start], dtype=np.int64), self.indices[start:end], self.values[start:end], self.width
        )

    def take(self, rows: npt.NDArray[np.int64]) -> SparseRows:
        """The given rows, in that order."""
        starts, ends = self.indptr[rows], self.indptr[rows + 1]
        lengths = ends - starts
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        where = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        return SparseRows(indptr, self.indices[where], self.values[where], self.width)
