"""Reading regular files only: a FIFO or a device must not block a reader or be read forever."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON_BYTES = 1 << 30
"""No manifest, plan or snapshot comes near; a larger file is not one."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file opened for reading, unbuffered.

    Raises:
        OSError: it is missing, cannot be read, or is not a regular file.
    """
    # Opening a FIFO for reading waits for its writer, unless one says not to.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as `open_regular`, or the file is larger than `max_bytes`.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
        data = file.readall()  # type: ignore[attr-defined]
        return data if data is not None else b""


def parse_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, has NaN or an infinity, or is nested too deep to be read.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(data, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
