"""Decisions in one SQLite file (write-ahead logging: readers never wait for the writer)."""
# ruff: noqa: D102  (the contract carries the docstrings)

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from equipoise.storage.connection import connect, connect_to_read
from equipoise.storage.journal import Mark
from equipoise.storage.store import (
    DecisionEntry,
    Entry,
    FeedbackEntry,
    OutcomeEntry,
    Store,
    Stored,
    StoreUnavailable,
)

_MOST_ROWS = 7  # rows per statement, as a power of two
_PRUNED_AT_ONCE = 500
_MOST_OWNER_WAIT_S = 0.05
_INSERTS: dict[type[Any], tuple[str, int, str]] = {
    DecisionEntry: (
        "INSERT INTO decisions (id, tenant, received, route, format, model, prompt, body) VALUES ",
        8,
        " ON CONFLICT (id) DO NOTHING",
    ),
    OutcomeEntry: (
        "INSERT INTO outcomes (id, finished, status, model, cost_usd, body) VALUES ",
        6,
        " ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, status = excluded.status,"
        " model = excluded.model, cost_usd = excluded.cost_usd, body = excluded.body"
        " WHERE excluded.finished >= finished",
    ),
    FeedbackEntry: (
        "INSERT INTO feedback (id, tenant, source, received, reward, comment) VALUES ",
        6,
        " ON CONFLICT (id, tenant, source) DO UPDATE SET received = excluded.received, reward = excluded.reward,"
        " comment = excluded.comment WHERE excluded.received >= received",
    ),
}
_STATEMENTS = {
    (kind, power): start + ", ".join([f"({', '.join('?' * width)})"] * 2**power) + end
    for kind, (start, width, end) in _INSERTS.items()
    for power in range(_MOST_ROWS + 1)
}
_UNUSABLE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
_SELECT = (
    "SELECT d.position, d.id, d.tenant, d.received, d.route, d.format, d.model, d.prompt, d.body,"
    " o.id, o.finished, o.status, o.model, o.cost_usd, o.body, o.position"
    " FROM decisions d LEFT JOIN outcomes o ON o.id = d.id"
)
_LAST_OUTCOME = "SELECT coalesce(max(position), 0) FROM outcomes"
# Outcomes that replace another keep its position, and are not counted again.
_COUNT_SPENT = (
    "INSERT INTO spending (tenant, day, cost_usd)"
    " SELECT d.tenant, CAST(o.finished / 86400 AS INTEGER), sum(o.cost_usd)"
    " FROM outcomes o CROSS JOIN decisions d ON d.id = o.id WHERE o.position > ? GROUP BY 1, 2"
    " ON CONFLICT (tenant, day) DO UPDATE SET cost_usd = cost_usd + excluded.cost_usd"
)
_SPENT = "SELECT tenant, day, cost_usd FROM spending WHERE day >= ?"
_FEEDBACK = (
    "SELECT id, tenant, source, received, reward, comment FROM feedback WHERE id = ? AND tenant = ? ORDER BY source"
)


