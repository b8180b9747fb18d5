"""Vectors from an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np

from equipoise.errors import InputError
from equipoise.types import Singles

_MAX_BODY_BYTES = 64 * 1024 * 1024


class _NoRedirects(HTTPRedirectHandler):
    """The key would go along to wherever an answer leads."""

    def redirect_request(self, *_: object) -> None:
        """None: the redirect is an error, as any status is."""


@dataclass(eq=False, kw_only=True)
class EndpointEmbedder:
    """An OpenAI-compatible ``/embeddings`` endpoint. For the workbench: one blocking call per batch."""

    base_url: str
    model: str
    dimension: int
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 30.0
    batch_size: int = 64
    version: str = field(init=False)

    def __post_init__(self) -> None:
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InputError("the api_key of an embeddings endpoint is not one line of plain characters; mend it")
        # What the endpoint serves under a model's name is its owner's promise.
        self.version = f"endpoint-{self.base_url}-{self.model}-{self.dimension}"

    def embed(self, texts: Sequence[str]) -> Singles:
        """Vectors of shape (n, dimension). A blank text is not sent; its vector is zero.

        Raises:
            InputError: no answer in time, an error status, or an answer of another shape.
        """
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        rows = [i for i, text in enumerate(texts) if text.strip()]
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            out[part] = _unit(self._vectors(self._call([texts[i] for i in part]), len(part)))
        return out

    def _call(self, texts: Sequence[str]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        if not self._url.startswith(("http://", "https://")):
            raise InputError(f"{self._url}: not an http address; check base_url")
        body = json.dumps({"model": self.model, "input": list(texts)}).encode()
        try:
            opener = build_opener(_NoRedirects)
            with opener.open(Request(self._url, body, headers), timeout=self.timeout_s) as response:
                answer: bytes = response.read(_MAX_BODY_BYTES)
        except HTTPError as error:
            error.close()
            raise InputError(f"{self._url}: status {error.code}; check base_url, model and key") from error
        except TimeoutError as error:
            raise InputError(f"{self._url}: no answer in {self.timeout_s} s; raise timeout_s") from error
        except (OSError, HTTPException) as error:
            raise InputError(f"{self._url}: cannot connect ({error}); is base_url right?") from error
        return answer

    def _vectors(self, body: bytes, n: int) -> Singles:
        try:
            rows = sorted(json.loads(body)["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{self._url}: the answer is not an embeddings list; check base_url") from error
        if vectors.shape != (n, self.dimension):
            shape = "x".join(map(str, vectors.shape))
            raise InputError(f"{self._url}: got vectors {shape}, expected {n}x{self.dimension}; set dimension")
        if not np.isfinite(vectors).all():
            raise InputError(f"{self._url}: the vectors hold values that are not finite; check the model")
        return vectors

    @property
    def _url(self) -> str:
        return self.base_url.rstrip("/") + "/embeddings"


def _unit(vectors: Singles) -> Singles:
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    result: Singles = (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return result
