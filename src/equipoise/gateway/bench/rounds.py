"""Rounds of load on several servers in turn, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from equipoise.gateway.bench.load import DIFFERENT, prompts, request_bytes
from equipoise.gateway.bench.processes import Process, cores, free_port, module, pinned, wait_until_answers

DIRECT, BARE, APPLICATION, OURS = "direct", "bare proxy", "aiohttp application", "equipoise"
_CONFIG = """\
models:
  - name: canned-small
    price: {usd_per_1m_input: 0.1, usd_per_1m_output: 0.4}
    quality: {general: 0.6, code: 0.5, reasoning: 0.5, creative: 0.6, analysis: 0.6}
    deployments: [{provider: openai_compatible, base_url: "%(upstream)s/v1", model_id: canned}]
  - name: canned-large
    price: {usd_per_1m_input: 2, usd_per_1m_output: 8}
    quality: {general: 0.9, code: 0.9, reasoning: 0.9, creative: 0.9, analysis: 0.9}
    deployments: [{provider: openai_compatible, base_url: "%(upstream)s/v1", model_id: canned}]
routes:
  auto: {router: {type: static}, policy: {type: cost_aware}}
storage: {url: "sqlite:///bench.db"}
server: {keys: required, request_lines: failed}
"""


@dataclass(frozen=True)
class Contender:
    """A server that stands before the upstream.

    Attributes:
        command: starts it, given its port, the upstream's URL, and a folder of its own.
        headers: that its callers send; ``{upstream}`` stands for the upstream's URL.
    """

    name: str
    command: Callable[[int, str, Path], Sequence[str]]
    headers: Mapping[str, str] = field(default_factory=dict)


def bare() -> list[Contender]:
    """Proxies that do next to nothing on the gateway's HTTP libraries: the least that is possible, and the usual."""

    def contender(name: str, *more: str) -> Contender:
        def command(port: int, upstream: str, _: Path) -> list[str]:
            return module("equipoise.gateway.bench.bare", "--upstream", upstream, "--port", str(port), *more)

        return Contender(name, command)

    return [contender(BARE), contender(APPLICATION, "--application")]


