"""Public data sets by name: found, downloaded, checked."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from equipoise.datasets import public
from equipoise.datasets.registry import DATASETS, PublicDataset, Remote
from equipoise.errors import InputError, TableError, UnknownName
from equipoise.tables import OutcomeTable, read_table, write_table

CSV = b"prompt,big,small\nHello?,True,False\nBye?,True,True\n"


def table(dataset="gsm8k") -> OutcomeTable:
    return OutcomeTable.from_rows(
        [{"prompt_id": f"{d}-1", "prompt": d, "dataset": d, "model": "m", "quality": 1.0} for d in (dataset, "mmlu_x")]
    )


@pytest.fixture
def server():
    pages = {"/small.csv": (200, CSV, {}), "/gone.csv": (404, b"", {}),
             "/moved.csv": (302, b"", {"Location": "/small.csv"}),
             "/elsewhere.csv": (302, b"", {"Location": "http://example.invalid/x"}),
             "/local.csv": (302, b"", {"Location": "file:///etc/passwd"}),
             "/short.csv": (200, CSV, {"Content-Length": str(len(CSV) + 10)})}  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body, headers = pages[self.path]
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def entry(url: str, sha256: str | None = None) -> PublicDataset:
    files = (Remote(url, "small.csv", sha256),)
    return PublicDataset(name="tiny", about="", licence="", source="", format="routellm", files=files)


def test_every_entry_is_complete():
    for name, known in DATASETS.items():
        assert name == known.name and known.about and known.licence and known.source
        assert known.ships or known.files
        assert len({remote.filename for remote in known.files}) == len(known.files)
        for remote in known.files:
            assert remote.url.startswith("https://") and "/main/" not in remote.url


def test_a_table_is_found_by_name_or_alias_in_the_first_folder_that_has_it(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    write_table(table(), two / "mmlupro.parquet")
    assert public.path("mmlu-pro-outcomes", (one, two)) == two / "mmlupro.parquet"
    write_table(table(), one / "mmlu-pro-outcomes.csv")
    assert public.path("mmlu-pro-outcomes", (one, two)) == one / "mmlu-pro-outcomes.csv"
    assert public.find("llmrouter-14", (one, two)) is None
    assert public.find("llmrouter-14", (tmp_path / "absent",)) is None


def test_a_table_that_is_not_here_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match="equipoise datasets get routellm-mmlu, or put routellm-mmlu.parquet"):
        public.path("routellm-mmlu", (tmp_path,))
    with pytest.raises(InputError, match="published as a pickle.*table convert"):
        public.path("routerbench", (tmp_path,))
    with pytest.raises(UnknownName, match="did you mean 'routerbench'"):
        public.path("router-bench", (tmp_path,))


def test_a_part_is_cut_out_of_the_whole(tmp_path):
    write_table(table(), tmp_path / "routellm_mmlu_gsm8k.parquet")
    assert list(public.load("routellm-gsm8k", (tmp_path,)).datasets) == ["gsm8k"]
    assert list(public.load("routellm-mmlu", (tmp_path,)).datasets) == ["mmlu_x"]
    write_table(table("own"), tmp_path / "routellm-mmlu.parquet")
    assert list(public.load("routellm-mmlu", (tmp_path,)).datasets) == ["own", "mmlu_x"]


def test_download_converts_and_records_an_unknown_checksum(tmp_path, server):
    said: list[str] = []
    dest = tmp_path / "cache"
    got = public.download(entry(f"{server}/small.csv"), dest, public.fetch_https, notice=said.append)
    assert got == dest / "tiny.parquet" and read_table(got).models == ("big", "small")
    assert sorted(p.name for p in dest.iterdir()) == ["checksums.json", "tiny.parquet"]
    digest = hashlib.sha256(CSV).hexdigest()
    assert json.loads((dest / "checksums.json").read_text()) == {f"{server}/small.csv": digest}
    assert any("no published checksum" in line for line in said)
    said.clear()
    public.download(entry(f"{server}/small.csv"), dest, public.fetch_https, notice=said.append)
    assert not any("warning" in line for line in said)


def test_a_file_that_changed_since_the_first_download_is_refused(tmp_path):
    known = entry("https://example.invalid/small.csv")
    public.download(known, tmp_path, lambda url: iter([CSV]))
    before = (tmp_path / "tiny.parquet").read_bytes()
    with pytest.raises(InputError, match="changed or damaged"):
        public.download(known, tmp_path, lambda url: iter([CSV, b"more,True,True\n"]))
    assert (tmp_path / "tiny.parquet").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checksums.json", "tiny.parquet"]


def test_a_published_checksum_must_hold(tmp_path):
    good = hashlib.sha256(CSV).hexdigest()
    public.download(entry("https://x.invalid/s", good), tmp_path, lambda url: iter([CSV[:9], CSV[9:]]))
    with pytest.raises(InputError, match="is not the expected"):
        public.download(entry("https://x.invalid/s", "0" * 64), tmp_path, lambda url: iter([CSV]))


def test_a_download_that_is_too_large_or_no_table_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(public, "MAX_DOWNLOAD_BYTES", 20)
    with pytest.raises(InputError, match="more than"):
        public.download(entry("https://x.invalid/s"), tmp_path, lambda url: iter([CSV]))
    with pytest.raises(TableError):
        public.download(entry("https://x.invalid/s"), tmp_path, lambda url: iter([b"<html>no</html>"]))
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_to_safe_places_only(server):
    assert b"".join(public.fetch_https(f"{server}/moved.csv")) == CSV
    for page in ("elsewhere", "local"):
        with pytest.raises(InputError, match="only https|cannot be downloaded|answered 302"):
            b"".join(public.fetch_https(f"{server}/{page}.csv"))


@pytest.mark.parametrize(
    ("url", "message"),
    [("{server}/gone.csv", "answered 404"), ("{server}/short.csv", "bytes came|cannot be downloaded"),
     ("http://127.0.0.1:9/x", "cannot be downloaded"), ("http://example.invalid/x", "only https"),
     ("file:///etc/passwd", "only https")],
)  # fmt: skip
def test_a_failed_download_is_one_line(server, url, message):
    with pytest.raises(InputError, match=message) as caught:
        b"".join(public.fetch_https(url.format(server=server)))
    assert "\n" not in str(caught.value)


def test_get_refuses_what_is_published_as_a_pickle(tmp_path):
    with pytest.raises(InputError, match="pickle"):
        public.get("routerbench", tmp_path, lambda url: iter([]))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_list_of_checksums_is_refused(tmp_path):
    (tmp_path / "checksums.json").write_text("[")
    with pytest.raises(InputError, match="remove it"):
        public.download(entry("https://x.invalid/s"), tmp_path, lambda url: iter([CSV]))
