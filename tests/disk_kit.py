"""A disk that is full or failing: faults of one operation on files of one name, put into `mixer.system.disk`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from mixer.system import disk

OPERATIONS = ("write", "sync", "rename")


@contextmanager
def failing(operation: str, code: int, pattern: str) -> Iterator[list[str]]:
    """Let one operation fail, as the disk's own would: without the name of a file where the system tells none.

    Forked workers have the fault as well. A write that fails has written half of its bytes.

    Args:
        operation: one of `OPERATIONS`.
        code: the number of the error.
        pattern: of the whole path of the files whose operation fails, as in `*/shards/00002.arrow`; a file that
            is being published goes by its future name.

    Yields:
        The paths whose operation failed in this process.
    """
    failed: list[str] = []

    def check(path: str) -> bool:
        if fnmatch(path, pattern):
            failed.append(path)
            return True
        return False

    def write(descriptor: int, data: Any) -> int:
        if check(_future_name(descriptor)):
            os.write(descriptor, bytes(data)[: len(bytes(data)) // 2])
            raise OSError(code, os.strerror(code))
        return whole["write"](descriptor, data)

    def write_at(descriptor: int, data: Any, offset: int) -> None:
        if check(_future_name(descriptor)):
            os.pwrite(descriptor, bytes(data)[: len(bytes(data)) // 2], offset)
            raise OSError(code, os.strerror(code))
        whole["write_at"](descriptor, data, offset)

    def sync(descriptor: int) -> None:
        if check(_future_name(descriptor)):
            raise OSError(code, os.strerror(code))
        whole["sync"](descriptor)

    def rename(source: Path, target: Path) -> None:
        if check(str(target)):
            raise OSError(code, os.strerror(code), str(source), None, str(target))
        whole["rename"](source, target)

    fakes = {"write": write, "write_at": write_at, "sync": sync, "rename": rename}
    whole: dict[str, Any] = {name: getattr(disk, name) for name in fakes}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "write_at") if operation == "write" else (operation,):
            patch.setattr(disk, name, fakes[name])
        yield failed


def _future_name(descriptor: int) -> str:
    """The path of an open file; of one that is being published, the path that it will have."""
    path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    if path.name.startswith(".") and path.suffix == ".part":
        return str(path.with_name(path.stem[1:]))
    if path.name.startswith(".") and path.suffix == ".tmp" and path.stem.count(".") > 1:
        return str(path.with_name(path.stem[1:].rsplit(".", 1)[0]))
    return str(path)


def left_in(folder: Path) -> list[str]:
    """Every file below a folder, also those that are hidden."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
