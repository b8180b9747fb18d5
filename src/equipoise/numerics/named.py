"""Arrays by name: those of a part stand beside others under ``part/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


def prefixed(part: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a part, under the names that they have beside others."""
    return {f"{part}/{name}": values for name, values in arrays.items()}


def part_of(arrays: Arrays, part: str) -> dict[str, npt.NDArray[Any]]:
    """The inverse of ``prefixed``; empty where there is no such part."""
    start = part + "/"
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}
