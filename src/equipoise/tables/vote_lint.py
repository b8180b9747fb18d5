"""What looks wrong in a vote table. Contradictory votes are data, not errors: they count against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from equipoise.tables.lint import EXAMPLES, Finding, sound_rows, worst_first
from equipoise.tables.votes import VoteTable, read_vote_rows
from equipoise.types import Floats, Ints

FEW_VOTES = 20
# Standard errors by which the first place may win more often than the second.
_BIAS = 4.0


def lint_votes(votes: VoteTable | str | os.PathLike[str]) -> list[Finding]:
    """Everything that looks wrong, errors first. Bad rows of a file are reported and left out.

    Raises:
        TableError: when the file cannot be read as a vote table at all.
    """
    found: list[Finding] = []
    if isinstance(votes, VoteTable):
        table = votes
    else:
        rows = read_vote_rows(votes)
        sound = sound_rows(len(rows), rows.problems(), found)
        if not len(sound):
            return found
        table = rows.table(sound)
    for check in CHECKS:
        found.extend(check(table))
    return worst_first(found)


def _contradictions(votes: VoteTable) -> Iterator[Finding]:
    """Votes on the same prompt and models of which some prefer one model and some the other."""
    pair, favours_low = _pairs(votes)
    low = np.zeros(int(pair.max()) + 1, dtype=bool)
    high = low.copy()
    low[pair[favours_low > 0.5]] = True
    high[pair[favours_low < 0.5]] = True
    torn = low & high
    if not torn.any():
        return
    concerned = torn[pair]
    examples = []
    for code in np.flatnonzero(torn)[:EXAMPLES]:
        vote = int(np.flatnonzero(pair == code)[0])
        prompt = str(votes.prompts[votes.prompt[vote]])
        examples.append(f"{votes.models[votes.first[vote]]} and {votes.models[votes.second[vote]]} on {prompt[:40]!r}")
    text = (
        f"{int(concerned.sum()):,} of {len(votes):,} votes contradict others on the same prompt and models; "
        "they count against each other, like ties"
    )
    yield Finding("warning", "contradiction", text, int(concerned.sum()), tuple(examples))


def _pairs(votes: VoteTable) -> tuple[Ints, Floats]:
    """A code of every vote's prompt and pair of models, and what the vote is worth to the model of the lower column."""
    swapped = votes.first > votes.second
    low, high = np.minimum(votes.first, votes.second), np.maximum(votes.first, votes.second)
    m = len(votes.models)
    _, code = np.unique((votes.prompt * m + low) * m + high, return_inverse=True)
    return code.astype(np.int64), np.where(swapped, 1.0 - votes.score, votes.score)


def _few_votes(votes: VoteTable) -> Iterator[Finding]:
    count = _per_model(votes, np.ones(len(votes)), np.ones(len(votes)))
    few = np.flatnonzero(count < FEW_VOTES)
    if len(few):
        examples = tuple(f"{votes.models[j]}: {count[j]:.0f}" for j in few[np.argsort(count[few])][:EXAMPLES])
        yield Finding("warning", "few_votes", f"models with fewer than {FEW_VOTES} votes", len(few), examples)


def _one_sided(votes: VoteTable) -> Iterator[Finding]:
    """Models that never lost or never won: their strength is not bounded by the votes."""
    worth = _per_model(votes, votes.score, 1.0 - votes.score)
    count = _per_model(votes, np.ones(len(votes)), np.ones(len(votes)))
    for j, model in enumerate(votes.models):
        if count[j] and worth[j] in (0.0, count[j]):
            said = "lost" if worth[j] == 0.0 else "won"
            yield Finding("warning", "one_sided", f"{model} {said} all its {count[j]:.0f} votes", int(count[j]))


def _unconnected(votes: VoteTable) -> Iterator[Finding]:
    """Models that no chain of votes connects cannot be compared."""
    m = len(votes.models)
    links = coo_array((np.ones(len(votes)), (votes.first, votes.second)), shape=(m, m))
    parts, label = connected_components(links, directed=False)
    if parts > 1:
        examples = tuple(
            ", ".join(votes.models[j] for j in np.flatnonzero(label == part)[:EXAMPLES]) for part in range(parts)
        )
        text = f"the models fall into {parts} sets between which there is no vote, so that they cannot be compared"
        yield Finding("warning", "unconnected", text, parts, examples[:EXAMPLES])


def _side_bias(votes: VoteTable) -> Iterator[Finding]:
    """Whoever judged may have preferred the answer that came first."""
    decided = votes.score[votes.score != 0.5]
    if len(decided) < FEW_VOTES:
        return
    share = float(decided.mean())
    if abs(share - 0.5) > _BIAS * 0.5 / np.sqrt(len(decided)):
        text = f"model_a wins {share:.0%} of the decided votes; were the answers shown in random order?"
        yield Finding("warning", "side_bias", text, len(decided))


def _per_model(votes: VoteTable, first: Floats, second: Floats) -> Floats:
    m = len(votes.models)
    total = np.bincount(votes.first, first, m) + np.bincount(votes.second, second, m)
    return total.astype(np.float64)


CHECKS: tuple[Callable[[VoteTable], Iterator[Finding]], ...] = (
    _unconnected,
    _contradictions,
    _few_votes,
    _one_sided,
    _side_bias,
)
