"""Work on the files of a source, several at a time, with reports of its progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from mixer.system.progress import Advance, OnAdvance, Work
from mixer.system.threads import map_in_threads

OnRead = Callable[[int], None]
"""Called with how many more bytes of a file were read."""
_TOLD_BYTES = 64 << 20
_File = TypeVar("_File")
_Result = TypeVar("_Result")


class PinCounter:
    """Counts the files of a source that are pinned, and their bytes, also those read of a file not yet pinned.

    Args:
        name: the source.
        sizes: the bytes of each file.
        on_advance: called with each file that is pinned, and now and then while one is read; one call at a time.
    """

    def __init__(self, name: str, sizes: Sequence[int], on_advance: OnAdvance) -> None:
        self._name = name
        self._sizes = sizes
        self._total_bytes = sum(sizes)
        self._on_advance = on_advance
        self._lock = threading.Lock()
        self._files = self._bytes = self._untold = 0

    def map(
        self, work: Callable[[_File, OnRead], _Result], files: Sequence[_File], *, num_threads: int
    ) -> list[_Result]:
        """The results of `work` on each file, in their order; `work` gets a callback for the bytes that it has read.

        Raises:
            Exception: as `map_in_threads`.
        """

        def counted(index: int) -> _Result:
            left = self._sizes[index]

            def read(num_bytes: int) -> None:
                nonlocal left
                num_bytes = min(num_bytes, left)  # what is read twice counts once
                left -= num_bytes
                self._add(num_bytes, 0)

            result = work(files[index], read)
            self._add(left, 1)
            return result

        return map_in_threads(counted, range(len(files)), num_threads=num_threads)

    def _add(self, num_bytes: int, num_files: int) -> None:
        with self._lock:
            self._files += num_files
            self._bytes += num_bytes
            self._untold += num_bytes
            if num_files or self._untold >= _TOLD_BYTES:
                self._untold = 0
                self._on_advance(
                    Advance(
                        work=Work.PIN_SOURCE,
                        about=self._name,
                        done=self._files,
                        total=len(self._sizes),
                        done_bytes=self._bytes,
                        total_bytes=self._total_bytes,
                    )
                )
