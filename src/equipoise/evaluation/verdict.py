"""From intervals to plain words. A claim is made only where its whole interval supports it."""

from __future__ import annotations

from typing import NamedTuple

from equipoise.evaluation.bootstrap import Interval
from equipoise.evaluation.results import AtBest

MARGIN = 0.01
# A fifth of the groups of prompts is tested on, and whole groups are resampled: from a few, no interval can be told.
LEAST_GROUPS = 25
LEAST_TESTED = 5
# What would be printed as 0 % or 0.000 is nothing.
LEAST_SAVING = 0.005
LEAST_AREA = 0.0005


class Evidence(NamedTuple):
    """What a verdict rests on.

    ``traded``: whether there is a frontier of quality and cost; without prices, or at one price for all, there is none.
    """

    best_single: str
    traded: bool
    gain: float
    gain_ci: Interval
    delta_aiq_ci: Interval
    p_holm: float
    over_control: Interval | None
    at_best: AtBest | None


def too_few(groups: int, tested: int) -> str | None:
    """What is said instead of a verdict where prompts, or those tested, are not independent enough for one."""
    if groups >= LEAST_GROUPS and tested >= LEAST_TESTED:
        return None
    which, found, least = "prompts", groups, LEAST_GROUPS
    if groups >= LEAST_GROUPS:
        which, found, least = "test prompts", tested, LEAST_TESTED
    many = "s" * (found != 1)
    return f"no verdict: {which} fall into {found} independent group{many}, and an interval takes {least} or more"


def verdict(e: Evidence) -> str:
    """One sentence on what a router is worth."""
    if not e.traded:
        return _on_quality(e)
    if not e.delta_aiq_ci.gained(e.p_holm):
        how = "worse" if e.delta_aiq_ci.high < -LEAST_AREA else "no better"
        return f"{how} than mixing single models by a coin, such as always using {e.best_single}"
    if e.over_control is not None and not e.over_control.low > 0:
        return "no better than control: a router fitted on shuffled qualities does as well"
    said = [_saving(e)]
    if e.gain_ci.low > 0:
        said.append(f"{_points(e.gain, e.gain_ci)} better than {e.best_single} when cost does not matter")
    return "; ".join(said)


def _saving(e: Evidence) -> str:
    at = e.at_best
    if at is None or at.reached < 0.5 or not at.saving_ci.low > LEAST_SAVING:
        return f"a better trade-off than any mix of single models, but no cheaper way to the quality of {e.best_single}"
    saving = f"saves {at.saving:.0%} {at.saving_ci.told('.0f', 100)}"
    if at.quality_change_ci.low >= -MARGIN:
        return f"{saving} at the quality of {e.best_single}, the best single model"
    change = _points(at.quality_change, at.quality_change_ci)
    if at.quality_change_ci.high < -MARGIN:
        return f"{saving} against {e.best_single}, but loses quality: {change}"
    if at.quality_change < -MARGIN:
        return f"{saving} against {e.best_single}, but may lose quality: {change}"
    return f"{saving} at about the quality of {e.best_single} (difference {change})"


def _on_quality(e: Evidence) -> str:
    if e.gain_ci.gained(e.p_holm):
        return f"{_points(e.gain, e.gain_ci)} better than always using {e.best_single}"
    how = "worse" if e.gain_ci.high < 0 else "no better"
    return f"{how} than always using {e.best_single}"


def _points(value: float, ci: Interval) -> str:
    return f"{value * 100:+.1f} points {ci.told('+.1f', 100)}"
