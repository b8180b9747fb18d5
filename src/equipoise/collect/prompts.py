"""Prompt rows and the reader of prompt files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from equipoise.datasets.ladder.row import PromptRow
from equipoise.errors import TableError
from equipoise.tables.rows import MAX_PROMPT_BYTES
from equipoise.tables.sources import csv_columns, json_records

__all__ = ["COLUMNS", "PromptRow", "read_prompts"]

COLUMNS = ("prompt_id", "prompt", "dataset", "group", "level", "grader", "answer", "tests")
_HALF = re.compile("[\ud800-\udfff]")  # of a pair that UTF-16 writes for one character: no UTF-8 text can hold it


def read_prompts(path: str | Path) -> list[PromptRow]:
    """Read a JSON-lines (`.jsonl`, `.ndjson`, `.json`) or CSV file of prompts."""
    file = Path(path)
    if not file.is_file():
        raise TableError(f"{file}: no such prompt file; give the path of a .jsonl or .csv file")
    json_lines = ((f"line {line}", record) for line, record in json_records(file))
    records = _csv_records(file) if file.suffix.lower() == ".csv" else json_lines
    rows: list[PromptRow] = []
    seen: dict[str, str] = {}
    for place, record in records:
        row = _row(record, file, f"{file}, {place}")
        if row.prompt_id in seen:
            raise TableError(
                f"{file}, {place}: prompt_id {row.prompt_id!r} was already used on {seen[row.prompt_id]}; "
                "give every prompt its own id"
            )
        seen[row.prompt_id] = place
        rows.append(row)
    if not rows:
        raise TableError(f"{file}: no prompts in the file; write at least one line with prompt_id and prompt")
    return rows


def _csv_records(file: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    columns = csv_columns(file)
    for name in ("prompt_id", "prompt"):
        if name not in columns:
            raise TableError(f"{file}, line 1: no column {name!r}; add it to the header")
    cells = [column.to_pylist() for column in columns.values()]
    for row, record in enumerate(zip(*cells, strict=True), start=1):
        yield f"row {row}", dict(zip(columns, record, strict=True))


def _row(record: Mapping[str, object], file: Path, where: str) -> PromptRow:
    for name in ("prompt_id", "prompt"):
        if name not in record:
            raise TableError(f"{where}: no column {name!r}; add it to every line")
    prompt_id = _text(record, "prompt_id", where).strip()
    prompt = _text(record, "prompt", where)
    if not prompt_id:
        raise TableError(f"{where}: empty prompt_id; give every prompt its own id")
    if not prompt.strip():
        raise TableError(f"{where}: prompt {prompt_id!r} is empty; write the prompt or remove the line")
    if len(prompt) * 4 > MAX_PROMPT_BYTES and len(prompt.encode()) > MAX_PROMPT_BYTES:
        raise TableError(f"{where}: prompt {prompt_id!r} is longer than 1 MB; shorten it or remove the line")
    return PromptRow(
        prompt_id=prompt_id,
        prompt=prompt,
        dataset=_text(record, "dataset", where).strip() or file.stem.strip(),
        group=_text(record, "group", where) or prompt_id,
        level=_level(record.get("level"), where),
        grader=_text(record, "grader", where) or None,
        answer=_answer(record.get("answer"), where),
        tests=_text(record, "tests", where),
    )


def _text(record: Mapping[str, object], name: str, where: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        if _HALF.search(value):
            raise TableError(f"{where}: column {name!r} holds half of a character (\\ud8..); write it whole")
        return value
    # Ids are often written as bare numbers; anything deeper is a mistake worth naming.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise TableError(f"{where}: column {name!r} is not text; write a string")


def _level(value: object, where: str) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch("-?[0-9]{1,9}", text):
        raise TableError(f"{where}: level {value!r} is not a whole number; write 1, 2, 3 ... or leave it out")
    return int(text)


def _answer(value: object, where: str) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        # A CSV cell can hold only text, so a JSON list of strings in it means several answers.
        parsed = _list_in_text(value)
        return parsed if parsed is not None else (value,)
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, int | float):
        return (str(value),)
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return tuple(str(item) for item in value)
    raise TableError(f"{where}: answer is neither text nor a list of texts; write one or the other")


def _list_in_text(text: str) -> tuple[str, ...] | None:
    if not text.startswith('["'):
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None
