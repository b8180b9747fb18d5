"""Router files: read whole or refused in one line, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from equipoise import atomic
from equipoise.atomic import check_target, write_whole
from equipoise.engine import Engine
from equipoise.errors import InputError, StateError
from equipoise.storage.router_file import FORMAT, load_states, save_states
from equipoise.types import State
from tests.small_world import A_SUM, small_table

STATES = {
    "router": State({"w": np.arange(400.0).reshape(20, 20), "empty": np.zeros((0, 3))}, {"names": ["a", "b"]}),
    "costs": State({}, {"level": 0.1}),
}
META = {"router": {"type": "x"}, "note": "é"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "r.npz"
    save_states(path, STATES, META)
    return path


@pytest.fixture(scope="module")
def engine_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "r.npz"
    Engine.train(small_table(60), router="static").save(path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The same file with another header."""
    with np.load(path) as file:
        arrays = {k: file[k] for k in file.files}
    header = json.loads(arrays.pop("equipoise.json").tobytes())
    changed = change(header)
    header = header if changed is None else changed
    np.savez(path, **arrays, **{"equipoise.json": np.frombuffer(json.dumps(header).encode(), np.uint8)})


def refusal(path: Path, read: Callable[[Path], object] = load_states) -> str:
    with pytest.raises(StateError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


# ---------------------------------------------------------------- reading


def test_what_is_saved_is_loaded(saved: Path) -> None:
    states, meta = load_states(saved)
    assert meta == META and states.keys() == STATES.keys()
    for name, state in STATES.items():
        assert states[name].meta == state.meta and states[name].arrays.keys() == state.arrays.keys()
        for key, array in state.arrays.items():
            assert np.array_equal(states[name].arrays[key], array) and states[name].arrays[key].dtype == array.dtype


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "equipoise train" in refusal(tmp_path / "none.npz")
    assert "no such router file" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"model,quality\na,1\n", b"PAR1 not parquet", b"{}", pickle.dumps({"a": 1}), b"\x00" * 5000],
)
def test_a_file_of_another_type_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(content)
    assert "not a readable router file" in refusal(path)


def test_arrays_that_equipoise_did_not_write_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    np.savez(path, w=np.zeros(3))
    assert "not a readable router file" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("equipoise.json", "{}")
    assert "not a readable router file" in refusal(path)


