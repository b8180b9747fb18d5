"""Evaluation as a Python user calls it. Apart from ``equipoise.api``, whose users need not wait for its imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from equipoise.api import TableLike, open_answers, open_table
from equipoise.cascades.best_of import with_best_of, with_their_best
from equipoise.errors import InputError
from equipoise.evaluation import protocol
from equipoise.evaluation.protocol import Options
from equipoise.evaluation.results import Results
from equipoise.registry import DEFAULT_ROUTER, Spec
from equipoise.tables import OutcomeTable


def evaluate(
    table: TableLike,
    *,
    routers: Sequence[Spec] = (DEFAULT_ROUTER,),
    prices: str | Path | None = None,
    best_of: int | Sequence[str] = (),
    **options: Unpack[Options],
) -> Results:
    """Evaluate routers on an outcome table. See ``equipoise.evaluation.protocol.evaluate`` for the options.

    For cascades, and for ``best_of`` (models asked several times as more candidates), the answers are read from the
    file beside the table, if they are not given.
    """
    opened = open_table(table, prices=prices, cost=options.get("cost", True))
    if (options.get("cascades") or best_of) and options.get("answers") is None:
        options["answers"] = open_answers(table, opened)
    if best_of:
        opened = _with_best_of(opened, options, best_of)
    results = protocol.evaluate(opened, routers=routers, **options)
    if isinstance(table, OutcomeTable):
        return results
    source = [str(table)]
    if results.models != opened.models:
        source += ["--models", ",".join(results.models)]
    if prices is not None:
        source += ["--prices", str(prices)]
    if best_of:
        source += ["--best-of", str(best_of) if isinstance(best_of, int) else ",".join(best_of)]
    return replace(results, source=tuple(source))


def _with_best_of(table: OutcomeTable, options: Options, best_of: int | Sequence[str]) -> OutcomeTable:
    answers = options.get("answers")
    if options.get("cascades"):
        raise InputError("a cascade asks as often as it pays; evaluate --best-of and --cascades one after the other")
    if answers is None:
        raise InputError("best of n needs the sampled answers behind the table; see docs/cascades.md")
    more = with_best_of(table, answers, best_of)
    if options.get("models"):
        options["models"] = with_their_best(options["models"] or (), more.models)
    return more
