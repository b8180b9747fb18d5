"""The answers behind an outcome table: every draw of every model on every prompt, as arrays beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.errors import PriceError, TableError, UnknownName
from equipoise.tables.columns import Coded, coded, number_column, numbers, quoted, text_column
from equipoise.tables.sources import kind_of, parquet_columns
from equipoise.tables.table import OutcomeTable
from equipoise.types import Bools, Floats, Ints, Strings

ENDING = ".answers.parquet"
REQUIRED = ("prompt_id", "model", "sample", "answer", "quality")
MEASURES = ("quality", "cost_usd", "latency_s", "output_tokens")
# Of the untempered distribution, in nats; a table may lack them.
SIGNALS = ("logprob_mean", "logprob_min", "margin_mean", "margin_min")
MOST_CELLS = 20_000_000
_TEXT = ("prompt_id", "model", "answer", "finish")
_NUMBERS = ("sample", *MEASURES, *SIGNALS)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """What was drawn: arrays of shape (prompts, models, draws), in the order of an outcome table.

    The draws of a cell stand first, in order of their ``sample`` number; after them text is empty and measures
    are NaN. Draw 0 is what one call of the model gives.

    Attributes:
        signals: what the models said of their own certainty (see ``SIGNALS``), where it was recorded.
    """

    models: tuple[str, ...]
    text: Strings
    finish: Strings
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    output_tokens: Floats
    signals: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.quality)

    @property
    def drawn(self) -> Bools:
        """Which cells hold a graded draw, shape (n, m, s)."""
        return np.asarray(~np.isnan(self.quality))

    @property
    def count(self) -> Ints:
        """Graded draws of every prompt and model, shape (n, m)."""
        return np.asarray(self.drawn.sum(axis=2), dtype=np.int64)

    def take(self, rows: Ints) -> Answers:
        """The given prompts, in that order."""
        arrays = {name: getattr(self, name)[rows] for name in ("text", "finish", *MEASURES)}
        return replace(self, **arrays, signals={k: v[rows] for k, v in self.signals.items()})

    def only(self, models: Iterable[str]) -> Answers:
        """The given models, in that order.

        Raises:
            UnknownName: no answers of that model were kept.
        """
        wanted = tuple(models)
        for model in wanted:
            if model not in self.models:
                raise UnknownName("model with answers", model, self.models)
        columns = np.array([self.models.index(m) for m in wanted], dtype=np.int64)
        arrays = {name: getattr(self, name)[:, columns] for name in ("text", "finish", *MEASURES)}
        return replace(self, models=wanted, **arrays, signals={k: v[:, columns] for k, v in self.signals.items()})

    def require_costs(self) -> None:
        """Check that every draw has a cost.

        Raises:
            PriceError: one has not; it is never read as zero.
        """
        missing = (self.drawn & np.isnan(self.cost_usd)).any(axis=(0, 2))
        if missing.any():
            raise PriceError(self.models[int(np.argmax(missing))], "a sampled answer has no cost_usd")


def answers_beside(table: Path) -> Path | None:
    """The file of answers that ``equipoise collect`` wrote beside a table, if it is there."""
    path = table.with_name(table.stem + ENDING)
    return path if path.is_file() else None


def read_answers(path: Path, table: OutcomeTable) -> Answers:
    """Read the answers of a table's prompts and models; answers to other prompts, and ungraded ones, are left out.

    Raises:
        TableError: the file cannot be used as it stands, or holds no answer to any prompt of the table.
    """
    if kind_of(path) != "parquet":
        raise TableError(f"{path}: answers are read from parquet, as equipoise collect writes them")
    columns = parquet_columns(path, (*REQUIRED, "finish", *_NUMBERS), _TEXT)
    return answers_from_columns(columns, table, name=str(path))


def answers_from_columns(columns: Mapping[str, Any], table: OutcomeTable, *, name: str = "answers") -> Answers:
    """Answers from long-form columns (Arrow or Python sequences), one entry per draw. Raises as ``read_answers``."""
    missing = [c for c in REQUIRED if c not in columns]
    if missing:
        raise TableError(f"{name}: missing column '{missing[0]}'; an answers file has {', '.join(REQUIRED)}")
    texts = {c: _coded(columns[c], c, name) for c in _TEXT if c in columns}
    values = {c: _numbers(columns[c], c, name) for c in _NUMBERS if c in columns}
    _check(values, name)
    prompt, model = _places(texts["prompt_id"], table.prompt_ids.tolist()), _places(texts["model"], table.models)
    rows = np.flatnonzero((prompt >= 0) & (model >= 0) & ~np.isnan(values["quality"]))
    if not len(rows):
        raise TableError(f"{name}: no graded answer to a prompt of {table.name}; give the answers of that table")
    cell = prompt[rows] * len(table.models) + model[rows]
    rows = rows[np.lexsort((values["sample"][rows], cell))]
    cell = np.sort(cell)
    _refuse_twice(cell, values["sample"][rows], (texts["prompt_id"], rows), name)
    return _matrices(texts, values, rows, (cell, table), name)


def _matrices(
    texts: Mapping[str, Coded], values: Mapping[str, Floats], rows: Ints, cells: tuple[Ints, OutcomeTable], name: str
) -> Answers:
    cell, table = cells
    draw = np.arange(len(cell)) - np.searchsorted(cell, cell)
    shape = (len(table), len(table.models), int(draw.max()) + 1)
    if np.prod(shape) > MOST_CELLS:
        raise TableError(
            f"{name}: {shape[0]:,} prompts x {shape[1]} models x {shape[2]} draws are too many; keep fewer"
        )
    at = (*np.divmod(cell, shape[1]), draw)

    def numbers_of(column: str) -> Floats:
        out = np.full(shape, np.nan)
        if column in values:
            out[at] = values[column][rows]
        return out

    def texts_of(column: str) -> Strings:
        out = np.full(shape, "", dtype=object)
        if column in texts:
            codes = texts[column].codes[rows]
            out[at] = np.append(texts[column].values, "")[codes]
        return out

    return Answers(
        models=table.models,
        text=texts_of("answer"),
        finish=texts_of("finish"),
        **{column: numbers_of(column) for column in MEASURES},
        signals={c: numbers_of(c) for c in SIGNALS if c in values and not np.isnan(values[c]).all()},
    )


def _coded(column: Any, name: str, where: str) -> Coded:
    return coded(column if hasattr(column, "num_chunks") else text_column(column, name, where), name, where)


def _numbers(column: Any, name: str, where: str) -> Floats:
    arrow = column if hasattr(column, "num_chunks") else number_column(column, name, where)
    return numbers(arrow, name, where, booleans=name == "quality")


def _places(column: Coded, known: Sequence[str]) -> Ints:
    """For every row the place of its text among the known ones, -1 for others."""
    place = {text: i for i, text in enumerate(known)}
    of_value = np.array([*(place.get(v, -1) for v in column.values), -1], dtype=np.int64)
    return of_value[column.codes]


def _check(values: Mapping[str, Floats], name: str) -> None:
    quality, sample = values["quality"], values["sample"]
    with np.errstate(invalid="ignore"):
        wrong = {
            "quality": (quality < 0) | (quality > 1),
            "sample": np.isnan(sample) | (sample < 0),
            **{c: values[c] < 0 for c in ("cost_usd", "latency_s", "output_tokens") if c in values},
        }
    for column, bad in wrong.items():
        if bad.any():
            row = int(np.argmax(bad))
            span = "a number from 0 to 1" if column == "quality" else "a number from 0 up"
            raise TableError(f"{name}, row {row + 1}: {column} is {values[column][row]:g}; give {span}")


def _refuse_twice(cell: Ints, sample: Floats, prompts: tuple[Coded, Ints], name: str) -> None:
    twice = np.flatnonzero((np.diff(cell) == 0) & (np.diff(sample) == 0))
    if len(twice):
        ids, rows = prompts
        who = quoted(ids.at(int(rows[twice[0]])))
        raise TableError(f"{name}: prompt {who} has two draws numbered {sample[twice[0]]:g} by one model; number them")
