"""Time of one decision: analysis, estimates, policy and record, for 12 models and a 20-word prompt, on one core.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/decision_latency.py [--router linear] [--rows 7000]

The outcomes are made up: only their shape matters here. Every prompt is a new one, and the parts are timed inside
the running loop: on their own, with warm caches, they take half as long.

Prompts come in blocks, and of every line the quietest block and the middle one are shown: on a machine that does
other work, the first is what this code takes and the second what one gets. Between decisions a fixed piece of work
is timed as well, some Python and some small products. How many times as long as that a decision takes depends little
on the machine and its load.
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

BLOCK = 100
VECTOR = np.full(64, 0.5, dtype=np.float32)
MATRIX = np.full((64, 64), 1 / 64, dtype=np.float32)


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
    parser.add_argument("--blocks", type=int, default=50)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    engine = Engine.train(made_up_table(args.rows, 12, rng), router=args.router)
    prompts = [" ".join(rng.choice(WORDS, 20)) for _ in range(args.blocks * BLOCK)]
    for prompt in prompts[:200]:
        engine.decide(prompt)
    print(f"{args.router}, {args.rows} training prompts, 12 models{'':8} quietest block      middle block")
    whole, fixed = timed(engine.decide, fixed_work, prompts)
    report("one decision", whole)
    analysis, _ = timed(lambda prompt: engine.analyze(Request(text=prompt)), engine.decide, prompts)
    report("of it analysis", analysis)
    report("the fixed work", fixed)
    ratio = np.median(whole, axis=1) / np.median(fixed, axis=1)
    print(f"one decision takes {np.median(ratio):.2f} times as long as the fixed work (blocks: {quartiles(ratio)})")


def timed(call: Callable[[str], object], between: Callable[[str], object], prompts: list[str]) -> tuple[Times, Times]:
    """Seconds that each of two calls took, taking turns, shape (blocks, prompts per block)."""
    took = np.empty((2, len(prompts)))
    for i, prompt in enumerate(prompts):
        start = time.perf_counter()
        call(prompt)
        middle = time.perf_counter()
        between(prompt)
        took[:, i] = middle - start, time.perf_counter() - middle
    return took[0].reshape(-1, BLOCK), took[1].reshape(-1, BLOCK)


def fixed_work(prompt: str) -> object:
    """Of the kind that decisions are made of: words, dictionaries and products of small arrays."""
    x = VECTOR
    for _ in range(20):
        counts: dict[str, int] = {}
        for word in prompt.split():
            counts[word] = counts.get(word, 0) + len(word)
        x = np.minimum(x.dot(MATRIX), 1.0)
    return x


def report(what: str, took: Times) -> None:
    p50, p99 = np.quantile(took, [0.5, 0.99], axis=1) * 1e3
    cells = [f"p50 {f(p50):.3f}  p99 {f(p99):.3f} ms" for f in (np.min, np.median)]
    print(f"{what:40}" + "  ".join(cells))


def quartiles(values: Times) -> str:
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{low:.2f} to {high:.2f}"


if __name__ == "__main__":
    main()
