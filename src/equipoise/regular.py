"""Files to read, none of which keeps its reader waiting."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """A file, open to be read. A pipe in its place would hold up whoever opens it, until somebody writes.

    Raises:
        OSError: it cannot be read, or is none.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: PTH123, SIM115  (Path.open takes no opener)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "a pipe or device, which is no file to read", str(path))
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
