"""The decision log: every decision, what became of it, and how good it was.

What ``record``, ``finish`` and ``feedback`` have acknowledged is in the journal, which outlives the process,
``kill -9`` included. A thread moves it from there into the store, twice a second, off the path of requests.
A power cut can take the last moments: the thread syncs what it moves, or the journal where it cannot.

Feedback joins its decision by id and tenant, before or after the decision was moved. For an id that this log
has never seen for that tenant, ``feedback`` returns False (the gateway answers 404); it is still kept for an
hour, and joins if the decision comes.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import InputError
from equipoise.storage.encoding import decision_to_json, outcome_to_json
from equipoise.storage.journal import Chunk, Journal, Mark, drop_before, read_after, segments
from equipoise.storage.memory import MemoryStore
from equipoise.storage.reading import LogReader, is_text, journal_folder
from equipoise.storage.sqlite import SqliteStore
from equipoise.storage.store import (
    DAY_S,
    MOST_PENDING_S,
    Entry,
    StoreUnavailable,
    database_path,
    from_payload,
    to_payload,
)
from equipoise.traffic import Feedback, Outcome
from equipoise.types import Decision, WireFormat

_MOST_RECENT = 200_000
_MOST_PENDING = 10_000
_MOST_SOURCES = 100
_MOST_AT_ONCE = 4 << 20
_SEGMENT_BYTES = 8 << 20
_HOUSEKEEPING_S = 600.0
_MOST_JUMP_S = 3600.0
_MOST_CATCH_UP_WAIT_S = 0.2
MOST_TEXT = {"decision_id": 200, "source": 100, "comment": 10_000}


class LogInUse(InputError):
    """Another process writes this log."""

    code = "log_in_use"


class LogStatus(NamedTuple):
    """How the log is doing. Counts are since it was opened.

    Attributes:
        trouble: what is wrong, or None.
        recorded: entries acknowledged.
        waiting: entries that the disk has not taken; they are in memory only.
        lost: entries dropped, because too many were waiting.
        damaged: lines of the journal, and rows, that could not be read or kept.
        failures: times that the journal could not be moved into the store.
    """

    trouble: str | None
    recorded: int
    waiting: int
    lost: int
    damaged: int
    failures: int


class DecisionLog(LogReader):
    """The one writer of a log. Recording is synchronous and takes microseconds; use it from any thread.

    Args:
        url: ``sqlite:///FILE`` or ``memory://``, whose decisions die with the process.
        folder: what FILE is relative to.
        retention_days: decisions older than this are removed; None keeps them.
        interval_s: how often the journal is moved into the store.
        wait_s: how long to wait for another process that writes the same file.

    Raises:
        LogInUse: another process writes this log.
        InputError: the log cannot be opened.
        StateError: it is of a newer version.
    """

    def __init__(
        self,
        url: str,
        *,
        folder: Path = Path(),
        retention_days: float | None = None,
        interval_s: float = 0.5,
        wait_s: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        path = database_path(url, folder)
        self._retention_days, self._interval_s, self._clock = retention_days, interval_s, clock
        self._lock, self._moving = threading.Lock(), threading.Lock()
        self._recent: dict[str, str] = {}
        self._moved: dict[str, str] = {}
        self._recorded = self._damaged = self._failures = 0
        self._pending: Counter[str] = Counter()
        self._trouble: str | None = None
        self._next_housekeeping = 0.0
        self._looked: tuple[float, float] | None = None
        self._renewing = False
        self._closed = threading.Event()
        self._journal: Journal | None = None
        self._journal_folder = None
        # Ids in a journal that a killed process left are not known until it has been moved.
        self._partial = path is not None
        if path is None:
            self.store = MemoryStore()
            self._keep_house()
            return
        with ExitStack() as opened:
            self._handle = _locked(path, wait_s)
            opened.callback(os.close, self._handle)
            self.store = SqliteStore(path, wait_s=wait_s)
            opened.callback(self.store.close)
            self._journal_folder = journal_folder(path)
            self._journal = _journal(self._journal_folder, self.store.mark().segment)
            opened.pop_all()
        self._thread = threading.Thread(target=self._move_until_closed, name="equipoise-log", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ the path of requests

    def record(
        self,
        decision: Decision,
        *,
        tenant: str,
        route: str,
        format: WireFormat,
        prompt: str | None = None,
        received: float,
    ) -> bool:
        """Log a decision. True: it will not be lost. False: the disk refused it, and it waits in memory."""
        columns = (decision.id, tenant, received, route, format, decision.plan.model, prompt)
        return self._take("d", columns, decision_to_json(decision), owner=tenant)

    def finish(self, outcome: Outcome) -> bool:
        """Log what became of a decision. Returns as ``record``."""
        columns = (outcome.decision_id, outcome.finished, outcome.status, outcome.model, outcome.cost_usd)
        return self._take("o", columns, outcome_to_json(outcome))

    def feedback(self, feedback: Feedback, *, tenant: str) -> bool:
        """Join feedback to a decision. A source's later feedback replaces its earlier one.

        Returns:
            Whether the log knows this decision of this tenant. If not, it joins should the decision still come
            within an hour.

        Raises:
            InputError: the reward is not in [0, 1], a text is too long, or too many sources had their say.
        """
        _check_feedback(feedback)
        try:
            known = self._owner(feedback.decision_id) == tenant
            if known:
                self._check_source(feedback, tenant)
        except StoreUnavailable:
            known = True  # not to be told now: whether it joins is seen when it is moved
        if not known:
            # No tenant drives out another's: it has half of what the others leave.
            if self._pending.total() + self._pending[tenant] >= _MOST_PENDING:
                return False
            self._pending[tenant] += 1
        f = feedback
        self._take("f", (f.decision_id, tenant, f.source, f.received, f.reward, f.comment), b"")
        return known

    def _check_source(self, feedback: Feedback, tenant: str) -> None:
        """Refuse one source more than a decision is read with; what was said since the last move is not counted."""
        sources = self.store.sources(feedback.decision_id, tenant, _MOST_SOURCES)
        if len(sources) >= _MOST_SOURCES and feedback.source not in sources:
            said = f"this decision has feedback of {_MOST_SOURCES} sources, which is the most; name one of them"
            raise InputError(said)

    def _take(
        self, kind: str, columns: tuple[str | float | None, ...], body: bytes, *, owner: str | None = None
    ) -> bool:
        payload = to_payload(kind, columns, body)
        journal = self._journal
        if journal is None:
            self.store.ingest((from_payload(payload),))
            self._recorded += 1
            self._keep_house()
            return True
        with self._lock:
            if self._closed.is_set():
                raise ValueError("the decision log is closed")
            if owner is not None:
                self._recent[str(columns[0])] = owner
            written = journal.append(payload)
            self._recorded += written
        return written

    def _owner(self, decision_id: str) -> str | None:
        owner = self._recent.get(decision_id)
        if owner is None:
            owner = self._moved.get(decision_id)
        if owner is None:
            owner = self.store.owner(decision_id)
        if owner is None and self._partial:
            stored = self._stored(decision_id)
            owner = None if stored is None else stored.decision.tenant
        return owner

    # ------------------------------------------------------------ off the path

    @property
    def status(self) -> LogStatus:
        """How the log is doing."""
        journal, trouble = self._journal, self._trouble
        waiting = lost = 0
        if journal is not None:
            waiting, lost = journal.waiting, journal.lost
            if waiting:
                trouble = f"the disk takes no more records: {journal.trouble}"
            if not self._thread.is_alive() and not self._closed.is_set():
                trouble = "the thread that moves the journal has died"
        return LogStatus(trouble, self._recorded, waiting, lost, self._damaged, self._failures)

    def flush(self) -> bool:
        """Move everything acknowledged so far into the store now. False: it cannot be moved just now."""
        journal, folder = self._journal, self._journal_folder
        if journal is None or folder is None:
            return True
        with self._moving:
            try:
                with self._lock:
                    waiting = journal.waiting
                    journal.retry()
                    self._recorded += waiting - journal.waiting
                    end = journal.end
                    # In this order, so that an id is found in one of the two at any time.
                    if self._moved:
                        self._moved.update(self._recent)
                    else:
                        self._moved = self._recent
                    self._recent = {}
                self._move(folder, end)
                self._moved, self._partial, self._trouble = {}, False, None
                if end.offset > (0 if self._renewing else _SEGMENT_BYTES):
                    made = journal.next_segment()
                    with self._lock:
                        old = journal.rotate(made)
                    os.close(old)
                    self._renewing = False
                return True
            except (StoreUnavailable, OSError) as error:
                self._failures += 1
                self._trouble = str(error)
                self._forget_when_many()
                with suppress(OSError):
                    journal.sync()
                return False

    def _forget_when_many(self) -> None:
        if len(self._moved) > _MOST_RECENT:
            self._moved, self._partial = {}, True

    def _move(self, folder: Path, end: Mark) -> None:
        mark = self.store.mark()
        if mark == end:
            return
        entries: list[Entry] = []
        size = damaged = 0
        for chunk in read_after(folder, mark, live=end.segment):
            found = _entries(chunk)
            entries += found
            damaged += chunk.damaged + len(chunk.payloads) - len(found)
            size += sum(map(len, chunk.payloads))
            mark = chunk.end
            if size > _MOST_AT_ONCE:
                self._damaged += self.store.ingest(entries, mark) + damaged
                entries, size, damaged = [], 0, 0
        if entries or damaged or mark < end:
            # Also what holds no entry is passed, or it would be looked at for ever.
            self._damaged += self.store.ingest(entries, max(mark, end)) + damaged
        drop_before(folder, end)

    def _move_until_closed(self) -> None:
        while True:
            closing = self._closed.wait(self._interval_s)
            self.flush()
            if closing:
                return
            self._keep_house()

    def _keep_house(self) -> None:
        now = self._clock()
        # A clock that was set back must not put it off for long.
        if self._next_housekeeping - _HOUSEKEEPING_S <= now < self._next_housekeeping:
            return
        self._next_housekeeping = now + _HOUSEKEEPING_S
        self._pending.clear()
        # What is removed from the store is not to stay behind in a segment that never fills.
        self._renewing = True
        if self._jumped_ahead(now):
            return
        before = now - self._retention_days * DAY_S if self._retention_days is not None else -1.0
        with suppress(StoreUnavailable):
            self.store.prune(before, pending_before=now - MOST_PENDING_S)

    def _jumped_ahead(self, now: float) -> bool:
        """Whether the clock did since the last look. It is believed at the next one: a slip is not to remove all."""
        steady, before = time.monotonic(), self._looked
        self._looked = now, steady
        return before is not None and now - before[0] > steady - before[1] + _MOST_JUMP_S

    def prune(self, days: float, *, now: float) -> int:
        """Remove decisions older than some days, with all that belongs to them. Returns how many.

        Raises:
            StoreUnavailable: the store cannot be written just now.
        """
        return self.store.prune(now - days * DAY_S)

    def close(self) -> None:
        """Move what is left, as far as possible, and let go of the log."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        if self._journal is not None:
            self._thread.join()
            self._journal.close()
            self._tidy()
            os.close(self._handle)
        self.store.close()

    def _tidy(self) -> None:
        """Leave no segments behind that hold nothing new."""
        if self._journal_folder is not None and self._journal is not None:
            end = self._journal.end
            with suppress(StoreUnavailable):
                if self.store.mark() == end:
                    drop_before(self._journal_folder, Mark(end.segment + 1))


