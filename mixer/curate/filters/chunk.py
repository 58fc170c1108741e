"""Documents end to end, and where their words and lines are. Compiled kernels only.

A `Chunk` is what the columnar filters see: a megabyte of text, so that its arrays stay in the cache. What one rule has
counted, the next one finds counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pyarrow as pa

from mixer.curate.filters.characters import BREAK, SPACE, kinds_of
from mixer.curate.filters.verdicts import Verdicts
from mixer.sources.text import text_offsets

_CHUNK_BYTES = 1 << 20


def judged_by_chunks(
    text: pa.LargeStringArray, judge: Callable[[Chunk], np.ndarray], reasons: tuple[str, ...]
) -> Verdicts:
    """The verdicts of a columnar filter.

    Args:
        text: documents, none of them null.
        judge: gives uint8[documents], codes of reasons, for a chunk.
        reasons: code -> name.
    """
    bounds = text_offsets(text)
    data = text.buffers()[2] if len(text) else None
    whole = np.empty(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    reason = np.zeros(len(text), dtype=np.uint8)
    first = 0
    while first < len(text):
        fitting = int(np.searchsorted(bounds, bounds[first] + _CHUNK_BYTES, "right")) - 1
        stop = max(first + 1, fitting)
        begins = bounds[first : stop + 1] - bounds[first]
        reason[first:stop] = judge(Chunk(whole[bounds[first] : bounds[stop]], begins))
        first = stop
    return Verdicts(reason=reason, reasons=reasons)


def sums_between(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The sum of each document's values: int64[documents].

    Args:
        values: integers or bools, end to end.
        offsets: int64[documents + 1], rising: where each document's values start.
    """
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return np.diff(sums[offsets])


