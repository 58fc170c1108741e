"""Hashes of the letters of runs of words, whatever parts the words: `data set` is `dataset`. Compiled kernels only."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixer.curate.filters.characters import SPACE
from mixer.curate.filters.chunk import TextChunk
from mixer.curate.words import mixed

_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_BLOCK_BYTES = 1 << 16
_LOW_BITS = 10


class Letters:
    """The words of a chunk, end to end and without white space, as one polynomial.

    The k-th byte b adds (b + 1) B^k, modulo 2^64. The sum from the i-th byte to the j-th, times B^(-i), depends on the
    bytes between alone.
    """

    def __init__(self, chunk: TextChunk) -> None:
        self._chunk = chunk
        # int64[words + 1]: the bytes of all words before each.
        self.before = np.append(0, np.cumsum(chunk.word_stops - chunk.word_starts))

    def hashes(self, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Hashes of the letters of runs of words, equal for equal letters: uint64[runs].

        Args:
            first: int64[runs]: the first word of each.
            stop: int64[runs]: the word behind the last of each.
        """
        return mixed((self._sums[stop] - self._sums[first]) * self._inverses[first])

    def word_hashes(self) -> np.ndarray:
        """The hash of each word: uint64[words]."""
        return mixed((self._sums[1:] - self._sums[:-1]) * self._inverses[:-1])

    @cached_property
    def _inverses(self) -> np.ndarray:
        """uint64[words + 1]."""
        return _powers(-self.before)

    @cached_property
    def _sums(self) -> np.ndarray:
        """The sums up to each word: uint64[words + 1]."""
        chunk = self._chunk
        of_words = np.zeros(len(chunk.word_starts), dtype=np.uint64)
        powers = _powers(np.arange(min(_BLOCK_BYTES, len(chunk.data))))
        for start in range(0, len(chunk.data), _BLOCK_BYTES):
            block = slice(start, start + _BLOCK_BYTES)
            first = int(np.searchsorted(chunk.word_stops, start, "right"))
            last = int(np.searchsorted(chunk.word_starts, start + _BLOCK_BYTES))
            if first == last:
                continue
            values = (chunk.data[block] + np.uint8(1)) * ((chunk.kinds[block] & SPACE) == 0)
            # White space is 0, so that a word goes on to the next one's first byte.
            begins = chunk.word_starts[first:last] - start
            sums = np.add.reduceat(values * powers[: len(values)], np.maximum(begins, 0))
            of_words[first:last] += sums * _powers(self.before[first:last] - begins)
        return np.append(np.uint64(0), np.cumsum(of_words))


def _powers(exponents: np.ndarray) -> np.ndarray:
    """The base to the power of some numbers, also negative ones, modulo 2^64: uint64[exponents]."""
    least = int(exponents.min(initial=0))
    above = exponents - least
    low = _progression(1, _BASE, 1 << _LOW_BITS)
    num_high = (int(above.max(initial=0)) >> _LOW_BITS) + 1
    high = _progression(pow(_BASE, least, 2**64), pow(_BASE, 1 << _LOW_BITS, 2**64), num_high)
    return low[above & ((1 << _LOW_BITS) - 1)] * high[above >> _LOW_BITS]


def _progression(first: int, factor: int, count: int) -> np.ndarray:
    """uint64[count]: first, first times the factor, and so on."""
    steps = np.full(count, factor, dtype=np.uint64)
    steps[0] = first
    return np.cumprod(steps)
