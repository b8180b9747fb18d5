"""Other projects' outcome files to outcome tables.

Every converter yields long-form columns; the table's own checks then apply to them as to any file.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.errors import TableError, UnknownName
from equipoise.tables.columns import coded, numbers
from equipoise.tables.files import read_table
from equipoise.tables.rows import NUMBERS, REQUIRED, rows_from_columns
from equipoise.tables.sources import csv_columns, csv_header, json_records, kind_of
from equipoise.tables.table import OutcomeTable
from equipoise.types import Floats, Strings

MAX_FILES = 1000
MAX_JSON_BYTES = 500_000_000
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Format:
    """A known format: its name, what it is, and what to be aware of in the data."""

    name: str
    about: str
    caution: str = ""


FORMATS = (
    Format("long", "an outcome table already: one row per prompt and model"),
    Format(
        "routerbench",
        "RouterBench CSV: sample_id, prompt, eval_name, a score column per model, MODEL|total_cost",
        "the costs rest on RouterBench's own price list: good for comparing, not as dollar amounts",
    ),
    Format(
        "routellm",
        "RouteLLM response CSVs (a file or a folder of them): prompt, one true/false column per model",
        "these files hold neither token counts nor costs: give prices per call, or train and evaluate with --cost none",
    ),
    Format(
        "llmrouter",
        "LLMRouter JSON lines (task_name, query, model_name, performance) or JSON arrays (question, scores)",
        "some prompts stand in both the train and the test file; table lint names them",
    ),
    Format(
        "mmlu-pro",
        "MMLU-Pro results (a folder of JSON or zip files): question_id, question, options, answer, pred",
        "a missing prediction counts as wrong; these files hold neither token counts nor costs",
    ),
    Format(
        "wide",
        "a CSV with a prompt column and one column per model; MODEL:cost_usd and the like are optional",
    ),
)


def convert(path: str | os.PathLike[str], *, format: str | None = None) -> OutcomeTable:
    """Read a file or folder in one of the known formats.

    Args:
        path: the file, or a folder of files for the formats that come in parts.
        format: one of ``FORMATS``; found from the content if None.

    Raises:
        TableError: when the content does not fit the format.
        UnknownName: for a format that does not exist.
    """
    source = Path(path)
    chosen = format or detect_format(source)
    if chosen not in READERS:
        raise UnknownName("format", chosen, READERS)
    return READERS[chosen](source)


def detect_format(path: str | os.PathLike[str]) -> str:
    """The name of the format that the content has.

    Raises:
        TableError: when it is none of the known ones.
    """
    first = _parts(Path(path))[0]
    if zipfile.is_zipfile(first):
        return "mmlu-pro"
    kind = kind_of(first)
    if kind == "parquet":
        return "long"
    if kind == "json":
        return "mmlu-pro" if "pred" in next(_array(first), {}) else "llmrouter"
    names = set(csv_header(first)[0]) if kind == "csv" else set(next(json_records(first))[1])
    return _by_names(names, first)


def _by_names(names: set[str], path: Path) -> str:
    if {"model", "quality"} <= names:
        return "long"
    if {"sample_id", "eval_name"} <= names:
        return "routerbench"
    if {"query", "model_name", "performance"} <= names or {"question", "scores"} <= names:
        return "llmrouter"
    if "prompt" in names and len(names) > 1:
        plain = names & set(WIDE_TEXT) == {"prompt"} and not any(":" in name for name in names)
        return "routellm" if plain and _only_booleans(path, names) else "wide"
    raise TableError(
        f"{path}: no known format has columns {', '.join(sorted(names)[:10])}; give a table with columns "
        f"{', '.join(REQUIRED)}, or name the format with --format"
    )


def _only_booleans(path: Path, names: set[str]) -> bool:
    columns = csv_columns(path)
    models = [name for name in names if name != "prompt" and not name.endswith("_response")]
    cells = {str(value).lower() for name in models for value in columns[name].slice(0, 50).to_pylist()}
    return cells <= {"true", "false"}


# ---------------------------------------------------------------- one column per model


def _wide(path: Path) -> OutcomeTable:
    """``prompt``, and if there are ``prompt_id``, ``dataset``, ``group``, ``split``; the rest are models."""
    columns = csv_columns(path)
    if "prompt" not in columns:
        raise TableError(f"{path}: missing column 'prompt'; name the column with the prompt text 'prompt'")
    n = len(columns["prompt"])
    extra = {name: _extra(name) for name in columns if name not in WIDE_TEXT}
    models = [name for name, found in extra.items() if found is None]
    texts = {name: _texts(columns[name], name, path) for name in WIDE_TEXT if name in columns}
    ids = texts.pop("prompt_id", texts.pop("id", _numbered(path.stem, n)))
    long = {"prompt_id": ids, "prompt": texts["prompt"], "dataset": texts.get("dataset", _same(path.stem, n))}
    long |= {name: texts[name] for name in ("group", "split") if name in texts}
    cells = {(model, "quality"): columns[model] for model in models}
    for name, found in extra.items():
        if found is None:
            continue
        if found[0] not in models:
            raise TableError(f"{path}: column '{name}' belongs to '{found[0]}', which has no quality column")
        if found in cells:
            raise TableError(f"{path}: column '{name}' and another both give {found[1]} of '{found[0]}'; keep one")
        cells[found] = columns[name]
    return _melt(path, long, models, cells)


WIDE_TEXT = ("prompt_id", "id", "prompt", "dataset", "group", "split")
_SHORT = {"cost": "cost_usd", "latency": "latency_s"}


def _extra(name: str) -> tuple[str, str] | None:
    """``gpt-4:cost`` is the cost of ``gpt-4``. Other colons belong to the model's name."""
    model, _, what = name.rpartition(":")
    what = _SHORT.get(what, what)
    return (model, what) if model and what in NUMBERS else None


