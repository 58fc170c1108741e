"""Counts and sums over parts of an array, for many parts at once. Compiled kernels only."""

from __future__ import annotations

import numpy as np


class Ranks:
    """How many flags are set before a place, for any places: a bit a flag, and a count every 64 flags.

    A cumulative sum over all flags takes longer than everything else that is done to them.

    Args:
        flags: bool[flags].
    """

    def __init__(self, flags: np.ndarray) -> None:
        packed = np.zeros(len(flags) // 64 + 1, dtype="<u8")
        packed.view(np.uint8)[: (len(flags) + 7) // 8] = np.packbits(flags, bitorder="little")
        self._bits = packed
        self._before = np.zeros(len(packed), dtype=np.int64)
        np.cumsum(np.bitwise_count(packed[:-1]), out=self._before[1:])

    def before(self, places: np.ndarray) -> np.ndarray:
        """The number of flags before each place: int64[places]; a place is from 0 to the number of flags."""
        block = places >> 6
        below = (np.uint64(1) << (places & 63).astype(np.uint64)) - np.uint64(1)
        return self._before[block] + np.bitwise_count(self._bits[block] & below)


def counts_between(flags: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many flags of each part are set: int64[parts].

    Args:
        flags: bool[flags].
        offsets: int64[parts + 1], rising: where each part starts.
    """
    return np.diff(Ranks(flags).before(offsets))


def sums_between(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The sum of each part's values: int64[parts].

    Args:
        values: int64[values].
        offsets: int64[parts + 1], rising, from 0 to the number of values: where each part starts.
    """
    sums = np.zeros(len(offsets) - 1, dtype=np.int64)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        sums[filled] = np.add.reduceat(values, offsets[filled])
    return sums
