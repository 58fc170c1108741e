"""Digests of files, computed once for each state of a file."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path


def file_digest(path: Path, algorithm: str, prefix: bytes = b"", *, state: os.stat_result | None = None) -> str:
    """The digest, in hex, of a prefix and the bytes of a file, in the state that it is in if none is given."""
    state = state or path.stat()
    return _digest(path, algorithm, prefix, state.st_size, state.st_mtime_ns)


@cache
def _digest(path: Path, algorithm: str, prefix: bytes, size: int, mtime_ns: int) -> str:
    digest = hashlib.new(algorithm, prefix, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
