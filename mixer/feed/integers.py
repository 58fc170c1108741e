"""Checks of whole numbers from a caller: no bool, no 1.5, at most 64 bits. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer.errors import UsageError

MOST = 2**62
"""The most that a count or a place may be: sums of two still fit into int64."""


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, Python's or numpy's; a bool is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_whole(value: Any, where: str, *, least: int = 0, most: int = MOST) -> int:
    """The value as an int.

    Raises:
        UsageError: it is not a whole number, or outside of `least` to `most`.
    """
    if not is_whole(value):
        raise UsageError(f"{where} is {shown(value)}; expected a whole number", where=where)
    if not least <= value <= most:
        limits = f"at least {least}" if value < least else f"at most {most:,}"
        raise UsageError(f"{where} is {shown(value)}; expected {limits}", where=where)
    return int(value)


def shown(value: Any) -> str:
    """A value for an error message, in few characters."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "a huge integer"
    text = str(value) if is_whole(value) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
