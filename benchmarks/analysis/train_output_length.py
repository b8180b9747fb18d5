"""Train the answer-length model on an outcome table with measured output tokens.

    python benchmarks/analysis/train_output_length.py TABLE [TABLE ...] [--write]

A prompt's target is the mean of log output tokens over the models that answered it. Prompts are split 80/20
by a hash of their text to measure; what ships is fitted on all of them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow.parquet as pq

from equipoise.analysis import Analyzer
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.keywords import output_ratio
from equipoise.analysis.output_length import OutputLength, bounded, fit_output_length
from equipoise.types import Bools, FeatureBatch, Floats

WEIGHTS = Path(__file__).parents[2] / "src/equipoise/analysis/data/output_length.npz"


def targets(paths: Sequence[Path]) -> dict[str, float]:
    """Geometric mean of the output tokens of every prompt."""
    logs: dict[str, list[float]] = defaultdict(list)
    for path in paths:
        for row in pq.read_table(path, columns=["prompt", "output_tokens"]).to_pylist():
            if row["output_tokens"] is not None and row["output_tokens"] >= 1:
                logs[row["prompt"]].append(float(np.log(row["output_tokens"])))
    return {prompt: float(np.exp(np.mean(values))) for prompt, values in logs.items()}


def fit(batch: FeatureBatch, y: Floats, rows: Bools) -> OutputLength:
    assert batch.structure is not None and batch.embedding is not None
    return fit_output_length(batch.structure[rows], batch.embedding[rows], y[rows], embedder=static_embedder().version)


def measure(batch: FeatureBatch, y: Floats, test: Bools) -> None:
    assert batch.structure is not None and batch.embedding is not None
    model = fit(batch, y, ~test)
    learned = np.array([model.predict(s, e) for s, e in zip(batch.structure[test], batch.embedding[test], strict=True)])
    ratio = np.array(
        [bounded(n * output_ratio(t)) for n, t in zip(batch.input_tokens[test], batch.task_type[test], strict=True)]
    )
    constant = np.full(int(test.sum()), np.exp(np.log(y[~test]).mean()))
    for name, said in (("learned", learned), ("ratio", ratio), ("constant", constant)):
        error = np.abs(np.log(said) - np.log(y[test]))
        factor, within = np.exp(np.median(error)), np.mean(error < np.log(2))
        sys.stdout.write(f"{name:10} median factor off {factor:.2f}, within a factor of two {within:.1%}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="ship the weights")
    options = parser.parse_args()
    known = targets(options.tables)
    prompts = sorted(known)
    y = np.array([known[p] for p in prompts])
    batch = Analyzer(output_length="ratio").analyze_batch(prompts, frozenset({"structure", "embedding"}))
    test = np.array([crc32(p.encode()) % 5 == 0 for p in prompts])
    sys.stdout.write(f"{len(prompts)} prompts, {int(test.sum())} of them for measuring\n")
    measure(batch, y, test)
    if options.write:
        beside = WEIGHTS.with_name(f"{WEIGHTS.name}.tmp-{os.getpid()}")
        beside.write_bytes(fit(batch, y, np.ones(len(y), dtype=bool)).to_bytes())
        os.replace(beside, WEIGHTS)


if __name__ == "__main__":
    main()
