"""equipoise.yaml: what is wrong is told with its file, its line and the nearest known key."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from equipoise import api
from equipoise.cli.init import EXAMPLE
from equipoise.config import Config, read_config
from equipoise.errors import ConfigError, InputError, PriceError, UnknownName
from equipoise.storage.store import database_path
from equipoise.types import Constraints
from tests.small_world import A_POEM, A_SUM, MODELS, POEM_MODEL, SUM_MODEL, write_small_table


def written(folder: Path, text: str) -> Path:
    path = folder / "equipoise.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def config(folder: Path, text: str) -> Config:
    return read_config(written(folder, text))


WRONG = [
    ("modles: []\n", 1, "did you mean 'models'?"),
    ("zzz: 1\n", 1, "unknown key; known: pool, models, routes"),
    ("models:\n  - nmae: x\n", 2, "nmae: unknown key; did you mean 'name'?"),
    ("models:\n  - {}\n", 2, "name: field required"),
    ("models:\n  - name: x\n    deployments:\n      - {provider: o, regin: x}\n", 4, "did you mean 'region'?"),
    ("models:\n  - name: x\n    deployments:\n      - {base_url: x}\n", 4, "provider: field required"),
    ("models:\n  - name: x\n    deployments:\n      - {provider: o, api_key_file: ''}\n", 4, "at least 1 character"),
    ("models:\n  - name: x\n    price: {usd_per_1m_inptu: 1}\n", 3, "did you mean 'usd_per_1m_input'?"),
    ("models:\n  - name: x\n    price: {usd_per_1m_input: -2}\n", 3, "greater than or equal to 0"),
    ("models:\n  - name: x\n    price: {usd_per_call: .inf}\n", 3, "finite"),
    ("models:\n  - name: x\n    price: {usd_per_1m_input: 1}\n", 3, "give usd_per_1m_input and usd_per_1m_output"),
    ("models:\n  - name: x\n    price: {usd_per_1m_cached_input: 1}\n", 3, "give usd_per_1m_input and"),
    ("models:\n  - name: x\n    price: {}\n", 3, "or usd_per_call or usd_per_compute_s"),
    ("models:\n  - name: x\n    capabilities: [json, tool]\n", 3, "unknown capability 'tool'; did you mean 'tools'?"),
    ("models:\n  - name: x\n    latency_s: fast\n", 3, "should be a number"),
    ("models:\n  - name: x\n    quality: {code: 2}\n", 3, "less than or equal to 1"),
    ("models:\n  - name: x\n    context_window: 0\n", 3, "greater than 0"),
    ("models:\n  - name: x\n  - name: x\n", 3, "a second model 'x'"),
    ("models: [{name: ''}]\n", 1, "a name has 1 to 200 printable characters"),
    ('models:\n  - name: "a\\nb"\n', 2, "holds a line break"),
    ('models:\n  - name: x\n    deployments: [{provider: openai, region: "eu\\nx: y"}]\n', 3, "holds a line break"),
    ('models:\n  - name: "a\u2028b"\n', 2, "a name has 1 to 200 printable characters"),
    ('routes:\n  " auto": {}\n', 2, "no space around them"),
    ('routes:\n  auto: {router: {file: "a\\0b"}}\n', 2, "another control character"),
    ("models: hello\n", 1, "models: should be a list"),
    ("models:\n  - name: x\n    capabilities: tools\n", 3, "should be a list"),
    ("models:\n  - name: x\n    quality: {genral: 0.5}\n", 3, "did you mean 'general'?"),
    ("models:\n  - name: x\n    price: {usd_per_call: 1.0e+308}\n", 3, "less than or equal to 1000000000"),
    ("models:\n  - name: x\n    context_window: 99999999999999999\n", 3, "less than or equal to"),
    ("models:\n  - name: x\n    context_window: '2000'\n", 3, "should be a whole number, without quotation marks"),
    ("server:\n  port: true\n", 2, "should be a whole number"),
    ("server:\n  port: 80:80\n", 2, "should be a whole number"),
    ("server:\n  port: !!int ''\n", 2, "cannot be read as int"),
    ("server:\n  port: !!bool maybe\n", 2, "cannot be read as bool"),
    ("server:\n  port: !!timestamp soon\n", 2, "could not determine a constructor"),
    ("server:\n  host: !!binary /w==\n", 2, "could not determine a constructor"),
    (f"server:\n  port: {'9' * 5000}\n", 2, "cannot be read as int"),
    (f"server:\n  port: 0x{'f' * 5000}\n", 2, "cannot be read as int"),
    ("routes:\n  auto:\n    router: {type: knn, k: 9223372036854775808}\n", 3, "cannot be read as int"),
    ("traces:\n  endpoint: localhost:4318\n", 2, "give a URL"),
    ('server:\n  cors_origins: ["*"]\n', 2, "give an origin"),
    ('server:\n  cors_origins: ["https://app.example.com/"]\n', 2, "give an origin"),
    ('server:\n  cors_origins: ["https://App.example.com"]\n', 2, "give an origin"),
    ('server:\n  cors_origins: ["https://app.example.com:443"]\n', 2, "give an origin"),
    ("server:\n  cors_origins: ['null']\n", 2, "give an origin"),
    ("traces:\n  endpoint: http://localhost:431800/v1/traces\n", 2, "give a URL"),
    ("routes:\n  auto:\n    router: &r {type: static, k: *r}\n", 3, "stands within itself"),
    ("models: " + "[" * 150 + "]" * 150 + "\n", 1, "nested more than 100 deep"),
    ("server:\n  host: \x01\n", 2, "the character 0x01 may not stand in it"),
    ("pool: notebok\n", 1, "should be 'notebook'"),
    ("pool: notebook\nmodels: [{name: x}]\n", 2, "given beside 'pool'"),
    ("\n\nroutes:\n  price:\n    polcy: {type: x}\n", 5, "routes.price.polcy: unknown key; did you mean 'policy'?"),
    ("routes:\n  auto:\n    constraints: {max_cost: 1}\n", 3, "did you mean 'max_cost_usd'?"),
    ("routes:\n  auto:\n    constraints: {max_cost_usd: .nan}\n", 3, "finite"),
    ("routes:\n  auto:\n    constraints: {min_quality: 1.5}\n", 3, "less than or equal to 1"),
    ("routes:\n  auto: [a]\n", 2, "should be a mapping"),
    ("storage: sqlite\n", 1, "should be a mapping"),
    ("models: [{name: a}]\nmodels: []\n", 2, "models: given twice"),
    ("routes:\n  auto:\n    router: {type: knn, type: linear}\n", 3, "type: given twice"),
    ("pool: [\n", 2, "not YAML"),
    ("pool: a: b\n", 1, "not YAML"),
    ("pool: !!python/object:os.system x\n", 1, "not YAML"),
    ("- a\n", 1, "not a mapping"),
    ('shared_state: {url: "redis://x"}\n', 1, "write memory://"),
    ("models: [{name: a}]\nroutes:\n  auto:\n    best_of: [a*3, b*3]\n", 4, "best_of.1: unknown model 'b'"),
    ("routes:\n  auto:\n    best_of:\n      - a*1\n", 4, "write NAME*N with N from 2 to 20, not 'a*1'"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG)
def test_every_mistake_is_told_with_its_file_and_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ") and says in message and "\n" not in message


KEY_ITSELF = "sk-proj-1234567890abcdef"


@pytest.mark.parametrize("said", [f"api_key_env: {KEY_ITSELF}", f"api_key_env: X, api_key_file: {KEY_ITSELF}"])
def test_a_key_that_stands_where_its_name_should_is_not_told(tmp_path: Path, said: str) -> None:
    with pytest.raises(ConfigError, match="api_key_env") as caught:
        config(tmp_path, f"models:\n  - name: x\n    deployments: [{{provider: openai, {said}}}]\n")
    assert KEY_ITSELF not in str(caught.value)


def test_a_password_of_a_place_that_is_not_known_is_not_told(tmp_path: Path) -> None:
    for read in (lambda url: config(tmp_path, f"shared_state: {{url: '{url}'}}\n"), database_path):
        with pytest.raises(ConfigError, match="memory://") as caught:
            read("redis://:hunter2@host/0")
        assert "hunter2" not in str(caught.value)


def test_a_few_lines_of_aliases_that_would_fill_the_memory_are_refused_at_once(tmp_path: Path) -> None:
    doubled = "".join(f"   k{i + 1}: &k{i + 1} {{a: *k{i}, b: *k{i}}}\n" for i in range(40))
    with pytest.raises(ConfigError, match=r"equipoise\.yaml:\d+: its aliases make this larger"):
        config(tmp_path, f"routes:\n auto:\n  router:\n   type: static\n   k0: &k0 {{x: 1}}\n{doubled}")


def test_words_and_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    made = config(
        tmp_path,
        "server: {keys: off, port: 010}\n"
        "execution: {hedging: {enabled: yes}}\n"
        "routes: {on: {affinity: off, constraints: {max_cost_usd: 5e-5}}, 2026-01-01: {}}\n",
    )
    assert (made.server.keys, made.server.port, made.execution.hedging.enabled) == ("off", 10, True)
    assert list(made.routes) == ["on", "2026-01-01"]
    assert (made.routes["on"].affinity, made.routes["on"].constraints.max_cost_usd) == ("off", 5e-5)


def test_settings_that_several_models_share_may_be_written_once(tmp_path: Path) -> None:
    made = config(tmp_path, "models:\n  - &a {name: x, tier: budget}\n  - {<<: *a, name: y}\n")
    assert [(m.name, m.tier) for m in made.models] == [("x", "budget"), ("y", "budget")]


def test_files_that_are_no_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file.*equipoise init"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory; name a file to read"):
        read_config(tmp_path)
    path = tmp_path / "equipoise.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not YAML"):
        read_config(path)
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigError, match="larger than"):
        read_config(path)
    path.write_bytes(b"pool: notebook\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"yaml:2: not YAML \(not UTF-8"):
        read_config(path)
    with pytest.raises(ConfigError, match="a pipe or device"):
        read_config(Path("/dev/zero"))
    path.write_text("[" * 1500)
    with pytest.raises(ConfigError, match="not YAML"):
        read_config(path)


def test_a_capability_of_any_other_name_may_be_asked_for(tmp_path: Path) -> None:
    made = config(tmp_path, "models: [{name: x, capabilities: [tools, medical]}]\n")
    assert made.models[0].capabilities == {"tools", "medical"}


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert config(tmp_path, "# nothing\n") == Config()


def test_the_example_that_init_writes_can_be_used(tmp_path: Path) -> None:
    engine, limits = api.engine_from(config(tmp_path, EXAMPLE))
    assert limits == Constraints(max_cost_usd=0.05)
    prompts = ("Good morning", "Write a lock-free queue in C++, and prove that it is linearizable")
    chosen = [engine.decide(api.request_with(limits, prompt)).model for prompt in prompts]
    assert sorted(chosen) == ["gpt-4o", "gpt-4o-mini"], "each is worth its price somewhere"
    commented = re.sub("^  # ", "  ", EXAMPLE, flags=re.MULTILINE)
    assert [m.name for m in config(tmp_path, commented).models] == ["gpt-4o", "gpt-4o-mini", "my-own-model"]


# ---------------------------------------------------------------- engines from a configuration


def test_a_model_takes_from_the_catalog_what_is_not_said(tmp_path: Path) -> None:
    given = "models:\n  - name: gpt-4o\n    context_window: 1000\n    price: {usd_per_call: 0.5}\n"
    (model,) = api.models_of(config(tmp_path, given))
    assert model.context_window == 1000
    assert model.price is not None and (model.price.usd_per_call, model.price.usd_per_1m_input) == (0.5, 0.0)
    assert "tools" in model.capabilities
    assert api.models_of(config(tmp_path, "pool: notebook\n"))


@pytest.mark.parametrize(
    ("text", "route", "error", "says"),
    [
        ("pool: notebook\n", "atuo", UnknownName, "unknown route 'atuo'; did you mean 'auto'?"),
        ("routes: {auto: {}}\n", "auto", ConfigError, "names no models"),
        (
            "pool: notebook\nroutes: {auto: {fallback: [gpt-4o-minni]}}\n",
            "auto",
            UnknownName,
            "unknown model 'gpt-4o-minni'",
        ),
        ("pool: notebook\nroutes: {auto: {router: {type: lineer}}}\n", "auto", UnknownName, "did you mean 'linear'?"),
        ("pool: notebook\nroutes: {auto: {router: {k: 5}}}\n", "auto", ConfigError, "has no 'type'"),
        ("pool: notebook\nroutes: {auto: {router: {file: 5}}}\n", "auto", ConfigError, "name of a file"),
        ("pool: notebook\nroutes: {auto: {policy: {type: budget}}}\n", "auto", ConfigError, "mean_cost_usd"),
    ],
)
def test_a_route_that_cannot_be_built_says_why(
    tmp_path: Path, text: str, route: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says.replace("?", r"\?")):
        api.engine_from(config(tmp_path, text), route)


LEARNED = """\
models: [{name: abacus}, {name: bard}, {name: colossus}]
routes:
  table: {router: {type: static, table: small.parquet}, policy: {type: cost_aware, form: linear, cost_weight: 100}}
  file: {router: {file: r.npz}}
  other: {router: {file: r.npz}, policy: {type: quality_first}}
  both: {router: {file: r.npz, k: 5}}
