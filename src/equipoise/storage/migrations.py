"""The database schema, as the list of steps that made it. A step, once released, is never changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import StateError


class Migration(NamedTuple):
    """One named step of the schema."""

    name: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        "decisions, outcomes and feedback",
        (
            "CREATE TABLE decisions (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,"
            " received REAL NOT NULL, route TEXT NOT NULL, format TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT,"
            " body TEXT NOT NULL)",
            "CREATE INDEX decisions_received ON decisions (received)",
            "CREATE TABLE outcomes (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, finished REAL NOT NULL,"
            " status TEXT NOT NULL, model TEXT, cost_usd REAL NOT NULL, body TEXT NOT NULL)",
            "CREATE TABLE feedback (id TEXT NOT NULL, tenant TEXT NOT NULL, source TEXT NOT NULL,"
            " received REAL NOT NULL, reward REAL NOT NULL, comment TEXT, PRIMARY KEY (id, tenant, source))",
            "CREATE TABLE journal (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL,"
            " position INTEGER NOT NULL)",
            "INSERT INTO journal VALUES (1, 0, 0)",
        ),
    ),
    Migration(
        "API keys",
        (
            "CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL,"
            " scopes TEXT NOT NULL, created REAL NOT NULL, expires REAL, revoked REAL) WITHOUT ROWID",
            "CREATE TABLE keys_version (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL)",
            "INSERT INTO keys_version VALUES (1, 0)",
        ),
    ),
    Migration(
        "what tenants have spent by day",
        (
            "CREATE TABLE spending (tenant TEXT NOT NULL, day INTEGER NOT NULL, cost_usd REAL NOT NULL,"
            " PRIMARY KEY (tenant, day)) WITHOUT ROWID",
            "INSERT INTO spending SELECT d.tenant, CAST(o.finished / 86400 AS INTEGER), sum(o.cost_usd)"
            " FROM outcomes o JOIN decisions d ON d.id = o.id GROUP BY 1, 2",
        ),
    ),
)


def migrate(connection: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring a database to the schema of this version, in one transaction.

    Raises:
        StateError: a newer version of Equipoise, or another program, made the file.
    """
    if check_version(connection, path, migrations) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited for the lock.
        for migration in migrations[check_version(connection, path, migrations) :]:
            for statement in migration.statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def check_version(connection: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """The number of steps that a database has been through. Raises as ``migrate``."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StateError(
            f"{path}: written by a newer version of equipoise (schema {version}, this one knows {len(migrations)}); "
            "upgrade equipoise, or name another storage.url"
        )
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StateError(f"{path}: a database of another program; name another file in storage.url")
    return version
