"""Keyed, counter-based randomness: the only source of chance in a build.

`stream(seed, purpose, *parts)` is a pure function of its arguments. Nothing is drawn from a shared
generator, no seed is a sum, and asking for one stream changes no other. The generator is Philox4x64-10
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011); its raw words are fixed by that
paper, and only raw words are used, so that another language or numpy version gives the same numbers.
`mixer/format.md` has test vectors.
"""

from __future__ import annotations

import numpy as np

# Here, and not at its first use in a build: numpy imports it late, and that import swallows a ^C or SIGTERM.
from numpy.random import Philox

from mixer.digest import identity


def key(seed: int, purpose: str, *parts: str | int) -> int:
    """The 128-bit key of a stream: the first half of the identity of `[seed, purpose, *parts]`, as one number."""
    return int(identity([seed, purpose, *parts])[:32], 16)


def words(key_128: int, count: int) -> np.ndarray:
    """The first `count` raw uint64 words of the Philox4x64-10 stream with this key, counter from 0."""
    return Philox(key=key_128).random_raw(count)


def permutation(count: int, seed: int, purpose: str, *parts: str | int) -> np.ndarray:
    """A keyed permutation of `range(count)`: int64, the order that sorts the stream's words (ties by index)."""
    return np.argsort(words(key(seed, purpose, *parts), count), kind="stable")