class Chunk:
    """Some documents, end to end.

    Args:
        data: uint8[bytes]: their UTF-8.
        begins: int64[documents + 1], rising, the first 0: where each begins; the last is the number of bytes.
    """

    def __init__(self, data: np.ndarray, begins: np.ndarray) -> None:
        self.data = data
        self.begins = begins

    def __len__(self) -> int:
        return len(self.begins) - 1

    @cached_property
    def kinds(self) -> np.ndarray:
        """uint8[bytes]: the kinds of characters.py."""
        return kinds_of(self.data)

    @cached_property
    def is_ascii(self) -> bool:
        """Whether each character is one byte."""
        return not len(self.data) or bool(self.data.max() < 0x80)

    @cached_property
    def num_characters(self) -> np.ndarray:
        """int64[documents]: as `len` counts them."""
        return self.characters(self.begins[:-1], self.begins[1:])

    def characters(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """The number of characters of byte ranges: int64[ranges]."""
        if self.is_ascii:
            return stops - starts
        return self._characters_before[stops] - self._characters_before[starts]

    @cached_property
    def _characters_before(self) -> np.ndarray:
        """int64[bytes + 1]: how many characters begin before each byte."""
        before = np.zeros(len(self.data) + 1, dtype=np.int64)
        np.cumsum((self.data & 0xC0) != 0x80, out=before[1:])
        return before

    def counts(self, places: np.ndarray) -> np.ndarray:
        """How many of some bytes each document has: int64[documents].

        Args:
            places: int64, rising: the bytes.
        """
        return np.diff(np.searchsorted(places, self.begins))

    def document_of(self, places: np.ndarray) -> np.ndarray:
        """The document that each byte is of: int64[places]."""
        return np.searchsorted(self.begins, places, "right") - 1

    def loaded(self, places: np.ndarray) -> np.ndarray:
        """The eight bytes from each place on, the first one lowest, zeros after the last: uint64[places]."""
        at, shift = places >> 3, ((places & 7) << 3).astype(np.uint64)
        # A shift by 64 bits gives 0.
        return (self._eights[at] >> shift) | (self._eights[at + 1] << (np.uint64(64) - shift))

    @cached_property
    def _eights(self) -> np.ndarray:
        """The bytes as little-endian numbers, zeros after the last: uint64."""
        eights = np.zeros(len(self.data) // 8 + 2, dtype="<u8")
        eights.view(np.uint8)[: len(self.data)] = self.data
        return eights

    def begins_with(self, places: np.ndarray, text: str) -> np.ndarray:
        """Whether a text stands at each byte: bool[places]. The ends of documents are not looked at."""
        wanted = text.encode()
        matches = np.ones(len(places), dtype=bool)
        for start in range(0, len(wanted), 8):
            piece = wanted[start : start + 8]
            unused = np.uint64(64 - 8 * len(piece))
            matches &= self.loaded(places + start) << unused == np.uint64(int.from_bytes(piece, "little")) << unused
        return matches

    def places_of(self, character: str) -> np.ndarray:
        """Where a character of several bytes begins: int64, rising."""
        if self.is_ascii:
            return np.empty(0, dtype=np.int64)
        places = np.flatnonzero(self.data == character.encode()[0])
        return places[self.begins_with(places, character)]

    @cached_property
    def _spaces(self) -> np.ndarray:
        """bool[bytes]."""
        return (self.kinds & SPACE).view(np.bool_)

    @cached_property
    def word_starts(self) -> np.ndarray:
        """int64[words]: where the words of `str.split` start."""
        is_start = ~self._spaces
        inside = is_start.copy()
        is_start[1:] &= self._spaces[:-1]
        # Documents touch: a word begins where its document does.
        begins = self.begins[self.begins < len(self.data)]
        is_start[begins] = inside[begins]
        return np.flatnonzero(is_start)

    @cached_property
    def word_stops(self) -> np.ndarray:
        """int64[words]."""
        is_last = ~self._spaces
        inside = is_last.copy()
        is_last[:-1] &= self._spaces[1:]
        lasts = self.begins[self.begins > 0] - 1
        is_last[lasts] = inside[lasts]
        return np.flatnonzero(is_last) + 1

    @cached_property
    def word_offsets(self) -> np.ndarray:
        """int64[documents + 1]: where each document's words start."""
        return np.searchsorted(self.word_starts, self.begins)

    @cached_property
    def num_words(self) -> np.ndarray:
        """int64[documents]."""
        return np.diff(self.word_offsets)

    @cached_property
    def word_kinds(self) -> np.ndarray:
        """uint8[words]: the kinds of all characters of each word together."""
        if not len(self.word_starts):
            return np.empty(0, dtype=np.uint8)
        return np.bitwise_or.reduceat(self.kinds, self.word_starts)

    @cached_property
    def breaks(self) -> np.ndarray:
        """int64[breaks]: the first byte of each line break of `str.splitlines`; CR and LF together are one."""
        places = np.flatnonzero(self.kinds & BREAK)
        carriage = places[self.data[places] == 0x0D]
        if not len(carriage):
            return places
        fed = carriage[carriage + 1 < len(self.data)] + 1
        fed = fed[self.data[fed] == 0x0A]
        fed = fed[self.begins[np.searchsorted(self.begins, fed)] != fed]  # LF begins the next document
        return np.setdiff1d(places, fed, assume_unique=True)

    @cached_property
    def num_lines(self) -> np.ndarray:
        """int64[documents]: as many as `str.splitlines` gives."""
        before = np.searchsorted(self.breaks, self.begins)
        num_lines = np.diff(before)
        # What follows the last break is a line, if there is something.
        broken = np.flatnonzero(num_lines)
        last = self.breaks[before[broken + 1] - 1]
        left = self.begins[broken + 1] - last
        first = self.data[last]
        size = np.where(first < 0x80, 1, np.where(first < 0xE0, 2, 3))
        size += (first == 0x0D) & (left == 2) & (self.data[np.minimum(last + 1, len(self.data) - 1)] == 0x0A)
        is_open = np.diff(self.begins) > 0
        is_open[broken] = left > size
        return num_lines + is_open

    def line_of(self, places: np.ndarray) -> np.ndarray:
        """A number for the line of each byte, rising; documents that touch share none: int64[places]."""
        return np.searchsorted(self.breaks, places) + self.document_of(places)
