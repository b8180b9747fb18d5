"""Price files: CSV, one model a line, read by ``--prices FILE`` and written by ``refresh``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from equipoise.atomic import write_whole
from equipoise.catalog.fields import MOST_USD
from equipoise.errors import TableError, UnknownName
from equipoise.regular import open_regular
from equipoise.types import Model, Price

LARGEST_FILE = 16_000_000
_TOKEN_PRICES = ("usd_per_1m_input", "usd_per_1m_output")
_BESIDE = tuple(f.name for f in fields(Price) if f.default is None)  # what token prices may leave unsaid
_AMOUNTS = (*_TOKEN_PRICES, *_BESIDE, "usd_per_call")
_COLUMNS = ("model", "provider", "context_window", *_AMOUNTS, "source")


def read_models(path: Path) -> list[Model]:
    """The models of a price file, in file order.

    Raises:
        TableError: one line that names the file, the line number and how to mend it.
    """
    rows = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    models: list[Model] = []
    first_seen: dict[str, int] = {}
    try:
        _check_header(path, rows.fieldnames)
        for row in rows:
            model = _model(path, rows.line_num, row)
            if model.name in first_seen:
                _fail(
                    path,
                    rows.line_num,
                    f"model '{model.name}' is already on line {first_seen[model.name]}; keep one",
                )
            first_seen[model.name] = rows.line_num
            models.append(model)
    except csv.Error as error:
        _fail(path, rows.reader.line_num, f"not readable as CSV ({error})")
    if not models:
        raise TableError(f"{path}: no prices in it; give a line for each model under the header")
    return models


def write_models(path: Path, models: Iterable[Model]) -> None:
    """Write a price file that ``read_models`` reads back. Models without a price are left out."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(m, m.price) for m in models if m.price is not None)
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


def _row(model: Model, price: Price) -> dict[str, object]:
    amounts = {name: getattr(price, name) for name in _AMOUNTS}
    facts = {"model": model.name, "provider": model.provider, "context_window": model.context_window}
    return {**facts, **amounts, "source": price.source}


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise TableError(f"{path}: larger than {LARGEST_FILE // 1_000_000} MB; a price file has a line per model")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8 CSV") from error


def _check_header(path: Path, header: Iterable[str] | None) -> None:
    columns = list(header or ())
    for name in columns:
        if columns.count(name) > 1:
            _fail(path, 1, f"column '{name}' is there twice; keep one")
        if name not in _COLUMNS:
            _fail(path, 1, str(UnknownName("column", name, _COLUMNS)))
    priced = set(_TOKEN_PRICES) <= set(columns) or "usd_per_call" in columns
    if "model" not in columns or not priced:
        _fail(path, 1, "give columns model, usd_per_1m_input, usd_per_1m_output or usd_per_call")


def _model(path: Path, line: int, row: Mapping[str | None, str | list[str] | None]) -> Model:
    if None in row:
        _fail(path, line, "more fields than the header has; quote text that contains commas")
    cells = {k: v.strip() for k, v in row.items() if k is not None and isinstance(v, str) and v.strip()}
    if "model" not in cells:
        _fail(path, line, "no model name; give one")
    amounts = {name: _number(path, line, name, cells[name]) for name in _AMOUNTS if name in cells}
    given = [name for name in _TOKEN_PRICES if name in amounts]
    if len(given) == 1 or not (given or "usd_per_call" in amounts):
        missing = next(name for name in _TOKEN_PRICES if name not in amounts)
        _fail(
            path,
            line,
            f"model '{cells['model']}' has no {missing}; give both token prices, or usd_per_call alone",
        )
    beside = next((name for name in _BESIDE if name in amounts), None)
    if beside is not None and not given:
        _fail(path, line, f"model '{cells['model']}' has {beside} without token prices; give both")
    window = _number(path, line, "context_window", cells["context_window"]) if "context_window" in cells else None
    if window is not None and (window < 1 or window != int(window)):
        _fail(path, line, f"context_window is {cells['context_window']!r}; give a whole number, one or more")
    return Model(
        name=cells["model"],
        provider=cells.get("provider", "unknown"),
        price=Price(**amounts, source=cells.get("source", path.name)),
        context_window=None if window is None else int(window),
    )


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        # float() would read 1_000, which is seldom what someone meant in a CSV.
        value = float(text.replace("_", "?"))
    except ValueError:
        _fail(path, line, f"{name} is {text[:40]!r}; give a plain number such as 2.5")
    if not 0 <= value <= MOST_USD:
        _fail(path, line, f"{name} is {text[:40]!r}; give a finite number, zero or more")
    return value


def _fail(path: Path, line: int, detail: str) -> NoReturn:
    raise TableError(f"{path}, line {line}: {detail}")
