"""Atomic publication of files: a reader sees the whole file or none; and what killed writers leave behind."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.(?P<pid>\d+)-\d+-(?P<host>.+)\.tmp")
_STALE_SECONDS = 24 * 3600
_aside: dict[int, Path] = {}


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
    writer = f"{os.getpid()}-{threading.get_native_id()}-{socket.gethostname()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
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


def publish_or_set_aside(path: Path, data: bytes) -> Path:
    """Write a file, or, where that cannot be, into a temporary folder that lasts as long as this process.

    Args:
        path: its place; folders are made.
        data: its bytes.

    Returns:
        Where it is.

    Raises:
        OSError: neither is possible.
    """
    try:
        publish_bytes(path, data)
    except OSError:
        path = _folder_aside() / path.name
        publish_bytes(path, data, durable=False)
    return path


def remove_stale(folder: Path) -> None:
    """Remove the temporary files of `publish_bytes` in a folder that nobody writes any more.

    Their process is not there on this host, or they are older than a day. What cannot be removed stays.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match is not None and _is_stale(path, int(match["pid"]), match["host"]):
                with suppress(OSError):
                    path.unlink()


def _is_stale(path: Path, pid: int, host: str) -> bool:
    if host == socket.gethostname():
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            return False  # another user's
    try:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    except OSError:
        return False


def _folder_aside() -> Path:
    """A temporary folder of this process, which removes it when it ends."""
    pid = os.getpid()
    if pid not in _aside:
        _aside[pid] = Path(tempfile.mkdtemp(prefix="mixer-"))
        atexit.register(_remove_aside)
    return _aside[pid]


def _remove_aside() -> None:
    folder = _aside.pop(os.getpid(), None)  # a forked worker leaves its parent's alone
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


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
