"""``equipoise serve``: the gateway."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import uvloop

from equipoise.cli.numbers import port
from equipoise.cli.output import emit_json, note, say
from equipoise.cli.places import add_config_argument
from equipoise.config import Config, ServerConfig, located, read_config
from equipoise.errors import EquipoiseError, InputError
from equipoise.gateway.logs import lines_to_stderr
from equipoise.gateway.pool import ProviderPool
from equipoise.gateway.serve import check_address, live_from, provider_of, serve
from equipoise.gateway.serving import Serving, make_serving
from equipoise.gateway.traces import open_traces
from equipoise.storage.connection import check_folder
from equipoise.storage.keys import KeyStore
from equipoise.storage.store import database_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_config_argument(parser)
    parser.add_argument("--host", metavar="H", help="address to listen on (default server.host: 127.0.0.1)")
    parser.add_argument("--port", metavar="P", type=port, help="port to listen on (default server.port: 8080)")
    parser.add_argument("--check", action="store_true", help="validate, say what would be served, and stop")
    parser.add_argument("--json", action="store_true", help="with --check: print one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: checked, or served until it was told to stop."""
    if args.json and not args.check:
        raise InputError("--json goes with --check; a running gateway logs JSON lines to standard error")
    config = read_config(args.config)
    settings = _with_address(config.server, args.host, args.port)
    try:
        if args.check:
            _check(config, args.config, settings, as_json=args.json)
            return 0
        with lines_to_stderr() as lines:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve(config, args.config, lines, settings))
    except EquipoiseError as error:
        raise InputError(located(error, args.config)) from None
    return 0


def _with_address(settings: ServerConfig, host: str | None, port: int | None) -> ServerConfig:
    given: dict[str, Any] = {"host": host, "port": port}
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def _check(config: Config, path: Path, settings: ServerConfig, *, as_json: bool) -> None:
    """All that serving does before it listens."""
    serving = make_serving(config, path.parent)
    pool = ProviderPool(provider_of)
    live_from(serving, None, pool=pool)
    database = database_path(config.storage.url, path.parent)
    open_traces(config.traces).close()
    there = database is not None and database.exists()
    if database is not None:
        check_folder(database)
    # A check writes nothing: where there is no file, there is no key.
    with closing(KeyStore(config.storage.url if there else "memory://", folder=path.parent)) as keys:
        check_address(settings, keys)
    for doubt in (*serving.doubts, *pool.lacking()):
        note(f"warning: {doubt}")
    if as_json:
        emit_json(_document(serving, settings))
        return
    for route in serving.routes:
        engine = route.engine
        say(f"route {route.name}: {engine.router.name}, {engine.policy.name}, {len(engine.models)} models")
    for model in serving.models.values():
        places = ", ".join(d.provider + (f" {d.base_url}" if d.base_url else "") for d in model.deployments)
        say(f"model {model.name}: {places}")
    say(f"would listen on {settings.host}:{settings.port}, keys {settings.keys}")


def _document(serving: Serving, settings: ServerConfig) -> dict[str, Any]:
    return {
        "routes": {
            route.name: {
                "router": route.engine.router.name,
                "policy": route.engine.policy.name,
                "models": [m.name for m in route.engine.models],
                "fallback": route.settings.fallback,
            }
            for route in serving.routes
        },
        "models": {
            model.name: [
                {"provider": d.provider, "base_url": d.base_url, "region": d.region} for d in model.deployments
            ]
            for model in serving.models.values()
        },
        "server": {"host": settings.host, "port": settings.port, "keys": settings.keys},
    }
