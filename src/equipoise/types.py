"""The nouns. Frozen records and arrays; no behaviour beyond small accessors.

Shapes: n prompts, m models. Units are in the names: ``cost_usd``, ``latency_s``, ``input_tokens``.
Qualities are in [0, 1]. NaN in an array means "not known", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.object_]

Tier = Literal["premium", "standard", "budget", "local"]
Requirement = Literal["high", "medium", "low"]
Urgency = Literal["urgent", "normal", "batch"]

DOMAINS = ("code", "analysis", "creative", "reasoning", "general")
TASKS = ("generation", "analysis", "explanation", "problem_solving", "transformation", "general")


# ---------------------------------------------------------------- what comes in


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Hard limits of one request. None means no limit."""

    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    min_quality: float | None = None
    region: str | None = None
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to route, with what the caller said about it."""

    text: str
    constraints: Constraints = Constraints()
    quality_requirement: Requirement | None = None
    urgency: Urgency | None = None
    max_output_tokens: int | None = None
    user: str | None = None
    session: str | None = None


# ---------------------------------------------------------------- models and prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model's calls cost. Token prices are per million tokens.

    ``usd_per_call`` is added to every call. ``usd_per_compute_s`` prices the measured
    compute time of models that run on one's own machine.
    """

    usd_per_1m_input: float = 0.0
    usd_per_1m_output: float = 0.0
    usd_per_1m_cached_input: float | None = None
    usd_per_call: float = 0.0
    usd_per_compute_s: float = 0.0
    source: str = "given"

    def cost_usd(
        self, input_tokens: float, output_tokens: float, *, cached_tokens: float = 0.0, compute_s: float = 0.0
    ) -> float:
        """Cost of one call. ``cached_tokens`` are part of ``input_tokens`` and billed at the cached price."""
        cached_price = self.usd_per_1m_input if self.usd_per_1m_cached_input is None else self.usd_per_1m_cached_input
        tokens = (
            (input_tokens - cached_tokens) * self.usd_per_1m_input
            + cached_tokens * cached_price
            + output_tokens * self.usd_per_1m_output
        )
        return tokens / 1e6 + self.usd_per_call + compute_s * self.usd_per_compute_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One place where a model can be called. Secrets are named by variable, never held."""

    provider: str
    base_url: str | None = None
    api_key_env: str | None = None
    model_id: str | None = None
    region: str | None = None
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be chosen. Unknown facts are None; an unknown price is an error only when it is needed."""

    name: str
    provider: str = "unknown"
    price: Price | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    tier: Tier | None = None
    specializations: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    latency_s: float | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    availability: float = 0.99
    rate_limit_rpm: int | None = None
    deployments: tuple[Deployment, ...] = ()


# ---------------------------------------------------------------- analysis


@dataclass(frozen=True, slots=True)
class SparseRows:
    """n sparse rows over ``width`` columns, in compressed row form."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    values: Singles
    width: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: Ints) -> SparseRows:
        """The given rows, in that order."""
        starts, ends = self.indptr[rows], self.indptr[rows + 1]
        lengths = ends - starts
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        where = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        return SparseRows(indptr, self.indices[where], self.values[where], self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What analysis found in one prompt. Fields that no reader needs are left empty.

    Attributes:
        text: the analysed window of the prompt (bounded; the ends of a long prompt).
        words: number of words of the whole prompt.
        input_tokens: tokens of the whole prompt, by a real tokenizer.
        output_tokens: predicted length of the answer.
        linguistic: the ten linguistic features, shape (10,).
        structure: structural features for learned routers, shape (s,).
        embedding: unit-length semantic vector, shape (d,).
        lexical: hashed word and word-pair counts, one sparse row.
    """

    text: str
    words: int = 0
    input_tokens: float = 0
    output_tokens: float = 0.0
    domain: str = "general"
    task_type: str = "general"
    complexity: float = 0.0
    difficulty: float = 0.0
    quality_requirement: str = "medium"
    urgency: str = "normal"
    linguistic: Floats | None = None
    structure: Singles | None = None
    embedding: Singles | None = None
    lexical: SparseRows | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBatch:
    """Features of n prompts, as columns. The same names as ``Features``."""

    text: Strings
    words: Floats
    input_tokens: Floats
    output_tokens: Floats
    domain: Strings
    task_type: Strings
    complexity: Floats
    difficulty: Floats
    quality_requirement: Strings
    urgency: Strings
    linguistic: Floats | None = None
    structure: Singles | None = None
    embedding: Singles | None = None
    lexical: SparseRows | None = None

    def __len__(self) -> int:
        return len(self.text)

    @staticmethod
    def one(f: Features) -> FeatureBatch:
        """A batch of one row."""
        return FeatureBatch(
            text=np.array([f.text], dtype=object),
            words=np.array([f.words], dtype=float),
            input_tokens=np.array([f.input_tokens], dtype=float),
            output_tokens=np.array([f.output_tokens], dtype=float),
            domain=np.array([f.domain], dtype=object),
            task_type=np.array([f.task_type], dtype=object),
            complexity=np.array([f.complexity]),
            difficulty=np.array([f.difficulty]),
            quality_requirement=np.array([f.quality_requirement], dtype=object),
            urgency=np.array([f.urgency], dtype=object),
            linguistic=None if f.linguistic is None else f.linguistic[None],
            structure=None if f.structure is None else f.structure[None],
            embedding=None if f.embedding is None else f.embedding[None],
            lexical=f.lexical,
        )

    @staticmethod
    def stack(rows: Sequence[Features]) -> FeatureBatch:
        """A batch of many rows that all carry the same optional features."""

        def column(name: str) -> Any:
            return [getattr(f, name) for f in rows]

        def optional(name: str) -> Any:
            values = column(name)
            return None if not values or values[0] is None else np.stack(values)

        lexical = None
        if rows and rows[0].lexical is not None:
            parts = [f.lexical for f in rows if f.lexical is not None]
            lengths = [len(p.indices) for p in parts]
            lexical = SparseRows(
                np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
                np.concatenate([p.indices for p in parts]),
                np.concatenate([p.values for p in parts]),
                parts[0].width,
            )
        columns: dict[str, Any] = {k: np.array(column(k), dtype=float) for k in _NUMERIC}
        columns |= {k: _objects(column(k)) for k in _TEXT}
        columns |= {k: optional(k) for k in ("linguistic", "structure", "embedding")}
        return FeatureBatch(**columns, lexical=lexical)

    def take(self, rows: Ints) -> FeatureBatch:
        """The given rows, in that order."""

        def pick(name: str) -> Any:
            value = getattr(self, name)
            return None if value is None else value[rows]

        names = (*_NUMERIC, *_TEXT, "linguistic", "structure", "embedding")
        lexical = None if self.lexical is None else self.lexical.take(rows)
        return FeatureBatch(**{k: pick(k) for k in names}, lexical=lexical)


