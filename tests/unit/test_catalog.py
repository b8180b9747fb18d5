"""The catalog: looking up, changing, and the figures of its two built-in sources."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date, time
from decimal import Decimal

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Provider as PriceProvider
from hypothesis import given
from hypothesis import strategies as st

from equipoise.catalog import Catalog, default_catalog, notebook_pool
from equipoise.catalog.known import family_capabilities, known_facts
from equipoise.catalog.library import catalog_from
from equipoise.catalog.models import Resolved
from equipoise.errors import ConfigError, UnknownName
from equipoise.types import Model, Price

ON = date(2026, 11, 1)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return default_catalog(ON)


def small(*models: Model) -> Catalog:
    return Catalog.of(models or (Model(name="a"), Model(name="b", tier="local")))


# ---------------------------------------------------------------- notebook pool


PUBLISHED = {
    # USD per 1k tokens, ms, context, tier, specializations, (general, code, reasoning, creative)
    "gpt-4": (0.030, 2000, 8192, "premium", "reasoning general creative", (0.95, 0.90, 0.95, 0.92)),
    "claude-3-opus": (0.015, 2200, 200000, "premium", "analysis reasoning general", (0.93, 0.88, 0.94, 0.90)),
    "gpt-3.5-turbo": (0.0015, 800, 4096, "standard", "general code", (0.80, 0.82, 0.75, 0.78)),
    "claude-3-sonnet": (0.003, 1200, 200000, "standard", "analysis general", (0.85, 0.80, 0.83, 0.82)),
    "gpt-3.5-turbo-instruct": (0.0015, 600, 4096, "budget", "general", (0.75, 0.70, 0.68, 0.72)),
    "claude-3-haiku": (0.00025, 400, 200000, "budget", "general fast", (0.72, 0.68, 0.70, 0.69)),
    "llama-2-13b": (0.0001, 1500, 4096, "local", "general", (0.65, 0.60, 0.62, 0.63)),
    "codellama-13b": (0.0001, 1800, 4096, "local", "code", (0.58, 0.75, 0.55, 0.50)),
}


def test_notebook_pool_has_the_eight_published_models_in_order() -> None:
    assert notebook_pool().names() == list(PUBLISHED)
    assert notebook_pool().version == "notebook 1"


@pytest.mark.parametrize("name", PUBLISHED)
def test_notebook_figures_equal_the_published_numbers(name: str) -> None:
    usd_per_1k, ms, context, tier, specializations, quality = PUBLISHED[name]
    m = notebook_pool().get(name)
    assert m.price is not None
    assert m.price.usd_per_1m_input == m.price.usd_per_1m_output == pytest.approx(usd_per_1k * 1000, rel=1e-12)
    assert m.price.cost_usd(700, 300) == pytest.approx(usd_per_1k, rel=1e-12)
    assert (m.latency_s, m.context_window, m.tier) == (ms / 1000, context, tier)
    assert m.specializations == tuple(specializations.split())
    assert tuple(m.quality[k] for k in ("general", "code", "reasoning", "creative")) == quality
    assert (m.availability, m.rate_limit_rpm) == (0.99, 1000)


def test_notebook_pool_is_made_anew_so_that_callers_cannot_spoil_it() -> None:
    notebook_pool().get("gpt-4").quality["general"] = 0.0  # type: ignore[index]
    assert notebook_pool().get("gpt-4").quality["general"] == 0.95


# ---------------------------------------------------------------- default catalog: prices


def test_every_catalog_model_has_a_price_above_zero_or_is_said_to_be_free(catalog: Catalog) -> None:
    assert len(catalog) > 1500
    for m in catalog.find():
        assert m.price is not None, m.name
        if m.price.source == "free":
            assert m.price.cost_usd(1000, 1000) == 0
        else:
            assert m.price.usd_per_1m_input > 0, m.name
            assert m.price.usd_per_1m_output > 0 or "embeddings" in m.capabilities, m.name


def test_free_models_are_only_those_that_the_library_says_are_free(catalog: Catalog) -> None:
    free = {m.name for m in catalog.find() if m.price is not None and m.price.source == "free"}
    assert catalog.get("openrouter/openai/gpt-oss-20b:free").name.removeprefix("openrouter/") in free
    assert "github-copilot/gpt-4o" not in catalog.names(), "included in a subscription is not free"
    assert "stealth/crouton-alpha" not in catalog, "an entry without any price is unknown, not free"


def test_well_known_prices_windows_and_cached_prices_come_from_the_library(catalog: Catalog) -> None:
    m = catalog.get("gpt-4o")
    assert m.price == Price(
        usd_per_1m_input=2.5,
        usd_per_1m_output=10.0,
        usd_per_1m_cached_input=1.25,
        source="genai-prices 0.2.3",
    ) or not m.price.source.endswith("0.2.3")
    assert (m.provider, m.context_window) == ("openai", 128000)


def at(prices: ModelPrice | list[ConditionalPrice], on: date = ON, *, model_id: str = "m", **facts: str) -> Catalog:
    info = ModelInfo(id=model_id, match=ClauseEquals(equals=model_id), prices=prices, **facts)
    return catalog_from([PriceProvider(id="p", name="P", api_pattern="x", models=[info])], on, source="test")


def usd(amount: float, **others: float | TieredPrices) -> ModelPrice:
    prices = {"input_mtok": amount, "output_mtok": 2 * amount, **others}
    return ModelPrice(**{k: v if isinstance(v, TieredPrices) else Decimal(str(v)) for k, v in prices.items()})


def test_tiered_prices_are_read_at_their_base_tier_and_the_one_above() -> None:
    tiered = TieredPrices(base=Decimal(3), tiers=[Tier(start=200_000, price=Decimal(9))])
    assert at(usd(1, input_mtok=tiered)).get("m").price == Price(
        usd_per_1m_input=3.0,
        usd_per_1m_output=2.0,
        long_from_tokens=200_000,
        usd_per_1m_input_long=9.0,
        source="test",
    )


def test_prices_by_the_hour_are_read_at_the_dearest_hour() -> None:
    night = TimeOfDateConstraint(start_time=time(0), end_time=time(6))
    for base, at_night in ((1, 4), (4, 1)):
        prices = [ConditionalPrice(prices=usd(base)), ConditionalPrice(night, prices=usd(at_night))]
        price = at(prices).get("m").price
        assert price is not None and (price.usd_per_1m_input, price.usd_per_1m_output) == (4, 8)


@pytest.mark.parametrize(("day", "amount"), [(1, 1), (9, 1), (10, 2), (19, 2), (20, 3), (30, 3)])
def test_prices_are_those_in_force_on_the_given_day(day: int, amount: float) -> None:
    prices = [ConditionalPrice(prices=usd(1))] + [
        ConditionalPrice(StartDateConstraint(start_date=date(2026, 9, d)), prices=usd(p)) for d, p in ((10, 2), (20, 3))
    ]
    catalog = at(prices, date(2026, 9, day))
    price = catalog.get("m").price
    assert price is not None and price.usd_per_1m_input == amount
    assert catalog.version == f"test ({ {1: 'undated', 2: '2026-09-10', 3: '2026-09-20'}[int(amount)] })"


def test_a_fee_for_each_request_becomes_a_price_per_call() -> None:
    price = at(usd(1, requests_kcount=12)).get("m").price
    assert price is not None and price.usd_per_call == pytest.approx(0.012)


def test_cached_input_has_its_own_price() -> None:
    price = at(usd(1, cache_read_mtok=0.1)).get("m").price
    assert price is not None and price.usd_per_1m_cached_input == 0.1


@pytest.mark.parametrize(
    "unusable",
    [
        ModelPrice(),
        ModelPrice(input_mtok=Decimal(1)),
        ModelPrice(output_mtok=Decimal(1)),
        ModelPrice(audio_hours=Decimal(1)),
        usd(0),
    ],
)
def test_an_entry_without_a_price_for_text_in_and_text_out_is_left_out(unusable: ModelPrice) -> None:
    assert "m" not in at(unusable)


@pytest.mark.parametrize(
    "words", [{"model_id": "m:free"}, {"name": "M (free)"}, {"price_comments": "Free of charge here."}]
)
def test_free_needs_words_and_no_price(words: dict[str, str]) -> None:
    name = words.get("model_id", "m")
    assert at(ModelPrice(), **words).get(name).price == Price(source="free")
    paid = at(usd(1), **words).get(name).price
    assert paid is not None and paid.usd_per_1m_input == 1
    assert name not in at(ModelPrice(audio_hours=Decimal(1)), **words)


def test_an_embedding_model_needs_no_price_for_output() -> None:
    model = at(ModelPrice(input_mtok=Decimal(1)), model_id="text-embed").get("text-embed")
    assert model.capabilities == {"embeddings"}
    assert model.price == Price(usd_per_1m_input=1, source="test")


def test_the_version_names_the_library_and_the_newest_change_in_force(catalog: Catalog) -> None:
    library, day = catalog.version.rsplit(" ", 1)
    assert library.startswith("genai-prices ")
    assert date(2026, 1, 1) < date.fromisoformat(day.strip("()")) <= ON


def test_default_catalog_is_built_once() -> None:
    assert default_catalog(ON) is default_catalog(ON)


def test_importing_the_catalog_does_not_import_the_price_library() -> None:
    code = (
        "import sys, equipoise.catalog as c; c.notebook_pool();"
        "sys.exit(any(m.startswith(('genai_prices', 'httpx2', 'pyarrow')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# ---------------------------------------------------------------- default catalog: names


def test_every_listed_name_can_be_looked_up_and_comes_back_under_itself(catalog: Catalog) -> None:
    for name in catalog.names():
        assert catalog.get(name).name == name
        assert name in catalog


def test_a_new_output_price_is_that_of_answers_to_long_prompts_too() -> None:
    price = Price(
        usd_per_1m_input=1.0,
        usd_per_1m_output=10.0,
        usd_per_1m_cached_input=0.1,
        long_from_tokens=200_000,
        usd_per_1m_input_long=2.0,
        usd_per_1m_output_long=15.0,
    )
    found = Catalog.of([Model(name="m", price=price)]).override("m", usd_per_1m_output=4.0).get("m").price
    assert found == replace(price, usd_per_1m_output=4.0, usd_per_1m_output_long=None, source="given")


def test_a_catalog_of_ones_own_models_takes_other_spellings_too() -> None:
    mine = Catalog.of(
        [Model(name="a", tier="local")], resolve=lambda name: Resolved("a", "x") if name == "x/a" else None
    )
    found = mine.get("x/a")
    assert (found.name, found.provider, found.tier) == ("x/a", "x", "local") and "y/a" not in mine


@pytest.mark.parametrize(
    ("asked", "same_as", "provider"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o", "openai"),
        ("openai/gpt-4o", "gpt-4o", "openai"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o", "openai"),
        ("claude-3-opus-20240229", "claude-3-opus-latest", "anthropic"),
        ("claude-3-opus", "claude-3-opus-latest", "anthropic"),
        ("gpt-4-1106-preview", "gpt-4-turbo", "openai"),
        ("azure/gpt-4o", "gpt-4o", "azure"),
    ],
)
def test_other_spellings_find_the_model_and_keep_their_name(
    catalog: Catalog, asked: str, same_as: str, provider: str
) -> None:
    assert catalog.get(asked) == replace(catalog.get(same_as), name=asked, provider=provider)


def test_a_dated_id_with_a_price_of_its_own_keeps_it(catalog: Catalog) -> None:
    old, new = catalog.get("gpt-4o-2024-05-13").price, catalog.get("gpt-4o").price
    assert old is not None and new is not None and old.usd_per_1m_input == 2 * new.usd_per_1m_input


def test_the_same_id_at_another_vendor_is_listed_under_that_vendor(catalog: Catalog) -> None:
    assert catalog.get("openrouter/openai/gpt-4o").provider == "openrouter"
    assert {m.provider for m in catalog.find(provider="openrouter")} == {"openrouter"}


@pytest.mark.parametrize(
    ("typo", "near"),
    [("gpt-4oo", "gpt-4o"), ("claude-3-opux", "claude-3-opus"), ("gemini-2.5-por", "gemini-2.5-pro")],
)
def test_an_unknown_name_is_refused_with_a_near_one(catalog: Catalog, typo: str, near: str) -> None:
    assert typo not in catalog
    with pytest.raises(UnknownName, match=f"did you mean '{near}'") as caught:
        catalog.get(typo)
    assert "\n" not in str(caught.value)


def test_absurdly_long_names_are_refused_quickly_and_shortly(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.get("gpt-4o" * 100_000)
    assert len(str(caught.value)) < 4000


# ---------------------------------------------------------------- curated facts


def test_curated_names_are_listed_and_their_values_are_in_range(catalog: Catalog) -> None:
    facts = known_facts()
    assert len(facts) >= 40
    names = set(catalog.names())
    for name, entry in facts.items():
        assert name in names, name
        assert set(entry) <= {
            "tier", "specializations", "capabilities", "max_output_tokens", "latency_s", "quality",
        }  # fmt: skip
        assert entry["capabilities"] <= {"tools", "vision", "json"} if "capabilities" in entry else True
        assert set(entry.get("quality", {})) in ({"general", "code", "reasoning", "creative"}, set())
        m = catalog.get(name)
        assert m.tier == entry["tier"]
        if m.max_output_tokens and m.context_window:
            assert m.max_output_tokens <= m.context_window


def test_find_filters_by_everything_at_once(catalog: Catalog) -> None:
    found = catalog.find(tier="premium", specialization="code", capability="vision", provider="openai")
    assert "o3" in [m.name for m in found]
    assert all(m.tier == "premium" and "code" in m.specializations for m in found)
    assert catalog.find(provider="nobody") == []


def test_find_refuses_a_tier_that_does_not_exist(catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match="did you mean 'premium'"):
        catalog.find(tier="premum")


# ---------------------------------------------------------------- changing


def test_override_changes_only_what_it_names_and_leaves_the_original(catalog: Catalog) -> None:
    changed = catalog.override("gpt-4o", tier="budget", capabilities=["tools"], quality={"general": 0.5})
    m = changed.get("gpt-4o")
    assert (m.tier, m.capabilities, m.quality) == ("budget", frozenset({"tools"}), {"general": 0.5})
    assert m.price == catalog.get("gpt-4o").price
    assert catalog.get("gpt-4o").tier == "standard"
    assert len(changed) == len(catalog)


def test_override_of_a_model_holds_for_its_dated_ids_too(catalog: Catalog) -> None:
    changed = catalog.override("gpt-4o", latency_s=9.0)
    assert changed.get("gpt-4o-2024-08-06").latency_s == 9.0
    assert changed.get("openai/gpt-4o").latency_s == 9.0


def test_override_of_a_dated_id_leaves_the_undated_model(catalog: Catalog) -> None:
    changed = catalog.override("gpt-4o-2024-08-06", latency_s=9.0)
    assert changed.get("gpt-4o-2024-08-06").latency_s == 9.0
    assert changed.get("gpt-4o").latency_s != 9.0


def test_override_takes_single_price_fields(catalog: Catalog) -> None:
    price = catalog.override("gpt-4o", usd_per_1m_output=8.0).get("gpt-4o").price
    assert price == Price(usd_per_1m_input=2.5, usd_per_1m_output=8.0, usd_per_1m_cached_input=1.25, source="given")


def test_a_new_input_price_does_not_keep_the_old_cached_price(catalog: Catalog) -> None:
    price = catalog.override("gpt-4o", usd_per_1m_input=0.5).get("gpt-4o").price
    assert price is not None and price.usd_per_1m_cached_input is None


def test_half_a_price_is_refused_for_a_model_that_has_none() -> None:
    for half in ({"usd_per_1m_input": 1.0}, {"usd_per_1m_cached_input": 1.0}):
        with pytest.raises(ConfigError, match="give usd_per_1m_input and usd_per_1m_output"):
            small().override("a", **half)
    with pytest.raises(ConfigError, match="together"):
        small().override("a", usd_per_1m_input=1.0, usd_per_call=0.1)
    full = small().override("a", usd_per_1m_input=1.0, usd_per_1m_output=2.0).get("a").price
    assert full == Price(usd_per_1m_input=1.0, usd_per_1m_output=2.0)


def test_override_takes_a_price_as_a_mapping() -> None:
    assert small().override("a", price={"usd_per_call": 0.1}).get("a").price == Price(usd_per_call=0.1)
    with pytest.raises(UnknownName, match="usd_per_call"):
        small().override("a", price={"usd_per_cal": 0.1})


@pytest.mark.parametrize(("field", "near"), [("teir", "tier"), ("usd_per_1m_imput", "usd_per_1m_input")])
def test_override_refuses_an_unknown_field_with_a_near_one(field: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown model field '{field}'; did you mean '{near}'"):
        small().override("a", **{field: 1})


@pytest.mark.parametrize(
    "bad",
    [
        {"usd_per_1m_input": -1.0, "usd_per_1m_output": 1.0},
        {"usd_per_1m_input": float("nan"), "usd_per_1m_output": 1.0},
        {"usd_per_1m_input": "1", "usd_per_1m_output": 1.0},
        {"usd_per_1m_input": None, "usd_per_1m_output": 1.0},
        {"price": 3.0},
        {"tier": "gold"},
        {"context_window": 0},
        {"context_window": 1.5},
        {"rate_limit_rpm": True},
        {"latency_s": -1.0},
        {"availability": 1.5},
        {"quality": {"general": 2.0}},
        {"quality": 0.9},
        {"capabilities": "tools"},
        {"specializations": [1]},
        {"deployments": ["openai"]},
        {"provider": ""},
    ],
)
def test_impossible_values_are_refused_in_one_line_that_names_the_model(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="model 'a'") as caught:
        small().override("a", **bad)
    assert "\n" not in str(caught.value)


def test_with_models_adds_and_replaces() -> None:
    changed = small().with_models([Model(name="b", tier="premium"), Model(name="c")])
    assert changed.names() == ["a", "b", "c"]
    assert changed.get("b").tier == "premium"
    assert small().names() == ["a", "b"]


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'a' is given twice"):
        small(Model(name="a"), Model(name="a"))


def test_with_prices_takes_the_price_and_keeps_the_facts(catalog: Catalog) -> None:
    mine = Catalog.of([Model(name="gpt-4o", price=Price(usd_per_call=0.1)), Model(name="own", price=Price())])
    changed = catalog.with_prices(mine)
    assert changed.get("gpt-4o") == replace(catalog.get("gpt-4o"), price=Price(usd_per_call=0.1))
    assert changed.get("own") == mine.get("own")


# ---------------------------------------------------------------- version


def test_the_version_tells_figures_apart_and_only_figures() -> None:
    base = notebook_pool()
    one, other = base.override("gpt-4", latency_s=1.0), base.override("gpt-4", latency_s=3.0)
    assert len({base.version, one.version, other.version}) == 3
    assert one.version.startswith("notebook 1 + ")
    both = one.override("claude-3-haiku", tier="local")
    assert both.version == base.override("claude-3-haiku", tier="local").override("gpt-4", latency_s=1.0).version


@given(st.dictionaries(st.sampled_from(sorted(PUBLISHED)), st.floats(0, 100), min_size=1), st.randoms())
def test_the_version_does_not_depend_on_the_order_of_overrides(changes: dict[str, float], rnd: object) -> None:
    first = second = notebook_pool()
    for name, value in changes.items():
        first = first.override(name, latency_s=value)
    shuffled = list(changes.items())
    rnd.shuffle(shuffled)  # type: ignore[attr-defined]
    for name, value in shuffled:
        second = second.override(name, latency_s=value)
    assert first.version == second.version


def test_what_writing_to_a_cache_costs_comes_from_the_library() -> None:
    price = at(usd(3, cache_write_mtok=Decimal("3.75"), cache_write_1h_mtok=Decimal(6))).get("m").price
    assert price is not None
    assert (price.usd_per_1m_cache_write, price.usd_per_1m_cache_write_1h) == (3.75, 6.0)


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("gpt-5.4", {"tools", "vision", "json"}),
        ("gpt-6-sol", {"tools", "vision", "json"}),
        ("gpt-5.4-image-2", set()),
        ("claude-opus-5-5", {"tools", "vision", "json"}),
        ("claude-sonnet-4-6", {"tools", "vision", "json"}),
        ("claude-2", set()),
        ("gemini-3.5-flash", {"tools", "vision", "json"}),
        ("gemini-3.8-flash-tts", set()),
        ("grok-4.5", {"tools", "json"}),
        ("kimi-k2.6", {"tools", "json"}),
        ("deepseek-v4-pro", {"tools", "json"}),
        ("a-model-of-my-own", set()),
    ],
)
def test_a_newer_model_of_a_known_family_can_do_what_the_family_can(name: str, able: set[str]) -> None:
    assert family_capabilities(name) == able


def test_what_is_known_of_a_model_goes_before_its_family(catalog: Catalog) -> None:
    assert catalog.get("claude-opus-4-5").capabilities == {"tools", "vision", "json"}
    assert catalog.get("claude-opus-4-1").capabilities == {"tools", "vision"}
