"""The append-only journal in front of a database: what it has taken outlives the process, ``kill -9`` included.

A record is one line, ``CHECKSUM TAB payload NEWLINE``, handed to the kernel by one ``write``: when ``append``
returns True, the line is in the page cache, which outlives the process. A power cut can take what was not
synced yet. A line that was torn, by a full disk or a power cut, fails its checksum and is left out.

Lines go to numbered segments in one folder. A reader keeps its place as a ``Mark``; segments before it can go.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".jsonl"
_CHECKSUM = 9  # eight hexadecimal digits and a tab
_AGAIN = b"!"  # ends what was torn off, and is written again behind it
_MOST_LINE = 64 << 20
_MOST_WAITING = 16 << 20


class Mark(NamedTuple):
    """A place in the journal: everything before it has been read."""

    segment: int = 0
    offset: int = 0


class Chunk(NamedTuple):
    """Payloads of whole lines, the place after them, and how many lines between were damaged."""

    payloads: list[bytes]
    end: Mark
    damaged: int = 0


def segments(folder: Path) -> list[int]:
    """Numbers of the segments in a folder, oldest first."""
    names = (path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    return sorted(int(name) for name in names if name.isdecimal())


def segment_path(folder: Path, number: int) -> Path:
    """Where a segment lies."""
    return folder / f"{number:08d}{SUFFIX}"


class Journal:
    """The writing end. Not locked: the caller lets one thread in at a time.

    While the disk takes nothing, records wait in memory, ``most_waiting`` bytes at most; ``retry`` writes them.

    Args:
        folder: holds the segments; made if missing.
        number: of the first segment to write; it must not exist.

    Raises:
        OSError: the folder or the segment cannot be made.
    """

    def __init__(self, folder: Path, number: int, *, most_waiting: int = _MOST_WAITING) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._most_waiting = folder, most_waiting
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.lost = 0
        self.trouble: str | None = None
        self._number, self._size, self._joint = number, 0, b""
        self._handle = self._made(number)

    def _made(self, number: int) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(segment_path(self._folder, number), flags, 0o600)

    @property
    def end(self) -> Mark:
        """The place after the last record."""
        return Mark(self._number, self._size)

    @property
    def waiting(self) -> int:
        """Records that the disk has not taken yet."""
        return len(self._waiting)

    def append(self, payload: bytes) -> bool:
        """Write one record, which holds no newline. False: the disk refused it, so it waits in memory only."""
        line = b"%08x\t%b\n" % (zlib.crc32(payload), payload)
        if not self._waiting and self._write(line):
            return True
        if self._waiting_bytes + len(line) > self._most_waiting:
            self.lost += 1
        else:
            self._waiting.append(line)
            self._waiting_bytes += len(line)
        return False

    def _write(self, line: bytes) -> bool:
        try:
            written = os.write(self._handle, self._joint + line)
        except OSError as error:
            self.trouble = error.strerror or type(error).__name__
            return False
        self._size += written
        if written < len(self._joint) + len(line):
            # What was torn off is spoilt and stays as a line of its own; the next record begins after it.
            self._joint, self.trouble = _AGAIN + b"\n", "the disk took only a part"
            return False
        self._joint, self.trouble = b"", None
        return True

    def retry(self) -> bool:
        """Write what waits in memory. False: the disk still takes nothing."""
        while self._waiting:
            if not self._write(self._waiting[0]):
                return False
            self._waiting_bytes -= len(self._waiting.popleft())
        return True

    def sync(self) -> None:
        """Wait until the current segment would outlive a power cut. May run beside ``append``.

        Raises:
            OSError: the disk failed.
        """
        os.fdatasync(self._handle)

    def next_segment(self) -> int:
        """Make the next segment, for ``rotate``; the disk may take its time. May run beside ``append``.

        Raises:
            OSError: it cannot be made.
        """
        return self._made(self._number + 1)

    def rotate(self, made: int) -> int:
        """Go on in the segment that ``next_segment`` made. Returns the old one's file handle, to be closed."""
        old, self._handle = self._handle, made
        self._number, self._size, self._joint = self._number + 1, 0, b""
        return old

    def close(self) -> None:
        """Write what waits, as far as the disk takes it, and let go of the file."""
        self.retry()
        os.close(self._handle)


def read_after(folder: Path, mark: Mark, *, live: int | None = None, chunk_bytes: int = 1 << 16) -> Iterator[Chunk]:
    """Everything after a mark, in chunks of whole lines.

    Args:
        live: the segment that is being written: an unfinished last line there may still come, while in the
            others it is damage. None when another process may be writing: unfinished lines are let be.
    """
    for number in segments(folder):
        if number < mark.segment:
            continue
        offset = mark.offset if number == mark.segment else 0
        try:
            with segment_path(folder, number).open("rb") as file:
                file.seek(offset)
                yield from _chunks(file.fileno(), Mark(number, offset), chunk_bytes, live is not None and number < live)
        except FileNotFoundError:  # its reader has finished with it meanwhile
            continue


def _chunks(handle: int, at: Mark, chunk_bytes: int, finished: bool) -> Iterator[Chunk]:
    rest = b""
    while data := os.read(handle, chunk_bytes):
        rest += data
        cut = rest.rfind(b"\n") + 1
        if cut:
            at = Mark(at.segment, at.offset + cut)
            yield _parsed(rest[:cut], at)
            rest = rest[cut:]
        elif len(rest) > _MOST_LINE:
            break
    if finished and rest:
        size = os.fstat(handle).st_size
        yield Chunk([], Mark(at.segment, size), 1)


def _parsed(lines: bytes, end: Mark) -> Chunk:
    payloads, damaged = [], 0
    for line in lines.split(b"\n"):
        payload = line[_CHECKSUM:]
        if line[:_CHECKSUM] == b"%08x\t" % zlib.crc32(payload):
            payloads.append(payload)
        elif line and not line.endswith(_AGAIN):
            damaged += 1
    return Chunk(payloads, end, damaged)


def drop_before(folder: Path, mark: Mark) -> None:
    """Remove the segments that have been read to their end."""
    for number in segments(folder):
        if number < mark.segment:
            with suppress(OSError):
                segment_path(folder, number).unlink()
