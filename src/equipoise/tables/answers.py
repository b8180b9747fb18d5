"""The answers behind an outcome table: every draw of every model on every prompt, as arrays beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.errors import PriceError, TableError, UnknownName
from equipoise.tables.columns import Coded, coded, numbers, quoted
from equipoise.tables.sources import kind_of, parquet_columns
from equipoise.tables.table import OutcomeTable
from equipoise.types import Bools, Floats, Ints, Strings

ENDING = ".answers.parquet"
REQUIRED = ("prompt_id", "model", "sample", "answer", "quality")
MEASURES = ("quality", "cost_usd", "latency_s", "output_tokens", "check_usd")
# Log-probability of the answer's tokens, and the lead of the likeliest token over the next as a difference of chances.
# They come with the answer.
SIGNALS = ("logprob_mean", "logprob_min", "margin_mean", "margin_min")
# Share of self-verifications that said yes, and the verdict of a reward model or judge, from 0 to 1. They cost
# ``check_usd`` on top of the answer.
CHECKS = ("self_check", "reward")
MOST_CELLS = 20_000_000
_TEXT = ("prompt_id", "model", "answer", "finish")
_NUMBERS = ("sample", *MEASURES, *SIGNALS, *CHECKS)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """What was drawn: arrays of shape (prompts, models, draws), in the order of an outcome table.

    The draws of a cell stand first, in order of their ``sample`` number; after them text is empty and measures
    are NaN. Draw 0 is what one call of the model gives.

    Attributes:
        check_usd: what the checks of a draw cost on top of it.
        signals: what the models said of their own certainty (``SIGNALS``), where it was recorded.
        checks: what checks said of the answers (``CHECKS``), where there were any.
    """

    models: tuple[str, ...]
    text: Strings
    finish: Strings
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    output_tokens: Floats
    check_usd: Floats
    signals: Mapping[str, Floats] = field(default_factory=dict)
    checks: Mapping[str, Floats] = field(default_factory=dict)

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

    def take(self, rows: Any) -> Answers:
        """The given prompts, in that order; or cells picked otherwise, by an index of the arrays."""
        arrays = {name: getattr(self, name)[rows] for name in ("text", "finish", *MEASURES)}
        signals = {name: values[rows] for name, values in self.signals.items()}
        checks = {name: values[rows] for name, values in self.checks.items()}
        return replace(self, **arrays, signals=signals, checks=checks)

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
        return replace(self.take((slice(None), columns)), models=wanted)

    def require_costs(self) -> None:
        """Check that every draw has a cost.

        Raises:
            PriceError: one has not; it is never read as zero.
        """
        wanted = {"cost_usd": self.drawn} | ({"check_usd": self.drawn} if self.checks else {})
        for column, cells in wanted.items():
            missing = (cells & np.isnan(getattr(self, column))).any(axis=(0, 2))
            if missing.any():
                raise PriceError(self.models[int(np.argmax(missing))], f"a sampled answer has no {column}")


def mean_grades(table: OutcomeTable, answers: Answers) -> Floats:
    """Mean grade over the draws of every prompt and model of the table, shape (n, m); NaN where there are none."""
    place = {model: j for j, model in enumerate(answers.models)}
    found = np.full(table.quality.shape, np.nan)
    for j, model in enumerate(table.models):
        if model in place:
            draws = answers.quality[:, place[model]]
            rows = (~np.isnan(draws)).any(axis=1)
            found[rows, j] = np.nanmean(draws[rows], axis=1)
    return found


def answers_beside(table: Path) -> Path | None:
    """The file of answers that ``equipoise collect`` wrote beside a table, if it is there."""
    path = answers_path(table)
    return path if path.is_file() else None


def answers_path(table: Path) -> Path:
    """Where the answers behind a table lie."""
    return table.with_name(table.stem + ENDING)


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
    texts = {c: coded(columns[c], c, name) for c in _TEXT if c in columns}
    values = {c: numbers(columns[c], c, name, booleans=c == "quality") for c in _NUMBERS if c in columns}
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
        quality=numbers_of("quality"),
        cost_usd=numbers_of("cost_usd"),
        latency_s=numbers_of("latency_s"),
        output_tokens=numbers_of("output_tokens"),
        check_usd=numbers_of("check_usd"),
        signals={c: numbers_of(c) for c in SIGNALS if _holds(values, c)},
        checks={c: numbers_of(c) for c in CHECKS if _holds(values, c)},
    )


def _holds(values: Mapping[str, Floats], column: str) -> bool:
    return column in values and not bool(np.isnan(values[column]).all())


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
            **{c: values[c] < 0 for c in MEASURES[1:] if c in values},
            **{c: (values[c] < 0) | (values[c] > 1) for c in CHECKS if c in values},
        }
    for column, bad in wrong.items():
        if bad.any():
            row = int(np.argmax(bad))
            span = "a number from 0 to 1" if column in ("quality", *CHECKS) else "a number from 0 up"
            raise TableError(f"{name}, row {row + 1}: {column} is {values[column][row]:g}; give {span}")


def _refuse_twice(cell: Ints, sample: Floats, prompts: tuple[Coded, Ints], name: str) -> None:
    twice = np.flatnonzero((np.diff(cell) == 0) & (np.diff(sample) == 0))
    if len(twice):
        ids, rows = prompts
        who = quoted(ids.at(int(rows[twice[0]])))
        raise TableError(f"{name}: prompt {who} has two draws numbered {sample[twice[0]]:g} by one model; number them")
