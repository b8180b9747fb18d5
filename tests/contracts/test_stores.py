"""What every store of decisions keeps to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equipoise.storage.journal import Mark
from equipoise.storage.memory import MemoryStore
from equipoise.storage.sqlite import SqliteStore
from equipoise.storage.store import DecisionEntry, Entry, FeedbackEntry, OutcomeEntry, Store, from_payload, to_payload

STORES: dict[str, Callable[[Path], Store]] = {
    "MemoryStore": lambda folder: MemoryStore(),
    "SqliteStore": lambda folder: SqliteStore(folder / "log.db"),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = STORES[request.param](tmp_path)
    yield store
    store.close()


def decision(name: str, *, tenant: str = "a", received: float = 100.0, body: str = "{}") -> DecisionEntry:
    return DecisionEntry(name, tenant, received, "auto", "chat", "m", None, body)


def outcome(name: str, *, finished: float = 101.0, status: str = "ok") -> OutcomeEntry:
    return OutcomeEntry(name, finished, status, "m", 0.1 + 0.2, "{}")


def said(
    name: str, reward: float, *, tenant: str = "a", source: str = "user", received: float = 102.0
) -> FeedbackEntry:
    return FeedbackEntry(name, tenant, source, received, reward, None)


def rewards(store: Store, name: str) -> dict[str, float]:
    stored, _ = store.read(name)
    assert stored is not None
    return {f.source: f.reward for f in stored.feedback}


def test_whose_feedback_there_is_is_told_of_a_tenant_up_to_a_number(store: Store) -> None:
    store.ingest([decision("x"), *(said("x", 0.5, source=f"s{i}") for i in range(5)), said("x", 0.5, tenant="b")])
    assert store.sources("x", "a", 10) == {f"s{i}" for i in range(5)}
    assert len(store.sources("x", "a", 3)) == 3
    assert store.sources("z", "a", 10) == set()


def test_every_store_is_under_this_contract() -> None:
    assert {kind.__name__ for kind in Store.__subclasses__()} == set(STORES)


def test_of_ten_thousand_decisions_in_memory_the_oldest_are_forgotten_and_how_they_ended() -> None:
    store = MemoryStore()
    store.ingest([entry for i in range(10_001) for entry in (decision(f"{i}"), outcome(f"{i}"))])
    assert (store.owner("999"), store.owner("1000"), store.owner("10000")) == (None, "a", "a")
    found, _ = store.finished_after(0, 2)
    assert [stored.decision.id for stored in found] == ["1000", "1001"]


def test_what_was_ingested_is_read_back_exactly(store: Store) -> None:
    entries: list[Entry] = [decision("x", received=0.1 + 0.2, body='{"ä": "\\u0000"}'), outcome("x"), said("x", 1 / 3)]
    assert store.ingest(entries, Mark(3, 77)) == 0
    stored, mark = store.read("x")
    assert stored is not None
    assert [stored.decision, stored.outcome, *stored.feedback] == entries
    assert mark == store.mark() == Mark(3, 77)


def test_what_comes_twice_changes_nothing(store: Store) -> None:
    entries: list[Entry] = [decision("x"), outcome("x"), said("x", 0.5)]
    store.ingest(entries)
    once = store.read("x")
    store.ingest(entries * 2)
    assert store.read("x") == once
    assert len(store.tail(10)) == 1
    assert len(store.finished_after(0)[0]) == 1


def test_a_decision_stays_as_it_first_came(store: Store) -> None:
    store.ingest([decision("x", body="1")])
    store.ingest([decision("x", body="2")])
    assert store.tail(1)[0].decision.body == "1"


def test_what_belongs_to_a_decision_may_come_before_it(store: Store) -> None:
    store.ingest([said("x", 0.25), outcome("x")])
    assert store.read("x")[0] is None
    store.ingest([decision("x")])
    stored, _ = store.read("x")
    assert stored is not None and stored.outcome == outcome("x")
    assert rewards(store, "x") == {"user": 0.25}
    assert [s.decision.id for s in store.finished_after(0)[0]] == ["x"]


def test_a_source_has_one_say_and_the_latest_by_its_own_time_counts(store: Store) -> None:
    store.ingest([decision("x"), said("x", 0.2, received=10.0), said("x", 0.4, received=12.0)])
    store.ingest([said("x", 0.9, received=11.0), said("x", 0.7, source="judge")])
    assert rewards(store, "x") == {"user": 0.4, "judge": 0.7}
    store.ingest([said("x", 0.6, received=12.0)])
    assert rewards(store, "x")["user"] == 0.6


def test_the_latest_outcome_counts(store: Store) -> None:
    store.ingest([decision("x"), outcome("x", finished=5.0, status="ok"), outcome("x", finished=4.0, status="failed")])
    stored, _ = store.read("x")
    assert stored is not None and stored.outcome is not None and stored.outcome.status == "ok"


def test_feedback_of_another_tenant_never_joins(store: Store) -> None:
    store.ingest([decision("x", tenant="a"), said("x", 0.0, tenant="b")])
    store.ingest([said("y", 0.0, tenant="b"), decision("y", tenant="a")])
    assert rewards(store, "x") == rewards(store, "y") == {}
    assert [len(s.feedback) for s in store.rows()] == [0, 0]
    assert store.owner("x") == "a" and store.owner("z") is None


def test_tail_and_rows_are_in_order_of_arrival(store: Store) -> None:
    store.ingest([decision(f"d{i}", received=100.0 - i) for i in range(5)])
    assert [s.decision.id for s in store.tail(2)] == ["d3", "d4"]
    assert store.tail(0) == []
    assert [s.decision.id for s in store.rows()] == [f"d{i}" for i in range(5)]
    assert [s.decision.id for s in store.rows(since=98.0)] == ["d0", "d1", "d2"]


def test_finished_calls_can_be_followed(store: Store) -> None:
    store.ingest([decision("x"), decision("y"), outcome("y")])
    seen, position = store.finished_after(None)
    assert seen == []
    store.ingest([outcome("x")])
    seen, position = store.finished_after(position)
    assert [s.decision.id for s in seen] == ["x"]
    assert store.finished_after(position) == ([], position)


def test_finished_calls_are_followed_in_parts_each_once(store: Store) -> None:
    names = [f"d{i}" for i in range(5)]
    store.ingest([decision(name) for name in names])
    store.ingest([outcome(name) for name in names])
    found, position = list[str](), 0
    for size in (2, 2, 1, 0):
        seen, position = store.finished_after(position, 2)
        assert len(seen) == size
        found += [s.decision.id for s in seen]
    assert found == names


def test_rows_are_those_of_one_moment(store: Store) -> None:
    store.ingest([decision("x"), decision("y")])
    rows = store.rows()
    found = [next(rows).decision.id]
    store.ingest([decision("later"), outcome("y")])
    rest = list(rows)
    assert found + [s.decision.id for s in rest] == ["x", "y"] and rest[0].outcome is None


def test_who_gave_feedback_is_told_within_the_tenant(store: Store) -> None:
    store.ingest([decision("x", tenant="a"), said("x", 0.5), said("x", 0.7, source="judge")])
    assert store.sources("x", "a", 10) == {"user", "judge"}
    assert len(store.sources("x", "a", 1)) == 1
    assert store.sources("x", "b", 10) == set()


def test_prune_removes_feedback_that_nothing_has_joined_as_old_as_the_decisions(store: Store) -> None:
    store.ingest([said("x", 1.0, received=10.0), said("y", 1.0, received=20.0)])
    store.prune(20.0)
    store.ingest([decision("x"), decision("y")])
    assert rewards(store, "x") == {} and rewards(store, "y") == {"user": 1.0}


def test_prune_removes_all_that_belongs_to_old_decisions(store: Store) -> None:
    old, new = decision("old", received=10.0), decision("new", received=20.0)
    store.ingest([old, outcome("old"), said("old", 1.0), new, outcome("new"), said("new", 1.0)])
    assert store.prune(20.0) == 1
    assert store.read("old")[0] is None and store.owner("old") is None
    assert [s.decision.id for s in store.rows()] == ["new"] and rewards(store, "new") == {"user": 1.0}
    assert [s.decision.id for s in store.finished_after(0)[0]] == ["new"]
    assert store.prune(20.0) == 0


def test_prune_removes_feedback_that_nothing_has_joined(store: Store) -> None:
    store.ingest([said("x", 1.0, received=10.0), said("y", 1.0, received=30.0)])
    store.prune(0.0, pending_before=20.0)
    store.ingest([decision("x"), decision("y")])
    assert rewards(store, "x") == {} and rewards(store, "y") == {"user": 1.0}


def test_many_more_entries_than_one_statement_takes(store: Store) -> None:
    store.ingest([decision(f"d{i}", received=float(i)) for i in range(777)])
    store.ingest([outcome(f"d{i}") for i in range(777)])
    assert [s.decision.received for s in store.rows()] == [float(i) for i in range(777)]
    assert sum(s.outcome is not None for s in store.rows()) == 777
    assert store.prune(700.0) == 700


@pytest.mark.parametrize("entry", [decision("x", body='{"a":\t1}'), outcome("x"), said("x", 0.1 + 0.2)])
def test_entries_survive_the_journal(entry: Entry) -> None:
    body = b"" if isinstance(entry, FeedbackEntry) else entry.body.encode()
    columns = list(entry) if isinstance(entry, FeedbackEntry) else list(entry[:-1])
    kind = {DecisionEntry: "d", OutcomeEntry: "o", FeedbackEntry: "f"}[type(entry)]
    assert from_payload(to_payload(kind, columns, body)) == entry


@pytest.mark.parametrize("payload", [b"", b"[]", b"null\t", b'["z","x"]\t', b'["d","x"]\t{}', b"{\t\xff"])
def test_what_is_no_entry_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        from_payload(payload)


def test_what_tenants_spent_is_summed_by_day_each_decision_once(store: Store) -> None:
    day = 86400.0
    store.ingest([decision("x"), outcome("x", finished=day), decision("y"), outcome("y", finished=day * 2 - 1)])
    store.ingest([decision("z", tenant="b"), outcome("z", finished=day * 2), outcome("x", finished=day * 2)])
    assert store.spent(0) == {"a": {1: 2 * (0.1 + 0.2)}, "b": {2: 0.1 + 0.2}}
    assert store.spent(2) == {"b": {2: 0.1 + 0.2}}
    store.ingest([decision("w"), outcome("w", finished=day)])
    store.prune(1e9)
    assert store.spent(1) == {"a": {1: 3 * (0.1 + 0.2)}, "b": {2: 0.1 + 0.2}}
