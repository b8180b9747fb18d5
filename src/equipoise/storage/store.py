"""What a place that keeps decisions must do, and the records that go in and come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from equipoise.errors import ConfigError, EquipoiseError
from equipoise.storage.connection import PLACE
from equipoise.storage.encoding import from_json
from equipoise.storage.journal import Mark

MOST_PENDING_S = 3600.0
DAY_S = 86400.0
_SQLITE, _MEMORY = "sqlite:///", "memory://"


class StoreUnavailable(EquipoiseError):
    """The store cannot be written or read just now: locked, full, gone. Trying again may help."""

    code = "store_unavailable"


class DecisionEntry(NamedTuple):
    """A decision on its way in. ``body`` is its JSON."""

    id: str
    tenant: str
    received: float
    route: str
    format: str
    model: str
    prompt: str | None
    body: str


class OutcomeEntry(NamedTuple):
    """An outcome on its way in. ``body`` is its JSON."""

    id: str
    finished: float
    status: str
    model: str | None
    cost_usd: float
    body: str


class FeedbackEntry(NamedTuple):
    """Feedback on its way in."""

    id: str
    tenant: str
    source: str
    received: float
    reward: float
    comment: str | None


Entry = DecisionEntry | OutcomeEntry | FeedbackEntry


class Stored(NamedTuple):
    """Everything kept about one decision. ``position`` grows in the order of arrival."""

    decision: DecisionEntry
    outcome: OutcomeEntry | None = None
    feedback: tuple[FeedbackEntry, ...] = ()
    position: int = 0


class Store(ABC):
    """Keeps decisions with their outcomes and feedback.

    Whatever comes twice changes nothing: a decision is kept as it first came; of outcomes, and of the
    feedback that one source gave, the latest by their own time counts. What belongs to a decision may come
    before it. Tenants are apart: nobody reads another's decision, and feedback joins within its tenant only.
    """

    @abstractmethod
    def ingest(self, entries: Sequence[Entry], mark: Mark | None = None) -> int:
        """Keep entries and the place in the journal after them: both or neither. Returns how many were unusable.

        Raises:
            StoreUnavailable: nothing was kept; the same call may succeed later.
        """

    @abstractmethod
    def mark(self) -> Mark:
        """How far the journal has been ingested."""

    @abstractmethod
    def owner(self, decision_id: str) -> str | None:
        """The tenant of a decision, or None if it was never ingested (or has been pruned)."""

    @abstractmethod
    def sources(self, decision_id: str, tenant: str, most: int) -> set[str]:
        """Whose feedback on a decision of a tenant was ingested; ``most`` of them at most."""

    @abstractmethod
    def read(self, decision_id: str) -> tuple[Stored | None, Mark]:
        """A decision and the journal's mark, as of one moment."""

    @abstractmethod
    def spent(self, since_day: int) -> dict[str, dict[int, float]]:
        """What tenants have spent: USD by tenant and by day on which requests ended (UTC, days since 1970).

        Of a decision, what its first outcome says counts. Pruning takes nothing away.
        """

    @abstractmethod
    def tail(self, n: int) -> list[Stored]:
        """The latest decisions, oldest first."""

    @abstractmethod
    def finished_after(self, position: int | None, most: int = 1000) -> tuple[list[Stored], int]:
        """Decisions whose outcome came after a position, and the position to ask from next.

        None stands for now: no decisions, only the position.
        """

    @abstractmethod
    def rows(self, since: float = 0.0) -> Iterator[Stored]:
        """Every decision received from ``since`` on, in order of arrival, as of one moment."""

    @abstractmethod
    def prune(self, before: float, *, pending_before: float | None = None) -> int:
        """Remove decisions received before a time, with all that belongs to them. Returns how many.

        Args:
            pending_before: feedback that no decision has joined goes when it was received before this;
                by default ``before``.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""


def database_path(url: str, folder: Path = Path()) -> Path | None:
    """The file of ``sqlite:///FILE``, relative to ``folder``; None for ``memory://``.

    Raises:
        ConfigError: another scheme, or no file.
    """
    if url == _MEMORY:
        return None
    name = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not name or "\0" in name:
        # Which may hold a password, and is not told.
        said = "storage.url is none that is known; give sqlite:///FILE, sqlite:////FOLDER/FILE or memory://"
        raise ConfigError(said, place=PLACE)
    path = folder / name
    # Lock and journal lie beside the file itself, so that under another name it is still the same log.
    return path.resolve() if path.is_symlink() else path


# ---------------------------------------------------------------- entries as journal payloads

_KINDS: dict[str, Callable[..., Entry]] = {"d": DecisionEntry, "o": OutcomeEntry, "f": FeedbackEntry}


def to_payload(kind: str, columns: Sequence[str | float | None], body: bytes) -> bytes:
    """Columns as a JSON array, a tab, the body."""
    fields = [kind, *columns]
    try:
        return orjson.dumps(fields) + b"\t" + body
    except TypeError:
        # A lone surrogate: no database would take it either.
        plain = [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in fields]
        return orjson.dumps(plain) + b"\t" + body


def from_payload(payload: bytes) -> Entry:
    """The inverse of ``to_payload``.

    Raises:
        ValueError: the payload is not an entry of this version.
    """
    columns, tab, body = payload.partition(b"\t")
    try:
        kind, *values = from_json(columns)
        if kind != "f":
            values.append(body.decode())
        return _KINDS[kind](*values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a journal entry: {error}") from None


def merged(stored: Stored | None, entry: Entry) -> Stored | None:
    """What is kept of one decision after one more entry about it; None while the decision itself is missing."""
    if isinstance(entry, DecisionEntry):
        return stored if stored is not None else Stored(entry)
    if stored is None:
        return None
    if isinstance(entry, OutcomeEntry):
        return stored if stored.outcome and stored.outcome.finished > entry.finished else stored._replace(outcome=entry)
    if entry.tenant != stored.decision.tenant:
        return stored
    by_source = {f.source: f for f in stored.feedback}
    known = by_source.get(entry.source)
    if known is None or entry.received >= known.received:
        by_source[entry.source] = entry
    return stored._replace(feedback=tuple(sorted(by_source.values(), key=lambda f: f.source)))