class SqliteStore(Store):
    """One connection writes, for one thread at a time; another reads; a third looks up owners for requests.

    Args:
        path: the file.
        write: make the file if it is missing, and bring its schema up to date. Else it is only read.
        wait_s: how long to wait for another process that writes.
    """

    def __init__(self, path: Path, *, write: bool = True, wait_s: float = 5.0) -> None:
        self._path, self._wait_s = path, wait_s
        self._writer = connect(path, wait_s=wait_s) if write else None
        self._reader = connect_to_read(path, wait_s=wait_s)
        # Asked in the path of requests, which would rather not know than wait.
        self._owners = connect_to_read(path, wait_s=_MOST_OWNER_WAIT_S)
        self._writing, self._reading, self._asking = threading.Lock(), threading.Lock(), threading.Lock()

    def ingest(self, entries: Sequence[Entry], mark: Mark | None = None) -> int:
        with self._transaction() as writer:
            before = writer.execute(_LAST_OUTCOME).fetchone()
            try:
                writer.execute("SAVEPOINT batch")
                _insert(writer, entries)
                unusable = 0
            except _UNUSABLE:
                # One bad row must not hold up the others for ever.
                writer.execute("ROLLBACK TO batch")
                unusable = _insert_singly(writer, entries)
            writer.execute(_COUNT_SPENT, before)
            if mark is not None:
                writer.execute("UPDATE journal SET segment = ?, position = ?", mark)
        return unusable

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._writer is None:
            raise StoreUnavailable(f"{self._path}: opened for reading only")
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from None
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with self._reading:
            try:
                self._reader.execute("BEGIN")
                yield self._reader
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from None
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")

    def mark(self) -> Mark:
        with self._snapshot() as reader:
            return _mark(reader)

    def owner(self, decision_id: str) -> str | None:
        found = self._looked_up("SELECT tenant FROM decisions WHERE id = ?", decision_id)
        return str(found[0][0]) if found else None

    def sources(self, decision_id: str, tenant: str, most: int) -> set[str]:
        select = "SELECT source FROM feedback WHERE id = ? AND tenant = ? LIMIT ?"
        return {str(row[0]) for row in self._looked_up(select, decision_id, tenant, most)}

    def spent(self, since_day: int) -> dict[str, dict[int, float]]:
        with self._snapshot() as reader:
            found: dict[str, dict[int, float]] = {}
            for tenant, day, cost_usd in reader.execute(_SPENT, (since_day,)):
                found.setdefault(tenant, {})[day] = cost_usd
            return found

    def _looked_up(self, select: str, *values: object) -> list[Any]:
        with self._asking:
            try:
                return self._owners.execute(select, values).fetchall()
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from None

    def read(self, decision_id: str) -> tuple[Stored | None, Mark]:
        with self._snapshot() as reader:
            row = reader.execute(_SELECT + " WHERE d.id = ?", (decision_id,)).fetchone()
            return None if row is None else _stored(reader, row), _mark(reader)

    def tail(self, n: int) -> list[Stored]:
        with self._snapshot() as reader:
            rows = reader.execute(_SELECT + " ORDER BY d.position DESC LIMIT ?", (max(0, n),)).fetchall()
            return [_stored(reader, row) for row in reversed(rows)]

    def finished_after(self, position: int | None, most: int = 1000) -> tuple[list[Stored], int]:
        with self._snapshot() as reader:
            if position is None:
                return [], int(reader.execute("SELECT coalesce(max(position), 0) FROM outcomes").fetchone()[0])
            query = _SELECT + " WHERE o.position > ? ORDER BY o.position LIMIT ?"
            rows = reader.execute(query, (position, most)).fetchall()
            return [_stored(reader, row) for row in rows], rows[-1][15] if rows else position

    def rows(self, since: float = 0.0) -> Iterator[Stored]:
        # A connection of its own: this may take minutes, and others want to read meanwhile.
        with closing(connect_to_read(self._path, wait_s=self._wait_s)) as reader:
            try:
                reader.execute("BEGIN")
                for row in reader.execute(_SELECT + " WHERE d.received >= ? ORDER BY d.position", (since,)):
                    yield _stored(reader, row)
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from None

    def prune(self, before: float, *, pending_before: float | None = None) -> int:
        removed = 0
        while True:
            with self._transaction() as writer:
                # A few at a time, so that whoever else writes never waits long.
                found = writer.execute(
                    "SELECT id FROM decisions WHERE received < ? LIMIT ?", (before, _PRUNED_AT_ONCE)
                ).fetchall()
                for table in ("outcomes", "feedback", "decisions"):
                    writer.executemany(f"DELETE FROM {table} WHERE id = ?", found)
            removed += len(found)
            if len(found) < _PRUNED_AT_ONCE:
                break
        if removed:
            self._empty_wal()
        limit = before if pending_before is None else pending_before
        with self._transaction() as writer:
            unjoined = "NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = feedback.id AND d.tenant = feedback.tenant)"
            writer.execute(f"DELETE FROM feedback WHERE received < ? AND {unjoined}", (limit,))
        return removed

    def _empty_wal(self) -> None:
        """Older pages stay in the write-ahead log until they are written over, which can take for ever."""
        with self._writing:
            if self._writer is not None:
                # Whoever reads at the moment may keep it until the next time: other writers are not to wait for that.
                with suppress(sqlite3.Error):
                    self._writer.execute("PRAGMA busy_timeout = 100")
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._writer.execute(f"PRAGMA busy_timeout = {round(self._wait_s * 1000)}")

    def close(self) -> None:
        with self._reading, self._writing, self._asking:
            self._reader.close()
            self._owners.close()
            if self._writer is not None:
                self._writer.close()


def _insert(writer: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Many rows in one statement: SQLite then works through them without asking for the interpreter's lock."""
    for kind in _INSERTS:
        rows = [entry for entry in entries if entry.__class__ is kind]
        done = 0
        while done < len(rows):
            power = min(_MOST_ROWS, (len(rows) - done).bit_length() - 1)
            values = tuple(chain.from_iterable(rows[done : done + 2**power]))
            writer.execute(_STATEMENTS[kind, power], values)
            done += 2**power


def _insert_singly(writer: sqlite3.Connection, entries: Sequence[Entry]) -> int:
    unusable = 0
    for entry in entries:
        try:
            writer.execute(_STATEMENTS[entry.__class__, 0], entry)
        except _UNUSABLE:
            unusable += 1
    return unusable


def _mark(reader: sqlite3.Connection) -> Mark:
    return Mark(*reader.execute("SELECT segment, position FROM journal").fetchone())


def _stored(reader: sqlite3.Connection, row: Sequence[Any]) -> Stored:
    decision = DecisionEntry(*row[1:9])
    outcome = None if row[9] is None else OutcomeEntry(*row[9:15])
    feedback = reader.execute(_FEEDBACK, (decision.id, decision.tenant))
    return Stored(decision, outcome, tuple(FeedbackEntry(*f) for f in feedback), row[0])
