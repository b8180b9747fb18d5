"""Vote tables: which of two models' answers to a prompt was preferred. One row per vote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from equipoise.errors import TableError
from equipoise.tables.columns import Coded, coded, quoted
from equipoise.tables.rows import VOTE_COLUMNS, Problem, empty_cells, is_long, spaces_around
from equipoise.tables.sources import columns_of, csv_header, json_records, kind_of, parquet_columns
from equipoise.types import Bools, Floats, Ints, Strings

REQUIRED = ("prompt", "model_a", "model_b", "winner")
KNOWN = (*REQUIRED, "group")
# What a vote is worth to the first model. The longer spellings are those of published arena data.
SCORES: Mapping[str, float] = MappingProxyType(
    {"a": 1.0, "b": 0.0, "tie": 0.5, "model_a": 1.0, "model_b": 0.0, "tie (bothbad)": 0.5, "both_bad": 0.5}
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VoteTable:
    """Votes on n distinct prompts between m models.

    Attributes:
        prompts: distinct texts, in order of first appearance, shape (n,).
        groups: of prompts that must stay on one side of a split, shape (n,); the prompt itself by default.
        prompt: number of every vote's prompt, shape (v,).
        first: column of ``model_a``, shape (v,).
        second: column of ``model_b``, shape (v,).
        score: 1 where ``model_a`` was preferred, 0 where ``model_b`` was, one half for a tie, shape (v,).
    """

    name: str
    prompts: Strings
    groups: Strings
    models: tuple[str, ...]
    prompt: Ints
    first: Ints
    second: Ints
    score: Floats

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        return f"VoteTable({self.name!r}, {len(self)} votes, {len(self.prompts)} prompts, {len(self.models)} models)"

    def tied(self) -> VoteTable:
        """The same table with near duplicates in one group, as of an outcome table."""
        from equipoise.tables.duplicates import tied  # noqa: PLC0415  (imports scipy)

        return replace(self, groups=tied(self.groups, self.prompts))

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, name: str = "votes") -> VoteTable:
        """A table from records, one per vote.

        Raises:
            TableError: naming the first row that cannot be used.
        """
        records = list(rows)
        keys = dict.fromkeys(key for record in records for key in record)
        return vote_rows({key: [r.get(key) for r in records] for key in keys}, name).checked()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VoteRows:
    """Columns of a vote table, not yet known to be sound."""

    name: str
    prompt: Coded
    model_a: Coded
    model_b: Coded
    winner: Coded
    group: Coded | None

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def score(self) -> Floats:
        """What every vote is worth to ``model_a``; NaN where the winner is not understood."""
        worth = [SCORES.get(str(value).strip().lower(), np.nan) for value in self.winner.values]
        return np.array([*worth, np.nan])[self.winner.codes]

    def problems(self) -> Iterator[Problem]:
        """What is wrong, one problem per kind."""
        for check in (_empty_cells, _spaces_around, _long_prompts, _unknown_winners, _same_models, _many_groups):
            for problem in check(self):
                if len(problem.rows):
                    yield problem

    def checked(self) -> VoteTable:
        """The votes, if they are sound.

        Raises:
            TableError: naming the file, the first row that cannot be used, and how to mend it.
        """
        if not len(self):
            raise TableError(f"{self.name}: no rows; give at least one row of {', '.join(REQUIRED)}")
        for problem in self.problems():
            raise problem.error(self.name, lambda row: row + 1)
        return self.table(np.arange(len(self)))

    def table(self, rows: Ints) -> VoteTable:
        """The given rows, which must be sound, as a table."""
        prompt, a, b = self.prompt.take(rows), self.model_a.take(rows), self.model_b.take(rows)
        models = tuple(dict.fromkeys([*map(str, a.values), *map(str, b.values)]))
        place = {model: j for j, model in enumerate(models)}
        return VoteTable(
            name=Path(self.name).stem,
            prompts=prompt.values,
            groups=_groups(prompt, None if self.group is None else self.group.take(rows)),
            models=models,
            prompt=prompt.codes,
            first=np.array([place[str(v)] for v in a.values], dtype=np.int64)[a.codes],
            second=np.array([place[str(v)] for v in b.values], dtype=np.int64)[b.codes],
            score=self.score[rows],
        )


def is_vote_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the columns of a vote table. Reads no more than its head."""
    file = Path(path)
    if not file.is_file():
        return False
    kind = kind_of(file)
    if kind == "parquet":
        names: Iterable[str] = parquet_columns(file, (), ())
    elif kind == "csv":
        names = csv_header(file)[0]
    else:
        names = next((record for _, record in json_records(file)), {}) if kind == "jsonl" else ()
    return set(names) >= VOTE_COLUMNS