def ours(folder: Path) -> Contender:
    """The gateway, with routing, keys and the decision log on."""
    config = folder / "equipoise.yaml"
    config.write_text(_CONFIG % {"upstream": "http://127.0.0.1:9"})
    made = subprocess.run(
        module("equipoise", "keys", "create", "--name", "bench", "--config", str(config)),
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    # As an installed package is: else a checkout that keeps no bytecode would be compiled at every start.
    subprocess.run(module("compileall", "-q", str(Path(__file__).parents[2])), check=True, stdout=subprocess.DEVNULL)

    def command(port: int, upstream: str, _: Path) -> list[str]:
        config.write_text(_CONFIG % {"upstream": upstream})
        return ["env", "OMP_NUM_THREADS=1", *module("equipoise", "serve", "--config", str(config), "--port", str(port))]

    return Contender(OURS, command, {"Authorization": f"Bearer {made.stdout.strip()}"})


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes:
        prompts: different ones, asked in turn; by default each is new to the gateway, which remembers the last ones.
    """

    rounds: int = 3
    seconds: float = 5.0
    connections: int = 16
    prompts: int = DIFFERENT


def measured(contenders: Sequence[Contender], plan: Plan, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure; returns what was found as one document.

    Raises:
        InputError: a server did not start.
    """
    core, other = cores()
    with ExitStack() as stack:
        port = free_port()
        canned = module("equipoise.gateway.bench.canned", "--port", str(port))
        upstream = stack.enter_context(Process(canned, port, folder / "upstream.log", core=other))
        servers: dict[str, tuple[Process, Mapping[str, str]]] = {DIRECT: (upstream, {})}
        for one in contenders:
            place = folder / one.name.replace(" ", "-")
            place.mkdir(exist_ok=True)
            port = free_port()
            command = one.command(port, f"http://127.0.0.1:{upstream.port}", place)
            process = stack.enter_context(Process(command, port, place / "log", core=core))
            url = f"http://127.0.0.1:{upstream.port}"
            filled = {name: value.replace("{upstream}", url) for name, value in one.headers.items()}
            _check(process, filled)
            servers[one.name] = (process, filled)
            tell(f"{one.name}: started in {process.started_s:.1f} s")
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        for number in range(plan.rounds):
            for name, (process, headers) in servers.items():
                rounds[name].append(_round(process, headers, plan, other))
                tell(f"round {number + 1}, {name}: {rounds[name][-1]['many']['per_second']:.0f} requests/s")
        found = {name: _summary(servers[name][0], rounds[name]) for name in servers}
    return {"plan": plan.__dict__, "pinned": core is not None, "servers": found, "rounds": rounds}


def _check(process: Process, headers: Mapping[str, str]) -> None:
    data = request_bytes(prompts(1)[0], {}).split(b"\r\n\r\n", 1)[1]
    url = f"http://127.0.0.1:{process.port}/v1/chat/completions"
    wait_until_answers(url, data, {"Content-Type": "application/json", **headers})


def _round(process: Process, headers: Mapping[str, str], plan: Plan, core: int | None) -> dict[str, Any]:
    before = process.cpu_s()
    many = _load(process.port, headers, plan.connections, plan, core)
    after = process.cpu_s()
    if before is not None and after is not None and many["requests"]:
        many["cpu_ms"] = (after - before) / many["requests"] * 1e3
    return {"many": many, "one": _load(process.port, headers, 1, plan, core)}


def _load(port: int, headers: Mapping[str, str], connections: int, plan: Plan, core: int | None) -> dict[str, Any]:
    said = [f"--header={name}:{value}" for name, value in headers.items()]
    numbers = {"port": port, "connections": connections, "seconds": plan.seconds, "prompts": plan.prompts}
    sizes = [f"--{name}={number}" for name, number in numbers.items()]
    command = pinned(module("equipoise.gateway.bench.load", *sizes, *said), core)
    done = subprocess.run(command, capture_output=True, check=True)
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def _summary(process: Process, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def median(part: str, what: str) -> float | None:
        values = [r[part][what] for r in rounds if r[part].get(what) is not None]
        return statistics.median(values) if values else None

    return {
        "per_second": median("many", "per_second"),
        "cpu_ms": median("many", "cpu_ms"),
        "p50_ms": median("one", "p50_ms"),
        "p99_ms": median("one", "p99_ms"),
        "memory_mb": process.memory_mb(),
        "started_s": process.started_s,
        "failed": sum(n for r in rounds for p in ("many", "one") for s, n in r[p]["statuses"].items() if s != "200"),
    }


def table(found: Mapping[str, Any]) -> str:
    """What was found, as a table in Markdown."""
    servers: Mapping[str, Mapping[str, Any]] = found["servers"]
    direct = servers[DIRECT]
    lines = [
        "| | requests/s | CPU ms per request | added p50, ms | added p99, ms | memory, MB | ready, s | not 200 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in servers.items():
        added = [_less(one[p], direct[p]) if name != DIRECT else one[p] for p in ("p50_ms", "p99_ms")]
        cells = [one["per_second"], one["cpu_ms"], *added, one["memory_mb"], one["started_s"], one["failed"]]
        shown = [_shown(cell, digits) for cell, digits in zip(cells, (0, 3, 2, 2, 0, 2, 0), strict=True)]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    ratios = [
        f"{servers[OURS]['per_second'] / one['per_second']:.2f} x {name}"
        for name, one in servers.items()
        if name not in (DIRECT, OURS) and OURS in servers and one["per_second"]
    ]
    return "\n".join([*lines, "", "Requests per second: " + ", ".join(ratios)])


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
