"""Long-form rows, as a file holds them: one per prompt and model. Every check on a table is here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from equipoise.errors import TableError
from equipoise.tables.columns import Coded, coded, numbers, quoted
from equipoise.types import Floats, Ints, Strings

REQUIRED = ("prompt_id", "prompt", "dataset", "model", "quality")
OPTIONAL_TEXT = ("group", "split")
OPTIONAL_NUMBERS = ("cost_usd", "input_tokens", "output_tokens", "latency_s")
TEXT = ("prompt_id", "prompt", "dataset", "model", *OPTIONAL_TEXT)
NUMBERS = ("quality", *OPTIONAL_NUMBERS)
KNOWN = (*REQUIRED, *OPTIONAL_NUMBERS, *OPTIONAL_TEXT)
# What tells a table of votes from one of outcomes.
VOTE_COLUMNS = frozenset({"model_a", "model_b", "winner"})
MAX_PROMPT_BYTES = 1_000_000
MAX_CELLS = 50_000_000
MOST = 1e15  # no call costs, reads, writes or takes more; beyond it sums lose their last digits
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One thing that is wrong with a table: in general, where (row numbers from 0), in a row, and how to mend it."""

    code: str
    about: str
    rows: Ints
    text: Callable[[int], str]
    mend: str

    def error(self, name: str, number: Callable[[int], int]) -> TableError:
        """What is wrong in the first such row of a file; ``number`` counts a row as a reader of the file does."""
        more = f" ({len(self.rows):,} such rows)" if len(self.rows) > 1 else ""
        first = int(self.rows[0])
        return TableError(f"{name}, row {number(first)}: {self.text(first)}; {self.mend}{more}")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """Columns of a long-form table, not yet known to be sound.

    Attributes:
        of_file: for every row the one of its file, from 0, where that has several models in a row.
    """

    name: str
    prompt_id: Coded
    prompt: Coded
    dataset: Coded
    model: Coded
    group: Coded | None
    split: Coded | None
    quality: Floats
    cost_usd: Floats
    input_tokens: Floats
    output_tokens: Floats
    latency_s: Floats
    of_file: Ints | None = None

    def __len__(self) -> int:
        return len(self.prompt_id)

    def number(self, row: int) -> int:
        """What a reader counts to find a row in the file."""
        return int(row if self.of_file is None else self.of_file[row]) + 1

    def take(self, rows: Ints) -> Rows:
        """The given rows."""
        chosen: dict[str, Any] = {"of_file": None if self.of_file is None else self.of_file[rows]}
        for column in TEXT:
            value = getattr(self, column)
            chosen[column] = None if value is None else value.take(rows)
        return replace(self, **chosen, **{column: getattr(self, column)[rows] for column in NUMBERS})

    def checked(self) -> Rows:
        """These rows, if they are a sound table.

        Raises:
            TableError: naming the file, the first row that cannot be used, and how to mend it.
        """
        if not len(self):
            raise TableError(f"{self.name}: no rows; give at least one row of {', '.join(REQUIRED)}")
        for problem in self.problems():
            raise problem.error(self.name, self.number)
        cells = len(self.prompt_id.values) * len(self.model.values)
        if cells > MAX_CELLS:
            raise TableError(
                f"{self.name}: {len(self.prompt_id.values):,} prompts x {len(self.model.values):,} models "
                f"is more than {MAX_CELLS:,} cells; check the model column, or split the table"
            )
        return self

    def problems(self) -> Iterator[Problem]:
        """What is wrong, one problem per kind, the most basic first."""
        names = (_empty_cells, _control_characters, _spaces_around, _long_prompts)
        for check in (*names, _bad_quality, _bad_numbers, _conflicts, _duplicates):
            for problem in check(self):
                if len(problem.rows):
                    yield problem

    def matrices(self) -> dict[str, Any]:
        """The fields of an ``OutcomeTable``. The rows must be checked."""
        n, m = len(self.prompt_id.values), len(self.model.values)
        cells = self.prompt_id.codes * m + self.model.codes
        first = _first_rows(self.prompt_id)
        fields: dict[str, Any] = {
            "prompt_ids": self.prompt_id.values,
            "prompts": self.prompt.values[self.prompt.codes[first]],
            "datasets": self.dataset.values[self.dataset.codes[first]],
            "groups": _labels(self.group, first, self.prompt_id.values),
            "split": None if self.split is None else _labels(self.split, first, np.full(n, "", dtype=object)),
            "models": tuple(str(model) for model in self.model.values),
        }
        for column in NUMBERS:
            matrix = np.full(n * m, np.nan)
            matrix[cells] = getattr(self, column)
            fields[column] = matrix.reshape(n, m)
        return fields


