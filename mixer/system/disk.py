"""The four disk operations that can fail: write, write at an offset, sync, rename.

Every file that mixer makes is written through this module, so tests inject disk faults here and nowhere else.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

Buffer = Any
"""Bytes, or what has some: `collections.abc.Buffer` from Python 3.12 on."""


def write(descriptor: int, data: Buffer) -> int:
    """Write all bytes at the file's position; returns their number.

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
    """Write all bytes at an offset of a file.

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
    """Rename a file or folder atomically; a file of the new name is replaced.

    Raises:
        OSError: the disk is failing, or the target is a folder that is not empty.
    """
    os.replace(source, target)


class DiskFile(io.FileIO):
    """A file that is being written without a buffer: its bytes are in the file when `write` returns."""

    def write(self, data: Buffer) -> int:
        """Write all bytes; returns their number."""
        return write(self.fileno(), data)

    def sync(self) -> None:
        """Make the written bytes durable."""
        sync(self.fileno())


def write_file(path: Path, data: Buffer) -> None:
    """Write a file that no process reads yet: neither atomic nor durable.

    Raises:
        OSError: the disk is full or failing.
    """
    with DiskFile(path, "w") as file:
        file.write(data)
