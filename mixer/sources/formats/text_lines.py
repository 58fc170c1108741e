"""Plain text by lines: a block is a file, a row is a line that is not blank, without its line end (LF or CR LF)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from mixer.sources.formats.lines import iter_lines
from mixer.sources.formats.piece import PIECE_BYTES, Piece
from mixer.sources.formats.text import SCHEMA, text_batch
from mixer.sources.opening import OpenedFile
from mixer.sources.scan import ScanSpec, check_schema

_SHORT_GAP = 4
"""Bytes between two rows, such as a line end, that are taken out one by one: that is faster than a running sum."""


def count_blocks(file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
    """Rows and kept rows of the file, its only block."""
    check_schema(SCHEMA, scan, file.path)
    if scan.predicate is None:
        rows = sum(len(lines) for lines in iter_lines(file))
        return [rows], [rows]
    rows = kept = 0
    for piece in read_block(file, 0, scan, 0):
        rows += len(piece.batch)
        kept += scan.predicate.mask(piece.batch).true_count
    return [rows], [kept]


def read_block(file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
    """The file's rows from row `skip_rows` on, in order."""
    check_schema(SCHEMA, scan, file.path)
    first_row = 0
    for lines in iter_lines(file):
        skipped = max(0, skip_rows - first_row)
        if skipped < len(lines):
            batch = spans_batch(lines.buffer, lines.start[skipped:], lines.stop[skipped:])
            piece = Piece(batch=batch, first_row=first_row + skipped, lines=lines.number[skipped:])
            first_row += len(lines)
            if lines.buffer.size > PIECE_BYTES:
                pa.default_memory_pool().release_unused()
            del lines, batch  # neither the lines nor the piece are held while others work on the text
            yield piece
            del piece
        else:
            first_row += len(lines)


def spans_batch(buffer: pa.Buffer, start: np.ndarray, stop: np.ndarray) -> pa.RecordBatch:
    """Rows of plain text: a copy of the bytes from each start to its stop, without those between.

    Args:
        buffer: the text.
        start: int64[rows], rising.
        stop: int64[rows]: none after the next one's start.
    """
    offsets = np.concatenate(([0], np.cumsum(stop - start)))
    if len(start) == 1:  # a long line is not worth a mask of its length
        return text_batch(pa.py_buffer(buffer.slice(int(start[0]), int(offsets[1])).to_pybytes()), offsets)
    first = int(start[0])
    content = np.frombuffer(buffer, np.uint8)[first : int(stop[-1])]
    return text_batch(pa.py_buffer(content[_inside(start - first, stop - first)]), offsets)


def _inside(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """bool[bytes]: what is between a start and its stop; the first start is 0, the last stop the number of bytes."""
    gaps = start[1:] - stop[:-1]
    if gaps.max() <= _SHORT_GAP:
        inside = np.ones(stop[-1], bool)
        for number in range(gaps.max()):
            inside[stop[:-1][gaps > number] + number] = False
        return inside
    borders = np.zeros(stop[-1] + 1, np.int8)
    borders[start] += 1
    borders[stop] -= 1
    return np.cumsum(borders[:-1], dtype=np.int8).view(bool)
