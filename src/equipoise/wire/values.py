"""How many values a JSON document holds, told before it is read: the smallest take a thousand times their own size."""

from __future__ import annotations

import re

# In a whole answer: its log-probabilities may be millions.
MOST_ANSWERED = 4 << 20
_PIECE_BYTES = 1 << 16
# Every value but the outermost stands behind one of these.
_BEFORE_VALUES = (b",", b"[", b"{")
_REST_OF_ESCAPES = re.compile(rb"\\*[^\\]?", re.DOTALL)


def holds_more_values(document: bytes, most: int) -> bool:
    """Whether there are more values than ``most``. Members of objects count as one; bytes that are no JSON may be any.

    It is told piece by piece: from a thread it holds nobody up, and of what is far too much little is looked at.
    """
    if len(document) <= 2 * most:
        return False
    found = start = within_text = 0
    while start < len(document):
        end = start + _PIECE_BYTES
        if document[end - 1 : end] == b"\\" and (escapes := _REST_OF_ESCAPES.match(document, end)):
            end = escapes.end()  # no escape is cut in two
        parts = document[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[within_text::2])
        found += sum(map(outside.count, _BEFORE_VALUES))
        if found > most:
            return True
        within_text ^= 1 - len(parts) % 2
        start = end
    return False
