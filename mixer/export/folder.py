"""The folder of an export: its owner, its lock, and the files of an interrupted run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mixer.errors import BuildStateError
from mixer.system.disk import DiskFile
from mixer.system.locks import lock_file
from mixer.system.publish import sync_file

OnShard = Callable[[int], None]
"""Called with the number of shards that are done."""

_CLAIM = ".export.json"
_EMPTY_HINT = "give another folder, or empty this one"


def has_size(path: Path, num_bytes: int) -> bool:
    """Whether a file exists with this size."""
    return path.is_file() and path.stat().st_size == num_bytes


def check_outside(folder: Path, build: Path) -> None:
    """A build is never added to: its folder may go to the Hub as it is.

    Raises:
        BuildStateError: the folder is inside the build's, or is it.
    """
    if folder.resolve().is_relative_to(build.resolve()):
        raise BuildStateError(
            "the folder is inside the build", where=str(folder), hint="give a folder outside the build"
        )


@contextmanager
def claimed(folder: Path, owner: Mapping[str, str]) -> Iterator[None]:
    """Claim a folder for one build and format, so that a resumed run finds only its own files.

    Args:
        folder: empty, not there, or with an export of the same owner.
        owner: what tells exports apart.

    Raises:
        BuildStateError: it holds other files, or another run is writing to it.
        OSError: it cannot be made or written to.
    """
    claim, data = folder / _CLAIM, json.dumps(owner).encode()
    if not claim.exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BuildStateError("not an empty folder and not an export", where=str(folder), hint=_EMPTY_HINT)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = lock_file(claim)
    if descriptor is None:
        raise BuildStateError(
            "another export is running in this folder", where=str(folder), hint="wait for it, or give another folder"
        )
    with DiskFile(descriptor, "r+") as file:
        if file.readall() != data:
            # A claim alone, whole or cut short, has nothing behind it yet.
            if any(path != claim for path in folder.iterdir()):
                problem = "the folder holds the export of another build, or one to another format"
                raise BuildStateError(problem, where=str(folder), hint=_EMPTY_HINT)
            file.truncate(0)
            file.seek(0)
            file.write(data)
            file.sync()
            sync_file(folder)
        for stray in folder.glob(".*.[0-9]*.tmp"):  # of a run that was killed while it published a file
            stray.unlink()
        yield
