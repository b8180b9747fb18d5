"""Train the domain and task classifier, measure it on the held-out prompts, write both down.

    python benchmarks/analysis/train_classifier.py                 # train, measure, print
    python benchmarks/analysis/train_classifier.py --write         # also ship the weights and rewrite docs/analysis.md
    python benchmarks/analysis/train_classifier.py --ood T.parquet # also on public tables (column dataset, prompt)

Parameters were chosen by cross-validation on the training prompts. The held-out prompts choose nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.linear_model import LogisticRegression
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One label to learn, with the parameters that cross-validation chose."""

    name: str
    classes: Sequence[str]
    shape_weight: float
    lexical_weight: float
    inverse_penalty: float


HEADS = (
    Head(name="domain", classes=DOMAINS, shape_weight=0.15, lexical_weight=1.5, inverse_penalty=1.0),
    Head(name="task", classes=TASKS, shape_weight=0.15, lexical_weight=1.5, inverse_penalty=1.0),
)


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


def design(v: Views, rows: Any, head: Head, mean: Any, scale: Any) -> sparse.csr_matrix:
    dense = np.hstack([v.embedding[rows], (v.shape[rows] - mean) / scale * head.shape_weight])
    return sparse.hstack([sparse.csr_matrix(dense), v.lexical[rows] * head.lexical_weight]).tocsr()


def standard(v: Views, rows: Any) -> tuple[Any, Any]:
    deviation = v.shape[rows].std(axis=0)
    return v.shape[rows].mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0)


def fit(v: Views, y: Any, rows: Any, head: Head) -> tuple[LogisticRegression, Any, Any]:
    mean, scale = standard(v, rows)
    model = LogisticRegression(C=head.inverse_penalty, max_iter=500)
    return model.fit(design(v, rows, head, mean, scale), y[rows]), mean, scale


def cross_validated(v: Views, y: Any, head: Head) -> float:
    hits = np.zeros(len(y))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(y, y):
        model, mean, scale = fit(v, y, train, head)
        hits[test] = model.predict(design(v, test, head, mean, scale)) == y[test]
    return float(hits.mean())


def train(prompts: Sequence[dict[str, str]]) -> tuple[bytes, dict[str, float]]:
    v = views([p["prompt"] for p in prompts])
    every = np.arange(len(prompts))
    semantic, shape, lexical, bias, accuracy = [], [], [], [], {}
    mean, scale = standard(v, every)
    first, split = v.embedding.shape[1], v.embedding.shape[1] + v.shape.shape[1]
    for head in HEADS:
        y = np.array([head.classes.index(p[head.name]) for p in prompts])
        accuracy[head.name] = cross_validated(v, y, head)
        model, _, _ = fit(v, y, every, head)
        # Standardisation is folded into the weights, so that a request pays for none.
        of_shape = model.coef_.T[first:split] * head.shape_weight / scale[:, None]
        semantic.append(model.coef_.T[:first])
        shape.append(of_shape)
        lexical.append(model.coef_.T[split:] * head.lexical_weight)
        bias.append(model.intercept_ - mean @ of_shape)
    arrays: dict[str, Any] = {
        "semantic": np.hstack(semantic).astype(np.float32),
        "shape": np.hstack(shape).astype(np.float32),
        "lexical": np.hstack(lexical).astype(np.float32),
        "bias": np.concatenate(bias).astype(np.float32),
        "embedder": np.str_(static_embedder().version),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue(), accuracy


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


def report(held: Sequence[dict[str, str]], classifier: Classifier, accuracy: dict[str, float], n: int) -> list[str]:
    learned = label(classifier, [p["prompt"] for p in held])
    found = [find_keywords(word_tokens(p["prompt"])) for p in held]
    keyword = [(k.domain, k.task_type) for k in found]
    lines = [f"{n} training prompts, {len(held)} held-out prompts. Share right, with Wilson's 95 % interval.", ""]
    lines += ["| label | classifier, held out | keywords, held out | classifier, cross-validated on training |"]
    lines += ["|---|---|---|---|"]
    tables: list[str] = []
    for i, head in enumerate(HEADS):
        true = [p[head.name] for p in held]
        hits = [sum(t == s[i] for t, s in zip(true, said, strict=True)) for said in (learned, keyword)]
        cells = " | ".join(share(h, len(held)) for h in hits)
        lines.append(f"| {head.name} | {cells} | {accuracy[head.name]:.1%} |")
        tables += ["", f"Confusion of the classifier, {head.name}:", ""]
        tables += confusion(true, [s[i] for s in learned], head.classes)
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
    parser.add_argument("--write", action="store_true", help="ship the weights and rewrite docs/analysis.md")
    parser.add_argument("--ood", type=Path, nargs="*", default=[], help="outcome tables with known data set names")
    options = parser.parse_args()
    prompts = read_prompts(HERE / "data/prompts_train.jsonl")
    raw, accuracy = train(prompts)
    classifier = load_classifier(raw, bundled_vocabulary(), where=WEIGHTS.name)
    lines = report(read_prompts(HERE / "data/prompts_heldout.jsonl"), classifier, accuracy, len(prompts))
    if options.ood:
        lines += out_of_distribution(options.ood, classifier)
    text = "\n".join(lines)
    sys.stdout.write(f"{text}\n{len(raw):,} bytes of weights\n")
    if options.write:
        write_atomically(WEIGHTS, raw)
        page = DOCS.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        write_atomically(DOCS, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


if __name__ == "__main__":
    main()
