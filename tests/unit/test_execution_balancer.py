"""Which deployment of a model is called."""

from __future__ import annotations

import heapq
from collections import Counter

import numpy as np
import pytest

from equipoise.config import ExecutionConfig
from equipoise.execution.balancer import Need, may_serve, pick
from equipoise.execution.place import End, Lease, Place, places_of
from equipoise.traffic import TokenUsage
from equipoise.types import Deployment
from tests.execution_fakes import answering, failed, model

NEED = Need(input_tokens=10)


def places(*deployments: Deployment) -> tuple[Place, ...]:
    return places_of(model("m", deployments=deployments), lambda d: answering(), ExecutionConfig())


def two(**facts: object) -> tuple[Place, Place]:
    a, b = places(Deployment(provider="a", **facts), Deployment(provider="b"))  # type: ignore[arg-type]
    return a, b


def answered(place: Place, now: float, seconds: float) -> None:
    lease = place.begin(now - seconds, 1)
    lease.answering(now, stream=False, hedge=False)
    lease.end(now, End.ANSWERED, TokenUsage())


def shares(choices: tuple[Place, ...], n: int = 4000, **options: object) -> dict[str, float]:
    rng = np.random.default_rng(3)
    picked = Counter(pick(choices, NEED, 100.0, rng, **options).label for _ in range(n))  # type: ignore[union-attr,arg-type]
    return {label: count / n for label, count in picked.items()}


def test_places_that_are_alike_share_calls_as_their_weights_say() -> None:
    choices = places(Deployment(provider="a", weight=3.0), Deployment(provider="b", weight=1.0))
    assert shares(choices)["m/a"] == pytest.approx(0.75, abs=0.03)


def simulated(
    choices: tuple[Place, ...], seconds: tuple[float, ...], *, every_s: float, n: int = 4000, now: float = 0.0
) -> list[float]:
    """Shares of calls whose times spread as those of models do (lognormal), in a simulation of many of them."""
    rng, counts = np.random.default_rng(5), [0] * len(choices)
    running: list[tuple[float, int, Lease]] = []
    for i in range(n):
        now += rng.exponential(every_s)
        while running and running[0][0] <= now:
            ended, _, lease = heapq.heappop(running)
            lease.answering(ended, stream=False, hedge=False)
            lease.end(ended, End.ANSWERED, TokenUsage())
        place = pick(choices, NEED, now, rng)
        assert place is not None
        counts[choices.index(place)] += 1
        took = seconds[choices.index(place)] * rng.lognormal(-0.125, 0.5)
        heapq.heappush(running, (now + took, i, place.begin(now, 1)))
    return [count / n for count in counts]


@pytest.mark.parametrize("every_s", [20.0, 1.0, 0.1])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (10.0, 1.0), (1.0, 1.0, 2.0)], ids=str)
def test_shares_follow_the_weights_in_the_long_run_however_much_is_asked(
    weights: tuple[float, ...], every_s: float
) -> None:
    choices = places(*(Deployment(provider=f"p{i}", weight=weight) for i, weight in enumerate(weights)))
    expected = [weight / sum(weights) for weight in weights]
    assert simulated(choices, (1.0,) * len(weights), every_s=every_s) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("every_s", [20.0, 1.0, 0.1])
def test_most_calls_go_to_the_place_that_is_three_times_as_fast(every_s: float) -> None:
    slow, fast = two()
    assert simulated((slow, fast), (3.0, 1.0), every_s=every_s)[1] > 0.65


def test_a_place_that_answers_clearly_slower_gets_no_calls_when_the_other_is_free() -> None:
    slow, fast = two()
    answered(slow, 100.0, 2.0)
    answered(fast, 100.0, 0.5)
    assert shares((slow, fast)) == {"m/b": 1.0}


def test_a_place_that_was_slow_long_ago_is_tried_again() -> None:
    slow, fast = two()
    answered(slow, 0.0, 2.0)
    answered(fast, 100.0, 0.5)
    assert shares((slow, fast))["m/a"] > 0.3


@pytest.mark.parametrize("every_s", [1.0, 0.1])
def test_a_place_that_hung_for_minutes_soon_has_its_share_again_once_it_answers(every_s: float) -> None:
    healed, other = two()
    simulated((healed, other), (0.5, 0.5), every_s=1.0, n=100)
    for second in range(20):
        healed.latency.at_least(100.0 + second, 300.0)
    assert simulated((healed, other), (0.5, 0.5), every_s=every_s, now=120.0, n=int(60.0 / every_s))[0] < 0.1
    simulated((healed, other), (0.5, 0.5), every_s=every_s, now=180.0, n=int(180.0 / every_s))
    shared = simulated((healed, other), (0.5, 0.5), every_s=every_s, now=360.0, n=int(60.0 / every_s))
    assert shared == pytest.approx([0.5, 0.5], abs=0.15)


def test_calls_in_flight_send_the_next_elsewhere() -> None:
    busy, free = two()
    for _ in range(2):
        busy.begin(100.0, 1)
    assert shares((busy, free)) == {"m/b": 1.0}


def test_a_heavier_place_may_hold_as_many_more_calls() -> None:
    heavy, light = two(weight=3.0)
    for _ in range(6):
        heavy.begin(100.0, 1)
    for _ in range(2):
        light.begin(100.0, 1)
    assert shares((heavy, light))["m/a"] == pytest.approx(0.75, abs=0.03)


