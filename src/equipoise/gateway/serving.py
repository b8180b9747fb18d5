"""What is being served: one configuration, made ready.

Reloading makes another; a request keeps the one that it began with.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from equipoise.api import engine_from, models_of, routed
from equipoise.cascades.contract import AnswerPolicy
from equipoise.config import ChecksConfig, Config, RouteConfig
from equipoise.contracts import Policy
from equipoise.engine import Engine
from equipoise.errors import ConfigError, EquipoiseError, InputError, NoModel, UnknownName
from equipoise.execution.billing import price_of
from equipoise.gateway.logs import Lines
from equipoise.gateway.own_threads import OwnThreads
from equipoise.gateway.plain import Plain
from equipoise.policy.cascade import Cascade
from equipoise.registry import spec_of
from equipoise.tables.answers import CHECKS, answers_path
from equipoise.types import Constraints, Decision, Model, Request
from equipoise.version import __version__

Stamp = tuple[int, int, int]
# Where in a route names of each kind stand.
_PARTS = {"router": "router", "policy": "policy", "model": "fallback", "model of best_of": "best_of"}
# The last word is no token of its own: only such a one has the tokenizer make ready what it splits words with.
_WARM_UP = "What is the capital of France, and how many people live in Llanfairpwllgwyn?"
# Some load what they need when they are first asked.
_FIRST_S = 60.0


class TimedDecision(NamedTuple):
    """A decision, or what came of it instead, and its share of the processor's time."""

    found: Decision | Exception
    took_s: float


def decided_by(engine: Engine, requests: Sequence[Request]) -> Sequence[Decision | Exception]:
    """By request, the decision or the error that came instead."""
    try:
        return engine.decide_batch(requests)
    except Exception as error:  # noqa: BLE001  (routers can be anyone's code; a request is not to fail with them)
        if len(requests) == 1:
            return [error]
        # Nor is it to fail with another request.
        return [one for request in requests for one in decided_by(engine, [request])]


def _timed(engine: Engine, requests: Sequence[Request]) -> list[TimedDecision]:
    """The same in a thread of its own."""
    begun = time.thread_time()
    found = decided_by(engine, requests)
    took_s = (time.thread_time() - begun) / len(requests)
    return [TimedDecision(one, took_s) for one in found]


@dataclass(frozen=True, slots=True)
class Route:
    """A name that applications ask for, with all that deciding needs.

    ``plain`` decides when the engine fails. ``stamp`` is what the engine was made from. ``unknown`` are the models of
    which the router knows nothing. ``judge`` grades answers. ``threads`` are where an engine decides that is not quick.
    """

    name: str
    engine: Engine
    limits: Constraints
    plain: Plain
    settings: RouteConfig
    stamp: str
    unknown: tuple[str, ...] = ()
    judge: Model | None = None
    threads: OwnThreads[Request, TimedDecision] | None = None

    @property
    def missed(self) -> tuple[str, ...]:
        """The models that the policy has learned to ask, and that are not there."""
        policy, there = self.engine.policy, {model.name for model in self.engine.models}
        asks = policy.asks if isinstance(policy, AnswerPolicy) else ()
        return tuple(name for name in asks if name not in there)


@dataclass(frozen=True, slots=True)
class Named:
    """A model that is asked for by its own name."""

    name: str
    plain: Plain
    limits: Constraints = Constraints()


Target = Route | Named


@dataclass(frozen=True, slots=True)
class Serving:
    """Routes and models by their names."""

    config: Config
    models: Mapping[str, Model]
    targets: Mapping[str, Target]

    def target(self, name: str) -> Target:
        """The route or model of a name; a route goes first.

        Raises:
            UnknownName: there is neither.
        """
        found = self.targets.get(name)
        if found is None:
            raise UnknownName("model", name, self.targets)
        return found

    @property
    def doubts(self) -> list[str]:
        """What may be other than it was meant, though all can be served."""
        said = "its router knows nothing of them, so it never takes them; give them 'quality', or train it on them"
        found = [f"route '{r.name}': {', '.join(r.unknown)}: {said}" for r in self.routes if r.unknown]
        missed = "which it does not have, so what was promised does not hold; list them as models, or calibrate again"
        found += [
            f"route '{r.name}': its policy learned to ask {', '.join(r.missed)}, {missed}"
            for r in self.routes
            if r.missed
        ]
        sticky = "so a conversation stays with the model of its first answer, unchecked; leave affinity out"
        return found + [
            f"route '{r.name}': its policy looks at answers and its affinity is sticky, {sticky}"
            for r in self.routes
            if isinstance(r.engine.policy, AnswerPolicy) and r.settings.affinity == "sticky"
        ]

    @property
    def routes(self) -> list[Route]:
        """The routes, in the order of the configuration."""
        return [target for target in self.targets.values() if isinstance(target, Route)]


