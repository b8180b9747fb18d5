"""Routers and policies are found by name and built from a specification; mistakes are told in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise import registry
from equipoise.contracts import Policy, Router
from equipoise.errors import ConfigError, InputError, UnknownName
from equipoise.policy.quality_first import QualityFirst
from equipoise.registry import make_policy, make_router, spec_of, split_specs


class Plugin(QualityFirst):
    name = "plugin"


def not_a_policy() -> None: ...


@dataclass(kw_only=True)
class Unfinished(Policy):
    name = "unfinished"


class Undecorated(Policy):
    name = "undecorated"
    choose = Plugin.choose


@dataclass(kw_only=True)
class Nameless(Policy):
    choose = Plugin.choose


@dataclass(kw_only=True)
class Unaskable(Plugin):
    name = "two words: a=1"


@dataclass(kw_only=True)
class Untyped(Plugin):
    name = "untyped"
    k: Nowhere = 3  # type: ignore[name-defined]  # noqa: F821


@dataclass(kw_only=True)
class Namesake(Plugin):
    name = "cost_aware"


@dataclass(kw_only=True)
class Needy(Plugin):
    name = "needy"
    needs = "embedding"


def __getattr__(name: str) -> object:
    if name == "fails":
        raise RuntimeError("no licence")
    raise AttributeError(name)


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Installs a third party's entry point for policies."""

    def install(value: str) -> None:
        def points(*, group: str) -> list[EntryPoint]:
            return [EntryPoint("extra", value, group)] if group == "equipoise.policies" else []

        monkeypatch.setattr(registry, "entry_points", points)
        registry.policies.cache_clear()

    yield install
    registry.policies.cache_clear()


@pytest.mark.parametrize("name", sorted(registry.routers()))
def test_every_router_is_built_by_its_name_and_says_its_specification(name: str) -> None:
    router = make_router(name)
    assert isinstance(router, Router) and router.name == name
    assert make_router(spec_of(router)) == router


@pytest.mark.parametrize("name", sorted(registry.policies()))
def test_every_policy_is_built_from_its_parameters(name: str) -> None:
    needs_budget = "mean_cost_usd" in registry.parameters(registry.policies()[name])
    policy = make_policy({"type": name, **({"mean_cost_usd": 0.01} if needs_budget else {})})
    assert isinstance(policy, Policy) and policy.name == name
    assert make_policy(spec_of(policy)) == policy


def test_parameters_given_as_text_and_as_a_mapping_are_the_same() -> None:
    assert make_router("knn:k=50, shrinkage=4") == make_router({"type": "knn", "k": 50, "shrinkage": 4})


def test_a_list_is_written_in_brackets() -> None:
    assert make_router("linear:views=[embedding,structure],folds=3").views == ("embedding", "structure")


def test_the_specification_holds_only_what_differs_from_the_defaults() -> None:
    assert spec_of(make_router("knn:k=7")) == {"type": "knn", "k": 7}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lineer", "unknown router 'lineer'; did you mean 'linear'?"),
        ("zzz", "known: "),
        ("", "unknown router ''"),
        ("knn:kk=5", "router 'knn' has no parameter 'kk'; did you mean 'k'?"),
        ("knn:zzzzzz=5", "it takes: k, "),
        ("knn:k=many", "parameter 'k'"),
        ("knn:k=2.5", "parameter 'k'"),
        ("knn:k=", "parameter 'k'"),
        ("knn:k", "'k' is not of the form parameter=value"),
        ("knn:k=[", "is not a value"),
        ("knn:k={", "is not a value"),
        ("knn:k=5,k=6", "gives 'k' twice"),
        ("knn:shrinkage=nan", "greater than or equal to 0, not 'nan'"),
        ("knn:shrinkage=.inf", "finite"),
        ("knn:_size=3", "has no parameter '_size'"),
        ({"k": 5}, "has no 'type'"),
        ({"type": ["knn"]}, "unknown router"),
        (Router, "a router is named, such as NAME:parameter=value"),
    ],
)
def test_a_wrong_specification_is_told_in_one_line(spec: registry.Spec, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make_router(spec)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_required_parameter_is_named() -> None:
    with pytest.raises(ConfigError, match="policy 'budget' needs the parameter 'mean_cost_usd'"):
        make_policy("budget")


@pytest.mark.parametrize("spec", ["cost_aware:cost_weight=-1", "budget:mean_cost_usd=0", "budget:mean_cost_usd=-1"])
def test_a_value_out_of_its_range_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="should be greater than"):
        make_policy(spec)


