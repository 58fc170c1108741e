"""Locks on files, between processes: exclusive, or shared by readers. A lock ends with its descriptor."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIES, _SECONDS_BETWEEN = 10, 0.02


def lock_file(path: Path) -> int | None:
    """Lock a file for this process, without waiting.

    Args:
        path: the file; it and its folders are made.

    Returns:
        Its descriptor, open for reading and writing, which closing unlocks; None if another process has it.

    Raises:
        OSError: the file cannot be created or opened.
    """
    descriptor = _open(path)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def locked_file(path: Path) -> Iterator[int]:
    """Lock a file for this process, waiting for its holder; gives its descriptor.

    Raises:
        OSError: the file cannot be created or opened.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file exclusively, without waiting; returns whether that worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def share_lock(descriptor: int) -> None:
    """Lock an open file together with other readers, waiting for an exclusive holder."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def lock_despite_probes(path: Path) -> int | None:
    """As `lock_file`, but wait for a probe, which holds the lock for some microseconds.

    Raises:
        OSError: the file cannot be made or opened.
    """
    for _ in range(_TRIES - 1):
        descriptor = lock_file(path)
        if descriptor is not None:
            return descriptor
        time.sleep(_SECONDS_BETWEEN)
    return lock_file(path)


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of a file. Nothing is written or created.

    Returns:
        None where that cannot be known: the file cannot be opened, or its file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        # Shared: two probes at once do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
