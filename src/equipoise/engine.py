"""The first half of the walk: analyse -> estimate -> decide. And what comes before it: to train, calibrate, save, load.

engine = Engine.train(read_table("outcomes.parquet"), router="linear")
decision = engine.decide("What is 17 * 23?", max_cost_usd=0.01)

The second half, execute -> log, is the gateway's: ``gateway/calls.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from equipoise.analysis import Analyzer, Recent
from equipoise.cascades.best_of import best_of_models, best_of_steps
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.lesson import Lesson, expected_quality
from equipoise.cascades.pool import View, pool_of
from equipoise.catalog.models import by_name
from equipoise.contracts import Policy, Router, Situation, estimates_of, is_ours
from equipoise.decision import Case, Decider, Undecided, WhenNoneFits
from equipoise.errors import ConfigError, ContractError, InputError, NotEnoughData, StateError, UnknownName
from equipoise.estimates import CostModel
from equipoise.numerics.clusters import kinds_of
from equipoise.numerics.newcomers import expected_scores, telling_prompts
from equipoise.registry import DEFAULT_ROUTER, DEFAULT_VOTES_ROUTER, Spec, make_policy, make_router, spec_of
from equipoise.request import check_prompt, check_request
from equipoise.storage.ids import new_id
from equipoise.storage.router_file import load_states, model_from_plain, model_to_plain, save_states
from equipoise.tables import OutcomeTable
from equipoise.tables.analysed import outcomes_from, outcomes_of, votes_of
from equipoise.tables.answers import Answers
from equipoise.tables.costs import rows_to_calibrate
from equipoise.tables.votes import VoteTable
from equipoise.types import (
    Constraints,
    Decision,
    FeatureBatch,
    Features,
    Floats,
    Ints,
    Model,
    Request,
    Requirement,
    Urgency,
)
from equipoise.version import __version__

# Prompts with outcomes of two known models or more, from which a new model's answers are read beside theirs.
LEAST_COMPARED = 20


@dataclass(kw_only=True)
class Engine:
    """Everything that a decision needs, in one place. Deciding is pure but for its identifier and its draw.

    Args:
        router: estimates quality.
        policy: decides.
        models: the models to choose from.
        costs: expected cost, latency and answer length.
        analyzer: text to features.
        when_none_fits: what to do when no model meets the constraints.
        fallback: models to fall back to, in order; by falling utility where none are named.
        versions: of what was trained, for the decision record.

    Raises:
        ConfigError: there is no model, two have one name, or a field of one holds a value that cannot be.
    """

    router: Router
    policy: Policy
    models: Sequence[Model]
    costs: CostModel = field(default_factory=CostModel)
    analyzer: Analyzer = field(default_factory=Analyzer)
    when_none_fits: WhenNoneFits = "cheapest"
    fallback: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    _recent: Recent | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not by_name(self.models):
            raise ConfigError("there is no model to choose; give at least one")

    def decide(
        self,
        prompt: str | Request,
        *,
        max_cost_usd: float | None = None,
        max_latency_s: float | None = None,
        min_quality: float | None = None,
        quality_requirement: Requirement | None = None,
        urgency: Urgency | None = None,
        capabilities: frozenset[str] = frozenset(),
    ) -> Decision:
        """Choose a model for one prompt.

        Raises:
            InputError: the prompt is empty or too long, a limit is negative or not a number, or limits are given beside
                a ``Request``, which has its own.
            NoModel: no model can serve the request.
            PriceError: a needed price is missing.
            ContractError: the router or the policy, of another package, does not do what it promises.
        """
        limits = Constraints(
            max_cost_usd=max_cost_usd, max_latency_s=max_latency_s, min_quality=min_quality, capabilities=capabilities
        )
        if isinstance(prompt, str):
            request = Request(text=prompt, constraints=limits, quality_requirement=quality_requirement, urgency=urgency)
        elif limits == Constraints() and quality_requirement is None and urgency is None:
            request = prompt
        else:
            raise InputError("what is said beside a Request would not hold; say it in the Request")
        (decided,) = self.decide_batch([request])
        if not isinstance(decided, Decision):
            raise decided
        return decided

    def decide_batch(self, requests: Sequence[Request]) -> list[Decision | Undecided]:
        """Choose a model for each of some requests, as ``decide`` does, in less time than one by one.

        Returns:
            By request, the decision, or the error that ``decide`` raises.

        Raises:
            InputError: a prompt is empty or too long, or a limit is negative or not a number.
            ContractError: as ``decide``.
        """
        for request in requests:
            check_request(request)
        analysed = zip(requests, self._analysis.rows(requests), strict=True)
        decider = Decider(
            models=self.models,
            router=self.router,
            costs=self.costs,
            policy=self.policy,
            when_none_fits=self.when_none_fits,
            fallback=self.fallback,
            versions=self.versions,
        )
        return decider.decide([Case(found, request.constraints, _draw(), new_id()) for request, found in analysed])

    @property
    def _analysis(self) -> Recent:
        recent, needs = self._recent, self._needs
        if recent is None or recent.analyzer is not self.analyzer or recent.needs != needs:
            recent = self._recent = Recent(self.analyzer, needs)
        return recent

    @property
    def _needs(self) -> frozenset[str]:
        return frozenset(self.router.needs | self.costs.needs)

    def analyze(self, request: Request) -> Features:
        """The features that this engine's router and cost model read.

        Raises:
            InputError: the prompt is empty or longer than a million characters.
        """
        check_prompt(request.text)
        return self.analyzer.analyze(request, self._needs)

    @classmethod
    def train(
        cls,
        table: OutcomeTable,
        *,
        router: Spec = DEFAULT_ROUTER,
        policy: Spec = "cost_aware:form=linear,cost_weight=0",
        models: Sequence[Model] | None = None,
        analyzer: Analyzer | None = None,
    ) -> Self:
        """Learn from an outcome table.

        Args:
            models: what is known of the table's models beyond it (prices, windows); by default their names only,
                with costs as measured in the table.

        Raises:
            NotEnoughData: the table holds no outcome, or too few for the router.
        """
        if not table.measured.any():
            raise NotEnoughData(f"{table.name}: it holds no outcome to learn from; give a table that does")
        analyzer = analyzer or Analyzer()
        learner = make_router(router)
        outcomes = outcomes_of(table.tied(), analyzer, learner.needs | {"structure"})
        return cls(
            router=learner.fit(outcomes),
            policy=make_policy(policy),
            models=_described(table.models, models or ()),
            costs=CostModel().fit(outcomes),
            analyzer=analyzer,
        )._trained_on(table.name)

    @classmethod
    def train_votes(
        cls,
        table: VoteTable,
        *,
        router: Spec = DEFAULT_VOTES_ROUTER,
        policy: Spec = "quality_first",
        models: Sequence[Model] | None = None,
        analyzer: Analyzer | None = None,
    ) -> Self:
        """Learn from votes between two models' answers. Costs are then known from the models' prices alone.

        Raises:
            InputError: the router does not learn from votes.
        """
        analyzer = analyzer or Analyzer()
        learner = make_router(router)
        return cls(
            router=learner.fit_votes(votes_of(table.tied(), analyzer, learner.needs | {"structure"})),
            policy=make_policy(policy),
            models=_described(table.models, models or ()),
            analyzer=analyzer,
        )._trained_on(table.name)

    @classmethod
    def train_free(cls, *, models: Sequence[Model], router: Spec = "static", policy: Spec = "cost_aware") -> Self:
        """An engine that needs no data: whatever the router knows before it has learned anything."""
        return cls(router=make_router(router), policy=make_policy(policy), models=models)._trained_on("none")

    def _trained_on(self, table: str) -> Self:
        self.versions = {
            "equipoise": __version__,
            "router": self.router.name,
            "policy": self.policy.name,
            "analysis": self.analyzer.version,
            "table": table,
        }
        return self

    @property
    def _names(self) -> list[str]:
        return [m.name for m in self.models]

    def teach(self, table: OutcomeTable, answers: Answers, *, rng: np.random.Generator | None = None) -> Self:
        """Teach a policy that looks at answers when to return one. Returns self.

        Args:
            table: the outcome table that the engine was trained on.
            answers: the sampled answers behind it, row for row.

        Raises:
            InputError: the policy never looks at an answer.
            PriceError: an answer has no cost.
            NotEnoughData: too few prompts with answers of every model.
        """
        if not isinstance(self.policy, AnswerPolicy):
            raise InputError(f"policy '{self.policy.name}' never looks at an answer; there is nothing to teach it")
        table, answers = table.only(self._names), answers.only(self._names)
        answers.require_costs()
        kept = np.flatnonzero(table.measured.all(axis=1) & (answers.count > 0).all(axis=1))
        if not len(kept):
            raise NotEnoughData(f"{table.name}: no prompt was answered by every model")
        outcomes = outcomes_of(table.take(kept).tied(), self.analyzer, self._needs)
        expected = expected_quality(lambda: make_router(spec_of(self.router)), outcomes, self.models)
        cost = self.costs.predict_batch(outcomes.features, self.models).cost_usd
        given = answers.take(kept)
        lesson = Lesson(View(pool_of(given), expected, cost), given, outcomes.groups)
        self.policy.teach(lesson, self._names, rng or np.random.default_rng(0))
        return self

    def calibrate(self, table: OutcomeTable) -> Self:
        """Calibrate the policy on rows that the router has not seen. Returns self.

        Prompts on which a model was not measured, or at an unknown cost, are left out.

        Raises:
            InputError: the table holds no costs.
            NotEnoughData: no prompt was measured with all models.
        """
        table = table.only(self._names)
        if np.isnan(table.cost_usd[table.measured]).all():
            raise InputError(f"{table.name}: calibration needs costs; give --prices FILE")
        complete = rows_to_calibrate(table)
        outcomes = outcomes_of(table.take(complete).tied(), self.analyzer, self._needs)
        expected = self.costs.predict_batch(outcomes.features, self.models)
        estimates = estimates_of(self.router, outcomes.features, self.models)
        situation = Situation(
            estimates.mean,
            estimates.std,
            expected.cost_usd,
            expected.latency_s,
            estimates.mean == estimates.mean,
            list(outcomes.features.quality_requirement),
            self._names,
            outcomes.groups,
        )
        self.policy.calibrate(situation, table.cost_usd[complete], table.quality[complete])
        return self

    def learn(self, prompt: str, model: str, reward: float) -> None:
        """Tell the router how well ``model`` answered ``prompt``: a reward in [0, 1].

        Raises:
            InputError: the reward is out of range, or the prompt is empty or too long.
            UnknownName: the engine has no such model.
        """
        if model not in self._names:
            raise UnknownName("model", model, self._names)
        if not 0.0 <= reward <= 1.0:
            raise InputError(f"reward {reward!r} is not in [0, 1]; scale it")
        self.router.learn(self.analyze(Request(text=prompt)), model, reward)

    def add_model(self, model: Model, table: OutcomeTable, *, scores: Mapping[str, float] | None = None) -> Self:
        """Take in one more model without training the others again. Returns self.

        Args:
            model: the new model, with its price, unless ``table`` says what its answers cost.
            table: outcomes of the model, fifty are enough; where the table also says what known models did, on
                these prompts and others, the answers go further. With ``scores``: prompts of benchmarks.
            scores: published mean quality by data set of ``table``, where the model answered none of its prompts.

        Raises:
            UnknownName: the table does not hold the model, or no data set of that name.
            InputError: a score is not in [0, 1].
            ConfigError: a field of the model holds a value that cannot be.
        """
        others = [m for m in self.models if m.name != model.name]
        by_name([*others, model])
        features = self.analyzer.analyze_batch(list(table.prompts), self._needs | {"embedding"})
        if scores is None:
            quality, benchmark = self._told(model.name, table, features)
        else:
            quality, benchmark = _published(table, scores)
        self.router.add_model(model.name, features, quality, benchmark=benchmark)
        if model.name in table.models:
            self.costs.add(outcomes_from(table.only([model.name]), features))
        self.models = [*others, model]
        return self

    def prompts_to_try(self, model: str, table: OutcomeTable, count: int = 10, *, seed: int = 0) -> tuple[str, ...]:
        """Identifiers of prompts that would tell most of a new model, given its outcomes in ``table`` so far.

        Args:
            table: what known models did. Ask in rounds, add what the new model answered, and ask again.

        Raises:
            NotEnoughData: the table does not say what any of them did.
        """
        known, own = self._known(model, table)
        if np.isnan(known).all():
            raise NotEnoughData(f"{table.name}: there is no prompt that a known model answered; give a table of theirs")
        features = self.analyzer.analyze_batch(list(table.prompts), frozenset({"embedding"}))
        kinds = kinds_of(table.datasets.astype(str), features.embedding)
        rows = telling_prompts(known, own, kinds, count, np.random.default_rng(seed))
        return tuple(str(table.prompt_ids[i]) for i in rows)

    def _known(self, model: str, table: OutcomeTable) -> tuple[Floats, Floats]:
        """Qualities of the known models (n, m) and of the new one (n,) on the prompts of a table."""
        others = [name for name in self._names if name != model and name in table.models]
        own = table.only([model]).quality[:, 0] if model in table.models else np.full(len(table), np.nan)
        return table.only(others).quality, own

    def _told(self, model: str, table: OutcomeTable, features: FeatureBatch) -> tuple[Floats, Ints | None]:
        """A new model's answers, or where known models answered, too, its expected scores on kinds of prompts."""
        own = table.only([model]).quality[:, 0]
        known, _ = self._known(model, table)
        compared = (~np.isnan(known)).sum(axis=1) > 1
        if compared.sum() < LEAST_COMPARED or np.isnan(own).all():
            return own, None
        kinds = kinds_of(table.datasets.astype(str), features.embedding)
        return expected_scores(known, own, kinds), kinds

    def without(self, model: str) -> Self:
        """Retire a model without training the others again. Returns self.

        Raises:
            UnknownName: the engine has no such model.
            InputError: it is the only one.
        """
        left = [m for m in self.models if m.name != model]
        if len(left) == len(self.models):
            raise UnknownName("model", model, self._names)
        if not left:
            raise InputError(f"'{model}' is the only model; add another before you retire it")
        self.router.without(model)
        self.models = left
        return self

    def with_policy(self, policy: Spec) -> Self:
        """The same engine under another policy. One of the same specification keeps its calibration."""
        other = make_policy(policy)
        if spec_of(other) == spec_of(self.policy):
            other.restore(self.policy.state())
        return replace(self, policy=other, versions={**self.versions, "policy": other.name})

    def save(self, path: str | Path) -> None:
        """Write a router file. Atomic; no pickle."""
        meta = {
            "router": spec_of(self.router),
            "policy": spec_of(self.policy),
            "models": [model_to_plain(m) for m in self.models],
            "versions": self.versions,
        }
        states = {"router": self.router.state(), "policy": self.policy.state(), "costs": self.costs.state()}
        save_states(Path(path), states, meta)

    @classmethod
    def load(cls, path: str | Path, *, analyzer: Analyzer | None = None) -> Self:
        """Read a router file.

        Args:
            analyzer: needed when the router was trained with another embedder than the default.

        Raises:
            StateError: the file cannot be read, its parts fail on a prompt, or its features are not this analyzer's.
        """
        states, meta = load_states(Path(path))
        analyzer = analyzer or Analyzer()
        try:
            versions = dict(meta["versions"])
            if (known := versions.get("analysis")) != (ours := analyzer.version):
                raise StateError(f"{path}: trained on features of analysis {known}, this is {ours}; train it again")
            engine = cls(
                router=make_router(meta["router"]).restore(states["router"]),
                policy=make_policy(meta["policy"]).restore(states["policy"]),
                models=[model_from_plain(m) for m in meta["models"]],
                costs=CostModel().restore(states["costs"]),
                analyzer=analyzer,
                versions=versions,
            )
            # Parts that do not fit together are to fail here, not at the first request. Others may ask a service.
            tried = analyzer.analyze_batch(["What is the sum of 17 and 23?"], engine._needs)
            if engine.router.quick or is_ours(engine.router):
                estimates_of(engine.router, tried, engine.models)
            engine.costs.predict_batch(tried, engine.models)
        except (UnknownName, ConfigError, ContractError) as error:
            raise StateError(f"{path}: {error}") from None
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            said = f"{path}: incomplete router file ({type(error).__name__}: {error}); train it again"
            raise StateError(said) from None
        return engine


