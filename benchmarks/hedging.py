"""What hedging does to the slowest answers, and what it costs: simulated upstreams, with hedging off and on.

    python benchmarks/hedging.py [--calls 20000] [--seeds 5] [--json]

The executor is the real one; only the upstream and the clock are simulated, so that hours of waiting take seconds.
Both sides get the same latencies, call by call; a second call draws a new one. Requests come one after the other's
start, as a Poisson stream, so that calls overlap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.config import ExecutionConfig
from equipoise.contracts import Upstream, UpstreamCall
from equipoise.execution import Executor, Work
from equipoise.testing import FakeUpstream
from equipoise.testing.virtual_time import VirtualClock, run_virtually
from equipoise.types import Deployment, Model, Plan, Price
from equipoise.wire import FORMATS

BODY = (
    b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":20,"completion_tokens":1}}'
)
CALLS_PER_S = 20.0
Draw = Callable[[np.random.Generator], float]


def pareto(rng: np.random.Generator) -> float:
    """0.3 s and a tail that falls with the power 1.5."""
    return 0.3 + 0.2 * float(rng.pareto(1.5))


def heavier(rng: np.random.Generator) -> float:
    """The same, with the power 1.2."""
    return 0.3 + 0.2 * float(rng.pareto(1.2))


def lognormal(rng: np.random.Generator) -> float:
    """Median 0.5 s, a tail that is long but not heavy."""
    return 0.5 * float(np.exp(rng.standard_normal()))


def stalls(rng: np.random.Generator) -> float:
    """Half a second, but two calls in a hundred hang for ten."""
    return (10.0 if rng.random() < 0.02 else 0.5) * float(np.exp(0.2 * rng.standard_normal()))


def light(rng: np.random.Generator) -> float:
    """No tail to speak of: nothing is to be gained here."""
    return 0.5 * float(np.exp(0.2 * rng.standard_normal()))


UPSTREAMS: dict[str, Draw] = {
    "Pareto 1.2": heavier,
    "Pareto 1.5": pareto,
    "lognormal, sigma 1": lognormal,
    "2 % stall": stalls,
    "light tail": light,
}


class Simulated:
    """A provider whose calls take what a distribution says."""

    name = "simulated"
    formats = frozenset({"chat"})

    def __init__(self, draw: Draw, seed: int) -> None:
        self._draw, self._rng = draw, np.random.default_rng(seed)
        self.calls = 0

    async def send(self, call: UpstreamCall) -> Upstream:
        self.calls += 1
        await asyncio.sleep(self._draw(self._rng))
        return FakeUpstream(body=BODY)

    async def complete(self, model: Model, messages: Any, **options: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to release."""


@dataclass
class Measured:
    """Seconds until the answer, call by call, and calls that were made for them."""

    latency_s: np.ndarray
    calls: int
    cost_usd: float


async def serve(draw: Draw, seed: int, n: int, hedging: dict[str, Any]) -> Measured:
    provider, loop = Simulated(draw, seed), asyncio.get_running_loop()
    model = Model(
        name="m",
        price=Price(usd_per_1m_input=1.0, usd_per_1m_output=1.0),
        deployments=(Deployment(provider="a"), Deployment(provider="b")),
    )
    executor = Executor(
        {"m": model},
        lambda deployment: provider,  # type: ignore[arg-type,return-value]
        ExecutionConfig(hedging=hedging),  # type: ignore[arg-type]
        clock=VirtualClock(loop),
        rng=np.random.default_rng(seed),
        tokens=len,
    )
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    work = Work(body=body, format="chat", asked=FORMATS["chat"].read(body), input_tokens=20)
    arrivals = np.random.default_rng(seed + 1).exponential(1.0 / CALLS_PER_S, n)
    latency_s, cost_usd = np.zeros(n), 0.0

    async def one(i: int) -> None:
        nonlocal cost_usd
        started = loop.time()
        running = await executor.run(Plan(model="m"), work, lambda name: True)
        latency_s[i] = loop.time() - started
        cost_usd += sum(attempt.cost_usd for attempt in running.attempts)

    async with asyncio.TaskGroup() as group:
        for i, pause in enumerate(arrivals):
            await asyncio.sleep(pause)
            group.create_task(one(i))
    return Measured(latency_s, provider.calls, cost_usd)


def compare(name: str, draw: Draw, n: int, seeds: int) -> dict[str, Any]:
    rows = []
    for seed in range(seeds):
        off = run_virtually(serve(draw, seed, n, {"enabled": False}))
        on = run_virtually(serve(draw, seed, n, {"enabled": True, "max_share": 0.03}))
        p99_off, p99_on = (float(np.quantile(m.latency_s, 0.99)) for m in (off, on))
        rows.append(
            {
                "p50_off": float(np.median(off.latency_s)),
                "p50_on": float(np.median(on.latency_s)),
                "p99_off": p99_off,
                "p99_on": p99_on,
                "cut": 1.0 - p99_on / p99_off,
                "extra_calls": on.calls / off.calls - 1.0,
                "extra_cost": on.cost_usd / off.cost_usd - 1.0,
            }
        )
    return {"upstream": name, **{key: [row[key] for row in rows] for key in rows[0]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [compare(name, draw, options.calls, options.seeds) for name, draw in UPSTREAMS.items()]
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print(f"{options.calls} calls, {options.seeds} seeds; mean (least to most over seeds)")
    print(f"{'upstream':20} {'p50 off':>8} {'on':>7} {'p99 off':>8} {'on':>7}   {'p99 cut':22} extra calls")
    for row in results:
        cut, extra = np.array(row["cut"]), np.array(row["extra_calls"])
        means = [float(np.mean(row[key])) for key in ("p50_off", "p50_on", "p99_off", "p99_on")]
        print(
            f"{row['upstream']:20} {means[0]:8.2f} {means[1]:7.2f} {means[2]:8.2f} {means[3]:7.2f}   "
            f"{cut.mean():6.1%} ({cut.min():.1%} to {cut.max():.1%})  {extra.mean():.2%} (at most {extra.max():.2%})"
        )


if __name__ == "__main__":
    main()
