"""What is taken from the environment of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.environment import cache_folder, data_folders, secret
from equipoise.errors import ConfigError


def test_a_secret_is_named_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-hidden")
    assert secret("SOME_KEY") == "sk-hidden"
    monkeypatch.setenv("SOME_KEY", "")
    with pytest.raises(ConfigError, match="SOME_KEY is not set"):
        secret("SOME_KEY")


def test_folders_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUIPOISE_DATA", f"{tmp_path}:/other")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    assert data_folders() == (tmp_path, Path("/other"), tmp_path / "cache")
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("EQUIPOISE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "equipoise"


def test_who_has_no_home_folder_does_without_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EQUIPOISE_DATA", "EQUIPOISE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert data_folders() == ()
    with pytest.raises(ConfigError, match="no home folder"):
        cache_folder()
