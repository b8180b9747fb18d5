"""The nouns. Frozen records and arrays; no behaviour beyond small accessors.

Shapes: n prompts, m models. Units are in the names: ``cost_usd``, ``latency_s``, ``input_tokens``.
Qualities are in [0, 1]. NaN in an array means "not known", never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.records import record
from equipoise.sparse import SparseRows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.object_]

Tier = Literal["premium", "standard", "budget", "local"]
Requirement = Literal["high", "medium", "low"]
Urgency = Literal["urgent", "normal", "batch"]
WireFormat = Literal["chat", "messages", "responses", "gemini", "embeddings"]

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


class Warm(NamedTuple):
    """The model that holds a conversation's beginning in its prompt cache.

    ``tokens`` of its input are expected to cost the cached price: staying is as much cheaper as it really is.
    ``also`` are models that were asked beside it, for an answer that was not returned.
    """

    model: str
    tokens: int
    also: tuple[Warm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to route, with what the caller said about it.

    ``text`` is what the routers see: the last user message. ``context_tokens`` counts what goes along with
    it (system prompt, earlier turns, tools, images): it fills the window and is paid for. Nothing that is
    remembered of a request serves one of another ``tenant``.
    """

    text: str
    constraints: Constraints = Constraints()
    quality_requirement: Requirement | None = None
    urgency: Urgency | None = None
    max_output_tokens: int | None = None
    user: str | None = None
    session: str | None = None
    context_tokens: int = 0
    warm: Warm | None = None
    tenant: str = ""


# ---------------------------------------------------------------- models and prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model's calls cost. Token prices are per million tokens.

    ``usd_per_call`` is added to every call. ``usd_per_compute_s`` prices the measured
    compute time of models that run on one's own machine. ``usd_per_1m_cache_write_1h`` is for what
    stays in the vendor's cache for an hour. Calls of more than ``long_from_tokens`` of input have the
    ``long`` prices; what else is charged for their input rises in proportion.
    """

    usd_per_1m_input: float = 0.0
    usd_per_1m_output: float = 0.0
    usd_per_1m_cached_input: float | None = None
    usd_per_1m_cache_write: float | None = None
    usd_per_1m_cache_write_1h: float | None = None
    long_from_tokens: float | None = None
    usd_per_1m_input_long: float | None = None
    usd_per_1m_output_long: float | None = None
    usd_per_call: float = 0.0
    usd_per_compute_s: float = 0.0
    source: str = "given"

    def cost_usd(
        self,
        input_tokens: float,
        output_tokens: float,
        *,
        cached_tokens: float = 0.0,
        cache_write_tokens: float = 0.0,
        cache_write_1h_tokens: float = 0.0,
        compute_s: float = 0.0,
    ) -> float:
        """Cost of one call. Cached and cache-writing tokens are part of ``input_tokens``, billed at their own price.

        Where the vendor names no price of its own for them, they cost what input costs; what is written for an hour
        is part of what is written, and costs the same where it has no price of its own.
        """
        plain = self.usd_per_1m_input
        cached_price = plain if self.usd_per_1m_cached_input is None else self.usd_per_1m_cached_input
        write_price = plain if self.usd_per_1m_cache_write is None else self.usd_per_1m_cache_write
        hour_price = write_price if self.usd_per_1m_cache_write_1h is None else self.usd_per_1m_cache_write_1h
        sent = (
            (input_tokens - cached_tokens - cache_write_tokens) * plain
            + cached_tokens * cached_price
            + (cache_write_tokens - cache_write_1h_tokens) * write_price
            + cache_write_1h_tokens * hour_price
        )
        output_price = self.usd_per_1m_output
        if self.long_from_tokens is not None and input_tokens > self.long_from_tokens:
            if self.usd_per_1m_input_long is not None and plain:
                sent *= self.usd_per_1m_input_long / plain
            output_price = output_price if self.usd_per_1m_output_long is None else self.usd_per_1m_output_long
        tokens = sent + output_tokens * output_price
        return tokens / 1e6 + self.usd_per_call + compute_s * self.usd_per_compute_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One place where a model can be called. Secrets are named by variable or file, never held.

    ``rpm`` and ``tpm`` limit the requests and tokens that are sent here in a minute.
    """

    provider: str
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    model_id: str | None = None
    region: str | None = None
    weight: float = 1.0
    rpm: int | None = None
    tpm: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be chosen. Unknown facts are None; an unknown price is an error only when it is needed.

    ``availability`` and ``rate_limit_rpm`` are what is published, and change nothing here: a deployment's own ``rpm``
    limits what is sent there.
    """

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


@record(frozen=True, slots=True, kw_only=True)
class Features:
    """What analysis found in one prompt. Fields that no reader needs are left empty.

    Attributes:
        text: the analysed window of the prompt (bounded; the ends of a long prompt).
        words: number of words of the whole prompt.
        input_tokens: tokens of the whole prompt, by a real tokenizer, and of what goes along with it.
        output_tokens: predicted length of the answer.
        linguistic: the ten linguistic features, shape (10,).
        structure: structural features for learned routers, shape (s,).
        form: how the question is posed: options, numbers, who acts; shape (f,).
        embedding: unit-length semantic vector, shape (d,).
        lexical: hashed word and word-pair counts, one sparse row.
        warm: the model that holds a part of the input in its prompt cache.
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
    form: Singles | None = None
    embedding: Singles | None = None
    lexical: SparseRows | None = None
    warm: Warm | None = None


