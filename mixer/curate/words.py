"""The words of documents as hashes, for whole Arrow columns (format.md, "Words"). Compiled kernels only.

    "It's 3 p.m. 猫が"  ->  it s 3 p m 猫 が

Deduplication and decontamination compare words, so that white space, punctuation and case make no difference. What a
word is depends on no library's version: it follows from the bytes of UTF-8 by the tables below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa

from mixer.sources.text import text_offsets

_GAP, _LETTER, _SINGLE = 0, 1, 2
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_NGRAM_BASE = 0xD6E8FEB86659FD93
_CHUNK_BYTES = 1 << 17
"""Text that is worked on at a time: its arrays fit into a core's cache, and calls of numpy cost little beside it."""
_CHUNK_WORDS = 1 << 15


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
    data = text.buffers()[2] if len(text) else None
    whole = np.empty(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    hashes, starts = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    for sums, places in _iter_sums(whole, bounds):
        hashes.append(mixed(sums))
        starts.append(places)
    places = np.concatenate(starts)
    offsets = np.searchsorted(places, bounds)
    return Words(
        hashes=np.concatenate(hashes), offsets=offsets, starts=places - np.repeat(bounds[:-1], np.diff(offsets))
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
    # Runs that reach into the next document are left out: the last ones of each.
    inside = np.ones(num_runs, dtype=bool)
    ends = words.offsets[1:]
    short = np.minimum(np.diff(words.offsets), size - 1)
    for back in range(1, size):
        crossing = ends[short >= back] - back
        inside[crossing[crossing < num_runs]] = False
    hashes = []
    for start in range(0, num_runs, _CHUNK_WORDS):
        stop = min(start + _CHUNK_WORDS, num_runs)
        runs = words.hashes[start:stop].copy()
        for place in range(1, size):  # Horner's rule, in place
            runs *= np.uint64(_NGRAM_BASE)
            runs += words.hashes[start + place : stop + place]
        hashes.append(mixed(runs[inside[start:stop]]))
    return np.concatenate(hashes), offsets


def mixed(values: np.ndarray) -> np.ndarray:
    """The last steps of SplitMix64, in place: uint64 in, uint64 out."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _iter_sums(data: np.ndarray, bounds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The sums of the words between the bounds of documents, and the bytes that they begin at, piece by piece."""
    start, end = int(bounds[0]), int(bounds[-1])
    # The sum and the start of the last word, where it reaches the end of its piece and may go on in the next one.
    tail: tuple[np.ndarray, np.ndarray] | None = None
    scratch = np.empty(_CHUNK_BYTES + 16, dtype=np.uint64)
    while start < end:
        stop = min(start + _CHUNK_BYTES, end)
        while stop < end and data[stop] & 0xC0 == 0x80:  # no character is cut
            stop += 1
        begins = bounds[np.searchsorted(bounds, start) : np.searchsorted(bounds, stop)] - start
        sums, places, goes_on, reaches_end = _sums(data[start:stop], begins, scratch)
        places += start
        if tail is not None and goes_on and not (len(begins) and begins[0] == 0):
            sums[:1] *= np.uint64(pow(_BASE, start - int(tail[1][0]), 2**64))
            sums[:1] += tail[0]
            places[0] = tail[1][0]
        elif tail is not None:
            yield tail
        tail = None
        if reaches_end:
            tail, sums, places = (sums[-1:], places[-1:]), sums[:-1], places[:-1]
        yield sums, places
        start = stop
    if tail is not None:
        yield tail


def _sums(data: np.ndarray, begins: np.ndarray, scratch: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool, bool]:
    """The words of a piece of text in which documents begin at these bytes.

    Returns:
        uint64[words]: their sums; int64[words]: the bytes that they begin at; whether the first byte is of a run of
        letters; whether the last one is.
    """
    letters = bytearray(data).translate(_LETTERS)
    singles = _take_singles(data, letters) if data.max() >= 0x80 else np.empty(0, dtype=np.int64)
    goes_on, reaches_end = letters[0] != 0, letters[-1] != 0
    # Two documents that touch within letters are kept apart by a gap, so that no two words ever touch.
    joints = _joints(np.frombuffer(letters, dtype=np.uint8), begins)
    if len(joints):
        letters = bytearray(1).join([letters[start:stop] for start, stop in pairwise([0, *joints.tolist(), len(data)])])
    letters.extend(bytes(-len(letters) % 8))
    padded = np.frombuffer(letters, dtype=np.uint8)

    is_letter = padded != 0
    is_first = is_letter.copy()
    np.greater(is_letter[1:], is_letter[:-1], out=is_first[1:])
    places = np.flatnonzero(is_first)
    word_sums = _sums_from(places, padded.view("<u2"), scratch)

    if len(joints):
        shifts = np.searchsorted(places, joints + np.arange(1, len(joints) + 1))
        places -= np.repeat(np.arange(len(joints) + 1), np.diff(shifts, prepend=0, append=len(places)))
    if len(singles):
        places = np.concatenate([places, singles])
        order = np.argsort(places, kind="stable")
        places = places[order]
        word_sums = np.concatenate([word_sums, _sums_of_singles(data, singles)])[order]
    return word_sums, places, goes_on, reaches_end


def _joints(letters: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The bytes at which a document begins with a letter, right after a letter of another document, rising."""
    joints = begins[(begins > 0) & (letters[begins - 1] != 0) & (letters[begins] != 0)]
    return np.unique(joints) if len(joints) else joints


def _sums_from(places: np.ndarray, pairs: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The sums of the words that begin at these bytes, as differences of a running sum over pairs of bytes.

    The running sum is one of blocks of four pairs and one within each block: additions that wait for the one before
    cost the most.
    """
    powers, inverse = _powers(1 << (max(len(pairs), _CHUNK_BYTES // 2) - 1).bit_length())
    running = scratch[: len(pairs) + 4]
    np.take(_PAIR_SUMS, pairs, mode="wrap", out=running[1 : len(pairs) + 1])
    running[1 : len(pairs) + 1] *= powers[: len(pairs)]
    running[0] = running[len(pairs) + 1 :] = 0
    blocks = running.reshape(-1, 4)
    for place in range(1, 4):
        blocks[:, place] += blocks[:, place - 1]
    before = np.cumsum(blocks[:, 3])
    before -= blocks[:, 3]
    pair = np.append(places >> 1, len(pairs))
    until = running[pair]
    until += before[pair >> 2]
    sums = until[1:] - until[:-1]
    sums *= inverse[places]
    return sums


def _take_singles(data: np.ndarray, letters: bytearray) -> np.ndarray:
    """Make gaps of characters that are no letters; int64[characters]: the first bytes of those that are words."""
    seen = np.frombuffer(letters, dtype=np.uint8)
    # The other characters are letters, whatever follows.
    leads = np.flatnonzero((data >= 0xE0) | (data == 0xC2))
    kinds = _LEAD_KINDS[data[leads], data[np.minimum(leads + 1, len(data) - 1)]]
    taken = kinds != _LETTER
    leads, kinds = leads[taken], kinds[taken]
    for more, least in ((0, 0xC2), (1, 0xC2), (2, 0xE0), (3, 0xF0)):
        seen[leads[data[leads] >= least] + more] = 0
    return leads[kinds == _SINGLE]


def _sums_of_singles(data: np.ndarray, leads: np.ndarray) -> np.ndarray:
    """The sums of characters that are words, of three or four bytes each."""
    sums = np.zeros(len(leads), dtype=np.uint64)
    for place in range(4):
        longer = leads if place < 3 else leads[data[leads] >= 0xF0]
        factor = np.uint64(pow(_BASE, place + 1, 2**64))
        added = (data[longer + place] + np.uint64(1)) * factor
        if len(longer) == len(leads):
            sums += added
        else:
            sums[data[leads] >= 0xF0] += added
    return sums


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """B^0, B^2, B^4, ... and B^0, B^-1, B^-2, ...: uint64[count] and uint64[2 * count]."""
    powers = np.full(count, pow(_BASE, 2, 2**64), dtype=np.uint64)
    inverse = np.full(2 * count, pow(_BASE, -1, 2**64), dtype=np.uint64)
    powers[0] = inverse[0] = 1
    return np.cumprod(powers), np.cumprod(inverse)


def _pair_sums() -> np.ndarray:
    """What two bytes of a word add to its sum at an even place, the first in the low byte: uint64[65536]."""
    values = np.arange(256, dtype=np.uint64)
    return (values * np.uint64(_BASE) + (values * np.uint64(pow(_BASE, 2, 2**64)))[:, None]).ravel()


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
_LEAD_KINDS = _lead_kinds()
_LETTERS = bytes(
    byte + 1 if 0x80 <= byte < 0xFF else ord(chr(byte).lower()) + 1 if chr(byte).isascii() and chr(byte).isalnum() else 0
    for byte in range(256)
)
"""What a byte adds to its word: itself, lowered, plus one; 0 for a gap. Characters of several bytes are looked at later."""
_PAIR_SUMS = _pair_sums()
