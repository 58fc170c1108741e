"""Whether somebody holds a lock, asked without disturbing who takes it; and whether a process is still there."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from mixer.system.publish import lock_file

_TRIES, _SECONDS_BETWEEN = 10, 0.02


def lock_despite_probes(path: Path) -> int | None:
    """As `lock_file`; it waits out a probe, which holds the lock for some microseconds.

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
    """Whether a process holds the lock of a file. Nothing is written, and the file is not made.

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


def process_start(pid: int) -> str | None:
    """When a process of this host began, as its kernel counts: it tells a process from a later one with its number.

    None where the system does not say, or there is no such process.
    """
    try:
        # The name of the command, in parentheses, may hold anything; the start is the 20th field behind it.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def is_alive(pid: int, start: str | None) -> bool:
    """Whether a process of this host is there: the one that began then, if `start` says when."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    now = process_start(pid)
    return start is None or now is None or now == start
