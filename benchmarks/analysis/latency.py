"""How long each part of analysis takes, on prompts that no cache has seen, in microseconds.

Wall time is what a caller waits; CPU time leaves out the moments in which a busy machine ran something else.

    OMP_NUM_THREADS=1 python benchmarks/analysis/latency.py [--words 20] [--prompts 1500]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, perf_counter_ns, thread_time_ns

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.analysis.classifier import bundled_classifier
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.keywords import find_keywords
from equipoise.analysis.lexical import lexical_rows
from equipoise.analysis.linguistic import linguistic_features
from equipoise.analysis.structure import Sizes, structure_features
from equipoise.analysis.tokens import count_tokens
from equipoise.analysis.window import word_tokens
from equipoise.types import Request

DATA = Path(__file__).parent / "data/prompts_train.jsonl"


def prompts(words: int, n: int) -> list[str]:
    """Prompts of one length, cut from a shuffled stream of real ones, all different."""
    texts = [json.loads(line)["prompt"] for line in DATA.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(0)
    out: list[str] = []
    while len(out) < n:
        rng.shuffle(texts)
        stream = " ".join(texts).split()
        out += [" ".join(stream[i : i + words]) for i in range(0, len(stream) - words, words)]
    return out[:n]


def line(name: str, run: Callable[[str], object], texts: Sequence[str]) -> None:
    wall, cpu = [], []
    for text in texts:
        start, start_cpu = perf_counter_ns(), thread_time_ns()
        run(text)
        cpu.append(thread_time_ns() - start_cpu)
        wall.append(perf_counter_ns() - start)
    cells = [np.percentile(took, q) / 1e3 for took in (wall, cpu) for q in (50, 99)]
    sys.stdout.write(f"{name:28}" + "".join(f"{cell:11.1f}" for cell in cells) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=1500)
    options = parser.parse_args()
    analyzer, vocabulary = Analyzer(), bundled_classifier().vocabulary
    texts = prompts(options.words, options.prompts * 12)
    parts: list[tuple[str, Callable[[str], object]]] = [
        ("embedding", static_embedder().embed_one),
        ("tokens", count_tokens),
        ("words", word_tokens),
        ("words + keywords", lambda t: find_keywords(word_tokens(t))),
        ("linguistic", lambda t: linguistic_features(t, 20, len(t))),
        ("words + structure", lambda t: structure_features([t], [word_tokens(t)], [Sizes(20, len(t), 25)])),
        ("words + lexical", lambda t: lexical_rows([word_tokens(t)])),
        ("words + cue words", lambda t: vocabulary.cues([word_tokens(t)])),
        ("analyze, everything", lambda t: analyzer.analyze(Request(text=t))),
        ("analyze, needs nothing", lambda t: analyzer.analyze(Request(text=t), frozenset())),
        ("notebook, needs nothing", lambda t: Analyzer.notebook().analyze(Request(text=t), frozenset())),
    ]
    analyzer.analyze(Request(text="warm up"))
    sys.stdout.write(f"{options.words} words{'':20} wall p50   wall p99    cpu p50    cpu p99\n")
    for i, (name, run) in enumerate(parts):
        line(name, run, texts[i * options.prompts : (i + 1) * options.prompts])
    line("1 MB prompt", lambda t: analyzer.analyze(Request(text=t)), [" ".join(texts * 20)[:1_000_000]] * 20)
    batch = prompts(100, 1000)
    start = perf_counter()
    analyzer.analyze_batch(batch)
    sys.stdout.write(f"batch of 100-word prompts: {(perf_counter() - start):.2f} s per 1,000\n")


if __name__ == "__main__":
    main()
