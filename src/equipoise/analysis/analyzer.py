"""Request -> Features: the first step of the walk. Pure: the same request gives the same features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

from equipoise.analysis import keywords
from equipoise.analysis.classifier import bundled_classifier
from equipoise.analysis.embedders import embed_one, static_embedder
from equipoise.analysis.form import form_features
from equipoise.analysis.lexical import lexical_row
from equipoise.analysis.linguistic import linguistic_features
from equipoise.analysis.output_length import bounded, bundled_output_length
from equipoise.analysis.structure import Sizes, structure_features
from equipoise.analysis.tokens import TOKENS_PER_WORD, count_tokens, guess_tokens
from equipoise.analysis.window import clean, count_words, window, word_tokens
from equipoise.contracts import Embedder
from equipoise.errors import UnknownName
from equipoise.types import FeatureBatch, Features, Request, Singles, SparseRows

ALL = frozenset({"embedding", "lexical", "structure", "form", "linguistic"})

# Raise it with every change of code that changes a feature; a test holds the features of fixed prompts.
_FORMAT = "analysis-1"


@dataclass(frozen=True, kw_only=True)
class Analyzer:
    """Finds out what a prompt is about, how long, how hard and how urgent it is.

    Attributes:
        embedder: what makes ``Features.embedding``; None means the bundled static vectors.
        domain: domain and task by the trained classifier, or by keywords.
        tokens: input tokens by the o200k tokenizer, or 1.3 per word.
        output_length: answer length by the trained model (the ratio rule while none is bundled), or by
            a ratio per task.
    """

    embedder: Embedder | None = None
    domain: Literal["learned", "keywords"] = "learned"
    tokens: Literal["o200k", "words"] = "o200k"
    output_length: Literal["learned", "ratio"] = "learned"

    @classmethod
    def notebook(cls) -> Self:
        """Keywords and ratios only: transparent rules, no trained part."""
        return cls(domain="keywords", tokens="words", output_length="ratio")

    def analyze(self, request: Request, needs: frozenset[str] = ALL) -> Features:
        """Everything that ``needs`` and the plain fields of ``Features`` ask for.

        Args:
            request: the prompt; what it states (quality, urgency, output limit) goes before what is guessed.
            needs: which of ``embedding``, ``lexical``, ``structure``, ``form``, ``linguistic`` to fill.

        Raises:
            UnknownName: ``needs`` holds another name.
        """
        _check(needs)
        return self._row(request, needs, None)

    def analyze_batch(self, requests: Sequence[Request | str], needs: frozenset[str] = ALL) -> FeatureBatch:
        """Many prompts at once; every row is bit for bit what ``analyze`` gives.

        Raises:
            UnknownName: ``needs`` holds another name.
        """
        _check(needs)
        full = [Request(text=r) if isinstance(r, str) else r for r in requests]
        if "embedding" not in needs or not full:
            return FeatureBatch.stack([self._row(r, needs, None) for r in full])
        vectors = self._embedder.embed([window(clean(r.text)) for r in full])
        return FeatureBatch.stack([self._row(r, needs, v) for r, v in zip(full, vectors, strict=True)])

    @cached_property
    def version(self) -> str:
        """Hash of everything that changes features: rules, options and the weights in use."""
        parts = [_FORMAT, self.domain, self.tokens, self.output_length, self._embedder.version]
        if self.domain == "learned":
            parts += [bundled_classifier().version, bundled_classifier().embedder]
        if self.output_length == "learned" and (model := bundled_output_length()) is not None:
            parts += [model.version, model.embedder]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def _embedder(self) -> Embedder:
        return static_embedder() if self.embedder is None else self.embedder

    def _row(self, request: Request, needs: frozenset[str], vector: Singles | None) -> Features:
        text = clean(request.text)
        words = count_words(text)
        tokens = count_tokens(text) if self.tokens == "o200k" else guess_tokens(words)
        view = _View(self, window(text), Sizes(words, len(text), tokens), vector)
        found = keywords.find_keywords(view.words)
        domain, task = found.domain, found.task_type
        if self.domain == "learned":
            domain, task = bundled_classifier().label(view.words, view.static, view.structure, view.lexical)
        complexity = keywords.complexity(found.complexity_points, words)
        return Features(
            text=view.text,
            words=words,
            input_tokens=tokens + request.context_tokens,
            output_tokens=self._output_tokens(request, view, task),
            domain=domain,
            task_type=task,
            complexity=complexity,
            difficulty=keywords.difficulty(complexity, domain, words),
            quality_requirement=request.quality_requirement or found.quality_requirement,
            urgency=request.urgency or found.urgency,
            linguistic=linguistic_features(view.text, words, len(text)) if "linguistic" in needs else None,
            structure=view.structure if "structure" in needs else None,
            form=form_features(view.text, view.words) if "form" in needs else None,
            embedding=view.embedding if "embedding" in needs else None,
            lexical=view.lexical if "lexical" in needs else None,
            warm=request.warm,
        )

    def _output_tokens(self, request: Request, view: _View, task: str) -> float:
        model = bundled_output_length() if self.output_length == "learned" else None
        if model is not None:
            expected = model.predict(view.structure, view.static)
        elif self.tokens == "words":
            expected = bounded(int(view.size.words * keywords.output_ratio(task)) * TOKENS_PER_WORD)
        else:
            expected = bounded(view.size.tokens * keywords.output_ratio(task))
        limit = request.max_output_tokens
        return expected if limit is None else min(expected, float(limit))


class _View:
    """One prompt while it is analysed: each costly view of it is made at most once, when first asked for."""

    __slots__ = ("_analyzer", "_embedding", "_lexical", "_static", "_structure", "size", "text", "words")

    def __init__(self, analyzer: Analyzer, text: str, size: Sizes, embedding: Singles | None) -> None:
        self.text, self.size = text, size
        self.words = word_tokens(text)
        self._analyzer = analyzer
        self._embedding = embedding
        self._static: Singles | None = None
        self._structure: Singles | None = None
        self._lexical: SparseRows | None = None

    @property
    def embedding(self) -> Singles:
        if self._embedding is None:
            self._embedding = embed_one(self._analyzer._embedder, self.text)
        return self._embedding

    @property
    def static(self) -> Singles:
        """The bundled static vector, which the trained parts read whatever the embedder is."""
        if self._analyzer._embedder is static_embedder():
            return self.embedding
        if self._static is None:
            self._static = static_embedder().embed_one(self.text)
        return self._static

    @property
    def structure(self) -> Singles:
        if self._structure is None:
            self._structure = structure_features(self.text, self.words, self.size)
        return self._structure

    @property
    def lexical(self) -> SparseRows:
        if self._lexical is None:
            self._lexical = lexical_row(self.words)
        return self._lexical


def _check(needs: frozenset[str]) -> None:
    unknown = needs - ALL
    if unknown:
        raise UnknownName("feature", min(unknown), ALL)
