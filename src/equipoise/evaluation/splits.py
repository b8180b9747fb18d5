"""Who fits, who calibrates, who is tested. A group of prompts never stands on two sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.errors import NotEnoughData, TableError
from equipoise.types import Ints, Strings

Kind = Literal["random", "dataset", "model", "table"]
KINDS: tuple[Kind, ...] = ("random", "dataset", "model", "table")
LEAST_TEST_PROMPTS = 10
_TRAINING_NAMES = frozenset({"fit", "train", "training"})
_CALIBRATION_NAMES = frozenset({"calibrate", "calibration", "dev", "val", "valid", "validation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Row numbers of one fold.

    Attributes:
        label: the seed, or what is left out.
        hidden: column of the model that is held out, or None.
        shown: the fit rows on which the hidden model was measured nevertheless.
    """

    label: str
    fit: Ints
    calibrate: Ints
    test: Ints
    hidden: int | None = None
    shown: Ints | None = None

    @property
    def train(self) -> Ints:
        """Everything but the test rows."""
        return np.concatenate([self.fit, self.calibrate])


def random_split(groups: Ints, seed: int, *, shares: tuple[float, float] = (0.6, 0.2)) -> Split:
    """Grouped random split: 60 % fit, 20 % calibrate, the rest test."""
    fit, calibrate, test = _deal(groups, np.arange(len(groups)), shares, np.random.default_rng([seed, 1]))
    return Split(label=str(seed), fit=fit, calibrate=calibrate, test=test)


def dataset_splits(groups: Ints, datasets: Strings, *, seed: int = 0) -> list[Split]:
    """One fold per data set: it is the test set; the rest is dealt 75 % fit, 25 % calibrate.

    Prompts of other data sets that share a group with the test set are left out of training.
    Data sets with fewer than 10 prompts are never a test set.
    """
    splits = []
    for k, name in enumerate(sorted(set(datasets))):
        test = np.flatnonzero(datasets == name)
        rest = np.flatnonzero((datasets != name) & ~np.isin(groups, groups[test]))
        if len(test) >= LEAST_TEST_PROMPTS and len(rest):
            fit, calibrate = _deal(groups, rest, (0.75,), np.random.default_rng([seed, k, 2]))
            splits.append(Split(label=str(name), fit=fit, calibrate=calibrate, test=test))
    if len(splits) < 2:
        raise NotEnoughData(
            "--split dataset needs at least two data sets of 10 prompts or more; use --split random for this table"
        )
    return splits


def model_splits(groups: Ints, models: Sequence[int], *, shown: int = 200) -> list[Split]:
    """One fold per given model column: a random split in which that model was measured on ``shown`` fit rows only."""
    splits = []
    for k, j in enumerate(models):
        base = random_split(groups, k)
        rng = np.random.default_rng([k, 3])
        seen = np.sort(rng.choice(base.fit, size=min(shown, len(base.fit)), replace=False))
        splits.append(
            Split(
                label=str(k),
                fit=base.fit,
                calibrate=base.calibrate,
                test=base.test,
                hidden=int(j),
                shown=seen,
            )
        )
    return splits


def table_split(split: Strings | None, groups: Ints, seed: int) -> Split:
    """The table's own split: ``test`` rows are tested; calibration rows are taken as named, else dealt by ``seed``.

    Raises:
        TableError: there is no split column, it lacks test or training rows, or it holds other names: rows that were
            held out under a name of their own must not be trained on.
    """
    if split is None:
        raise TableError("the table has no 'split' column; add one with train and test, or use --split random")
    names = np.array([str(s).strip().lower() for s in split], dtype=object)
    if other := sorted(set(names) - _TRAINING_NAMES - _CALIBRATION_NAMES - {"test"}):
        raise TableError(
            f"column 'split' holds {', '.join(map(repr, other[:3]))} ({int(np.isin(names, other).sum()):,} prompts); "
            "name rows train, test or calibration, and leave out what is none of these"
        )
    test = np.flatnonzero(names == "test")
    named = np.flatnonzero(np.isin(names, sorted(_CALIBRATION_NAMES)))
    # A training prompt that is tied to a test prompt would leak it; one tied to a calibration prompt likewise.
    named = named[~np.isin(groups[named], groups[test])]
    tied = np.isin(groups, groups[np.concatenate([test, named])])
    rest = np.flatnonzero(np.isin(names, sorted(_TRAINING_NAMES)) & ~tied)
    if not len(test) or not len(rest):
        seen = ", ".join(sorted(set(names))[:5])
        raise TableError(f"column 'split' needs rows named train and rows named test, found: {seen}")
    if len(named):
        return Split(label=str(seed), fit=rest, calibrate=named, test=test)
    fit, calibrate = _deal(groups, rest, (0.75,), np.random.default_rng([seed, 4]))
    return Split(label=str(seed), fit=fit, calibrate=calibrate, test=test)


def _deal(groups: Ints, rows: Ints, shares: tuple[float, ...], rng: np.random.Generator) -> list[Ints]:
    """Rows dealt by whole groups into parts of about the given shares; the last part gets what is left."""
    inside, code = np.unique(groups[rows], return_inverse=True)
    order = rng.permutation(len(inside))
    size = np.bincount(code, minlength=len(inside))
    # A group belongs to the part that its middle row falls in, so that one big group cannot shift all parts.
    middle = (np.cumsum(size[order]) - size[order] / 2) / len(rows)
    part = np.empty(len(inside), dtype=np.int64)
    part[order] = np.searchsorted(np.cumsum(shares), middle, side="right")
    _fill_empty(part, size, len(shares) + 1)
    parts = [rows[part[code] == k] for k in range(len(shares) + 1)]
    if min(len(p) for p in parts) == 0:
        raise NotEnoughData(
            f"{len(inside)} independent groups of prompts are too few to split into {len(parts)} parts; add prompts"
        )
    return parts


def _fill_empty(part: Ints, size: Ints, parts: int) -> None:
    """Give a part that one big group left empty the smallest group of the part that has most groups."""
    for k in range(parts):
        counts = np.bincount(part, minlength=parts)
        if counts[k] == 0 and counts.max() > 1:
            donors = np.flatnonzero(part == np.argmax(counts))
            part[donors[np.argmin(size[donors])]] = k
