"""The candidates file: which models are asked, where, how, and what they cost."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from equipoise.collect.plan import AskedModel, Rates
from equipoise.config import DeploymentConfig, PriceConfig
from equipoise.errors import ConfigError
from equipoise.regular import open_regular
from equipoise.types import Deployment, Price

_MAX_FILE_BYTES = 1024 * 1024
_Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CandidatesFile(NamedTuple):
    """What a candidates file says. ``price_note`` tells readers of the table where its costs come from."""

    candidates: tuple[AskedModel, ...]
    price_note: str = ""
    judges: tuple[AskedModel, ...] = ()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rates(_Strict):
    prefill_s_per_token: _Money
    decode_s_per_token: _Money
    usd_per_compute_s: _Money
    draws_share_prefill: bool = False


class _Candidate(_Strict):
    name: str = Field(min_length=1)
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


class _File(_Strict):
    price_note: str = ""
    candidates: list[_Candidate] = Field(min_length=1)
    judges: list[_Candidate] = []


def read_candidates(path: Path) -> CandidatesFile:
    """Read a candidates file.

    Raises:
        ConfigError: it cannot be read, or says something that is not understood.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_FILE_BYTES} bytes, which no candidates file is")
        document = yaml.safe_load(data.decode())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a candidates file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a mapping; write 'candidates:' and a list of them")
    try:
        read = _File.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error, document)}") from None
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


_SECTIONS: Mapping[str, type[BaseModel]] = {"deployment": DeploymentConfig, "price": PriceConfig, "rates": _Rates}


def _first_problem(error: ValidationError, document: Mapping[str, Any]) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # A misspelt key also shows as a missing one: the spelling is what helps.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = first["loc"]
    if first["type"] == "extra_forbidden":
        key = str(where[-1])
        known = list(_model_at(where[:-1]).model_fields)
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        return f"{_place(where[:-1], document)}unknown key '{key}'; {hint}"
    return f"{_place(where, document)}{first['msg'].lower()}"


def _model_at(where: tuple[int | str, ...]) -> type[BaseModel]:
    if not where:
        return _File
    return _SECTIONS.get(str(where[-1]), _Candidate)


def _place(where: tuple[int | str, ...], document: Mapping[str, Any]) -> str:
    if not where:
        return ""
    parts = [str(p) for p in where]
    if len(where) > 1 and isinstance(where[1], int):
        entry = document[parts[0]][where[1]]
        kind = str(where[0]).rstrip("s")
        name = entry.get("name") if isinstance(entry, dict) else None
        parts[:2] = [f"{kind} '{name}'" if name else f"{kind} {where[1] + 1}"]
    return ", ".join(parts) + ": "
