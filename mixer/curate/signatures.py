"""MinHash signatures: which documents may be near duplicates, in 112 bytes each (format.md, "Digests and signatures").

One byte a slot serves three purposes: the bytes of a band are its key, equal keys make a pair a candidate, and the
share of equal slots estimates how similar two documents are, by the n-grams that both have per those that either has
(Broder 1997; one byte a slot: Li and König, "b-Bit minwise hashing", WWW 2010).

An n-gram falls into one slot at a time and is not hashed anew for every slot (Li, Owen and Zhang, "One permutation
hashing", NIPS 2012). Slots that stay empty get further throws, then copies of other slots (Shrivastava,
"Optimal densification for fast and accurate minwise hashing", ICML 2017). The estimate is unbiased all the same: a slot
that is empty in one of two documents holds an n-gram of the other one alone. Simulated for 10 to 1,000 n-grams, its
variance is 0.5 to 1.05 times that of independent slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from mixer.curate.words import Words, mixed, ngram_hashes

MAX_SIGNED_BYTES = 500_000
"""Only words that begin in so many first bytes count, so that a piece of text holds a bounded number of n-grams."""
_MAX_SLOTS = 1024
_NUM_NUMBERS = 4
"""Of an n-gram, with two throws each: 8 throws fill 112 slots from about 60 n-grams on."""
_STEP = 0x9E3779B97F4A7C15
_EMPTY = np.uint32(2**32 - 1)
"""The rank of a slot that no n-gram fell into."""
_PIECE_NGRAMS, _PIECE_DOCUMENTS = 1 << 17, 1024
"""At most of the documents that are signed at a time, so that their arrays stay in the cache."""
_WORTH_LEAVING_OUT = 0.75
"""Documents that are done are left out once fewer than this share goes on: leaving out copies what goes on."""


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

    With K slots and the hashes h of a document's distinct n-grams (of the words that begin in its first 500,000
    bytes):

    1. x_0 is h, and x_k the k-th number of SplitMix64 seeded with h.
    2. For k from 0 to 3, and for u the highest 16 bits of x_k, then the next 16: the n-gram falls into slot
       floor(K u / 2^16) with rank x_k mod 2^32. Of the n-grams that fall into a slot that was empty before, the least
       rank fills it. A rank of 2^32 - 1 fills none.
    3. A slot i that is still empty gets what the filled slot j has for which the last steps of SplitMix64 on
       65536 i + j are least.
    4. A slot is the lowest byte of its rank.

    Args:
        words: the words of documents.
        ngrams: words of an n-gram.
        bands: bands of a signature.
        rows: slots of a band.

    Raises:
        ValueError: a signature would have more than 1,024 slots.
    """
    if bands * rows > _MAX_SLOTS:
        raise ValueError(f"{bands} bands of {rows} rows are more than {_MAX_SLOTS} slots")
    num_words = np.diff(words.offsets)
    hashes, offsets = ngram_hashes(_beginnings(words), ngrams)
    slots = np.zeros((len(num_words), bands * rows), dtype=np.uint8)
    start = 0
    while start < len(num_words):
        stop = int(np.searchsorted(offsets, offsets[start] + _PIECE_NGRAMS, "right")) - 1
        stop = max(start + 1, min(stop, start + _PIECE_DOCUMENTS))
        slots[start:stop] = _slots(
            hashes[offsets[start] : offsets[stop]], np.diff(offsets[start : stop + 1]), bands * rows
        )
        start = stop
    return Signatures(slots=slots, signed=np.diff(offsets) > 0, num_words=num_words.astype(np.uint32))


def band_keys(slots: np.ndarray, rows: int = 8) -> np.ndarray:
    """The keys of bands of up to eight slots: uint64[documents, bands]. Documents with an equal key are compared.

    A key is a band's bytes, the first one lowest, filled up with zeros.
    """
    bands = np.ascontiguousarray(slots).reshape(len(slots), -1, rows)
    if rows < 8:
        bands = np.pad(bands, ((0, 0), (0, 0), (0, 8 - rows)))
    keys: np.ndarray = np.ascontiguousarray(bands).view("<u8").astype(np.uint64, copy=False)[:, :, 0]
    return keys


