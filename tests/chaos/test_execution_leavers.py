"""Clients that leave at any moment, of calls that fail in any way: nothing is left behind, and no deadline passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np
import pytest

from equipoise.execution import ExecutionFailed, Executor
from equipoise.traffic import Attempt
from equipoise.types import Deployment, Plan
from equipoise.wire import SseEvent
from tests.execution_fakes import Provided, always, chunk, executor, failed, model, virtually, work

BODY = (
    b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":4,"completion_tokens":1}}'
)
REFUSALS: Mapping[str, Callable[[], Exception]] = {
    "500": lambda: failed(500),
    "429": lambda: failed(429),
    "429 with a time": lambda: failed(429, after=1.0),
    "400": lambda: failed(400, retryable=False),
    "404": lambda: failed(404, retryable=False),
    "no connection": lambda: failed(None, code="connection"),
    "our fault": lambda: RuntimeError("wrong"),
}
ENDS = ("well", "hangs", "is lost", "garbage", "ends early")


class Response:
    """It is among ``open`` until it is read or closed."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, rng: np.random.Generator, end: str, open: set[Response]) -> None:
        self._rng, self._end, self._open = rng, end, open
        open.add(self)

    async def read(self) -> bytes:
        await self._wait(0.5)
        if self._end == "hangs":
            await asyncio.Event().wait()
        if self._end == "is lost":
            raise failed(None, code="connection_lost")
        self._open.discard(self)
        return b"nonsense" if self._end == "garbage" else BODY

    async def events(self) -> AsyncIterator[SseEvent]:
        for i in range(4):
            await self._wait(0.2)
            if i == 2 and self._end == "hangs":
                await asyncio.Event().wait()
            if i == 2 and self._end == "is lost":
                raise failed(None, code="connection_lost")
            if i == 2 and self._end == "garbage":
                yield SseEvent(b"data: {x\n\n", "", b"{x")
            if i == 2 and self._end == "ends early":
                return
            yield chunk(f"{i} ")
        yield chunk(finish="stop")
        self._open.discard(self)

    async def document(self) -> dict[str, Any]:
        raise NotImplementedError

    async def close(self) -> None:
        self._open.discard(self)

    async def _wait(self, mean_s: float) -> None:
        await asyncio.sleep(self._rng.exponential(mean_s))


def unreliable(rng: np.random.Generator, open: set[Response]) -> Provided:
    """A third of its calls are refused, a tenth of the others end badly, and some are slow."""

    async def send(number: int, call: Any) -> Response:
        await asyncio.sleep(rng.exponential(5.0 if rng.random() < 0.05 else 0.2))
        if rng.random() < 0.3:
            raise REFUSALS[str(rng.choice(list(REFUSALS)))]()
        return Response(rng, "well" if rng.random() < 0.9 else str(rng.choice(ENDS)), open)

    return Provided(send)


def hedging_over(providers: dict[str, Provided], rng: np.random.Generator) -> Executor:
    """Two models at five deployments with limits, whose usual latencies are known."""
    places = [Deployment(provider=name, rpm=300, tpm=5000) for name in providers]
    ex = executor(
        [model("m", deployments=tuple(places[:3])), model("f", deployments=tuple(places[3:]))],
        providers,
        hedging={"enabled": True, "max_share": 0.2, "quantile": 0.8},
        total_s=20.0,
        first_token_s=4.0,
        between_tokens_s=3.0,
        breaker_min_calls=5,
        breaker_cooldown_s=3.0,
    )
    for place in (*ex._places["m"], *ex._places["f"]):
        for late in (*rng.exponential(0.5, 80), 30.0):
            place.tails[False].observe(late)
            place.tails[True].observe(late)
    return ex


async def asked(ex: Executor, rng: np.random.Generator, attempts: list[Attempt]) -> None:
    """One request, of a client that has some patience, and may close a stream after any piece."""
    now = asyncio.get_running_loop().time
    patience_s, began = float(rng.choice([1.0, 3.0, 8.0, 100.0])), now()
    try:
        asked_for = work(stream=bool(rng.random() < 0.6), deadline_s=patience_s)
        running = await ex.run(Plan(model="m", fallback=("f",)), asked_for, always, attempts=attempts)
        if running.stream is not None:
            async for _ in running.stream:
                if rng.random() < 0.03:
                    break
        await running.close()
    except (ExecutionFailed, RuntimeError):
        pass
    finally:
        assert now() - began <= min(patience_s, 20.0) + 0.001


@pytest.mark.parametrize("seed", [0, 1, 2])
@virtually
async def test_whoever_leaves_and_whatever_fails_nothing_is_left_behind_and_no_deadline_passed(seed: int) -> None:
    rng, open = np.random.default_rng(seed), set[Response]()
    ex = hedging_over({f"p{i}": unreliable(rng, open) for i in range(5)}, rng)
    attempts: list[Attempt] = []
    clients = []
    for _ in range(400):
        await asyncio.sleep(rng.exponential(0.05))
        clients.append(asyncio.create_task(asked(ex, rng, attempts)))
        if rng.random() < 0.4:
            asyncio.get_running_loop().call_later(rng.exponential(1.0), clients[-1].cancel)
    ended = await asyncio.gather(*clients, return_exceptions=True)
    assert {type(error) for error in ended} == {type(None), asyncio.CancelledError}
    assert asyncio.all_tasks() == {asyncio.current_task()} and not open
    assert len(attempts) == sum(place.calls for place in ex.status())
    assert 0 < ex.hedging.hedges <= 0.2 * ex.hedging.calls
    await asyncio.sleep(62.0)
    now = asyncio.get_running_loop().time()
    for place in (*ex._places["m"], *ex._places["f"]):
        assert place.outstanding == 0 and place.breaker.admits(now)
        assert place.requests is not None and place.requests.free_in(now, 300) == 0.0
        assert place.tokens is not None and place.tokens.free_in(now, 5000) == 0.0
