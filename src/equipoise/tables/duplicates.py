"""Near-duplicate prompts: the same text but for case, punctuation and spaces, or for a few words.

Numbers and arithmetic signs matter: "12 + 7" and "12 - 7" are different prompts. Work grows with the
number of prompts, not with its square: MinHash bands block the candidates, exact counts decide.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from equipoise.types import Ints, Strings

Hashes = npt.NDArray[np.uint64]

BANDS, BAND = 10, 4
WINDOW = 8
CHUNK = 2048
HEAD_CHARS, TAIL_CHARS = 12_000, 4_000
_PUNCTUATION = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])|[^\w+*/=<>^%$-]+|_+")
_NUMBER = re.compile(r"\d+")


def near_duplicate_groups(prompts: Sequence[str] | npt.NDArray[np.object_], *, similarity: float = 0.9) -> Ints:
    """For every prompt the number of its group, counted from 0 in order of first appearance.

    Args:
        prompts: the texts.
        similarity: the share of words and word pairs that two prompts must have in common (Jaccard).
    """
    folded = [fold(text) for text in prompts]
    place: dict[str, int] = {}
    same = np.fromiter((place.setdefault(text, len(place)) for text in folded), dtype=np.int64, count=len(folded))
    texts = list(place)
    if len(texts) < 2:
        return same
    pairs = _similar_pairs(texts, similarity)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(texts),) * 2)
    _, label = connected_components(graph, directed=False)
    return _renumbered(label.astype(np.int64)[same])


def merge_groups(*labellings: Sequence[object] | Strings | Ints) -> Ints:
    """Groups that join whatever any of the labellings joins, numbered 0 to k-1.

    Each labelling gives every prompt a label; prompts that share a label in any of them end in one group.
    """
    n = len(labellings[0])
    codes = [np.unique(np.asarray(labels), return_inverse=True)[1] for labels in labellings]
    offsets = n + np.concatenate([[0], np.cumsum([c.max() + 1 for c in codes])]).astype(np.int64)
    left = np.tile(np.arange(n), len(codes))
    right = np.concatenate([c + o for c, o in zip(codes, offsets, strict=False)])
    links = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(offsets[-1], offsets[-1]))
    found = connected_components(links, directed=False)[1][:n]
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def tied(groups: Strings, prompts: Strings) -> Strings:
    """Groups that join near duplicates, too, named such that folds are dealt as in an evaluation of the same rows."""
    merged = merge_groups(groups, near_duplicate_groups(prompts))
    return np.array([f"{group:08d}" for group in merged], dtype=object)


def fold(text: str) -> str:
    """Lower case, one space for every run of spaces and punctuation. Arithmetic signs stay."""
    folded = " ".join(_PUNCTUATION.sub(" ", text.lower()).split())
    return folded or text


def _renumbered(labels: Ints) -> Ints:
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    out: Ints = rank[place]
    return out


def _similar_pairs(texts: Sequence[str], similarity: float) -> Ints:
    """Pairs of texts with the same numbers in the same order and enough words and word pairs in common."""
    known: dict[str, int] = {}
    shingles = [_shingles(texts[at : at + CHUNK], known) for at in range(0, len(texts), CHUNK)]
    signature = np.concatenate([_signature(values, starts) for values, starts in shingles])
    numbers = np.array([hash_text(" ".join(_NUMBER.findall(text))) for text in texts], dtype=np.uint64)
    pairs = _candidates(signature, numbers)
    if len(pairs):
        agree = np.concatenate(
            [
                (signature[part[:, 0]] == signature[part[:, 1]]).mean(axis=1)
                for part in np.array_split(pairs, len(pairs) // 50_000 + 1)
            ]
        )
        pairs = pairs[agree >= similarity - 0.15]
    return pairs[_jaccard(shingles, pairs) >= similarity] if len(pairs) else pairs


def hash_text(text: str) -> int:
    """A 64-bit hash of a text that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _shingles(texts: Sequence[str], known: dict[str, int]) -> tuple[Hashes, Ints]:
    """Hashes of the words and word pairs of each text, each once, end to end, and where each text starts.

    ``known`` remembers the hashes of words.
    """
    words: list[str] = []
    counts = np.empty(len(texts), dtype=np.int64)
    for i, text in enumerate(texts):
        window = text if len(text) <= HEAD_CHARS + TAIL_CHARS else text[:HEAD_CHARS] + " " + text[-TAIL_CHARS:]
        found = window.split() or [window]
        counts[i] = len(found)
        words.extend(found)
    for word in set(words):
        if word not in known:
            known[word] = hash_text(word)
    single = np.fromiter((known[word] for word in words), dtype=np.uint64, count=len(words))
    owner = np.repeat(np.arange(len(texts)), counts)
    within = owner[1:] == owner[:-1]
    pair = (single[:-1] * np.uint64(3) + single[1:])[within]
    values, owners = _mix(np.concatenate([single, pair])), np.concatenate([owner, owner[1:][within]])
    order = np.lexsort((values, owners))
    values, owners = values[order], owners[order]
    fresh = np.ones(len(values), dtype=bool)
    fresh[1:] = (values[1:] != values[:-1]) | (owners[1:] != owners[:-1])
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners[fresh], minlength=len(texts)))])
    return values[fresh], starts


