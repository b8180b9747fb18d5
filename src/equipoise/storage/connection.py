"""Connections to the SQLite file that holds decisions and keys."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from equipoise.errors import ConfigError, InputError
from equipoise.storage.migrations import MIGRATIONS, check_version, migrate

# Where the configuration says it.
PLACE = ("storage", "url")
_MOST_WAL_BYTES = 64 << 20


def connect(path: Path | None, *, wait_s: float = 5.0) -> sqlite3.Connection:
    """A connection for writing; makes the file and brings its schema up to date. None: a database in memory.

    Raises:
        ConfigError: the file cannot be made or is no database.
        StateError: it is of a newer version, or of another program.
    """
    if path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        migrate(connection, Path(":memory:"))
        return connection
    check_folder(path)
    try:
        # Prompts may be in it, so it is the owner's alone. One that is there is left to SQLite: closing it here would
        # drop this process' locks on it, and the next program to open and close it would delete the WAL under us.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        said = f"{path}: {error.strerror}; name another file in storage.url"
        raise ConfigError(said, place=PLACE) from None
    return _opened(path, "rw", wait_s, write=True)


def check_folder(path: Path) -> None:
    """Refuse a file that cannot be there.

    Raises:
        ConfigError: its folder is missing, it is one itself, or one of the two cannot be written.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: this is a folder; name a file in storage.url", place=PLACE)
    if not path.parent.is_dir():
        said = f"{path}: no folder {path.parent}; make it, or name another file in storage.url"
        raise ConfigError(said, place=PLACE)
    # SQLite opens what it cannot write without a word, and the folder holds lock, journal and write-ahead log.
    for needed in (path.parent, path):
        if needed.exists() and not os.access(needed, os.W_OK):
            said = f"{needed}: cannot be written; give this user the right to, or name another file in storage.url"
            raise ConfigError(said, place=PLACE)


def connect_to_read(path: Path, *, wait_s: float = 5.0) -> sqlite3.Connection:
    """A connection for reading a file that is there, also while another process writes it. Raises as ``connect``."""
    if not path.is_file():
        raise InputError(f"{path}: no such decision log; `equipoise serve` makes it, or name another in storage.url")
    return _opened(path, "rw" if os.access(path, os.W_OK) else "ro", wait_s, write=False)


def _opened(path: Path, mode: str, wait_s: float, *, write: bool) -> sqlite3.Connection:
    where = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    with ExitStack() as stack:
        try:
            connection = sqlite3.connect(where, uri=True, timeout=wait_s, isolation_level=None, check_same_thread=False)
            stack.callback(connection.close)
            if write:
                connection.execute("PRAGMA page_size = 8192")
                connection.execute("PRAGMA journal_mode = WAL")
                # The journal's segments go once a commit holds them, so a commit must outlive a power cut.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")
                # While someone reads for long, as an export does, the write-ahead log grows, and would stay so large.
                connection.execute(f"PRAGMA journal_size_limit = {_MOST_WAL_BYTES}")
                migrate(connection, path)
            else:
                connection.execute("PRAGMA query_only = ON")
                if check_version(connection, path) < len(MIGRATIONS):
                    raise InputError(f"{path}: written by an older version of equipoise; start `equipoise serve` once")
        except sqlite3.Error as error:
            said = f"{path}: cannot be opened ({error}); name another file in storage.url"
            raise ConfigError(said, place=PLACE) from None
        stack.pop_all()
        return connection
