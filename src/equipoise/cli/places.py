"""Where commands find what the gateway keeps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from equipoise.config import DEFAULT_FILE, read_config
from equipoise.errors import ConfigError, InputError
from equipoise.storage.store import database_path


class Place(NamedTuple):
    """``storage.url`` of a configuration; what it names is relative to the folder of that file."""

    url: str
    folder: Path
    path: Path


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """``--config``."""
    parser.add_argument(
        "--config", metavar="F", type=Path, default=DEFAULT_FILE, help="configuration (default equipoise.yaml)"
    )


def storage_of(args: argparse.Namespace, *, must_exist: bool = True) -> Place:
    """The database file that the configuration names.

    Raises:
        ConfigError: the configuration is missing or bad, or names no file.
        InputError: the file is not there.
    """
    url, folder = read_config(args.config).storage.url, args.config.parent
    try:
        path = database_path(url, folder)
    except ConfigError as error:
        raise ConfigError(f"{args.config}: {error}") from None
    if path is None:
        raise ConfigError(
            f"{args.config}: storage.url is memory://, which other processes cannot see; give sqlite:///FILE"
        )
    if must_exist and not path.is_file():
        raise InputError(f"{path}: not there yet; `equipoise serve` or `equipoise keys create` makes it")
    return Place(url, folder, path)
