"""A small outcome table with real structure: sums and poems, and three models of which each is good at something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from equipoise.tables import OutcomeTable, write_table

SUM_MODEL, POEM_MODEL, DEAR_MODEL = "abacus", "bard", "colossus"
MODELS = (SUM_MODEL, POEM_MODEL, DEAR_MODEL)
COST_USD = {SUM_MODEL: 1e-4, POEM_MODEL: 1.2e-4, DEAR_MODEL: 5e-3}
CHANCE = {
    "sums": {SUM_MODEL: 0.9, POEM_MODEL: 0.1, DEAR_MODEL: 0.99},
    "poems": {SUM_MODEL: 0.1, POEM_MODEL: 0.9, DEAR_MODEL: 0.99},
}
A_SUM = "Work out 417 * 36 - 58 and give only the number."
A_POEM = "Write a melancholy sonnet about an old lighthouse in the rain."

_ASKS = ("What is", "Compute", "Work out", "Calculate", "Tell me the value of", "Evaluate", "Find")
_KINDS = ("a short poem", "a sonnet", "two rhyming verses", "a lullaby", "a haiku", "an ode", "a limerick")
_MOODS = ("joyful", "melancholy", "solemn", "playful", "bitter", "tender", "dreamy", "proud", "weary", "hopeful")
_THINGS = (
    "autumn rain", "a lost kite", "my grandmother's garden", "the night train", "an empty theatre", "salt and sea",
    "a wolf in winter", "the first snow", "a broken clock", "city lights", "a sleeping dragon", "the old harbour",
    "moths around a lamp", "a letter never sent", "the orchard at dawn", "a desert well", "paper boats", "thunder",
)  # fmt: skip


def sum_prompt(rng: np.random.Generator) -> str:
    """Arithmetic, in words varied enough that no two prompts are near duplicates."""
    terms = " ".join(f"{rng.integers(2, 9999)} {rng.choice(list('+-*'))}" for _ in range(rng.integers(2, 6)))
    return f"{rng.choice(_ASKS)} {terms} {rng.integers(2, 9999)}"


def poem_prompt(rng: np.random.Generator) -> str:
    """A wish for verse."""
    first, second = rng.choice(_THINGS, 2, replace=False)
    return (
        f"Write {rng.choice(_KINDS)}, {rng.choice(_MOODS)} in tone, about {first} and {second}, for {rng.integers(99)}"
    )


def small_rows(n: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """One record per prompt and model."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        kind = "sums" if i % 2 == 0 else "poems"
        prompt = sum_prompt(rng) if kind == "sums" else poem_prompt(rng)
        for model in MODELS:
            cost = COST_USD[model] * float(rng.uniform(0.9, 1.1))
            rows.append(
                {
                    "prompt_id": f"p{i}",
                    "prompt": prompt,
                    "dataset": kind,
                    "model": model,
                    "quality": float(rng.random() < CHANCE[kind][model]),
                    "cost_usd": cost,
                    "input_tokens": 20,
                    "output_tokens": 5 if kind == "sums" else 80,
                    "latency_s": 0.2 if kind == "sums" else 1.5,
                }
            )
    return rows


def small_table(n: int = 300, seed: int = 0) -> OutcomeTable:
    """The same as a table."""
    return OutcomeTable.from_rows(small_rows(n, seed), name="small")


def write_small_table(folder: Path, name: str = "small.parquet", n: int = 300, seed: int = 0) -> Path:
    """The same as a file."""
    path = folder / name
    write_table(small_table(n, seed), path)
    return path
