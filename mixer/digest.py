"""Identity: canonical JSON and the digests of objects, buffers and files.

Identity always comes from canonical bytes, never from a repr, a hash() or a dict order. xxhash is imported where it is
used: a training node, which reads identities but writes nothing, needs numpy and pyarrow alone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_READ_BYTES = 8 << 20


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for a JSON value.

    UTF-8, keys sorted by code point, no white space, no NaN or infinity, numbers as Python's
    `json` prints them (the shortest form that reads back the same).

    Raises:
        ValueError: a number is not finite.
        TypeError: the value is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def identity(value: Any) -> str:
    """The sha256 (hex) of a value's canonical JSON: ids of manifests, plans and snapshots."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def xxh3(data: Any) -> str:
    """The xxh3-128 (hex) of a bytes-like object."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(data)


def xxh3_file(path: Path) -> str:
    """The xxh3-128 (hex) of a file's bytes, read once in pieces."""
    import xxhash

    state = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            state.update(piece)
    return state.hexdigest()
