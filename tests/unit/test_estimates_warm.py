"""What goes along with a prompt is paid for and fills the window; a warm prompt cache makes staying cheaper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from equipoise.analysis import Analyzer
from equipoise.cascades.best_of import best_of_models
from equipoise.decision import Case, Decider
from equipoise.engine import Engine
from equipoise.errors import InputError
from equipoise.estimates import CostModel
from equipoise.registry import make_policy, make_router
from equipoise.types import Decision, FeatureBatch, Features, Model, Price, Request, Warm

HERE = Model(
    name="here",
    price=Price(usd_per_1m_input=2.0, usd_per_1m_output=8.0, usd_per_1m_cached_input=0.5),
    context_window=10_000,
    quality={"general": 0.7},
)
THERE = Model(name="there", price=Price(usd_per_1m_input=2.0, usd_per_1m_output=8.0), quality={"general": 0.7})
LONG = Features(text="and then?", words=2, input_tokens=4000, output_tokens=100)


def costs(features: Features, *models: Model) -> list[float]:
    return CostModel().predict_batch(FeatureBatch.one(features), models).cost_usd[0].tolist()


def warmed(warm: Warm | None, tokens: float = 4000) -> Features:
    return Features(text="and then?", words=2, input_tokens=tokens, output_tokens=100, warm=warm)


def test_staying_is_cheaper_by_exactly_the_discount() -> None:
    cold, other = costs(LONG, HERE, THERE)
    warm, same = costs(warmed(Warm("here", 3000)), HERE, THERE)
    assert cold - warm == pytest.approx(3000 * (2.0 - 0.5) / 1e6, abs=1e-15)
    assert warm == pytest.approx(HERE.price.cost_usd(4000, 100, cached_tokens=3000), abs=1e-15)  # type: ignore[union-attr]
    assert same == other


@pytest.mark.parametrize("tokens", [3999, 4000, 4001, 9000])
@pytest.mark.parametrize("output", [20.0, None])
def test_a_long_prompt_is_expected_at_its_prices_and_saves_at_them(tokens: int, output: float | None) -> None:
    price = Price(
        usd_per_1m_input=2.0,
        usd_per_1m_output=8.0,
        usd_per_1m_cached_input=0.5,
        long_from_tokens=4000,
        usd_per_1m_input_long=5.0,
        usd_per_1m_output_long=output,
    )
    long = Model(name="long", price=price)
    for warm, cached in ((None, 0), (Warm("long", 3000), 3000)):
        told = costs(warmed(warm, tokens), long, HERE)
        assert told[0] == pytest.approx(price.cost_usd(tokens, 100, cached_tokens=cached), rel=1e-12)
        assert told[1] == costs(warmed(None, tokens), HERE)[0]


def test_no_more_is_saved_than_the_input_and_nothing_without_a_cached_price() -> None:
    assert costs(warmed(Warm("here", 9000)), HERE) == costs(warmed(Warm("here", 4000)), HERE)
    assert costs(warmed(Warm("there", 3000)), HERE, THERE) == costs(LONG, HERE, THERE)
    assert costs(warmed(Warm("elsewhere", 3000)), HERE, THERE) == costs(LONG, HERE, THERE)


def test_all_the_answers_of_a_model_asked_several_times_are_as_much_cheaper() -> None:
    thrice, other = best_of_models(["here*3", "there*2"], [HERE, THERE])
    (cold,), (warm,) = costs(LONG, HERE), costs(warmed(Warm("here", 3000)), HERE)
    assert costs(warmed(Warm("here", 3000)), thrice) == pytest.approx([3 * warm]) and warm < cold
    assert costs(warmed(Warm("here", 3000)), other) == costs(LONG, other)


def test_a_model_asked_several_times_has_long_prices_from_as_many_tokens_as_when_asked_once() -> None:
    price = Price(usd_per_1m_input=2.0, long_from_tokens=3000, usd_per_1m_input_long=5.0)
    long = Model(name="long", price=price)
    assert costs(LONG, *best_of_models(["long*3"], [long])) == pytest.approx([3 * cost for cost in costs(LONG, long)])


def test_every_model_that_holds_a_beginning_is_as_much_cheaper() -> None:
    other = replace(THERE, price=replace(HERE.price, usd_per_1m_input=1.0, usd_per_1m_cached_input=0.1))  # type: ignore[type-var]
    both = costs(warmed(Warm("here", 3000, (Warm("there", 2000), Warm("gone", 9000)))), HERE, other)
    alone = [costs(warmed(Warm("here", 3000)), HERE), costs(warmed(Warm("there", 2000)), other)]
    assert both == pytest.approx([cost for (cost,) in alone])


def test_in_a_batch_each_prompt_has_its_own_warm_model() -> None:
    rows = [LONG, warmed(Warm("here", 3000)), warmed(Warm("there", 3000)), warmed(Warm("here", 10))]
    batch = FeatureBatch.stack(rows)
    together = CostModel().predict_batch(batch, [HERE, THERE]).cost_usd
    assert together.tolist() == [costs(f, HERE, THERE) for f in rows]
    picked = CostModel().predict_batch(batch.take(np.array([3, 1])), [HERE, THERE]).cost_usd
    assert picked.tolist() == together[[3, 1]].tolist()


def choice(gain: float, warm: Warm | None) -> Decision:
    """Between staying and a model that is better by ``gain``, where a dollar must buy 100 of quality."""
    better = Model(name="there", price=HERE.price, quality={"general": 0.7 + gain})
    decider = Decider(
        models=[HERE, better],
        router=make_router("static"),
        costs=CostModel(),
        policy=make_policy("cost_aware:form=linear,cost_weight=100"),
    )
    (decision,) = decider.decide([Case(warmed(warm), Request(text="x").constraints)])
    assert isinstance(decision, Decision)
    return decision


def test_a_policy_switches_only_when_the_gain_exceeds_the_discount() -> None:
    first = choice(0.0, None)
    assert first.candidates[0].quality == first.candidates[1].quality
    discount = 100 * 3000 * 1.5 / 1e6
    spread = choice(0.2, None).candidates
    told = spread[1].quality.mean - spread[0].quality.mean  # type: ignore[union-attr]
    assert told > 0, "the router passes quality on"
    for share, expected in ((0.9, "here"), (1.1, "there")):
        gain = share * discount * 0.2 / told
        assert choice(gain, None).model == "there"
        assert choice(gain, Warm("here", 3000)).model == expected


def test_what_goes_along_counts_as_input_but_not_as_the_prompt() -> None:
    alone, along = (Analyzer().analyze(Request(text="and then?", context_tokens=n)) for n in (0, 5000))
    assert along.input_tokens == alone.input_tokens + 5000
    assert along.output_tokens == alone.output_tokens and along.words == alone.words
    assert np.array_equal(along.structure, alone.structure)  # type: ignore[arg-type]


def test_what_goes_along_fills_the_window_and_is_paid_for() -> None:
    engine = Engine.train_free(models=[HERE, THERE])
    alone = engine.decide(Request(text="and then?"))
    along = engine.decide(Request(text="and then?", context_tokens=20_000))
    assert alone.candidates[0].refused is None
    assert "context window 10000" in str(along.candidates[0].refused)
    paid = along.candidates[1].cost_usd - alone.candidates[1].cost_usd  # type: ignore[operator]
    assert paid == pytest.approx(20_000 * 2.0 / 1e6)


def test_a_negative_context_is_refused() -> None:
    with pytest.raises(InputError, match="context_tokens is -1"):
        Engine.train_free(models=[HERE]).decide(Request(text="x", context_tokens=-1))