def catch_up(url: str, folder: Path = Path()) -> bool:
    """Move what a killed process left in its journal. False: a process that writes the log does that itself.

    Raises:
        InputError: as ``DecisionLog``.
        StoreUnavailable: another program keeps the file locked.
    """
    try:
        log = DecisionLog(url, folder=folder, wait_s=_MOST_CATCH_UP_WAIT_S)
    except LogInUse:
        return False
    with closing(log):
        if not log.flush():
            raise StoreUnavailable(f"the log cannot be brought up to date ({log.status.trouble}); try again")
    return True


def _entries(chunk: Chunk) -> list[Entry]:
    entries: list[Entry] = []
    for payload in chunk.payloads:
        with suppress(ValueError):
            entries.append(from_payload(payload))
    return entries


def _check_feedback(f: Feedback) -> None:
    if not 0.0 <= f.reward <= 1.0:
        raise InputError(f"reward {f.reward!r} is not in [0, 1]; scale it")
    for name, most in MOST_TEXT.items():
        text = getattr(f, name)
        if text is not None and (len(text) > most or not is_text(text)):
            raise InputError(f"{name} is not text of at most {most} characters; shorten it")
    for name in ("decision_id", "source"):
        if not getattr(f, name):
            raise InputError(f"{name} is missing; give one")
    if not f.source.isprintable():
        raise InputError("source is a name, so its characters must be printable")


def _journal(folder: Path, moved: int) -> Journal:
    try:
        return Journal(folder, max([moved, *segments(folder)]) + 1)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name a writable folder") from None


def _locked(path: Path, wait_s: float) -> int:
    """Keep other processes from writing the same log; the kernel lets go when this process ends, however it ends."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: no folder {path.parent}; make it, or name another file in storage.url")
    lock = path.with_name(path.name + ".lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"{lock}: cannot be written ({error.strerror}); name a writable folder") from None
    # Whoever holds it may be about to end: a gateway that drains, or a command that is done in a moment.
    until = time.monotonic() + wait_s
    while not _try_lock(handle):
        if time.monotonic() >= until:
            holder = os.read(handle, 32).decode("ascii", "replace").strip()
            os.close(handle)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise LogInUse(f"{path}: {who} writes this log; stop it, or name another file in storage.url")
        time.sleep(0.02)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
