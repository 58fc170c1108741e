"""Human sizes: `10B` tokens and `512MB` of text as exact integers.

Counts know K, M, B (or G), T and the binary Ki, Mi, Gi, Ti: in a count, `10B` is ten billion. Bytes know
KB, MB, GB, TB (the B may be left out) and KiB, MiB, GiB, TiB: of bytes, `10B` is ten. Case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from mixer.errors import UsageError

_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_COUNT_UNITS = {**_DECIMAL, **_BINARY, "b": 10**9}
_BYTE_UNITS = {**_DECIMAL, **_BINARY} | {f"{unit}b": size for unit, size in {**_DECIMAL, **_BINARY}.items()}
# At most two digits of exponent: `1e999999999` must not fill the memory on its way to an error.
_SIZE = re.compile(r"(?P<number>\d+(?:_\d+)*(?:\.\d+)?(?:e\+?\d{1,2})?) ?(?P<unit>[a-z]*)", re.ASCII | re.IGNORECASE)

COUNT_PATTERN = r"^[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE]\+?[0-9]{1,2})? ?([bB]|[kKmMgGtT][iI]?)?$"
"""What `parse_count` accepts, as the regular expression of a JSON schema."""

BYTES_PATTERN = r"^[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE]\+?[0-9]{1,2})? ?([kKmMgGtT]?[iI]?[bB]?)$"
"""What `parse_bytes` accepts, as the regular expression of a JSON schema."""


def parse_count(text: str) -> int:
    """A count of rows, tokens or sequences: `10B` -> 10_000_000_000.

    Raises:
        UsageError: it is not a number with a unit of counts, or not whole.
    """
    return _parse(text, _COUNT_UNITS, "a count is a number, or a number and K, M, B, T, Ki, Mi or Gi, such as 10B")


def parse_bytes(text: str) -> int:
    """A number of bytes: `512MB` -> 512_000_000, `64MiB` -> 67_108_864.

    Raises:
        UsageError: it is not a number with a unit of bytes, or not whole.
    """
    return _parse(
        text, _BYTE_UNITS, "a size is a number, or a number and KB, MB, GB, TB, KiB, MiB or GiB, such as 512MB"
    )


def _parse(text: str, units: Mapping[str, int], expected: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(text) > 64 or match["unit"].lower() not in units:
        raise UsageError(f"{text[:40]!r} is not a size: {expected}")
    size = Fraction(match["number"]) * units[match["unit"].lower()]
    if size.denominator != 1:
        raise UsageError(f"{text[:40]!r} is not a whole number: it is {float(size)}")
    return size.numerator