def _routerbench(path: Path) -> OutcomeTable:
    columns = csv_columns(path)
    missing = [name for name in ("sample_id", "prompt", "eval_name") if name not in columns]
    if missing:
        raise TableError(f"{path}: missing column '{missing[0]}'; is this a RouterBench CSV?")
    models = [
        name
        for name in columns
        if "|" not in name
        and name
        and not name.startswith("Unnamed")
        and name not in ("sample_id", "prompt", "eval_name", "oracle_model_to_route_to")
    ]
    long = {
        "prompt_id": _texts(columns["sample_id"], "sample_id", path),
        "prompt": np.array([_unlisted(t) for t in _texts(columns["prompt"], "prompt", path)], dtype=object),
        "dataset": _texts(columns["eval_name"], "eval_name", path),
    }
    cells = {(model, "quality"): columns[model] for model in models}
    cells |= {(m, "cost_usd"): columns[f"{m}|total_cost"] for m in models if f"{m}|total_cost" in columns}
    return _melt(path, long, models, cells)


def _unlisted(prompt: str) -> str:
    """RouterBench writes prompts as Python lists of strings; the text is their lines."""
    if not prompt.startswith("["):
        return prompt
    try:
        parts = ast.literal_eval(prompt)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return prompt
    return "\n".join(parts) if isinstance(parts, list) and all(isinstance(p, str) for p in parts) else prompt


def _routellm(path: Path) -> OutcomeTable:
    tables = []
    for part in _parts(path, ".csv"):
        columns = csv_columns(part)
        models = [name for name in columns if name != "prompt" and not name.endswith("_response")]
        if "prompt" not in columns or not models:
            raise TableError(f"{part}: no column 'prompt' and a column per model; is this a RouteLLM response file?")
        prompts = _texts(columns["prompt"], "prompt", part)
        name = part.stem.removesuffix("_responses")
        long = {
            "prompt_id": _numbered(name, len(prompts)),
            "prompt": prompts,
            "dataset": _same(name, len(prompts)),
        }
        tables.append(_melted(part, long, models, {(m, "quality"): columns[m] for m in models}))
    return _joined(path, tables)


def _melt(path: Path, long: Mapping[str, Strings], models: Sequence[str], cells: Mapping[Any, Any]) -> OutcomeTable:
    return _joined(path, [_melted(path, long, models, cells)])


