"""Differences between operating systems: cores, worker processes, malloc.

Linux-only calls are made here, with their substitutes. File locks (`locks.py`) and fork hooks are
in every POSIX system.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Literal

from mixer.errors import UsageError

StartMethod = Literal["fork", "spawn"]
WORKERS_PER_CORE = 4
"""More would only wait for one another, each with its own copy of what a task holds in memory."""
ALWAYS_ALLOWED_WORKERS = 32
"""On a machine of any size: a test of a large job's settings on a small machine should run."""


def usable_cores() -> int:
    """The number of cores that this process may use, at least 1: Slurm and taskset may limit them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_workers(asked: int | None) -> int:
    """The number of worker processes: the one asked for, or one per usable core.

    Raises:
        UsageError: fewer than 1, or far more than the machine has cores.
    """
    cores = usable_cores()
    if asked is None:
        return cores
    if asked < 1:
        raise UsageError("workers must be at least 1", where="--workers")
    most = max(ALWAYS_ALLOWED_WORKERS, WORKERS_PER_CORE * cores)
    if asked > most:
        raise UsageError(
            f"{asked:,} workers are too many for {cores:,} usable cores; at most {most:,} make sense",
            where="--workers",
            hint="leave out --workers: the default is one per core",
        )
    return asked


def worker_context(method: StartMethod) -> BaseContext:
    """How workers start: by fork on Linux, to share loaded data; other systems cannot fork safely.

    Args:
        method: how they should start.
    """
    return multiprocessing.get_context(method if sys.platform == "linux" else "spawn")


def end_with_parent(parent: int) -> bool:
    """Ask the kernel to end this process with its parent, whose process id is given.

    Where the kernel cannot, a worker ends when it next reads from its pipe.

    Returns:
        Whether the parent is still there.
    """
    prctl = _c_function("prctl")
    if prctl is None:
        return True
    pr_set_pdeathsig = 1
    prctl(pr_set_pdeathsig, signal.SIGKILL)
    return os.getppid() == parent


def process_start(pid: int) -> str | None:
    """The start time of a process of this host by its kernel's clock: it distinguishes processes that reuse an id.

    None where the system does not say, or there is no such process.
    """
    try:
        # The name of the command, in parentheses, may hold anything; the start is the 20th field behind it.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def is_alive(pid: int, start: str | None) -> bool:
    """Whether a process of this host is alive; with `start`, the one with that start time."""
    if pid < 1:  # the system takes 0 and less for groups of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    now = process_start(pid)
    return start is None or now is None or now == start


def keep_freed_memory() -> None:
    """Let malloc keep freed memory: the page faults of each task's new arrays cost as much as tokenizing.

    glibc gives large blocks back to the system at once and takes fresh pages for the next; others are left alone.
    """
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, 1 << 30)


def _c_function(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the C library that is loaded; None where it has none of this name."""
    return getattr(ctypes.CDLL(None), name, None)
