"""Atomic publication of files: a reader sees the whole file or none."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path


def publish_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that it appears whole or not at all.

    Args:
        path: its place; folders are made.
        data: its bytes.
        durable: also whole, or not there, after a power cut; costs some milliseconds.

    Raises:
        OSError: no space, no permission.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the host: two of them may write to one shared disk under equal process ids.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{socket.gethostname()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def lock_file(path: Path) -> int | None:
    """Lock a file for this process, without waiting: its descriptor, which closing unlocks; None if another has it.

    Raises:
        OSError: it cannot be made or opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def sync_file(path: Path) -> None:
    """Make a file's bytes durable; of a folder, its entries.

    Raises:
        OSError: there is no such file, or the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
