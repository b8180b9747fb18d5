"""Estimates and policy as one pure function: limits, the way out when none fits, probabilities, the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.contracts import Choice, Policy, Router, Situation
from equipoise.decision import Case, Decider
from equipoise.errors import NoModel, PriceError
from equipoise.policy.choice import certain
from equipoise.registry import make_policy
from equipoise.types import (
    Constraints,
    Decision,
    Deployment,
    Estimates,
    Expected,
    FeatureBatch,
    Features,
    Model,
    Outcomes,
    State,
)

NAN = float("nan")
FREE = Constraints()
PROMPT = Features(text="hello", words=1, input_tokens=100)
SHORT = Features(text="hello", words=1, input_tokens=10)  # every model's window holds it


@dataclass(kw_only=True)
class Says(Router):
    """Quality by model name; NaN for the others."""

    name = "says"
    quality: Mapping[str, float]

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        mean = np.array([[self.quality.get(m.name, NAN) for m in models]] * len(batch))
        return Estimates(mean, np.where(np.isnan(mean), NAN, 0.1))

    def learn(self, features: Features, model: str, reward: float) -> None: ...

    def fit(self, outcomes: Outcomes) -> Says:
        return self

    def state(self) -> State:
        return State({}, {})

    def restore(self, state: State) -> Says:
        return self

    def explain(self, features: Features) -> tuple[str, ...]:
        return ("because it says so",)


@dataclass(kw_only=True)
class Costs:
    """Cost, latency and answer length by model name; NaN where unknown."""

    cost: Mapping[str, float]
    latency: Mapping[str, float]
    output: float = 50.0

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Expected:
        def row(known: Mapping[str, float]) -> np.ndarray:
            return np.array([[known.get(m.name, NAN) for m in models]] * len(batch))

        return Expected(row(self.cost), row(self.latency), np.full((len(batch), len(models)), self.output))


@dataclass(kw_only=True)
class Mix(Policy):
    """The given probabilities."""

    name = "mix"
    probability: tuple[float, ...]

    def choose(self, situation: Situation) -> Choice:
        probability = np.array([self.probability])
        return Choice(probability, situation.quality, probability.max(axis=1))


EU = (Deployment(provider="x", region="eu"),)
MODELS = (
    Model(name="small", context_window=1000),
    Model(name="middle", context_window=140, capabilities=frozenset({"tools"}), deployments=EU),
    Model(name="large", capabilities=frozenset({"tools", "vision"})),
)
QUALITY = {"small": 0.5, "middle": 0.7, "large": 0.9}
COST = {"small": 0.001, "middle": 0.01, "large": 0.1}
LATENCY = {"small": 1.0, "middle": 2.0, "large": 3.0}


def decided(constraints: Constraints = FREE, **changes: Any) -> Decision:
    cost, latency = changes.pop("cost", COST), changes.pop("latency", LATENCY)
    settings: dict[str, Any] = {
        "models": MODELS,
        "router": Says(quality=changes.pop("quality", QUALITY)),
        "costs": Costs(cost=cost, latency=latency),
        "policy": make_policy("quality_first"),
        **changes,
    }
    of_case = {name: settings.pop(name) for name in ("draw", "decision_id") if name in settings}
    case = Case(settings.pop("features", PROMPT), constraints, **of_case)
    (found,) = Decider(**settings).decide([case])
    if not isinstance(found, Decision):
        raise found
    return found


def refused(decision: Decision) -> dict[str, str]:
    return {c.model: c.refused for c in decision.candidates if c.refused is not None}


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("limits", "chosen", "reasons"),
    [
        (Constraints(), "large", {"middle": "needs about 150 tokens, context window 140"}),
        (Constraints(max_cost_usd=0.05), "small", {"large": "expected cost 0.1 > 0.05 USD"}),
        (Constraints(max_latency_s=2.5), "small", {"large": "expected latency 3 > 2.5 s"}),
        (Constraints(min_quality=0.6), "large", {"small": "expected quality 0.500 < 0.6"}),
        (Constraints(capabilities=frozenset({"vision", "tools"})), "large", {"small": "lacks tools, vision"}),
        (Constraints(capabilities=frozenset({"vision"})), "large", {"small": "lacks vision"}),
        (Constraints(max_cost_usd=0.1, max_latency_s=3.0, min_quality=0.9), "large", {}),
    ],
)
def test_every_limit_refuses_with_its_own_reason(limits: Constraints, chosen: str, reasons: dict[str, str]) -> None:
    decision = decided(limits)
    assert decision.model == chosen
    assert reasons.items() <= refused(decision).items()
    assert decision.constraints == limits


def test_a_region_is_met_by_any_deployment_there() -> None:
    short = replace(PROMPT, input_tokens=10)
    decision = decided(Constraints(region="eu"), features=short)
    assert decision.model == "middle"
    assert refused(decision) == dict.fromkeys(("small", "large"), "no deployment in region eu")


def test_a_model_that_the_router_does_not_know_is_refused() -> None:
    decision = decided(quality={"small": 0.4})
    assert decision.model == "small"
    assert refused(decision)["large"] == "no quality estimate: the router knows nothing of this model"
    assert next(c for c in decision.candidates if c.model == "large").quality is None


def test_an_unknown_cost_or_latency_does_not_meet_a_limit_on_it() -> None:
    unknown = {**COST, "large": NAN}
    decision = decided(Constraints(max_cost_usd=1.0), cost=unknown)
    assert refused(decision)["large"] == "cost is not known, limit 1 USD"
    decision = decided(Constraints(max_latency_s=9.0), latency={"small": 1.0})
    assert refused(decision)["large"] == "latency is not known, limit 9 s"


def test_an_unknown_cost_does_no_harm_where_it_is_not_weighed() -> None:
    assert decided(cost={}).model == "large"


# ---------------------------------------------------------------- when none fits


def test_when_none_fits_the_cheapest_able_model_serves() -> None:
    decision = decided(Constraints(max_cost_usd=0.0001, capabilities=frozenset({"tools"})))
    assert decision.model == "large"  # middle has too small a window, small has no tools
    assert decision.method == "quality_first_fallback" and decision.confidence == 0.3
    assert "no model met the constraints" in decision.reasons[0]
    assert decision.alternatives == () and decision.plan.fallback == ()


def test_the_cheapest_is_taken_where_several_are_able() -> None:
    assert decided(Constraints(min_quality=0.99)).model == "small"
    assert decided(Constraints(min_quality=0.99), cost={"large": 0.1}).model == "large"


def test_when_none_fits_and_refusing_is_asked_for_every_reason_is_told() -> None:
    with pytest.raises(NoModel) as caught:
        decided(Constraints(max_cost_usd=0.0001), when_none_fits="refuse")
    assert set(caught.value.refused) == {"small", "middle", "large"}
    for model, reason in caught.value.refused.items():
        assert f"{model}: {reason}" in str(caught.value)


def test_when_no_model_is_able_not_even_the_cheapest_serves() -> None:
    with pytest.raises(NoModel) as caught:
        decided(Constraints(capabilities=frozenset({"audio"})), features=replace(PROMPT, input_tokens=10))
    assert set(caught.value.refused.values()) == {"lacks audio"}
    with pytest.raises(NoModel):
        decided(quality={})


# ---------------------------------------------------------------- prices


def test_a_missing_price_is_an_error_where_costs_are_weighed() -> None:
    with pytest.raises(PriceError) as caught:
        decided(cost={"small": 0.001}, policy=make_policy("cost_aware"))
    assert caught.value.model == "large"


def test_a_missing_price_of_a_refused_model_is_no_error() -> None:
    limits = Constraints(capabilities=frozenset({"vision"}))
    assert decided(limits, cost={"large": 0.1}, policy=make_policy("cost_aware")).model == "large"


def test_the_last_resort_needs_a_price_too() -> None:
    with pytest.raises(PriceError):
        decided(Constraints(max_cost_usd=1.0), cost={}, policy=make_policy("cost_aware"))


# ---------------------------------------------------------------- probabilities and the draw


@pytest.mark.parametrize(("draw", "model"), [(0.0, "middle"), (0.24, "middle"), (0.25, "large"), (0.999999, "large")])
def test_the_draw_picks_among_the_probabilities(draw: float, model: str) -> None:
    decision = decided(policy=Mix(probability=(0.0, 0.25, 0.75)), draw=draw, features=SHORT)
    assert decision.model == model and decision.draw == draw
    assert [c.probability for c in decision.candidates] == [0.0, 0.25, 0.75]


@given(st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_model_without_probability_is_never_picked(weights: list[int], draw: float) -> None:
    probability = np.array(weights) / sum(weights)
    decision = decided(policy=Mix(probability=tuple(probability)), draw=draw, features=SHORT)
    assert decision.selected.probability > 0


def test_draws_follow_the_probabilities() -> None:
    policy = Mix(probability=(0.2, 0.3, 0.5))
    draws = np.random.default_rng(0).random(800)
    picked = [decided(policy=policy, draw=float(u), features=SHORT).model for u in draws]
    shares = [picked.count(name) / 800 for name in ("small", "middle", "large")]
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=0.05)


def test_a_budget_mixes_two_models_by_the_draw() -> None:
    quality, cost = np.tile([0.5, 0.9], (10, 1)), np.tile([0.001, 0.1], (10, 1))
    world = Situation(quality, quality * 0, cost, cost, np.ones((10, 2), bool), ["medium"] * 10)
    budget = make_policy("budget:mean_cost_usd=0.02575").calibrate(world, cost)
    models = (MODELS[0], MODELS[2])
    dear = decided(models=models, policy=budget, draw=0.9)
    assert (dear.model, dear.plan.fallback) == ("large", ("small",))
    assert dear.selected.probability == pytest.approx(0.25)
    assert decided(models=models, policy=budget, draw=0.5).model == "small"


# ---------------------------------------------------------------- the record


def test_the_record_holds_what_was_known() -> None:
    decision = decided(decision_id="d1", versions={"router": "says"})
    assert (decision.id, decision.versions, decision.method) == ("d1", {"router": "says"}, "quality_first")
    small = decision.candidates[0]
    assert (small.quality, small.cost_usd, small.latency_s, small.output_tokens) == ((0.5, 0.1), 0.001, 1.0, 50.0)
    assert decision.selected.model == decision.plan.model == "large"
    assert decision.reasons[-1] == "because it says so"
    assert "text" not in decision.features and decision.features["input_tokens"] == 100


def test_alternatives_stand_best_first_and_refused_ones_are_none() -> None:
    decision = decided(features=replace(PROMPT, input_tokens=10))
    assert [c.model for c in decision.alternatives] == ["middle", "small"] == list(decision.plan.fallback)
    assert [c.model for c in decided(Constraints(min_quality=0.6)).alternatives] == []


cells = st.one_of(st.just(NAN), st.floats(0, 1))
rows = st.lists(cells, min_size=3, max_size=3)


@given(
    quality=rows,
    cost=rows,
    latency=rows,
    draw=st.floats(0, 1, exclude_max=True),
    limits=st.builds(
        Constraints,
        max_cost_usd=st.none() | st.floats(0, 1),
        max_latency_s=st.none() | st.floats(0, 1),
        min_quality=st.none() | st.floats(0, 1),
        capabilities=st.sampled_from([frozenset(), frozenset({"tools"}), frozenset({"audio"})]),
    ),
    policy=st.sampled_from(["quality_first", "cost_aware", "cost_aware:form=linear,cost_weight=3"]),
    when=st.sampled_from(["cheapest", "refuse"]),
)
def test_a_decision_keeps_its_promises(quality, cost, latency, draw, limits, policy, when) -> None:  # type: ignore[no-untyped-def]
    names = [m.name for m in MODELS]

    def once() -> Decision:
        return decided(
            limits,
            quality=dict(zip(names, quality, strict=True)),
            cost=dict(zip(names, cost, strict=True)),
            latency=dict(zip(names, latency, strict=True)),
            policy=make_policy(policy),
            draw=draw,
            when_none_fits=when,
            decision_id="same",
        )

    try:
        decision = once()
    except NoModel as error:
        assert set(error.refused) == set(names) and all(error.refused.values())
        return
    except PriceError:
        assert any(c != c for c in cost) and policy != "quality_first"
        return
    assert decision == once()
    assert sum(c.probability for c in decision.candidates) == pytest.approx(1.0)
    assert 0.0 <= decision.confidence <= 1.0
    assert [c.model for c in decision.candidates] == names
    fell_back = decision.method.endswith("_fallback")
    assert fell_back == all(c.refused for c in decision.candidates)
    assert fell_back or all(c.probability == 0.0 and c.utility is None for c in decision.candidates if c.refused)
    chosen = decision.selected
    assert chosen.quality is not None and "audio" not in limits.capabilities
    if not fell_back:
        assert limits.max_cost_usd is None or chosen.cost_usd <= limits.max_cost_usd
        assert limits.max_latency_s is None or chosen.latency_s <= limits.max_latency_s
        assert limits.min_quality is None or chosen.quality.mean >= limits.min_quality


@given(st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=1, max_size=5))
def test_certainty_is_one_on_the_first_best(utility: list[list[float]]) -> None:
    probability = certain(np.array(utility), np.ones((len(utility), 4)))
    assert np.array_equal(probability.argmax(axis=1), np.argmax(utility, axis=1))
    assert np.all(probability.sum(axis=1) == 1)


def test_among_equals_a_model_of_unknown_cost_comes_last_and_no_worse_one_is_taken_for_its_cost():
    nan, inf = float("nan"), float("inf")
    utility = np.array([[0.5, 0.9, 0.9], [0.5, 0.9, 0.5], [nan, 0.9, 0.1]])
    cost = np.array([[0.1, nan, 2.0], [0.1, inf, 0.1], [0.1, nan, 0.1]])
    assert certain(utility, cost).argmax(axis=1).tolist() == [2, 1, 1]


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 10), st.floats(0, 10))
def test_a_higher_cost_weight_never_buys_a_dearer_model(quality: list[float], low: float, more: float) -> None:
    known = dict(zip(COST, quality, strict=True))

    def cost(weight: float) -> float:
        policy = make_policy({"type": "cost_aware", "form": "linear", "cost_weight": weight})
        return COST[decided(quality=known, features=replace(PROMPT, input_tokens=1), policy=policy).model]

    assert cost(low + more) <= cost(low)


def test_the_named_fallbacks_go_first_and_refused_ones_are_left_out():
    from equipoise import api
    from equipoise.config import Config

    plain, _ = api.engine_from(Config.model_validate({"pool": "notebook"}))
    chosen = plain.decide("Explain how tides work.")
    named = ["gpt-4", chosen.model, "claude-3-sonnet"]
    engine, _ = api.engine_from(Config.model_validate({"pool": "notebook", "routes": {"auto": {"fallback": named}}}))
    decision = engine.decide("Explain how tides work.")
    assert decision.plan.fallback == ("gpt-4", "claude-3-sonnet")
    limited = engine.decide("Explain how tides work.", max_latency_s=1.5)
    assert limited.plan.fallback == ("claude-3-sonnet",)