"""


def test_routes_learn_from_a_table_or_read_a_router_file_beside_the_configuration(tmp_path: Path) -> None:
    table = write_small_table(tmp_path, n=120)
    budget = {"type": "budget", "mean_cost_usd": 0.0006}
    opened = api.open_table(table)
    api.train(opened, router="static", policy=budget).calibrate(opened).save(tmp_path / "r.npz")
    given = config(tmp_path, LEARNED)

    by_table, _ = api.engine_from(given, "table", folder=tmp_path)
    assert by_table.decide(A_SUM).model == SUM_MODEL and by_table.decide(A_POEM).model == POEM_MODEL

    by_file, _ = api.engine_from(given, "file", folder=tmp_path)
    assert by_file.policy.name == "budget"
    assert by_file.decide(A_SUM).method == "budget"

    other, _ = api.engine_from(given, "other", folder=tmp_path)
    assert other.decide(A_SUM).versions["policy"] == "quality_first"

    with pytest.raises(ConfigError, match="'k' stands beside 'file'"):
        api.engine_from(given, "both", folder=tmp_path)


@pytest.mark.parametrize("rows", [[{"prompt": "hi"}], {"prompt": ["hi"]}, None])
def test_rows_are_no_table_and_are_told_how_to_become_one(rows: Any) -> None:
    with pytest.raises(InputError, match=r"not (list|dict|NoneType); make one of rows with OutcomeTable\.from_rows"):
        api.train(rows)


def test_a_router_file_chooses_only_among_configured_models(tmp_path: Path) -> None:
    api.train(write_small_table(tmp_path, n=120), router="static").save(tmp_path / "r.npz")
    routes = "routes: {auto: {router: {file: r.npz}}}\n"
    engine, _ = api.engine_from(config(tmp_path, "models: [{name: bard}]\n" + routes), folder=tmp_path)
    assert [c.model for c in engine.decide(A_SUM).candidates] == ["bard"]
    with pytest.raises(ConfigError, match=f"knows none of the configured models; it knows {', '.join(MODELS)}"):
        api.engine_from(config(tmp_path, "models: [{name: gpt-4o}]\n" + routes), folder=tmp_path)


def test_a_model_that_only_embeds_stands_beside_routes_that_learn_from_a_table(tmp_path: Path) -> None:
    write_small_table(tmp_path, n=120)
    text = LEARNED.replace("models: [", "models: [{name: text-embedding-3-small}, ")
    engine, _ = api.engine_from(config(tmp_path, text), "table", folder=tmp_path)
    assert [c.model for c in engine.decide(A_SUM).candidates] == list(MODELS)
    with pytest.raises(ConfigError, match="names no models that answer"):
        api.engine_from(config(tmp_path, "models: [{name: text-embedding-3-small}]\n"))


def test_a_route_learns_of_the_models_that_it_names_and_chooses_among_them(tmp_path: Path) -> None:
    write_small_table(tmp_path, n=120)
    named = "{models: [colossus, bard], router: "
    engine, _ = api.engine_from(config(tmp_path, LEARNED.replace("{router: ", named)), "table", folder=tmp_path)
    engine.save(tmp_path / "r.npz")
    assert [c.model for c in engine.decide(A_SUM).candidates] == ["bard", "colossus"]
    engine, _ = api.engine_from(config(tmp_path, LEARNED.replace("{router: ", named)), "file", folder=tmp_path)
    assert [c.model for c in engine.decide(A_SUM).candidates] == ["bard", "colossus"]


def test_a_model_without_any_known_price_is_refused_where_costs_are_weighed(tmp_path: Path) -> None:
    given = "models: [{name: home-made, quality: {general: 0.5}}]\n"
    engine, _ = api.engine_from(config(tmp_path, given))
    with pytest.raises(PriceError, match="home-made"):
        engine.decide("hello")


# ---------------------------------------------------------------- requests


def test_a_request_tightens_the_limits_of_a_route_and_never_loosens_them() -> None:
    standing = Constraints(max_cost_usd=0.01, min_quality=0.5, region="eu")
    asked = api.request_with(standing, "x", max_cost_usd=0.1, min_quality=0.9, max_latency_s=3.0).constraints
    assert asked == replace(standing, min_quality=0.9, max_latency_s=3.0)
    assert api.request_with(standing, "x", max_cost_usd=0.001, min_quality=None).constraints.max_cost_usd == 0.001


# ---------------------------------------------------------------- files


def test_files_of_keys_and_weights_are_found_from_the_configurations_folder(tmp_path: Path) -> None:
    made = config(
        tmp_path,
        "models:\n  - name: x\n    deployments:\n"
        "      - {provider: openai, api_key_file: keys/openai}\n"
        "      - {provider: openai, api_key_file: /run/secrets/openai}\n"
        "      - {provider: openai, api_key_file: ~/openai}\n"
        "      - {provider: gguf, options: {path: weights.gguf, slots: 2}}\n",
    )
    *keys, weights = made.models[0].deployments
    assert [key.api_key_file for key in keys] == [str(tmp_path / "keys/openai"), "/run/secrets/openai", "~/openai"]
    assert weights.options == {"path": str(tmp_path / "weights.gguf"), "slots": 2}
