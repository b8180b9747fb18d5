"""Router files: one .npz of arrays with a JSON document of everything else. No pickle."""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.atomic import write_whole
from equipoise.errors import StateError
from equipoise.types import Deployment, Model, Price, State

FORMAT = 1
_HEADER = "equipoise.json"
_MOST_BYTES = 4 << 30
# All that reading a damaged archive, array or header raises.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_states(path: Path, states: Mapping[str, State], meta: Mapping[str, Any]) -> None:
    """Write named states and a JSON-able ``meta``. Atomic."""
    arrays: dict[str, Any] = {
        f"{part}:{key}": value for part, state in states.items() for key, value in state.arrays.items()
    }
    header = {"format": FORMAT, "meta": dict(meta), "parts": {p: dict(s.meta) for p, s in states.items()}}
    arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def load_states(path: Path) -> tuple[dict[str, State], dict[str, Any]]:
    """The inverse of ``save_states``.

    Raises:
        StateError: the file is missing, corrupt, no router file, or saved by a newer version.
    """
    header, arrays = _read(path)
    states = {}
    for part, meta in header["parts"].items():
        own = {k.split(":", 1)[1]: v for k, v in arrays.items() if k.startswith(part + ":")}
        states[part] = State(own, meta)
    return states, header["meta"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not path.is_file():
        raise StateError(
            f"{path}: no such router file; make one with: equipoise train TABLE --router SPEC --out {path}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > _MOST_BYTES:
                raise StateError(f"{path}: unpacks to more than 4 GiB; not a router file made by equipoise")
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
    except _UNREADABLE as error:
        raise StateError(f"{path}: not a readable router file ({type(error).__name__}); train it again") from None
    _check_header(path, header)
    return header, arrays


def _check_header(path: Path, header: Any) -> None:
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise StateError(f"{path}: not a readable router file (no header); train it again")
    if header["format"] > FORMAT:
        raise StateError(
            f"{path}: saved by a newer version of equipoise (file format {header['format']}, this one reads "
            f"{FORMAT}); upgrade equipoise or train again"
        )
    parts = header.get("parts")
    whole = isinstance(parts, dict) and all(isinstance(m, dict) for m in parts.values())
    if not whole or not isinstance(header.get("meta"), dict):
        raise StateError(f"{path}: not a readable router file (header without parts); train it again")


def model_to_plain(model: Model) -> dict[str, Any]:
    """A model as JSON."""
    plain = asdict(model)
    plain["capabilities"] = sorted(model.capabilities)
    return plain


def model_from_plain(plain: Mapping[str, Any]) -> Model:
    """The inverse of ``model_to_plain``."""
    price = plain["price"]
    return Model(
        **{
            **plain,
            "price": None if price is None else Price(**price),
            "capabilities": frozenset(plain["capabilities"]),
            "specializations": tuple(plain["specializations"]),
            "deployments": tuple(Deployment(**d) for d in plain["deployments"]),
        }
    )