def _melted(
    path: Path, long: Mapping[str, Strings], models: Sequence[str], cells: Mapping[tuple[str, str], Any]
) -> dict[str, Any]:
    """Long columns from one quality column per model; cells without quality are left out."""
    if not models:
        raise TableError(f"{path}: no column holds a model's quality; name one column after each model")
    n = len(long["prompt"])
    values = {
        column: np.stack([_number_cells(cells, model, column, n, path) for model in models], axis=1).ravel()
        for column in NUMBERS
        if any(key[1] == column for key in cells)
    }
    keep = ~np.isnan(values["quality"])
    columns: dict[str, Any] = {name: np.repeat(text, len(models))[keep] for name, text in long.items()}
    columns["model"] = np.tile(np.array([m.strip() for m in models], dtype=object), n)[keep]
    columns |= {name: cell[keep] for name, cell in values.items()}
    return columns | {"row": np.repeat(np.arange(n), len(models))[keep]}


def _number_cells(cells: Mapping[tuple[str, str], Any], model: str, column: str, n: int, path: Path) -> Floats:
    given = cells.get((model, column))
    if given is None:
        return np.full(n, np.nan)
    if column != "quality":
        return numbers(given, f"{model} {column}", str(path))
    try:
        return numbers(given, model, str(path), booleans=True)
    except TableError as error:
        raise TableError(f"{error} (every column but {', '.join(WIDE_TEXT)} is taken as a model's quality)") from None


def _joined(path: Path, parts: Sequence[Mapping[str, Any]]) -> OutcomeTable:
    names = dict.fromkeys(name for part in parts for name in part)
    columns = {
        name: np.concatenate([_filled(part, name) for part in parts]) if len(parts) > 1 else parts[0][name]
        for name in names
    }
    rows = rows_from_columns(columns, name=str(path))
    if len(parts) == 1:
        rows = replace(rows, of_file=columns.get("row"))
    return OutcomeTable(name=path.stem, **rows.checked().matrices())


def _filled(part: Mapping[str, Any], name: str) -> Any:
    n = len(part["prompt"])
    return part[name] if name in part else np.full(n, np.nan if name in NUMBERS else None)


def _texts(column: Any, name: str, path: Path) -> Strings:
    found = coded(column, name, str(path))
    return np.append(found.values, "").astype(object)[found.codes]


def _numbered(name: str, n: int) -> Strings:
    return np.array([f"{name}-{i}" for i in range(n)], dtype=object)


def _same(name: str, n: int) -> Strings:
    return np.full(n, name, dtype=object)


# ---------------------------------------------------------------- records


def _llmrouter(path: Path) -> OutcomeTable:
    """JSON lines with a record per query and model, or JSON arrays with all models' scores per question."""
    records: list[dict[str, Any]] = []
    queries: dict[tuple[str, ...], str] = {}
    for part in _parts(path, ".json", ".jsonl"):
        words = re.split("[^a-z]+", part.stem.lower())
        split = next((s for s in ("train", "test", "validation") if s in words), "")
        if kind_of(part) == "json":
            records.extend(_scored(part, split))
        else:
            records.extend(_performances(part, split, queries))
    return replace(OutcomeTable.from_rows(records, name=str(path)), name=path.stem)


def _scored(path: Path, split: str) -> Iterator[dict[str, Any]]:
    for i, record in enumerate(_array(path)):
        scores = record.get("scores")
        if not isinstance(record.get("question"), str) or not isinstance(scores, dict):
            raise TableError(f"{path}, record {i + 1}: no 'question' and 'scores'; is this an LLMRouter file?")
        cluster = record.get("cluster_id")
        shared = {
            "prompt_id": f"{path.stem}-{i}",
            "prompt": record["question"],
            "dataset": str(record.get("task_name") or (path.stem if cluster is None else f"cluster-{cluster}")),
            "split": split or None,
        }
        yield from ({**shared, "model": model, "quality": score} for model, score in scores.items())


