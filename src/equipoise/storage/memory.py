"""Decisions kept in this process only, the latest ones."""
# ruff: noqa: D102  (the contract carries the docstrings)

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from equipoise.storage.journal import Mark
from equipoise.storage.store import DAY_S, Entry, OutcomeEntry, Store, Stored, merged

_MOST = 10_000


class MemoryStore(Store):
    """Nothing outlives the process. Of many decisions the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Stored] = {}
        self._early: dict[str, list[Entry]] = {}
        self._finished: dict[int, str] = {}
        self._spent: dict[str, dict[int, float]] = {}
        self._arrived = self._finishes = 0
        self._mark = Mark()

    def ingest(self, entries: Sequence[Entry], mark: Mark | None = None) -> int:
        with self._lock:
            for entry in entries:
                self._take(entry)
            if mark is not None:
                self._mark = mark
        return 0

    def _take(self, entry: Entry) -> None:
        before = self._kept.get(entry.id)
        stored = merged(before, entry)
        if stored is None:  # it comes before its decision
            if len(self._early) < _MOST:
                self._early.setdefault(entry.id, []).append(entry)
            return
        if before is None:
            self._arrived += 1
            for early in self._early.pop(entry.id, ()):
                stored = merged(stored, early) or stored
        if stored.outcome is not None and (before is None or before.outcome is None):
            self._finishes += 1
            self._finished[self._finishes] = entry.id
            spent = self._spent.setdefault(stored.decision.tenant, {})
            day = int(stored.outcome.finished // DAY_S)
            spent[day] = spent.get(day, 0.0) + stored.outcome.cost_usd
        self._kept[entry.id] = stored if stored.position else stored._replace(position=self._arrived)
        self._forget()

    def _forget(self) -> None:
        # A tenth at a time: looking for the oldest key of a dict takes longer the more were removed before it.
        if len(self._kept) > _MOST:
            for decision_id in list(self._kept)[: _MOST // 10]:
                del self._kept[decision_id]
            self._finished = {n: i for n, i in self._finished.items() if i in self._kept}

    def mark(self) -> Mark:
        return self._mark

    def owner(self, decision_id: str) -> str | None:
        stored = self._kept.get(decision_id)
        return None if stored is None else stored.decision.tenant

    def sources(self, decision_id: str, tenant: str, most: int) -> set[str]:
        stored = self._kept.get(decision_id)
        if stored is None or stored.decision.tenant != tenant:
            return set()
        return {f.source for f in stored.feedback[:most]}

    def spent(self, since_day: int) -> dict[str, dict[int, float]]:
        with self._lock:
            found = {t: {day: usd for day, usd in days.items() if day >= since_day} for t, days in self._spent.items()}
            return {tenant: days for tenant, days in found.items() if days}

    def read(self, decision_id: str) -> tuple[Stored | None, Mark]:
        with self._lock:
            return self._kept.get(decision_id), self._mark

    def tail(self, n: int) -> list[Stored]:
        with self._lock:
            return list(self._kept.values())[max(0, len(self._kept) - n) :]

    def finished_after(self, position: int | None, most: int = 1000) -> tuple[list[Stored], int]:
        with self._lock:
            if position is None:
                return [], self._finishes
            found = [n for n in self._finished if n > position][:most]
            return [self._kept[self._finished[n]] for n in found], found[-1] if found else position

    def rows(self, since: float = 0.0) -> Iterator[Stored]:
        with self._lock:
            kept = list(self._kept.values())
        return (stored for stored in kept if stored.decision.received >= since)

    def prune(self, before: float, *, pending_before: float | None = None) -> int:
        limit = before if pending_before is None else pending_before
        with self._lock:
            gone = {i for i, s in self._kept.items() if s.decision.received < before}
            self._kept = {i: s for i, s in self._kept.items() if i not in gone}
            self._finished = {n: i for n, i in self._finished.items() if i in self._kept}
            early = ((i, [e for e in waiting if _time(e) >= limit]) for i, waiting in self._early.items())
            self._early = {i: waiting for i, waiting in early if waiting}
        return len(gone)

    def close(self) -> None:
        return None


def _time(entry: Entry) -> float:
    return entry.finished if isinstance(entry, OutcomeEntry) else entry.received
