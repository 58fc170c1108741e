"""Folders of fetched contents in the cache: held by their readers, and removed when there are none."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mixer.system.locks import lock_file, share_lock
from mixer.system.publish import publish_written

FETCHED = "fetched"
_REMOVED = ".removed-"
_held: dict[Path, int] = {}


def keep_while_running(folder: Path) -> None:
    """Hold a folder of fetched contents until this process and its workers end, so that no process removes it.

    Where no lock can be had, as on a read-only disk, it is not held.
    """
    if folder in _held:
        return
    path = _reading(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return
    try:
        share_lock(descriptor)
    except OSError:
        os.close(descriptor)
        return
    _held[folder] = descriptor


def remove_fetched(folder: Path) -> bool:
    """Remove a folder of fetched contents, unless a process fetches or reads it; returns whether it is removed.

    Raises:
        OSError: it cannot be removed.
    """
    locks: list[int] = []
    if not (folder / ".mixer" / "fetch.json").is_file():
        return False  # not one of ours
    try:
        for path in (folder.with_name(f"{folder.name}.lock"), _reading(folder)):
            descriptor = lock_file(path)
            if descriptor is None:
                return False
            locks.append(descriptor)
        # At once for all who look; the bytes go after that.
        aside = folder.with_name(f"{_REMOVED}{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):
            publish_written(folder, aside)
            shutil.rmtree(aside)
        return True
    finally:
        for descriptor in locks:
            os.close(descriptor)


def remove_halves(folder: Path) -> None:
    """Finish what a killed `remove_fetched` began in `fetched/`."""
    for left in folder.glob(f"{_REMOVED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _reading(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.reading")