def test_a_misspelt_policy_has_a_near_name() -> None:
    with pytest.raises(UnknownName) as caught:
        make_policy("cost-aware")
    assert caught.value.near == ["cost_aware"]


@given(st.text(alphabet="knlinear:=,[]{}'\"0.5 -!&*%\t", max_size=30))
def test_no_text_makes_anything_but_a_router_or_an_input_error(text: str) -> None:
    try:
        assert isinstance(make_router(text), Router)
    except InputError as error:
        assert "\n" not in str(error)


@given(st.lists(st.sampled_from(["linear", "knn:k=5", "knn:k=5,shrinkage=2", "linear:views=[lexical,structure]"])))
def test_joined_specifications_split_again(specs: list[str]) -> None:
    assert split_specs(",".join(specs), registry.routers()) == specs


def test_a_misspelt_router_stands_alone_so_that_it_can_be_refused() -> None:
    assert split_specs("linear, lineer", registry.routers()) == ["linear", "lineer"]


def test_a_third_partys_policy_is_found(entry_point) -> None:  # type: ignore[no-untyped-def]
    entry_point(f"{__name__}:Plugin")
    assert isinstance(make_policy("plugin"), Plugin)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no_such_module:Plugin", "cannot be loaded"),
        (f"{__name__}:Missing", "cannot be loaded"),
        (f"{__name__}:fails", r"cannot be loaded \(RuntimeError: no licence\)"),
        (f"{__name__}:not_a_policy", "is not a Policy"),
        (f"{__name__}:Unfinished", "lacks choose; write what its contract asks for"),
        (f"{__name__}:Undecorated", "is not a dataclass; write @dataclass"),
        (f"{__name__}:Nameless", "has no name that can be asked for"),
        (f"{__name__}:Unaskable", "has no name that can be asked for"),
        (f"{__name__}:Untyped", "type of a parameter cannot be read"),
        (f"{__name__}:Needy", "has needs of 'embedding'; write a set"),
        (f"{__name__}:Namesake", "is called 'cost_aware', as another policy is"),
    ],
)
def test_a_broken_third_party_is_named(entry_point, value: str, says: str) -> None:  # type: ignore[no-untyped-def]
    entry_point(value)
    with pytest.raises(ConfigError, match=f"'extra' of equipoise.policies.*{says}") as refused:
        registry.policies()
    assert "\n" not in str(refused.value)
    assert isinstance(make_policy("quality_first"), QualityFirst), "ours are had all the same"


def test_a_third_party_cannot_replace_a_built_in(entry_point) -> None:  # type: ignore[no-untyped-def]
    entry_point("equipoise.policy.quality_first:QualityFirst")
    assert registry.policies()["quality_first"] is QualityFirst


@pytest.mark.parametrize(("name", "cls"), [*registry.routers().items(), *registry.policies().items()])
def test_a_built_in_stands_in_the_file_of_its_name(name: str, cls: type[object]) -> None:
    if cls.__module__.startswith("equipoise."):
        assert cls.__module__.rpartition(".")[2] == name


def test_a_router_that_is_not_asked_for_is_not_imported() -> None:
    code = "import equipoise.registry as r, json, sys; r.make_router('static'); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "equipoise.routers.static" in loaded
    assert not {f"equipoise.routers.{name}" for name in registry.routers() if name != "static"} & loaded
    assert "scipy.cluster" not in loaded


def test_a_class_in_a_file_of_another_name_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {**registry.policies(), "plugin": Plugin}
    monkeypatch.setattr(registry, "policies", lambda: elsewhere)
    assert isinstance(make_policy("plugin"), Plugin)
