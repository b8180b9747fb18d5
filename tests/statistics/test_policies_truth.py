"""Policies that learn while they work, on streams and logs whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from equipoise.contracts import Situation
from equipoise.errors import ConfigError, InputError
from equipoise.policy.budget import Budget
from equipoise.policy.cost_aware import CostAware
from equipoise.policy.direct import Direct
from equipoise.policy.floor import Floor
from equipoise.policy.paced import Paced

COST = np.array([1.0, 3.0, 10.0])


def situation(n: int, seed: int, *, cost: np.ndarray = COST, lift: float = 0.0) -> Situation:
    """Estimates of three models; ``lift`` makes the dear model look better than it is on every prompt."""
    rng = np.random.default_rng(seed)
    quality = np.clip(rng.normal([0.4, 0.55, 0.7], 0.12, (n, 3)), 0.02, 0.98) + np.array([0.0, 0.0, lift])
    spread = np.full((n, 3), 0.1)
    return Situation(quality, spread, np.tile(cost, (n, 1)), spread, np.ones((n, 3), dtype=bool), ["medium"] * n)


def run(policy: Paced, stream: Situation, *, billed: float | np.ndarray = 1.0) -> np.ndarray:
    """Serve a stream one request at a time; the bill of every request is ``billed`` times what was estimated."""
    bills = []
    for i, times in enumerate(np.broadcast_to(billed, len(stream.quality))):
        one = Situation(*(v[i : i + 1] for v in stream[:5]), ["medium"])
        bill = float(times) * float((policy.choose(one).probability * one.cost_usd).sum())
        policy.paid(bill)
        bills.append(bill)
    return np.array(bills)


@pytest.mark.parametrize("promise", [2.0, 4.0, 7.0])
def test_what_is_promised_is_spent_from_any_start(promise: float) -> None:
    bills = run(Paced(mean_cost_usd=promise, pace=30), situation(1500, 1))
    assert bills[300:].mean() == pytest.approx(promise, rel=0.05)


def test_the_promise_is_kept_when_bills_are_twice_what_was_estimated() -> None:
    before, after = situation(800, 2), situation(1000, 3)
    paced = Paced(mean_cost_usd=4.0, pace=30).calibrate(before, before.cost_usd)
    fixed = Budget(mean_cost_usd=4.0).calibrate(before, before.cost_usd)
    assert run(paced, before).mean() == pytest.approx(4.0, rel=0.06)
    assert run(paced, after, billed=2.0)[200:].mean() == pytest.approx(4.0, rel=0.06)
    assert 2 * (fixed.choose(after).probability * after.cost_usd).sum(axis=1).mean() > 7.5


def test_prompts_that_all_look_hard_raise_the_price_and_not_the_spending() -> None:
    attack = situation(1200, 4, lift=0.4)
    paced = Paced(mean_cost_usd=3.0, pace=30).calibrate(situation(600, 5), situation(600, 5).cost_usd)
    calm = paced.price
    fixed = CostAware(form="linear", cost_weight=calm)
    assert (fixed.choose(attack).probability * attack.cost_usd).sum(axis=1).mean() > 8.0
    assert run(paced, attack).mean() < 3.0 * 1.25
    assert paced.price > 1.8 * calm


def test_a_model_of_unknown_cost_does_not_break_a_budget() -> None:
    seen = situation(200, 7)
    paid = seen.cost_usd.copy()
    seen.cost_usd[:, 1] = np.nan
    chosen = Budget(mean_cost_usd=4.0).calibrate(seen, paid).choose(seen).probability
    assert (chosen * paid).sum(axis=1).mean() == pytest.approx(4.0)


def test_prompts_on_which_two_models_are_tied_are_mixed_alike_however_they_are_rounded() -> None:
    rng = np.random.default_rng(11)
    cheap = rng.uniform(0.2, 0.7, 400)
    quality = np.stack([cheap, cheap + 0.1, cheap - 0.1], axis=1)  # a tenth of quality, but for the last digit
    tied = situation(400, 11)._replace(quality=quality)
    budget = Budget(mean_cost_usd=2.0).calibrate(tied, tied.cost_usd)
    share = budget.choose(tied._replace(quality=quality + 1e-9 * rng.normal(size=(400, 1)))).probability
    assert share == pytest.approx(np.tile([0.5, 0.5, 0.0], (400, 1)), abs=1e-5)


def test_the_promise_is_kept_when_few_bills_are_most_of_the_spending() -> None:
    billed = np.where(np.arange(2000) % 50, 0.2, 40.0)
    assert run(Paced(mean_cost_usd=4.0, pace=30), situation(2000, 2), billed=billed)[500:].mean() == pytest.approx(
        4, rel=0.1
    )


def test_one_enormous_bill_does_not_end_all_spending() -> None:
    paced = Paced(mean_cost_usd=4.0, pace=30).calibrate(situation(600, 5), situation(600, 5).cost_usd)
    calm = paced.price
    paced.paid(1e9)
    assert calm < paced.price < 2 * calm
    for _ in range(1000):
        paced.paid(0.0)
    assert paced.price < calm


def test_the_price_survives_state() -> None:
    paced = Paced(mean_cost_usd=4.0)
    run(paced, situation(50, 6))
    assert Paced(mean_cost_usd=4.0).restore(paced.state()).price == paced.price


@pytest.mark.parametrize("bill", [float("nan"), float("inf"), -1.0])
def test_a_bill_that_is_none_is_refused_and_moves_no_price(bill: float) -> None:
    paced = Paced(mean_cost_usd=4.0)
    with pytest.raises(InputError, match="a bill of .* USD"):
        paced.paid(bill)
    assert paced.price == Paced(mean_cost_usd=4.0).price


# ---------------------------------------------------------------- learning the decision itself

WEIGHT = 0.02


def outcomes(n: int, seed: int) -> tuple[Situation, np.ndarray]:
    """Estimates that overrate the dear model by a third, and what really came out."""
    truth = situation(n, seed)
    quality = (np.random.default_rng([seed, 9]).random((n, 3)) < truth.quality).astype(float)
    return truth._replace(quality=truth.quality + np.array([0.0, 0.0, 0.35])), quality


def utility(policy: Direct | CostAware, seen: Situation, quality: np.ndarray) -> float:
    worth = quality - WEIGHT * seen.cost_usd
    return float((policy.choose(seen).probability * worth).sum(axis=1).mean())


def test_least_regret_corrects_what_estimates_get_wrong() -> None:
    (known, quality), (new, result) = outcomes(1500, 1), outcomes(4000, 2)
    plain = CostAware(form="linear", cost_weight=WEIGHT)
    direct = Direct(cost_weight=WEIGHT).calibrate(known, known.cost_usd, quality)
    assert utility(direct, new, result) > utility(plain, new, result) + 0.015


def test_a_log_of_single_outcomes_teaches_nearly_as_much() -> None:
    (known, quality), (new, result) = outcomes(4000, 3), outcomes(4000, 2)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 3, len(quality))
    rows = np.arange(len(quality))
    reward = quality[rows, chosen] - WEIGHT * known.cost_usd[rows, chosen]
    logged = Direct(cost_weight=WEIGHT).learn_logged(known, chosen, reward, np.full(len(quality), 1 / 3))
    assert utility(logged, new, result) > utility(CostAware(form="linear", cost_weight=WEIGHT), new, result) + 0.01


def test_with_right_estimates_little_is_changed() -> None:
    known, new = situation(800, 7), situation(4000, 8)
    quality, result = (
        (np.random.default_rng(s).random(v.quality.shape) < v.quality) * 1.0 for s, v in ((1, known), (2, new))
    )
    direct = Direct(cost_weight=WEIGHT).calibrate(known, known.cost_usd, quality)
    plain = CostAware(form="linear", cost_weight=WEIGHT)
    assert utility(direct, new, result) > utility(plain, new, result) - 0.01


def test_corrections_follow_the_models_and_not_their_places() -> None:
    (known, quality), (new, _) = outcomes(1500, 1), outcomes(500, 2)
    names = ("small", "middle", "large")
    direct = Direct(cost_weight=WEIGHT).calibrate(known._replace(models=names), known.cost_usd, quality)
    turned = Situation(*(v[:, ::-1] for v in new[:5]), new.requirement, names[::-1])
    straight = direct.choose(new._replace(models=names)).probability
    assert np.array_equal(direct.choose(turned).probability[:, ::-1], straight)
    assert 0.05 < straight[:, 2].mean() < 0.95


def test_a_log_without_probabilities_is_refused() -> None:
    known = situation(10, 1)
    with pytest.raises(InputError, match="log probabilities"):
        Direct().learn_logged(known, np.zeros(10, dtype=int), np.ones(10), np.zeros(10))


# ---------------------------------------------------------------- a floor under the quality


def graded(n: int, seed: int, *, lift: float = 0.0) -> tuple[Situation, np.ndarray]:
    """A situation, and right or wrong answers drawn from its qualities, without the lift."""
    seen = situation(n, seed, lift=lift)
    return seen, (np.random.default_rng([seed, 1]).random((n, 3)) < seen.quality - [0.0, 0.0, lift]).astype(float)


@pytest.mark.parametrize("lift", [-0.2, 0.0])
def test_a_floor_is_broken_no_more_often_than_it_says_and_saves_money(lift: float) -> None:
    truth, _ = graded(5_000, 99)
    chance = truth.quality
    broken, spent = [], []
    for seed in range(100):
        seen, answers = graded(400, 1000 + seed, lift=lift)
        try:
            policy = Floor(floor=0.9, confidence=0.9).calibrate(seen, seen.cost_usd, answers)
        except ConfigError:
            continue  # nothing is promised
        looked = truth._replace(quality=chance + np.array([0.0, 0.0, lift]))
        picked = policy.choose(looked).probability
        broken.append((picked * chance).sum(axis=1).mean() < 0.9 * chance.mean(axis=0).max())
        spent.append((picked * truth.cost_usd).sum(axis=1).mean())
    assert sum(broken) <= 15
    assert lift or (len(spent) > 50 and np.mean(spent) < COST[2])


def test_a_floor_that_cannot_be_shown_is_refused() -> None:
    seen, answers = graded(60, 5)
    with pytest.raises(ConfigError, match="60 calibration prompts do not show"):
        Floor(floor=1.0).calibrate(seen, seen.cost_usd, answers)


def led(lead: np.ndarray, groups: np.ndarray | None = None) -> Situation:
    """Two models: the dear one is estimated better by ``lead``, which tells nothing."""
    n = len(lead)
    estimates = np.column_stack([0.7 - lead, np.full(n, 0.7)])
    cost, spread = np.tile([1.0, 100.0], (n, 1)), np.full((n, 2), 0.1)
    return Situation(estimates, spread, cost, spread, np.ones((n, 2), dtype=bool), ["medium"] * n, (), groups)


def often_broken(draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]], means: np.ndarray) -> int:
    """How often in 40 calibrations a floor of 95 % is broken, given the mean qualities of all prompts there are."""
    leads = np.array([0.01, 0.03, 0.1, 0.3, 0.4])
    broken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        quality, groups = draw(rng)
        seen = led(rng.permutation(np.resize(leads, len(quality))), groups)
        try:
            policy = Floor(floor=0.95, confidence=0.95).calibrate(seen, seen.cost_usd, quality)
        except ConfigError:
            continue  # nothing is promised
        broken += bool((policy.choose(led(leads)).probability @ means).mean() < 0.95 * means.max() - 1e-9)
    return broken


def test_a_floor_holds_in_a_table_that_is_sorted_by_kind() -> None:
    """The cheap model shines on the first half of the prompts and fails on the second."""
    chance = np.repeat([[0.95, 0.55], [0.35, 0.9]], 300, axis=0)
    assert often_broken(lambda rng: ((rng.random((600, 2)) < chance) * 1.0, None), chance.mean(axis=0)) <= 4


def test_a_floor_counts_prompts_of_one_group_as_one() -> None:
    groups = np.repeat(np.arange(120), 5)
    chance = np.array([0.5, 0.8])
    assert often_broken(lambda rng: (((rng.random((120, 2)) < chance) * 1.0)[groups], groups), chance) <= 4


def test_a_floor_holds_where_kinds_that_are_asked_often_are_the_ones_that_fail() -> None:
    """One group in ten is asked ten times as often as the others, and the cheap model fails on it."""
    size = np.resize([1] * 9 + [10], 200)
    groups = np.repeat(np.arange(200), size)
    chance = np.where(np.repeat(size, size)[:, None] == 10, [0.4, 0.8], [0.8, 0.75])
    assert often_broken(lambda rng: ((rng.random(chance.shape) < chance) * 1.0, groups), chance.mean(axis=0)) <= 4


def test_a_floor_holds_though_the_best_model_looks_second_best() -> None:
    """A model of constant quality, which is all that is ever chosen, hides one that is better on average."""
    broken = 0
    for seed in range(60):
        answers = np.random.default_rng(seed).random(300) < 0.53
        seen = led(np.full(300, 0.1))
        try:
            Floor(floor=0.95).calibrate(seen, seen.cost_usd, np.column_stack([answers, np.full(300, 0.5)]))
            broken += 1
        except ConfigError:
            pass
    assert broken <= 5


def test_where_the_cheapest_model_keeps_the_floor_it_alone_is_asked() -> None:
    """Also on prompts on which the dear model looks better than on any that was calibrated on."""
    seen, quality = led(np.linspace(0.0, 0.4, 200)), np.ones((200, 2))
    policy = Floor(floor=0.9).calibrate(seen, seen.cost_usd, quality)
    assert policy.choose(led(np.array([0.0, 0.2, 0.4, 0.6]))).probability[:, 0].tolist() == [1.0] * 4


@pytest.mark.parametrize("lead", [0.0, 0.1, 0.123])
def test_what_a_floor_tests_is_what_it_does_where_estimates_tie(lead: float) -> None:
    """A router that says the same of every prompt: at one multiplier all of them change at once."""
    quality = np.tile([[0.3, 0.8], [0.3, 0.8], [0.3, 0.7]], (200, 1))
    seen = led(np.full(600, lead))
    try:
        policy = Floor(floor=0.9).calibrate(seen, seen.cost_usd, quality)
    except ConfigError:
        assert lead == 0.0
        return
    assert (policy.choose(seen).probability * quality).sum(axis=1).mean() >= 0.9 * quality.mean(axis=0).max()
