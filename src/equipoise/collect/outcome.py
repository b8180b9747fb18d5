"""What a collection hands over: the outcome table, and every draw beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from equipoise.atomic import write_whole
from equipoise.collect.journal import Journal
from equipoise.collect.plan import AskedModel
from equipoise.collect.prompts import PromptRow
from equipoise.tables.answers import SIGNALS
from equipoise.tables.rows import NUMBERS

_DRAW_COLUMNS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("model", pa.string()),
        ("sample", pa.int32()),
        ("temperature", pa.float64()),
        ("answer", pa.string()),
        ("quality", pa.float64()),
        ("finish", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("latency_s", pa.float64()),
        ("compute_s", pa.float64()),
        ("cost_usd", pa.float64()),
        *((name, pa.float32()) for name in SIGNALS),
    ]
)

Rows = dict[tuple[str, str], list[dict[str, Any]]]


def draw_rows(prompts: Iterable[PromptRow], candidates: Sequence[AskedModel], journal: Journal) -> Rows:
    """Every answered draw by (prompt_id, candidate), in order of sample. Costs are at the prices of now."""
    rows: Rows = {}
    for prompt in prompts:
        for candidate in candidates:
            drawn = (_draw_row(journal, candidate, prompt.prompt_id, s) for s in range(candidate.samples + 1))
            rows[prompt.prompt_id, candidate.name] = [r for r in drawn if r is not None]
    return rows


def table_rows(prompts: Iterable[PromptRow], candidates: Sequence[AskedModel], rows: Rows) -> list[dict[str, Any]]:
    """Rows of the outcome table, prompt by prompt; a cell without a graded answer is left out."""
    table = []
    for prompt in prompts:
        for candidate in candidates:
            cell = _cell(candidate, rows[prompt.prompt_id, candidate.name])
            if cell is not None:
                about = {"prompt": prompt.prompt, "dataset": prompt.dataset, "group": prompt.group}
                table.append({"prompt_id": prompt.prompt_id, **about, "model": candidate.name, **cell})
    return table


def complete_prompts(
    prompts: Iterable[PromptRow], candidates: Sequence[AskedModel], rows: Rows
) -> tuple[list[PromptRow], list[PromptRow]]:
    """Prompts with a cell for every candidate, and the rest."""
    whole: list[PromptRow] = []
    rest: list[PromptRow] = []
    for prompt in prompts:
        cells = [_cell(c, rows[prompt.prompt_id, c.name]) for c in candidates]
        (rest if None in cells else whole).append(prompt)
    return whole, rest


def write_answers(rows: Rows, path: Path, *, note: str = "") -> None:
    """Write every draw as parquet, atomically."""
    flat = [r for drawn in rows.values() for r in drawn]
    columns = {name: [r[name] for r in flat] for name in _DRAW_COLUMNS.names}
    schema = _DRAW_COLUMNS.with_metadata({"price_note": note}) if note else _DRAW_COLUMNS
    table = pa.table(columns, schema=schema)
    write_whole(path, lambda draft: pq.write_table(table, draft, compression="zstd"))


def _draw_row(journal: Journal, candidate: AskedModel, prompt_id: str, sample: int) -> dict[str, Any] | None:
    key = (prompt_id, candidate.name, sample)
    answer, grade = journal.answers.get(key), journal.grades.get(key)
    if answer is None:
        return None
    cost = candidate.cost_of(
        answer.input_tokens,
        answer.output_tokens,
        cached=answer.cached_tokens,
        compute_s=answer.compute_s,
        sample=sample,
    )
    return {
        "prompt_id": prompt_id,
        "model": candidate.name,
        "sample": sample,
        "temperature": answer.temperature,
        # Half of a surrogate pair can come out of a broken decoder; parquet holds UTF-8 only.
        "answer": answer.answer.encode("utf-8", "replace").decode(),
        "quality": None if grade is None else grade.quality,
        "finish": answer.finish,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "latency_s": answer.latency_s,
        "compute_s": answer.compute_s,
        "cost_usd": cost,
        **{name: answer.logprobs.get(name) for name in SIGNALS},
    }


def _cell(candidate: AskedModel, drawn: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Draw 0 when it is greedy, else the mean of all draws; None when draws or grades are missing."""
    if candidate.temperature == 0:
        chosen = [r for r in drawn if r["sample"] == 0]
    else:
        chosen = list(drawn) if len(drawn) == candidate.samples + 1 else []
    if not chosen or any(r["quality"] is None for r in chosen):
        return None
    cell: dict[str, Any] = {}
    for name in NUMBERS:
        values = [r[name] for r in chosen]
        mean = None if None in values else sum(values) / len(values)
        cell[name] = round(mean) if mean is not None and name.endswith("_tokens") else mean
    return cell
