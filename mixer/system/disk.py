"""The four things that a disk can fail at: write, write at a place, sync, rename.

Every file that mixer makes is written through here, so tests inject the faults of a disk here and nowhere else.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

Buffer = Any
"""Bytes, or what has some: `collections.abc.Buffer` from Python 3.12 on."""


def write(descriptor: int, data: Buffer) -> int:
    """Write all bytes where the file stands; returns how many they are.

    Raises:
        OSError: the disk is full or failing.
    """
    view = memoryview(data)
    num_bytes = view.nbytes
    rest = view.cast("B") if num_bytes else b""
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return num_bytes


def write_at(descriptor: int, data: Buffer, offset: int) -> None:
    """Write all bytes at their place in a file.

    Raises:
        OSError: the disk is full or failing.
    """
    view = memoryview(data)
    rest = view.cast("B") if view.nbytes else b""
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def sync(descriptor: int) -> None:
    """Make a file's bytes durable; of a folder, its entries.

    Raises:
        OSError: the disk is failing.
    """
    os.fsync(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name in one step; a file that has the name already is replaced.

    Raises:
        OSError: the disk is failing, or the target is a folder with something in it.
    """
    os.replace(source, target)


class DiskFile(io.FileIO):
    """A file that is being written, without a buffer: what `write` was given is the file's when it returns."""

    def write(self, data: Buffer) -> int:
        """Write all bytes; returns how many they are."""
        return write(self.fileno(), data)

    def sync(self) -> None:
        """Make what was written durable."""
        sync(self.fileno())


def write_file(path: Path, data: Buffer) -> None:
    """Write a file that nobody looks for yet, in its place: neither atomic nor durable.

    Raises:
        OSError: the disk is full or failing.
    """
    with DiskFile(path, "w") as file:
        file.write(data)
