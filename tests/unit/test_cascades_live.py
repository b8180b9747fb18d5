"""A cascade live: what is asked, what is returned, what is paid, and what happens when something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from equipoise.cascades.checks import reward, self_check
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.live import Checked, Given, climb
from equipoise.contracts import Policy
from equipoise.engine import Engine
from equipoise.errors import ConfigError, ProviderError
from equipoise.types import Candidate, Constraints, Decision, Estimate, Plan, Step
from tests.sampled import sampled_table

COST = {"cheap": 1.0, "middle": 3.0, "dear": 10.0}
NO_LIMITS = Constraints()


def decision(*steps: Step, limits: Constraints = NO_LIMITS, fallback: tuple[str, ...] = ()) -> Decision:
    plan = Plan(model=steps[0].model, fallback=fallback, steps=steps if len(steps) > 1 or steps[0].samples > 1 else ())
    candidates = tuple(
        Candidate(model=name, quality=Estimate(0.5, 0.1), cost_usd=usd, latency_s=1.0) for name, usd in COST.items()
    )
    return Decision(
        id="1",
        plan=plan,
        confidence=1.0,
        method="cascade",
        reasons=(),
        candidates=candidates,
        constraints=limits,
        features={},
        draw=0.0,
        versions={},
    )


class Models:
    """Says what it is told to say, and keeps a ledger."""

    def __init__(self, **says: Sequence[str] | Exception) -> None:
        self.says, self.asked = {k: v for k, v in says.items()}, []

    async def __call__(self, name: str, samples: int) -> list[Given]:
        self.asked.append((name, samples))
        said = self.says[name]
        if isinstance(said, Exception):
            raise said
        usd = COST[name]
        return [Given(model=name, text=t, cost_usd=usd, latency_s=1.0, kept=f"{name}:{t}") for t in said[:samples]]


def lost(name: str) -> ProviderError:
    return ProviderError("went away", provider="p", model=name, code="connection")


VOTED = (Step(model="cheap", samples=2, test="vote", accept_at=1.0), Step(model="dear", test="vote"))


async def test_agreement_ends_a_cascade_and_its_answer_is_returned() -> None:
    models = Models(cheap=["Paris", "It is Paris."], dear=["Lyon"])
    returned = await climb(decision(*VOTED), models)
    assert models.asked == [("cheap", 2)]
    assert returned.answer.text == "Paris" and returned.answer.kept == "cheap:Paris"
    assert returned.cost_usd == 2.0 and returned.score == 1.0 and returned.notes == ()


async def test_disagreement_goes_on_to_the_next_step_and_all_is_paid() -> None:
    models = Models(cheap=["Paris", "Rome"], dear=["Lyon"])
    returned = await climb(decision(*VOTED), models)
    assert models.asked == [("cheap", 2), ("dear", 1)]
    assert returned.answer.text == "Lyon" and returned.cost_usd == 12.0
    assert [a.text for a in returned.asked] == ["Paris", "Rome", "Lyon"]


async def test_the_last_step_may_confirm_an_earlier_answer() -> None:
    returned = await climb(decision(*VOTED), Models(cheap=["Paris", "Rome"], dear=["Rome"]))
    assert returned.answer.text == "Rome" and returned.score == 0.5


async def test_a_plan_without_steps_is_one_call() -> None:
    models = Models(dear=["Lyon"])
    returned = await climb(decision(Step(model="dear")), models)
    assert models.asked == [("dear", 1)] and returned.answer.text == "Lyon" and returned.score is None


async def test_best_of_n_is_a_single_step() -> None:
    returned = await climb(decision(Step(model="cheap", samples=3, test="vote")), Models(cheap=["a", "b", "b"]))
    assert returned.answer.text == "b" and returned.cost_usd == 3.0


async def test_a_vote_is_taken_of_however_many_answers_a_step_asks_for() -> None:
    models = Models(cheap=["1"] * 29 + ["2"])
    returned = await climb(decision(Step(model="cheap", samples=30, test="vote")), models)
    assert returned.answer.text == "1" and returned.notes == ()


async def test_a_model_that_cannot_be_had_is_skipped_and_said() -> None:
    models = Models(cheap=lost("cheap"), dear=["Lyon"])
    returned = await climb(decision(*VOTED), models)
    assert returned.answer.text == "Lyon"
    assert len(returned.notes) == 1 and returned.notes[0].startswith("cheap could not be had (p/cheap: went away")


async def test_a_failing_last_step_leaves_the_best_answer_so_far() -> None:
    returned = await climb(decision(*VOTED), Models(cheap=["Paris", "Rome"], dear=lost("dear")))
    assert returned.answer.text == "Paris" and "dear could not be had" in returned.notes[0]


async def test_fallbacks_are_asked_when_no_step_gave_an_answer() -> None:
    models = Models(cheap=lost("cheap"), dear=lost("dear"), middle=["Nice"])
    returned = await climb(decision(*VOTED, fallback=("cheap", "middle")), models)
    assert returned.answer.text == "Nice"
    assert models.asked == [("cheap", 2), ("dear", 1), ("middle", 1)]


async def test_when_nobody_answers_the_last_failure_is_raised() -> None:
    with pytest.raises(ProviderError, match="p/dear"):
        await climb(decision(*VOTED), Models(cheap=lost("cheap"), dear=lost("dear")))


REWARDED = (Step(model="cheap", test="reward", accept_at=0.7), Step(model="dear", test="reward"))


async def test_a_check_decides_and_is_paid_for() -> None:
    async def judge(answer: Given) -> Checked:
        return Checked(0.9 if answer.text == "Paris" else 0.2, 0.5)

    good = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]), checks={"reward": judge})
    assert good.answer.text == "Paris" and good.cost_usd == 1.5 and good.score == pytest.approx(0.9)
    poor = await climb(decision(*REWARDED), Models(cheap=["Rome"], dear=["Paris"]), checks={"reward": judge})
    assert poor.answer.text == "Paris" and poor.cost_usd == 12.0


async def test_a_check_that_takes_too_long_is_not_waited_for() -> None:
    async def asleep(answer: Given) -> Checked:
        await asyncio.Event().wait()
        raise AssertionError("never comes here")

    returned = await climb(
        decision(*REWARDED),
        Models(cheap=["Paris"], dear=["Lyon"]),
        checks={"reward": asleep},
        check_timeout_s=0.01,
    )
    assert [a.model for a in returned.asked] == ["cheap", "dear"]
    assert returned.notes[0] == "'reward' could not check the answer of cheap (no word in 0.01 s); not trusted"


async def test_a_check_that_fails_is_not_trusted() -> None:
    async def broken(answer: Given) -> Checked:
        error = lost("judge")
        error.cost_usd = 0.5
        raise error

    returned = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]), checks={"reward": broken})
    assert len(returned.asked) == 2 and "went away" in returned.notes[0]
    assert returned.cost_usd == 12.0, "both answers, and what both failed checks cost all the same"


async def test_a_policy_that_fails_on_an_answer_ends_no_request() -> None:
    class Fails(Policy):
        name, learned, names, signals, point = "fails", True, ("cheap", "dear"), (), 0

        def choose(self, situation: Any) -> Any: ...

        def bound(self, view: Any) -> Any:
            raise RuntimeError("out of memory")

    made = decision(Step(model="cheap", test="value"), Step(model="dear"))
    made = replace(made, plan=Plan(model="cheap", steps=(Step(model="cheap", test="value"),), adaptive=True))
    returned = await climb(made, Models(cheap=["Paris"], dear=["Lyon"]), policy=Fails())  # type: ignore[arg-type]
    assert returned.answer.text == "Lyon"
    assert returned.notes[0] == "the answers could not be judged (RuntimeError: out of memory); going on"


@pytest.mark.parametrize("said", [RuntimeError("out of memory"), "yes", (None, 1.0), (float("nan"), 0.0)])
async def test_a_check_that_is_broken_in_any_way_ends_no_request(said: Any) -> None:
    async def broken(answer: Given) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    returned = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]), checks={"reward": broken})
    assert len(returned.asked) == 2
    assert returned.answer.model == "dear", "of two answers that nobody vouches for, the dearer model's"


@pytest.mark.parametrize("score", [87.0, -0.1, float("inf"), float("nan")])
async def test_a_check_that_scores_on_another_scale_is_not_trusted(score: float) -> None:
    async def of_a_hundred(answer: Given) -> Checked:
        return Checked(score, 0.5)

    returned = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]), checks={"reward": of_a_hundred})
    assert len(returned.asked) == 2 and returned.cost_usd == COST["cheap"] + COST["dear"] + 2 * 0.5
    assert f"'reward' could not check the answer of cheap (its score {score:g} is not in [0, 1])" in returned.notes[0]


async def test_without_its_check_a_cascade_trusts_no_answer_and_says_so() -> None:
    returned = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]))
    assert returned.answer.model == "dear" and "no check 'reward'" in returned.notes[0]


async def test_the_answers_of_a_step_are_checked_at_once() -> None:
    together = asyncio.Barrier(5)

    async def waiting(answer: Given) -> Checked:
        await together.wait()
        return Checked(0.9)

    models = Models(cheap=["a", "b", "c", "d", "e"])
    steps = (replace(REWARDED[0], samples=5), REWARDED[1])
    returned = await climb(decision(*steps), models, checks={"reward": waiting}, check_timeout_s=5)
    assert returned.answer.model == "cheap" and returned.notes == ()


async def test_what_checks_take_counts_towards_the_time_limit() -> None:
    async def slow(answer: Given) -> Checked:
        await asyncio.sleep(0.1)
        return Checked(0.1)

    limited = decision(*REWARDED, limits=Constraints(max_latency_s=2.05))
    returned = await climb(limited, Models(cheap=["a"], dear=["f"]), checks={"reward": slow})
    assert returned.answer.model == "cheap" and "it would break the limit on time" in returned.notes[0]


async def test_a_model_can_verify_its_own_answer_and_a_judge_grade_anothers() -> None:
    asked: list[tuple[str, int]] = []

    async def ask(model: str, text: str, samples: int) -> list[Given]:
        asked.append((model, samples))
        assert '"question": "What is 2 + 2?"' in text
        said = ["0.9"] if "one number" in text else ["Yes.", "yes, I think", "no", " YES\n"]
        return [Given(model=model, text=t, cost_usd=0.25) for t in said[:samples]]

    own = self_check(ask, "What is 2 + 2?", samples=4)
    assert await own(Given(model="cheap", text="4")) == (0.5, 1.0), "two of four replies say yes, one of them nothing"
    assert await own(Given(model="cheap", text=" ")) == (None, 0.0), "there is nothing to check"
    judged = reward(ask, "What is 2 + 2?", judge="dear")
    returned = await climb(decision(*REWARDED), Models(cheap=["4"]), checks={"reward": judged})
    assert returned.answer.text == "4" and returned.score == 0.9 and returned.cost_usd == 1.25
    assert asked == [("cheap", 4), ("dear", 1)]


async def test_a_check_without_a_verdict_is_paid_and_the_answer_not_trusted() -> None:
    async def silent(answer: Given) -> Checked:
        return Checked(None, 0.5)

    returned = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]), checks={"reward": silent})
    assert returned.answer.model == "dear" and "it gave no verdict" in returned.notes[0]
    assert returned.cost_usd == sum(answer.cost_usd for answer in returned.asked) + 1.0


async def test_a_rejected_answer_is_not_returned_for_want_of_a_verdict_on_the_next() -> None:
    async def first_only(answer: Given) -> Checked:
        return Checked(0.3 if answer.model == "cheap" else None)

    returned = await climb(decision(*REWARDED), Models(cheap=["Paris"], dear=["Lyon"]), checks={"reward": first_only})
    assert returned.answer.model == "dear"


@pytest.mark.parametrize(
    ("limits", "what"), [(Constraints(max_cost_usd=5.0), "cost"), (Constraints(max_latency_s=1.5), "time")]
)
async def test_a_step_that_would_break_a_limit_is_not_taken(limits: Constraints, what: str) -> None:
    models = Models(cheap=["Paris", "Rome"], dear=["Lyon"])
    returned = await climb(decision(*VOTED, limits=limits), models)
    assert models.asked == [("cheap", 2)] and returned.answer.text == "Paris"
    assert f"it would break the limit on {what}" in returned.notes[0]


async def test_what_a_failed_step_cost_and_took_counts_towards_the_limits() -> None:
    steps = (VOTED[0], Step(model="middle", test="vote", accept_at=1.0), VOTED[1])
    failed = lost("middle")
    failed.cost_usd = 3.0
    models = Models(cheap=["Paris", "Rome"], middle=failed, dear=["Lyon"])
    await climb(decision(*steps, limits=Constraints(max_cost_usd=15.0)), models)
    assert models.asked[-1] == ("dear", 1)
    returned = await climb(decision(*steps, limits=Constraints(max_cost_usd=14.0)), models)
    assert models.asked[-1] == ("middle", 1) and returned.answer.text == "Paris" and returned.cost_usd == 5.0

    async def slow(name: str, samples: int) -> list[Given]:
        if name == "middle":
            await asyncio.sleep(0.2)
        return await models(name, samples)

    await climb(decision(*steps, limits=Constraints(max_latency_s=2.1)), slow)
    assert models.asked[-1] == ("middle", 1)


async def test_a_learned_plan_without_its_policy_is_refused() -> None:
    asked = decision(Step(model="cheap", samples=2, test="scorer", accept_at=0.9), Step(model="dear", test="scorer"))
    with pytest.raises(ConfigError, match="give the policy that decided"):
        await climb(asked, Models())
    adaptive = replace(asked, plan=replace(asked.plan, adaptive=True))
    with pytest.raises(ConfigError, match="give the policy that decided"):
        await climb(adaptive, Models())


# ---------------------------------------------------------------- with what was learned


WORLD = sampled_table(prompts=260, draws=3, seed=2)


@pytest.fixture(scope="module", params=["cascade_routing:cost_weight=1500", "cascade:steps=[m0*2,m2],max_loss=0.3"])
def engine(request: pytest.FixtureRequest) -> Engine:
    made = Engine.train(WORLD.table, router="knn:k=20", policy=request.param)
    return made.teach(WORLD.table, WORLD.answers)


def policy_of(engine: Engine) -> AnswerPolicy:
    assert isinstance(engine.policy, AnswerPolicy)
    return engine.policy


def replayed(i: int) -> Any:
    """A call that gives the draws of one prompt of the world in their order."""
    had = {name: 0 for name in WORLD.table.models}

    async def call(name: str, samples: int) -> list[Given]:
        j, first = WORLD.table.models.index(name), had[name]
        had[name] += samples
        return [
            Given(
                model=name,
                text=WORLD.answers.text[i, j, s],
                cost_usd=float(WORLD.answers.cost_usd[i, j, s]),
                kept=WORLD.answers.quality[i, j, s],
            )
            for s in range(first, first + samples)
        ]

    return call


async def test_live_is_what_evaluation_plays(engine: Engine) -> None:
    """Step by step on texts, the same answers are asked for, paid and returned as on the arrays of an evaluation."""
    from equipoise.cascades.play import play
    from equipoise.cascades.pool import View, pool_of

    policy = policy_of(engine)
    steps = []
    for i in range(25):
        made = engine.decide(WORLD.table.prompts[i])
        returned = await climb(made, replayed(i), policy=policy)
        named = {c.model: c for c in made.candidates}
        prior = np.array([[named[m].quality.mean for m in policy.names]])  # type: ignore[union-attr]
        cost = np.array([[named[m].cost_usd for m in policy.names]], dtype=float)
        one = WORLD.answers.take(np.array([i]))
        played = play(policy.bound(View(pool_of(one), prior, cost)), policy.point, one)
        assert returned.cost_usd == pytest.approx(played.cost_usd[0])
        assert returned.answer.kept == played.quality[0]
        assert len(returned.asked) == played.calls[0]
        steps.append(len(returned.asked))
    assert len(set(steps)) > 1


async def test_answers_that_cannot_be_judged_are_not_trusted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(engine)
    made = next(d for d in map(engine.decide, WORLD.table.prompts) if d.plan.steps)

    def broken(*_: object) -> None:
        raise ArithmeticError("no such number")

    target = "bound" if made.plan.adaptive else "acceptance"
    fake = type("Broken", (), {"move": broken, "trust": broken})()
    monkeypatch.setattr(policy, target, lambda *_: fake)
    returned = await climb(made, replayed(0), policy=policy)
    assert len(returned.asked) > 1
    assert returned.answer is returned.asked[-1] and returned.score is None
    assert "the answers could not be judged (ArithmeticError: no such number); going on" in returned.notes[0]


def test_a_decision_says_what_is_asked_in_turn() -> None:
    voted = Engine.train(WORLD.table, router="knn:k=20", policy="cascade:steps=[m0*2,m2],test=vote,max_loss=0.5")
    untaught = voted.decide(WORLD.table.prompts[0])
    taught = voted.teach(WORLD.table, WORLD.answers).decide(WORLD.table.prompts[0])
    assert "asked in turn until an answer is good enough by 'vote': m0*2, m2" in taught.reasons
    assert not any("asked" in reason for reason in untaught.reasons)


def test_a_step_whose_answers_together_cost_more_than_the_limit_is_left_out() -> None:
    voted = Engine.train(WORLD.table, router="knn:k=20", policy="cascade:steps=[m0*3,m1,m2],test=vote,max_loss=0.5")
    voted.teach(WORLD.table, WORLD.answers)
    prompt = WORLD.table.prompts[0]
    usd = {c.model: c.cost_usd or 0.0 for c in voted.decide(prompt).candidates}
    assert usd["m0"] < 1.5 * usd["m0"] < usd["m1"] < 3.5 * usd["m0"] < usd["m2"]

    def asked(limit: float | None) -> list[tuple[str, int]]:
        made = voted.decide(prompt, max_cost_usd=limit)
        assert made.plan.steps == () or made.plan.steps[0].model == made.model
        return [(step.model, step.samples) for step in made.plan.steps] or [(made.model, 1)]

    assert asked(None) == [("m0", 3), ("m1", 1), ("m2", 1)]
    assert asked(3.5 * usd["m0"]) == [("m0", 3), ("m1", 1)]
    assert asked(1.5 * usd["m0"]) == [("m0", 1)]
    assert asked(0.5 * usd["m0"]) == [("m0", 1)], "where no model fits, the cheapest is asked once"


async def test_a_saved_engine_climbs_as_before(engine: Engine, tmp_path: Any) -> None:
    engine.save(tmp_path / "e.npz")
    again = Engine.load(tmp_path / "e.npz")
    for i in range(5):
        made = engine.decide(WORLD.table.prompts[i])
        first = await climb(made, replayed(i), policy=policy_of(engine))
        second = await climb(again.decide(WORLD.table.prompts[i]), replayed(i), policy=policy_of(again))
        assert [a.text for a in first.asked] == [a.text for a in second.asked] and first.score == second.score
