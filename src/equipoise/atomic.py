"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from equipoise.errors import InputError


def check_target(path: Path, *, inputs: tuple[Path | None, ...] = ()) -> None:
    """Find out before any long work whether ``path`` can be written.

    Args:
        inputs: files that are read, None for one that is not given; writing over one of them is refused.

    Raises:
        InputError: the folder does not exist or is closed to this user, ``path`` is a folder or a device, or it is an
            input.
    """
    try:
        _check(path, inputs)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name a file in a writable folder") from None


def _check(path: Path, inputs: tuple[Path | None, ...]) -> None:
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written (no folder {path.parent}); make the folder, or name another file")
    folder = path.parent.absolute()
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written ({folder} is closed to you); name a file in a writable folder")
    # Renaming over a device such as /dev/null would replace it for the whole machine.
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be written (not a regular file); name a file")
    for given in inputs:
        if given is not None and path.exists() and given.exists() and path.samefile(given):
            raise InputError(f"{path}: is read by this command and would be overwritten; name another file")


def write_whole(path: Path, write: Callable[[BinaryIO], object], *, private: bool = False) -> None:
    """Write beside ``path``, then rename over it; an interrupted write leaves ``path`` as it was.

    Args:
        private: nobody but its owner may read it. Who may read a file that is there already stays as it is.

    Raises:
        InputError: the folder does not exist or cannot be written, or the disk is full.
    """
    check_target(path)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        before = path.stat().st_mode & 0o777 if path.exists() else None
        # A killed process of the same number may have left one. A link that somebody else puts there is not followed.
        beside.unlink(missing_ok=True)
        mode = 0o666 if before is None and not private else 0o600
        with open(beside, "xb", opener=partial(os.open, mode=mode)) as file:  # noqa: PTH123  (Path.open takes no opener)
            if before is not None:
                os.fchmod(file.fileno(), before)
            write(file)
            file.flush()
            # Else a power cut could leave the new name with none of the data.
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be written ({reason}); name a file in a writable folder") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
