"""The digest of all bytes of a file."""

from __future__ import annotations

from collections.abc import Callable

from mixer.sources.opening import OpenedFile

_READ_BYTES = 8 << 20


class WholeDigest:
    """The xxh3-128 of a file that another reader may be reading from start to end: its bytes are read once.

    Args:
        on_read: called with how many more bytes were read.
    """

    def __init__(self, on_read: Callable[[int], None] = lambda num_bytes: None) -> None:
        import xxhash

        self._state = xxhash.xxh3_128()
        self._num_bytes = 0
        self._on_read = on_read

    def update(self, piece: memoryview | bytes) -> None:
        """Take the file's next bytes."""
        self._state.update(piece)
        self._num_bytes += len(piece)
        self._on_read(len(piece))

    def read_on(self, file: OpenedFile) -> bool:
        """Read the next 8 MB that no reader has read; returns whether there were any.

        Raises:
            OSError: the file cannot be read.
        """
        piece = file.read_at(self._num_bytes, _READ_BYTES)
        if piece:
            self.update(piece)
        return bool(piece)

    def finish(self, file: OpenedFile) -> str:
        """The digest (hex), after reading the remaining bytes.

        Raises:
            OSError: the file cannot be read.
        """
        while self.read_on(file):
            pass
        return self._state.hexdigest()
