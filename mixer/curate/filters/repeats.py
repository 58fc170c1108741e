"""The places of keys that occur more than once. Compiled kernels only."""

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
    return mixed((documents + 1).astype(np.uint64) * _BASE) ^ hashes


def repeated_places(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of keys that occur more than once.

    Args:
        keys: uint64[keys], well mixed.

    Returns:
        int64[places], the places of each key together and rising; and int64[repeated keys + 1]: where those of each
        key start. Example: keys of a b a c b give [0, 2, 1, 4] and [0, 2, 4], or those of b first.
    """
    # Most keys occur once: a table with a slot for the highest bits of a key sorts these out.
    bits = max(4, len(keys).bit_length() + 2)
    slots = (keys >> np.uint64(64 - bits)).astype(np.int64)
    own = np.arange(len(keys))
    table = np.empty(1 << bits, dtype=np.int64)
    table[slots] = own
    holder = table[slots]
    is_shared = holder != own
    is_shared[holder[is_shared]] = True
    places = np.flatnonzero(is_shared)
    keys = keys[places]
    order = np.argsort(keys, kind="stable")
    places, keys = places[order], keys[order]
    starts = np.append(np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)]), len(keys))
    sizes = np.diff(starts)
    kept = np.ones(len(keys), dtype=bool)
    kept[starts[:-1][sizes == 1]] = False
    return places[kept], np.append(0, np.cumsum(sizes[sizes > 1]))


def later_places(keys: np.ndarray) -> np.ndarray:
    """The places of keys that occurred before: int64, in no order."""
    places, starts = repeated_places(keys)
    return np.delete(places, starts[:-1])
