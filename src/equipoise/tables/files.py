"""Outcome tables as files: parquet, CSV or JSON lines. Reading is strict, writing is atomic."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from equipoise.atomic import write_whole
from equipoise.errors import TableError
from equipoise.tables import arrow as pa
from equipoise.tables.rows import NUMBERS, TEXT, Rows, rows_from_columns
from equipoise.tables.sources import columns_of
from equipoise.tables.table import OutcomeTable
from equipoise.types import Floats

BATCH = 4096


def read_table(path: str | os.PathLike[str]) -> OutcomeTable:
    """Read and check an outcome table. What kind of file it is, its content says.

    Raises:
        TableError: naming the file, the first row that cannot be used, and how to mend it.
    """
    rows = read_rows(path).checked()
    return OutcomeTable(**{**rows.matrices(), "name": Path(path).stem})


def read_rows(path: str | os.PathLike[str]) -> Rows:
    """The rows of a file, with the right columns and types but not checked any further."""
    return rows_from_columns(columns_of(Path(path), TEXT, NUMBERS), name=str(Path(path)))


ENDINGS = (".parquet", ".csv", ".jsonl", ".ndjson", ".json")


def check_ending(path: Path) -> None:
    """Refuse a name that does not say what kind of table is to be written.

    Raises:
        TableError: the ending is not one of ``ENDINGS``.
    """
    if path.suffix.lower() not in ENDINGS:
        raise TableError(f"{path}: what it is to be, its ending says; name it .parquet, .csv or .jsonl")


def write_table(table: OutcomeTable, path: str | os.PathLike[str]) -> None:
    """Write a table: CSV or JSON lines by the file's ending, else parquet. Nothing half-written is left."""
    file = Path(path)
    ending = file.suffix.lower()
    arrow = to_arrow(table)
    if ending == ".csv":
        write_whole(file, lambda out: _write_csv(arrow, out))
    elif ending in (".jsonl", ".ndjson", ".json"):
        write_whole(file, lambda out: _write_jsonl(arrow, out))
    else:
        # Without Arrow's own schema every reader sees plain strings, though they are stored as dictionaries.
        write_whole(file, lambda out: pa.parquet.write_table(arrow, out, compression="zstd", store_schema=False))


def to_arrow(table: OutcomeTable) -> pa.Table:
    """The table in long form, measured cells only, prompt by prompt; text columns are dictionary-coded.

    Whole token counts become integers.
    """
    where, which = np.nonzero(table.measured)
    columns: dict[str, Any] = {
        "prompt_id": _texts(table.prompt_ids, where),
        "prompt": _texts(table.prompts, where),
        "dataset": _texts(table.datasets, where),
        "model": _texts(np.array(table.models, dtype=object), which),
    }
    for name in NUMBERS:
        columns[name] = _cells(getattr(table, name)[where, which], whole=name.endswith("_tokens"))
    if table.has_groups:
        columns["group"] = _texts(table.groups, where)
    if table.split is not None:
        columns["split"] = _texts(table.split, where)
    return pa.table(columns)


def _texts(values: Any, rows: Any) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(rows, pa.int32()), pa.array(values, pa.string()))


def _cells(values: Floats, *, whole: bool) -> pa.Array:
    cells = pa.array(values, mask=np.isnan(values))
    known = values[~np.isnan(values)]
    return cells.cast(pa.int64()) if whole and bool(np.all(known == np.floor(known))) else cells


def _write_csv(arrow: pa.Table, out: BinaryIO) -> None:
    schema = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in arrow.schema])
    with pa.csv.CSVWriter(out, schema) as writer:
        for batch in arrow.to_batches(max_chunksize=BATCH):
            writer.write_batch(batch.cast(schema))


def _write_jsonl(arrow: pa.Table, out: BinaryIO) -> None:
    for batch in arrow.to_batches(max_chunksize=BATCH):
        out.writelines((json.dumps(record, ensure_ascii=False) + "\n").encode() for record in batch.to_pylist())
