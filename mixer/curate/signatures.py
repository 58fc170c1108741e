"""MinHash signatures of documents: which are near duplicates of which, in 112 bytes each (format.md, "Signatures").

One byte a slot serves three purposes: the bytes of a band are its key, equal keys make a pair a candidate, and the
share of equal slots estimates how similar the two documents are (Broder, "On the resemblance and containment of
documents", 1997; b-bit slots: Li and König, "b-Bit minwise hashing", WWW 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mixer.curate.words import Words, mixed, ngram_hashes
from mixer.errors import FormatError
from mixer.extras import missing_package

MAX_SIGNED_BYTES = 500_000
"""Only words that begin in so many first bytes count: the slots of enormous documents say little, and cost the most."""
_SEED = 1
_PIECE_DOCUMENTS = 128
"""Documents that are signed at a time. rensa starts threads of its own from 256 on; a worker has one core."""
_KEY_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """The signatures of some documents."""

    # uint8[documents, bands * rows]: the slots, band by band; zeros for a document without a signature.
    slots: np.ndarray
    # bool[documents]: False for a document of fewer words than an n-gram has: it can only be an exact duplicate.
    signed: np.ndarray
    # uint32[documents]: the words of the whole document.
    num_words: np.ndarray

    def __len__(self) -> int:
        return len(self.slots)


def signatures_of(words: Words, *, ngrams: int = 5, bands: int = 14, rows: int = 8) -> Signatures:
    """The signatures of documents. Pure; the same on any machine and in pieces of any size.

    Slot i is the lowest byte of min over h of floor((a_i h + b_i) mod 2^64 / 2^32), h being the hashes of the
    document's n-grams (of the words that begin in its first 500,000 bytes). The a_i, b_i are the outputs of
    xoshiro256++ in turn, a_i with its lowest bit set; the generator's four words are the first four outputs of
    SplitMix64 with seed 1.

    Args:
        words: the words of documents.
        ngrams: words of an n-gram.
        bands: bands of a signature.
        rows: slots of a band.

    Raises:
        MissingPackages: rensa is not installed.
        FormatError: the rensa that is installed computes something else.
    """
    num_words = np.diff(words.offsets)
    signatures = Signatures(
        slots=np.zeros((len(num_words), bands * rows), dtype=np.uint8),
        signed=np.zeros(len(num_words), dtype=bool),
        num_words=num_words.astype(np.uint32),
    )
    for first in range(0, len(num_words), _PIECE_DOCUMENTS):
        piece = slice(first, first + _PIECE_DOCUMENTS)
        hashes, offsets = ngram_hashes(_beginnings(words, first, first + _PIECE_DOCUMENTS), ngrams)
        signed = np.diff(offsets) > 0
        signatures.signed[piece] = signed
        signatures.slots[piece][signed] = _minima(hashes, offsets[np.append(True, signed)], bands * rows)
    return signatures


def band_keys(slots: np.ndarray, rows: int = 8) -> np.ndarray:
    """The keys of the bands: uint64[documents, bands]. A pair of documents with an equal key is a candidate.

    The bytes of a band are read as little-endian uint64, the last one filled up with zeros. Up to eight rows make one,
    the key; of more rows the key is the sum of the j-th one, mixed, times 0x9E3779B97F4A7C15^j, modulo 2^64.
    """
    bytes_ = slots.reshape(len(slots), -1, rows)
    padded = np.pad(bytes_, ((0, 0), (0, 0), (0, -rows % 8)))
    numbers = np.ascontiguousarray(padded).view("<u8").astype(np.uint64)
    if numbers.shape[2] == 1:
        return numbers[:, :, 0]
    keys = np.zeros(numbers.shape[:2], dtype=np.uint64)
    for place in reversed(range(numbers.shape[2])):  # Horner's rule
        keys *= _KEY_BASE
        keys += mixed(numbers[:, :, place].copy())
    return keys


def equal_slots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How many slots of each pair are equal: int64[pairs], of uint8[pairs, slots] twice."""
    return np.count_nonzero(left == right, axis=1)


def estimate(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The estimated similarity of each pair: float64[pairs] in [0, 1], of uint8[pairs, slots] twice.

    Slots that differ before they are cut to a byte are equal with a chance of 1/256, so that a share s of equal slots
    says (256 s - 1) / 255. The standard error for similarity J and 112 slots is about sqrt(J (1 - J) / 112): .038 at .8.
    """
    share = equal_slots(left, right) / left.shape[1]
    return np.maximum((256 * share - 1) / 255, 0)


def _beginnings(words: Words, start: int, stop: int) -> Words:
    """The words of documents [start, stop), of the first bytes of each."""
    offsets = words.offsets[start : stop + 1]
    inside = slice(offsets[0], offsets[-1])
    hashes, starts, offsets = words.hashes[inside], words.starts[inside], offsets - offsets[0]
    if len(starts) and starts.max() >= MAX_SIGNED_BYTES:
        kept = starts < MAX_SIGNED_BYTES
        offsets = np.concatenate([[0], np.cumsum(kept)])[offsets]
        hashes, starts = hashes[kept], starts[kept]
    return Words(hashes=hashes, offsets=offsets, starts=starts)


def _minima(hashes: np.ndarray, offsets: np.ndarray, count: int) -> np.ndarray:
    """The slots of documents with these hashes of n-grams, none without: uint8[documents, count]."""
    matrix = _rensa().digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), count, _SEED)
    # rensa gives its minima only as lists of integers.
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, count).astype(np.uint8)


@lru_cache(maxsize=1)
def _rensa() -> Any:
    """rensa's class, once its hash functions are known to be the format's."""
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise missing_package(error, "build", "finding near duplicates") from error
    hashes, count = np.array([0, 1, 2**63 + 12345], dtype=np.uint64), 300
    a, b = _slot_functions(count)
    expected = (a * hashes[:, None] + b >> np.uint64(32)).min(axis=0)
    found = RMinHash.digest_matrix_from_flat_token_hashes(hashes, np.array([0, 3], np.uint64), count, _SEED)
    if found.to_rows() != [expected.tolist()]:
        raise FormatError("this version of rensa computes other signatures", hint="pip install 'rensa==0.5.0'")
    return RMinHash


def _slot_functions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors a and the summands b of the slots: uint64[count] each."""
    mask = 2**64 - 1
    seeds = np.arange(1, 5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_SEED)
    s0, s1, s2, s3 = mixed(seeds).tolist()  # SplitMix64
    numbers = []
    for _ in range(2 * count):
        total = (s0 + s3) & mask
        numbers.append((((total << 23 | total >> 41) & mask) + s0) & mask)
        s2, s3, shifted = s2 ^ s0, s3 ^ s1, (s1 << 17) & mask
        s1, s0, s2 = s1 ^ s2, s0 ^ s3, s2 ^ shifted
        s3 = (s3 << 45 | s3 >> 19) & mask
    pairs = np.array(numbers, dtype=np.uint64).reshape(count, 2)
    return pairs[:, 0] | np.uint64(1), pairs[:, 1]
