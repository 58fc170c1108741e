"""Plain text by paragraphs: a block is a file, a row is a longest run of lines that are not blank.

Its text reaches from the first line's start to the last line's end: the line ends between them stay.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from mixer.errors import DataError
from mixer.sources.formats.lines import MAX_LINE_BYTES, Lines, iter_lines
from mixer.sources.formats.piece import Piece
from mixer.sources.formats.text import SCHEMA, text_batch
from mixer.sources.formats.text_lines import spans_batch
from mixer.sources.opening import OpenedFile
from mixer.sources.scan import ScanSpec, check_schema


def count_blocks(file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
    """Rows and kept rows of the file, its only block."""
    rows = kept = 0
    for piece in read_block(file, 0, scan, 0):
        rows += len(piece.batch)
        kept += len(piece.batch) if scan.predicate is None else scan.predicate.mask(piece.batch).true_count
    return [rows], [kept]


def read_block(file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
    """The file's rows from row `skip_rows` on, in order."""
    check_schema(SCHEMA, scan, file.path)
    first_row = 0
    for batch, lines in _paragraphs(file):
        skipped = max(0, skip_rows - first_row)
        if skipped < len(batch):
            yield Piece(batch=batch.slice(skipped), first_row=first_row + skipped, lines=lines[skipped:])
        first_row += len(batch)
        del batch


def _paragraphs(file: OpenedFile) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """All paragraphs in order with the number of each one's first line; the last one of a run of lines is held back."""
    held = _Held()
    for lines in iter_lines(file):
        if not len(lines):
            continue
        first = np.flatnonzero(np.diff(lines.number, prepend=lines.number[0] - 2) != 1)
        last = np.append(first[1:], len(lines)) - 1
        start, stop, number = lines.start[first], lines.stop[last], lines.number[first]
        whole = slice(0, len(first) - 1)
        if held.parts and lines.number[0] == held.last_line + 1:
            held.add(lines, 0, int(last[0]), file)
            if len(first) == 1:
                continue
            yield held.take()
            whole = slice(1, len(first) - 1)
        elif held.parts:
            yield held.take()
        if whole.start < whole.stop:
            yield spans_batch(lines.buffer, start[whole], stop[whole]), number[whole]
        held.first_line = int(number[-1])
        held.add(lines, int(first[-1]), int(last[-1]), file)
    if held.parts:
        yield held.take()


class _Held:
    """A paragraph that may continue in the next run of lines."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.first_line = self.last_line = 0
        self._num_bytes = 0
        # How many of the last part's bytes are the line end of the last line.
        self._end_bytes = 0

    def add(self, lines: Lines, first: int, last: int, file: OpenedFile) -> None:
        """Add the lines from the first to the last, with the last one's line end."""
        start, stop = int(lines.start[first]), int(lines.stop[last])
        end = lines.buffer.slice(stop, min(2, lines.buffer.size - stop)).to_pybytes()
        end = end if end[:1] == b"\r" else end[:1]
        self.parts.append(lines.buffer.slice(start, stop - start).to_pybytes() + end)
        self._end_bytes = len(end)
        self.last_line = int(lines.number[last])
        self._num_bytes += stop - start + self._end_bytes
        if self._num_bytes > MAX_LINE_BYTES:
            raise DataError(
                f"the paragraph from line {self.first_line} on is longer than {MAX_LINE_BYTES} bytes",
                where=str(file.path),
                hint="set format: text-lines, or split the file",
            )

    def take(self) -> tuple[pa.RecordBatch, np.ndarray]:
        """Take the finished paragraph."""
        content = b"".join(self.parts)
        batch = text_batch(pa.py_buffer(content), np.array([0, len(content) - self._end_bytes]))
        line = np.array([self.first_line])
        self.parts, self._num_bytes = [], 0
        return batch, line