def read_votes(path: str | os.PathLike[str]) -> VoteTable:
    """Read and check a vote table. What kind of file it is, its content says.

    Raises:
        TableError: naming the file, the first row that cannot be used, and how to mend it.
    """
    return read_vote_rows(path).checked()


def read_vote_rows(path: str | os.PathLike[str]) -> VoteRows:
    """The rows of a file, with the right columns but not checked any further."""
    return vote_rows(columns_of(Path(path), KNOWN), str(Path(path)))


def vote_rows(columns: Mapping[str, Any], name: str) -> VoteRows:
    """Rows from columns by name: Arrow columns or Python sequences. Unknown columns are ignored.

    Raises:
        TableError: for a missing column, or cells that are no text.
    """
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        found = ", ".join(map(quoted, list(columns)[:8])) or "none"
        raise TableError(
            f"{name}: a vote table needs {', '.join(REQUIRED)}; missing: {', '.join(missing)}; found: {found}"
        )
    read = {column: coded(columns[column], column, name) for column in KNOWN if column in columns}
    group = read.get("group")
    named = {column: read[column] for column in REQUIRED}
    return VoteRows(name=name, **named, group=group if group is not None and len(group.values) else None)


def _groups(prompt: Coded, group: Coded | None) -> Strings:
    """The first group that is named for every prompt, the prompt itself where none is."""
    groups = prompt.values.copy()
    if group is not None:
        for row in np.flatnonzero(group.codes >= 0)[::-1]:
            groups[prompt.codes[row]] = f"group {group.at(int(row))}"
    return groups


# ---------------------------------------------------------------- checks


def _empty_cells(rows: VoteRows) -> Iterator[Problem]:
    mends = {
        "prompt": "write the text that both models answered, or remove the row",
        "model_a": "name the model",
        "model_b": "name the model",
        "winner": "write a, b or tie, or remove the row",
    }
    for column, mend in mends.items():
        yield empty_cells(column, getattr(rows, column), mend)


def _spaces_around(rows: VoteRows) -> Iterator[Problem]:
    for column in ("model_a", "model_b"):
        yield spaces_around(column, getattr(rows, column))


def _long_prompts(rows: VoteRows) -> Iterator[Problem]:
    about, long = "a prompt is longer than 1 MB", rows.prompt.rows_where(is_long)
    yield Problem("long_prompt", about, long, lambda _: "the prompt is longer than 1 MB", "shorten it")


def _unknown_winners(rows: VoteRows) -> Iterator[Problem]:
    unknown: Bools = np.isnan(rows.score) & (rows.winner.codes >= 0)
    yield Problem(
        "unknown_winner",
        "the winner is not understood",
        np.flatnonzero(unknown),
        lambda row: f"winner is {quoted(rows.winner.at(row))}",
        "write a, b or tie",
    )


def _same_models(rows: VoteRows) -> Iterator[Problem]:
    place = {text: i for i, text in enumerate(rows.model_a.values)}
    b = np.array([*(place.get(text, -2) for text in rows.model_b.values), -3])[rows.model_b.codes]
    yield Problem(
        "same_model",
        "a model is compared with itself",
        np.flatnonzero((rows.model_a.codes == b) & (rows.model_a.codes >= 0)),
        lambda row: f"model_a and model_b are both {quoted(rows.model_a.at(row))}",
        "a vote compares two models; remove the row",
    )


def _many_groups(rows: VoteRows) -> Iterator[Problem]:
    if rows.group is None:
        return
    known = rows.group.codes >= 0
    first = np.full(len(rows.prompt.values) + 1, -1)
    for row in np.flatnonzero(known & (rows.prompt.codes >= 0))[::-1]:
        first[rows.prompt.codes[row]] = rows.group.codes[row]
    differs = known & (rows.prompt.codes >= 0) & (first[rows.prompt.codes] != rows.group.codes)
    yield Problem(
        "conflict",
        "a prompt stands in two groups",
        np.flatnonzero(differs),
        lambda row: f"the prompt stands in group {quoted(rows.group.at(row) if rows.group else '')} and in another",
        "use one group per prompt",
    )
