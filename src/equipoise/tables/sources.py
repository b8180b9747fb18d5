"""Files to Arrow columns: what kind of file it is by its content, then its columns as they stand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.errors import TableError
from equipoise.tables import arrow as pa
from equipoise.tables.columns import is_text

MAX_FILE_BYTES = 4_000_000_000
MAX_ROWS = 20_000_000
MAX_LINE_BYTES = 16 << 20
HEAD_BYTES = 1 << 16

Columns = dict[str, Any]

_MAGIC = (
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"PK\x03\x04", "a zip archive or spreadsheet; unpack it, or save it as CSV"),
    (b"\x80", "a pickle, which is never loaded because it can run code; save the data as CSV or parquet"),
    (b"ARROW1", "an Arrow IPC file; save it as parquet"),
    (b"SQLite format 3", "an SQLite database; export the rows as CSV"),
    (b"%PDF", "a PDF; give a parquet, CSV or JSON lines file"),
)


def kind_of(path: Path) -> str:
    """``parquet``, ``csv``, ``jsonl`` or ``json`` (one array), by content.

    Raises:
        TableError: for a file that is missing, empty, too large or of another kind.
    """
    head = _head(path)
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise TableError(f"{path}: this is {what}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(f"{path}: this is UTF-16 text; save it as UTF-8")
    if b"\0" in head:
        raise TableError(f"{path}: this is a binary file of an unknown kind; give parquet, CSV or JSON lines")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]"):
        return "json"
    if text.startswith(b"<"):
        raise TableError(f"{path}: this is an HTML or XML page, not a table; was the download a web page?")
    return "csv"


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise TableError(f"{path}: this is a folder; give a parquet, CSV or JSON lines file")
        if path.exists() and not path.is_file():
            raise TableError(f"{path}: a pipe or device, which cannot be read twice; save it to a file first")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if size > MAX_FILE_BYTES:
        raise TableError(f"{path}: {size / 1e9:.1f} GB is more than {MAX_FILE_BYTES / 1e9:.0f} GB; split the table")
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise TableError(f"{path}: the file is empty; write the table again")
    return head


def columns_of(path: Path, text: Sequence[str], numbers: Sequence[str] = ()) -> Columns:
    """The wanted columns that a table file holds, whatever kind of file it is.

    Raises:
        TableError: it is no table, or damaged.
    """
    kind = kind_of(path)
    if kind == "json":
        raise TableError(f"{path}: this is one JSON array; write one object per line (jq -c '.[]' FILE)")
    if kind == "jsonl":
        return jsonl_columns(path, text, numbers)
    wanted = (*text, *numbers)
    return parquet_columns(path, wanted, text) if kind == "parquet" else csv_columns(path, wanted)


# ---------------------------------------------------------------- parquet


def parquet_columns(path: Path, wanted: Sequence[str], text: Sequence[str]) -> Columns:
    """The wanted columns that a parquet file holds; text columns stay dictionary-coded, to save memory."""
    try:
        with pa.parquet.ParquetFile(path) as file:
            present = [name for name in file.schema_arrow.names if name in wanted]
            if file.metadata.num_rows > MAX_ROWS:
                raise TableError(f"{path}: {file.metadata.num_rows:,} rows are more than {MAX_ROWS:,}; split it")
            others = [name for name in file.schema_arrow.names if name not in wanted]
            coded = [name for name in present if name in text and is_text(file.schema_arrow.field(name).type)]
        with pa.parquet.ParquetFile(path, read_dictionary=coded) as file:
            table = file.read(columns=present, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: a damaged parquet file ({one_line(error)}); write or download it again") from error
    columns: Columns = {name: table.column(name) for name in present}
    return columns | {name: _absent() for name in others}


def _absent() -> pa.ChunkedArray:
    """A column that is there but was not read."""
    return pa.chunked_array([], pa.null())


# ---------------------------------------------------------------- CSV


def csv_header(path: Path) -> tuple[list[str], str]:
    """The column names of a CSV file and its delimiter (comma, semicolon or tab)."""
    with path.open("rb") as file:
        head = file.read(MAX_LINE_BYTES)
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            raise TableError(f"{path}: not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from error
        text = head[: error.start].decode("utf-8-sig")
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        names = next(csv.reader(io.StringIO(text.lstrip("\r\n")), delimiter=delimiter), [])
    except csv.Error as error:
        raise TableError(f"{path}: the header cannot be read ({error}); write column names in line 1") from error
    if not names:
        raise TableError(f"{path}: the file is empty; write it again, with column names in line 1")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{path}: column '{twice[0]}' stands twice in the header; rename or remove one")
    return names, delimiter


def csv_columns(path: Path, wanted: Sequence[str] | None = None) -> Columns:
    """The wanted columns of a CSV file (all, if None) as text."""
    names, delimiter = csv_header(path)
    present = [name for name in names if wanted is None or name in wanted]
    refused: list[Any] = []
    # Repeated text is kept once; where every column is wanted, prompts do not repeat.
    kind = pa.large_string() if wanted is None else pa.dictionary(pa.int32(), pa.large_string())

    def refuse(row: Any) -> str:
        refused.append(row)
        return "error"

    if not present:
        return {name: _absent() for name in names}
    try:
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=MAX_LINE_BYTES),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pa.csv.ConvertOptions(
                include_columns=present,
                column_types={name: kind for name in present},
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        )
    except pa.ArrowException as error:
        raise TableError(_csv_error(path, error, refused)) from error
    return {name: table.column(name) for name in present} | {n: _absent() for n in names if n not in present}


def _csv_error(path: Path, error: Exception, refused: Sequence[Any]) -> str:
    if refused:
        bad = refused[0]
        row = "" if bad.number is None else f", row {bad.number - 1}"
        return (
            f"{path}{row}: {bad.actual_columns} fields, but the header has {bad.expected_columns}; "
            "put text that holds commas, quotes or line breaks in double quotes"
        )
    text = one_line(error)
    if "UTF8" in text or "UTF-8" in text:
        return f"{path}: not UTF-8 text; save it as UTF-8"
    if "straddling" in text:
        return f"{path}: a row of more than {MAX_LINE_BYTES >> 20} MB; is a double quote not closed?"
    return f"{path}: not a readable CSV file ({text}); save it again as CSV with a header"


# ---------------------------------------------------------------- JSON


def jsonl_columns(path: Path, text: Sequence[str], numbers: Sequence[str]) -> Columns:
    """The wanted columns of a JSON lines file, line by line where types vary or a line is bad."""
    schema = pa.schema([(name, pa.large_string()) for name in text] + [(name, pa.float64()) for name in numbers])
    try:
        table = pa.json.read_json(
            path,
            read_options=pa.json.ReadOptions(use_threads=False, block_size=MAX_LINE_BYTES),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        return json_columns(path, (*text, *numbers))
    columns: Columns = {name: table.column(name) for name in schema.names}
    if any(column.null_count == len(column) for column in columns.values()):
        keys = _first_keys(path)
        columns = {k: v for k, v in columns.items() if k in keys or v.null_count < len(v)}
        columns |= {key: _absent() for key in keys if key not in columns}
    return columns


def _first_keys(path: Path) -> list[str]:
    return list(next((record for _, record in json_records(path)), {}))


def json_columns(path: Path, wanted: Sequence[str]) -> Columns:
    """The wanted columns as Python lists; keys that a line lacks are missing values."""
    columns: dict[str, list[Any]] = {}
    others: set[str] = set()
    count = 0
    for _, record in json_records(path):
        for key, value in record.items():
            if key not in wanted:
                others.add(key)
                continue
            cells = columns.setdefault(key, [])
            cells.extend([None] * (count - len(cells)))
            cells.append(value)
        count += 1
    for cells in columns.values():
        cells.extend([None] * (count - len(cells)))
    return {**columns, **{key: _absent() for key in others}}


def json_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a JSON lines file with their line numbers."""
    with path.open("rb") as file:
        line = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            line += 1
            if len(raw) > MAX_LINE_BYTES:
                raise TableError(
                    f"{path}, line {line}: longer than {MAX_LINE_BYTES >> 20} MB; write one object per line"
                )
            if raw.strip():
                yield line, _json_object(raw.removeprefix(b"\xef\xbb\xbf"), path, line)


def _json_object(raw: bytes, path: Path, line: int) -> Mapping[str, Any]:
    try:
        record = json.loads(raw)
    except UnicodeDecodeError as error:
        raise TableError(f"{path}, line {line}: not UTF-8 text; save it as UTF-8") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise TableError(f"{path}, line {line}: not JSON ({one_line(error)}); write one object per line") from error
    if not isinstance(record, dict):
        raise TableError(f"{path}, line {line}: not a JSON object; write one object per line")
    return record


def one_line(error: Exception) -> str:
    """The text of an error as one short line."""
    return " ".join(str(error).split())[:160]
