"""Documents end to end, and where their words and lines are. Compiled kernels only.

A `TextChunk` is what the columnar filters see: text whose arrays stay in the cache. What one rule has counted,
the next one finds counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pyarrow as pa

from mixer.curate.filters.characters import BREAK, LETTER, PLAIN, SPACE, kinds_of
from mixer.curate.filters.counting import Ranks
from mixer.curate.filters.padded import PaddedBytes
from mixer.curate.filters.verdicts import Verdicts
from mixer.sources.text import text_offsets

_CHUNK_BYTES = 1 << 19


def judged_by_chunks(
    text: pa.LargeStringArray, judge: Callable[[TextChunk], np.ndarray], reasons: tuple[str, ...]
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
        reason[first:stop] = judge(TextChunk(whole[bounds[first] : bounds[stop]], begins))
        first = stop
    return Verdicts(reason=reason, reasons=reasons)


class TextChunk:
    """Some documents, end to end.

    Args:
        data: uint8[bytes]: their UTF-8.
        begins: int64[documents + 1], rising, the first 0: where each begins; the last is the number of bytes.
    """

    def __init__(self, data: np.ndarray, begins: np.ndarray) -> None:
        self.bytes = PaddedBytes(data)
        self.data = self.bytes.data
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
        return self._first_bytes.before(stops) - self._first_bytes.before(starts)

    @cached_property
    def _first_bytes(self) -> Ranks:
        """Which bytes are the first of a character."""
        return Ranks((self.data & 0xC0) != 0x80)

    def counts(self, places: np.ndarray) -> np.ndarray:
        """How many of some bytes each document has: int64[documents].

        Args:
            places: int64, rising: the bytes.
        """
        return np.diff(np.searchsorted(places, self.begins))

    def document_of(self, places: np.ndarray) -> np.ndarray:
        """The document that each byte is of: int64[places]."""
        return np.searchsorted(self.begins, places, "right") - 1

    def places_of(self, character: str) -> np.ndarray:
        """Where a character of several bytes begins: int64, rising."""
        if self.is_ascii:
            return np.empty(0, dtype=np.int64)
        places = np.flatnonzero(self.data == character.encode()[0])
        return places[self.bytes.begins_with(places, character)]

    @cached_property
    def _word_edges(self) -> np.ndarray:
        """int64[2 * words]: where the words of `str.split` start and stop, in turn."""
        if not len(self.data):
            return np.empty(0, dtype=np.int64)
        is_word = (self.kinds & SPACE) == 0
        is_edge = np.empty(len(self.data) + 1, dtype=bool)
        is_edge[0], is_edge[-1] = is_word[0], is_word[-1]
        np.not_equal(is_word[1:], is_word[:-1], out=is_edge[1:-1])
        edges = np.flatnonzero(is_edge)
        # Documents touch: a word ends and another one begins.
        inner = self.begins[(self.begins > 0) & (self.begins < len(self.data))]
        touching = np.unique(inner[is_word[inner - 1] & is_word[inner]])
        return np.insert(edges, np.searchsorted(edges, np.repeat(touching, 2)), np.repeat(touching, 2))

    @cached_property
    def word_starts(self) -> np.ndarray:
        """int64[words], rising."""
        return np.ascontiguousarray(self._word_edges[::2])

    @cached_property
    def word_stops(self) -> np.ndarray:
        """int64[words], rising."""
        return np.ascontiguousarray(self._word_edges[1::2])

    @cached_property
    def word_offsets(self) -> np.ndarray:
        """int64[documents + 1]: where each document's words start."""
        return np.searchsorted(self.word_starts, self.begins)

    @cached_property
    def num_words(self) -> np.ndarray:
        """int64[documents]."""
        return np.diff(self.word_offsets)

    @cached_property
    def word_documents(self) -> np.ndarray:
        """int64[words], rising: the document of each word."""
        return np.repeat(np.arange(len(self)), self.num_words)

    @cached_property
    def word_kinds(self) -> np.ndarray:
        """uint8[words]: LETTER if a word has a letter, PLAIN if it has a character that is not punctuation."""
        kinds = self.kinds[self.word_starts]
        # Most words begin with a letter, which says all.
        others = np.flatnonzero((kinds & (LETTER | PLAIN)) != (LETTER | PLAIN))
        if len(others):
            edges = np.stack([self.word_starts[others], self.word_stops[others]], axis=1).ravel()
            if edges[-1] == len(self.data):
                edges = edges[:-1]
            kinds[others] = np.bitwise_or.reduceat(self.kinds, edges)[::2]
        return kinds

    @cached_property
    def line_feeds(self) -> np.ndarray:
        """int64[line feeds]: their bytes."""
        return np.flatnonzero(self.data == 0x0A)

    @cached_property
    def breaks(self) -> np.ndarray:
        """int64[breaks], rising: the first byte of each line break of `str.splitlines`; CR and LF together are one."""
        places = np.flatnonzero((self.kinds & BREAK) != 0)
        return np.delete(places, np.searchsorted(places, self._pairs + 1))

    @cached_property
    def _pairs(self) -> np.ndarray:
        """int64[pairs], rising: each CR before a LF of its document."""
        carriage = np.flatnonzero(self.data[:-1] == 0x0D)
        carriage = carriage[self.data[carriage + 1] == 0x0A]
        return carriage[self.begins[np.searchsorted(self.begins, carriage + 1)] != carriage + 1]

    @cached_property
    def lines(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lines of `str.splitlines`, without their breaks: as `pieces_between`."""
        first = self.data[self.breaks]
        sizes = np.where(first < 0x80, 1, np.where(first < 0xE0, 2, 3))
        sizes[np.searchsorted(self.breaks, self._pairs)] = 2
        starts, stops, offsets = self.pieces_between(
            self.breaks, self.breaks + sizes, self.begins[:-1], self.begins[1:]
        )
        # What follows the last break is a line only if there is something.
        last = offsets[1:] - 1
        is_line = np.ones(len(starts), dtype=bool)
        is_line[last] = starts[last] < stops[last]
        return starts[is_line], stops[is_line], np.append(0, np.cumsum(np.diff(offsets) - ~is_line[last]))

    def pieces_between(
        self, gap_starts: np.ndarray, gap_stops: np.ndarray, firsts: np.ndarray, lasts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is left of documents between gaps; n gaps in a document leave n + 1 pieces, which may be empty.

        Args:
            gap_starts: int64[gaps], rising: where gaps start, in bytes.
            gap_stops: int64[gaps]: where they stop.
            firsts: int64[documents]: where the first piece of each document starts.
            lasts: int64[documents]: where the last one stops.

        Returns:
            int64[pieces] twice: where each starts and stops; and int64[documents + 1]: where each document's start.
        """
        before = np.searchsorted(gap_starts, self.begins)
        starts = np.insert(gap_stops, before[:-1], firsts)
        stops = np.insert(gap_starts, before[1:], lasts)
        return starts, stops, before + np.arange(len(before))

    def line_of(self, places: np.ndarray) -> np.ndarray:
        """A number for the line of each byte, rising; documents that touch share none: int64[places]."""
        return np.searchsorted(self.breaks, places) + self.document_of(places)
