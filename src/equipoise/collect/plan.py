"""What is asked of whom: candidates, and the order of their draws."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from equipoise.collect.prompts import PromptRow
from equipoise.contracts import Reply
from equipoise.providers.client import DEFAULT_TIMEOUT_S
from equipoise.types import Deployment, Model, Price
from equipoise.wire.usage import cached_tokens

Order = Literal["samples-last", "prompts"]
Key = tuple[str, str, int]

# Vendor codes of failed calls: no answer came, yet the vendor may have done the work and billed it.
MAYBE_BILLED = frozenset({"timeout", "bad_response", "connection_lost"})
# A chat template adds its own tokens around every message.
_TEMPLATE_TOKENS = 64
# Options that change how fast a server answers, never what it answers.
_SPEED_OPTIONS = frozenset({"slots", "threads", "timeout_s", "startup_timeout_s", "sha256"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Compute time per token, measured once on a quiet machine: costs that shared load cannot distort.

    ``draws_share_prefill``: several draws of a prompt are asked for at once, so that it is read once.
    """

    prefill_s_per_token: float
    decode_s_per_token: float
    usd_per_compute_s: float
    draws_share_prefill: bool = False

    def compute_s(self, input_tokens: float, output_tokens: float) -> float:
        """Compute time of a call."""
        return input_tokens * self.prefill_s_per_token + output_tokens * self.decode_s_per_token


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedModel:
    """A candidate of a collection: a model, where it is called and how it is asked.

    ``samples`` are draws at ``sample_temperature`` besides draw 0, which is taken at ``temperature``.
    A candidate with neither ``price`` nor ``rates`` has an unknown cost, which is never read as zero.
    """

    name: str
    deployment: Deployment
    max_tokens: int = 256
    temperature: float = 0.0
    system: str | None = None
    suffix: str | None = None
    stop: tuple[str, ...] = ()
    samples: int = 0
    sample_temperature: float = 0.8
    price: Price | None = None
    rates: Rates | None = None

    @property
    def model(self) -> Model:
        """What the provider is told of the model."""
        return Model(name=self.name, provider=self.deployment.provider, price=self.price)

    def messages(self, prompt: str) -> list[dict[str, Any]]:
        """The chat that asks ``prompt``."""
        user = f"{prompt}\n\n{self.suffix}" if self.suffix else prompt
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": user}]

    def options(self, sample: int) -> dict[str, Any]:
        """Call options of one draw."""
        options: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "temperature": self.draw_temperature(sample),
        }
        if self.stop:
            options["stop"] = list(self.stop)
        return options

    def draw_temperature(self, sample: int) -> float:
        """Temperature of one draw."""
        return self.temperature if sample == 0 else self.sample_temperature

    def cost_usd(self, reply: Reply, *, sample: int = 0) -> float | None:
        """Cost of a reply; None when nothing says what it costs."""
        return self.cost_of(
            reply.input_tokens,
            reply.output_tokens,
            cached=cached_tokens(reply.raw),
            compute_s=reply.compute_s,
            sample=sample,
        )

    def cost_of(
        self, inputs: int, outputs: int, *, cached: int, compute_s: float | None, sample: int = 0
    ) -> float | None:
        """Cost of one draw from what the call used; None when nothing says what it costs."""
        if self.rates is not None:
            again = sample > 0 and self.rates.draws_share_prefill
            return self.rates.compute_s(0 if again else inputs, outputs) * self.rates.usd_per_compute_s
        if self.price is None or (self.price.usd_per_compute_s and compute_s is None):
            return None
        return self.price.cost_usd(inputs, outputs, cached_tokens=min(cached, inputs), compute_s=compute_s or 0.0)

    def most_usd(self, prompt: str) -> float | None:
        """The most that one call can cost: every byte a token, longest answer, compute until the deadline."""
        text = "".join(m["content"] for m in self.messages(prompt))
        tokens = len(text.encode()) + _TEMPLATE_TOKENS
        deadline_s = float(self.deployment.options.get("timeout_s", DEFAULT_TIMEOUT_S))
        return self.cost_of(tokens, self.max_tokens, cached=0, compute_s=deadline_s)

    def settings(self) -> dict[str, Any]:
        """All that decides its answers: what may not change under a name within one journal."""
        d = self.deployment
        return {
            "provider": d.provider,
            "base_url": d.base_url,
            "model_id": d.model_id,
            "options": {k: v for k, v in sorted(d.options.items()) if k not in _SPEED_OPTIONS},
            "system": self.system,
            "suffix": self.suffix,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stop": list(self.stop),
            "sample_temperature": self.sample_temperature,
        }


@dataclass(frozen=True, slots=True)
class Draw:
    """One call to make. ``row`` counts the breadth-first steps of a collection."""

    row: int
    prompt: PromptRow
    candidate: AskedModel
    sample: int

    @property
    def key(self) -> Key:
        """What names the answer in the journal."""
        return (self.prompt.prompt_id, self.candidate.name, self.sample)


def draws(prompts: Sequence[PromptRow], candidates: Sequence[AskedModel], *, order: Order) -> Iterator[Draw]:
    """Every draw in the order of calling: breadth first, so that a prefix of the prompts is complete early.

    Candidates of one deployment see the same prompt one after the other, which lets its prefix cache work.
    """
    together = sorted(candidates, key=lambda c: deployment_key(c.deployment))
    most = max(c.samples for c in candidates)
    if order == "prompts":
        for row, prompt in enumerate(prompts):
            yield from (Draw(row, prompt, c, s) for c in together for s in range(c.samples + 1))
        return
    for sample in range(most + 1):
        for i, prompt in enumerate(prompts):
            row = sample * len(prompts) + i
            yield from (Draw(row, prompt, c, sample) for c in together if sample <= c.samples)


def deployment_key(deployment: Deployment) -> str:
    """Deployments with the same key are the same place, and share one limit of parallel calls."""
    options: Mapping[str, Any] = deployment.options
    return json.dumps(
        [deployment.provider, deployment.base_url, deployment.model_id, dict(options)],
        sort_keys=True,
        default=str,
    )
