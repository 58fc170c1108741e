"""How far the pinning of a source's files is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

OnFile = Callable[[int, int], None]
"""Told how many files are done, and how many there are; from several threads, one at a time."""
_File = TypeVar("_File")
_Result = TypeVar("_Result")


def counted(work: Callable[[_File], _Result], count: int, on_file: OnFile | None) -> Callable[[_File], _Result]:
    """The same work, which tells of each file that is done."""
    if on_file is None:
        return work
    told, done, lock = on_file, 0, threading.Lock()

    def counting(file: _File) -> _Result:
        nonlocal done
        result = work(file)
        with lock:
            done += 1
            told(done, count)
        return result

    return counting
