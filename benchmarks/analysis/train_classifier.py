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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import sparse
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedKFold

from equipoise.analysis.classifier import LEXICAL_WIDTH, Classifier, folded, load_classifier
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.keywords import find_keywords
from equipoise.analysis.lexical import lexical_row
from equipoise.analysis.structure import Sizes, structure_features
from equipoise.analysis.tokens import count_tokens
from equipoise.analysis.vocabulary import bundled_vocabulary
from equipoise.analysis.window import count_words, window, word_tokens
from equipoise.types import DOMAINS, TASKS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WEIGHTS = ROOT / "src/equipoise/analysis/data/classifier.npz"
DOCS = ROOT / "docs/analysis.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


# Chosen by cross-validation.
SHAPE_WEIGHT, LEXICAL_WEIGHT, INVERSE_PENALTY = 0.15, 1.5, 8.0
STEPS = 150

HELD_OUT = {
    "second list": HERE / "data/prompts_heldout_2.jsonl",
    "first list": HERE / "data/prompts_heldout.jsonl",
}
HEADS = {"domain": DOMAINS, "task": TASKS}
Array = npt.NDArray[Any]


class Views(NamedTuple):
    """The inputs of the classifier for n texts."""

    embedding: npt.NDArray[np.float32]
    shape: npt.NDArray[np.float32]
    lexical: sparse.csr_matrix


def read_prompts(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def views(texts: Sequence[str]) -> Views:
    vocabulary = bundled_vocabulary()
    parts = [window(t) for t in texts]
    words = [word_tokens(p) for p in parts]
    shape = [
        np.concatenate([structure_features(p, w, sizes(t)), vocabulary.cues(w)])
        for t, p, w in zip(texts, parts, words, strict=True)
    ]
    lexical = sparse.lil_matrix((len(texts), LEXICAL_WIDTH))
    for row, w in enumerate(words):
        columns = folded(lexical_row(w))
        for column in columns:
            lexical[row, column] += 1.0 / len(columns) ** 0.5
    return Views(static_embedder().embed(parts), np.stack(shape), lexical.tocsr())


def sizes(text: str) -> Sizes:
    return Sizes(count_words(text), len(text), count_tokens(text))


def multinomial(blocks: Sequence[Any], y: Array, classes: int) -> tuple[list[Array], Array]:
    """Weights of every block and the bias. Blocks are dense or sparse; put together they would be slow."""
    widths = [block.shape[1] for block in blocks]
    cuts = np.cumsum(widths)[:-1]
    turned = [block.T.tocsr() if sparse.issparse(block) else block.T for block in blocks]
    true = np.eye(classes)[y]

    def loss(flat: Array) -> tuple[float, Array]:
        weights, bias = flat[classes:].reshape(-1, classes), flat[:classes]
        score = bias + sum(b @ w for b, w in zip(blocks, np.split(weights, cuts), strict=True))
        score -= score.max(axis=1, keepdims=True)
        share = np.exp(score)
        total = share.sum(axis=1, keepdims=True)
        off = share / total - true
        slope = INVERSE_PENALTY * np.concatenate([t @ off for t in turned]) + weights
        likelihood = np.log(total).sum() - (score * true).sum()
        both = INVERSE_PENALTY * likelihood + 0.5 * np.square(weights).sum()
        return float(both), np.concatenate([INVERSE_PENALTY * off.sum(axis=0), slope.ravel()])

    found = minimize(
        loss, np.zeros(classes * (1 + sum(widths))), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}
    )
    return np.split(found.x[classes:].reshape(-1, classes), cuts), found.x[:classes]


def train(v: Views, labels: Array, rows: Array) -> bytes:
    """The weights file of a classifier for the given rows. ``labels`` has domain and task as numbers, shape (n, 2)."""
    kinds, kind = np.unique(labels[rows], axis=0, return_inverse=True)
    mean, deviation = v.shape[rows].mean(axis=0), v.shape[rows].std(axis=0)
    scale = SHAPE_WEIGHT / np.where(deviation > 1e-6, deviation, 1.0)
    blocks = [
        v.embedding[rows].astype(float),
        (v.shape[rows] - mean) * scale,
        (v.lexical[rows] * LEXICAL_WEIGHT).tocsr(),
    ]
    heads = [
        multinomial(blocks, y.ravel(), classes)
        for y, classes in ((labels[rows, 0], len(DOMAINS)), (labels[rows, 1], len(TASKS)), (kind, len(kinds)))
    ]
    semantic, shape, lexical = (np.hstack([weights[i] for weights, _ in heads]) for i in range(3))
    # Standardisation is folded into the weights, so that a request pays for none.
    shape = shape * scale[:, None]
    arrays: dict[str, Any] = {
        "semantic": semantic.astype(np.float16),
        "shape": shape.astype(np.float32),
        "lexical": (lexical * LEXICAL_WEIGHT).astype(np.float16),
        "bias": (np.concatenate([bias for _, bias in heads]) - mean @ shape).astype(np.float32),
        "kinds": kinds.astype(np.int64),
        "embedder": np.str_(static_embedder().version),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def cross_validated(prompts: Sequence[dict[str, str]], v: Views, labels: Array) -> dict[str, float]:
    """Share of domains and of tasks that are right out of fold."""
    hits = np.zeros((len(prompts), 2))
    for inside, outside in StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels[:, 0]):
        fitted = load_classifier(train(v, labels, inside), bundled_vocabulary(), where="fold")
        said = label(fitted, [prompts[i]["prompt"] for i in outside])
        hits[outside] = numbers(said) == labels[outside]
    return dict(zip(HEADS, hits.mean(axis=0).tolist(), strict=True))


def numbers(pairs: Sequence[tuple[str, str]]) -> Array:
    return np.array([(DOMAINS.index(d), TASKS.index(t)) for d, t in pairs])


def label(classifier: Classifier, texts: Sequence[str]) -> list[tuple[str, str]]:
    out = []
    for text in texts:
        part = window(text)
        words = word_tokens(part)
        structure = structure_features(part, words, sizes(text))
        out.append(classifier.label(words, static_embedder().embed_one(part), structure, lexical_row(words)))
    return out


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
    lines += ["| label | held-out prompts | classifier | keywords |", "|---|---|---|---|"]
    tables: list[str] = []
    for name, path in HELD_OUT.items():
        held = read_prompts(path)
        learned = label(classifier, [p["prompt"] for p in held])
        found = [find_keywords(word_tokens(p["prompt"])) for p in held]
        keyword = [(k.domain, k.task_type) for k in found]
        for i, (head, classes) in enumerate(HEADS.items()):
            true = [p[head] for p in held]
            hits = [sum(t == s[i] for t, s in zip(true, said, strict=True)) for said in (learned, keyword)]
            lines.append(f"| {head} | {name} | " + " | ".join(share(h, len(held)) for h in hits) + " |")
            if name == "second list":
                tables += ["", f"Confusion of the classifier on the second list, {head}:", ""]
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
    prompts = read_prompts(HERE / "data/prompts_train.jsonl")
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
