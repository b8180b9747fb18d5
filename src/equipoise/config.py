"""Configuration. The only module that reads ``equipoise.yaml``."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from equipoise.documents import Document, read_document
from equipoise.errors import ConfigError, EquipoiseError, UnknownName
from equipoise.settings import Strict, read_settings
from equipoise.types import DOMAINS

DEFAULT_FILE = Path("equipoise.yaml")
# What requests ask of models by themselves. There may be others, which routes and callers ask for by name.
CAPABILITIES = ("tools", "vision", "json", "embeddings")
_MOST_ANSWERS = 20
_MOST_NAME = 200
# Beyond them sums would overflow, or no longer be exact.
_Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
_Count = Annotated[int, Field(gt=0, le=1 << 53)]


def _spelt(capabilities: frozenset[str]) -> frozenset[str]:
    """Capabilities may have any name; one that is nearly a known one is not meant to be another."""
    for name in sorted(capabilities - {*CAPABILITIES}):
        if near := difflib.get_close_matches(name, CAPABILITIES, n=1, cutoff=0.7):
            raise ValueError(f"unknown capability '{name}'; did you mean '{near[0]}'?")
    return capabilities


_Capabilities = Annotated[frozenset[str], AfterValidator(_spelt)]


def _named(name: str) -> str:
    """Names go into headers, log lines and metrics."""
    if not 0 < len(name) <= _MOST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"a name has 1 to {_MOST_NAME} printable characters, and no space around them")
    return name


Name = Annotated[str, AfterValidator(_named)]


def _variable(name: str) -> str:
    # What it is not is not told: it may be the key itself.
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("give the name of an environment variable that holds the key, such as OPENAI_API_KEY")
    return name


def _truth(value: Any) -> Any:
    """Words that were truth values until YAML 1.2."""
    return {"yes": True, "on": True, "no": False, "off": False}.get(value, value) if isinstance(value, str) else value


_Flag = Annotated[bool, BeforeValidator(_truth)]


def _http_url(url: str) -> str:
    try:
        sound = re.fullmatch(r"https?://[^\s/?#@]+(/[^\s]*)?", url) and urlsplit(url).port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("give a URL, such as http://localhost:4318/v1/traces")
    return url


def _origin(origin: str) -> str:
    # Another spelling would be let in never, and a pattern more than it names.
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+(?<!:80)(?<!:443)", origin):
        raise ValueError(
            "give an origin as browsers tell it, such as https://app.example.com: no *, path or usual port"
        )
    return origin


def _domain(name: str) -> str:
    if name not in DOMAINS:
        raise ValueError(str(UnknownName("domain", name, DOMAINS)))
    return name


def _below(folder: Path, path: str) -> str:
    return path if path.startswith("~") else str(folder / path)


class DeploymentConfig(Strict):
    """One place where a model can be called."""

    provider: str
    base_url: str | None = None
    api_key_env: Annotated[str, AfterValidator(_variable)] | None = None
    api_key_file: Annotated[str, Field(min_length=1)] | None = None
    model_id: str | None = None
    region: str | None = None
    weight: _Positive = 1.0
    rpm: _Count | None = None
    tpm: _Count | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give api_key_env or api_key_file, not both")
        return self

    def below(self, folder: Path) -> Self:
        """The same, with the files of its key and its weights where they are, seen from ``folder``.

        So they are found from wherever the gateway is started, as its tables are.
        """
        key, weights = self.api_key_file, self.options.get("path")
        changes: dict[str, Any] = {}
        if key is not None:
            changes["api_key_file"] = _below(folder, key)
        if isinstance(weights, str):
            changes["options"] = {**self.options, "path": _below(folder, weights)}
        return self.model_copy(update=changes) if changes else self


class PriceConfig(Strict):
    """A price that overrides the catalog's. Per million tokens; ``long``: from so many tokens of input on."""

    usd_per_1m_input: _Usd = 0.0
    usd_per_1m_output: _Usd = 0.0
    usd_per_1m_cached_input: _Usd | None = None
    usd_per_1m_cache_write: _Usd | None = None
    usd_per_1m_cache_write_1h: _Usd | None = None
    long_from_tokens: _Count | None = None
    usd_per_1m_input_long: _Usd | None = None
    usd_per_1m_output_long: _Usd | None = None
    usd_per_call: _Usd = 0.0
    usd_per_compute_s: _Usd = 0.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Half a price would make the other half free without anyone having said so."""
        tokens = {"usd_per_1m_input", "usd_per_1m_output"}
        given = len(tokens & self.model_fields_set)
        if given == 1 or not (given or self.model_fields_set & {"usd_per_call", "usd_per_compute_s"}):
            raise ValueError("give usd_per_1m_input and usd_per_1m_output, or usd_per_call or usd_per_compute_s")
        return self


class ModelConfig(Strict):
    """A model; what is left out comes from the catalog."""

    name: Name
    price: PriceConfig | None = None
    context_window: _Count | None = None
    max_output_tokens: _Count | None = None
    tier: Literal["premium", "standard", "budget", "local"] | None = None
    specializations: tuple[str, ...] | None = None
    capabilities: _Capabilities | None = None
    latency_s: _Positive | None = None
    quality: dict[Annotated[str, AfterValidator(_domain)], Annotated[float, Field(ge=0, le=1)]] | None = None
    deployments: tuple[DeploymentConfig, ...] = ()

    def below(self, folder: Path) -> Self:
        """The same, with the files of its deployments where they are, seen from ``folder``."""
        places = tuple(deployment.below(folder) for deployment in self.deployments)
        return self.model_copy(update={"deployments": places}) if places else self


class ConstraintsConfig(Strict):
    """Hard limits of a route."""

    max_cost_usd: _Positive | None = None
    max_latency_s: _Positive | None = None
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    region: str | None = None
    capabilities: _Capabilities = frozenset()


class CacheConfig(Strict):
    """Answers that are given again. Off unless asked for; never shared between tenants or routes.

    ``semantic`` also answers prompts that ask the same in other words: whose least alike words have a similarity
    of at least ``threshold``; without one, the threshold calibrated for ``false_hit_rate``.
    """

    exact: _Flag = False
    semantic: _Flag = False
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    false_hit_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    ttl_s: _Positive = 3600.0
    max_entries: int = Field(default=10_000, gt=0, le=1_000_000)
    max_bytes: _Count = 64 << 20


class HedgingConfig(Strict):
    """A second call when the first is slower than usual. ``max_share`` caps the extra calls."""

    enabled: _Flag = False
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.03


class ExecutionConfig(Strict):
    """How calls are made. Times in seconds.

    ``region``: where this gateway runs; deployments there come first. ``midstream``: what happens when a stream
    breaks after its first content: another model continues it, or the stream ends with an error event.
    """

    region: str | None = None
    connect_s: _Positive = 10.0
    first_token_s: _Positive = 120.0
    between_tokens_s: _Positive = 60.0
    total_s: _Positive = 600.0
    attempts_per_model: int = Field(default=2, ge=1, le=10)
    max_attempts: int = Field(default=6, ge=1, le=50)
    backoff_s: _Positive = 0.25
    max_backoff_s: _Positive = 8.0
    breaker_window_s: _Positive = 30.0
    breaker_min_calls: int = Field(default=10, ge=1)
    breaker_error_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    breaker_cooldown_s: _Positive = 15.0
    hedging: HedgingConfig = HedgingConfig()
    midstream: Literal["continue", "error"] = "continue"


class ServerConfig(Strict):
    """The gateway's edge. Times in seconds.

    ``keys``: ``required`` refuses calls without a key; ``off`` is for loopback only. A client that takes longer
    than ``header_timeout_s`` or ``body_timeout_s`` to send, or does not take what is written to it for
    ``write_timeout_s``, is cut. ``reload_s``: how often the configuration is looked at for changes; 0 is never.
    ``max_bodies_bytes`` bounds the bodies of all requests together that do not come in one piece.
    ``usd_per_core_hour`` is the price of this machine: what deciding costs is on the bill. Pages of ``cors_origins``
    may call the gateway from a browser.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8080, ge=0, le=65535)
    keys: Literal["required", "off"] = "off"
    max_body_bytes: _Count = 20 << 20
    max_bodies_bytes: _Count = 512 << 20
    max_header_bytes: int = Field(default=32 << 10, ge=1024)
    header_timeout_s: _Positive = 10.0
    body_timeout_s: _Positive = 30.0
    write_timeout_s: _Positive = 30.0
    keepalive_s: _Positive = 75.0
    max_in_flight: _Count = 2000
    drain_s: _Positive = 25.0
    reload_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 2.0
    request_lines: Literal["all", "failed", "none"] = "all"
    usd_per_core_hour: _Usd = 0.05
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()


