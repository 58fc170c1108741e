"""The words of documents as hashes, for whole Arrow columns (format.md, "Words"). Compiled kernels only.

    "It's 3 p.m. 猫が"  ->  it s 3 p m 猫 が

Deduplication and decontamination compare words, so that white space, punctuation and case make no difference. What a
word is depends on no library's version: it follows from the bytes of UTF-8 by the tables below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from mixer.curate.word_tables import (
    BYTE_VALUES,
    LEAD_KINDS,
    LETTER_KIND,
    PAIR_SUMS,
    SINGLE_KIND,
    WORD_BASE,
    powers_of,
)
from mixer.sources.text import text_offsets

_NGRAM_BASE = 0xD6E8FEB86659FD93
_CHUNK_BYTES = 3 << 15
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
    if text.null_count and np.diff(bounds)[text.is_null().to_numpy(zero_copy_only=False)].any():
        text = text.fill_null("")  # a null may hide bytes
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


def run_sums(words: Words, sizes: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The sums that become hashes of n-grams once they are mixed: equal for equal runs of words, spread as evenly.

    All sizes in one go, and a run of words may reach into the next document: for a caller who looks for few of them.

    Args:
        words: the words.
        sizes: words in a run, rising.

    Yields:
        A size, and uint64[words - size + 1]: the sum of the run that begins with each word. It is gone with the next.
    """
    runs = words.hashes.copy()
    done = 1
    for size in sizes:
        for place in range(done, size):  # Horner's rule, in place
            runs = runs[:-1]
            runs *= np.uint64(_NGRAM_BASE)
            runs += words.hashes[place : place + len(runs)]
        done = size
        yield size, runs


def mixed(values: np.ndarray) -> np.ndarray:
    """The last steps of SplitMix64, in place: uint64 in, uint64 out."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _iter_sums(data: np.ndarray, bounds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The words between the bounds of documents, piece by piece: their sums, and the bytes that they begin at.

    A sum is that of a word's bytes, plus one, times B^(j + 1): uint64[words]. Pieces end anywhere between characters.
    """
    start, end = int(bounds[0]), int(bounds[-1])
    scratch = np.empty(_CHUNK_BYTES + 16, dtype=np.uint64)
    # A word that reaches the end of a piece may go on in the next one.
    tail: tuple[np.ndarray, np.ndarray] | None = None
    while start < end:
        stop = min(start + _CHUNK_BYTES, end)
        while stop < end and data[stop] & 0xC0 == 0x80:
            stop += 1
        piece = data[start:stop]
        begins = bounds[np.searchsorted(bounds, start) : np.searchsorted(bounds, stop)] - start
        letters = np.frombuffer(bytearray(piece).translate(BYTE_VALUES), dtype=np.uint8)
        singles = _take_singles(piece, letters) if piece.max() >= 0x80 else None
        places, sums = _letter_words(letters, begins, scratch)
        if tail is not None and letters[0] and 0 not in begins[:1]:
            sums[:1] *= np.uint64(pow(WORD_BASE, start - int(tail[1][0]), 2**64))
            sums[:1] += tail[0]
            places[0] = tail[1][0] - start
        elif tail is not None:
            yield tail
        if singles is not None and len(singles[0]):
            places, sums = _in_order((places, sums), singles)
        places += start
        tail = (sums[-1:], places[-1:]) if letters[-1] else None
        yield (sums[:-1], places[:-1]) if letters[-1] else (sums, places)
        start = stop
    if tail is not None:
        yield tail


def _letter_words(letters: np.ndarray, begins: np.ndarray, scratch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The words of letters of a piece of text.

    Args:
        letters: uint8[bytes]: what each byte is worth, 0 for what is not of a letter.
        begins: where documents begin in it, rising.
        scratch: uint64[_CHUNK_BYTES + 16].

    Returns:
        int64[words]: the bytes that they begin at, rising; uint64[words]: their sums.
    """
    joints = _joints(letters, begins)
    padded = letters
    if len(joints):
        cuts = [0, *joints.tolist(), len(letters)]
        joined = bytes(1).join([letters[start:stop].data for start, stop in pairwise(cuts)])
        padded = np.frombuffer(joined, dtype=np.uint8)
    if len(padded) % 8:
        padded = np.append(padded, np.zeros(-len(padded) % 8, dtype=np.uint8))
    is_letter = padded != 0
    is_first = is_letter.copy()
    np.greater(is_letter[1:], is_letter[:-1], out=is_first[1:])
    places = np.flatnonzero(is_first)
    sums = _sums_from(places, padded.view("<u2"), scratch)
    if len(joints):
        shifts = np.searchsorted(places, joints + np.arange(len(joints)))
        places -= np.repeat(np.arange(len(joints) + 1), np.diff(shifts, prepend=0, append=len(places)))
    return places, sums


def _joints(letters: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The bytes at which a document begins with a letter, right after a letter of another document, rising.

    A gap goes there, so that no two words touch.
    """
    joints: np.ndarray = begins[(begins > 0) & (letters[begins - 1] != 0) & (letters[begins] != 0)]
    return np.unique(joints) if len(joints) else joints


def _sums_from(places: np.ndarray, pairs: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The sums of the words that begin at these bytes: differences of a running sum over pairs of bytes.

    No pair has letters of two words, since words do not touch. There are two running sums, one of blocks of four pairs
    and one within each block: in one alone every addition would wait for the one before.
    """
    powers, inverse = powers_of(1 << (max(len(pairs), _CHUNK_BYTES // 2) - 1).bit_length())
    running = scratch[: len(pairs) + 4]
    np.take(PAIR_SUMS, pairs, mode="wrap", out=running[1 : len(pairs) + 1])
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
    sums: np.ndarray = until[1:] - until[:-1]
    sums *= inverse[places]
    return sums


def _take_singles(data: np.ndarray, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the characters that are not letters out of `letters`, in place, and give those of them that are words.

    Returns:
        int64[words]: the bytes that they begin at, rising; uint64[words]: their sums.
    """
    leads = np.flatnonzero((data >= 0xE0) | (data == 0xC2))  # of all others the characters are letters
    first, second = data.take(leads), data.take(leads + 1, mode="clip")
    kinds = LEAD_KINDS.take(first.astype(np.intp) * 256 + second)
    taken = np.flatnonzero(kinds != LETTER_KIND)
    leads, first, kinds = leads.take(taken), first.take(taken), kinds.take(taken)
    for place, least in enumerate((0xC2, 0xC2, 0xE0, 0xF0)):
        letters[np.minimum(leads[first >= least] + place, len(letters) - 1)] = 0
    is_single = kinds == SINGLE_KIND
    if not is_single.any():
        return leads[:0], np.empty(0, dtype=np.uint64)
    places, first = leads[is_single], first[is_single]
    sums = np.zeros(len(places), dtype=np.uint64)
    for place, least in enumerate((0xE0, 0xE0, 0xE0, 0xF0)):
        values = data.take(places + place, mode="clip").astype(np.uint64)
        values += np.uint64(1)
        values *= np.uint64(pow(WORD_BASE, place + 1, 2**64))
        values *= first >= least
        sums += values
    return places, sums


def _in_order(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Words of several kinds by the bytes that they begin at."""
    places, sums = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(places, kind="stable")
    return places.take(order), sums.take(order)