def rows_from_columns(columns: Mapping[str, Any], *, name: str) -> Rows:
    """Rows from columns by name: Arrow columns or Python sequences. Unknown columns are ignored.

    Raises:
        TableError: for a missing column, columns of unequal length or cells of the wrong type.
    """
    _require(list(columns), name)
    lengths = {len(columns[c]) for c in KNOWN if c in columns}
    if len(lengths) > 1:
        raise TableError(f"{name}: columns have {' and '.join(map(str, sorted(lengths)))} entries; make them equal")
    n = lengths.pop()
    fields: dict[str, Any] = {}
    for column in TEXT:
        given = columns.get(column)
        fields[column] = None if given is None else coded(given, column, name)
    for column in NUMBERS:
        given = columns.get(column)
        booleans = column == "quality"
        fields[column] = np.full(n, np.nan) if given is None else numbers(given, column, name, booleans=booleans)
    for column in OPTIONAL_TEXT:
        if fields[column] is not None and not len(fields[column].values):
            fields[column] = None
    return Rows(name=name, **fields)


def _require(present: Sequence[str], name: str) -> None:
    missing = [column for column in REQUIRED if column not in present]
    if not missing:
        return
    spare = {str(c).strip().lower(): str(c) for c in present if c not in KNOWN}
    hints = [
        f"rename '{spare[near[0]]}' to '{column}'"
        for column in missing
        if (near := difflib.get_close_matches(column, spare, n=1, cutoff=0.7))
    ]
    found = ", ".join(quoted(str(column)) for column in list(present)[:8]) or "none"
    if set(present) >= VOTE_COLUMNS:
        hints = ["these are votes between two models: equipoise train learns from them, and they grade nothing"]
    elif missing == list(REQUIRED) and not hints:
        hints = [f"is this an outcome table? columns found: {found}"]
    elif missing == ["dataset"] and not hints:
        hints = ["write where every prompt comes from, the same for all if there is but one source"]
    elif {"model", "quality"} <= set(missing) and not hints:
        hints = ["a table with one column per model is read by: equipoise table convert"]
    mend = "; ".join(hints) or f"columns found: {found}"
    plural = "s" if len(missing) > 1 else ""
    names = ", ".join(f"'{column}'" for column in missing)
    raise TableError(f"{name}: missing column{plural} {names}; {mend}")


def _first_rows(column: Coded) -> Ints:
    """For every value the first row that holds it."""
    first = np.zeros(len(column.values), dtype=np.int64)
    used = np.flatnonzero(column.codes >= 0)[::-1]
    first[column.codes[used]] = used
    return first


def _labels(column: Coded | None, first: Ints, fallback: Strings) -> Strings:
    """One label per prompt; the fallback where there is none."""
    if column is None:
        return fallback
    codes = column.codes[first]
    out = fallback.copy()
    out[codes >= 0] = column.values[codes[codes >= 0]]
    return out


# ---------------------------------------------------------------- checks


def _empty_cells(rows: Rows) -> Iterator[Problem]:
    mends = {
        "prompt_id": "give every prompt an id of its own",
        "prompt": "write the text that the router will see, or remove the row",
        "dataset": "name the task or source, 'all' if there is only one",
        "model": "name the model",
    }
    for column, mend in mends.items():
        yield empty_cells(column, getattr(rows, column), mend)


def empty_cells(column: str, cells: Coded, mend: str) -> Problem:
    """The rows in which a required cell is empty."""
    blank = cells.rows_where(lambda text: not text.strip(), empty=True)
    return Problem("empty_cell", "a required cell is empty", blank, lambda _: f"{column} is empty", mend)


def _control_characters(rows: Rows) -> Iterator[Problem]:
    """In names that reports and terminals show: mostly a quote that was not closed."""
    for column in ("model", "dataset"):
        value: Coded = getattr(rows, column)
        yield Problem(
            "control_character",
            "a name holds a line break or another control character",
            value.rows_where(lambda text: _CONTROL.search(text) is not None),
            partial(_holds_control, column, value),
            "take it out",
        )


def _spaces_around(rows: Rows) -> Iterator[Problem]:
    for column in ("model", "dataset"):
        yield spaces_around(column, getattr(rows, column))


