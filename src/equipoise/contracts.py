"""The verbs. What a router, a policy, an embedder, a cost model and a provider promise.

A router is a keyword-only dataclass: its fields are its parameters and its configuration schema,
the constructor only stores them, and what is learned lives apart (``state`` / ``restore``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np

from equipoise.errors import ContractError, InputError
from equipoise.records import record
from equipoise.types import (
    Bools,
    Deployment,
    Estimate,
    Estimates,
    Expected,
    FeatureBatch,
    Features,
    Floats,
    Ints,
    Model,
    Outcomes,
    Singles,
    State,
    Step,
    Votes,
    WireFormat,
)

if TYPE_CHECKING:
    from equipoise.wire import SseEvent

# By which sums and means may be off: they are rounded.
_ROUNDING = 1e-6


class Router(ABC):
    """Estimates the quality of every model on a prompt. It never sees a price and never decides.

    Class attributes:
        name: the name under which it is registered.
        needs: optional features that it reads: ``embedding``, ``lexical``, ``structure``, ``form``,
            ``linguistic``.
        quick: it waits for nothing and answers within a millisecond or so. The gateway asks others in a thread,
            several at once where requests are, and for a limited time.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    quick: ClassVar[bool] = False

    @classmethod
    def available(cls) -> bool:
        """Whether all that it needs is installed; a router that needs an optional extra may say no."""
        return True

    @abstractmethod
    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m). Pure. NaN for models that the router knows nothing of."""

    def predict(self, features: Features, models: Sequence[Model]) -> dict[str, Estimate]:
        """Quality estimates of one prompt; models that the router knows nothing of are left out."""
        mean, std = self.predict_batch(FeatureBatch.one(features), models)
        return {
            m.name: Estimate(float(mean[0, j]), float(std[0, j]))
            for j, m in enumerate(models)
            if mean[0, j] == mean[0, j]
        }

    @abstractmethod
    def learn(self, features: Features, model: str, reward: float) -> None:
        """Take one observation: ``model`` answered the prompt with quality ``reward`` in [0, 1]."""

    @abstractmethod
    def fit(self, outcomes: Outcomes) -> Self:
        """Replace what was learned by what ``outcomes`` shows. Returns self.

        Raises:
            NotEnoughData: when there are too few rows for the method.
        """

    def fit_votes(self, votes: Votes) -> Self:
        """Replace what was learned by what preferences between two models' answers show. Returns self.

        Quality then is the chance that a model's answer is preferred to that of a model of the pool.

        Raises:
            InputError: the router does not learn from votes.
            NotEnoughData: when there are too few votes for the method.
        """
        del votes
        raise InputError(f"router '{self.name}' does not learn from votes; take 'factorization' or 'ratings', say")

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Learn one more model from its outcomes on some prompts, without retraining the rest. Returns self.

        Args:
            model: its name; a known one is learned anew where the method allows.
            features: of the prompts.
            quality: shape (n,); NaN where the model was not asked.
            benchmark: where only the mean over each of several benchmarks is known (published scores): which
                benchmark every prompt is from, shape (n,); ``quality`` then holds the benchmark's score.
        """
        del benchmark
        for i in (quality == quality).nonzero()[0]:
            self.learn(features.row(int(i)), model, float(quality[i]))
        return self

    def without(self, model: str) -> Self:
        """Forget a model that is retired, without retraining the rest. Returns self.

        By default what was learned of it stays: harmless where it says nothing about other models.
        """
        del model
        return self

    @abstractmethod
    def state(self) -> State:
        """What was learned."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """The inverse of ``state``: afterwards predictions are the same, bit for bit."""

    def explain(self, features: Features) -> tuple[str, ...]:
        """Reasons for the estimates of one prompt, in plain words. Optional."""
        del features
        return ()


class Choice(NamedTuple):
    """What a policy made of n prompts and m models.

    ``probability`` sums to one on every row; ``utility`` is NaN for refused models;
    ``confidence`` has shape (n,).
    """

    probability: Floats
    utility: Floats
    confidence: Floats


class Situation(NamedTuple):
    """What a policy decides on: estimates for n prompts and m models, and which models are allowed.

    Every row of ``allowed`` has at least one True: refusals and the fallback come before the policy.
    ``models`` names the columns, for policies that know some models by name; empty where names play no part.
    ``groups`` numbers the groups of prompts that may fail together, while calibrating; None where each stands alone.
    ``max_cost_usd`` is the limit of every row, infinite where it has none; None where no row has one.
    """

    quality: Floats
    quality_std: Floats
    cost_usd: Floats
    latency_s: Floats
    allowed: Bools
    requirement: Sequence[str]
    models: Sequence[str] = ()
    groups: Ints | None = None
    max_cost_usd: Floats | None = None


class Policy(ABC):
    """Turns estimates into a probability for every alternative. A keyword-only dataclass, like a router.

    Class attributes:
        name: the name under which it is registered.
        reads_cost: every cost has to be known.
        quick: as of a router.
        fallback_confidence: that of a decision where no model met the limits.
        adaptive: it names a plan's first step only, and the others as answers come in.
    """

    name: ClassVar[str]
    quick: ClassVar[bool] = False
    reads_cost: ClassVar[bool] = True
    fallback_confidence: ClassVar[float] = 0.5
    adaptive: ClassVar[bool] = False

    @abstractmethod
    def choose(self, situation: Situation) -> Choice:
        """Decide for every row. Pure."""

    def steps_from(self, situation: Situation, picked: int, row: int = 0) -> tuple[Step, ...]:
        """The steps of the cascade that begins with the model picked for a row; none for single-model routing.

        A policy that is ``adaptive`` gives the first step only and names the others as answers come in.
        """
        del situation, picked, row
        return ()

    def calibrate(self, situation: Situation, paid_usd: Floats, quality: Floats | None = None) -> Self:
        """Set what must be learned from calibration data (a budget's multiplier, say). Returns self.

        ``paid_usd`` is what every cell really cost, ``quality`` what it brought, shape (n, m).
        """
        del situation, paid_usd, quality
        return self

    def settled(self) -> dict[str, Any]:
        """What calibration set, for people and as JSON."""
        return dict(self.state().meta)

    def paid(self, cost_usd: float) -> None:
        """Take note of what a request came to, as requests end. Most policies do not care."""
        del cost_usd

    def follow(self, before: Policy) -> None:
        """Go on where another policy of the same specification stands now. Most have nothing that requests move."""
        del before

    def state(self) -> State:
        """What calibration learned."""
        return State({}, {})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        del state
        return self


# ---------------------------------------------------------------- what comes of them, checked


def estimates_of(router: Router, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
    """What a router estimates.

    Raises:
        ContractError: a router of another package does not keep what routers promise.
    """
    found = router.predict_batch(batch, models)
    if not is_ours(router):
        shape = len(batch), len(models)
        _require_arrays(found, Estimates, (shape, shape), f"predict_batch of router '{router.name}'")
        mean, std = found
        sound = (mean >= -_ROUNDING) & (mean <= 1 + _ROUNDING) & (std >= 0) & (std < np.inf) | np.isnan(mean)
        if not sound.all():
            i, j = np.argwhere(~sound)[0]
            raise ContractError(
                f"router '{router.name}' expects {mean[i, j]:g} +- {std[i, j]:g} of '{models[j].name}'; a mean is from "
                "0 to 1, or NaN of a model that it knows nothing of, and a standard deviation finite and not negative"
            )
    return found


def choice_of(policy: Policy, situation: Situation) -> Choice:
    """What a policy chooses.

    Raises:
        ContractError: a policy of another package does not keep what policies promise.
    """
    found = policy.choose(situation)
    if not is_ours(policy):
        shape = situation.quality.shape
        _require_arrays(found, Choice, (shape, shape, shape[:1]), f"choose of policy '{policy.name}'")
        share, _, confidence = found
        sound = np.where(situation.allowed, share >= 0, share == 0).all(axis=1)
        sound &= (abs(share.sum(axis=1) - 1) <= _ROUNDING) & (confidence >= 0) & (confidence <= 1)
        if not sound.all():
            i = int(np.argmin(sound))
            raise ContractError(
                f"policy '{policy.name}' gives probabilities {share[i].tolist()}, confidence {confidence[i]:g}, where "
                f"{situation.allowed[i].tolist()} is allowed; probabilities sum to 1 and are 0 of what is not allowed, "
                "and a confidence is from 0 to 1"
            )
    return found


def steps_of(policy: Policy, situation: Situation, picked: int, row: int) -> tuple[Step, ...]:
    """The steps that a policy names.

    Raises:
        ContractError: a policy of another package does not keep what policies promise.
    """
    found = policy.steps_from(situation, picked, row)
    if found and not is_ours(policy):
        able = {name for name, may in zip(situation.models, situation.allowed[row], strict=True) if may}
        sound = all(isinstance(step, Step) and step.model in able and step.samples > 0 for step in found)
        if not sound or found[0].model != situation.models[picked]:
            raise ContractError(
                f"policy '{policy.name}' chooses '{situation.models[picked]}' and gives steps {found}; give Steps of "
                "models that are allowed, the chosen one first"
            )
    return found


def is_ours(thing: Router | Policy) -> bool:
    """Whether it comes with this package: then its tests check it, and deciding need not."""
    return type(thing).__module__.startswith("equipoise.")


def _require_arrays(found: Any, kind: type[Any], shapes: Sequence[tuple[int, ...]], whose: str) -> None:
    parts = found if isinstance(found, tuple) and len(found) == len(shapes) else ()
    if parts and all(_is_floats(part, shape) for part, shape in zip(parts, shapes, strict=True)):
        return
    given = " and ".join(map(_described, parts)) if parts else type(found).__name__
    wanted = " and ".join(f"{name} {shape}" for name, shape in zip(kind._fields, shapes, strict=True))
    raise ContractError(f"{whose} gives {given}; give {kind.__name__} of numpy arrays of floats: {wanted}")


def _is_floats(part: Any, shape: tuple[int, ...]) -> bool:
    return type(part) is np.ndarray and part.dtype.char in "efd" and part.shape == shape


def _described(part: Any) -> str:
    return f"{part.dtype} {part.shape}" if type(part) is np.ndarray else type(part).__name__


class CostEstimator(Protocol):
    """Expected cost, latency and answer length of every model on every prompt."""

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Expected:
        """Arrays of shape (n, m); NaN where nothing is known."""
        ...


class Embedder(Protocol):
    """Text to unit-length vectors. ``version`` names the weights: vectors of two versions do not mix."""

    version: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> Singles:
        """Vectors of shape (n, dimension)."""
        ...


class Reply(NamedTuple):
    """What a provider brought back for one call."""

    text: str
    input_tokens: int
    output_tokens: int
    latency_s: float
    compute_s: float | None
    finish: str
    raw: dict[str, Any]


class Sent:
    """Whether a request has begun to leave; None where its provider does not tell. What never left is not billed."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun: bool | None = None


@record(frozen=True, slots=True, kw_only=True)
class UpstreamCall:
    """One call to send as it is.

    Attributes:
        kind: the format of ``body``, one of the provider's ``formats``; its ``model`` is set by the provider.
        connect_s: longest wait for a connection.
        first_byte_s: longest wait for the response to begin; None where the caller bounds that as well as the rest.
        headers: of the client's request, names in lower case; a provider sends on those that its format knows.
        mixed: earlier turns were answered by other models, so their thinking and its signatures are not sent along.
        translated: the body was made of one in another format, so hints in it are not the client's own words.
        size: how many bytes the client sent.
        sent: is told by the provider.
    """

    model: Model
    deployment: Deployment
    kind: WireFormat
    body: dict[str, Any]
    stream: bool = False
    connect_s: float = 10.0
    first_byte_s: float | None = 600.0
    headers: Mapping[str, str] = field(default_factory=dict)
    mixed: bool = False
    translated: bool = False
    size: int = 0
    sent: Sent = field(default_factory=Sent)


class Upstream(Protocol):
    """A response that has begun, with a 2xx status. To be closed whatever happens."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body, bounded.

        Raises:
            ProviderError: the connection broke, or the body is too large.
        """
        ...

    async def document(self) -> dict[str, Any]:
        """The whole body as a JSON object.

        Raises:
            ProviderError: as ``read``, or it is no JSON object.
        """
        ...

    def events(self) -> AsyncIterator[SseEvent]:
        """The events of a stream. Iterate once.

        Raises:
            ProviderError: the connection broke, an event is too large, or the vendor reports an error.
        """
        ...

    async def close(self) -> None:
        """Give the connection back, or cut it if the response is not over. Idempotent."""
        ...


class Provider(Protocol):
    """Calls models. Errors are mapped once, here, to ``ProviderError``.

    Attributes:
        formats: the wire formats that it speaks natively.
    """

    name: str
    formats: frozenset[WireFormat]

    async def send(self, call: UpstreamCall) -> Upstream:
        """Send a call; returns when a 2xx response has begun.

        Raises:
            ProviderError: whatever went wrong, mapped once.
        """
        ...

    async def complete(self, model: Model, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """One chat completion, not streamed."""
        ...

    async def close(self) -> None:
        """Release connections and workers."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """A provider of which not every model takes every request in all of its formats."""

    def speaks(self, model: Model, body: Mapping[str, Any]) -> frozenset[WireFormat]:
        """Those in which the model takes this one; ``body`` is as the client sent it."""
        ...


__all__ = [
    "Choice",
    "Choosy",
    "CostEstimator",
    "Embedder",
    "Policy",
    "Provider",
    "Reply",
    "Router",
    "Situation",
    "Upstream",
    "UpstreamCall",
    "choice_of",
    "estimates_of",
    "is_ours",
    "steps_of",
]
