"""The three files of an evaluation: results.json, choices.parquet and report.html.

They are built in a directory of their own and moved in one by one, so that an interrupted run
leaves nothing half-written under the final names. results.json comes last: where it is, all is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from equipoise.errors import InputError
from equipoise.evaluation.fold import FoldResult, Method
from equipoise.evaluation.report import report_html
from equipoise.evaluation.results import Results
from equipoise.json_text import json_text

RESULTS, CHOICES, REPORT = "results.json", "choices.parquet", "report.html"
CASCADES = "cascades.parquet"
_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("router", _TEXT),
        ("seed", pa.int32()),
        ("operating_point", pa.int32()),
        ("prompt_id", _TEXT),
        ("model", _TEXT),
    ]
)
CASCADE_SCHEMA = pa.schema(
    [
        ("cascade", _TEXT),
        ("seed", pa.int32()),
        ("operating_point", pa.int32()),
        ("prompt_id", _TEXT),
        ("model", _TEXT),
        ("calls", pa.int32()),
        ("cost_usd", pa.float64()),
        ("latency_s", pa.float64()),
        ("quality", pa.float64()),
    ]
)


def write_evaluation(results: Results, out: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write results.json, choices.parquet, report.html, and cascades.parquet where there are cascades, into ``out``.

    Raises:
        InputError: ``out`` cannot be a directory.
    """
    names = (CHOICES, *((CASCADES,) if results.cascades else ()), REPORT, RESULTS)
    with staged(out, names) as stage:
        write_choices(results, stage / CHOICES)
        if results.cascades:
            write_cascades(results, stage / CASCADES)
        (stage / REPORT).write_text(report_html(results), encoding="utf-8")
        document = json_text(results.document(), indent=1)
        (stage / RESULTS).write_text(document + "\n", encoding="utf-8")
    return tuple(Path(out) / name for name in reversed(names))


def check_directory(out: str | os.PathLike[str]) -> None:
    """Find out before any long work whether files can be written into ``out``.

    Raises:
        InputError: it is a file or lies below one, or nothing can be written there.
    """
    place = Path(out).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{place} is a file; --out needs a directory")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot be written ({place} is closed to you); name a directory in a writable folder")


@contextmanager
def staged(out: str | os.PathLike[str], names: tuple[str, ...]) -> Iterator[Path]:
    """A directory in ``out``, or beside it where there is none yet; when the block ends well, the named files in it are
    moved to ``out``, in order.

    Raises:
        InputError: ``out`` cannot be written, or the disk is full.
    """
    check_directory(out)
    target = Path(out).resolve()
    # What is there already may be a mount of its own, into which nothing can be moved from beside it.
    place = target / "new" if target.exists() else target
    stage = place.with_name(f"{place.name}.tmp-{os.getpid()}")
    try:
        stage.mkdir(parents=True)
        yield stage
        target.mkdir(exist_ok=True)
        for name in names:
            os.replace(stage / name, target / name)
    except OSError as error:
        # Those of pyarrow say little more than that they are errors, but hold the number of it.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"{out}: cannot be written ({reason}); name a directory in a writable folder") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_choices(results: Results, path: Path) -> None:
    """Every choice on every test prompt at every operating point, one row group per router and seed.

    Operating points are numbered by rising weight of cost, from 0, the highest estimated quality. Rows stand
    by prompt, then operating point: runs of one model compress well.
    """
    models = pa.array(results.models, pa.string())
    routers = pa.array([row.name for row in results.routers], pa.string())
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=True) as writer:
        for code, row in enumerate(results.routers):
            for seed, fold in enumerate(results.folds):
                part = _rows(fold.methods[row.name], fold, seed, (routers, code), (_ids(results, fold), models))
                writer.write_table(part, row_group_size=len(part))


def _rows(
    method: Method, fold: FoldResult, seed: int, router: tuple[pa.Array, int], names: tuple[pa.Array, pa.Array]
) -> pa.Table:
    points, prompts = method.choices.shape
    size = points * prompts
    routers, code = router
    ids, models = names
    return pa.table(
        [
            pa.DictionaryArray.from_arrays(np.full(size, code, dtype=np.int32), routers),
            np.full(size, seed, dtype=np.int32),
            np.tile(np.arange(points, dtype=np.int32), prompts),
            pa.DictionaryArray.from_arrays(np.repeat(np.arange(prompts, dtype=np.int32), points), ids),
            pa.DictionaryArray.from_arrays(method.choices.T.ravel().astype(np.int32), models),
        ],
        schema=SCHEMA,
    )


def write_cascades(results: Results, path: Path) -> None:
    """What every cascade came to on every test prompt at every operating point, best quality first.

    ``model`` is the one whose answer was returned; ``cost_usd`` is that of all ``calls``.
    """
    models = pa.array(results.models, pa.string())
    names = pa.array([c.row.name for c in results.cascades], pa.string())
    with pq.ParquetWriter(path, CASCADE_SCHEMA, compression="zstd", use_dictionary=True) as writer:
        for code, cascade in enumerate(results.cascades):
            for seed, fold in enumerate(results.folds):
                method = fold.methods[cascade.row.name]
                if method.paid is None:
                    continue
                part = _rows(method, fold, seed, (names, code), (_ids(results, fold), models))
                paid = (method.paid.calls, method.paid.cost_usd, method.paid.latency_s, method.paid.quality)
                columns = [*part.columns, *(values.T.ravel() for values in paid)]
                columns[5] = pa.array(columns[5].astype(np.int32))
                writer.write_table(pa.table(columns, schema=CASCADE_SCHEMA), row_group_size=len(part))


def _ids(results: Results, fold: FoldResult) -> pa.Array:
    return pa.array(results.prompt_ids[fold.split.test].tolist(), pa.string())
