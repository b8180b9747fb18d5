"""The trained domain and task classifier: one linear layer over what analysis has already computed.

Three multinomial logistic models stand side by side: of the domain, of the task, and of *kinds*, the pairs of a
domain and a task. What makes a prompt creative is another thing in a request to write than in a question about
writing; the kinds can tell, the other two have more examples of every class. Their log probabilities are added.
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

from equipoise.analysis.structure import STRUCTURE_NAMES
from equipoise.analysis.vocabulary import Vocabulary, bundled_vocabulary
from equipoise.errors import StateError
from equipoise.types import DOMAINS, TASKS, Singles, SparseRows

WEIGHTS = "classifier.npz"
LEXICAL_WIDTH = 4096
_WEIGHTS = ("semantic", "shape", "lexical", "bias")
_CLASSES = len(DOMAINS) + len(TASKS)
# Keeps the logarithm of a vanishing probability finite.
_TINY = np.float32(1e-30)


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """The three models: the columns are ``DOMAINS``, then ``TASKS``, then k kinds.

    Attributes:
        dense: weights of embedding, structure and vocabulary cues, shape (d + s, 11 + k).
        lexical: weights of folded word and word-pair columns, shape (LEXICAL_WIDTH, 11 + k).
        bias: shape (11 + k,).
        member: one where a kind belongs to a domain or a task, shape (k, 11).
        embedder: version of the embedder that the weights were trained on.
        vocabulary: the groups of cue words that the weights were trained on.
        version: hash of weights and vocabulary.
    """

    dense: Singles
    lexical: Singles
    bias: Singles
    member: Singles
    embedder: str
    vocabulary: Vocabulary
    version: str

    def label(
        self, words: Sequence[str], embedding: Singles, structure: Singles, lexical: SparseRows
    ) -> tuple[str, str]:
        """Domain and task of one text, from the views of it that analysis has made."""
        score: Singles = np.concatenate([embedding, structure, self.vocabulary.cues(words)]).dot(self.dense)
        score += self.bias
        columns = folded(lexical)
        if len(columns):
            terms = np.add.reduce(self.lexical.take(columns, axis=0), axis=0)
            terms /= len(columns) ** 0.5
            score += terms
        kinds = score[_CLASSES:]
        kinds -= np.maximum.reduce(kinds)
        shares = np.exp(kinds).dot(self.member)
        shares += _TINY
        scores: list[float] = (score[:_CLASSES] + np.log(shares)).tolist()
        domains, tasks = scores[: len(DOMAINS)], scores[len(DOMAINS) :]
        return DOMAINS[domains.index(max(domains))], TASKS[tasks.index(max(tasks))]


def folded(lexical: SparseRows) -> npt.NDArray[np.int64]:
    """The columns of one lexical row, folded to ``LEXICAL_WIDTH``. The classifier weighs each 1/sqrt(number)."""
    return lexical.indices & (LEXICAL_WIDTH - 1)


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
    arrays = read_npz(raw, (*_WEIGHTS, "kinds", "embedder"), where=where)
    kinds = arrays["kinds"]
    columns = _CLASSES + len(kinds)
    shape_inputs = len(STRUCTURE_NAMES) + 2 * len(vocabulary.names)
    shapes_agree = (
        arrays["lexical"].shape == (LEXICAL_WIDTH, columns)
        and arrays["semantic"].shape[1:] == (columns,)
        and arrays["shape"].shape == (shape_inputs, columns)
        and arrays["bias"].shape == (columns,)
        and kinds.shape == (len(kinds), 2)
        and ((kinds >= 0) & (kinds < (len(DOMAINS), len(TASKS)))).all()
    )
    if not shapes_agree:
        raise StateError(f"{where}: weights have the wrong shape; train again with train_classifier.py")
    weights = {name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in ("lexical", "bias")}
    dense = np.concatenate([arrays["semantic"], arrays["shape"]], dtype=np.float32)
    version = hashlib.sha256(raw + vocabulary.text.encode()).hexdigest()[:16]
    member = np.zeros((len(kinds), _CLASSES), dtype=np.float32)
    rows = np.arange(len(kinds))
    member[rows, kinds[:, 0]] = member[rows, len(DOMAINS) + kinds[:, 1]] = 1.0
    return Classifier(
        **weights, dense=dense, member=member, embedder=str(arrays["embedder"]), vocabulary=vocabulary, version=version
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
