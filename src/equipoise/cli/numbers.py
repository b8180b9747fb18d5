"""Numbers on the command line, checked where they are read."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """A whole number from 0 up."""
    return _at_least(text, 0)


def positive(text: str) -> int:
    """A whole number from 1 up."""
    return _at_least(text, 1)


def port(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    value = _at_least(text, 0)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{value} is more than 65535")
    return value


def amount(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def limit(text: str) -> float:
    """A finite number from 0 up."""
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 up")
    return value


def share(text: str) -> float:
    """A number in [0, 1]."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def _at_least(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
