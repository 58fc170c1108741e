"""The lines of a text file, plain or compressed, in runs of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mixer.errors import DataError
from mixer.sources.formats.piece import PIECE_BYTES
from mixer.sources.opening import OpenedFile, open_stream

_NEWLINE, _RETURN = 10, 13
_IS_SPACE = np.isin(np.arange(256), list(b" \t\r\n"))
BOM = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
MAX_LINE_BYTES = 1 << 30
"""Of a line, and of whatever else is one document: it is held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Consecutive lines in one buffer. Those of white space alone are in the buffer but are not counted as lines."""

    buffer: pa.Buffer
    # int64[lines]: where each line starts, and where it stops (before its line end).
    start: np.ndarray
    stop: np.ndarray
    # int64[lines]: the line's number in the file, from 1, blank lines counted.
    number: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> bytes:
        start = int(self.start[row])
        return self.buffer.slice(start, int(self.stop[row]) - start).to_pybytes()

    def __iter__(self) -> Iterator[bytes]:
        return (self[row] for row in range(len(self)))

    def part(self, start: int, stop: int) -> Lines:
        """The lines [start, stop), without a copy."""
        rows = slice(start, stop)
        return Lines(buffer=self.buffer, start=self.start[rows], stop=self.stop[rows], number=self.number[rows])


def iter_lines(file: OpenedFile) -> Iterator[Lines]:
    """The lines of a file in runs of about 8 MB; a longer line is a run by itself. Cost: linear in the bytes.

    The buffer is used again: a run is gone when the next one is asked for. Fresh memory for each would cost more
    than finding the lines.

    Raises:
        DataError: a line is longer than 1 GB.
    """
    buffer, is_end = np.empty(PIECE_BYTES, np.uint8), np.empty(PIECE_BYTES, bool)
    number, filled = 1, 0
    with open_stream(file) as stream:
        while num_read := stream.readinto(buffer[filled : filled + PIECE_BYTES].data):
            fresh = buffer[filled : filled + num_read]
            ends = np.flatnonzero(np.equal(fresh, _NEWLINE, out=is_end[:num_read])) + filled
            filled += num_read
            if len(ends):
                rest = buffer[ends[-1] + 1 : filled]
                if len(buffer) == PIECE_BYTES:
                    yield _split(buffer, ends, number)
                else:  # a long line is let go of: it may be a large part of what there is
                    rest, found = rest.copy(), [_split(buffer, ends, number)]
                    buffer = fresh = np.empty(PIECE_BYTES, np.uint8)
                    yield found.pop()
                number += len(ends)
                filled = len(rest)
                buffer[:filled] = rest
            elif filled == len(buffer):
                if filled >= MAX_LINE_BYTES:
                    hint = "a line is one record: split the file into lines"
                    raise DataError(
                        f"line {number} is longer than {MAX_LINE_BYTES} bytes", where=str(file.path), hint=hint
                    )
                longer = np.empty(2 * filled, np.uint8)  # pages that are not written to take no memory
                longer[:filled] = buffer
                buffer = longer
    if filled:
        found = [_split(buffer, np.array([filled]), number)]
        del buffer
        yield found.pop()


def check_utf_16(head: bytes, place: str) -> None:
    """Refuse a file that begins as UTF-16 does.

    Raises:
        DataError: it does.
    """
    if head[:2] in _UTF_16_MARKS:
        raise DataError("the file is UTF-16; expected UTF-8", where=place, hint="convert it: iconv -f UTF-16 -t UTF-8")


def _split(buffer: np.ndarray, stop: np.ndarray, number: int) -> Lines:
    """The lines that stop at these places of a buffer (int64, rising) and begin with line `number` of the file."""
    start = np.concatenate(([0], stop[:-1] + 1))
    numbers = np.arange(number, number + len(stop))
    if number == 1 and buffer[: len(BOM)].tobytes() == BOM:
        start[0] = min(len(BOM), stop[0])
    stop = stop - ((stop > start) & (buffer[stop - 1] == _RETURN))
    filled = stop > start
    for row in np.flatnonzero(filled & _IS_SPACE[buffer[np.minimum(start, len(buffer) - 1)]]):
        filled[row] = buffer[start[row] : stop[row]].tobytes().strip(b" \t\r\n") != b""
    return Lines(buffer=pa.py_buffer(buffer), start=start[filled], stop=stop[filled], number=numbers[filled])
