"""API keys: shown once, verified in memory, revoked across processes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.errors import InputError, UnknownName
from equipoise.storage.keys import KeyStore
from equipoise.storage.store import StoreUnavailable

NOW = 2e9
URL = "sqlite:///keys.db"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[URL, "memory://"])
def keys(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[KeyStore]:
    keys = KeyStore(request.param, folder=tmp_path, clock=clock)
    yield keys
    keys.close()


def test_a_key_opens_with_what_it_was_made_for(keys: KeyStore) -> None:
    key, info = keys.create(name="app", tenant="acme", scopes=("call", "read"), now=NOW)
    assert re.fullmatch(r"eq-[A-Za-z0-9_-]{43}", key)
    assert keys.verify(key, NOW) == info
    assert (info.name, info.tenant, info.scopes) == ("app", "acme", {"call", "read"})
    assert key[3:11] == info.id and keys.keys() == [info]


def test_nothing_else_opens(keys: KeyStore) -> None:
    key, _ = keys.create(name="app", now=NOW)
    other = key[:-1] + ("A" if key[-1] != "A" else "Q")
    for wrong in (other, key[:11] + "A" * 35, "xx" + key[2:], key[:-1], key + "A", "", "eq-", "ü" * 46, "\ud800" * 46):
        assert keys.verify(wrong, NOW) is None


def test_a_key_expires(keys: KeyStore) -> None:
    key, _ = keys.create(name="app", now=NOW, expires=NOW + 10)
    assert keys.verify(key, NOW + 9.9) is not None
    assert keys.verify(key, NOW + 10) is None


def test_a_revoked_key_opens_nothing(keys: KeyStore) -> None:
    key, info = keys.create(name="app", now=NOW)
    kept, _ = keys.create(name="other", now=NOW)
    assert keys.revoke("eq-" + info.id, now=NOW + 1).revoked == NOW + 1
    assert keys.revoke(info.id, now=NOW + 5).revoked == NOW + 1
    assert keys.verify(key, NOW) is None and keys.verify(kept, NOW) is not None
    assert [k.revoked for k in keys.keys()].count(NOW + 1) == 1


def test_bad_keys_are_refused_in_one_line(keys: KeyStore) -> None:
    with pytest.raises(UnknownName, match="did you mean 'call'"):
        keys.create(name="app", scopes=("calls",), now=NOW)
    for bad in ({"name": ""}, {"name": "a\nb"}, {"name": "a", "tenant": ""}, {"name": "a", "scopes": ()}):
        with pytest.raises(InputError):
            keys.create(**{"now": NOW, **bad})  # type: ignore[arg-type]
    for expires in (NOW, float("nan")):
        with pytest.raises(InputError, match="expired already"):
            keys.create(name="a", now=NOW, expires=expires)
    with pytest.raises(UnknownName):
        keys.revoke("eq-nothing", now=NOW)
    assert keys.keys() == []


def test_an_error_never_repeats_a_pasted_key(keys: KeyStore) -> None:
    secret = "eq-" + "AbCdEfGh" + "s" * 35
    with pytest.raises(UnknownName) as refused:
        keys.revoke(secret, now=NOW)
    assert "sss" not in str(refused.value)


def test_another_process_is_heard_within_a_second(tmp_path: Path, clock: Clock) -> None:
    gateway, command = KeyStore(URL, folder=tmp_path, clock=clock), KeyStore(URL, folder=tmp_path)
    key, info = command.create(name="app", now=NOW)
    assert gateway.verify(key, NOW) is None
    clock.now += 1.0
    assert gateway.verify(key, NOW) == info
    command.revoke(info.id, now=NOW)
    assert gateway.verify(key, NOW) is not None
    clock.now += 1.0
    assert gateway.verify(key, NOW) is None
    gateway.close()
    command.close()


def test_the_file_holds_no_key(tmp_path: Path) -> None:
    keys = KeyStore(URL, folder=tmp_path)
    key, _ = keys.create(name="app", now=NOW)
    keys.close()
    assert all(key[11:].encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_known_keys_go_on_while_the_file_cannot_be_read(tmp_path: Path, clock: Clock) -> None:
    keys = KeyStore(URL, folder=tmp_path, clock=clock)
    key, info = keys.create(name="app", now=NOW)
    other = sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    other.execute("ALTER TABLE keys_version RENAME TO gone")
    clock.now += 5.0
    assert keys.verify(key, NOW) == info and keys.stale
    other.execute("ALTER TABLE gone RENAME TO keys_version")
    other.close()
    clock.now += 5.0
    assert keys.verify(key, NOW) == info and not keys.stale
    keys.close()


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    keys = KeyStore(URL, folder=tmp_path)
    keys._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="try again"):
        keys.create(name="app", now=NOW)
    keys.close()
