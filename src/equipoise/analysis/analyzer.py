"""Request -> Features: the first step of the walk. Pure: the same request gives the same features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np

from equipoise.analysis import keywords
from equipoise.analysis.classifier import bundled_classifier
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.form import form_features
from equipoise.analysis.lexical import lexical_rows
from equipoise.analysis.linguistic import linguistic_features
from equipoise.analysis.output_length import bounded, bundled_output_length
from equipoise.analysis.structure import Sizes, structure_features
from equipoise.analysis.tokens import TOKENS_PER_WORD, count_tokens, guess_tokens
from equipoise.analysis.window import clean, count_words, window, word_tokens
from equipoise.contracts import Embedder
from equipoise.errors import ContractError, UnknownName
from equipoise.sparse import SparseRows
from equipoise.types import FeatureBatch, Features, Floats, Request, Singles

ALL = frozenset({"embedding", "lexical", "structure", "form", "linguistic"})

# Bounds the memory that a table of many long prompts takes.
_AT_ONCE = 64
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
        return self.rows([request], needs)[0]

    def rows(self, requests: Sequence[Request], needs: frozenset[str] = ALL) -> list[Features]:
        """Many prompts at once, which takes less time; every row is bit for bit what ``analyze`` gives.

        Raises:
            UnknownName: ``needs`` holds another name.
        """
        found = self.texts([request.text for request in requests], needs)
        return list(map(as_asked, found, requests))

    def texts(self, texts: Sequence[str], needs: frozenset[str] = ALL) -> list[Features]:
        """What is found in prompts by themselves, whatever was said about them.

        Raises:
            UnknownName: ``needs`` holds another name.
        """
        unknown = needs - ALL
        if unknown:
            raise UnknownName("feature", min(unknown), ALL)
        parts = [texts[i : i + _AT_ONCE] for i in range(0, len(texts), _AT_ONCE)]
        return [row for part in parts for row in _Analysis(self, part).rows(needs)]

    def analyze_batch(self, requests: Sequence[Request | str], needs: frozenset[str] = ALL) -> FeatureBatch:
        """The same as columns.

        Raises:
            UnknownName: ``needs`` holds another name.
        """
        full = [Request(text=r) if isinstance(r, str) else r for r in requests]
        return FeatureBatch.stack(self.rows(full, needs))

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


def as_asked(found: Features, request: Request) -> Features:
    """What was found in a request's text, and what was said about it: that goes before what is guessed."""
    if request.max_output_tokens is None and request.warm is None and not request.context_tokens:
        if request.quality_requirement is None and request.urgency is None:
            return found
    most = request.max_output_tokens
    return replace(
        found,
        input_tokens=found.input_tokens + request.context_tokens,
        output_tokens=found.output_tokens if most is None else min(found.output_tokens, float(most)),
        quality_requirement=request.quality_requirement or found.quality_requirement,
        urgency=request.urgency or found.urgency,
        warm=request.warm,
    )


class _Analysis:
    """Some prompts while they are analysed.

    Step by step takes less time than prompt by prompt: the code of a step and what it reads stay at hand. Each costly
    view of the prompts is made at most once, when first asked for.
    """

    def __init__(self, analyzer: Analyzer, texts: Sequence[str]) -> None:
        self._analyzer = analyzer
        whole = list(map(clean, texts))
        self.texts = [window(text) for text in whole]
        self.words = [word_tokens(text) for text in self.texts]
        self.sizes = [self._size(text) for text in whole]

    def _size(self, text: str) -> Sizes:
        words = count_words(text)
        return Sizes(words, len(text), count_tokens(text) if self._analyzer.tokens == "o200k" else guess_tokens(words))

    @cached_property
    def embedding(self) -> Singles:
        embedder = self._analyzer._embedder
        vectors = np.asarray(embedder.embed(self.texts), dtype=np.float32)
        if vectors.shape != (wanted := (len(self.texts), embedder.dimension)):
            raise ContractError(f"embedder '{embedder.version}' gives vectors of shape {vectors.shape}, not {wanted}")
        return vectors

    @cached_property
    def static(self) -> Singles:
        """The bundled static vectors, which the trained parts read whatever the embedder is."""
        bundled = static_embedder()
        return self.embedding if self._analyzer._embedder is bundled else bundled.embed(self.texts)

    @cached_property
    def structure(self) -> Singles:
        return structure_features(self.texts, self.words, self.sizes)

    @cached_property
    def lexical(self) -> SparseRows:
        return lexical_rows(self.words)

    @property
    def form(self) -> list[Singles]:
        return list(map(form_features, self.texts, self.words))

    @property
    def linguistic(self) -> list[Floats]:
        sizes = zip(self.texts, self.sizes, strict=True)
        return [linguistic_features(text, size.words, size.characters) for text, size in sizes]

    def rows(self, needs: frozenset[str]) -> list[Features]:
        """What ``needs`` and the plain fields ask for."""
        found = [keywords.find_keywords(words) for words in self.words]
        labels = [(f.domain, f.task_type) for f in found]
        if self._analyzer.domain == "learned":
            labels = bundled_classifier().labels(self.words, self.static, self.structure, self.lexical)
        output = self._output_tokens([task for _, task in labels])
        views = {need: getattr(self, need) for need in needs}
        if "lexical" in views:
            views["lexical"] = [self.lexical.row(i) for i in range(len(self.texts))]
        rows = []
        for i, (size, said) in enumerate(zip(self.sizes, found, strict=True)):
            complexity = keywords.complexity(said.complexity_points, size.words)
            domain, task = labels[i]
            row = Features(
                text=self.texts[i],
                words=size.words,
                input_tokens=size.tokens,
                output_tokens=output[i],
                domain=domain,
                task_type=task,
                complexity=complexity,
                difficulty=keywords.difficulty(complexity, domain, size.words),
                quality_requirement=said.quality_requirement,
                urgency=said.urgency,
                **{need: view[i] for need, view in views.items()},
            )
            rows.append(row)
        return rows

    def _output_tokens(self, tasks: Sequence[str]) -> list[float]:
        model = bundled_output_length() if self._analyzer.output_length == "learned" else None
        if model is not None:
            return list(map(model.predict, self.structure, self.static))
        return [bounded(self._by_ratio(size, task)) for size, task in zip(self.sizes, tasks, strict=True)]

    def _by_ratio(self, size: Sizes, task: str) -> float:
        ratio = keywords.output_ratio(task)
        return int(size.words * ratio) * TOKENS_PER_WORD if self._analyzer.tokens == "words" else size.tokens * ratio
