"""A pipe in the place of a file keeps no reader waiting: it is told by its name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.catalog.pricefile import read_models
from equipoise.collect.candidates import read_candidates
from equipoise.config import read_config
from equipoise.errors import EquipoiseError
from equipoise.providers.keys import Key
from equipoise.regular import open_regular
from equipoise.types import Deployment


def key_in(path: Path) -> object:
    return Key(Deployment(provider="openai", api_key_file=str(path)), str).value()


@pytest.mark.parametrize("read", [read_config, read_models, read_candidates, key_in])
def test_a_pipe_is_refused_at_once(tmp_path: Path, read: Callable[[Path], object]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Whoever waits for somebody to write is let go, so that a test that fails ends.
    threading.Thread(target=lambda: pipe.open("wb").close(), daemon=True).start()
    with pytest.raises(EquipoiseError, match="pipe: .*a pipe or device"):
        read(pipe)


def test_a_file_is_read_through_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"


def test_a_folder_and_nothing_are_told_as_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
