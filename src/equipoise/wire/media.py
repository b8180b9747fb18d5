"""Images and files that ride in a body: as a link, or inside a ``data:`` URL."""

from __future__ import annotations

import re

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)
# What is written often, and refused by who reads it strictly.
_NAMES = {"image/jpg": "image/jpeg"}


def data_url(media_type: str, base64: str) -> str:
    """The bytes as a URL."""
    return f"data:{media_type};base64,{base64}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 text of a ``data:`` URL; None for any other URL."""
    found = _DATA_URL.match(url)
    return (_NAMES.get(found[1], found[1]), url[found.end() :]) if found else None
