"""Bytes that can be read eight at a time from any place, and hashes of their ranges. Compiled kernels only."""

from __future__ import annotations

import numpy as np
import xxhash

from mixer.curate.words import mixed

_BASE = np.uint64(0x9E3779B97F4A7C15)
_LOOPED_BYTES = 256
_MASKS = np.array([2 ** (8 * size) - 1 for size in range(9)], dtype=np.uint64)


class PaddedBytes:
    """A copy of bytes with zeros after the last.

    Args:
        data: uint8[bytes].
    """

    def __init__(self, data: np.ndarray) -> None:
        self._padded = np.zeros(len(data) + 16, dtype=np.uint8)
        self._padded[: len(data)] = data
        # uint8[bytes].
        self.data = self._padded[: len(data)]

    def eights(self, places: np.ndarray) -> np.ndarray:
        """The eight bytes from each place on, the first one lowest, zeros after the last: uint64[places].

        A place is at most eight bytes behind the last.
        """
        return np.ndarray(len(self.data) + 9, "<u8", self._padded, strides=(1,))[places]

    def begins_with(self, places: np.ndarray, text: str) -> np.ndarray:
        """Whether a text of at most eight bytes stands at each place: bool[places]."""
        wanted = text.encode()
        unused = np.uint64(64 - 8 * len(wanted))
        return self.eights(places) << unused == np.uint64(int.from_bytes(wanted, "little")) << unused

    def range_hashes(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """64-bit hashes of ranges, equal for equal bytes: uint64[ranges].

        Eight bytes a step, of all ranges that have so many; those of more than 256 bytes are few, and hashed one by
        one. Hashes live as long as one chunk, so that their definition may change.
        """
        sizes = stops - starts
        hashes = mixed(sizes.astype(np.uint64) * _BASE)
        left = np.flatnonzero((sizes > 0) & (sizes <= _LOOPED_BYTES))
        for start in range(0, _LOOPED_BYTES, 8):
            if start:
                left = left[sizes[left] > start]
            if not len(left):
                break
            eights = self.eights(starts[left] + start)
            eights &= _MASKS[np.minimum(sizes[left] - start, 8)]
            eights ^= hashes[left]
            hashes[left] = mixed(eights)
        for place in np.flatnonzero(sizes > _LOOPED_BYTES):
            hashes[place] = xxhash.xxh3_64_intdigest(self.data[starts[place] : stops[place]].data)
        return hashes
