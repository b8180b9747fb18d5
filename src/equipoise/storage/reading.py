"""Reading a decision log, also while another process writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from equipoise.errors import InputError
from equipoise.storage.encoding import decision_from_json, outcome_from_json, to_json
from equipoise.storage.journal import Mark, read_after
from equipoise.storage.sqlite import SqliteStore
from equipoise.storage.store import DecisionEntry, Entry, Store, Stored, database_path, from_payload, merged
from equipoise.traffic import Feedback, Outcome
from equipoise.types import Decision

_LOOKS = 3


class Record(NamedTuple):
    """Everything known about one decision."""

    decision: Decision
    tenant: str
    route: str
    format: str
    received: float
    prompt: str | None
    outcome: Outcome | None
    feedback: tuple[Feedback, ...]


class LogReader:
    """Reads a log, also while another process writes it.

    Raises:
        InputError: there is no log, or it is unreadable.
        StateError: it is of a newer version.
    """

    def __init__(self, url: str, *, folder: Path = Path()) -> None:
        path = database_path(url, folder)
        if path is None:
            raise InputError("a log in memory:// is read by its own process only; set storage.url to sqlite:///FILE")
        self._journal_folder: Path | None = journal_folder(path)
        self.store: Store = SqliteStore(path, write=False)

    def get(self, decision_id: str, tenant: str | None = None) -> Record | None:
        """Everything known about a decision, up to this moment. None: this tenant has no such decision.

        Args:
            tenant: whose decision it must be; None for anyone's.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        stored = self._stored(decision_id) if is_text(decision_id) else None
        if stored is None or tenant not in (None, stored.decision.tenant):
            return None
        return as_record(stored)

    def _stored(self, decision_id: str) -> Stored | None:
        stored = None
        for _ in range(_LOOKS):
            stored, mark = self.store.read(decision_id)
            entries = list(self._unmoved(decision_id, mark))
            for entry in sorted(entries, key=lambda e: not isinstance(e, DecisionEntry)):
                stored = merged(stored, entry)
            # Had entries moved meanwhile, they could have been missed in both places.
            if self.store.mark() == mark:
                break
        return stored

    def _unmoved(self, decision_id: str, mark: Mark) -> Iterator[Entry]:
        """What the journal says about a decision after a mark."""
        if self._journal_folder is None:
            return
        wanted = to_json(decision_id)
        for chunk in read_after(self._journal_folder, mark):
            for payload in chunk.payloads:
                if wanted in payload:
                    with suppress(ValueError):
                        entry = from_payload(payload)
                        if entry.id == decision_id:
                            yield entry

    def tail(self, n: int = 10) -> list[Record]:
        """The latest decisions, oldest first. Those of the last second may be missing."""
        return [as_record(stored) for stored in self.store.tail(n)]

    def finished_after(self, position: int | None) -> tuple[list[Record], int]:
        """Decisions whose outcome came after a position, and the next position; None asks for the one of now."""
        found, reached = self.store.finished_after(position)
        return [as_record(stored) for stored in found], reached

    def close(self) -> None:
        """Let go of the files."""
        self.store.close()


def as_record(stored: Stored) -> Record:
    """What a store keeps, as the records of the vocabulary."""
    d, o = stored.decision, stored.outcome
    feedback = tuple(
        Feedback(decision_id=f.id, reward=f.reward, received=f.received, source=f.source, comment=f.comment)
        for f in stored.feedback
    )
    outcome = None if o is None else outcome_from_json(o.body)
    return Record(decision_from_json(d.body), d.tenant, d.route, d.format, d.received, d.prompt, outcome, feedback)


def document_of(record: Record) -> dict[str, Any]:
    """A record as JSON types, for people and programs."""
    decision = asdict(record.decision)
    decision["constraints"]["capabilities"] = sorted(record.decision.constraints.capabilities)
    decision["features"] = dict(record.decision.features)
    for candidate in decision["candidates"]:
        if candidate["quality"] is not None:
            candidate["quality"] = candidate["quality"]._asdict()
    return {
        "decision": {"model": record.decision.model, **decision},
        "tenant": record.tenant,
        "route": record.route,
        "format": record.format,
        "received": record.received,
        "prompt": record.prompt,
        "outcome": None if record.outcome is None else asdict(record.outcome),
        "feedback": [asdict(f) for f in record.feedback],
    }


def is_text(name: str) -> bool:
    """Whether a string can be written as UTF-8: a lone surrogate cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def journal_folder(path: Path) -> Path:
    """The folder of the journal that belongs to a database file."""
    return path.with_name(path.name + ".segments")
