"""Opening files for reading: the one place that does, so that other addresses than local paths have a place to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from mixer.errors import DataError

# What a compressed file's name ends in, and Arrow's name for the codec.
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


def open_file(path: Path) -> pa.NativeFile:
    """A file opened for reading anywhere in it, memory-mapped (what has no bytes cannot be mapped)."""
    return pa.memory_map(str(path)) if path.stat().st_size else pa.OSFile(str(path))


def open_stream(path: Path) -> pa.NativeFile:
    """A file opened for reading from start to end, decompressed as its name tells.

    All members of a gzip file and all frames of a zstd file are read; reading one that is cut short raises OSError.
    """
    codec = COMPRESSIONS.get(path.suffix.lower())
    return pa.CompressedInputStream(pa.OSFile(str(path)), codec) if codec else pa.OSFile(str(path))


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn what can go wrong while data are read into an error that names the place.

    Raises:
        DataError: the file cannot be opened, read or decoded.
    """
    try:
        yield
    except FileNotFoundError as err:
        raise DataError("the file is not there", where=place, hint="a link may point to nothing") from err
    except (OSError, pa.ArrowException) as err:
        raise DataError(
            f"cannot be read: {getattr(err, 'strerror', None) or err}",
            where=place,
            hint="it may be cut short, damaged or of another format: fetch it again, or set format",
        ) from err