_NUMERIC = ("words", "input_tokens", "output_tokens", "complexity", "difficulty")
_TEXT = ("text", "domain", "task_type", "quality_requirement", "urgency")


def _objects(values: Sequence[str]) -> Strings:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


# ---------------------------------------------------------------- estimates


class Estimate(NamedTuple):
    """A mean with the standard deviation of our uncertainty about it."""

    mean: float
    std: float


class Estimates(NamedTuple):
    """Quality estimates for n prompts and m models; NaN where a router knows nothing of a model."""

    mean: Floats
    std: Floats


class Expected(NamedTuple):
    """Expected cost, latency and answer length for n prompts and m models."""

    cost_usd: Floats
    latency_s: Floats
    output_tokens: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What was measured: the training data of routers and of cost and latency models.

    ``cost_usd`` is there so that hyper-parameters can be chosen by the decision they lead to
    (frontier area); quality estimates themselves must not depend on prices.
    """

    features: FeatureBatch
    models: tuple[str, ...]
    quality: Floats
    groups: Ints
    cost_usd: Floats | None = None
    input_tokens: Floats | None = None
    output_tokens: Floats | None = None
    latency_s: Floats | None = None

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Ints) -> Outcomes:
        """The given prompts, in that order."""

        def pick(value: Floats | None) -> Floats | None:
            return None if value is None else value[rows]

        return Outcomes(
            features=self.features.take(rows),
            models=self.models,
            quality=self.quality[rows],
            groups=self.groups[rows],
            cost_usd=pick(self.cost_usd),
            input_tokens=pick(self.input_tokens),
            output_tokens=pick(self.output_tokens),
            latency_s=pick(self.latency_s),
        )


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model as it was considered for one request."""

    model: str
    quality: Estimate | None
    cost_usd: float | None
    latency_s: float | None
    output_tokens: float | None = None
    utility: float | None = None
    probability: float = 0.0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to execute: the model to call, then the ones to fall back to, in order."""

    model: str
    fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The one record that log, dashboard, replay, off-policy evaluation and learning read.

    Attributes:
        id: unique identifier, given by the caller of the pure function.
        draw: the uniform number in [0, 1) that picked among the probabilities, for replay.
        candidates: every model considered, refused ones with their reason.
        features: the readable part of the analysis.
        versions: of router, policy, prices and package.
    """

    id: str
    plan: Plan
    confidence: float
    method: str
    reasons: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    constraints: Constraints
    features: Mapping[str, Any]
    draw: float
    versions: Mapping[str, str]

    @property
    def model(self) -> str:
        """The selected model."""
        return self.plan.model

    @property
    def selected(self) -> Candidate:
        """The selected candidate with its estimates."""
        return next(c for c in self.candidates if c.model == self.plan.model)

    @property
    def alternatives(self) -> tuple[Candidate, ...]:
        """The candidates that were not selected and not refused, best first."""
        rest = [c for c in self.candidates if c.refused is None and c.model != self.plan.model]
        return tuple(sorted(rest, key=lambda c: -(c.utility if c.utility is not None else float("-inf"))))


@dataclass(frozen=True, slots=True)
class State:
    """Learned state of a router or estimator: arrays and JSON, never pickle."""

    arrays: Mapping[str, npt.NDArray[Any]]
    meta: Mapping[str, Any]