@record(frozen=True, slots=True, kw_only=True)
class FeatureBatch:
    """Features of n prompts, as columns. The same names as ``Features``; ``warm`` is empty where no prompt has one."""

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
    form: Singles | None = None
    embedding: Singles | None = None
    lexical: SparseRows | None = None
    warm: tuple[Warm | None, ...] = ()

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
            form=None if f.form is None else f.form[None],
            embedding=None if f.embedding is None else f.embedding[None],
            lexical=f.lexical,
            warm=() if f.warm is None else (f.warm,),
        )

    @staticmethod
    def stack(rows: Sequence[Features]) -> FeatureBatch:
        """A batch of many rows that all carry the same optional features."""
        if len(rows) == 1:
            return FeatureBatch.one(rows[0])
        columns: dict[str, Any] = dict.fromkeys(_COLUMNS, ())
        columns.update(zip(_COLUMNS, zip(*map(_values, rows), strict=True), strict=False))
        columns |= {k: np.array(columns[k], dtype=float) for k in _NUMERIC}
        columns |= {k: np.array(columns[k], dtype=object) for k in _TEXT}
        columns |= {k: _stacked(columns[k], np.array) for k in _ARRAYS}
        columns["lexical"] = _stacked(columns["lexical"], SparseRows.stack)
        if not any(columns["warm"]):
            columns["warm"] = ()
        return FeatureBatch(**columns)

    def row(self, i: int) -> Features:
        """One row by itself."""
        named: dict[str, Any] = {name: getattr(self, name)[i] for name in (*_NUMERIC, *_TEXT)}
        for name in _ARRAYS:
            column = getattr(self, name)
            named[name] = None if column is None else column[i]
        lexical = None if self.lexical is None else self.lexical.row(i)
        return Features(**named, lexical=lexical, warm=self.warm[i] if self.warm else None)

    def take(self, rows: Ints) -> FeatureBatch:
        """The given rows, in that order."""

        def pick(name: str) -> Any:
            value = getattr(self, name)
            return None if value is None else value[rows]

        names = (*_NUMERIC, *_TEXT, *_ARRAYS)
        lexical = None if self.lexical is None else self.lexical.take(rows)
        warm = tuple(self.warm[i] for i in np.arange(len(self))[rows]) if self.warm else ()
        return FeatureBatch(**{k: pick(k) for k in names}, lexical=lexical, warm=warm)


_NUMERIC = ("words", "input_tokens", "output_tokens", "complexity", "difficulty")
_TEXT = ("text", "domain", "task_type", "quality_requirement", "urgency")
_ARRAYS = ("linguistic", "structure", "form", "embedding")
_COLUMNS = (*_NUMERIC, *_TEXT, *_ARRAYS, "lexical", "warm")
_values = attrgetter(*_COLUMNS)


def _stacked(rows: Sequence[Any], join: Callable[[Sequence[Any]], Any]) -> Any:
    return join(rows) if rows and rows[0] is not None else None


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
    (frontier area); quality estimates themselves must not depend on prices. ``datasets`` numbers the
    data set that every prompt came from: it is known of training prompts, never of a prompt to be routed.
    """

    features: FeatureBatch
    models: tuple[str, ...]
    quality: Floats
    groups: Ints
    cost_usd: Floats | None = None
    input_tokens: Floats | None = None
    output_tokens: Floats | None = None
    latency_s: Floats | None = None
    datasets: Ints | None = None

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Ints) -> Outcomes:
        """The given prompts, in that order."""
        datasets = None if self.datasets is None else self.datasets[rows]
        measured = self.mapped(lambda values: values[rows])
        return replace(measured, features=self.features.take(rows), groups=self.groups[rows], datasets=datasets)

    def mapped(self, change: Callable[[Floats], Floats]) -> Outcomes:
        """With all that was measured, of shape (n, m), changed in one way."""
        given = {name: getattr(self, name) for name in _MEASURED}
        changed: dict[str, Any] = {name: change(values) for name, values in given.items() if values is not None}
        return replace(self, **changed)


_MEASURED = ("quality", "cost_usd", "input_tokens", "output_tokens", "latency_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Preferences between the answers of two models: what arena-like data train routers on.

    Attributes:
        features: of the n distinct prompts.
        groups: of prompts that must stay on one side of a split, shape (n,).
        prompt: row of every vote's prompt, shape (v,).
        first, second: columns of the two models, shape (v,).
        score: 1 where ``first`` was preferred, 0 where ``second`` was, one half for a tie, shape (v,).
    """

    features: FeatureBatch
    models: tuple[str, ...]
    groups: Ints
    prompt: Ints
    first: Ints
    second: Ints
    score: Floats

    def __len__(self) -> int:
        return len(self.score)


# ---------------------------------------------------------------- decisions


@record(frozen=True, slots=True, kw_only=True)
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
class Step:
    """One step of a cascade: ask a model, then stop if the answers seen so far pass a test.

    Attributes:
        samples: answers to ask for.
        test: name of the acceptance test that scores the best answer seen so far, in [0, 1].
        accept_at: the score from which that answer is returned; None takes it whatever it is.
    """

    model: str
    samples: int = 1
    test: str = ""
    accept_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to execute: the model to call, then the ones to fall back to if it fails, in order.

    ``steps`` is empty for single-model routing. A cascade lists its steps, the first of them with ``model``.
    Where ``adaptive``, only the first step is known: the policy names the next one once it has seen the answers.
    """

    model: str
    fallback: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    adaptive: bool = False


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