def spaces_around(column: str, names: Coded) -> Problem:
    """The rows in which a name has spaces around it: it would be two names where only some have them."""
    about, spaced = "a name has spaces around it", names.rows_where(lambda text: text != text.strip())
    return Problem("space_around", about, spaced, partial(_has_spaces_around, column, names), "take them off")


def _long_prompts(rows: Rows) -> Iterator[Problem]:
    yield Problem(
        "long_prompt",
        "a prompt is longer than 1 MB",
        rows.prompt.rows_where(is_long),
        lambda row: f"the prompt of {quoted(rows.prompt_id.at(row))} is longer than 1 MB",
        "shorten it or remove the row",
    )


def is_long(prompt: str) -> bool:
    """Whether a prompt has more UTF-8 bytes than may be; only texts that could are encoded."""
    return len(prompt) * 4 > MAX_PROMPT_BYTES and len(prompt.encode("utf-8", "replace")) > MAX_PROMPT_BYTES


def _bad_quality(rows: Rows) -> Iterator[Problem]:
    q = rows.quality
    yield Problem(
        "no_quality",
        "quality is empty",
        np.flatnonzero(np.isnan(q)),
        lambda row: f"quality is empty ({_cell(rows, row)})",
        "grade the answer, or remove the row if the model was not run",
    )
    with np.errstate(invalid="ignore"):
        outside = (q < 0) | (q > 1)
    yield Problem(
        "quality_range",
        "quality is outside 0 to 1",
        np.flatnonzero(outside),
        lambda row: f"quality {q[row]:g} is outside 0 to 1 ({_cell(rows, row)})",
        "divide by the highest possible score",
    )


def _bad_numbers(rows: Rows) -> Iterator[Problem]:
    for column in OPTIONAL_NUMBERS:
        values: Floats = getattr(rows, column)
        with np.errstate(invalid="ignore"):
            bad = (values < 0) | (values > MOST)
        yield Problem(
            "impossible_number",
            "a cost, token count or latency is negative or infinite",
            np.flatnonzero(bad),
            partial(_impossible, rows, column),
            f"write a number from 0 to {MOST:g}, or leave it empty",
        )


def _conflicts(rows: Rows) -> Iterator[Problem]:
    first = _first_rows(rows.prompt_id)
    for column in ("prompt", "dataset", *OPTIONAL_TEXT):
        value: Coded | None = getattr(rows, column)
        if value is None:
            continue
        known = rows.prompt_id.codes >= 0
        differs = value.codes != value.codes[first[rows.prompt_id.codes]]
        yield Problem(
            "conflict",
            "one prompt_id stands for two prompts",
            np.flatnonzero(differs & known),
            partial(_conflicting, rows, column, first),
            "use one prompt_id per prompt",
        )


def _duplicates(rows: Rows) -> Iterator[Problem]:
    """Rows whose prompt and model stood in an earlier row."""
    pair = rows.prompt_id.codes * (len(rows.model.values) + 1) + rows.model.codes
    _, first, place = np.unique(pair, return_index=True, return_inverse=True)
    earlier = first[place]
    known = (rows.prompt_id.codes >= 0) & (rows.model.codes >= 0)
    yield Problem(
        "duplicate",
        "a prompt and model stand in more than one row",
        np.flatnonzero((earlier != np.arange(len(rows))) & known),
        lambda row: f"{_cell(rows, row)} already stands in row {rows.number(earlier[row])}",
        "keep one row per prompt and model (the mean of repeated runs, say)",
    )


def _holds_control(column: str, value: Coded, row: int) -> str:
    return f"{column} {quoted(value.at(row))} holds a line break or another control character"


def _has_spaces_around(column: str, value: Coded, row: int) -> str:
    return f"{column} {quoted(value.at(row))} has spaces around it"


def _impossible(rows: Rows, column: str, row: int) -> str:
    return f"{column} is {getattr(rows, column)[row]:g} ({_cell(rows, row)})"


def _conflicting(rows: Rows, column: str, first: Ints, row: int) -> str:
    earlier = rows.number(first[rows.prompt_id.codes[row]])
    return f"prompt_id {quoted(rows.prompt_id.at(row))} has another {column} than in row {earlier}"


def _cell(rows: Rows, row: int) -> str:
    return f"prompt_id {quoted(rows.prompt_id.at(row))}, model {quoted(rows.model.at(row))}"
