"""A remote file for random access: only the requested ranges are fetched, and a little ahead."""

from __future__ import annotations

import io

from mixer.stores.address import Address
from mixer.stores.store import RemoteFile
from mixer.stores.transfer import read_bytes

_AHEAD_BYTES = 1 << 20


class RangeReader(io.RawIOBase):
    """Reads a file of a store by ranges.

    Args:
        address: any address of the file's store and revision.
        file: the file.
    """

    def __init__(self, address: Address, file: RemoteFile) -> None:
        self._address, self._file = address, file
        self._place = 0
        self._start, self._held = 0, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.num_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read on; 0 at the end.

        Raises:
            DataError: the bytes cannot be read.
        """
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._file.num_bytes - self._place)
        if wanted <= 0:
            return 0
        if not self._start <= self._place < self._start + len(self._held):
            stop = min(self._file.num_bytes, self._place + max(wanted, _AHEAD_BYTES))
            self._held = read_bytes(self._address, self._file, self._place, stop)
            self._start = self._place
        offset = self._place - self._start
        piece = self._held[offset : offset + wanted]
        view[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)
