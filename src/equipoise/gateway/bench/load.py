"""Load: requests over some connections, each sending its next when its last is answered, timed one by one.

python -m equipoise.gateway.bench.load --port P --connections 16 --seconds 5 [--header NAME:VALUE]     prints JSON
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, cast

import numpy as np
import orjson

WORDS = (
    "please explain compare write fix list why how what when house engine river python function table sum capital "
    "poem short simple careful winter summer price market letter teacher doctor garden music number line code error "
    "between without because although inside outside under about every other their which would could should often "
    "never again water light metal paper stone bridge forest animal history science planet country city village"
).split()
_PROMPT_WORDS = 25
# More than the gateway remembers, and it forgets the oldest first: each is as new when its turn comes again.
DIFFERENT = 2000


def prompts(number: int, *, seed: int = 0) -> list[str]:
    """Different prompts of 25 words, the same ones for a seed."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, _PROMPT_WORDS)) + "?" for _ in range(number)]


def request_bytes(prompt: str, headers: Mapping[str, str]) -> bytes:
    """A chat completion for the route or model ``auto`` as it goes over the wire."""
    data = orjson.dumps({"model": "auto", "messages": [{"role": "user", "content": prompt}]})
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data


class Asking(asyncio.Protocol):
    """One connection that always has one request in flight, until the time is up."""

    def __init__(self, requests: Iterator[bytes], until: float, latencies: list[float], statuses: Counter[str]) -> None:
        self._requests, self._until = requests, until
        self._latencies, self._statuses = latencies, statuses
        self._held = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._until:
            self._transport.close()
            return
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Once the answer is whole, note how long it took, and ask again."""
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._held[:end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            whole = len(self._held) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        else:
            whole = self._held.endswith(b"0\r\n\r\n")
        if whole:
            self._latencies.append(time.perf_counter() - self._sent)
            self._statuses[head[9:12].decode()] += 1
            self._held = b""
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """It ended, or was cut."""
        if error is not None or time.perf_counter() < self._until:
            self._statuses["cut"] += 1
        if not self.done.done():
            self.done.set_result(None)


async def measure(port: int, requests: Iterable[bytes], *, connections: int, seconds: float) -> dict[str, Any]:
    """Requests per second, and how long they took in milliseconds."""
    loop, latencies, statuses = asyncio.get_running_loop(), list[float](), Counter[str]()
    begun = time.perf_counter()

    in_turn = cycle(requests) if isinstance(requests, Sequence) else iter(requests)

    def asking() -> Asking:
        return Asking(in_turn, begun + seconds, latencies, statuses)

    made = [await loop.create_connection(asking, "127.0.0.1", port) for _ in range(connections)]
    await asyncio.gather(*(one.done for _, one in made))
    took = time.perf_counter() - begun
    ordered = sorted(latencies)

    def at(share: float) -> float | None:
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3 if ordered else None

    return {
        "requests": len(ordered),
        "per_second": len(ordered) / took,
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "statuses": dict(statuses),
    }


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--prompts", type=int, default=DIFFERENT)
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    args = parser.parse_args()
    headers = dict(header.split(":", 1) for header in args.header)
    requests = [request_bytes(prompt, headers) for prompt in prompts(args.prompts)]
    found = asyncio.run(measure(args.port, requests, connections=args.connections, seconds=args.seconds))
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    main()
