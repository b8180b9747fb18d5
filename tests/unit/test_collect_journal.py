from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.collect.journal import Answer, Grade, Journal, prompt_sha
from equipoise.collect.plan import AskedModel
from equipoise.collect.prompts import PromptRow
from equipoise.errors import InputError, TableError
from equipoise.types import Deployment, Price

ROW = PromptRow("p", "what?", "d", "p", None, "exact", ("x",), "")
MODEL = AskedModel(name="m", deployment=Deployment(provider="openai_compatible", base_url="http://h/v1"))


def answer(sample: int = 0, text: str = "x", cost: float | None = 0.5) -> Answer:
    return Answer(
        prompt_id="p",
        candidate="m",
        sample=sample,
        prompt_sha=prompt_sha(ROW),
        temperature=0.0,
        answer=text,
        finish="stop",
        input_tokens=1,
        output_tokens=2,
        cached_tokens=0,
        latency_s=0.1,
        compute_s=None,
        cost_usd=cost,
        time=1.0,
    )


def grade(quality: float, cost: float = 0.0) -> Grade:
    return Grade(prompt_id="p", candidate="m", sample=0, grader="exact", quality=quality, cost_usd=cost)


@settings(max_examples=20, deadline=None)
@given(text=st.text())
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("j") / "t.journal.jsonl"
    with Journal(path) as journal:
        journal.admit([MODEL], [ROW])
        journal.add_answer(answer(text=text))
        journal.add_grade(grade(0.25, cost=0.1))
        journal.add_grade(grade(0.75))
        journal.add_lost(("p", "m", 1), code="timeout", cost_usd=0.2)
    with Journal(path) as journal:
        assert journal.answers == {("p", "m", 0): answer(text=text)}
        assert journal.grades["p", "m", 0].quality == 0.75
        assert journal.spent_usd == pytest.approx(0.5 + 0.1 + 0.2)


def test_a_torn_last_line_is_dropped_and_the_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add_answer(answer(0))
        journal.add_answer(answer(1))
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with Journal(path) as journal:
        assert list(journal.answers) == [("p", "m", 0)]
        journal.add_answer(answer(1))
    assert path.read_bytes() == data


def test_a_full_disk_is_told_and_leaves_no_torn_line_to_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "j", os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[: len(data) - 40])

    with Journal(path) as journal:
        monkeypatch.setattr("equipoise.collect.journal.os.write", half)
        with pytest.raises(InputError, match=r"j: cannot be written \(No space left on device\); make room"):
            journal.add_answer(answer(0))
        monkeypatch.undo()
        journal.add_answer(answer(1))
    with Journal(path) as journal:
        assert list(journal.answers) == [("p", "m", 1)]


def test_a_broken_line_inside_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add_answer(answer())
    path.write_text(path.read_text().replace('"answer": "x"', '"answer": '))
    with pytest.raises(TableError, match="line 2: not a JSON object"):
        Journal(path)
    path.write_text(path.read_text().replace('"answer": ,', '"anser": 1,'))
    with pytest.raises(TableError, match="line 2: a broken 'answer' line"):
        Journal(path)


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ('{"type": "other"}', "not a collection journal"),
        ('{"type": "journal", "format": "%s", "version": 2}', "upgrade"),
    ],
)
def test_files_that_are_no_journal_of_ours_are_left_alone(tmp_path: Path, first: str, says: str) -> None:
    path = tmp_path / "j"
    text = (first.replace("%s", "equipoise-collect-journal")) + "\n"
    path.write_text(text)
    with pytest.raises(TableError, match=says):
        Journal(path)
    assert path.read_text() == text


def test_two_collections_do_not_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path), pytest.raises(InputError, match="in use by another collection"):
        Journal(path)
    Journal(path).close()


def test_changed_settings_of_a_candidate_are_refused_by_name(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.admit([MODEL], [ROW])
        journal.add_answer(answer())
    changed = replace(MODEL, suffix="Briefly.", max_tokens=9)
    with (
        Journal(tmp_path / "j") as journal,
        pytest.raises(InputError, match="'m': max_tokens, suffix changed"),
    ):
        journal.admit([changed], [ROW])


def test_prices_samples_and_speed_may_change_and_candidates_may_be_added(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.admit([MODEL], [ROW])
    faster = Deployment(provider="openai_compatible", base_url="http://h/v1", options={"timeout_s": 5})
    same = replace(MODEL, deployment=faster, price=Price(usd_per_call=1.0), samples=4)
    with Journal(tmp_path / "j") as journal:
        journal.admit([same, replace(MODEL, name="n", max_tokens=3)], [ROW])
        assert set(journal.candidates) == {"m", "n"}


def test_a_prompt_that_changed_after_it_was_answered_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.admit([MODEL], [ROW])
        journal.add_answer(answer())
        other = PromptRow("p", "what else?", "d", "p", None, "exact", ("x",), "")
        with pytest.raises(InputError, match="prompt 'p' changed"):
            journal.admit([MODEL], [other])
        journal.admit([MODEL], [ROW, replace(other, prompt_id="q")])


def test_every_line_says_what_it_is(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.admit([MODEL], [ROW])
        journal.add_answer(answer())
    lines = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["journal", "candidate", "answer"]
    assert lines[2]["quality"] is None


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Journal(tmp_path / "no" / "j")


def test_settings_may_change_until_something_was_answered_under_them(tmp_path: Path) -> None:
    path, other = tmp_path / "j", replace(MODEL, deployment=replace(MODEL.deployment, base_url="http://else/v1"))
    with Journal(path) as journal:
        journal.admit([MODEL], [ROW])
    with Journal(path) as journal:
        journal.admit([other], [ROW])
        journal.add_answer(answer())
    with Journal(path) as journal:
        assert journal.candidates["m"]["base_url"] == "http://else/v1"
        journal.admit([other], [ROW])
        with pytest.raises(InputError, match="candidate 'm': base_url changed since .* was begun"):
            journal.admit([MODEL], [ROW])
