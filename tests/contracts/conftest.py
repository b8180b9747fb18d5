"""A small world with known structure, made of arrays only: two kinds of prompts, three models."""

import dataclasses

import numpy as np
import pytest

from equipoise.sparse import SparseRows
from equipoise.types import FeatureBatch, Model, Outcomes

KINDS = ("sum {} {}?", "poem {} {}")
TOLD_APART = "the kinds differ in all that make_batch in tests/contracts/conftest.py says; add what only yours reads"


def make_batch(kinds, seed=0, *, width=64, d=16):
    """Features which all but the noise tell the kind: what a router of any sort may read."""
    rng = np.random.default_rng(seed)
    n = len(kinds)
    kinds = np.asarray(kinds)
    vectors = rng.normal(size=(n, d)) * 0.4
    vectors[np.arange(n), kinds] += 1.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = np.sort(np.stack([kinds * 8 + rng.integers(0, 8, n), 16 + rng.integers(0, width - 16, n)], axis=1), axis=1)
    length = np.where(kinds == 0, 10.0, 40.0) + rng.integers(0, 5, n)
    structure = np.stack([np.log1p(length), rng.random(n)], axis=1).astype(np.float32)

    def text(values):
        out = np.empty(n, dtype=object)
        out[:] = values
        return out

    return FeatureBatch(
        text=text([KINDS[k].format(*two) for k, two in zip(kinds, words, strict=True)]),
        words=length,
        input_tokens=length * 1.3,
        output_tokens=length * 2.0,
        domain=text(["reasoning" if k == 0 else "creative" for k in kinds]),
        task_type=text(["problem_solving" if k == 0 else "generation" for k in kinds]),
        complexity=np.where(kinds == 0, 0.2, 0.4),
        difficulty=np.where(kinds == 0, 0.3, 0.2),
        quality_requirement=text(["medium"] * n),
        urgency=text(["normal"] * n),
        linguistic=rng.random((n, 10)),
        structure=structure,
        embedding=vectors.astype(np.float32),
        lexical=SparseRows(
            np.arange(0, 2 * n + 1, 2, dtype=np.int64),
            words.ravel().astype(np.int64),
            np.ones(2 * n, np.float32),
            width,
        ),
    )


def sealed(record):
    """The record, whose arrays raise where something is written into them."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        elif dataclasses.is_dataclass(value):
            sealed(value)
    return record


LEVELS = np.array([[0.9, 0.2, 0.6], [0.2, 0.9, 0.6]])
MODELS = tuple(Model(name=f"m{j}", quality={"reasoning": q[0], "creative": q[1]}) for j, q in enumerate(LEVELS.T))


def make_world(n=240, seed=1, *, missing=0.0):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, n)
    quality = (rng.random((n, 3)) < LEVELS[kinds]).astype(float)
    quality[rng.random(quality.shape) < missing] = np.nan
    return Outcomes(
        features=make_batch(kinds, seed),
        models=tuple(m.name for m in MODELS),
        quality=quality,
        groups=np.arange(n),
        cost_usd=np.broadcast_to([0.001, 0.002, 0.0005], (n, 3)).copy(),
    )


def smaller(name):
    """The router of that name that is fitted sooner: forty trees are grown, kept and chosen among as more are."""
    return {"type": name, **({"trees": 40} if name in ("boosted", "stacked") else {})}


@pytest.fixture
def world():
    return make_world()


def one_row(batch, i=0):
    return batch.row(i)
