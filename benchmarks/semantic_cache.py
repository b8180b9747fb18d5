"""How often the semantic cache gives an answer to another question, and how often it helps.

    python benchmarks/semantic_cache.py [--json]

The labelled pairs come with the package: 481 prompts, each with a paraphrase and a near miss that differs in the one
word that matters. 81 of them were used to write the comparison; thresholds are chosen, and rates measured, on the
other 400. Beside it stands what most caches do: the cosine of two sentence embeddings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.analysis.embedders import static_embedder
from equipoise.config import CacheConfig
from equipoise.execution import AnswerCache
from equipoise.execution.cache import Ask, Kept
from equipoise.execution.calibration import CONFIDENCE, Pair, calibrate, labelled_pairs, likeness, upper_bound
from equipoise.traffic import TokenUsage

RATES = (0.01, 0.02, 0.05, 0.10)
SPLITS = 200
Floats = npt.NDArray[np.float64]
Likeness = Callable[[str, str], float]
REWORDINGS: dict[str, Callable[[str], str]] = {
    "lower case, no question mark": lambda text: text.lower().rstrip("?"),
    "please ...": lambda text: f"Please {text[0].lower()}{text[1:]}",
    "can you tell me ...": lambda text: f"Can you tell me: {text}",
    "spaces and signs": lambda text: f"  {text.rstrip('?')} ??",
    "what's, who's, how's": lambda text: text.replace("What is", "What's").replace("Who is", "Who's"),
}


def cosine(a: str, b: str) -> float:
    """What most semantic caches compare by."""
    embedder = static_embedder()
    return float(embedder.embed_one(a) @ embedder.embed_one(b))


def scores(compare: Likeness, pairs: Sequence[Pair]) -> tuple[Floats, Floats]:
    """Likeness of the near misses, and of the paraphrases."""
    different = np.array([compare(p.prompt, p.different) for p in pairs])
    return different, np.array([compare(p.prompt, p.same) for p in pairs])


def thresholds(different: Floats, same: Floats) -> list[dict[str, Any]]:
    rows = []
    for rate in RATES:
        chosen = calibrate(different, same, rate)
        rows.append({"rate": rate, **(chosen._asdict() if chosen is not None else {"value": None})})
    return rows


def half_splits(different: Floats, same: Floats, rate: float) -> dict[str, float]:
    """The threshold chosen on one half of the pairs, the rate measured on the other."""
    rng, measured = np.random.default_rng(0), []
    for _ in range(SPLITS):
        order = rng.permutation(len(different))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        chosen = calibrate(different[first], same[first], rate)
        if chosen is not None:
            measured.append(float((different[second] >= chosen.value - 1e-9).mean()))
    return {
        "rate": rate,
        "splits_with_a_threshold": len(measured) / SPLITS,
        "mean_false_hit_rate": float(np.mean(measured)) if measured else float("nan"),
    }


def rewording_hits(pairs: Sequence[Pair], threshold: float) -> dict[str, float]:
    return {
        name: float(np.mean([likeness(p.prompt, reword(p.prompt)) >= threshold for p in pairs]))
        for name, reword in REWORDINGS.items()
    }


def lookup_us(pairs: Sequence[Pair], entries: int) -> float:
    """Median time of a look into a cache where everything else about the requests is the same."""
    cache = AnswerCache(CacheConfig(exact=True, semantic=True, max_entries=entries), clock=time)
    kept = Kept(b"{}", False, "m", "m/p", TokenUsage(), "stop", 0.0)
    for i in range(entries):
        pair = pairs[i % len(pairs)]
        cache._put("tenant", Ask(str(i).encode(), b"around", f"{pair.prompt} {i // len(pairs)}"), kept, 3600.0)
    times = []
    for pair in pairs:
        started = time.perf_counter()
        cache.find("tenant", Ask(b"another", b"around", pair.different))
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


def measure() -> dict[str, Any]:
    pairs = labelled_pairs()
    words, sentences = scores(likeness, pairs), scores(cosine, pairs)
    chosen = calibrate(*words, RATES[0])
    assert chosen is not None
    helped = chosen.hit_rate
    as_helpful = float(np.quantile(sentences[1], 1.0 - helped))
    far = sentences[0] >= as_helpful
    kinds = sorted({p.kind for p in pairs})
    return {
        "pairs": len(pairs),
        "confidence": CONFIDENCE,
        "least_rate_that_can_be_shown": upper_bound(0, len(pairs)),
        "word_by_word": thresholds(*words),
        "sentence_cosine": thresholds(*sentences),
        "cosine_as_helpful": {
            "threshold": as_helpful,
            "hit_rate": helped,
            "false_hit_rate": float(far.mean()),
            "by_kind": {k: float(far[[p.kind == k for p in pairs]].mean()) for k in kinds},
        },
        "half_splits": [half_splits(*words, rate) for rate in RATES[1:]],
        "rewordings": rewording_hits(pairs, chosen.value),
        "rules_part": dict(zip(("false_hits", "hits"), _hits("rules", chosen.value), strict=True)),
        "lookup_us": {str(n): lookup_us(pairs, n) for n in (100, 10_000)},
    }


def _hits(part: str, threshold: float) -> tuple[int, int]:
    different, same = scores(likeness, labelled_pairs(part))
    return int((different >= threshold).sum()), int((same >= threshold).sum())


def show(result: dict[str, Any]) -> None:
    print(f"{result['pairs']} prompts, each with a near miss and a paraphrase; confidence {result['confidence']:.0%}")
    print(f"{'compared by':16} {'rate':>5} {'threshold':>9} {'false hits':>10} {'bound':>7} {'paraphrases hit':>15}")
    for name in ("word_by_word", "sentence_cosine"):
        for row in result[name]:
            if row["value"] is None:
                print(f"{name:16} {row['rate']:5.0%} {'none':>9}")
                continue
            print(
                f"{name:16} {row['rate']:5.0%} {row['value']:9.2f} {row['false_hits']:10d} {row['bound']:7.2%} "
                f"{row['hit_rate']:15.1%}"
            )
    other = result["cosine_as_helpful"]
    print(
        f"a cosine threshold of {other['threshold']:.3f} hits as many paraphrases ({other['hit_rate']:.0%}) and "
        f"{other['false_hit_rate']:.1%} of the near misses: "
        + ", ".join(f"{kind} {rate:.0%}" for kind, rate in other["by_kind"].items() if rate)
    )
    for row in result["half_splits"]:
        print(
            f"chosen on half for {row['rate']:.0%}, measured on the other: {row['mean_false_hit_rate']:.2%} "
            f"({row['splits_with_a_threshold']:.0%} of the splits had a threshold)"
        )
    print("rewordings hit at 1 %:", ", ".join(f"{name} {rate:.0%}" for name, rate in result["rewordings"].items()))
    print("a look that finds nothing:", ", ".join(f"{n} entries {us:.0f} us" for n, us in result["lookup_us"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    result = measure()
    if parser.parse_args().json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
