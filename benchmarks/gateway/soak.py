"""Does the gateway's memory stay flat? Load for some minutes, its memory every few seconds, quarters compared.

    python benchmarks/gateway/soak.py --minutes 20 --out report     report/soak.json

Every prompt is a new one, and so is every conversation: whatever is remembered is remembered for good here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from equipoise.gateway.bench.load import WORDS, measure, request_bytes
from equipoise.gateway.bench.processes import Process, cores, free_port, module
from equipoise.gateway.bench.rounds import ours


class Endless:
    """Requests that differ."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers, self._rng, self._numbers = headers, np.random.default_rng(0), count()

    def __iter__(self) -> Iterator[bytes]:
        for number in self._numbers:
            yield request_bytes(f"{' '.join(self._rng.choice(WORDS, 24))} {number}?", self._headers)


async def soak(process: Process, headers: dict[str, str], minutes: float, connections: int) -> list[dict[str, float]]:
    """Memory now and then."""
    seen, begun = [], time.monotonic()
    load = asyncio.create_task(measure(process.port, Endless(headers), connections=connections, seconds=minutes * 60))
    while not load.done():
        await asyncio.wait([load], timeout=5)
        seen.append({"s": time.monotonic() - begun, "mb": process.resident_mb() or 0.0})
    found = await load
    print(f"{found['requests']} requests, statuses {found['statuses']}")
    return seen


def main() -> None:
    """Load, watch, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("gateway-report"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    core, other = cores()
    upstream_port, port = free_port(), free_port()
    canned = module("equipoise.gateway.bench.canned", "--port", str(upstream_port))
    one = ours(args.out)
    with Process(canned, upstream_port, args.out / "upstream.log", core=other):
        command = one.command(port, f"http://127.0.0.1:{upstream_port}", args.out)
        with Process(command, port, args.out / "soak.log", core=core) as gateway:
            seen = asyncio.run(soak(gateway, dict(one.headers), args.minutes, args.connections))
    (args.out / "soak.json").write_text(json.dumps(seen, indent=1))
    quarter = len(seen) // 4
    second, last = (statistics.median(x["mb"] for x in part) for part in (seen[quarter : 2 * quarter], seen[-quarter:]))
    print(f"second quarter {second:.0f} MB, last quarter {last:.0f} MB: {100 * (last / second - 1):+.1f} %")


if __name__ == "__main__":
    main()