def _draw() -> float:
    """A number in [0, 1) that nobody can foretell."""
    return (int.from_bytes(os.urandom(7)) >> 3) / 2**53


def _described(names: Sequence[str], models: Sequence[Model]) -> list[Model]:
    """What is known of the models of a table; of one that is another asked several times, what is known of that."""
    if any(isinstance(m, str) for m in models):
        raise InputError("models= takes records, such as default_catalog().get('gpt-4o'); for names, table.only([...])")
    known = {m.name: m for m in models}
    again = [name for name in names if name not in known and any(s.model in known for s in best_of_steps(name))]
    known |= {m.name: m for m in best_of_models(again, models)}
    return [known.get(name, Model(name=name)) for name in names]


def _published(table: OutcomeTable, scores: Mapping[str, float]) -> tuple[Floats, Ints]:
    """A benchmark's score for each of its prompts, NaN where there is none, and which benchmark that is."""
    names, benchmark = np.unique(table.datasets.astype(str), return_inverse=True)
    for name, score in scores.items():
        if name not in names:
            raise UnknownName(f"data set of table {table.name}", name, map(str, names))
        if not 0.0 <= score <= 1.0:
            raise InputError(f"score {score!r} of '{name}' is not in [0, 1]; divide by the highest possible score")
    quality = np.array([scores.get(str(name), np.nan) for name in names])[benchmark]
    return quality, benchmark.astype(np.int64)
