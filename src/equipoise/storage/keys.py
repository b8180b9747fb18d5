"""API keys of the gateway: made once, kept as hashes, revocable.

A key is ``eq-`` and 32 random bytes in base64url, shown when it is made and never again. Its first eight
characters after ``eq-`` are its public id, by which it is found and revoked; the other 208 bits are the secret.
Only the SHA-256 of the whole is kept. A slow password hash would add nothing: there is no guessing 208 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import InputError, UnknownName
from equipoise.storage.connection import connect, connect_to_read
from equipoise.storage.store import StoreUnavailable, database_path

PREFIX = "eq-"
SCOPES = ("call", "feedback", "read", "admin")
DEFAULT_TENANT = "default"
_BYTES = 32
_KEY_CHARACTERS = 46
_ID_END = len(PREFIX) + 8
_MOST_NAME = 200
_LOOK_S = 1.0
_NEVER = 253_402_300_800.0  # the year 10000, which dates cannot tell
_NO_HASH = bytes(32)
_COLUMNS = "id, hash, name, tenant, scopes, created, expires, revoked"


class KeyInfo(NamedTuple):
    """What is known of a key; never the key itself. Times are Unix times."""

    id: str
    name: str
    tenant: str
    scopes: frozenset[str]
    created: float
    expires: float | None = None
    revoked: float | None = None

    def opens(self, now: float) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class _Held(NamedTuple):
    hash: bytes
    info: KeyInfo


class KeyStore:
    """The keys of one database file; those of ``memory://`` die with the process.

    ``verify`` looks in memory. Other processes' changes are looked for in the file every second.

    Args:
        url: ``sqlite:///FILE`` or ``memory://``.
        folder: what FILE is relative to.
        clock: a clock that never goes back, in seconds.

    Raises:
        InputError: the file cannot be opened.
        StateError: it is of a newer version.
    """

    def __init__(
        self,
        url: str,
        *,
        folder: Path = Path(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = database_path(url, folder)
        self._writer = connect(self._path)
        # The one that looks for changes is in the path of requests: it would rather be late than wait.
        self._reader = self._writer if self._path is None else connect_to_read(self._path, wait_s=0.05)
        self._clock = clock
        self._lock = threading.Lock()
        # Who looks does not wait for who writes, which takes as long as others keep the file locked.
        self._writing = self._lock if self._reader is self._writer else threading.Lock()
        self._held: dict[str, _Held] = {}
        self._version = -1
        self._next_look = 0.0
        self.stale = False
        self._look()
        if self.stale:
            raise InputError(f"{self._path}: the keys cannot be read; is another program using the file?")

    def verify(self, key: str, now: float) -> KeyInfo | None:
        """Whose key it is; None for one that is unknown, revoked or expired. Microseconds; never raises."""
        if self._clock() >= self._next_look:
            self._look()
        if len(key) != _KEY_CHARACTERS or not key.isascii():
            return None
        held = self._held.get(key[len(PREFIX) : _ID_END])
        given = hashlib.sha256(key.encode()).digest()
        # Compared also when there is no such id, so that both take equally long.
        same = hmac.compare_digest(given, _NO_HASH if held is None else held.hash)
        if held is None or not same:
            return None
        return held.info if held.info.opens(now) else None

    def _look(self) -> None:
        """Read the keys again if any changed. Where the file cannot be read, the known ones stay (``stale``)."""
        with self._lock:
            self._next_look = self._clock() + _LOOK_S
            try:
                version = int(self._reader.execute("SELECT version FROM keys_version").fetchone()[0])
                if version != self._version:
                    # The version first: a key that comes between the two is read twice, never missed.
                    self._held = {row[0]: _held(row) for row in self._reader.execute(f"SELECT {_COLUMNS} FROM keys")}
                    self._version = version
                self.stale = False
            except sqlite3.Error:
                self.stale = True

    def create(
        self,
        *,
        name: str,
        now: float,
        tenant: str = DEFAULT_TENANT,
        scopes: Collection[str] = ("call", "feedback"),
        expires: float | None = None,
    ) -> tuple[str, KeyInfo]:
        """A new key, in full for this one time, and what is kept of it.

        Raises:
            UnknownName: a scope that there is not.
            InputError: a name that is empty or too long, no scope, or an expiry that has passed.
            StoreUnavailable: the file cannot be written just now.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise UnknownName("scope", scope, SCOPES)
        for what, text in (("name", name), ("tenant", tenant)):
            if not 0 < len(text) <= _MOST_NAME or not text.isprintable():
                raise InputError(f"the {what} of a key must be 1 to {_MOST_NAME} printable characters; got {text!r}")
        if not scopes:
            raise InputError(f"a key without scopes opens nothing; give some of {', '.join(SCOPES)}")
        if expires is not None and not expires > now:
            raise InputError("the key would have expired already; give a later expiry")
        if expires is not None and expires >= _NEVER:
            raise InputError("the key would outlive the year 9999; give an earlier expiry, or none")
        key = PREFIX + secrets.token_urlsafe(_BYTES)
        info = KeyInfo(key[len(PREFIX) : _ID_END], name, tenant, frozenset(scopes), now, expires)
        row = (info.id, hashlib.sha256(key.encode()).digest(), name, tenant, ",".join(sorted(scopes)), now, expires)
        self._change(f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", row)
        return key, info

    def revoke(self, key_id: str, *, now: float) -> KeyInfo:
        """Make a key worthless, at once here and within a second in other processes.

        Args:
            key_id: with or without ``eq-`` in front.

        Raises:
            UnknownName: no key has this id.
            StoreUnavailable: the file cannot be written just now.
        """
        self._look()
        wanted = key_id[:_ID_END].removeprefix(PREFIX)
        if wanted not in self._held:
            raise UnknownName("key", key_id[:_ID_END], [PREFIX + i for i in self._held])
        self._change("UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, wanted))
        return self._held[wanted].info

    def _change(self, statement: str, values: tuple[object, ...]) -> None:
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                self._writer.execute(statement, values)
                self._writer.execute("UPDATE keys_version SET version = version + 1")
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise StoreUnavailable(f"{self._path}: {error}; try again") from None
        self._look()

    def keys(self) -> list[KeyInfo]:
        """Every key, revoked and expired ones too, oldest first."""
        self._look()
        return sorted((held.info for held in self._held.values()), key=lambda info: (info.created, info.id))

    def close(self) -> None:
        """Let go of the file."""
        with closing(self._writer), closing(self._reader):
            self._held = {}


def _held(row: tuple[str, bytes, str, str, str, float, float | None, float | None]) -> _Held:
    key_id, digest, name, tenant, scopes, created, expires, revoked = row
    return _Held(digest, KeyInfo(key_id, name, tenant, frozenset(scopes.split(",")), created, expires, revoked))