def make_serving(config: Config, folder: Path, *, before: Serving | None = None) -> Serving:
    """Make a configuration ready: read or train its routers, and decide once with each.

    Args:
        folder: relative paths in the configuration start here.
        before: what was served; routes whose settings and files are the same are taken over as they are.

    Raises:
        ConfigError: it cannot be served, and why.
    """
    models = models_of(config)
    if not models:
        said = "the configuration names no models; list them under 'models:', or write 'pool: notebook'"
        raise ConfigError(said, place=("models",))
    for i, model in enumerate(models):
        if model.deployments:
            price_of(model, place=("models", i))  # before routes are made, which would miss it in their own way
    targets: dict[str, Target] = {}
    for name in config.routes:
        targets[name] = _route(config, name, models, folder, before)
    for model in models:
        if model.name in targets:
            said = f"'{model.name}' is both a route and a model; give the route another name"
            raise ConfigError(said, place=("routes", model.name))
        targets[model.name] = Named(model.name, _named(model))
    return Serving(config, {m.name: m for m in models}, targets)


def follow(now: Serving, before: Serving, lines: Lines) -> None:
    """Policies that are as they were specified go on where requests have moved them."""
    for route in now.routes:
        known = before.targets.get(route.name)
        if isinstance(known, Route) and known is not route:
            mine, its = route.engine.policy, known.engine.policy
            try:
                if spec_of(mine) == spec_of(its):
                    mine.follow(its)
            except Exception as error:  # noqa: BLE001  (policies can be anyone's code; the configuration is sound)
                lines.failed("the policy does not go on where it stood", error, route=route.name)


def _named(model: Model) -> Plain:
    versions = {"equipoise": __version__}
    return Plain([model], method="named", reason=f"{model.name} was asked for by name", versions=versions)


def _route(config: Config, name: str, models: list[Model], folder: Path, before: Serving | None) -> Route:
    settings = config.routes[name]
    stamp = _stamp(config, settings, folder)
    known = None if before is None else before.targets.get(name)
    if isinstance(known, Route) and known.stamp == stamp:
        return known
    _check_region(name, settings.constraints.region, models)
    judge = None
    if settings.checks.reward is not None:
        judge = _judge(name, settings.checks.reward.model, settings.constraints.region, models)
    try:
        engine, limits = engine_from(config, name, folder=folder)
        quick = engine.router.quick and engine.policy.quick
        estimated = (engine.decide(_WARM_UP) if quick else _first(engine)).candidates
        met = {c.model for c in estimated if c.quality is not None}
        unknown = tuple(c.model for c in estimated if c.model not in met | config.judges)
    except NoModel as error:
        hint = "give the models 'quality', or the route a router that was trained on them"
        raise ConfigError(f"route '{name}' serves no request: {error}; {hint}", place=("routes", name)) from None
    except InputError as error:
        raise ConfigError(f"route '{name}': {error}", place=("routes", name, *_part(error))) from None
    _check_checks(name, settings.checks, engine.policy)
    turn = {model: i for i, model in enumerate(settings.fallback)}
    # Who only judges answers nothing.
    able = [m for m in routed(models, settings) if m.name in met or m.name not in config.judges]
    order = sorted(able, key=lambda m: turn.get(m.name, len(turn)))
    reason = "the router failed: the first model that can serve the request"
    plain = Plain(order, method="without_router", reason=reason, versions={"equipoise": __version__})
    threads = None if quick else OwnThreads(partial(_timed, engine), settings.decide_s)
    return Route(name, engine, limits, plain, settings, stamp, unknown, judge, threads)


