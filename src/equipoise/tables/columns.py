"""Arrow columns to numpy: text as codes of distinct values, numbers as floats. No loop over rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.errors import TableError
from equipoise.tables import arrow as pa
from equipoise.types import Floats, Ints, Strings

SHOWN = 60
_NO_TEXT = (list, tuple, dict, set, bytes, np.ndarray)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A text column: ``codes[row]`` points into ``values``, -1 where the cell is empty.

    ``values`` are distinct and in order of first appearance.
    """

    codes: Ints
    values: Strings

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Ints) -> Coded:
        """The given rows; values that no row uses any more are dropped."""
        return _in_order(self.codes[rows], self.values)

    def at(self, row: int) -> str:
        """The text of one row, empty where there is none."""
        code = int(self.codes[row])
        return "" if code < 0 else str(self.values[code])

    def rows_where(self, such: Callable[[str], bool], *, empty: bool = False) -> Ints:
        """The rows whose text is such; those without one, too, if ``empty``."""
        return np.flatnonzero(np.array([*map(such, self.values), empty], dtype=bool)[self.codes])


def coded(column: pa.ChunkedArray | Sequence[Any], name: str, where: str) -> Coded:
    """A text column, Arrow's or a Python sequence, as codes. Whole numbers and booleans are taken as their text."""
    column = _arrow(column, text_column, name, where)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return Coded(np.full(len(column), -1, dtype=np.int64), np.empty(0, dtype=object))
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise TableError(f"{where}: column '{name}' holds {kind}, not text; save it as a string column")
    if pa.types.is_dictionary(column.type):
        if column.num_chunks > 1:
            column = column.unify_dictionaries()
        whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(whole, pa.ChunkedArray):  # no rows: nothing to combine
            return Coded(np.empty(0, dtype=np.int64), np.empty(0, dtype=object))
        codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        distinct = whole.dictionary.dictionary_encode()  # a foreign writer's may repeat values, or hold a null
        again = np.append(distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), -1)
        return _in_order(again[codes], _texts(distinct.dictionary))
    parts = column.dictionary_encode()
    if parts.num_chunks == 0:
        return Coded(np.empty(0, dtype=np.int64), np.empty(0, dtype=object))
    if parts.num_chunks > 1:
        parts = parts.unify_dictionaries()
    codes = np.concatenate([c.indices.fill_null(-1).to_numpy(zero_copy_only=False) for c in parts.chunks])
    return _in_order(codes.astype(np.int64), _texts(parts.chunk(0).dictionary))


def _arrow(column: Any, make: Callable[[Sequence[Any], str, str], pa.ChunkedArray], name: str, where: str) -> Any:
    return column if hasattr(column, "num_chunks") else make(column, name, where)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of the plain string types."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _texts(values: pa.Array) -> Strings:
    texts = values if is_text(values.type) else values.cast(pa.string())
    out: Strings = np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)
    return out


def _in_order(codes: Ints, values: Strings) -> Coded:
    """Renumber so that values stand in order of first appearance and are all used."""
    used, first = np.unique(codes, return_index=True)
    keep = used >= 0
    used, first = used[keep], first[keep]
    order = np.argsort(first, kind="stable")
    used = used[order]
    renumber = np.full(len(values) + 1, -1, dtype=np.int64)  # the last cell serves the code -1
    renumber[used] = np.arange(len(used))
    return Coded(renumber[codes], values[used])


def numbers(column: pa.ChunkedArray | Sequence[Any], name: str, where: str, *, booleans: bool = False) -> Floats:
    """A number column as floats, NaN where a cell is empty. Text is read as numbers, else the row is named.

    Args:
        column: the cells, Arrow's or a Python sequence.
        name: the column's name, for messages.
        where: the file's name, for messages.
        booleans: whether true and false are taken as 1 and 0.
    """
    column = _arrow(column, number_column, name, where)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(kind) and booleans:
        return _floats(column.cast(pa.int8()).cast(pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _floats(column.cast(pa.float64(), safe=False))
    if is_text(kind):
        return _parsed(column, name, where, booleans)
    raise TableError(f"{where}: column '{name}' holds {kind}, not numbers; save it as a number column")


def _floats(column: pa.ChunkedArray) -> Floats:
    out: Floats = column.fill_null(math.nan).to_numpy().astype(np.float64)
    return out


def _parsed(column: pa.ChunkedArray, name: str, where: str, booleans: bool) -> Floats:
    """Numbers written as text; the row is looked for only when some cell is no number."""
    text = pa.compute.utf8_lower(pa.compute.utf8_trim_whitespace(column))
    empty = pa.compute.is_in(text, value_set=pa.array(["", "null", "none", "na", "n/a"], text.type))
    text = pa.compute.if_else(empty, pa.scalar(None, text.type), text)
    if booleans:
        text = _replaced(_replaced(text, "true", "1"), "false", "0")
    try:
        return _floats(text.cast(pa.float64()))
    except pa.ArrowInvalid:
        row = _first_unread(text)
        raise TableError(
            f"{where}, row {row + 1}: {name} is {quoted(str(column[row]))}; write a plain number"
        ) from None


def _replaced(text: Any, old: str, new: str) -> Any:
    return pa.compute.if_else(pa.compute.fill_null(pa.compute.equal(text, old), False), pa.scalar(new, text.type), text)


def _first_unread(text: Any) -> int:
    """The first cell that Arrow cannot read as a number, by halving: Python takes more for a number than Arrow."""
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            text.slice(low, middle - low).cast(pa.float64())
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def quoted(text: str) -> str:
    """A cell's text for a one-line message: shortened, control characters escaped."""
    short = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return "'" + short.encode("unicode_escape").decode("ascii") + "'" if not short.isprintable() else f"'{short}'"


def text_column(values: Sequence[Any], name: str, where: str) -> pa.ChunkedArray:
    """Python values as an Arrow text column; numbers become their text."""
    for row, value in enumerate(values):
        if isinstance(value, _NO_TEXT):
            raise TableError(f"{where}, row {row + 1}: {name} is {quoted(str(value))}, which is no text; give a string")
    texts = [
        None if v is None or (isinstance(v, float) and v != v) else v if isinstance(v, str) else str(v) for v in values
    ]
    try:
        return pa.chunked_array([pa.array(texts, pa.large_string())])
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise TableError(f"{where}: column '{name}' is not text ({_line(error)}); give strings") from error


def number_column(values: Sequence[Any] | Floats, name: str, where: str) -> pa.ChunkedArray:
    """Python values as an Arrow number column."""
    try:
        if isinstance(values, np.ndarray) and values.dtype != object:
            return pa.chunked_array([pa.array(values)])
        return pa.chunked_array([pa.array(values, pa.float64())])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (str, int, float, np.number, np.bool_)):
            raise TableError(f"{where}, row {row + 1}: {name} is {quoted(str(value))}; write a plain number")
    return text_column(list(values), name, where)  # numbers among text and booleans are read from their text


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