def test_an_array_whose_header_is_damaged_is_refused(tmp_path: Path) -> None:
    path, header = tmp_path / "r.npz", b"{'descr': '<f8', 'shape': (3,"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("router:w.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        archive.writestr("equipoise.json.npy", b"")
    assert "not a readable router file" in refusal(path)


def test_a_pickled_payload_is_refused_and_never_run(tmp_path: Path, saved: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    header = np.frombuffer(json.dumps({"format": FORMAT, "meta": {}, "parts": {"router": {}}}).encode(), np.uint8)
    np.savez(saved, **{"router:w": np.array([Bomb()], dtype=object), "equipoise.json": header})
    assert "not a readable router file" in refusal(saved)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_refused(engine_file: Path, tmp_path: Path, share: float) -> None:
    whole = engine_file.read_bytes()
    path = tmp_path / "r.npz"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "not a readable router file" in refusal(path, Engine.load)


def test_damage_anywhere_is_refused_or_harmless(engine_file: Path, tmp_path: Path) -> None:
    whole = engine_file.read_bytes()
    before = Engine.load(engine_file).decide(A_SUM).candidates
    path, rng, refused = tmp_path / "r.npz", np.random.default_rng(0), 0
    for _ in range(120):
        damaged = bytearray(whole)
        start = int(rng.integers(len(whole)))
        for place in range(start, min(start + int(rng.integers(1, 6)), len(whole))):
            damaged[place] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            engine = Engine.load(path)
        except StateError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert engine.decide(A_SUM).candidates == before
    assert refused > 40


def test_a_file_of_a_newer_version_says_so(saved: Path) -> None:
    rewrite(saved, lambda h: h.update(format=FORMAT + 1))
    assert f"file format {FORMAT + 1}, this one reads {FORMAT}" in refusal(saved)
    assert "newer version" in refusal(saved)


def test_a_newer_file_need_not_have_the_parts_of_today(saved: Path) -> None:
    rewrite(saved, lambda _: {"format": FORMAT + 1, "sections": []})
    assert "newer version" in refusal(saved)


@pytest.mark.parametrize(
    "header",
    [[], "text", {}, {"format": "1", "parts": {}, "meta": {}}, {"format": 1, "parts": [], "meta": {}},
     {"format": 1, "parts": {"router": 5}, "meta": {}}, {"format": 1, "parts": {}, "meta": None}, {"format": 1}],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(saved: Path, header: Any) -> None:
    rewrite(saved, lambda _: header)
    assert "not a readable router file" in refusal(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: h["parts"].pop("costs"), "incomplete router file (KeyError: 'costs')"),
        (lambda h: h["meta"].pop("models"), "incomplete router file (KeyError: 'models')"),
        (lambda h: h["meta"].update(models=[5]), "incomplete router file"),
        (lambda h: h["meta"].update(models=[{"name": "a"}]), "incomplete router file"),
        (lambda h: h["meta"].update(versions=5), "incomplete router file"),
        (lambda h: h["meta"].update(versions={}), "train it again"),
        (lambda h: h["parts"]["router"].pop("models"), "incomplete router file"),
        (lambda h: h["parts"]["router"].update(models=["a"] * 50), "incomplete router file"),
        (lambda h: h["meta"].update(router={"type": "plugin-that-is-gone"}), "unknown router 'plugin-that-is-gone'"),
        (lambda h: h["meta"].update(router={"type": "static", "removed": 1}), "no parameter 'removed'"),
    ],
)
def test_missing_or_wrong_parts_are_refused(engine_file: Path, tmp_path: Path, change: Any, says: str) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(engine_file.read_bytes())

    def changed(header: dict[str, Any]) -> None:
        change(header)

    rewrite(path, changed)
    assert says in refusal(path, Engine.load)


@pytest.mark.parametrize("wrong", [np.full((7, 5), np.nan), np.array(["text"]), np.zeros(())])
def test_arrays_that_do_not_fit_are_refused_before_the_first_prompt(tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "r.npz"
    Engine.train(small_table(60), router="cluster").save(path)
    with np.load(path) as file:
        arrays = {k: file[k] for k in file.files}
    np.savez(path, **{**arrays, "router:centres": wrong})
    assert "incomplete router file" in refusal(path, Engine.load)


# ---------------------------------------------------------------- writing


class FullDisk:
    """A file on which writing fails after so many bytes."""

    def __init__(self, inner: BinaryIO, room: int) -> None:
        self._inner, self._room = inner, room

    def write(self, data: bytes) -> int:
        if self._inner.tell() + len(data) > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._inner.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("room", [0, 10, 100, 500, 900])
def test_a_full_disk_leaves_the_old_file_and_no_other(saved: Path, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    savez = np.savez_compressed
    monkeypatch.setattr(np, "savez_compressed", lambda file, **arrays: savez(FullDisk(file, room), **arrays))
    with pytest.raises(InputError, match="No space left on device"):
        save_states(saved, STATES, META)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_a_failed_rename_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = saved.read_bytes()
    monkeypatch.setattr(atomic.os, "replace", fail)
    with pytest.raises(InputError, match="Input/output error"):
        save_states(saved, {}, {})
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_any_other_failure_leaves_nothing_either(saved: Path) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    before = saved.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_whole(saved, fail)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_may_not_be_written_is_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    before = saved.read_bytes()
    monkeypatch.setattr(atomic.os, "open", refuse)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        save_states(saved, STATES, META)
    monkeypatch.undo()
    assert saved.read_bytes() == before


def test_a_folder_that_is_closed_is_told_before_any_long_work(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic.os, "access", lambda path, _: path != saved.parent)
    with pytest.raises(InputError, match=f"{saved.parent} is closed to you.*; name a file in a writable folder"):
        check_target(saved)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("missing/r.npz", "no folder"),
        ("r.npz/r.npz", "no folder"),
        (".", "not a regular file"),
        ("x" * 300, "too long"),
    ],
)
def test_a_target_that_cannot_be_a_file_is_told(saved: Path, target: str, says: str) -> None:
    path = saved.parent / target
    with pytest.raises(InputError, match=says):
        write_whole(path, lambda file: file.write(b"x"))
    assert list(saved.parent.iterdir()) == [saved]


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="not a regular file"):
        write_whole(pipe, lambda file: file.write(b"x"))
    assert pipe.is_fifo()


def test_a_command_does_not_overwrite_what_it_reads(saved: Path) -> None:
    check_target(saved, inputs=(saved.parent / "other",))
    link = saved.parent / "link"
    os.link(saved, link)
    for given in (saved, link):
        with pytest.raises(InputError, match="would be overwritten"):
            check_target(saved, inputs=(given,))


@pytest.mark.parametrize("left", ["link", "file"])
def test_what_lies_where_a_file_is_prepared_is_not_written_to(saved: Path, left: str) -> None:
    beside = saved.with_name(f"f.tmp-{os.getpid()}")
    beside.symlink_to(saved) if left == "link" else beside.write_bytes(b"left by a killed process")
    before = saved.read_bytes()
    write_whole(saved.parent / "f", lambda file: file.write(b"x"))
    assert (saved.parent / "f").read_bytes() == b"x" and saved.read_bytes() == before
    assert not beside.exists()


def test_who_may_read_a_file_stays_as_it_is(tmp_path: Path) -> None:
    for mode in (0o600, 0o644):
        path = tmp_path / f"{mode:o}"
        path.touch()
        path.chmod(mode)
        write_whole(path, lambda file: file.write(b"x"), private=mode == 0o644)
        assert path.stat().st_mode & 0o777 == mode


def test_the_content_is_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    replace = os.replace
    monkeypatch.setattr(atomic.os, "fsync", lambda _: told.append("fsync"))
    monkeypatch.setattr(atomic.os, "replace", lambda a, b: (told.append("replace"), replace(a, b)))
    write_whole(tmp_path / "f", lambda file: file.write(b"x"))
    assert told == ["fsync", "replace"]