def _first(engine: Engine) -> Decision:
    """The first decision of an engine that is not quick, where it makes the others: in a thread."""
    who = f"router '{engine.router.name}' with policy '{engine.policy.name}'"
    made: list[Decision | Exception] = []
    work = partial(decided_by, engine, [Request(text=_WARM_UP)])
    thread = Thread(target=lambda: made.extend(work()), name="equipoise-first", daemon=True)
    thread.start()
    thread.join(_FIRST_S)
    if not made:
        raise ConfigError(f"{who} did not decide on a prompt within {_FIRST_S:g} s; mend what it waits for")
    (found,) = made
    if isinstance(found, Decision):
        return found
    if isinstance(found, EquipoiseError):
        raise found
    at = traceback.extract_tb(found.__traceback__)[-1]
    raise ConfigError(
        f"{who} fails on a prompt: {type(found).__name__}: {found} ({at.filename}:{at.lineno}); mend it"
    ) from found


def _part(error: InputError) -> tuple[int | str, ...]:
    """Where in a route an error is, as far as it tells."""
    if isinstance(error, UnknownName):
        return (_PARTS[error.kind],) if error.kind in _PARTS else ()
    return error.place if isinstance(error, ConfigError) else ()


def _check_checks(route: str, checks: ChecksConfig, policy: Policy) -> None:
    """Refuse a test that nobody makes or whose threshold is not known, and checks that nothing asks for."""
    said = ""
    part: tuple[str, ...] = ("policy", "test")
    if isinstance(policy, Cascade) and policy.test in CHECKS:
        said = _untestable(policy, checks)
    elif checks.self_check is not None or checks.reward is not None:
        said = "nothing asks for its checks; write policy: {type: cascade, test: reward}, or drop them"
        part = ("checks",)
    if said:
        raise ConfigError(f"route '{route}': {said}", place=("routes", route, *part))


def _untestable(policy: Cascade, checks: ChecksConfig) -> str:
    """Why the policy's check cannot be made here; nothing if it can."""
    test = policy.test
    if getattr(checks, test) is None:
        example = "{reward: {model: NAME}}" if test == "reward" else "{self_check: {}}"
        return f"nobody makes the check '{test}' that its policy tests by; give the route checks: {example}"
    if policy.learned:
        return ""
    hint = f"a table with sampled answers that hold '{test}', or a file by equipoise calibrate"
    return f"no score of '{test}' is known from which an answer is good enough; give the router {hint}"


def _judge(route: str, judge: str, region: str | None, models: Sequence[Model]) -> Model:
    place = ("routes", route, "checks", "reward", "model")
    found = next((model for model in models if model.name == judge), None)
    if found is None:
        raise ConfigError(f"route '{route}': {UnknownName('model', judge, [m.name for m in models])}", place=place)
    if region is not None and region not in {d.region for d in found.deployments}:
        said = f"route '{route}' stays in region {region}, where its judge '{judge}' has no deployment"
        raise ConfigError(f"{said}; name another", place=place)
    return found


def _check_region(route: str, region: str | None, models: Sequence[Model]) -> None:
    there = {d.region for model in models for d in model.deployments}
    if region is not None and region not in there:
        known = ", ".join(sorted(name for name in there if name is not None)) or "none"
        said = f"route '{route}': no deployment is in region '{region}'; regions: {known}"
        raise ConfigError(said, place=("routes", route, "constraints", "region"))


def _stamp(config: Config, settings: RouteConfig, folder: Path) -> str:
    """Everything that a route's engine is made from: its settings, the models, and the state of its files."""
    parts = [settings.model_dump_json(), str(config.pool), *sorted(config.judges)]
    parts += [m.model_dump_json() for m in config.models]
    parts += [f"{path} {file_stamp(path)}" for path in _files(settings, folder)]
    return "\n".join(parts)


def file_stamp(path: Path) -> Stamp | None:
    """What tells that there is another file now; None where there is none.

    Two files may be of one time: a link that is changed, or a copy with the time of what it was copied from.
    """
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def watched_files(config: Config, folder: Path) -> list[Path]:
    """The files that a change of which calls for a reload, beside the configuration itself."""
    return [path for route in config.routes.values() for path in _files(route, folder)]


def _files(settings: RouteConfig, folder: Path) -> list[Path]:
    """What a route is made from: its router file, or its table and the answers that may lie beside it."""
    file, table = (settings.router.get(key) for key in ("file", "table"))
    found = [folder / file] if isinstance(file, str) else []
    return found + ([folder / table, answers_path(folder / table)] if isinstance(table, str) else [])
