"""The environment of the process: secrets, and the user's folders. No other module reads it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from equipoise.errors import ConfigError


def from_home(path: str) -> Path:
    """A path whose ``~`` is the user's home folder.

    Raises:
        ConfigError: it has one, and the user has none, as in many a container.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: this user has no home folder; write the whole path, or set HOME") from None


def secret(name: str) -> str:
    """The value of a secret's environment variable.

    Raises:
        ConfigError: the variable is not set or empty. Its name is told, never a value.
    """
    if not (value := os.environ.get(name)):
        raise ConfigError(f"environment variable {name} is not set; export it with the provider's key")
    return value


def data_folders() -> tuple[Path, ...]:
    """Where public data sets are looked for: ``EQUIPOISE_DATA``, separated as PATH is, then among the downloads."""
    named = [from_home(p) for p in os.environ.get("EQUIPOISE_DATA", "").split(os.pathsep) if p]
    with suppress(ConfigError):  # who has no home folder has no downloads, and may not need any
        named.append(cache_folder())
    return tuple(named)


def cache_folder() -> Path:
    """Where downloads are kept: ``EQUIPOISE_CACHE``, else the user's cache folder.

    Raises:
        ConfigError: the user has none.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return from_home(os.environ.get("EQUIPOISE_CACHE") or f"{base}/equipoise")
