"""Sampled answers with known truth: who is right how often, and what wrong answers look like."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from equipoise.tables import OutcomeTable
from equipoise.tables.answers import Answers, answers_from_columns
from tests.evaluation_fakes import objects

KINDS = ("sum", "capital", "riddle", "rhyme")


class Sampled(NamedTuple):
    """A table with the answers behind it, and every model's true chance on every prompt."""

    table: OutcomeTable
    answers: Answers
    chance: np.ndarray


def sampled_table(
    *,
    prompts: int = 600,
    draws: int = 4,
    seed: int = 0,
    skill: tuple[float, ...] = (-0.6, 0.2, 1.2),
    cost: tuple[float, ...] = (1.0, 3.0, 20.0),
    spread: float = 1.5,
    decoys: int = 6,
) -> Sampled:
    """Every prompt has a difficulty that its text does not tell, a right answer and ``decoys`` wrong ones.

    A model is right with chance sigmoid(skill - difficulty), draw by draw; when wrong it picks a decoy. So models
    agree by being right far more often than by being wrong, and a cascade that looks at agreement knows
    what no router can know before.
    """
    rng = np.random.default_rng([seed, 77])
    kind = rng.integers(0, len(KINDS), prompts)
    difficulty = rng.normal(0, spread, prompts) + (kind - 1.5) * 0.5
    chance = 1 / (1 + np.exp(difficulty[:, None] - np.array(skill)[None]))
    right = rng.random((prompts, len(skill), draws)) < chance[:, :, None]
    wrong = rng.integers(1, decoys + 1, right.shape)
    said = np.where(right, 0, wrong)
    price = np.array(cost)[None, :, None] * 1e-5 * rng.uniform(0.8, 1.2, right.shape)
    texts = [f"{KINDS[k]} question {c}" for k, c in zip(kind, rng.permutation(10**6)[:prompts], strict=True)]
    ids = [f"p{i}" for i in range(prompts)]
    models = tuple(f"m{j}" for j in range(len(skill)))
    nothing = np.full(right.shape[:2], np.nan)
    table = OutcomeTable(
        name="sampled",
        prompt_ids=objects(ids),
        prompts=objects(texts),
        datasets=objects([KINDS[k] for k in kind]),
        groups=objects(ids),
        models=models,
        quality=right[:, :, 0].astype(float),
        cost_usd=price[:, :, 0],
        input_tokens=nothing,
        output_tokens=nothing,
        latency_s=nothing,
    )
    i, j, s = (a.ravel() for a in np.indices(right.shape))
    columns = {
        "prompt_id": [ids[k] for k in i],
        "model": [models[k] for k in j],
        "sample": s.tolist(),
        "answer": [f"answer {k * 100 + v}" for k, v in zip(i, said.ravel(), strict=True)],
        "quality": right.ravel().astype(float).tolist(),
        "finish": ["stop"] * len(i),
        "cost_usd": price.ravel().tolist(),
        "latency_s": (price.ravel() * 1e4).tolist(),
        "output_tokens": [3.0] * len(i),
    }
    return Sampled(table, answers_from_columns(columns, table), chance)


def write_answers(world: Sampled, path: Path) -> None:
    """The answers as the file that stands beside a table."""
    n, m, s = world.answers.quality.shape
    i, j, k = (a.ravel() for a in np.indices((n, m, s)))
    given = world.answers
    columns = {
        "prompt_id": world.table.prompt_ids[i].tolist(),
        "model": [world.table.models[c] for c in j],
        "sample": k.astype(np.int32),
        "answer": given.text.ravel().tolist(),
        "quality": given.quality.ravel(),
        "finish": given.finish.ravel().tolist(),
        "cost_usd": given.cost_usd.ravel(),
        "latency_s": given.latency_s.ravel(),
        "output_tokens": given.output_tokens.ravel(),
    }
    pq.write_table(pa.table(columns), path)
