"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from equipoise.errors import InputError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside ``path``, then rename over it; an interrupted write leaves ``path`` as it was.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with beside.open("wb") as file:
            write(file)
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name a file in a writable folder") from None
    finally:
        beside.unlink(missing_ok=True)
