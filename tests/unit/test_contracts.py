"""What routers and policies of other packages promise is checked where they are asked: nothing else comes of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from equipoise import registry
from equipoise.contracts import Choice, Policy, Router, Situation, choice_of, estimates_of, steps_of
from equipoise.errors import ContractError
from equipoise.types import Estimates, FeatureBatch, Features, Model, Step

MODELS = [Model(name=name) for name in ("a", "b", "c")]
BATCH = FeatureBatch.stack([Features(text="one"), Features(text="two")])
MEAN, STD = np.full((2, 3), 0.5), np.full((2, 3), 0.1)


def changed(array: Any, value: float) -> Any:
    array = array.copy()
    array[1, 2] = value
    return array


@dataclass(kw_only=True)
class Says(Router):
    """Whatever it is told to say."""

    name = "says"
    found: Any

    def predict_batch(self, batch: Any, models: Any) -> Any:
        return self.found

    def learn(self, features: Any, model: Any, reward: Any) -> None: ...

    def fit(self, outcomes: Any) -> Any: ...

    def state(self) -> Any: ...

    def restore(self, state: Any) -> Any: ...


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Estimates(MEAN[:1], STD[:1]), "float64 (1, 3) and float64 (1, 3); give Estimates of numpy arrays of floats"),
        (Estimates(MEAN.T, STD.T), "float64 (3, 2)"),
        (Estimates(MEAN[0], STD[0]), "float64 (3,)"),
        (Estimates(MEAN, STD[:, :2]), "float64 (2, 3) and float64 (2, 2)"),
        (Estimates(MEAN > 0.2, STD), "bool (2, 3)"),
        (Estimates(MEAN.astype(object), STD), "object (2, 3)"),
        (Estimates(MEAN.astype(np.longdouble), STD), f"{np.dtype(np.longdouble)} (2, 3)"),
        (Estimates(MEAN.tolist(), STD.tolist()), "list and list"),  # type: ignore[arg-type]
        (Estimates(np.ma.masked_array(MEAN), STD), "MaskedArray"),
        (MEAN, "gives ndarray; give Estimates of numpy arrays of floats: mean (2, 3) and std (2, 3)"),
        (None, "gives NoneType"),
        (Estimates(changed(MEAN, 87.0), STD), "expects 87 +- 0.1 of 'c'; a mean is from 0 to 1"),
        (Estimates(changed(MEAN, -0.01), STD), "expects -0.01 +- 0.1 of 'c'"),
        (Estimates(changed(MEAN, np.inf), STD), "expects inf +- 0.1 of 'c'"),
        (Estimates(MEAN, changed(STD, np.nan)), "expects 0.5 +- nan of 'c'"),
        (Estimates(MEAN, changed(STD, np.inf)), "expects 0.5 +- inf of 'c'"),
        (Estimates(MEAN, changed(STD, -1.0)), "expects 0.5 +- -1 of 'c'"),
    ],
)
def test_estimates_that_are_none_are_refused_and_said(found: Any, said: str) -> None:
    with pytest.raises(ContractError, match=f"router 'says' .*{re.escape(said)}") as refused:
        estimates_of(Says(found=found), BATCH, MODELS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "found",
    [
        Estimates(MEAN, STD),
        Estimates(MEAN.astype(np.float32), STD.astype(np.float16)),
        Estimates(changed(MEAN, 1.0 + 1e-9), STD),
        Estimates(changed(MEAN, np.nan), changed(STD, np.nan)),
    ],
)
def test_estimates_that_keep_the_contract_are_taken_as_they_are(found: Estimates) -> None:
    assert estimates_of(Says(found=found), BATCH, MODELS) is found


ALLOWED = np.array([[True, True, True], [True, True, False]])
SITUATION = Situation(MEAN, STD, MEAN, MEAN, ALLOWED, ["medium"] * 2, ["a", "b", "c"])
SURE, HALF, CONFIDENCE = np.eye(3)[[0, 0]], np.array([[0.5, 0.5, 0.0]] * 2), np.full(2, 0.9)


@dataclass(kw_only=True)
class Chooses(Policy):
    """Whatever it is told to choose."""

    name = "chooses"
    found: Any = None
    steps: Any = ()

    def choose(self, situation: Any) -> Any:
        return self.found

    def steps_from(self, situation: Any, picked: Any, row: Any = 0) -> Any:
        return self.steps


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Choice(np.eye(3)[[0, 2]], MEAN, CONFIDENCE), "gives probabilities [0.0, 0.0, 1.0], confidence 0.9, where"),
        (Choice(np.full((2, 3), np.nan), MEAN, CONFIDENCE), "gives probabilities [nan, nan, nan]"),
        (Choice(np.zeros((2, 3)), MEAN, CONFIDENCE), "gives probabilities [0.0, 0.0, 0.0]"),
        (Choice(2 * SURE, MEAN, CONFIDENCE), "gives probabilities [2.0, 0.0, 0.0]"),
        (Choice(np.array([[1.5, -0.5, 0.0]] * 2), MEAN, CONFIDENCE), "gives probabilities [1.5, -0.5, 0.0]"),
        (Choice(SURE, MEAN, np.array([0.5, np.nan])), "confidence nan"),
        (Choice(SURE, MEAN, np.array([0.5, 17.0])), "confidence 17"),
        (Choice(SURE[:1], MEAN, CONFIDENCE), "float64 (1, 3) and float64 (2, 3) and float64 (2,); give Choice of"),
        (Choice(SURE, MEAN, np.full((2, 1), 0.5)), "float64 (2, 1)"),
        (Choice(SURE, None, CONFIDENCE), "NoneType"),  # type: ignore[arg-type]
        (None, "gives NoneType"),
    ],
)
def test_choices_that_are_none_are_refused_and_said(found: Any, said: str) -> None:
    with pytest.raises(ContractError, match=f"policy 'chooses' .*{re.escape(said)}"):
        choice_of(Chooses(found=found), SITUATION)


@pytest.mark.parametrize("share", [SURE, HALF])
def test_choices_that_keep_the_contract_are_taken_as_they_are(share: Any) -> None:
    found = Choice(share, changed(MEAN, np.nan), CONFIDENCE)
    assert choice_of(Chooses(found=found), SITUATION) is found


@pytest.mark.parametrize(
    "steps",
    [
        (Step(model="b"), Step(model="a")),
        (Step(model="a"), Step(model="c")),
        (Step(model="a"), Step(model="nobody")),
        (Step(model="a", samples=0),),
        ("a", "b"),
    ],
)
def test_steps_that_are_none_or_not_allowed_are_refused(steps: Any) -> None:
    with pytest.raises(ContractError, match="policy 'chooses' chooses 'a' and gives steps"):
        steps_of(Chooses(steps=steps), SITUATION, 0, 1)
    assert steps_of(Chooses(steps=(Step(model="a"), Step(model="b"))), SITUATION, 0, 1)


@pytest.mark.parametrize("every", [registry.routers, registry.policies])
def test_what_comes_with_the_package_is_not_checked_at_every_request(every: Callable[[], dict[str, Any]]) -> None:
    assert all(cls.__module__.startswith("equipoise.") for cls in every().values())