class TracesConfig(Strict):
    """OpenTelemetry traces, one span per request and one per call made for it. Needs the extra ``otel``."""

    endpoint: Annotated[str, AfterValidator(_http_url)]
    service_name: str = "equipoise"


class LogConfig(Strict):
    """The decision log. Prompts are not kept unless asked for."""

    prompts: Literal["none", "redacted", "full"] = "none"
    retention_days: _Positive | None = None


class BudgetConfig(Strict):
    """What may be spent in a day or a month (UTC)."""

    usd: _Positive
    per: Literal["day", "month"] = "month"


class TenantConfig(Strict):
    """What a tenant may ask for: requests and tokens in any minute, and what they may cost."""

    rpm: _Count | None = None
    tpm: _Count | None = None
    budget: BudgetConfig | None = None


def _several(name: str) -> str:
    model, _, samples = name.rpartition("*")
    if not model or not samples.isdecimal() or not 2 <= int(samples) <= _MOST_ANSWERS:
        raise ValueError(f"write NAME*N with N from 2 to {_MOST_ANSWERS}, not '{name}'")
    return name


class SelfCheckConfig(Strict):
    """The model that gave an answer is asked whether it is right, ``samples`` times: the share that says yes."""

    samples: int = Field(default=3, ge=1, le=_MOST_ANSWERS)
    timeout_s: _Positive = 10.0


