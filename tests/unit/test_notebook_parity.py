"""Static estimates with the two plain policies decide as the notebook's published formulas do.

``notebook_decisions.json`` holds what those formulas give for its ten scenarios and seven sample prompts.
"""

import json
from pathlib import Path

import pytest

from equipoise.analysis import Analyzer
from equipoise.catalog import notebook_pool
from equipoise.engine import Engine
from equipoise.registry import make_policy, make_router
from equipoise.types import Constraints, Request

CASES = json.loads((Path(__file__).parent / "notebook_decisions.json").read_text())
ROUTER = {"cost_aware": "static", "quality_first": "static:tier_adjustment=false"}


def decide(case, policy):
    context = case["context"]
    engine = Engine(
        router=make_router(ROUTER[policy]),
        policy=make_policy(policy),
        models=list(notebook_pool().find()),
        analyzer=Analyzer.notebook(),
    )
    limits = Constraints(
        max_cost_usd=context.get("max_cost", 1.0), max_latency_s=context.get("max_latency_ms", 5000) / 1000
    )
    return engine.decide(
        Request(
            text=case["prompt"],
            constraints=limits,
            quality_requirement=context.get("quality_requirement"),
            urgency=context.get("urgency"),
        )
    )


@pytest.mark.parametrize("policy", ["cost_aware", "quality_first"])
@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c['prompt'][:24]}" for i, c in enumerate(CASES)])
def test_the_same_model_with_the_same_estimates_is_chosen(case, policy):
    expected, decision = case[policy], decide(case, policy)
    assert decision.model == expected["model"]
    assert decision.method == expected["method"]
    assert decision.selected.quality.mean == pytest.approx(expected["quality"], abs=1e-12)
    assert decision.selected.cost_usd == pytest.approx(expected["cost_usd"], rel=1e-9)
    assert decision.confidence == pytest.approx(expected["confidence"], abs=1e-12)


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c['prompt'][:24]}" for i, c in enumerate(CASES)])
def test_the_analysis_is_the_same(case):
    features = decide(case, "cost_aware").features
    for name in ("domain", "task_type", "quality_requirement", "urgency"):
        assert features[name] == case[name]
    assert features["difficulty"] == pytest.approx(case["difficulty"], abs=1e-4)
    assert features["complexity"] == pytest.approx(case["complexity"], abs=1e-4)