def _mix(values: Hashes) -> Hashes:
    """Spread the bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signature(values: Hashes, starts: Ints) -> Hashes:
    """MinHash: for each of many hash functions the least hash of each text."""
    columns = []
    for seed in range(BANDS * BAND):
        salt = np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        columns.append(np.minimum.reduceat(_mix(values ^ salt), starts[:-1]))
    return np.stack(columns, axis=1)


def _candidates(signature: Hashes, numbers: Hashes) -> Ints:
    """Pairs that agree in a whole band; in a bucket each text is compared with a few that sort next to it."""
    n = len(signature)
    found = []
    for band in range(BANDS):
        columns = signature[:, band * BAND : (band + 1) * BAND]
        key = numbers.copy()
        for j in range(BAND):
            key = _mix(key * np.uint64(31) + columns[:, j])
        order = np.lexsort((signature[:, (band + 1) * BAND % signature.shape[1]], key))
        for step in range(1, min(WINDOW, n - 1) + 1):
            left, right = order[:-step], order[step:]
            hit = key[left] == key[right]
            found.append(np.stack([np.minimum(left, right)[hit], np.maximum(left, right)[hit]], axis=1))
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    codes = np.unique(pairs[:, 0] * n + pairs[:, 1])
    return np.stack([codes // n, codes % n], axis=1)


def _jaccard(shingles: Sequence[tuple[Hashes, Ints]], pairs: Ints) -> npt.NDArray[np.float64]:
    """The exact share of shingles in common, for every pair. Texts of no pair are not looked at: most are of none."""
    texts, places = np.unique(pairs, return_inverse=True)
    pairs = places.reshape(pairs.shape)
    own = []
    for text in map(int, texts):
        values, starts = shingles[text // CHUNK]
        own.append(values[starts[text % CHUNK] : starts[text % CHUNK + 1]])
    lengths = np.array([len(values) for values in own])
    ids = np.unique(np.concatenate(own), return_inverse=True)[1]
    rows = np.concatenate([[0], np.cumsum(lengths)])
    matrix = csr_array((np.ones(len(ids), dtype=np.int32), ids, rows), shape=(len(texts), int(ids.max()) + 1))
    shared = np.concatenate(
        [
            np.asarray(matrix[part[:, 0]].multiply(matrix[part[:, 1]]).sum(axis=1)).ravel()
            for part in np.array_split(pairs, len(pairs) // 4_000 + 1)
        ]
    )
    union = lengths[pairs[:, 0]] + lengths[pairs[:, 1]] - shared
    return np.asarray(shared / union, dtype=np.float64)
