"""The candidates file: which models are asked, where, how, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from equipoise.collect.plan import AskedModel, Rates
from equipoise.config import DeploymentConfig, Name, PriceConfig
from equipoise.errors import ConfigError
from equipoise.settings import Strict, read_settings
from equipoise.types import Deployment, Price

_Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CandidatesFile(NamedTuple):
    """What a candidates file says. ``price_note`` tells readers of the table where its costs come from."""

    candidates: tuple[AskedModel, ...]
    price_note: str = ""
    judges: tuple[AskedModel, ...] = ()


class _Rates(Strict):
    prefill_s_per_token: _Money
    decode_s_per_token: _Money
    usd_per_compute_s: _Money
    draws_share_prefill: bool = False


class _Candidate(Strict):
    name: Name
    deployment: DeploymentConfig
    price: PriceConfig | None = None
    rates: _Rates | None = None
    max_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)
    system: str | None = None
    suffix: str | None = None
    stop: tuple[str, ...] = ()
    samples: int = Field(0, ge=0, le=1000)
    sample_temperature: float = Field(0.8, ge=0, le=2)


class _File(Strict):
    price_note: str = ""
    candidates: list[_Candidate] = Field(min_length=1)
    judges: list[_Candidate] = []


def read_candidates(path: Path) -> CandidatesFile:
    """Read a candidates file.

    Raises:
        ConfigError: it cannot be read, or says something that is not understood.
    """
    other = "write 'candidates:' and a list of them"
    read, _ = read_settings(path, _File, missing="give the path of a candidates file", other=other, texts=True)
    candidates = tuple(_asked(c, path) for c in read.candidates)
    judges = tuple(_asked(c, path) for c in read.judges)
    names = [c.name for c in candidates]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path}: two candidates are named '{twice}'; give each its own name")
    return CandidatesFile(candidates, read.price_note, judges)


def _asked(c: _Candidate, path: Path) -> AskedModel:
    if c.price is not None and c.rates is not None:
        raise ConfigError(f"{path}: candidate '{c.name}' has both price and rates; keep one")
    given = c.model_dump(exclude={"deployment", "price", "rates"})
    return AskedModel(
        **given,
        deployment=Deployment(**c.deployment.model_dump()),
        price=None if c.price is None else Price(**c.price.model_dump()),
        rates=None if c.rates is None else Rates(**c.rates.model_dump()),
    )
