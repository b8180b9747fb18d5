"""Load: requests over some connections, each sending its next when its last is answered, timed one by one.

python -m equipoise.gateway.bench.load --port P --connections 16 --seconds 5 [--key K] [--model M]     prints JSON
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from typing import Any

import orjson

PROMPT = (
    "Please explain in simple words how a heat pump can heat a whole house in winter although the air outside is "
    "far colder than the rooms"
)


def request_bytes(*, model: str, key: str | None, stream: bool = False, prompt: str = PROMPT) -> bytes:
    """A chat completion as it goes over the wire."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if stream:
        body["stream"] = True
    data = orjson.dumps(body)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    if key is not None:
        head += b"Authorization: Bearer " + key.encode() + b"\r\n"
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(data), data)


class Asking(asyncio.Protocol):
    """One connection that always has one request in flight, until the time is up."""

    def __init__(self, request: bytes, until: float, latencies: list[float], statuses: Counter[str]) -> None:
        self._request, self._until = request, until
        self._latencies, self._statuses = latencies, statuses
        self._held = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._until:
            self._transport.close()
            return
        self._transport.write(self._request)

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


async def measure(port: int, request: bytes, *, connections: int, seconds: float) -> dict[str, Any]:
    """Requests per second, and how long they took in milliseconds."""
    loop, latencies, statuses = asyncio.get_running_loop(), list[float](), Counter[str]()
    begun = time.perf_counter()

    def asking() -> Asking:
        return Asking(request, begun + seconds, latencies, statuses)

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
    parser.add_argument("--key")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--stream", action="store_true")
    args = parser.parse_args()
    request = request_bytes(model=args.model, key=args.key, stream=args.stream)
    found = asyncio.run(measure(args.port, request, connections=args.connections, seconds=args.seconds))
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    main()
