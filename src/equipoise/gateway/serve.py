"""The gateway as a process: open everything, listen, follow signals, drain, close."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
from aiohttp import web

from equipoise.analysis.tokens import count_tokens
from equipoise.config import Config, ServerConfig
from equipoise.contracts import Provider
from equipoise.environment import secret
from equipoise.errors import ConfigError, InputError, MissingExtra
from equipoise.execution import AnswerCache, Executor, Sessions
from equipoise.gateway.allowances import Allowances, days_of
from equipoise.gateway.app import handler_of
from equipoise.gateway.auth import Gate
from equipoise.gateway.decide import Deciding
from equipoise.gateway.edge import Edge
from equipoise.gateway.health import tell_warnings
from equipoise.gateway.logs import Lines
from equipoise.gateway.metrics import Metrics
from equipoise.gateway.own_threads import in_own_thread
from equipoise.gateway.pool import ProviderPool
from equipoise.gateway.reload import Reloader, stamps_of
from equipoise.gateway.serving import Serving, make_serving
from equipoise.gateway.state import Gateway, Live
from equipoise.gateway.traces import open_traces
from equipoise.providers import make_provider
from equipoise.providers.http import is_loopback
from equipoise.storage.decisions import DecisionLog
from equipoise.storage.keys import KeyStore
from equipoise.types import Deployment, Model

_CUT_S = 1.0
_GARBAGE_OBJECTS = 10_000


class Opened:
    """A gateway with what it needs closed at the end. An asynchronous context manager's inside.

    Attributes:
        edge: its clients' connections.
        url: where it listens.
    """

    def __init__(self, gateway: Gateway, pool: ProviderPool, reloader: Reloader, edge: Edge) -> None:
        self.gateway, self.pool, self.reloader, self.edge = gateway, pool, reloader, edge
        self._runner = web.ServerRunner(edge)
        self.url = ""

    async def listen(self) -> None:
        """Take requests.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        settings = self.gateway.settings
        await self._runner.setup()
        site = web.TCPSite(self._runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no name that can be looked up"
            said = f"cannot listen on {settings.host}:{settings.port} ({why}); name another host or port"
            raise ConfigError(said, place=("server",)) from None
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def drain(self, most_s: float) -> None:
        """Take no new connections, serve what is in flight, then cut what is left."""
        gateway = self.gateway
        gateway.draining = True
        for site in list(self._runner.sites):
            await site.stop()
        self.edge.pre_shutdown()
        until = gateway.clock.monotonic() + most_s
        # What was answered is in flight until the client has it.
        while (left := max(gateway.in_flight, self.edge.unsent)) and gateway.clock.monotonic() < until:
            await asyncio.sleep(0.02)
        if left:
            gateway.lines.say("cut at the end of draining", level="warning", requests=left)
        gateway.cutting = True
        await self.edge.shutdown(_CUT_S)

    async def close(self) -> None:
        """Cut what is left, and stop listening."""
        await self.drain(0.0)
        await self._runner.cleanup()


def check_address(settings: ServerConfig, keys: KeyStore) -> None:
    """Refuse an address that others reach, unless every caller needs a key, and there is one.

    Raises:
        ConfigError: it would be open to all, or to none.
    """
    if is_loopback(settings.host):
        return
    if settings.keys == "off":
        said = f"server.host {settings.host} is reached from outside, and server.keys is off; set `keys: required`"
        raise ConfigError(said, place=("server", "host"))
    now = time.time()
    if not any(info.opens(now) for info in keys.keys()):
        raise ConfigError(
            f"server.host {settings.host} is reached from outside, and there is no valid key; make one with: "
            "equipoise keys create --name NAME",
            place=("server", "host"),
        )


def provider_of(deployment: Deployment) -> Provider:
    """A provider whose secrets come from the environment."""
    return make_provider(deployment, secret=secret)


def live_from(serving: Serving, before: Live | None, *, pool: ProviderPool) -> Live:
    """A configuration made executable.

    Raises:
        InputError: a deployment or a price is missing, or cannot be used.
    """
    for i, model in enumerate(serving.models.values()):
        _check_callable(model, pool, ("models", i))
    executor = Executor(
        serving.models,
        pool.get,
        serving.config.execution,
        clock=time,
        rng=np.random.default_rng(),
        tokens=count_tokens,
        inherit=None if before is None else before.executor,
    )
    sessions = Sessions(clock=time) if before is None else before.sessions
    return Live(serving, executor, _caches(serving, before), sessions)


def _check_callable(model: Model, pool: ProviderPool, place: tuple[str, int]) -> None:
    if not model.deployments:
        said = f"model '{model.name}' has no deployments, so it cannot be called; list them under it"
        raise ConfigError(said, place=place)
    for j, deployment in enumerate(model.deployments):
        try:
            pool.get(deployment)
        except (InputError, MissingExtra) as error:
            raise ConfigError(str(error), place=(*place, "deployments", j)) from None


def _caches(serving: Serving, before: Live | None) -> dict[str, AnswerCache]:
    """The caches of the routes that have one; that of a route that is as it was goes on."""
    found: dict[str, AnswerCache] = {}
    for route in serving.routes:
        settings = route.settings.cache
        if not (settings.exact or settings.semantic):
            continue
        same = before is not None and before.serving.targets.get(route.name) is route
        known = before.caches.get(route.name) if before is not None and same else None
        try:
            found[route.name] = known or AnswerCache(settings, clock=time)
        except ConfigError as error:
            raise ConfigError(f"route '{route.name}': {error}", place=("routes", route.name, "cache")) from None
    return found


@asynccontextmanager
async def opened(
    config: Config,
    path: Path,
    lines: Lines,
    settings: ServerConfig | None = None,
    *,
    make: Callable[[Deployment], Provider] = provider_of,
) -> AsyncIterator[Opened]:
    """A gateway that is ready to listen. What it opened is closed at the end.

    Args:
        path: the configuration's file; relative paths start in its folder.
        settings: its ``server``, where that is to be another than the file says.
        make: makes providers.

    Raises:
        InputError: the configuration cannot be served.
    """
    folder, settings, seen = path.parent, settings or config.server, stamps_of(config, path)
    async with AsyncExitStack() as closing:
        keys = KeyStore(config.storage.url, folder=folder)
        closing.callback(keys.close)
        check_address(settings, keys)
        pool = ProviderPool(make)
        closing.push_async_callback(pool.close)
        make_live = partial(live_from, pool=pool)
        if learning := [name for name, route in config.routes.items() if "table" in route.router]:
            lines.say("learning", routes=learning)  # which may take a minute
        # Not on the loop: some routers run one of their own.
        live = make_live(await in_own_thread(partial(make_serving, config, folder)), None)
        traces = open_traces(config.traces)
        closing.callback(traces.close)
        log = DecisionLog(config.storage.url, folder=folder, retention_days=config.log.retention_days)
        closing.push_async_callback(_close, log, lines)
        gateway = Gateway(
            live=live,
            settings=settings,
            log=log,
            keys=keys,
            gate=Gate(keys, required=settings.keys == "required"),
            allowances=await _allowances(config, log),
            metrics=Metrics(
                lambda: log.status,
                lambda: gateway.in_flight - 1,  # but for the one that asks
                lambda: [route.name for route in gateway.live.serving.routes],
                lambda: gateway.traces.lost,
            ),
            lines=lines,
            traces=traces,
            lacking=pool.lacking,
            deciding=Deciding(lines, time, lambda: gateway.in_flight),
        )
        reloader = Reloader(gateway, path, pool, make_live, seen=seen)
        gateway.reload = reloader.reload
        one = Opened(gateway, pool, reloader, Edge(handler_of(gateway), settings))
        closing.push_async_callback(one.close)
        yield one


async def _allowances(config: Config, log: DecisionLog) -> Allowances:
    """The accounts of tenants, with what they have spent, and what a gateway that was killed left to be counted."""
    await asyncio.to_thread(log.flush)  # also where nobody has a budget yet: one may come with a reload
    found = Allowances(time, log.store.spent(days_of("month", time.time()).start))
    found.limit(config.tenants)
    return found


async def _close(log: DecisionLog, lines: Lines) -> None:
    """Close the log. What the disk would not take until now nobody has any more, and no metric tells from here on."""
    await asyncio.to_thread(log.close)
    status = log.status
    if unkept := status.waiting + status.lost:
        lines.say("entries of the decision log lost", level="error", entries=unkept, trouble=status.trouble)


def _take_descriptors() -> None:
    """Have as many open files and sockets as may be had: the usual limit is less than what ``max_in_flight`` takes.

    A request takes two, and where there are no more, the event loop closes new connections without a word.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems say that there is no limit, and have one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _settle() -> None:
    """Keep what is there for good out of the garbage collector's way: looking through it would stop every request.

    That starting left next to no garbage behind was measured; to look for it would hold up the first request.
    """
    gc.freeze()
    gc.set_threshold(_GARBAGE_OBJECTS, 20, 20)
    gc.enable()


def _stop_at_once(*_: object) -> None:
    """Before anything is served. Without a handler, the first process of a container would not heed the signal."""
    raise SystemExit(0)


async def serve(config: Config, path: Path, lines: Lines, settings: ServerConfig) -> None:
    """Serve under ``settings`` until SIGTERM or SIGINT, then drain. SIGHUP reads the configuration again.

    Raises:
        InputError: the configuration cannot be served, or its address cannot be listened on.
    """
    loop, stop, hangup = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)  # else it would end a process that has yet to listen
    signal.signal(signal.SIGTERM, _stop_at_once)
    gc.disable()  # most of what starting makes stays
    _take_descriptors()
    async with opened(config, path, lines, settings) as one:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _settle()
        await one.listen()
        one.reloader.tell_doubts()
        lines.say("listening", url=one.url, routes=[r.name for r in one.gateway.live.serving.routes])
        reloading = [
            loop.create_task(one.reloader.watch(settings.reload_s)),
            loop.create_task(one.reloader.heed(hangup)),
            loop.create_task(tell_warnings(one.gateway)),
        ]
        await stop.wait()
        lines.say("draining", in_flight=one.gateway.in_flight)
        for task in reloading:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await one.drain(settings.drain_s)
    lines.say("stopped")
