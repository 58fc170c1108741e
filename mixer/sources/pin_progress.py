"""How far the pinning of a source's files is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class PinCount:
    """Files that are pinned, and their bytes; those read so far of a file that is not yet pinned count as well."""

    files: int
    num_files: int
    bytes: int
    num_bytes: int


OnFile = Callable[[PinCount], None]
"""Called with each file that is pinned, and now and then while one is read; from several threads, one at a time."""
OnRead = Callable[[int], None]
"""Called with how many more bytes of a file were read."""
_TOLD_BYTES = 64 << 20
_File = TypeVar("_File")
_Result = TypeVar("_Result")


def counted(
    work: Callable[[_File, OnRead], _Result], sizes: Sequence[int], on_file: OnFile | None
) -> Callable[[_File, int], _Result]:
    """The same work on a file of a size, which reports how far all files are.

    Args:
        work: what is done with a file; it is handed what to call with the bytes that it has read.
        sizes: the bytes of all files.
        on_file: what is told; None: nobody.
    """
    if on_file is None:
        return lambda file, num_bytes: work(file, lambda num_read: None)
    report, total, lock = on_file, sum(sizes), threading.Lock()
    files = num_bytes_done = untold = 0

    def add(num_bytes: int, num_files: int) -> None:
        nonlocal files, num_bytes_done, untold
        with lock:
            files, num_bytes_done, untold = files + num_files, num_bytes_done + num_bytes, untold + num_bytes
            if num_files or untold >= _TOLD_BYTES:
                untold = 0
                report(PinCount(files=files, num_files=len(sizes), bytes=num_bytes_done, num_bytes=total))

    def counting(file: _File, num_bytes: int) -> _Result:
        left = num_bytes

        def read(num_read: int) -> None:
            nonlocal left
            num_read = min(num_read, left)  # what is read twice counts once
            left -= num_read
            add(num_read, 0)

        result = work(file, read)
        add(left, 1)
        return result

    return counting
