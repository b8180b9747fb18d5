"""What a Python user calls: files and names in, tables and engines out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from equipoise.cascades.best_of import best_of_models, best_of_steps, with_best_of
from equipoise.cascades.contract import AnswerPolicy
from equipoise.catalog import Catalog, default_catalog, notebook_pool
from equipoise.config import Config, ModelConfig, RouteConfig
from equipoise.datasets import public
from equipoise.datasets.registry import DATASETS
from equipoise.engine import Engine
from equipoise.environment import data_folders
from equipoise.errors import ConfigError, InputError, UnknownName
from equipoise.registry import DEFAULT_ROUTER, DEFAULT_VOTES_ROUTER, Spec, make_policy
from equipoise.tables import OutcomeTable, read_table, with_costs
from equipoise.tables.answers import ENDING as ANSWERS_ENDING
from equipoise.tables.answers import Answers, answers_beside, mean_grades, read_answers
from equipoise.tables.votes import VoteTable, read_votes
from equipoise.types import Constraints, Deployment, Model, Price, Request

TableLike = str | Path | OutcomeTable


def open_table(
    source: TableLike, *, prices: str | Path | None = None, cost: bool = True, best_of: int | Sequence[str] = ()
) -> OutcomeTable:
    """An outcome table from a file or the name of a public data set, with every cost filled in.

    Where sampled answers lie beside the file (see ``open_answers``), the table knows what quality to expect of them.

    Args:
        prices: CSV of model prices; prices win over the catalog.
        cost: False leaves costs as they are.
        best_of: more candidates from the sampled answers beside the table: models asked several times. See
            ``equipoise.cascades.best_of.with_best_of``.

    Raises:
        TableError: the table cannot be used as it stands.
        PriceError: a cost is missing and no price is known.
    """
    table = _priced(source if isinstance(source, OutcomeTable) else _read(source), prices, cost)
    place = None if isinstance(source, OutcomeTable) else _place(source)
    beside = None if place is None else answers_beside(place)
    answers = None if beside is None else read_answers(beside, table)
    if answers is not None:
        table = replace(table, expected=mean_grades(table, answers))
    return with_best_of(table, answers or open_answers(source, table), best_of) if best_of else table


def _priced(table: OutcomeTable, prices: str | Path | None, cost: bool) -> OutcomeTable:
    if not cost:
        return table
    given = Catalog.from_prices_file(prices) if prices is not None else None
    own = {name: p for name in table.models if given is not None and name in given and (p := given.get(name).price)}
    if not own and (table.cost_usd == table.cost_usd).all():
        return table
    return with_costs(table, prices=own or None, find=_find)


def _find(name: str) -> Model | None:
    catalog = default_catalog()
    return catalog.get(name) if name in catalog else None


def _read(source: str | Path) -> OutcomeTable:
    """A file where there is one, else a data set of that name."""
    if not isinstance(source, str | Path):
        said = f"a table is a file, the name of a data set or an OutcomeTable, not {type(source).__name__}"
        raise InputError(f"{said}; make one of rows with OutcomeTable.from_rows")
    path = Path(source)
    if not path.exists() and str(source) in DATASETS:
        return public.load(str(source), data_folders())
    if path.exists() or path.suffix or path.name != str(source):
        return read_table(path)
    raise UnknownName("file or data set", str(source), DATASETS)


def _place(source: str | Path) -> Path | None:
    """The file of a table given by path or by the name of a data set; None where it is cut out of a larger one."""
    path = Path(source)
    if not path.exists() and str(source) in DATASETS:
        return public.find(str(source), data_folders())
    return path


def open_answers(source: TableLike, table: OutcomeTable) -> Answers:
    """The sampled answers behind a table: ``NAME.answers.parquet`` beside ``NAME.parquet``, as collect writes it.

    Raises:
        InputError: there is no such file.
        TableError: it cannot be used as it stands.
    """
    if isinstance(source, OutcomeTable):
        raise InputError(f"{source.name}: a table in memory has no answers beside it; give them as answers=")
    path = _place(source) or Path(source)
    beside = answers_beside(path)
    if beside is None:
        raise InputError(
            f"{path}: cascades and best of n need sampled answers in {path.stem}{ANSWERS_ENDING} beside it; "
            "equipoise collect writes both, with 'samples' above 0 in the candidates file"
        )
    return read_answers(beside, table)


def train(
    table: TableLike,
    *,
    router: Spec = DEFAULT_ROUTER,
    policy: Spec = "cost_aware:form=linear,cost_weight=0",
    models: Sequence[Model] | None = None,
    prices: str | Path | None = None,
    cost: bool = True,
    answers: Answers | None = None,
) -> Engine:
    """Learn an engine from an outcome table. See ``Engine.train``.

    A policy that looks at answers is taught on ``answers``, else on those in the file beside the table.
    """
    opened = open_table(table, prices=prices, cost=cost)
    looks = isinstance(make_policy(policy), AnswerPolicy)
    if looks and any(best_of_steps(name) for name in opened.models):
        raise InputError("a policy that looks at answers asks as often as it pays; leave best of n out")
    engine = Engine.train(opened, router=router, policy=policy, models=models)
    if looks:
        engine.teach(opened, open_answers(table, opened) if answers is None else answers)
    return engine


def train_votes(
    table: str | Path | VoteTable,
    *,
    router: Spec = DEFAULT_VOTES_ROUTER,
    policy: Spec = "quality_first",
    models: Sequence[Model] | None = None,
) -> Engine:
    """Learn an engine from a vote table, with prices from the catalog. See ``Engine.train_votes``.

    Raises:
        TableError: the table cannot be used as it stands.
        InputError: the router does not learn from votes.
    """
    votes = table if isinstance(table, VoteTable) else read_votes(table)
    known = [found for name in votes.models if (found := _find(name)) is not None]
    return Engine.train_votes(votes, router=router, policy=policy, models=known if models is None else models)


def load(path: str | Path) -> Engine:
    """An engine from a router file. See ``Engine.load``."""
    return Engine.load(path)


def pool_engine(policy: Spec = "cost_aware", router: Spec = "static") -> Engine:
    """The built-in pool ``notebook`` with published priors: works without data, for trying things out."""
    return Engine.train_free(models=list(notebook_pool().find()), router=router, policy=policy)


def engine_from(config: Config, route: str = "auto", *, folder: Path = Path()) -> tuple[Engine, Constraints]:
    """The engine and the standing constraints of one route of a configuration.

    Args:
        folder: relative paths in the configuration start here.

    Raises:
        UnknownName: there is no such route, or a fallback names no model.
        ConfigError: a setting cannot be used.
    """
    if route not in config.routes:
        raise UnknownName("route", route, config.routes)
    chosen = config.routes[route]
    models = routed(models_of(config), chosen)
    if not models:
        said = "the configuration names no models that answer; list them under 'models:', or write 'pool: notebook'"
        raise ConfigError(said)
    models += best_of_models(chosen.best_of, models)
    for name in chosen.fallback:
        if name not in {m.name for m in models}:
            raise UnknownName("model", name, [m.name for m in models])
    # A router file keeps the policy that it was written with, unless the route names one.
    policy = chosen.policy if "policy" in chosen.model_fields_set else None
    engine = _engine(chosen, policy, models, folder, config.judges)
    engine = replace(engine, fallback=chosen.fallback, when_none_fits=chosen.when_none_fits)
    limits = chosen.constraints.model_dump()
    return engine, Constraints(**limits)


def _engine(
    chosen: RouteConfig, policy: Spec | None, models: list[Model], folder: Path, judges: frozenset[str]
) -> Engine:
    spec = dict(chosen.router)
    file, table = _named(spec, "file"), _named(spec, "table")
    if file is not None:
        if spec.keys() - {"type"}:
            beside = min(spec.keys() - {"type"})
            said = f"router: '{beside}' stands beside 'file', which holds it; drop one"
            raise ConfigError(said, place=("router", beside))
        return _from_file(folder / file, policy, models)
    if table is not None:
        source = table if table in DATASETS and not (folder / table).exists() else folder / table
        return _trained(source, spec, chosen, models, judges)
    if chosen.best_of:
        raise ConfigError(
            "best_of needs measured answers: give the router a table with sampled answers, or a file that was trained "
            "with --best-of",
            place=("best_of",),
        )
    return Engine.train_free(models=models, router=spec, policy=chosen.policy)


def _trained(
    source: str | Path, router: Spec, chosen: RouteConfig, models: list[Model], judges: frozenset[str]
) -> Engine:
    table = open_table(source)
    policy = make_policy(chosen.policy)
    answers = open_answers(source, table) if chosen.best_of or isinstance(policy, AnswerPolicy) else None
    if answers is not None and chosen.best_of:
        table = with_best_of(table, answers, chosen.best_of)
    # Who only judges answers nothing.
    models = [m for m in models if m.name not in judges or m.name in table.models]
    kept = table.only([m.name for m in models])
    return train(kept, router=router, policy=chosen.policy, models=models, cost=False, answers=answers)


def _named(spec: dict[str, Any], key: str) -> str | None:
    value = spec.pop(key, None)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"router: '{key}' should be the name of a file, not {value!r}", place=("router", key))
    return value


def _from_file(file: Path, policy: Spec | None, models: list[Model]) -> Engine:
    """The engine of a router file on the models of the configuration, which alone can be called."""
    engine = Engine.load(file)
    known = {m.name for m in engine.models}
    if not any(m.name in known for m in models):
        raise ConfigError(f"{file}: knows none of the configured models; it knows {', '.join(sorted(known))}")
    for name in (m.name for m in models if best_of_steps(m.name)):
        if name not in known:
            raise ConfigError(f"{file}: knows nothing of '{name}'; train it with --best-of {name}")
    engine = replace(engine, models=models)
    return engine if policy is None else engine.with_policy(policy)


def models_of(config: Config) -> list[Model]:
    """The models of a configuration, with what the catalog knows of them."""
    if config.pool == "notebook":
        return list(notebook_pool().find())
    return [_model(m) for m in config.models]


def routed(models: Iterable[Model], route: RouteConfig) -> list[Model]:
    """Those that a route chooses from: one that only makes embeddings is asked by its own name.

    Raises:
        ConfigError: the route names a model that is none of them.
    """
    able = {m.name: m for m in models if m.capabilities != {"embeddings"}}
    for i, name in enumerate(route.models):
        if name not in able:
            raise ConfigError(str(UnknownName("model", name, able)), place=("models", i))
    return [m for m in able.values() if not route.models or m.name in route.models]


def _model(given: ModelConfig) -> Model:
    """The catalog's model with the configuration's own values over it."""
    own: dict[str, Any] = {k: v for k, v in given.model_dump().items() if v is not None and k != "deployments"}
    if given.price is not None:
        own["price"] = Price(**given.price.model_dump(), source="equipoise.yaml")
    own["deployments"] = tuple(Deployment(**d.model_dump()) for d in given.deployments)
    base = _find(given.name) or Model(name=given.name)
    return replace(base, **own)


def request_with(constraints: Constraints, text: str, **limits: Any) -> Request:
    """A request under a route's standing constraints: it may set a limit or tighten one, never loosen it."""
    given: dict[str, Any] = {k: _tighter(k, getattr(constraints, k), v) for k, v in limits.items() if v is not None}
    return Request(text=text, constraints=replace(constraints, **given))


def _tighter(name: str, standing: Any, asked: float) -> float:
    # A number that is none passes, to be refused by name where the decision begins.
    if standing is None or not asked >= 0:
        return asked
    return float(max(standing, asked) if name == "min_quality" else min(standing, asked))