class RewardConfig(Strict):
    """``model`` grades an answer from 0 to 1."""

    model: str
    timeout_s: _Positive = 10.0


class ChecksConfig(Strict):
    """Who is asked about an answer, for a policy that tests by ``self_check`` or ``reward``."""

    self_check: SelfCheckConfig | None = None
    reward: RewardConfig | None = None


class RouteConfig(Strict):
    """A name that applications ask for instead of a model.

    ``models``: of which it chooses one; of all, where none is named.
    ``best_of``: more candidates, each NAME*N: a model asked N times, whose most frequent answer is returned.
    ``decide_s``: longest that a router or policy that is not quick may take; then it is done without.
    ``affinity``: in a conversation, ``economic`` changes model only when that gains more than the lost
    prompt cache costs; ``sticky`` never changes a model that still serves; ``off`` decides every turn anew.
    ``when_none_fits``: a request whose limits no model meets is refused, or goes to the ``cheapest`` able model.
    """

    router: dict[str, Any] = {"type": "static"}
    policy: dict[str, Any] = {"type": "cost_aware"}
    models: tuple[str, ...] = ()
    best_of: tuple[Annotated[str, AfterValidator(_several)], ...] = ()
    checks: ChecksConfig = ChecksConfig()
    constraints: ConstraintsConfig = ConstraintsConfig()
    fallback: tuple[str, ...] = ()
    when_none_fits: Literal["refuse", "cheapest"] = "refuse"
    decide_s: _Positive = 2.0
    affinity: Literal["economic", "sticky", "off"] = "economic"
    cache: CacheConfig = CacheConfig()


class UrlConfig(Strict):
    """Where something is kept."""

    url: str


def _in_memory(url: str) -> str:
    if url != "memory://":
        raise ValueError("state is shared by nothing but the process itself so far; write memory://")
    return url


class SharedStateConfig(Strict):
    """Where what several gateways should know of one another is kept: so far in the memory of one."""

    url: Annotated[str, AfterValidator(_in_memory)] = "memory://"


class Config(Strict):
    """``equipoise.yaml``. Of ``tenants``, ``"*"`` stands for each that is not named."""

    pool: Literal["notebook"] | None = None
    models: tuple[ModelConfig, ...] = ()
    routes: dict[Name, RouteConfig] = {"auto": RouteConfig()}
    storage: UrlConfig = UrlConfig(url="sqlite:///equipoise.db")
    shared_state: SharedStateConfig = SharedStateConfig()
    server: ServerConfig = ServerConfig()
    execution: ExecutionConfig = ExecutionConfig()
    log: LogConfig = LogConfig()
    traces: TracesConfig | None = None
    tenants: dict[Name, TenantConfig] = {}

    @property
    def judges(self) -> frozenset[str]:
        """Models that some route asks about answers; whether they answer as well, a router's table says."""
        asked = (route.checks.reward for route in self.routes.values())
        return frozenset(reward.model for reward in asked if reward is not None)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``equipoise.yaml``, for editors."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "equipoise.yaml"}


def read_config(path: Path) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: naming file, line, what is wrong and, for a misspelled key, the near one.
    """
    config, document = read_settings(
        path, Config, missing="write one with: equipoise init", other="see: equipoise init"
    )
    _check_models(config, document, path)
    models = tuple(model.below(path.parent) for model in config.models)
    return config.model_copy(update={"models": models}) if models else config


def located(error: EquipoiseError, path: Path) -> str:
    """What is wrong with a configuration, after the file and, where it is known, the line."""
    said, place = str(error), error.place if isinstance(error, ConfigError) else ()
    if said.startswith(f"{path}:"):
        return said
    if place:
        with suppress(OSError, ConfigError):
            return f"{path}:{read_document(path).line(*place)}: {said}"
    return f"{path}: {said}"


def _check_models(config: Config, document: Document, path: Path) -> None:
    def refuse(said: str, *place: int | str) -> NoReturn:
        raise ConfigError(f"{path}:{document.line(*place)}: {'.'.join(map(str, place))}: {said}")

    if config.pool is not None and config.models:
        refuse("given beside 'pool'; keep one of them", "models")
    names: set[str] = set()
    for i, model in enumerate(config.models):
        if model.name in names:
            refuse(f"a second model '{model.name}'; give each its own name", "models", i, "name")
        names.add(model.name)
    for route, settings in config.routes.items():
        for i, candidate in enumerate(settings.best_of if names else ()):
            name = candidate.rpartition("*")[0]
            if name not in names:
                refuse(str(UnknownName("model", name, names)), "routes", route, "best_of", i)
