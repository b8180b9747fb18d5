"""The ladder: this project's own prompts in 12 task families and 5 levels, checkable by program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from equipoise.datasets.ladder import (
    arithmetic,
    classification,
    code_tasks,
    extraction,
    instructions,
    knowledge,
    lists,
    logic,
    strings,
    translation,
    units_dates,
    word_problems,
)
from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft
from equipoise.datasets.ladder.row import PromptRow

__all__ = ["FAMILIES", "generate", "write_jsonl"]

FAMILIES: dict[str, Callable[[Chance], Iterator[Draft]]] = {
    "arithmetic": arithmetic.drafts,
    "word_problems": word_problems.drafts,
    "code": code_tasks.drafts,
    "strings": strings.drafts,
    "lists": lists.drafts,
    "extraction": extraction.drafts,
    "units_dates": units_dates.drafts,
    "logic": logic.drafts,
    "knowledge": knowledge.drafts,
    "classification": classification.drafts,
    "translation": translation.drafts,
    "instructions": instructions.drafts,
}


def generate(seed: int = 20) -> list[PromptRow]:
    """All prompts, in an order of which any prefix is balanced over families and levels."""
    placed: list[tuple[float, float, PromptRow]] = []
    for family, build in FAMILIES.items():
        # A seed per family: a change in one family leaves the others as they are.
        rows = _family(family, list(build(Chance(seed, family))))
        rng = Chance(seed, f"{family} order")
        levels: dict[int | None, list[PromptRow]] = {}
        for row in rows:
            levels.setdefault(row.level, []).append(row)
        for members in levels.values():
            rng.shuffle(members)
            # Spreading each cell evenly over [0, 1) is what balances every prefix.
            placed += [((spot + 0.5) / len(members), rng.random(), row) for spot, row in enumerate(members)]
    placed.sort(key=lambda item: (item[0], item[1]))
    return [row for _, _, row in placed]


def write_jsonl(path: str | Path, seed: int = 20) -> int:
    """Write the prompts as JSON lines; the count of prompts is returned."""
    rows = generate(seed)
    lines = (json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(rows)


def _family(family: str, drafts: list[Draft]) -> list[PromptRow]:
    seen: set[str] = set()
    rows: list[PromptRow] = []
    for draft in drafts:
        if draft.prompt in seen:
            continue
        seen.add(draft.prompt)
        rows.append(
            PromptRow(
                prompt_id=f"{family}-{len(rows):03d}",
                prompt=draft.prompt,
                dataset=family,
                group=f"{family}/{draft.group}",
                level=draft.level,
                grader=draft.grader,
                answer=draft.answers,
                tests=draft.tests,
            )
        )
    return rows
