"""The walk for one request: trained on outcomes, decided, taught, saved and loaded bit for bit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.analysis import Analyzer
from equipoise.engine import Engine
from equipoise.errors import ConfigError, InputError, NoModel, NotEnoughData, PriceError, StateError, UnknownName
from equipoise.evaluation import evaluate
from equipoise.registry import routers
from equipoise.request import MOST_CHARACTERS
from equipoise.routers.static import Static
from equipoise.tables import OutcomeTable
from equipoise.types import Constraints, Decision, Deployment, Model, Price, Request
from tests.contracts.conftest import smaller
from tests.small_world import A_POEM, A_SUM, COST_USD, DEAR_MODEL, MODELS, POEM_MODEL, SUM_MODEL, small_table

WEIGHS = "cost_aware:form=linear,cost_weight=100"
PROMPTS = (A_SUM, A_POEM, "hello", "Translate 'good morning' to French, twice.")
# Routers whose extra is not installed say so when they are built; others test that.
HERE = sorted(name for name, router in routers().items() if router.available())


@pytest.fixture(scope="module")
def table() -> OutcomeTable:
    return small_table()


@pytest.fixture(scope="module")
def engine(table: OutcomeTable) -> Engine:
    return Engine.train(table, router="static", policy=WEIGHS)


def estimates(decision: Decision) -> list[object]:
    return [(c.model, c.quality, c.cost_usd, c.latency_s, c.output_tokens, c.utility) for c in decision.candidates]


# ---------------------------------------------------------------- training and deciding


@pytest.mark.parametrize("router", HERE)
def test_a_table_of_which_nothing_is_left_is_not_learned_from(router: str, table: OutcomeTable) -> None:
    for empty in (table.take(table.datasets == "misspelt"), table.only([])):
        with pytest.raises(NotEnoughData, match="no outcome to learn from"):
            Engine.train(empty, router=router)


def test_prompts_that_no_known_model_answered_say_nothing_of_a_new_one(engine: Engine, table: OutcomeTable) -> None:
    for silent in (table.take([]), table.only([])):
        with pytest.raises(NotEnoughData, match="no prompt that a known model answered"):
            engine.prompts_to_try("new", silent)


@pytest.mark.parametrize("router", HERE)
def test_prompts_that_are_decided_together_are_decided_as_each_would_be_alone(router: str) -> None:
    trained = Engine.train(small_table(80), router=smaller(router), policy=WEIGHS)
    requests = [Request(text=prompt, context_tokens=i) for i, prompt in enumerate((*PROMPTS, "long " * 3000))]
    together = trained.decide_batch(requests)
    assert len({d.id for d in together if isinstance(d, Decision)}) == len(requests)
    for request, one in zip(requests, together, strict=True):
        alone = trained.decide(request)
        assert isinstance(one, Decision)
        assert (one.model, one.plan, one.features) == (alone.model, alone.plan, alone.features)
        for mine, other in zip(one.candidates, alone.candidates, strict=True):
            assert mine.quality == pytest.approx(other.quality, rel=1e-6, abs=1e-6)  # single precision
            assert mine.cost_usd == pytest.approx(other.cost_usd, rel=1e-6)


def test_structure_is_handed_out_only_where_the_router_or_the_cost_model_reads_it(engine: Engine) -> None:
    assert engine.costs.needs == {"structure"} and engine.analyze(Request(text=A_SUM)).structure is not None
    free = Engine.train_free(models=[Model(name=name) for name in MODELS])
    assert free.analyze(Request(text=A_SUM)).structure is None


def test_a_prompt_that_no_model_can_take_does_not_spoil_the_others(engine: Engine) -> None:
    impossible = Request(text=A_SUM, constraints=Constraints(capabilities=frozenset({"vision"})))
    one, none, other = engine.decide_batch([Request(text=A_SUM), impossible, Request(text=A_POEM)])
    assert isinstance(none, NoModel) and isinstance(one, Decision) and isinstance(other, Decision)
    alone = engine.decide(A_POEM)
    assert (other.plan, other.features) == (alone.plan, alone.features)
    # Of a product of several rows the last digit may differ, by processor.
    assert [c.cost_usd for c in other.candidates] == pytest.approx([c.cost_usd for c in alone.candidates])
    assert engine.decide_batch([]) == []


@pytest.mark.parametrize("router", ["knn", "linear"])
def test_a_learned_router_sends_each_kind_of_prompt_to_the_cheap_model_that_is_good_at_it(
    table: OutcomeTable, router: str, tmp_path: Path
) -> None:
    engine = Engine.train(table, router=router, policy=WEIGHS)
    decided = [engine.decide(p) for p in PROMPTS]
    assert [d.model for d in decided[:2]] == [SUM_MODEL, POEM_MODEL]
    assert engine.with_policy("quality_first").decide(A_POEM).model in (DEAR_MODEL, POEM_MODEL)
    engine.save(tmp_path / "r.npz")
    loaded = Engine.load(tmp_path / "r.npz")
    for prompt, before in zip(PROMPTS, decided, strict=True):
        assert estimates(loaded.decide(prompt)) == estimates(before)


@pytest.mark.parametrize("router", HERE)
def test_every_router_is_saved_and_loaded_bit_for_bit(router: str, tmp_path: Path) -> None:
    trained = Engine.train(small_table(80), router=smaller(router), policy=WEIGHS)
    trained.learn("A prompt after training.", SUM_MODEL, 1.0)
    trained.save(tmp_path / "one.npz")
    loaded = Engine.load(tmp_path / "one.npz")
    loaded.save(tmp_path / "two.npz")
    again = Engine.load(tmp_path / "two.npz")
    for prompt in PROMPTS:
        assert estimates(trained.decide(prompt)) == estimates(loaded.decide(prompt)) == estimates(again.decide(prompt))
    for restored in (loaded, again):
        restored.learn(A_SUM, POEM_MODEL, 0.0)
    trained.learn(A_SUM, POEM_MODEL, 0.0)
    assert estimates(trained.decide(A_SUM)) == estimates(loaded.decide(A_SUM)) == estimates(again.decide(A_SUM))


def test_all_that_is_known_of_a_model_is_saved(tmp_path: Path) -> None:
    model = Model(
        name="m",
        provider="p",
        price=Price(usd_per_1m_input=1.0, usd_per_1m_cached_input=0.5),
        context_window=1000,
        max_output_tokens=100,
        tier="budget",
        specializations=("code",),
        capabilities=frozenset({"tools", "vision"}),
        latency_s=0.5,
        quality={"general": 0.7},
        rate_limit_rpm=60,
        deployments=(Deployment(provider="openai", region="eu", options={"timeout_s": 3}),),
    )
    Engine.train_free(models=[model]).save(tmp_path / "r.npz")
    assert list(Engine.load(tmp_path / "r.npz").models) == [model]


def test_decisions_differ_only_in_identifier_and_draw(engine: Engine) -> None:
    first, second = engine.decide(A_SUM), engine.decide(A_SUM)
    assert first.id != second.id
    assert replace(first, id="", draw=0.0) == replace(second, id="", draw=0.0)
    assert first.versions["router"] == "static" and first.versions["table"] == "small"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"quality_requirement": "hihg"}, "unknown quality requirement 'hihg'; did you mean 'high'?"),
        ({"urgency": "urgnt"}, "unknown urgency 'urgnt'; did you mean 'urgent'?"),
        ({"constraints": Constraints(capabilities=["tools"])}, "capabilities is .'tools'.; give a set"),
        ({"max_output_tokens": -1}, "max_output_tokens is -1"),
    ],
)
def test_what_a_request_says_in_unknown_words_is_refused_not_ignored(engine: Engine, said: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        engine.decide(Request(text="hello", **said))


def test_limits_beside_a_request_are_refused_not_ignored(engine: Engine) -> None:
    with pytest.raises(InputError, match="say it in the Request"):
        engine.decide(Request(text="hello"), max_cost_usd=1e-9)
    with pytest.raises(InputError, match="say it in the Request"):
        engine.decide(Request(text="hello"), urgency="batch")


def test_limits_reach_the_decision(engine: Engine) -> None:
    decision = engine.decide(A_SUM, max_cost_usd=0.001, max_latency_s=10, min_quality=0.1, urgency="urgent")
    assert decision.constraints == Constraints(max_cost_usd=0.001, max_latency_s=10, min_quality=0.1)
    assert next(c for c in decision.candidates if c.model == DEAR_MODEL).refused is not None
    assert decision.features["urgency"] == "urgent"
    tools = engine.decide(Request(text=A_SUM, constraints=Constraints(min_quality=0.999)))
    assert tools.method.endswith("_fallback")


def test_costs_are_those_of_the_table_or_of_the_given_prices(table: OutcomeTable) -> None:
    priced = Model(name=DEAR_MODEL, price=Price(usd_per_call=0.5))
    decision = Engine.train(table, router="static", models=[priced]).decide(A_SUM)
    cost = {c.model: c.cost_usd for c in decision.candidates}
    assert cost[DEAR_MODEL] == 0.5
    assert cost[SUM_MODEL] == pytest.approx(COST_USD[SUM_MODEL], rel=0.1)


def test_an_unknown_cost_is_an_error_and_never_zero(table: OutcomeTable) -> None:
    unpriced = replace(table, cost_usd=np.full(table.cost_usd.shape, np.nan))
    trained = Engine.train(unpriced, router="static", policy=WEIGHS)
    with pytest.raises(PriceError, match=SUM_MODEL):
        trained.decide(A_SUM)
    assert trained.with_policy("quality_first").decide(A_SUM).selected.cost_usd is None


def test_too_little_data_is_told() -> None:
    with pytest.raises(NotEnoughData, match="at least"):
        Engine.train(small_table(6), router="linear")


# ---------------------------------------------------------------- policies


def test_another_policy_is_told_in_the_record(engine: Engine) -> None:
    other = engine.with_policy("quality_first").decide(A_SUM)
    assert (other.method, other.versions["policy"]) == ("quality_first", "quality_first")
    assert engine.decide(A_SUM).versions["policy"] == "cost_aware"


def test_the_same_policy_keeps_its_calibration(table: OutcomeTable, tmp_path: Path) -> None:
    spec = {"type": "budget", "mean_cost_usd": 0.001}
    calibrated = Engine.train(table.take(np.arange(200)), router="static", policy=spec)
    with pytest.raises(NotEnoughData, match="equipoise calibrate"):
        calibrated.decide(A_SUM)
    calibrated.calibrate(table.take(np.arange(200, 300)))
    calibrated.save(tmp_path / "r.npz")
    loaded = Engine.load(tmp_path / "r.npz")
    assert estimates(loaded.decide(A_SUM)) == estimates(calibrated.with_policy(spec).decide(A_SUM))
    with pytest.raises(NotEnoughData):
        calibrated.with_policy("budget:mean_cost_usd=0.002").decide(A_SUM)


def test_calibration_meets_the_budget_whatever_the_order_of_the_models(table: OutcomeTable) -> None:
    held = table.take(np.arange(200, 300))
    trained = Engine.train(table.take(np.arange(200)), router="static", policy="budget:mean_cost_usd=0.001")
    for given in (held, held.only(reversed(MODELS))):
        trained.calibrate(given)
        paid = [
            p * held.cost_usd[i, MODELS.index(c.model)]
            for i, prompt in enumerate(held.prompts)
            for c in trained.decide(prompt).candidates
            if (p := c.probability)
        ]
        assert sum(paid) / len(held) == pytest.approx(0.001, rel=1e-6)


def test_calibration_leaves_out_what_was_not_measured(table: OutcomeTable) -> None:
    held = table.take(np.arange(200, 300))
    trained = Engine.train(table.take(np.arange(200)), router="static", policy="budget:mean_cost_usd=0.001")
    expected = trained.calibrate(held.take(np.arange(50))).policy.state().meta
    holes = np.where(np.arange(100)[:, None] < 50, held.cost_usd, np.nan)
    assert trained.calibrate(replace(held, cost_usd=holes)).policy.state().meta == expected
    with pytest.raises(InputError, match="needs costs"):
        trained.calibrate(replace(held, cost_usd=held.cost_usd * np.nan))
    never = held.quality.copy()
    never[:, 0] = np.nan
    with pytest.raises(NotEnoughData, match="every model"):
        trained.calibrate(replace(held, quality=never))


def test_a_budget_that_nothing_meets_is_refused(table: OutcomeTable) -> None:
    trained = Engine.train(table, router="static", policy="budget:mean_cost_usd=0.00000001")
    with pytest.raises(ConfigError, match="raise it"):
        trained.calibrate(table)


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("router", HERE)
def test_learning_moves_the_estimate_towards_the_reward(router: str) -> None:
    trained = Engine.train(small_table(80), router=smaller(router), policy="quality_first")

    def level() -> float:
        quality = next(c.quality for c in trained.decide(A_SUM).candidates if c.model == SUM_MODEL)
        assert quality is not None
        return quality.mean

    before = level()
    for _ in range(30):
        trained.learn(A_SUM, SUM_MODEL, 0.0)
    low = level()
    for _ in range(90):
        trained.learn(A_SUM, SUM_MODEL, 1.0)
    assert low < before and low < level()


@pytest.mark.parametrize("reward", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_reward_out_of_range_is_refused(engine: Engine, reward: float) -> None:
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        engine.learn(A_SUM, SUM_MODEL, reward)


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ([], "give at least one"),
        (["gpt"], "'gpt' is no Model"),
        ([Model(name="m"), Model(name="m")], "'m' is given twice"),
        ([Model(name="m", price=Price(usd_per_1m_input=-1.0))], "usd_per_1m_input is -1.0"),
        ([Model(name="m", price=Price(usd_per_1m_input=float("nan")))], "usd_per_1m_input is nan"),
        ([Model(name="m", quality={"code": 7})], "quality of code is 7"),
    ],
)
def test_models_that_cannot_be_are_refused(models, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        Engine.train_free(models=models)


def test_a_new_model_that_cannot_be_is_refused_and_changes_nothing(engine: Engine, table: OutcomeTable) -> None:
    before = list(engine.models)
    with pytest.raises(ConfigError, match="context_window is 0"):
        engine.add_model(Model(name=DEAR_MODEL, context_window=0), table)
    assert engine.models == before


def test_the_last_model_is_not_retired() -> None:
    engine = Engine.train_free(models=[Model(name="one"), Model(name="two")]).without("one")
    with pytest.raises(InputError, match="'two' is the only model"):
        engine.without("two")
    assert [m.name for m in engine.models] == ["two"]


def test_a_model_that_the_engine_does_not_have_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownName, match="did you mean 'abacus'"):
        engine.learn(A_SUM, "abacuss", 1.0)


# ---------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty"), (" \n\t", "empty"), ("x" * (MOST_CHARACTERS + 1), "more than 1000000 characters")],
)
def test_a_prompt_that_is_empty_or_too_long_is_refused_in_one_line(engine: Engine, text: str, says: str) -> None:
    for call in (engine.decide, lambda t: engine.learn(t, SUM_MODEL, 1.0)):
        with pytest.raises(InputError) as caught:
            call(text)
        assert says in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_the_longest_prompt_is_routed(engine: Engine) -> None:
    assert engine.decide("word " * (MOST_CHARACTERS // 5)).features["words"] == MOST_CHARACTERS // 5


@pytest.mark.parametrize("text", ["\x00\x01", "\ud800", "\u202e‮", "😀" * 500, "-", "{}", "0"])
def test_odd_text_is_routed(engine: Engine, text: str) -> None:
    assert engine.decide(text).model in MODELS


@pytest.mark.parametrize("name", ["max_cost_usd", "max_latency_s", "min_quality"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_limit_that_is_no_amount_is_refused(engine: Engine, name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        engine.decide(A_SUM, **{name: value})  # type: ignore[arg-type]


def test_a_quality_above_one_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="min_quality"):
        engine.decide(A_SUM, min_quality=1.01)


# ---------------------------------------------------------------- loading


def test_features_of_another_analysis_are_refused(engine: Engine, tmp_path: Path) -> None:
    engine.save(tmp_path / "r.npz")
    with pytest.raises(StateError, match="trained on features of analysis"):
        Engine.load(tmp_path / "r.npz", analyzer=Analyzer.notebook())


def test_a_prompt_or_a_model_of_another_type_is_refused_in_one_line(engine: Engine, table: OutcomeTable) -> None:
    with pytest.raises(InputError, match="a text or a Request, not list; give the text to route"):
        engine.decide([{"role": "user", "content": "hello"}])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"takes records, such as .*; for names, table.only"):
        Engine.train(table, router="static", models=list(MODELS))  # type: ignore[arg-type]


def test_a_router_is_trained_as_it_was_evaluated_though_prompts_have_near_duplicates() -> None:
    rng = np.random.default_rng(0)
    words = np.array("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split())
    rows = []
    for i in range(40):
        text, right = " ".join(rng.choice(words, 10)), rng.random(2) < (0.4, 0.6)
        for k, said in enumerate((text, f"{text}?", text.capitalize(), f"{text} !")):
            of = {"prompt_id": f"{i}-{k}", "prompt": said, "dataset": "d"}
            rows += [of | {"model": m, "quality": float(right[j]), "cost_usd": 1.0 + j} for j, m in enumerate("ab")]
    table = OutcomeTable.from_rows(rows)
    engine = Engine.train(table, router="linear")
    seen = [engine.decide(" ".join(rng.choice(words, 10))).selected.quality.mean for _ in range(30)]
    assert np.std(seen) < 0.05  # nothing in these words tells anything; without groups it is .29

    fold = evaluate(table, routers=["linear"], seeds=1, replicates=0).folds[0]
    again = Engine.train(table.take(fold.split.fit), router="linear")
    chosen = [table.models.index(again.decide(str(table.prompts[i])).model) for i in fold.split.test]
    assert chosen == fold.methods["linear"].choices[0].tolist()


@pytest.mark.parametrize("quick", [True, False])
def test_a_router_of_others_that_may_ask_a_service_is_not_asked_while_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    def asked(*_: Any) -> Any:
        raise ValueError("nobody there")

    Engine.train_free(models=[Model(name="a", price=Price(usd_per_call=1.0))]).save(tmp_path / "r.npz")
    monkeypatch.setattr("equipoise.engine.is_ours", lambda router: False)
    monkeypatch.setattr(Static, "quick", quick)
    monkeypatch.setattr(Static, "predict_batch", asked)
    if quick:
        with pytest.raises(StateError, match="nobody there"):
            Engine.load(tmp_path / "r.npz")
    else:
        assert Engine.load(tmp_path / "r.npz").router.name == "static"
