"""The rows of a CSV file, where line ends inside quotes are text, in runs of bounded size.

Quotes are read as RFC 4180, Python's csv module and Arrow do: a field is quoted where its first character is a quote,
a quote in it is doubled, and quotes anywhere else are text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mixer.errors import DataError
from mixer.sources.formats.lines import BOM, MAX_LINE_BYTES, Lines, check_utf_16
from mixer.sources.formats.piece import PIECE_BYTES
from mixer.sources.opening import OpenedFile, open_stream

_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRun:
    """Consecutive rows in one buffer; empty lines are in the buffer but are not rows."""

    # Of each row: where it starts and stops (before its line end), and the line that it starts on.
    rows: Lines
    # Whether the last row has a quote that is never closed.
    is_open: bool = False


def iter_rows(file: OpenedFile, delimiter: int) -> Iterator[RowRun]:
    """The rows of a file, its header among them, in runs of about 8 MB; a longer row is a run by itself.

    The buffer is used again: a run is gone when the next one is asked for. Cost: linear in the bytes.

    Raises:
        DataError: a row is longer than 1 GB, or the file is UTF-16.
    """
    buffer, filled, line, is_first = np.empty(PIECE_BYTES, np.uint8), 0, 1, True
    with open_stream(file) as stream:
        at_end = False
        while not at_end:
            while not at_end and filled < len(buffer):
                num_read = stream.readinto(buffer[filled:].data)
                filled, at_end = filled + num_read, not num_read
            if is_first:
                filled, is_first = _without_mark(buffer, filled, file), False
            newlines = np.flatnonzero(buffer[:filled] == _NEWLINE)
            ends, is_open = row_ends(buffer[:filled], newlines, delimiter)
            if at_end and filled > (ends[-1] + 1 if len(ends) else 0):
                ends = np.append(ends, filled)
            if len(ends):
                stop = min(int(ends[-1]) + 1, filled)
                rest = buffer[stop:filled]
                if len(buffer) == PIECE_BYTES:
                    yield RowRun(rows=_rows(buffer, ends, newlines, line), is_open=at_end and is_open)
                else:  # a long row is let go of: it may be a large part of what there is
                    rest = rest.copy()
                    found = [RowRun(rows=_rows(buffer, ends, newlines, line), is_open=at_end and is_open)]
                    buffer = np.empty(max(PIECE_BYTES, 2 * len(rest)), np.uint8)
                    yield found.pop()
                filled, line = len(rest), line + int(np.searchsorted(newlines, stop))
                buffer[:filled] = rest
            elif not at_end:
                if filled >= MAX_LINE_BYTES:
                    raise DataError(
                        f"the row on line {line} is longer than {MAX_LINE_BYTES} bytes",
                        where=str(file.path),
                        hint="a quote may be open: quotes in a quoted field are doubled",
                    )
                longer = np.empty(2 * len(buffer), np.uint8)  # pages that are not written to take no memory
                longer[:filled] = buffer[:filled]
                buffer = longer


def row_ends(content: np.ndarray, newlines: np.ndarray, delimiter: int) -> tuple[np.ndarray, bool]:
    """The newlines that end a row, and whether a quote is open after the last byte. Pure.

    Args:
        content: uint8[bytes], from the start of a row on.
        newlines: int64, rising: the places of all its newlines.
        delimiter: the byte between two fields.

    Returns:
        int64[ends], rising: their places.
    """
    quotes = np.flatnonzero(content == _QUOTE)
    if not len(quotes):
        return newlines, False
    if _all_at_borders(content, quotes, delimiter):
        return newlines[np.searchsorted(quotes, newlines) % 2 == 0], len(quotes) % 2 == 1
    opened, closed = _quoted_fields(content, quotes, delimiter)
    if not len(opened):
        return newlines, False
    field = np.searchsorted(opened, newlines, "right") - 1
    return newlines[(field < 0) | (newlines > closed[field])], bool(closed[-1] == len(content))


def _all_at_borders(content: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Whether every other quote opens a field and the others close it: then counting them is enough."""
    is_border = np.zeros(256, bool)
    is_border[[delimiter, _NEWLINE, _QUOTE]] = True
    before = content[quotes[0::2] - 1]
    if quotes[0] == 0:
        before[0] = _NEWLINE
    # A quote before an opening one has to be the one that closed the field before.
    if not is_border[before].all():
        return False
    is_border[_RETURN] = True
    closing = quotes[1::2]
    after = content[np.minimum(closing + 1, len(content) - 1)]
    return bool((is_border[after] | (closing == len(content) - 1)).all())


def _quoted_fields(content: np.ndarray, quotes: np.ndarray, delimiter: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last quote of each quoted field; the last is the end of the content if none closes it.

    A step of Python for each of them: only for content with quotes inside of fields that are not quoted.
    """
    first = quotes[np.diff(quotes, prepend=-2) != 1]
    last = quotes[np.diff(quotes, append=len(content) + 2) != 1]
    before = content[first - 1]
    at_border = (before == delimiter) | (before == _NEWLINE) | (first == 0)
    openings = np.flatnonzero(at_border).tolist()
    odd = np.flatnonzero((last - first) % 2 == 0).tolist()
    is_odd = ((last - first) % 2 == 0).tolist()
    opened, closed, run = [], [], 0
    while (number := bisect_left(openings, run)) < len(openings):
        run = openings[number]
        opened.append(int(first[run]))
        if is_odd[run]:
            number = bisect_right(odd, run)
            if number == len(odd):
                closed.append(len(content))
                break
            run = odd[number]
        closed.append(int(last[run]))
        run += 1
    return np.array(opened, np.int64), np.array(closed, np.int64)


def _rows(buffer: np.ndarray, stop: np.ndarray, newlines: np.ndarray, line: int) -> Lines:
    """The rows that stop at these places of a buffer; the first one starts on this line of the file."""
    start = np.concatenate(([0], stop[:-1] + 1))
    numbers = line + np.searchsorted(newlines, start)
    stop = stop - ((stop > start) & (buffer[stop - 1] == _RETURN))
    filled = stop > start
    return Lines(buffer=pa.py_buffer(buffer), start=start[filled], stop=stop[filled], number=numbers[filled])


def _without_mark(buffer: np.ndarray, filled: int, file: OpenedFile) -> int:
    """Remove a byte order mark from the start of a file; returns the number of bytes left."""
    mark = buffer[: min(filled, len(BOM))].tobytes()
    check_utf_16(mark, str(file.path))
    if mark == BOM:
        buffer[: filled - len(BOM)] = buffer[len(BOM) : filled].copy()
        filled -= len(BOM)
    return filled
