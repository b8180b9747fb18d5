"""Identifiers of decisions and requests."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """An identifier that nobody guesses: the millisecond and 80 random bits.

    Later ones sort after earlier ones, so that the database's index grows at its end and not everywhere at once.
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
