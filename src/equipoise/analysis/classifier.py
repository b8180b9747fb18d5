"""The trained domain and task classifier: a small quadratic form over what analysis has already computed.

Every domain and every task has one score, with three parts: a linear one over words and word pairs, a linear one over
the dense inputs (embedding, structure, cue words), and a quadratic one over a projection of the dense inputs, so that
a cue may count differently beside another subject: what makes a prompt creative is another thing in a request to
write than in a question about writing. The highest score wins. The scores are no probabilities.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.analysis.lexical import WIDTH
from equipoise.analysis.structure import STRUCTURE_NAMES
from equipoise.analysis.vocabulary import Vocabulary, bundled_vocabulary
from equipoise.errors import StateError
from equipoise.sparse import SparseRows
from equipoise.types import DOMAINS, TASKS, Ints, Singles

WEIGHTS = "classifier.npz"
_SINGLES = ("dense", "forms", "bias", "mean", "scale")
_ARRAYS = ("columns", "lexical", *_SINGLES, "embedder")
_CLASSES = len(DOMAINS) + len(TASKS)
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """The weights. Their classes are ``DOMAINS``, then ``TASKS``: c in all.

    Attributes:
        rows: for every lexical column its row of ``lexical``; columns that training did not see share a row of zeros.
        lexical: weights of words and word pairs, shape (v + 1, c).
        dense: linear weights of the d dense inputs, and beside them their projection to the m directions in which
            they act on each other, shape (d, c + m).
        forms: one symmetric (m, m) matrix per class, stacked to (c * m, m).
        bias: shape (c,).
        mean, scale: standardise structure and cue words, shape (d - e,) beside an embedding of e numbers.
        embedder: version of the embedder that the weights were trained on.
        vocabulary: the groups of cue words that the weights were trained on.
        version: hash of weights and vocabulary.
    """

    rows: npt.NDArray[np.int32]
    lexical: Singles
    dense: Singles
    forms: Singles
    bias: Singles
    mean: Singles
    scale: Singles
    embedder: str
    vocabulary: Vocabulary
    version: str

    def labels(
        self, words: Sequence[Sequence[str]], embedding: Singles, structure: Singles, lexical: SparseRows
    ) -> list[tuple[str, str]]:
        """Domain and task of each text, from the views of them that analysis has made."""
        inputs = np.concatenate([embedding, structure, self.vocabulary.cues(words)], axis=1)
        shape = inputs[:, -len(self.mean) :]
        shape[:] = standardised(shape, self.mean, self.scale)
        # Stacked products, one per text: a single one for all would round by how many there are.
        rows, columns = inputs[:, None, :], inputs[:, :, None]
        both = np.matmul(rows, self.dense)[:, 0]
        turned = both[:, _CLASSES:, None]
        bent = np.matmul(np.matmul(self.forms, turned).reshape(len(words), _CLASSES, -1), turned)[:, :, 0]
        score = both[:, :_CLASSES] + self.bias
        score += bent / np.maximum(np.matmul(rows, columns)[:, 0], _TINY)
        score += self._by_words(lexical)
        return [
            (DOMAINS[domains.index(max(domains))], TASKS[tasks.index(max(tasks))])
            for row in score.tolist()
            for domains, tasks in [(row[: len(DOMAINS)], row[len(DOMAINS) :])]
        ]

    def _by_words(self, lexical: SparseRows) -> Singles:
        """What words and word pairs say, shape (n, c)."""
        weights = self.lexical.take(self.rows.take(lexical.indices), axis=0)
        starts = lexical.indptr[:-1]
        terms = lexical.indptr[1:] - starts
        if terms.all():
            return _damped_sums(weights, starts, terms)
        spoken = terms > 0  # a sum over nothing is not reduceat's to make
        out = np.zeros((len(terms), _CLASSES), dtype=np.float32)
        out[spoken] = _damped_sums(weights, starts[spoken], terms[spoken])
        return out


def _damped_sums(weights: Singles, starts: Ints, terms: Ints) -> Singles:
    """Sums of rows from every start on, over the root of how many they are."""
    sums: Singles = np.add.reduceat(weights, starts, axis=0)
    sums /= np.sqrt(terms, dtype=np.float32)[:, None]
    return sums


def standardised(shape: Singles, mean: Singles, scale: Singles) -> Singles:
    """Structure and cue words around zero, in steps of ``scale``, none further out than three deviations."""
    out: Singles = shape - mean
    out *= scale
    bound = 3.0 / len(mean) ** 0.5
    np.maximum(out, -bound, out=out)
    np.minimum(out, bound, out=out)
    return out


@cache
def bundled_classifier() -> Classifier:
    """The classifier that ships with the package, loaded once."""
    raw = files("equipoise.analysis").joinpath("data", WEIGHTS).read_bytes()
    return load_classifier(raw, bundled_vocabulary(), where=WEIGHTS)


def load_classifier(raw: bytes, vocabulary: Vocabulary, *, where: str) -> Classifier:
    """A classifier from the bytes of its npz file and the vocabulary that it was trained with.

    Raises:
        StateError: the file is no npz, or arrays are missing or of the wrong shape.
    """
    arrays = read_npz(raw, _ARRAYS, where=where)
    columns, lexical = arrays["columns"], arrays["lexical"]
    shape_inputs = len(STRUCTURE_NAMES) + 2 * len(vocabulary.names)
    turned = arrays["forms"].shape[-1] if arrays["forms"].ndim else 0
    shapes_agree = (
        columns.ndim == 1
        and ((columns >= 0) & (columns < WIDTH)).all()
        and lexical.shape == (len(columns), _CLASSES)
        and arrays["dense"].shape[1:] == (_CLASSES + turned,)
        and len(arrays["dense"]) > shape_inputs
        and arrays["forms"].shape == (_CLASSES * turned, turned)
        and arrays["bias"].shape == (_CLASSES,)
        and arrays["mean"].shape == arrays["scale"].shape == (shape_inputs,)
    )
    if not shapes_agree:
        raise StateError(f"{where}: weights have the wrong shape; train again with train_classifier.py")
    rows = np.zeros(WIDTH, dtype=np.int32)
    rows[columns] = np.arange(1, len(columns) + 1)
    weights = {name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in _SINGLES}
    unseen = np.zeros((1, _CLASSES), dtype=np.float32)
    return Classifier(
        rows=rows,
        lexical=np.concatenate([unseen, lexical], dtype=np.float32),
        **weights,
        embedder=str(arrays["embedder"]),
        vocabulary=vocabulary,
        version=hashlib.sha256(raw + vocabulary.text.encode()).hexdigest()[:16],
    )


def read_npz(raw: bytes, names: tuple[str, ...], *, where: str) -> Mapping[str, npt.NDArray[Any]]:
    """The named arrays of an npz file, never unpickling.

    Raises:
        StateError: the file cannot be read or lacks an array.
    """
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StateError(f"{where}: not a readable weights file ({type(error).__name__}); train it again") from error
