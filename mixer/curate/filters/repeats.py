"""Which keys occur more than once, and where first. Compiled kernels only."""

from __future__ import annotations

import numpy as np

from mixer.curate.words import mixed

_BASE = np.uint64(0x9E3779B97F4A7C15)


def keys_in(documents: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Keys that are equal for equal hashes of one document only: uint64[hashes].

    Args:
        documents: int64[hashes]: the document of each hash.
        hashes: uint64[hashes], well mixed.
    """
    salts = mixed(np.arange(1, documents.max(initial=0) + 2, dtype=np.uint64) * _BASE)
    return salts[documents] ^ hashes


def first_places(keys: np.ndarray) -> np.ndarray:
    """Where each key occurs first: int64[keys]. Cost: linear, as no key is sorted.

    Example: [0, 1, 0, 3, 1] for the keys a b a c b.

    Args:
        keys: uint64[keys], well mixed.
    """
    bits = len(keys).bit_length() + 2
    # A slot for the highest bits of a key, held by one of the keys with these bits. Those of another key go on, with
    # the bits below.
    table = np.empty(1 << bits, dtype=np.int32 if bits < 32 else np.int64)
    holder = np.arange(len(keys))
    left, left_keys, shift = holder, keys, 64 - bits
    while len(left):
        slots = ((left_keys >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).astype(np.int64)
        table[slots] = left
        held = table[slots]
        is_same = keys[held] == left_keys
        holder[left[is_same]] = held[is_same]
        left, left_keys, shift = left[~is_same], left_keys[~is_same], shift - bits
        if shift < 0:
            keys, left_keys, shift = mixed(keys.copy()), mixed(left_keys.copy()), 64 - bits
    first = np.arange(len(keys))
    np.minimum.at(first, holder, np.arange(len(keys)))
    return first[holder]


def later_places(keys: np.ndarray) -> np.ndarray:
    """The places of keys that occurred before: int64, rising."""
    first = first_places(keys)
    return np.flatnonzero(first != np.arange(len(keys)))
