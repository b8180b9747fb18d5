"""A provider's key: named by environment variable or file, read when it is needed, never kept in a record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from equipoise.environment import from_home
from equipoise.errors import ConfigError
from equipoise.regular import open_regular
from equipoise.types import Deployment

Secret = Callable[[str], str]
_MOST_BYTES = 16 << 10


class Key:
    """The key of one deployment. A file is read again when it changes, so that keys can be rotated."""

    def __init__(self, deployment: Deployment, secret: Secret, *, default_env: str | None = None) -> None:
        self._env = deployment.api_key_env or (None if deployment.api_key_file else default_env)
        self._file = from_home(deployment.api_key_file) if deployment.api_key_file else None
        self._secret = secret
        self._read: tuple[tuple[int, int], str] | None = None

    def value(self) -> str | None:
        """The key; None for a server that asks for none.

        Raises:
            ConfigError: the variable or file is missing or is no key. Its name is told, never its content.
        """
        if self._env is not None:
            return _fit(self._secret(self._env), f"environment variable {self._env}")
        return self._from_file(self._file) if self._file is not None else None

    def _from_file(self, path: Path) -> str:
        try:
            state = path.stat()
            changed = state.st_ino, state.st_mtime_ns
            if self._read is None or self._read[0] != changed:
                with open_regular(path) as file:
                    text = file.read(_MOST_BYTES).decode("ascii", "replace")
                self._read = (changed, _fit(text, f"api_key_file {path}"))
        except OSError as error:
            raise ConfigError(f"api_key_file {path}: {error.strerror}; write the provider's key there") from None
        return self._read[1]


def _fit(text: str, where: str) -> str:
    key = text.strip()
    if key and key.isascii() and key.isprintable():
        return key
    raise ConfigError(f"{where} holds no key: it is empty, or not one line of plain characters")
