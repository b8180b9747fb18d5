"""A collection as it was asked for: what, where to, and within which bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from equipoise.collect.plan import AskedModel, Order
from equipoise.collect.prompts import PromptRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a run.

    Attributes:
        parallel: calls in flight per deployment.
        max_cost_usd: most that the whole collection may cost, earlier runs included.
        max_seconds: time after which no new calls are made.
        attempts: calls made for one draw before it is given up.
        first_wait_s: about how long the first retry waits; doubles with every further one.
        max_wait_s: longest wait of a retry, unless the server asks for a longer one.
        give_up_after: draws given up in a row before the deployment is left alone.
        lookahead: rows by which a fast deployment may be ahead of the slowest one.
        grace_s: time for calls in flight to end after a stop.
        grades_at_once: answers graded at once.
    """

    parallel: int = 1
    max_cost_usd: float | None = None
    max_seconds: float | None = None
    attempts: int = 6
    first_wait_s: float = 1.0
    max_wait_s: float = 60.0
    give_up_after: int = 5
    lookahead: int = 64
    grace_s: float = 20.0
    grades_at_once: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to collect, and where to.

    Attributes:
        grader: for prompts that name none themselves.
        regrade: grade every answer of the journal again, and make no calls to candidates.
        partial: write the table with the prompts that are complete, though others are not.
        price_note: where the prices come from, kept with the answers.
        judges: models that ``judge:NAME`` may name.
    """

    prompts: Sequence[PromptRow]
    candidates: Sequence[AskedModel]
    out: Path
    grader: str | None = None
    limits: Limits = Limits()
    order: Order = "samples-last"
    regrade: bool = False
    partial: bool = False
    price_note: str = ""
    judges: Sequence[AskedModel] = ()
