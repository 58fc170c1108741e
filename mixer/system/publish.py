"""Atomic publication of files: a reader sees the whole file or none. Also removes files that killed writers left."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixer.system import disk
from mixer.system.disk import Buffer, DiskFile

_TEMPORARY = re.compile(r"\..+\.(?P<pid>\d+)-\d+-(?P<host>.+)\.tmp")
_STALE_SECONDS = 24 * 3600
_aside: dict[int, Path] = {}


@contextmanager
def publishing(path: Path, *, durable: bool = True) -> Iterator[DiskFile]:
    """A file to write; the complete file appears under its name when the context ends without an error.

    Until then it has a temporary name beside it, and an error removes it.

    Args:
        path: its place; folders are made.
        durable: whole or absent also after a power cut; costs some milliseconds.

    Raises:
        OSError: no space, no permission; names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the host: two of them may write to one shared disk under equal process ids.
    writer = f"{os.getpid()}-{threading.get_native_id()}-{socket.gethostname()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    try:
        with _naming(path, temporary):
            with DiskFile(temporary, "w") as file:
                yield file
                if durable:
                    file.sync()
            disk.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def publish_bytes(path: Path, data: Buffer, *, durable: bool = True) -> None:
    """Write a file so that it appears whole or not at all; arguments and errors are those of `publishing`."""
    with publishing(path, durable=durable) as file:
        file.write(data)


@contextmanager
def publishing_in_parts(path: Path) -> Iterator[DiskFile]:
    """As `publishing`, but an error keeps the part written so far, for the next run.

    Writing continues at its end; what was not synced may be damaged after a power cut.

    Args:
        path: its place, in a folder that one process at a time writes to.

    Raises:
        OSError: no space, no permission; names the file.
    """
    part = path.with_name(f".{path.name}.part")
    with _naming(path, part):
        with DiskFile(part, "a") as file:
            yield file
            file.sync()
        disk.rename(part, path)


def publish_written(written: Path, path: Path) -> None:
    """Rename a file or folder, written under a temporary name on the same disk, to its own name.

    Args:
        written: what was written; whoever needs it durable has synced it.
        path: its path; an existing file is replaced.

    Raises:
        OSError: the disk is failing, or `path` is a folder with something in it; names `path`.
    """
    with _naming(path, written):
        disk.rename(written, path)


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Make errors of writing name the target file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # its words are all that it has: with a file's name they would not be shown
        if error.filename is None:
            error.filename = str(path)
        elif str(error.filename) == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def publish_or_set_aside(path: Path, data: bytes) -> Path:
    """Write a file; if that fails, write it into a temporary folder that lasts as long as this process.

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
    """Remove temporary files of `publishing` that no process writes any more.

    Their process is not alive on this host, or they are older than a day. What cannot be removed stays.
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


def sync_file(path: Path) -> None:
    """Make a file's bytes durable; of a folder, its entries.

    Raises:
        OSError: there is no such file, or the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
