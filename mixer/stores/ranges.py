"""Ranges of bytes, merged and cut into requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

Range = tuple[int, int]

MAX_GAP_BYTES = 512 << 10
"""Less than this between two ranges is fetched as well: it costs less than another request."""
PART_BYTES = 8 << 20
"""One request asks for at most this, so that a lost connection loses little and several share a block."""


def merged(ranges: Iterable[Range], num_bytes: int, max_gap: int = MAX_GAP_BYTES) -> list[Range]:
    """Sorted ranges that cover all of these within the file; ranges close together become one.

    Example: [(0, 10), (12, 20), (90, 120)] of 100 bytes with a gap of 5 -> [(0, 20), (90, 100)].
    """
    result: list[Range] = []
    for start, stop in sorted(ranges):
        stop = min(stop, num_bytes)
        if start >= stop:
            continue
        if result and start <= result[-1][1] + max_gap:
            result[-1] = result[-1][0], max(stop, result[-1][1])
        else:
            result.append((start, stop))
    return result


def parts(ranges: Iterable[Range], part_bytes: int = PART_BYTES) -> list[Range]:
    """The same bytes in parts of about equal size, one request each."""
    result = []
    for start, stop in ranges:
        count = -(-(stop - start) // part_bytes)
        borders = [start + (stop - start) * number // count for number in range(count + 1)]
        result += list(pairwise(borders))
    return result