def test_of_three_places_the_one_that_is_never_the_better_of_two_is_left_out() -> None:
    choices = places(*(Deployment(provider=p) for p in "abc"))
    for place, seconds in zip(choices, (0.5, 0.5, 5.0), strict=True):
        answered(place, 100.0, seconds)
    assert set(shares(choices)) == {"m/a", "m/b"}


def test_the_home_region_comes_first_and_others_serve_when_it_cannot() -> None:
    near, far = places(Deployment(provider="a", region="eu"), Deployment(provider="a", region="us"))
    assert shares((near, far), home="eu") == {"m/a@eu": 1.0}
    near.breaker.failed(100.0, failed(429, after=60.0), near.breaker.begin(100.0))
    assert shares((near, far), home="eu") == {"m/a@us": 1.0}


def test_data_stays_in_the_region_that_a_request_names() -> None:
    near, far = places(Deployment(provider="a", region="eu"), Deployment(provider="b"))
    assert may_serve(near, Need(1, region="eu"))
    assert not may_serve(far, Need(1, region="eu"))
    assert may_serve(far, Need(1))


def test_the_place_with_a_warm_prompt_cache_is_taken_unless_another_is_clearly_better() -> None:
    rng = np.random.default_rng(0)
    warm, cold = two()
    need = Need(10, prefer="m/a")
    assert all(pick((warm, cold), need, 100.0, rng) is warm for _ in range(50))
    for _ in range(4):
        warm.begin(100.0, 1)
    assert pick((warm, cold), need, 100.0, rng) is cold


def test_places_whose_limits_are_used_up_are_passed_over() -> None:
    rng = np.random.default_rng(0)
    limited, free = two(rpm=1)
    limited.begin(100.0, 1)
    assert all(pick((limited, free), NEED, 100.0, rng) is free for _ in range(20))
    assert pick((limited,), NEED, 100.0, rng) is None
    assert limited.full_for(100.0, 1) == 61.0


def test_a_token_limit_counts_what_calls_really_used() -> None:
    (place,) = places(Deployment(provider="a", tpm=100))
    lease = place.begin(0.0, 90)
    assert place.full_for(0.0, 20) > 0.0
    lease.end(1.0, End.ANSWERED, TokenUsage(input_tokens=30, output_tokens=10))
    assert place.full_for(1.0, 20) == 0.0
    assert place.full_for(1.0, 80) > 0.0


def tokens_admitted(place: Place, *, seconds: float, every_s: float = 0.02) -> list[tuple[float, int]]:
    """When calls of a crowd were let through, and what they came to. Answers are as unlike as those of models are."""
    rng, now, found = np.random.default_rng(5), 0.0, list[tuple[float, int]]()
    running: list[tuple[float, int, Lease, TokenUsage]] = []
    while (now := now + rng.exponential(every_s)) < seconds:
        while running and running[0][0] <= now:
            ended, _, lease, usage = heapq.heappop(running)
            lease.end(ended, End.ANSWERED, usage)
        if not place.full_for(now, 200):
            usage = TokenUsage(input_tokens=200, output_tokens=int(rng.lognormal(5.4, 0.8)))
            lease = place.begin(now, 200)
            heapq.heappush(running, (now + 0.5 + usage.output_tokens / 50, len(found), lease, usage))
            found.append((now, usage.input_tokens + usage.output_tokens))
    return found


def test_a_crowd_keeps_a_token_limit_and_uses_it_though_nobody_knows_how_long_answers_become() -> None:
    limit = 40_000
    (place,) = places(Deployment(provider="a", tpm=limit))
    admitted = tokens_admitted(place, seconds=300.0)
    minutes = [sum(n for at, n in admitted if begin <= at < begin + 60.0) / limit for begin in range(0, 240, 5)]
    assert max(minutes) < 1.3  # the first burst, of which nothing was known: twice the limit passed once
    assert max(minutes[12:]) < 1.06
    assert sum(minutes[12:]) / len(minutes[12:]) > 0.9


def test_no_more_is_reserved_than_the_answer_may_have() -> None:
    (place,) = places(Deployment(provider="a", tpm=1000))
    place.used(900)
    place.begin(0.0, 10, 40)
    assert place.full_for(0.0, 60, 40) == 0.0
    assert place.full_for(0.0, 60) > 0.0
    assert place.full_for(0.0, 951, 0) > 0.0
    assert place.full_for(0.0, 950, 0) == 0.0


def test_a_lease_ends_once() -> None:
    (place,) = places(Deployment(provider="a"))
    lease = place.begin(0.0, 1)
    for _ in range(3):
        lease.end(1.0, End.ANSWERED, TokenUsage())
    assert place.outstanding == 0


def test_labels_tell_deployments_apart() -> None:
    labels = [
        p.label
        for p in places(
            Deployment(provider="a", region="eu"),
            Deployment(provider="a", region="us"),
            Deployment(provider="a", region="us"),
        )
    ]
    assert labels == ["m/a@eu", "m/a@us#2", "m/a@us#3"]
    assert [p.label for p in places(Deployment(provider="a"), Deployment(provider="b"))] == ["m/a", "m/b"]
