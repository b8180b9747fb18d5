"""The journal of a collection: every paid answer, on disk before anything is done with it.

JSON lines, append-only. Kinds of lines, by ``type``:

    journal     first line: format and version
    candidate   settings of one candidate; a name keeps its settings for the life of the journal
    answer      one paid answer, not graded (``quality`` is null)
    grade       a grade of one answer; the last one counts
    lost        a call that failed but may have been billed, at the most that it can have cost
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from equipoise.collect.plan import AskedModel, Key
from equipoise.collect.prompts import PromptRow
from equipoise.errors import InputError, TableError

FORMAT = "equipoise-collect-journal"
VERSION = 1
_SYNC_LINES = 16
_SYNC_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One paid answer. ``time`` is seconds since 1970; ``timings`` what the server said of its compute.

    ``logprobs``: how sure the model was of its tokens, where that is known (``tables.answers.SIGNALS`` names them).
    """

    prompt_id: str
    candidate: str
    sample: int
    prompt_sha: str
    temperature: float
    answer: str
    finish: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    latency_s: float
    compute_s: float | None
    cost_usd: float | None
    time: float
    timings: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What names the answer."""
        return (self.prompt_id, self.candidate, self.sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The grade of one answer. ``cost_usd`` is what grading itself cost (a judge's call)."""

    prompt_id: str
    candidate: str
    sample: int
    grader: str
    quality: float
    cost_usd: float = 0.0
    time: float = 0.0

    @property
    def key(self) -> Key:
        """What names the answer that was graded."""
        return (self.prompt_id, self.candidate, self.sample)


class Journal:
    """An open journal, locked against a second writer. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[Key, Answer] = {}
        self.grades: dict[Key, Grade] = {}
        self.candidates: dict[str, dict[str, Any]] = {}
        self.spent_usd = 0.0
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._lock = _lock(path)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._load()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def admit(self, candidates: Iterable[AskedModel], prompts: Iterable[PromptRow]) -> None:
        """Check that answers in the journal were asked as they would be now, and note new candidates.

        Raises:
            InputError: a candidate's settings or a prompt's text changed since it was answered.
        """
        answered = {candidate for _, candidate, _ in self.answers}
        # Through JSON, since that is how the earlier settings come back.
        asked: dict[str, dict[str, Any]] = {c.name: json.loads(json.dumps(c.settings())) for c in candidates}
        for name, now in asked.items():
            before = self.candidates.get(name)
            if before is not None and before != now and name in answered:
                changed = ", ".join(sorted(k for k in {*now, *before} if now.get(k) != before.get(k)))
                raise InputError(
                    f"candidate '{name}': {changed} changed since {self.path} was begun; "
                    "put the settings back, or give the candidate another name"
                )
        self._refuse_changed_prompts({p.prompt_id: prompt_sha(p) for p in prompts})
        for name, now in asked.items():
            if self.candidates.get(name) != now:
                self.candidates[name] = now
                self._append({"type": "candidate", "name": name, "settings": now})
        self.sync()

    def add_answer(self, answer: Answer) -> None:
        """Write one paid answer. It is with the operating system when this returns."""
        self.answers[answer.key] = answer
        self.spent_usd += answer.cost_usd or 0.0
        self._append({"type": "answer", **asdict(answer), "quality": None})

    def add_grade(self, grade: Grade) -> None:
        """Write one grade; it replaces earlier ones of the same answer."""
        self.grades[grade.key] = grade
        self.spent_usd += grade.cost_usd
        self._append({"type": "grade", **asdict(grade)})

    def add_lost(self, key: Key, *, code: str, cost_usd: float) -> None:
        """Write that a call failed and may have been billed."""
        self.spent_usd += cost_usd
        prompt_id, candidate, sample = key
        line = {"type": "lost", "prompt_id": prompt_id, "candidate": candidate, "sample": sample}
        self._append({**line, "code": code, "cost_usd": cost_usd, "time": time.time()})

    def sync(self) -> None:
        """Make everything written so far survive a power failure."""
        if self._unsynced:
            os.fsync(self._file)
        self._unsynced, self._synced_at = 0, time.monotonic()

    def close(self) -> None:
        """Sync, and let go of the lock."""
        self.sync()
        os.close(self._file)
        os.close(self._lock)

    def _append(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        rest = data
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            # What is there of the line goes: one that is written later, once there is room, would be torn by it.
            os.ftruncate(self._file, os.fstat(self._file).st_size - (len(data) - len(rest)))
            reason = f"{self.path}: cannot be written ({error.strerror})"
            raise InputError(f"{reason}; make room, then run the same command again to go on") from None
        self._unsynced += 1
        if self._unsynced >= _SYNC_LINES or time.monotonic() - self._synced_at > _SYNC_S:
            self.sync()

    def _refuse_changed_prompts(self, now: Mapping[str, str]) -> None:
        for answer in self.answers.values():
            if now.get(answer.prompt_id, answer.prompt_sha) != answer.prompt_sha:
                raise InputError(
                    f"prompt '{answer.prompt_id}' changed since it was answered in {self.path}; "
                    "put the text back, or give the prompt another prompt_id"
                )

    def _load(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            # A line torn by a kill or a full disk: its answer is asked again.
            os.ftruncate(self._file, whole)
        lines = data[:whole].split(b"\n")[:-1]
        for number, text in enumerate(lines, start=1):
            self._take(_parsed(text, self.path, number), number)
        if not lines:
            self._append({"type": "journal", "format": FORMAT, "version": VERSION})

    def _take(self, line: dict[str, Any], number: int) -> None:
        kind = line.pop("type", None)
        where = f"{self.path}, line {number}"
        if number == 1:
            if kind != "journal" or line.get("format") != FORMAT:
                raise TableError(f"{where}: not a collection journal; give another --out, or move this file away")
            if line.get("version") != VERSION:
                raise TableError(f"{where}: journal version {line.get('version')} is not read here; upgrade equipoise")
            return
        try:
            self._keep(kind, line)
        except (KeyError, TypeError):
            raise TableError(f"{where}: a broken '{kind}' line; restore the file, or delete that line") from None

    def _keep(self, kind: str | None, line: dict[str, Any]) -> None:
        if kind == "answer":
            line.pop("quality", None)
            answer = Answer(**line)
            self.answers[answer.key] = answer
            self.spent_usd += answer.cost_usd or 0.0
        elif kind == "grade":
            grade = Grade(**line)
            self.grades[grade.key] = grade
            self.spent_usd += grade.cost_usd
        elif kind == "candidate":
            self.candidates[line["name"]] = line["settings"]
        elif kind == "lost":
            self.spent_usd += line["cost_usd"]
        else:
            raise KeyError(kind)


def journal_path(out: Path) -> Path:
    """Where the journal of an output table is."""
    return out.with_name(out.name + ".journal.jsonl")


def prompt_sha(row: PromptRow) -> str:
    """A short fingerprint of the prompt's text."""
    return hashlib.sha256(row.prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _parsed(text: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        raise TableError(f"{path}, line {number}: not a JSON object; restore the file, or delete that line")
    return line


def _lock(path: Path) -> int:
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; create it, or give another --out")
    # The kernel drops this lock when the process ends, however it ends.
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(f"{path} is in use by another collection; wait for it, or give another --out") from None
    return handle
