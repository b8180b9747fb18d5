"""Best of n: a cheap model that is asked several times, as one more candidate beside dearer models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import numpy as np

from equipoise.cascades.acceptance import Vote
from equipoise.cascades.pool import Pool, Seen, View, columns, pool_of
from equipoise.errors import InputError, UnknownName
from equipoise.tables import OutcomeTable
from equipoise.tables.answers import Answers
from equipoise.types import Floats, Model, Price, Step

_NAME = re.compile(r"(?P<model>.+)\*(?P<samples>[0-9]{1,3})")


def best_of_name(model: str, samples: int) -> str:
    """What the candidate is called: ``NAME*N``."""
    return f"{model}*{samples}"


@lru_cache(maxsize=1024)
def best_of_steps(name: str) -> tuple[Step, ...]:
    """How a candidate of that name is executed; nothing for a plain model."""
    found = _NAME.fullmatch(name)
    return () if found is None else (Step(model=found["model"], samples=int(found["samples"]), test="vote"),)


def best_of_models(names: Sequence[str], models: Sequence[Model]) -> list[Model]:
    """Candidates of such names as models. A call of one costs what all its calls do.

    They take no tools: a vote compares texts.

    Raises:
        InputError: a name is not of the form NAME*N, with N from 2.
        UnknownName: it is of a model that is none of ``models``.
    """
    known = {m.name: m for m in models}
    found = []
    for name in names:
        model, samples = _parsed(name)
        if model not in known:
            raise UnknownName("model of best_of", model, known)
        base = known[model]
        price = None if base.price is None else _times(base.price, samples)
        found.append(replace(base, name=name, price=price, capabilities=base.capabilities - {"tools"}))
    return found


def with_best_of(table: OutcomeTable, answers: Answers, best_of: int | Sequence[str]) -> OutcomeTable:
    """The table with more candidates: models asked several times, the best answer returned, all of them paid.

    The best is what most draws say (the first of them), as it is when the candidate is asked live, whatever checks
    were recorded. Tokens are those of one call; costs are of all.

    Args:
        best_of: so many answers of every model that was drawn so often; or candidates by name, each NAME*N.

    Raises:
        InputError: no model, or not that one, was drawn so often on every prompt.
        UnknownName: a candidate is of no model of the table.
    """
    answers = answers.only(table.models)
    answers.require_costs()
    pool = pool_of(answers)
    names = _drawn_so_often(table, pool, best_of) if isinstance(best_of, int) else list(best_of)
    columns_of = [_asked(table, answers, pool, _draws(name, table, pool)) for name in names]
    added = {name: np.stack([column[name] for column in columns_of], axis=1) for name in columns_of[0]}
    matrices: dict[str, Any] = {
        name: np.concatenate([getattr(table, name), values], axis=1) for name, values in added.items()
    }
    expected = None if table.expected is None else np.concatenate([table.expected, added["quality"]], axis=1)
    return replace(table, models=(*table.models, *names), expected=expected, **matrices)


def with_their_best(wanted: Sequence[str], models: Sequence[str]) -> list[str]:
    """The wanted ones of a table's models, and the candidates that are one of them asked several times."""
    again = (name for name in models if any(step.model in wanted for step in best_of_steps(name)))
    return list(dict.fromkeys((*wanted, *again)))


def _drawn_so_often(table: OutcomeTable, pool: Pool, samples: int) -> list[str]:
    if samples < 2:
        raise InputError(f"best of {samples} is a plain call; give 2 or more")
    names = [best_of_name(model, samples) for j, model in enumerate(table.models) if pool.draws[j] >= samples]
    if not names:
        raise InputError(f"{table.name}: no model was drawn {samples} times on every prompt; collect more samples")
    return names


def _draws(name: str, table: OutcomeTable, pool: Pool) -> Seen:
    model, samples = _parsed(name)
    if model not in table.models:
        raise UnknownName("model of best_of", model, table.models)
    j = table.models.index(model)
    if pool.draws[j] < samples:
        raise InputError(
            f"{table.name}: '{name}' needs {samples} draws of every prompt, there are {pool.draws[j]}; "
            "collect more samples, or ask fewer times"
        )
    return tuple((j, draw) for draw in range(samples))


def _parsed(name: str) -> tuple[str, int]:
    steps = best_of_steps(name)
    if not steps or steps[0].samples < 2:
        raise InputError(f"'{name}' names no best of n; write NAME*N with N from 2, such as gpt-4o-mini*3")
    return steps[0].model, steps[0].samples


def _times(price: Price, samples: int) -> Price:
    parts: dict[str, Any] = {name: usd for name, usd in asdict(price).items() if name.startswith("usd_") and usd}
    return replace(price, **{name: usd * samples for name, usd in parts.items()})


def _asked(table: OutcomeTable, answers: Answers, pool: Pool, seen: Seen) -> dict[str, Floats]:
    """The new candidate's column of every matrix."""
    flat = np.ones((len(table), len(table.models)))
    best = Vote().trust(View(pool, flat, flat), seen).best
    models, draws = columns(seen)
    model = int(models[0])
    return {
        "quality": answers.quality[np.arange(len(table)), model, draws[best]],
        "cost_usd": answers.cost_usd[:, model, draws].sum(axis=1),
        "input_tokens": table.input_tokens[:, model],
        "output_tokens": answers.output_tokens[:, model, draws].mean(axis=1),
        "latency_s": answers.latency_s[:, model, draws].max(axis=1),
    }
