"""The files below a folder that other processes may be changing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk_files(folder: Path, _prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """The regular files below a folder, by path relative to it; no link is followed.

    Files and folders that vanish during the walk are left out, except the given folder.

    Raises:
        OSError: the folder, or one in it, cannot be read.
    """
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except FileNotFoundError:
        if not _prefix:
            raise
        return
    for entry in entries:
        name = _prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from walk_files(folder / entry.name, f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield name, state
