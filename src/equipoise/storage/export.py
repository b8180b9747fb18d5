"""The decision log as one parquet file: a row per decision."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from equipoise.atomic import write_whole
from equipoise.storage.reading import LogReader, Record, as_record
from equipoise.traffic import Outcome
from equipoise.types import Candidate

_ROWS = 2000
_SAID = ("source", "reward", "received", "comment")
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("decision_id", pa.string()),
        ("received", _TIME),
        ("tenant", pa.string()),
        ("route", pa.string()),
        ("format", pa.string()),
        ("model", pa.string()),
        ("fallback", pa.string()),
        ("steps", pa.string()),
        ("method", pa.string()),
        ("confidence", pa.float64()),
        ("probability", pa.float64()),
        ("draw", pa.float64()),
        ("expected_quality", pa.float64()),
        ("expected_quality_std", pa.float64()),
        ("expected_cost_usd", pa.float64()),
        ("expected_latency_s", pa.float64()),
        ("expected_output_tokens", pa.float64()),
        ("utility", pa.float64()),
        ("constraints", pa.string()),
        ("features", pa.string()),
        ("candidates", pa.string()),
        ("reasons", pa.string()),
        ("versions", pa.string()),
        ("status", pa.string()),
        ("answered_by", pa.string()),
        ("deployment", pa.string()),
        ("finished", _TIME),
        ("cost_usd", pa.float64()),
        ("routing_usd", pa.float64()),
        ("saved_usd", pa.float64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("tokens_estimated", pa.bool_()),
        ("latency_s", pa.float64()),
        ("first_token_s", pa.float64()),
        ("overhead_s", pa.float64()),
        ("attempts", pa.string()),
        ("cache", pa.string()),
        ("finish", pa.string()),
        ("error", pa.string()),
        ("reward", pa.float64()),
        ("feedback", pa.string()),
        ("prompt", pa.string()),
    ]
)


def export_log(log: LogReader, path: Path, *, since: float = 0.0) -> int:
    """Write every decision received from ``since`` on. Atomic. Returns the number of rows.

    Raises:
        InputError: the file cannot be written.
        StoreUnavailable: the log cannot be read just now.
    """
    rows = 0

    def write(file: BinaryIO) -> None:
        nonlocal rows
        records = (row_of(as_record(stored)) for stored in log.store.rows(since))
        with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for batch in _batches(records):
                writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))
                rows += len(batch)

    write_whole(path, write, private=True)  # as the log itself is
    return rows


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _ROWS)):
        yield batch


def row_of(record: Record) -> dict[str, Any]:
    """One decision as the columns of the export; whatever is a list or a mapping is JSON."""
    d = record.decision
    chosen = next((c for c in d.candidates if c.model == d.plan.model), None)
    return {
        "decision_id": d.id,
        "received": _microseconds(record.received),
        "tenant": record.tenant,
        "route": record.route,
        "format": record.format,
        "model": d.plan.model,
        "fallback": _json(d.plan.fallback),
        "steps": _json([_fields(step) for step in d.plan.steps]),
        "method": d.method,
        "confidence": d.confidence,
        "draw": d.draw,
        **(_expectations(chosen) if chosen is not None else {}),
        "constraints": _json({**_fields(d.constraints), "capabilities": sorted(d.constraints.capabilities)}),
        "features": _json(dict(d.features)),
        "candidates": _json([{"model": c.model, **_expectations(c), "refused": c.refused} for c in d.candidates]),
        "reasons": _json(d.reasons),
        "versions": _json(dict(d.versions)),
        **(_happened(record.outcome) if record.outcome is not None else {}),
        "reward": sum(f.reward for f in record.feedback) / len(record.feedback) if record.feedback else None,
        "feedback": _json([{k: getattr(f, k) for k in _SAID} for f in record.feedback]),
        "prompt": record.prompt,
    }


def _expectations(c: Candidate) -> dict[str, Any]:
    """Null for what is not known, which a router that is anyone's code may say by any number that is none."""
    found = {
        "probability": c.probability,
        "expected_quality": None if c.quality is None else c.quality.mean,
        "expected_quality_std": None if c.quality is None else c.quality.std,
        "expected_cost_usd": c.cost_usd,
        "expected_latency_s": c.latency_s,
        "expected_output_tokens": c.output_tokens,
        "utility": c.utility,
    }
    return {name: None if value is None or not math.isfinite(value) else value for name, value in found.items()}


def _happened(o: Outcome) -> dict[str, Any]:
    usages = [a.usage for a in o.attempts]
    return {
        "status": o.status,
        "answered_by": o.model,
        "deployment": o.deployment,
        "finished": _microseconds(o.finished),
        "cost_usd": o.cost_usd,
        "routing_usd": o.routing_usd,
        "saved_usd": o.saved_usd,
        "input_tokens": sum(u.input_tokens for u in usages),
        "output_tokens": sum(u.output_tokens for u in usages),
        "cached_tokens": sum(u.cached_tokens for u in usages),
        "tokens_estimated": any(u.estimated for u in usages),
        "latency_s": o.latency_s,
        "first_token_s": o.first_token_s,
        "overhead_s": o.overhead_s,
        "attempts": _json([{**_fields(a), "usage": _fields(a.usage)} for a in o.attempts]),
        "cache": o.cache,
        "finish": o.finish,
        "error": o.error,
    }


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _microseconds(unix: float) -> int:
    return round(unix * 1e6)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
