"""What a Python user calls: files and names in, engines and results out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from equipoise.catalog import Catalog, default_catalog, notebook_pool
from equipoise.config import Config, ModelConfig, cache_folder, data_folders
from equipoise.datasets import public
from equipoise.datasets.registry import DATASETS
from equipoise.engine import Engine
from equipoise.errors import ConfigError, UnknownName
from equipoise.evaluation import protocol
from equipoise.evaluation.protocol import Options
from equipoise.evaluation.results import Results
from equipoise.registry import Spec
from equipoise.tables import OutcomeTable, read_table, with_costs
from equipoise.types import Constraints, Deployment, Model, Price, Request

TableLike = str | Path | OutcomeTable


def open_table(source: TableLike, *, prices: str | Path | None = None, cost: bool = True) -> OutcomeTable:
    """An outcome table from a file or the name of a public data set, with every cost filled in.

    Args:
        prices: CSV of model prices; prices win over the catalog.
        cost: False leaves costs as they are.

    Raises:
        TableError: the table cannot be used as it stands.
        PriceError: a cost is missing and no price is known.
    """
    table = source if isinstance(source, OutcomeTable) else _read(source)
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
    path = Path(source)
    if path.exists() or path.suffix or path.name != str(source):
        return read_table(path)
    if str(source) not in DATASETS:
        raise UnknownName("file or data set", str(source), DATASETS)
    return public.load(str(source), (*data_folders(), cache_folder()))


def train(
    table: TableLike,
    *,
    router: Spec = "linear",
    policy: Spec = "cost_aware:form=linear,cost_weight=0",
    models: Sequence[Model] | None = None,
    prices: str | Path | None = None,
    cost: bool = True,
) -> Engine:
    """Learn an engine from an outcome table. See ``Engine.train``."""
    return Engine.train(open_table(table, prices=prices, cost=cost), router=router, policy=policy, models=models)


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
    models = _models(config)
    if not models:
        raise ConfigError("the configuration names no models; list them under 'models:', or write 'pool: notebook'")
    for name in chosen.fallback:
        if name not in {m.name for m in models}:
            raise UnknownName("model", name, [m.name for m in models])
    engine = _engine(chosen.router, chosen.policy, models, folder)
    limits = chosen.constraints.model_dump()
    return engine, Constraints(**limits)


def _engine(router: dict[str, Any], policy: dict[str, Any], models: list[Model], folder: Path) -> Engine:
    spec = dict(router)
    file, table = spec.pop("file", None), spec.pop("table", None)
    if file is not None:
        engine = Engine.load(folder / file)
        known = {m.name: m for m in models}
        return replace(engine, models=[known.get(m.name, m) for m in engine.models]).with_policy(policy)
    if table is not None:
        source = open_table(folder / table)
        engine = Engine.train(source.only([m.name for m in models]), router=spec, policy=policy, models=models)
        return engine
    return Engine.train_free(models=models, router=spec, policy=policy)


def _models(config: Config) -> list[Model]:
    if config.pool == "notebook":
        return list(notebook_pool().find())
    return [_model(m) for m in config.models]


def _model(given: ModelConfig) -> Model:
    """The catalog's model with the configuration's own values over it."""
    own: dict[str, Any] = {k: v for k, v in given.model_dump().items() if v is not None and k != "deployments"}
    if given.price is not None:
        own["price"] = Price(**given.price.model_dump(), source="equipoise.yaml")
    own["deployments"] = tuple(Deployment(**d.model_dump()) for d in given.deployments)
    base = _find(given.name) or Model(name=given.name)
    return replace(base, **own)


def request_with(constraints: Constraints, text: str, **limits: Any) -> Request:
    """A request under a route's standing constraints; a request may tighten or set what it names."""
    given = {k: v for k, v in limits.items() if v is not None}
    return Request(text=text, constraints=replace(constraints, **given))


def evaluate(
    table: TableLike,
    *,
    routers: Sequence[Spec] = ("linear",),
    prices: str | Path | None = None,
    **options: Unpack[Options],
) -> Results:
    """Evaluate routers on an outcome table. See ``equipoise.evaluation.protocol.evaluate`` for the options."""
    opened = open_table(table, prices=prices, cost=options.get("cost", True))
    return protocol.evaluate(opened, routers=routers, **options)
