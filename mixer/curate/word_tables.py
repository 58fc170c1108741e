"""What words are made of: kinds of characters, and tables by which words are hashed (format.md, "Words")."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

GAP_KIND, LETTER_KIND, SINGLE_KIND = 0, 1, 2
"""Kinds of characters: between words, of a word, and a word by itself."""
WORD_BASE = 0x9E3779B97F4A7C15
"""B of the sums of words: odd, so that it has an inverse modulo 2^64."""


@lru_cache(maxsize=2)
def powers_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """B^0, B^2, B^4, ... and B^0, B^-1, B^-2, ...: uint64[count] and uint64[2 * count]."""
    powers = np.full(count, pow(WORD_BASE, 2, 2**64), dtype=np.uint64)
    inverse = np.full(2 * count, pow(WORD_BASE, -1, 2**64), dtype=np.uint64)
    powers[0] = inverse[0] = 1
    return np.cumprod(powers), np.cumprod(inverse)


def _values() -> bytes:
    """What each byte is worth in a sum: one more than the byte, letters lowered; 0 where ASCII has a gap."""
    values = bytearray([0] * 0x80 + [*range(0x81, 0x100), 0])  # no byte of UTF-8 is 0xFF
    for byte in b"0123456789abcdefghijklmnopqrstuvwxyz":
        values[byte] = byte + 1
        values[ord(chr(byte).upper())] = byte + 1
    return bytes(values)


def _pair_sums() -> np.ndarray:
    """What two bytes add to a sum, by what they are worth, the first in the low byte: uint64[65536]."""
    values = np.arange(256, dtype=np.uint64)
    return (values * np.uint64(WORD_BASE) + (values * np.uint64(pow(WORD_BASE, 2, 2**64)))[:, None]).ravel()


def _lead_kinds() -> np.ndarray:
    """The kind of a character by its first two bytes: uint8[256, 256]."""
    kinds = np.full((256, 256), LETTER_KIND, dtype=np.uint8)
    for first, last, kind in _RANGES:
        for point in range(first, last + 1, 64):
            lead, second = chr(point).encode()[:2]
            kinds[lead, second] = kind
    kinds[0xC2] = GAP_KIND
    return kinds


_RANGES = (
    (0x0E00, 0x0EFF, SINGLE_KIND),  # Thai, Lao
    (0x1000, 0x109F, SINGLE_KIND),  # Myanmar
    (0x1780, 0x17FF, SINGLE_KIND),  # Khmer
    (0x2000, 0x2BFF, GAP_KIND),  # punctuation and symbols
    (0x3000, 0x303F, GAP_KIND),  # punctuation of East Asia
    (0x3040, 0x9FFF, SINGLE_KIND),  # Kana, Han
    (0xF900, 0xFAFF, SINGLE_KIND),  # Han
    (0xFE00, 0xFE7F, GAP_KIND),  # variation selectors, forms of punctuation
    (0xFF00, 0xFFBF, SINGLE_KIND),  # full and half width
    (0x1F000, 0x1FFFF, GAP_KIND),  # pictures
    (0x20000, 0x3FFFF, SINGLE_KIND),  # Han
)
"""Code points that are not letters, in blocks of 64; U+0080 to U+00BF are gaps too, and all others letters."""
LEAD_KINDS = _lead_kinds()
BYTE_VALUES = _values()
PAIR_SUMS = _pair_sums()
