"""Identity: canonical JSON and the digests of objects, buffers and files.

Identity always comes from canonical bytes, never from a repr, a hash() or a dict order. xxhash is imported where it is
used: a training node, which reads identities but writes nothing, needs numpy and pyarrow alone.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from mixer.system.regular_files import open_regular

_READ_BYTES = 8 << 20


def canonical_json(value: Any) -> bytes:
    """The unique byte string of a JSON value.

    UTF-8, keys sorted by code point, no white space, integers in decimal. There are no other numbers: languages spell
    2.0 and 1e-05 differently, so decimals are strings.

    Raises:
        ValueError: it has a lone surrogate, or a number that is not an integer.
        TypeError: the value is not JSON.
    """
    refuse_fractions(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def refuse_fractions(value: Any) -> None:
    """Refuse a JSON value with a number that is not an integer.

    Raises:
        ValueError: it has one.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, float):
            raise ValueError(f"{item!r} is not an integer; decimals are strings")
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item


def identity(value: Any) -> str:
    """The sha256 (hex) of a value's canonical JSON: ids of manifests, plans and snapshots."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def decimal_text(number: int | float) -> str:
    """A number as a decimal without exponent: its spelling in an id, since languages spell numbers differently.

    Example: 40 is "40", 2.5 is "2.5", 1e-05 is "0.00001".
    """
    return format(Decimal(repr(number)), "f")


def decimal_number(text: str) -> int | float:
    """The number that `decimal_text` wrote."""
    return float(text) if "." in text else int(text)


def xxh3(data: Any) -> str:
    """The xxh3-128 (hex) of a bytes-like object."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(data)


def xxh3_file(path: Path) -> str:
    """The xxh3-128 (hex) of a regular file's bytes, read once in pieces."""
    import xxhash

    state = xxhash.xxh3_128()
    with open_regular(path) as file:
        while piece := file.read(_READ_BYTES):
            state.update(piece)
    return state.hexdigest()
