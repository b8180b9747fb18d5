"""Price files, refreshing them, and the documentation page."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from equipoise.catalog import Catalog, default_catalog, refresh
from equipoise.catalog.pricefile import read_models, write_models
from equipoise.errors import InputError, TableError
from equipoise.types import Model, Price

HEADER = "model,usd_per_1m_input,usd_per_1m_output\n"
DOCS = Path(__file__).parents[2] / "docs" / "catalog.md"


def file(folder: Path, text: str | bytes) -> Path:
    path = folder / "prices.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_prices_file_gives_models_in_file_order(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "model,usd_per_1m_input,usd_per_1m_output,usd_per_call,usd_per_1m_cached_input,context_window,provider\n"
        "b, 2.5 ,10,,1.25,8192,me\n\n"
        '"a, quoted",,,0.02,,,\n'
        "zero,0,0,,,,\n",
    )
    catalog = Catalog.from_prices_file(path)
    assert catalog.names() == ["b", "a, quoted", "zero"]
    b = catalog.get("b")
    assert (b.provider, b.context_window) == ("me", 8192)
    assert b.price == Price(
        usd_per_1m_input=2.5, usd_per_1m_output=10, usd_per_1m_cached_input=1.25, source="prices.csv"
    )
    assert catalog.get("a, quoted").price == Price(usd_per_call=0.02, source="prices.csv")
    assert catalog.get("zero").price == Price(source="prices.csv")


def test_a_prices_file_with_only_prices_per_call_is_enough(tmp_path: Path) -> None:
    catalog = Catalog.from_prices_file(file(tmp_path, "model,usd_per_call\na,0.5\n"))
    assert catalog.get("a").price == Price(usd_per_call=0.5, source="prices.csv")


def test_the_version_of_a_prices_file_depends_on_its_content(tmp_path: Path) -> None:
    one = Catalog.from_prices_file(file(tmp_path, HEADER + "a,1,1\n")).version
    two = Catalog.from_prices_file(file(tmp_path, HEADER + "a,1,2\n")).version
    assert one != two and one.startswith("prices.csv + ")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    catalog = Catalog.from_prices_file(file(tmp_path, "\ufeff" + (HEADER + "a,1,1\n").replace("\n", "\r\n")))
    assert catalog.names() == ["a"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEADER + "a,1,1\nb,-1,1\n", "line 3: usd_per_1m_input is '-1'"),
        (HEADER + "a,nan,1\n", "line 2: usd_per_1m_input is 'nan'"),
        (HEADER + "a,1,inf\n", "line 2: usd_per_1m_output is 'inf'"),
        (HEADER + "a,$1,1\n", r"line 2: usd_per_1m_input is '\$1'"),
        (HEADER + "a,1_0,1\n", "line 2: usd_per_1m_input is '1_0'"),
        (HEADER + "a,1e300,1\n", "line 2: usd_per_1m_input is '1e300'"),
        (HEADER + "a,1,\n", "line 2: model 'a' has no usd_per_1m_output"),
        (HEADER + "a\n", "line 2: model 'a' has no usd_per_1m_input"),
        (HEADER + ",1,1\n", "line 2: no model name"),
        (HEADER + "a,1,1,1\n", "line 2: more fields"),
        (HEADER + "a,1,1\n\na,2,2\n", "line 4: model 'a' is already on line 2"),
        (HEADER + 'a,1,1\n"b,1,1\n', "line 3: not readable as CSV"),
        ("model,usd_per_1m_input\na,1\n", "line 1: give columns"),
        ("model,usd_per_1m_input,usd_per_1m_ouput\n", "line 1: unknown column .* mean 'usd_per_1m_output'"),
        ("model,model,usd_per_call\n", "line 1: column 'model' is there twice"),
        ("model,usd_per_call,context_window\na,1,1.5\n", "line 2: context_window is '1.5'"),
        ("model,usd_per_call,usd_per_1m_cached_input\na,1,1\n", "line 2: .*cached_input without token prices"),
        ("", "line 1: give columns"),
        (HEADER, "no prices in it"),
        (b"model,usd_per_call\n\xff\xfe,1\n", "not UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_prices_file_is_refused_in_one_line_with_its_line_number(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    path = file(tmp_path, text)
    with pytest.raises(TableError, match=says) as caught:
        Catalog.from_prices_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_prices_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(TableError, match="cannot be read"):
            Catalog.from_prices_file(path)


# ---------------------------------------------------------------- refresh


@contextmanager
def serving(body: bytes, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data.json"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def published(**prices: object) -> bytes:
    models = [
        {"id": "gpt-4o", "match": {"starts_with": "gpt-4o"}, "context_window": 128000, "prices": prices},
        {
            "id": "tomorrow-1",
            "match": {"equals": "tomorrow-1"},
            "prices": {"input_mtok": 1, "output_mtok": 3},
        },
    ]
    provider = {"id": "openai", "name": "OpenAI", "api_pattern": "x", "model_match": {"starts_with": "gpt-"}}
    return json.dumps([{**provider, "models": models}]).encode()


def test_refresh_writes_a_price_file_that_updates_the_catalog(tmp_path: Path) -> None:
    path = tmp_path / "fresh.csv"
    with serving(published(input_mtok=7, output_mtok=9, cache_read_mtok=0.7)) as url:
        fresh = refresh(path, url=url)
    assert fresh.get("gpt-4o-2024-08-06").price == fresh.get("gpt-4o").price
    read = Catalog.from_prices_file(path)
    assert {n: read.get(n).price for n in read.names()} == {n: fresh.get(n).price for n in fresh.names()}
    merged = default_catalog().with_prices(read)
    price = merged.get("gpt-4o").price
    assert price is not None and (price.usd_per_1m_input, price.usd_per_1m_cached_input) == (7, 0.7)
    assert re.fullmatch(r"genai-prices fetched \d{4}-\d\d-\d\d", price.source)
    assert merged.get("gpt-4o").tier == "standard"
    assert "tomorrow-1" in merged
    assert [p.name for p in tmp_path.iterdir()] == ["fresh.csv"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 200),
        (b"{}", 200),
        (b"[]", 200),
        (b'[{"id": 1}]', 200),
        (b"[[]]", 200),
        (b'[{"id": "x", "name": "x", "api_pattern": "x", "models": [{"id": "m", "match": {}}]}]', 200),
        (b'[{"id": "x", "name": "x", "api_pattern": "x", "models": []}]', 200),
        (b'[{"id": "x", "name": "x", "api_pattern": "x", "models": 3}]', 200),
        (b"gone", 404),
    ],
)
def test_a_failed_refresh_is_one_line_and_leaves_the_old_file(tmp_path: Path, body: bytes, status: int) -> None:
    path = file(tmp_path, HEADER + "a,1,1\n")
    with serving(body, status) as url, pytest.raises(InputError, match="the old ones are kept") as caught:
        refresh(path, url=url)
    assert "\n" not in str(caught.value)
    assert Catalog.from_prices_file(path).names() == ["a"]


def test_an_unreachable_or_malformed_address_is_refused(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9/none", "nonsense", "http://[bad"):
        with pytest.raises(InputError, match="the old ones are kept"):
            refresh(tmp_path / "p.csv", url=url)
    assert list(tmp_path.iterdir()) == []


def test_refresh_to_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with (
        serving(published(input_mtok=7, output_mtok=9)) as url,
        pytest.raises(InputError, match="cannot be written"),
    ):
        refresh(tmp_path / "absent" / "p.csv", url=url)


# ---------------------------------------------------------------- docs


def test_the_examples_of_the_documentation_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), {"__name__": "docs"})


def test_prices_of_caches_and_long_prompts_are_read_as_they_were_written(tmp_path: Path) -> None:
    price = Price(
        usd_per_1m_input=3.0,
        usd_per_1m_output=15.0,
        usd_per_1m_cache_write=3.75,
        usd_per_1m_cache_write_1h=6.0,
        long_from_tokens=200_000,
        usd_per_1m_input_long=6.0,
        usd_per_1m_output_long=22.5,
        source="s",
    )
    path = tmp_path / "prices.csv"
    write_models(path, [Model(name="m", price=price)])
    assert [m.price for m in read_models(path)] == [price]
