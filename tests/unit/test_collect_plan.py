from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.collect.candidates import read_candidates
from equipoise.collect.plan import AskedModel, Rates, draws
from equipoise.collect.prompts import PromptRow
from equipoise.contracts import Reply
from equipoise.errors import ConfigError
from equipoise.types import Deployment, Price


def row(i: int) -> PromptRow:
    return PromptRow(f"p{i}", f"prompt {i}", "d", f"p{i}", None, "exact", ("x",), "")


def asked(name: str, url: str = "http://a/v1", **more: object) -> AskedModel:
    deployment = Deployment(provider="openai_compatible", base_url=url)
    return AskedModel(name=name, deployment=deployment, **more)  # type: ignore[arg-type]


def reply(inputs: int, outputs: int, *, compute_s: float | None = None, cached: int = 0) -> Reply:
    raw = {"usage": {"prompt_tokens_details": {"cached_tokens": cached}}}
    return Reply("x", inputs, outputs, 1.0, compute_s, "stop", raw)


def test_greedy_draws_of_every_candidate_come_before_samples_and_prompt_by_prompt() -> None:
    order = [d.key for d in draws([row(0), row(1)], [asked("a", samples=1), asked("b")], order="samples-last")]
    assert order == [
        ("p0", "a", 0),
        ("p0", "b", 0),
        ("p1", "a", 0),
        ("p1", "b", 0),
        ("p0", "a", 1),
        ("p1", "a", 1),
    ]


def test_order_prompts_finishes_each_prompt_first() -> None:
    order = [d.key for d in draws([row(0), row(1)], [asked("a", samples=1), asked("b")], order="prompts")]
    assert order == [
        ("p0", "a", 0),
        ("p0", "a", 1),
        ("p0", "b", 0),
        ("p1", "a", 0),
        ("p1", "a", 1),
        ("p1", "b", 0),
    ]


def test_candidates_of_one_deployment_follow_one_another() -> None:
    mixed = [asked("a", "http://a"), asked("b", "http://b"), asked("c", "http://a")]
    assert [d.candidate.name for d in draws([row(0)], mixed, order="samples-last")] == ["a", "c", "b"]


@given(
    st.integers(1, 6),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.sampled_from(["prompts", "samples-last"]),
)
def test_every_draw_comes_exactly_once_and_rows_never_go_back(n: int, samples: list[int], order: str) -> None:
    candidates = [asked(f"m{j}", samples=k) for j, k in enumerate(samples)]
    made = list(draws([row(i) for i in range(n)], candidates, order=order))  # type: ignore[arg-type]
    assert len({d.key for d in made}) == len(made) == n * sum(k + 1 for k in samples)
    assert [d.row for d in made] == sorted(d.row for d in made)


def test_the_suffix_follows_the_prompt_after_a_blank_line() -> None:
    messages = asked("a", system="Be brief.", suffix="Answer only.").messages("2+2?")
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?\n\nAnswer only."},
    ]


def test_costs_follow_rates_or_prices_and_are_unknown_without() -> None:
    rates = Rates(prefill_s_per_token=0.01, decode_s_per_token=0.03, usd_per_compute_s=2.0)
    assert asked("a", rates=rates).cost_usd(reply(10, 5, compute_s=99.0)) == pytest.approx(0.5)
    price = Price(usd_per_1m_input=1e6, usd_per_1m_output=2e6, usd_per_1m_cached_input=0.5e6)
    assert asked("a", price=price).cost_usd(reply(10, 5, cached=4)) == pytest.approx(6 + 2 + 10)
    by_compute = asked("a", price=Price(usd_per_compute_s=0.5))
    assert by_compute.cost_usd(reply(10, 5, compute_s=3.0)) == pytest.approx(1.5)
    assert by_compute.cost_usd(reply(10, 5)) is None
    assert asked("a").cost_usd(reply(10, 5)) is None


@given(st.text(max_size=60), st.integers(0, 200), st.integers(0, 16))
def test_no_call_within_its_token_bounds_costs_more_than_the_reservation(text: str, extra: int, outputs: int) -> None:
    candidate = asked("a", price=Price(usd_per_1m_input=3.0, usd_per_1m_output=9.0), max_tokens=16)
    inputs = min(len(text.encode()) + extra, len(text.encode()) + 64)
    cost, most = candidate.cost_usd(reply(inputs, outputs)), candidate.most_usd(text)
    assert cost is not None and most is not None and cost <= most


def write(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


GOOD = """
price_note: guessed
candidates:
  - name: small
    deployment: {provider: openai_compatible, base_url: "http://127.0.0.1:1/v1", options: {timeout_s: 9}}
    rates: {prefill_s_per_token: 0.01, decode_s_per_token: 0.03, usd_per_compute_s: 1.4e-5}
    stop: ["\\n"]
    samples: 2
judges:
  - name: big
    deployment: {provider: openai_compatible, base_url: "http://127.0.0.1:2/v1"}
"""


def test_a_candidates_file_is_read(tmp_path: Path) -> None:
    given = read_candidates(write(tmp_path, GOOD))
    small = given.candidates[0]
    assert (small.name, small.stop, small.samples, given.price_note) == ("small", ("\n",), 2, "guessed")
    assert small.rates is not None and small.rates.usd_per_compute_s == 1.4e-5
    assert [j.name for j in given.judges] == ["big"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("samples: 2", "sample: 2", "c.yaml:8: candidates.0.sample: unknown key; did you mean 'samples'?"),
        ("prefill_s_per_token", "prefil_s_per_token", "did you mean 'prefill_s_per_token'?"),
        ("price_note", "pricenote", "did you mean 'price_note'?"),
        ("samples: 2", "samples: -1", "c.yaml:8: candidates.0.samples"),
        ("name: big", "nam: big", "judges.0.nam"),
        ("name: small", 'name: "small "', "candidates.0.name: a name has 1 to 200 printable characters, and no space"),
        ("    stop", "    price: {usd_per_call: 1}\n    stop", "has both price and rates"),
        (GOOD, "- a", "not a mapping"),
        (GOOD, "a: [", "not YAML"),
        ("candidates:", "candidates: []\nold:", ""),
    ],
)
def test_mistakes_in_a_candidates_file_are_named_in_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_candidates(write(tmp_path, GOOD.replace(old, new)))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_two_candidates_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = GOOD.replace("judges:", "").replace("name: big", "name: small")
    with pytest.raises(ConfigError, match="two candidates are named 'small'"):
        read_candidates(write(tmp_path, twice))
