"""Time of one decision: analysis, estimates, policy and record, for 12 models and a 20-word prompt, on one core.

    OMP_NUM_THREADS=1 python benchmarks/decision_latency.py [--router linear] [--rows 7000] [--repeats 3000]

The outcomes are made up: only their shape matters here.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from equipoise.engine import Engine
from equipoise.tables import OutcomeTable

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
    took = np.empty(len(prompts))
    for i, prompt in enumerate(prompts):
        start = time.perf_counter()
        engine.decide(prompt)
        took[i] = time.perf_counter() - start
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    print(f"{args.router}, {args.rows} training prompts, 12 models: p50 {p50:.3f} ms, p99 {p99:.3f} ms")


if __name__ == "__main__":
    main()
