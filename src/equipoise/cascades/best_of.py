"""Best of n: a cheap model that is asked several times, as one more candidate beside dearer models."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from equipoise.cascades.acceptance import Acceptance, Signal, Vote
from equipoise.cascades.pool import Pool, Seen, View, columns, pool_of
from equipoise.errors import InputError
from equipoise.tables import OutcomeTable
from equipoise.tables.answers import Answers
from equipoise.types import Floats, Step

_NAME = re.compile(r"(?P<model>.+)\*(?P<samples>[0-9]{1,3})")


def best_of_name(model: str, samples: int) -> str:
    """What the candidate is called: ``NAME*N``."""
    return f"{model}*{samples}"


def best_of_steps(name: str) -> tuple[Step, ...]:
    """How a candidate of that name is executed; nothing for a plain model."""
    found = _NAME.fullmatch(name)
    return () if found is None else (Step(model=found["model"], samples=int(found["samples"]), test="vote"),)


def with_best_of(table: OutcomeTable, answers: Answers, samples: int) -> OutcomeTable:
    """The table with one more candidate per model: asked ``samples`` times, the best answer returned, all of them paid.

    The best is what most draws say (the first of them), or what a reward says, where one was recorded.

    Raises:
        InputError: no model was drawn so often on every prompt.
    """
    if samples < 2:
        raise InputError(f"best of {samples} is a plain call; give 2 or more")
    answers = answers.only(table.models)
    answers.require_costs()
    pool = pool_of(answers)
    drawn = [j for j in range(len(table.models)) if pool.draws[j] >= samples]
    if not drawn:
        raise InputError(f"{table.name}: no model was drawn {samples} times on every prompt; collect more samples")
    test: Acceptance = Signal("reward") if "reward" in pool.checks else Vote()
    columns_of = [_asked(table, answers, pool, test, tuple((j, s) for s in range(samples))) for j in drawn]
    added = {name: np.stack([column[name] for column in columns_of], axis=1) for name in columns_of[0]}
    matrices: dict[str, Any] = {
        name: np.concatenate([getattr(table, name), values], axis=1) for name, values in added.items()
    }
    names = (*table.models, *(best_of_name(table.models[j], samples) for j in drawn))
    return replace(table, models=names, **matrices)


def _asked(table: OutcomeTable, answers: Answers, pool: Pool, test: Acceptance, seen: Seen) -> dict[str, Floats]:
    """The new candidate's column of every matrix."""
    flat = np.ones((len(table), len(table.models)))
    best = test.trust(View(pool, flat, flat), seen).best
    models, draws = columns(seen)
    model = int(models[0])
    usd = answers.cost_usd + answers.check_usd if test.name == "reward" else answers.cost_usd
    return {
        "quality": answers.quality[np.arange(len(table)), model, draws[best]],
        "cost_usd": usd[:, model, draws].sum(axis=1),
        "input_tokens": table.input_tokens[:, model] * len(seen),
        "output_tokens": answers.output_tokens[:, model, draws].sum(axis=1),
        "latency_s": answers.latency_s[:, model, draws].max(axis=1),
    }
