"""Time of one decision: analysis, estimates, policy and record, for 12 models and a 20-word prompt, on one core.

    OMP_NUM_THREADS=1 python benchmarks/decision_latency.py [--router linear] [--rows 7000] [--repeats 3000]

The outcomes are made up: only their shape matters here. Every prompt is a new one, and the parts are timed inside
the running loop: on their own, with warm caches, they take half as long.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from equipoise.engine import Engine
from equipoise.tables import OutcomeTable
from equipoise.types import Request

Times = npt.NDArray[np.float64]

WORDS = (
    "the model price cost answer question python list sort number train speed river house letter energy cell law "
    "music planet sum integral market history verb translate city proof function water light money".split()
)


def made_up_table(rows: int, models: int, rng: np.random.Generator) -> OutcomeTable:
    prompts = [" ".join(rng.choice(WORDS, 20)) + f" {i}" for i in range(rows)]
    ids = np.repeat([f"p{i}" for i in range(rows)], models).tolist()
    columns = {
        "prompt_id": ids,
        "prompt": np.repeat(prompts, models).tolist(),
        "dataset": ["made-up"] * len(ids),
        "model": [f"m{j}" for j in range(models)] * rows,
        "quality": (rng.random(len(ids)) < 0.6).astype(float),
        "cost_usd": rng.uniform(1e-5, 1e-3, len(ids)),
    }
    return OutcomeTable.from_columns(columns, name="made-up")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--router", default="linear")
    parser.add_argument("--rows", type=int, default=7000)
    parser.add_argument("--repeats", type=int, default=3000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    engine = Engine.train(made_up_table(args.rows, 12, rng), router=args.router)
    prompts = [" ".join(rng.choice(WORDS, 20)) for _ in range(args.repeats)]
    for prompt in prompts[:200]:
        engine.decide(prompt)
    print(f"{args.router}, {args.rows} training prompts, 12 models")
    whole = timed(engine.decide, prompts)
    report("one decision", whole)
    report("of it analysis", timed(lambda prompt: engine.analyze(Request(text=prompt)), prompts, then=engine.decide))


def timed(call: Callable[[str], object], prompts: list[str], *, then: Callable[[str], object] | None = None) -> Times:
    """Seconds that each call took; ``then`` is called between, untimed."""
    took = np.empty(len(prompts))
    for i, prompt in enumerate(prompts):
        start = time.perf_counter()
        call(prompt)
        took[i] = time.perf_counter() - start
        if then is not None:
            then(prompt)
    return took


def report(what: str, took: Times) -> None:
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    print(f"{what}: p50 {p50:.3f} ms, p99 {p99:.3f} ms")


if __name__ == "__main__":
    main()
