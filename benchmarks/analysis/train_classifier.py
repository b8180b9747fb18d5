"""Train the domain and task classifier, measure it on the held-out prompts, write both down.

    python benchmarks/analysis/train_classifier.py                 # train, print the cross-validated share
    python benchmarks/analysis/train_classifier.py --score         # also measure on the held-out prompts
    python benchmarks/analysis/train_classifier.py --write         # also ship the weights and rewrite docs/analysis.md
    python benchmarks/analysis/train_classifier.py --score --ood T.parquet # also on public tables (dataset, prompt)

Parameters were chosen by cross-validation on the training prompts. The held-out prompts choose nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import sparse
from scipy.linalg import solve

from equipoise.analysis.classifier import Classifier, load_classifier, standardised
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.keywords import find_keywords
from equipoise.analysis.lexical import WIDTH, lexical_rows
from equipoise.analysis.structure import Sizes, structure_features
from equipoise.analysis.tokens import count_tokens
from equipoise.analysis.vocabulary import bundled_vocabulary
from equipoise.analysis.window import count_words, window, word_tokens
from equipoise.types import DOMAINS, TASKS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WEIGHTS = ROOT / "src/equipoise/analysis/data/classifier.npz"
DOCS = ROOT / "docs/analysis.md"
TRAIN, HELD_OUT = HERE / "data/prompts_train.jsonl", HERE / "data/prompts_heldout.jsonl"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

# Chosen by cross-validation.
SHAPE_WEIGHT, LEXICAL_WEIGHT, QUADRATIC_WEIGHT, PENALTY = 1.5, 5.0, 2.0, 0.9
DIRECTIONS = 96
FEWEST_PROMPTS = 2
BLOCK, FOLDS = 150, 5

# Two prompts are the same when they share this much of their words, these left out.
SAME = 0.6
FUNCTION_WORDS = frozenset(
    "a an and are be did do does for from how i in is it me my of on or s stand that the this to was what who why with "
    "work you your".split()
)

HEADS = {"domain": DOMAINS, "task": TASKS}
Array = npt.NDArray[Any]


class Views(NamedTuple):
    """The inputs of the classifier for n texts."""

    embedding: npt.NDArray[np.float32]
    shape: npt.NDArray[np.float32]
    lexical: sparse.csr_matrix


def read_prompts(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def refuse_overlap(train: Sequence[dict[str, str]], held: Sequence[dict[str, str]]) -> None:
    """Stop where a prompt is both trained on and measured with, give or take a few words."""
    measured = [content(p["prompt"]) for p in held]
    for prompt in train:
        words = content(prompt["prompt"])
        for other, mine in zip(measured, held, strict=True):
            if len(words & other) >= SAME * len(words | other):
                sys.exit(f"in both lists: {prompt['prompt']!r} and {mine['prompt']!r}; drop the first")


def content(text: str) -> frozenset[str]:
    words = frozenset(re.findall(r"\w+", text.lower()))
    return (words - FUNCTION_WORDS) or words or frozenset([text])


def views(texts: Sequence[str]) -> Views:
    vocabulary = bundled_vocabulary()
    parts = [window(t) for t in texts]
    words = [word_tokens(p) for p in parts]
    shape = np.concatenate([structure_features(parts, words, list(map(sizes, texts))), vocabulary.cues(words)], axis=1)
    rows = lexical_rows(words)
    counts = np.diff(rows.indptr)
    values = (1.0 / np.maximum(counts, 1) ** 0.5).astype(np.float32).repeat(counts)
    lexical = sparse.csr_matrix((values, rows.indices, rows.indptr), shape=(len(texts), WIDTH))
    return Views(static_embedder().embed(parts), shape, lexical)


def sizes(text: str) -> Sizes:
    return Sizes(count_words(text), len(text), count_tokens(text))


def train(v: Views, labels: Array, rows: Array) -> bytes:
    """The weights file of a classifier for the given rows. ``labels`` has domain and task as numbers, shape (n, 2).

    Kernel ridge regression of the classes, written out as weights. Of the quadratic part, only the directions
    are kept in which it is strongest over all classes.
    """
    mean, deviation = v.shape[rows].mean(axis=0), v.shape[rows].std(axis=0)
    scale = 1.0 / (np.where(deviation > 1e-6, deviation, 1.0) * len(mean) ** 0.5)
    inputs = np.hstack([v.embedding[rows], standardised(v.shape[rows], mean, scale)])
    weight = np.repeat([1.0, SHAPE_WEIGHT], [v.embedding.shape[1], len(mean)]).astype(np.float32)
    unit = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1e-9)
    columns = np.flatnonzero(v.lexical[rows].getnnz(axis=0) >= FEWEST_PROMPTS)
    words = v.lexical[rows][:, columns]
    kernel = 1.0 + (inputs * weight) @ inputs.T + QUADRATIC_WEIGHT * np.square(unit @ unit.T)
    kernel += LEXICAL_WEIGHT * (words @ words.T).toarray()
    kernel[np.diag_indices(len(rows))] += PENALTY
    classes = np.hstack([np.eye(len(c), dtype=np.float32)[labels[rows, i]] for i, c in enumerate(HEADS.values())])
    duals = solve(kernel, classes, assume_a="pos", overwrite_a=True)
    forms = np.stack([QUADRATIC_WEIGHT * (unit * dual[:, None]).T @ unit for dual in duals.T])
    projection = np.linalg.eigh(sum(f @ f for f in forms))[1][:, -DIRECTIONS:]
    turned = projection.T @ forms @ projection
    arrays: dict[str, Any] = {
        "columns": columns.astype(np.int32),
        "lexical": (LEXICAL_WEIGHT * words.T @ duals).astype(np.float16),
        "dense": np.hstack([weight[:, None] * (inputs.T @ duals), projection]).astype(np.float16),
        "forms": turned.reshape(-1, DIRECTIONS).astype(np.float16),
        "bias": duals.sum(axis=0).astype(np.float32),
        "mean": mean.astype(np.float32),
        "scale": scale.astype(np.float32),
        "embedder": np.str_(static_embedder().version),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def cross_validated(prompts: Sequence[dict[str, str]], v: Views, labels: Array) -> dict[str, float]:
    """Share of domains and of tasks that are right out of fold. Prompts written together stay together."""
    hits = np.zeros((len(prompts), 2))
    fold = np.arange(len(prompts)) // BLOCK % FOLDS
    for out in range(FOLDS):
        outside = np.flatnonzero(fold == out)
        fitted = load_classifier(train(v, labels, np.flatnonzero(fold != out)), bundled_vocabulary(), where="fold")
        said = label(fitted, [prompts[i]["prompt"] for i in outside])
        hits[outside] = numbers(said) == labels[outside]
    return dict(zip(HEADS, hits.mean(axis=0).tolist(), strict=True))


def numbers(pairs: Sequence[tuple[str, str]]) -> Array:
    return np.array([(DOMAINS.index(d), TASKS.index(t)) for d, t in pairs])


def label(classifier: Classifier, texts: Sequence[str]) -> list[tuple[str, str]]:
    parts = list(map(window, texts))
    words = list(map(word_tokens, parts))
    structure = structure_features(parts, words, list(map(sizes, texts)))
    return classifier.labels(words, static_embedder().embed(parts), structure, lexical_rows(words))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z, p = 1.959964, hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def share(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits}/{n} = {hits / n:.1%} ({low:.1%} to {high:.1%})"


def confusion(true: Sequence[str], said: Sequence[str], classes: Sequence[str]) -> list[str]:
    lines = ["| true \\ said | " + " | ".join(classes) + " | recall |", "|---" * (len(classes) + 2) + "|"]
    for c in classes:
        row = [sum(t == c and s == d for t, s in zip(true, said, strict=True)) for d in classes]
        lines.append(f"| {c} | " + " | ".join(map(str, row)) + f" | {row[classes.index(c)] / sum(row):.0%} |")
    return lines


def report(classifier: Classifier, accuracy: dict[str, float], n: int) -> list[str]:
    lines = [f"{n} training prompts. Share right, with Wilson's 95 % interval.", ""]
    lines += ["| label | prompts | classifier | keywords |", "|---|---|---|---|"]
    tables: list[str] = []
    held = read_prompts(HELD_OUT)
    learned = label(classifier, [p["prompt"] for p in held])
    found = [find_keywords(word_tokens(p["prompt"])) for p in held]
    keyword = [(k.domain, k.task_type) for k in found]
    for i, (head, classes) in enumerate(HEADS.items()):
        true = [p[head] for p in held]
        hits = [sum(t == s[i] for t, s in zip(true, said, strict=True)) for said in (learned, keyword)]
        lines.append(f"| {head} | held out | " + " | ".join(share(h, len(held)) for h in hits) + " |")
        tables += ["", f"Confusion of the classifier on the held-out prompts, {head}:", ""]
        tables += confusion(true, [s[i] for s in learned], classes)
    lines += [f"| {head} | cross-validation on training | {right:.1%} | |" for head, right in accuracy.items()]
    return lines + tables


OOD = {
    "agentverse-logicgrid": "reasoning",
    "agentverse-mgsm": "reasoning",
    "gsm8k": "reasoning",
    "human_eval": "code",
    "math": "reasoning",
    "mbpp": "code",
    "natural_qa": "general",
    "physics": "reasoning",
    "trivia_qa": "general",
}


def out_of_distribution(paths: Sequence[Path], classifier: Classifier) -> list[str]:
    lines = ["", "On public prompts that nothing was trained on:", ""]
    lines += ["| table | data set | expected domain | classifier | keywords |", "|---|---|---|---|---|"]
    for path in paths:
        rows = pq.read_table(path, columns=["dataset", "prompt"]).to_pylist()
        for name in sorted({r["dataset"] for r in rows} & set(OOD)):
            texts = sorted({r["prompt"] for r in rows if r["dataset"] == name})
            hits = sum(d == OOD[name] for d, _ in label(classifier, texts))
            words = sum(find_keywords(word_tokens(window(t))).domain == OOD[name] for t in texts)
            cells = (path.stem, name, OOD[name], share(hits, len(texts)), f"{words / len(texts):.1%}")
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def write_atomically(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    beside.write_bytes(data)
    os.replace(beside, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--score", action="store_true", help="measure on the held-out prompts, which is to be rare")
    parser.add_argument("--write", action="store_true", help="ship the weights and rewrite docs/analysis.md")
    parser.add_argument("--ood", type=Path, nargs="*", default=[], help="outcome tables with known data set names")
    options = parser.parse_args()
    prompts = read_prompts(TRAIN)
    refuse_overlap(prompts, read_prompts(HELD_OUT))
    v = views([p["prompt"] for p in prompts])
    labels = numbers([(p["domain"], p["task"]) for p in prompts])
    accuracy = cross_validated(prompts, v, labels)
    raw = train(v, labels, np.arange(len(prompts)))
    sys.stdout.write(f"{len(prompts)} prompts, {len(raw):,} bytes of weights, cross-validated {accuracy}\n")
    if not (options.score or options.write):
        return
    classifier = load_classifier(raw, bundled_vocabulary(), where=WEIGHTS.name)
    lines = report(classifier, accuracy, len(prompts))
    if options.ood:
        lines += out_of_distribution(options.ood, classifier)
    text = "\n".join(lines)
    sys.stdout.write(f"{text}\n")
    if options.write:
        write_atomically(WEIGHTS, raw)
        page = DOCS.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        write_atomically(DOCS, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


if __name__ == "__main__":
    main()
