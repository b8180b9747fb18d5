"""Evaluation as a Python user calls it. Apart from ``equipoise.api``, whose users need not wait for its imports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from equipoise.api import TableLike, open_answers, open_table
from equipoise.evaluation import protocol
from equipoise.evaluation.protocol import Options
from equipoise.evaluation.results import Results
from equipoise.registry import Spec


def evaluate(
    table: TableLike,
    *,
    routers: Sequence[Spec] = ("linear",),
    prices: str | Path | None = None,
    **options: Unpack[Options],
) -> Results:
    """Evaluate routers on an outcome table. See ``equipoise.evaluation.protocol.evaluate`` for the options.

    For cascades the answers are read from the file beside the table, if they are not given.
    """
    opened = open_table(table, prices=prices, cost=options.get("cost", True))
    if options.get("cascades") and options.get("answers") is None:
        options["answers"] = open_answers(table, opened)
    return protocol.evaluate(opened, routers=routers, **options)