def _performances(path: Path, split: str, queries: dict[tuple[str, ...], str]) -> Iterator[dict[str, Any]]:
    for line, record in json_records(path):
        missing = [key for key in ("query", "model_name", "performance") if key not in record]
        if missing:
            raise TableError(f"{path}, line {line}: no '{missing[0]}'; is this an LLMRouter routing file?")
        task = str(record.get("task_name") or path.stem)
        key = (task, *(str(record.get(name)) for name in ("query", "ground_truth", "metric")))
        yield {
            "prompt_id": queries.setdefault(key, f"{task}-{len(queries)}"),
            "prompt": record["query"],
            "dataset": task,
            "model": record["model_name"],
            "quality": record["performance"],
            "cost_usd": record.get("cost"),
            "input_tokens": record.get("input_tokens"),
            "output_tokens": record.get("output_tokens"),
            "latency_s": record.get("response_time"),
            "split": split or None,
        }


def _mmlu_pro(path: Path) -> OutcomeTable:
    records: list[dict[str, Any]] = []
    for part in _parts(path, ".json", ".zip"):
        model = part.stem.removeprefix("model_outputs_").removesuffix("_5shots")
        for i, record in enumerate(_array(part)):
            missing = [key for key in ("question_id", "question", "options", "answer") if key not in record]
            if missing:
                raise TableError(f"{part}, record {i + 1}: no '{missing[0]}'; is this an MMLU-Pro result file?")
            options = zip(LETTERS, record["options"], strict=False)
            records.append(
                {
                    "prompt_id": f"mmlupro-{record['question_id']}",
                    "prompt": "\n".join([str(record["question"]), *(f"{a}. {text}" for a, text in options)]),
                    "dataset": str(record.get("category") or "mmlu-pro"),
                    "model": model,
                    "quality": float(record.get("pred") == record["answer"]),
                }
            )
    return replace(OutcomeTable.from_rows(_one_wording(records), name=str(path)), name=path.stem)


def _one_wording(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A question that was worded differently for another model keeps its first wording."""
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        known = first.setdefault(record["prompt_id"], record)
        yield {**record, "prompt": known["prompt"], "dataset": known["dataset"]}


def _array(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array, in a file or in a zip of such files."""
    for name, raw in _documents(path):
        try:
            records = json.load(io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise TableError(f"{name}: not a JSON array ({' '.join(str(error).split())[:120]})") from error
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise TableError(f"{name}: not a JSON array of objects")
        yield from records


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    if not zipfile.is_zipfile(path):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise TableError(f"{path}: more than {MAX_JSON_BYTES // 1_000_000} MB of JSON; split the file")
        yield str(path), path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        found = archive.infolist()
        entries = [e for e in found if e.filename.endswith(".json") and not e.filename.startswith("__MACOSX")]
        if len(entries) > MAX_FILES:
            raise TableError(f"{path}: more than {MAX_FILES} files in this archive; convert it in parts")
        for entry in entries:
            with archive.open(entry) as file:
                raw = file.read(MAX_JSON_BYTES + 1)
            if len(raw) > MAX_JSON_BYTES:
                raise TableError(f"{path}: {entry.filename} unpacks to more than {MAX_JSON_BYTES // 1_000_000} MB")
            yield f"{path}:{entry.filename}", raw


def _parts(path: Path, *endings: str) -> list[Path]:
    """The file itself, or the files of a folder in order of their names."""
    if not path.is_dir():
        if not path.exists():
            raise TableError(f"{path}: no such file; check the path")
        return [path]
    wanted = endings or (".csv", ".json", ".jsonl", ".zip", ".parquet")
    parts = sorted(file for file in path.iterdir() if file.suffix.lower() in wanted)
    if not parts:
        raise TableError(f"{path}: no {', '.join(wanted)} files in this folder")
    if len(parts) > MAX_FILES:
        raise TableError(f"{path}: more than {MAX_FILES} files in this folder; convert it in parts")
    return parts


READERS: Mapping[str, Callable[[Path], OutcomeTable]] = {
    "long": read_table,
    "routerbench": _routerbench,
    "routellm": _routellm,
    "llmrouter": _llmrouter,
    "mmlu-pro": _mmlu_pro,
    "wide": _wide,
}
