"""A decision log whose writer is killed again and again, at any point, loses nothing that it acknowledged."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from equipoise.storage.decisions import DecisionLog
from equipoise.storage.reading import LogReader
from tests.logged import a_decision, an_outcome, some_feedback

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [1])
def test_kill_9_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.chaos.killed_writers", str(tmp_path), str(seed), "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    kills, *lines = done.stdout.splitlines()
    acknowledged: dict[str, set[int]] = {"decision": set(), "outcome": set(), "feedback": set()}
    for line in lines:
        kind, i = line.split()
        acknowledged[kind].add(int(i))
    assert int(kills) >= 8 and len(acknowledged["decision"]) >= 100

    last = max(acknowledged["decision"])
    reader = LogReader("sqlite:///log.db", folder=tmp_path)
    for i in sorted(acknowledged["decision"])[-20:]:
        record = reader.get(f"{i:032x}", "a")
        assert record is not None and record.decision == a_decision(i)
        assert record.outcome == an_outcome(i, finished=2e9 + i) or i == last
    reader.close()

    log = DecisionLog("sqlite:///log.db", folder=tmp_path, interval_s=1e6)
    assert log.flush()
    rows = list(log.store.rows())
    log.close()
    counts = Counter(stored.decision.id for stored in rows)
    assert set(counts.values()) == {1}
    kept = {
        "decision": {int(s.decision.id, 16) for s in rows},
        "outcome": {int(s.decision.id, 16) for s in rows if s.outcome is not None},
        "feedback": {int(s.decision.id, 16) for s in rows if s.feedback == (_as_entry(s.decision.id),)},
    }
    for kind, ids in acknowledged.items():
        assert ids <= kept[kind], f"{kind}: lost {sorted(ids - kept[kind])[:5]}"
        # At most the one that each killed process had just written is kept beyond what it had time to tell.
        assert len(kept[kind] - ids) <= int(kills)


def _as_entry(decision_id: str) -> tuple[object, ...]:
    f = some_feedback(int(decision_id, 16))
    return (f.decision_id, "a", f.source, f.received, f.reward, f.comment)
