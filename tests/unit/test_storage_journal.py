"""The journal: what it took is there, whatever the disk or a power cut did to the rest."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.storage import journal
from equipoise.storage.journal import Journal, Mark, drop_before, read_after, segment_path, segments

START = Mark()


def rotate(writer: Journal) -> None:
    os.close(writer.rotate(writer.next_segment()))


def payloads(folder: Path, mark: Mark = START, *, live: int | None = None) -> list[bytes]:
    return [p for chunk in read_after(folder, mark, live=live) for p in chunk.payloads]


def damaged(folder: Path, *, live: int | None = None) -> int:
    return sum(chunk.damaged for chunk in read_after(folder, Mark(), live=live))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "segments"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300).map(lambda b: b.replace(b"\n", b"")), max_size=30), st.integers(1, 400))
def test_records_come_back_in_order_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes], chunk_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("journal") / "segments"
    writer = Journal(folder, 1)
    for i, record in enumerate(records):
        assert writer.append(record)
        if i % 10 == 9:
            rotate(writer)
    found: list[bytes] = []
    marks = [Mark()]
    for chunk in read_after(folder, Mark(), chunk_bytes=chunk_bytes):
        found += chunk.payloads
        marks.append(chunk.end)
        assert payloads(folder, chunk.end) == records[len(found) :]
    assert found == records and marks == sorted(marks)
    writer.close()


def test_a_torn_last_line_is_dropped_once_nobody_writes_it(folder: Path) -> None:
    writer = Journal(folder, 1)
    writer.append(b"one")
    writer.append(b"two")
    writer.close()
    path = segment_path(folder, 1)
    whole = path.read_bytes()
    for cut in range(1, len(b"12345678\ttwo\n")):
        path.write_bytes(whole[:-cut])
        assert payloads(folder, live=2) == payloads(folder) == [b"one"]
        assert damaged(folder, live=2) == 1  # it will never be finished
        assert damaged(folder, live=1) == damaged(folder) == 0  # it may still be


def test_a_damaged_line_costs_no_other(folder: Path) -> None:
    writer = Journal(folder, 1)
    for record in (b"one", b"two", b"three"):
        writer.append(record)
    writer.close()
    path = segment_path(folder, 1)
    path.write_bytes(path.read_bytes().replace(b"two", b"tVo"))
    assert payloads(folder) == [b"one", b"three"] and damaged(folder) == 1


class SmallDisk:
    """``os.write`` on a disk with some bytes left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        self._write = os.write
        monkeypatch.setattr(journal.os, "write", self)

    def __call__(self, handle: int, data: Any) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(handle, data[: self.left])
        self.left -= written
        return written


@pytest.mark.parametrize("left", range(0, 40))
def test_a_full_disk_tears_nothing_that_was_or_will_be_acknowledged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    writer = Journal(folder, 1)
    disk = SmallDisk(monkeypatch, left)
    acknowledged = [record for record in (b"one", b"two", b"three") if writer.append(record)]
    assert payloads(folder) == acknowledged
    assert (writer.trouble is None) == (writer.waiting == 0)
    disk.left = 10_000
    assert writer.retry() and writer.trouble is None
    writer.append(b"four")
    assert payloads(folder, live=1) == [b"one", b"two", b"three", b"four"]
    assert damaged(folder, live=1) == 0  # what was torn is there again
    writer.close()


def test_memory_is_bounded_while_the_disk_takes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Journal(folder, 1, most_waiting=1000)
    disk = SmallDisk(monkeypatch, 0)
    assert not any(writer.append(b"x" * 90) for _ in range(50))
    assert (writer.waiting, writer.lost) == (10, 40)
    assert not writer.retry() and writer.trouble == "No space left on device"
    disk.left = 10_000
    assert writer.retry()
    assert len(payloads(folder)) == 10
    writer.close()


def test_segments_that_have_been_read_are_dropped(folder: Path) -> None:
    writer = Journal(folder, 7)
    writer.append(b"old")
    rotate(writer)
    writer.append(b"new")
    (folder / "note.jsonl").write_text("not a segment")
    assert segments(folder) == [7, 8]
    drop_before(folder, writer.end)
    assert segments(folder) == [8] and payloads(folder, Mark(7, 0)) == [b"new"]
    writer.close()


def test_a_segment_is_never_written_over(folder: Path) -> None:
    Journal(folder, 1).close()
    with pytest.raises(FileExistsError):
        Journal(folder, 1)


def test_an_endless_line_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_MOST_LINE", 1000)
    writer = Journal(folder, 1)
    writer.append(b"one")
    writer.append(b"x" * 200_000)
    rotate(writer)
    writer.append(b"two")
    assert payloads(folder, live=2) == [b"one", b"two"]
    writer.close()


def test_the_journal_is_its_owners_alone(folder: Path) -> None:
    Journal(folder, 1).close()
    assert folder.stat().st_mode & 0o77 == 0 and segment_path(folder, 1).stat().st_mode & 0o77 == 0