def equal_slots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How many slots of each pair are equal: int64[pairs], of uint8[pairs, slots] twice."""
    counts: np.ndarray = np.count_nonzero(left == right, axis=1)
    return counts


def estimate(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The estimated similarity of each pair: float64[pairs] in [0, 1], of uint8[pairs, slots] twice.

    Slots that differ before they are cut to a byte are equal with a chance of 1/256, so that a share s of equal slots
    says (256 s - 1) / 255. Its standard error is at most about sqrt(J (1 - J) / slots) for a similarity J: .038 of 112
    slots at .8.
    """
    share = equal_slots(left, right) / left.shape[1]
    similarity: np.ndarray = np.maximum((256 * share - 1) / 255, 0)
    return similarity


def _beginnings(words: Words) -> Words:
    """The words of the first bytes of each document."""
    if not len(words) or words.starts.max() < MAX_SIGNED_BYTES:
        return words
    kept = words.starts < MAX_SIGNED_BYTES
    offsets = np.concatenate([[0], np.cumsum(kept)])[words.offsets]
    return Words(hashes=words.hashes[kept], offsets=offsets, starts=words.starts[kept])


def _slots(hashes: np.ndarray, counts: np.ndarray, num_slots: int) -> np.ndarray:
    """The slots of documents with so many of these n-grams each: uint8[documents, num_slots]; zeros without any."""
    # The ranks, of all documents' slots end to end.
    least = np.full(len(counts) * num_slots, _EMPTY)
    is_empty = np.ones(len(least), dtype=bool)
    documents, numbers = np.arange(len(counts)), hashes
    for number, part in product(range(_NUM_NUMBERS), range(2)):
        # Documents whose slots are all filled, and those without n-grams, are done.
        is_open = is_empty.reshape(-1, num_slots)[documents].any(axis=1) & (counts > 0)
        if not is_open.any():
            break
        if np.count_nonzero(is_open) < _WORTH_LEAVING_OUT * len(is_open):
            going_on = np.repeat(is_open, counts)
            hashes, numbers = hashes[going_on], numbers[going_on]
            documents, counts = documents[is_open], counts[is_open]
        if number and not part:
            numbers = mixed(hashes + np.uint64(number * _STEP % 2**64))
        places = numbers << np.uint64(16 * part)
        places >>= np.uint64(48)
        places *= np.uint64(num_slots)
        places >>= np.uint64(16)
        places = places.view(np.int64)
        places += np.repeat(documents * num_slots, counts)
        ranks = numbers
        if number or part:
            falling = np.flatnonzero(is_empty[places])
            places, ranks = places[falling], ranks[falling]
        np.minimum.at(least, places, ranks.astype(np.uint32))
        is_empty = least == _EMPTY
    slots = least.astype(np.uint8).reshape(-1, num_slots)
    _copy_into_empty(slots, is_empty.reshape(-1, num_slots))
    return slots


def _copy_into_empty(slots: np.ndarray, is_empty: np.ndarray) -> None:
    """Fill the slots that no n-gram fell into with others of the same document, in place; zeros if all are empty."""
    num_slots = slots.shape[1]
    slots[is_empty.all(axis=1)] = 0
    num_empty = is_empty.sum(axis=1)
    num_empty[num_empty == num_slots] = 0
    flat = slots.reshape(-1)
    first_slot = np.repeat(np.arange(len(slots)) * num_slots, num_empty)
    empty = np.flatnonzero(is_empty & (num_empty > 0)[:, None])
    for order in _copy_order(num_slots) if len(empty) else ():
        sources = first_slot + order[empty - first_slot]
        still = is_empty.reshape(-1)[sources]
        flat[empty] = flat[sources]
        empty, first_slot = empty[still], first_slot[still]
        if not len(empty):
            break


@lru_cache(maxsize=2)
def _copy_order(num_slots: int) -> np.ndarray:
    """Row t: for each slot, the slot that it looks at as the t-th for one to copy: int64[num_slots, num_slots]."""
    slots = np.arange(num_slots, dtype=np.uint64)
    return np.ascontiguousarray(np.argsort(mixed(slots[:, None] * np.uint64(65536) + slots), axis=1).T)
