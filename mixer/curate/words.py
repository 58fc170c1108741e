"""The words of documents as hashes, for whole Arrow columns (format.md, "Words"). Compiled kernels only.

    "It's 3 p.m. 猫が"  ->  it s 3 p m 猫 が

Deduplication and decontamination compare words, so that white space, punctuation and case make no difference. What a
word is depends on no library's version: it follows from the bytes of UTF-8 by the tables below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from mixer.sources.text import text_offsets

_GAP, _LETTER, _SINGLE = 0, 1, 2
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_NGRAM_BASE = 0xD6E8FEB86659FD93
_CHUNK_BYTES = 1 << 18
"""Text that is worked on at a time: its arrays of eight bytes a byte fit into the cache."""
_LANES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of some documents, end to end."""

    # uint64[words]: equal for equal words.
    hashes: np.ndarray
    # int64[documents + 1], rising: where each document's words start.
    offsets: np.ndarray
    # int64[words]: where each word starts, in bytes of its document's text.
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.hashes)


def words_of(text: pa.LargeStringArray) -> Words:
    """The words of documents; a null has none. Cost: linear in the bytes.

    A word is a longest run of letters, or one character of a script that is written without spaces. ASCII letters are
    lowered. Its hash is the sum of its bytes b_j, plus one, times B^(j + 1), mixed by the last steps of SplitMix64, B
    being 0x9E3779B97F4A7C15, modulo 2^64.
    """
    bounds = text_offsets(text)
    empty = np.empty(0, dtype=np.int64)
    data = text.buffers()[2] if len(text) else None
    whole = np.empty(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    hashes, starts, counts = [empty.astype(np.uint64)], [empty], [np.zeros(len(text), dtype=np.int64)]
    first = 0
    while first < len(text):
        fitting = int(np.searchsorted(bounds, bounds[first] + _CHUNK_BYTES, "right")) - 1
        stop = max(first + 1, fitting)
        begins = bounds[first : stop + 1] - bounds[first]
        word_hashes, word_starts = _words(whole[bounds[first] : bounds[stop]], begins[:-1])
        counts[0][first:stop] = np.diff(np.searchsorted(word_starts, begins))
        hashes.append(word_hashes)
        starts.append(word_starts - np.repeat(begins[:-1], counts[0][first:stop]))
        first = stop
    return Words(
        hashes=np.concatenate(hashes),
        offsets=np.concatenate([[0], np.cumsum(counts[0])]),
        starts=np.concatenate(starts),
    )


def ngram_hashes(words: Words, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of all runs of `size` words of each document.

    Returns:
        uint64[n-grams] end to end, and int64[documents + 1]: where each document's begin. A document of fewer words has
        none. The k-th n-gram of a document begins with its k-th word.
    """
    counts = np.maximum(np.diff(words.offsets) - (size - 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    if not len(words) or not offsets[-1]:
        return np.empty(0, dtype=np.uint64), offsets
    num_runs = len(words) - size + 1
    runs = words.hashes[:num_runs].copy()
    for place in range(1, size):  # Horner's rule, in place
        runs *= np.uint64(_NGRAM_BASE)
        runs += words.hashes[place : place + num_runs]
    # Runs that reach into the next document are left out: the last ones of each.
    inside = np.ones(num_runs, dtype=bool)
    ends = words.offsets[1:]
    short = np.minimum(np.diff(words.offsets), size - 1)
    for back in range(1, size):
        crossing = ends[short >= back] - back
        inside[crossing[crossing < num_runs]] = False
    return mixed(runs[inside]), offsets


def mixed(values: np.ndarray) -> np.ndarray:
    """The last steps of SplitMix64, in place: uint64 in, uint64 out."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _words(data: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes and first bytes of the words of some documents that lie end to end and begin at these bytes."""
    if not len(data):
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    # One table look-up for bytes of any length: `bytes.translate` is four times as fast as an index into an array.
    values = np.frombuffer(data.tobytes().translate(_VALUES), dtype=np.uint8)
    kinds = _kinds(data, values)
    is_first = np.empty(len(data), dtype=bool)
    is_first[0] = True
    np.not_equal(kinds[1:], kinds[:-1], out=is_first[1:])
    is_first[begins[begins < len(data)]] = True
    if kinds.max() == _SINGLE:
        is_first |= (kinds == _SINGLE) & ((data & 0xC0) != 0x80)
    borders = np.append(np.flatnonzero(is_first), len(data))
    word = np.flatnonzero(kinds[borders[:-1]] != _GAP)
    starts, stops = borders.take(word), borders.take(word + 1)
    powers, inverse = _powers(max(_CHUNK_BYTES, 1 << (len(data) - 1).bit_length()))
    sums = np.zeros(-(-(len(data) + 1) // _LANES) * _LANES, dtype=np.uint64)
    np.multiply(values, powers[: len(data)], out=sums[1 : len(data) + 1])
    before = _sum_rows(sums)
    found = sums.take(stops) + before.take(stops // _LANES)
    found -= sums.take(starts) + before.take(starts // _LANES)
    found *= inverse.take(starts)
    return mixed(found), starts


def _sum_rows(values: np.ndarray) -> np.ndarray:
    """Sum up rows of eight values, in place, and give the sum of all rows before each.

    The sum of all values up to one is then two look-ups. Twice as fast as one long `cumsum`, whose every addition waits
    for the one before.
    """
    rows = values.reshape(-1, _LANES)
    for lane in range(1, _LANES):
        rows[:, lane] += rows[:, lane - 1]
    totals = rows[:, -1]
    before: np.ndarray = np.cumsum(totals) - totals
    return before


def _kinds(data: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each byte is of a gap, a letter, or a character that is a word: uint8[bytes]."""
    kinds: np.ndarray = (values != 0).view(np.uint8)
    leads = np.flatnonzero(data >= 0xC0)
    if len(leads):
        kinds[data >= 0x80] = _GAP
        following = np.minimum(leads + 1, len(data) - 1)
        kind = _LEAD_KINDS[data[leads], data[following]]
        kinds[leads] = kind
        for more, least in ((1, 0xC0), (2, 0xE0), (3, 0xF0)):
            longer = data[leads] >= least
            places = leads[longer] + more
            fitting = places < len(data)
            kinds[places[fitting]] = kind[longer][fitting]
    return kinds


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """B^1, B^2, ... and their inverses times B, of the first byte's place on: uint64[count] each."""
    powers = np.cumprod(np.full(count, _BASE, dtype=np.uint64))
    inverse = np.full(count + 1, pow(_BASE, -1, 2**64), dtype=np.uint64)
    inverse[0] = 1
    return powers, np.cumprod(inverse)


def _values() -> bytes:
    """What each byte is worth in a hash: one more than the byte, letters lowered, and 0 where ASCII has a gap."""
    values = [0] * 0x80 + [*range(0x81, 0x100), 0]  # no byte of UTF-8 is 0xFF
    for first, last in ("09", "AZ", "az"):
        for byte in range(ord(first), ord(last) + 1):
            values[byte] = 1 + (byte | 0x20)
    return bytes(values)


def _lead_kinds() -> np.ndarray:
    """The kind of a character by its first two bytes: uint8[256, 256]."""
    kinds = np.full((256, 256), _LETTER, dtype=np.uint8)
    for first, last, kind in _RANGES:
        for point in range(first, last + 1, 64):
            lead, second = chr(point).encode()[:2]
            kinds[lead, second] = kind
    kinds[0xC2] = _GAP
    return kinds


_RANGES = (
    (0x0E00, 0x0EFF, _SINGLE),  # Thai, Lao
    (0x1000, 0x109F, _SINGLE),  # Myanmar
    (0x1780, 0x17FF, _SINGLE),  # Khmer
    (0x2000, 0x2BFF, _GAP),  # punctuation and symbols
    (0x3000, 0x303F, _GAP),  # punctuation of East Asia
    (0x3040, 0x9FFF, _SINGLE),  # Kana, Han
    (0xF900, 0xFAFF, _SINGLE),  # Han
    (0xFE00, 0xFE7F, _GAP),  # variation selectors, forms of punctuation
    (0xFF00, 0xFFBF, _SINGLE),  # full and half width
    (0x1F000, 0x1FFFF, _GAP),  # pictures
    (0x20000, 0x3FFFF, _SINGLE),  # Han
)
"""Code points that are not letters, in blocks of 64; U+0080 to U+00BF are gaps too, and all others letters."""
_VALUES = _values()
_LEAD_KINDS = _lead_kinds()
