"""The outcome table: n prompts by m models, as columns and matrices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from equipoise.errors import TableError, UnknownName
from equipoise.tables.rows import NUMBERS, rows_from_columns
from equipoise.types import Bools, Floats, Ints, Strings


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OutcomeTable:
    """What every model did on every prompt. Matrices are (prompts, models); NaN means not measured.

    Prompts and models stand in order of first appearance. ``groups`` names the prompts that must stay
    on one side of a split; a prompt without a group of its own is named by its ``prompt_id``.
    ``expected`` is quality on average over several sampled answers, NaN where there are none: one answer says by luck
    whether a model is good on a prompt, so that is what routers learn from; they are judged by ``quality``.
    """

    name: str
    prompt_ids: Strings
    prompts: Strings
    datasets: Strings
    groups: Strings
    models: tuple[str, ...]
    quality: Floats
    cost_usd: Floats
    input_tokens: Floats
    output_tokens: Floats
    latency_s: Floats
    split: Strings | None = None
    expected: Floats | None = None

    def __post_init__(self) -> None:
        shape = (len(self.prompt_ids), len(self.models))
        for column in (*NUMBERS, "expected"):
            value = getattr(self, column)
            if value is not None and value.shape != shape:
                raise TableError(f"{self.name}: {column} has shape {value.shape}, not {shape}")
        for column in ("prompts", "datasets", "groups", "split"):
            value = getattr(self, column)
            if value is not None and len(value) != shape[0]:
                raise TableError(f"{self.name}: {column} has {len(value)} entries for {shape[0]} prompts")

    def __len__(self) -> int:
        return len(self.prompt_ids)

    def __repr__(self) -> str:
        return f"OutcomeTable({self.name!r}, {len(self)} prompts, {len(self.models)} models)"

    @property
    def has_groups(self) -> bool:
        """Whether any prompt was given a group."""
        return bool(np.any(self.groups != self.prompt_ids))

    @property
    def measured(self) -> Bools:
        """Which cells hold an outcome, shape (n, m)."""
        return np.asarray(~np.isnan(self.quality))

    @property
    def taught(self) -> Floats:
        """The qualities to learn from, shape (n, m)."""
        return self.quality if self.expected is None else at_measured_levels(self.expected, self.quality)

    def take(self, rows: Ints | Bools | Sequence[int]) -> OutcomeTable:
        """The given prompts, in that order."""
        index = np.asarray(rows)
        if not index.size:
            index = index.astype(np.int64)
        chosen = {name: getattr(self, name)[index] for name in (*TEXTS, *NUMBERS)}
        split = None if self.split is None else self.split[index]
        expected = None if self.expected is None else self.expected[index]
        return replace(self, **chosen, split=split, expected=expected)

    def only(self, models: Iterable[str]) -> OutcomeTable:
        """The given models, in that order; every prompt stays.

        Raises:
            UnknownName: for a model that the table does not hold.
        """
        wanted = tuple(dict.fromkeys(models))
        place = {model: j for j, model in enumerate(self.models)}
        for model in wanted:
            if model not in place:
                raise UnknownName(f"model in table {self.name}", model, self.models)
        columns = np.array([place[m] for m in wanted], dtype=np.int64)
        expected = None if self.expected is None else self.expected[:, columns]
        matrices = {name: getattr(self, name)[:, columns] for name in NUMBERS}
        return replace(self, models=wanted, expected=expected, **matrices)

    def tied(self) -> OutcomeTable:
        """The same table with near duplicates in one group; on both sides of a fold they hide overfitting."""
        from equipoise.tables.duplicates import tied  # noqa: PLC0415  (imports scipy)

        return replace(self, groups=tied(self.groups, self.prompts))

    def coverage(self) -> dict[str, float]:
        """For every model the share of prompts that it was measured on."""
        shares = self.measured.mean(axis=0) if len(self) else np.zeros(len(self.models))
        return {model: float(share) for model, share in zip(self.models, shares, strict=True)}

    def complete_models(self) -> tuple[str, ...]:
        """The models that were measured on every prompt."""
        full = np.atleast_1d(self.measured.all(axis=0))
        return tuple(model for model, ok in zip(self.models, full, strict=True) if ok)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any] | Floats], *, name: str = "table") -> OutcomeTable:
        """A table from long-form columns, one entry per prompt and model, checked like a file.

        Raises:
            TableError: naming the first row that cannot be used.
        """
        return cls(name=name, **rows_from_columns(columns, name=name).checked().matrices())

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, name: str = "table") -> OutcomeTable:
        """A table from records, one per prompt and model. Keys that a record lacks are missing values."""
        records = list(rows)
        keys = dict.fromkeys(key for record in records for key in record)
        return cls.from_columns({key: [record.get(key) for record in records] for key in keys}, name=name)


def at_measured_levels(expected: Floats, quality: Floats) -> Floats:
    """Qualities (n, m) to learn from: those expected on every prompt, each model's moved to its measured level.

    Draws at a higher temperature are somewhat worse than the answers in the table; every model is moved by what its
    mean differs by, so that only which prompts it is good at comes from the draws. Cells without draws stay.
    """
    found = quality.copy()
    both = ~np.isnan(expected) & ~np.isnan(quality)
    for j in np.flatnonzero(both.any(axis=0)):
        drawn, measured = expected[both[:, j], j], quality[both[:, j], j]
        found[both[:, j], j] = np.clip(drawn + (measured.mean() - drawn.mean()), 0.0, 1.0)
    return found


TEXTS = ("prompt_ids", "prompts", "datasets", "groups")
