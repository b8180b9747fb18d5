"""The notebook scenarios: what is simulated, what counts as a violation, what is compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.evaluation.scenario_files import PLOTS, write_scenarios
from equipoise.evaluation.scenarios import SCENARIOS, Contender, run_scenarios, simulate, violations
from equipoise.types import Candidate, Constraints, Decision, Estimate, Model, Plan, Request

POOL = [Model(name="big", tier="premium"), Model(name="small", tier="budget")]
FACTS = {"big": (0.95, 0.02, 2.0), "small": (0.6, 0.001, 0.4)}


def always(name: str):  # type: ignore[no-untyped-def]
    quality, cost, latency = FACTS[name]

    def decide(request: Request) -> Decision:
        chosen = Candidate(model=name, quality=Estimate(quality, 0.1), cost_usd=cost, latency_s=latency)
        return Decision(
            id="",
            plan=Plan(model=name),
            confidence=0.8,
            method="fixed",
            reasons=(),
            candidates=(chosen,),
            constraints=Constraints(),
            features={"quality_requirement": request.quality_requirement or "medium"},
            draw=0.0,
            versions={},
        )

    return decide


def test_there_are_ten_scenarios_of_five_and_more_kinds() -> None:
    assert len(SCENARIOS) == 10
    assert len({s.prompt for s in SCENARIOS}) == 10
    assert {s.kind for s in SCENARIOS} >= {"cost_sensitive", "quality_sensitive", "latency_sensitive", "balanced"}


def test_simulated_outcomes_scatter_as_stated_and_are_bounded() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([simulate(2.0, 0.5, 4.0, rng) for _ in range(4000)])
    assert np.mean(drawn, axis=0) == pytest.approx([2.0, 0.5, 4.0], rel=0.02)
    assert np.std(drawn, axis=0) == pytest.approx([0.2, 0.025, 0.6], rel=0.1)
    assert simulate(1.0, 1.0, 1.0, np.random.default_rng(1))[1] <= 1.0
    assert drawn[:, 0].min() >= 1.0 and drawn[:, 2].min() >= 2.0


def test_limits_have_ten_percent_tolerance_and_low_quality_counts_where_it_must_be_high() -> None:
    tight = SCENARIOS[5]  # 0.02 USD, 1 s
    assert violations(tight, "medium", 0.0219, 0.1, 1.09) == ()
    assert violations(tight, "medium", 0.0221, 0.1, 1.11) == ("cost_exceeded", "latency_exceeded")
    assert violations(tight, "high", 0.0, 0.69, 0.0) == ("quality_insufficient",)


def test_the_comparison_adds_up() -> None:
    told: list[tuple[str, str, float]] = []
    contenders = [
        Contender(name="big", decide=always("big")),
        Contender(name="small", decide=always("small"), learn=lambda r, m, q: told.append((r.text, m, q))),
    ]
    report = run_scenarios(contenders, POOL, iterations=3, seed=4)
    big, small = report.comparison
    assert len(report.played) == 60 and len(told) == 30
    assert big.tiers["premium"] == 30 and small.tiers["budget"] == 30
    assert big.expected_tier_share == pytest.approx(0.3) and small.expected_tier_share == pytest.approx(0.3)
    assert big.saving == 0 and small.saving == pytest.approx(1 - small.mean_cost_usd / big.mean_cost_usd)
    assert big.violation_rate > 0 and small.violation_rate > 0
    assert small.mean_utility == pytest.approx(np.mean([p.utility for p in report.played[30:]]))
    assert report.best()["cost"] == "small" and report.best()["quality"] == "big"
    assert run_scenarios(contenders, POOL, iterations=3, seed=4) == report


def test_every_contender_meets_the_same_noise() -> None:
    report = run_scenarios([Contender(name=n, decide=always("big")) for n in "ab"], POOL)
    assert [p.cost_usd for p in report.played[:10]] == [p.cost_usd for p in report.played[10:]]


def test_six_plots_and_a_document_are_written(tmp_path: Path) -> None:
    report = run_scenarios([Contender(name=n, decide=always(n)) for n in FACTS], POOL)
    files = write_scenarios(report, tmp_path / "out")
    assert len(PLOTS) == 6 and all(f.stat().st_size > 0 for f in files)
    assert all(f.read_bytes()[:4] == b"\x89PNG" for f in files if f.suffix == ".png")
    document = json.loads((tmp_path / "out" / "scenarios.json").read_text())
    assert [r["contender"] for r in document["comparison"]] == ["big", "small"]


def test_a_contender_without_estimates_is_refused() -> None:
    def decide(request: Request) -> Decision:
        blank = Candidate(model="big", quality=None, cost_usd=None, latency_s=None)
        return Decision(
            id="",
            plan=Plan(model="big"),
            confidence=1.0,
            method="",
            reasons=(),
            candidates=(blank,),
            constraints=Constraints(),
            features={},
            draw=0.0,
            versions={},
        )

    with pytest.raises(InputError, match="without an estimate"):
        run_scenarios([Contender(name="blank", decide=decide)], POOL)
