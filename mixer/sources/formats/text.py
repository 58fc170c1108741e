"""Plain text: a block is a file, and so is a row; its text is the file's content, without a byte order mark.

The bytes are taken as they are: line ends of any kind stay, and the reader of the text checks UTF-8. An empty file
is a row with an empty text, so that a row's number is its file's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from mixer.errors import DataError
from mixer.sources.formats.lines import BOM, MAX_LINE_BYTES, check_utf_16
from mixer.sources.formats.piece import PIECE_BYTES, Piece
from mixer.sources.opening import OpenedFile, open_stream
from mixer.sources.scan import ScanSpec, check_schema

COLUMN = "text"
SCHEMA = pa.schema([(COLUMN, pa.large_string())])
"""The one column of plain text, whatever its rows are."""


def count_blocks(file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
    """One row, kept or not; reading the file finds truncated and oversized files before a build."""
    check_schema(SCHEMA, scan, file.path)
    if scan.predicate is None:
        _read(file, keep=False)
        return [1], [1]
    kept = sum(scan.predicate.mask(piece.batch).true_count for piece in read_block(file, 0, scan, 0))
    return [1], [kept]


def read_block(file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
    """The file's only row."""
    check_schema(SCHEMA, scan, file.path)
    if skip_rows == 0:
        content = _read(file, keep=True)
        batch = text_batch(pa.py_buffer(content), np.array([0, len(content)]))
        del content
        yield Piece(batch=batch, first_row=0, lines=np.array([1]))


def text_batch(content: pa.Buffer, offsets: np.ndarray) -> pa.RecordBatch:
    """Rows of plain text: int64[rows + 1], where each starts in the content and the last one stops. Nothing is copied.

    UTF-8 is not checked.
    """
    text = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), content)
    return pa.RecordBatch.from_arrays([text], schema=SCHEMA)


def _read(file: OpenedFile, *, keep: bool) -> bytearray:
    """The content of a file; with `keep` false it is read and discarded.

    Raises:
        DataError: it is longer than 1 GB, or UTF-16.
    """
    content, num_bytes = bytearray(), 0
    with open_stream(file) as stream:
        buffer = memoryview(bytearray(PIECE_BYTES))
        while num_read := stream.readinto(buffer):
            if num_bytes == 0:
                check_utf_16(bytes(buffer[:2]), str(file.path))
            num_bytes += num_read
            if num_bytes > MAX_LINE_BYTES:
                raise DataError(
                    f"the file is one document, and longer than {MAX_LINE_BYTES} bytes",
                    where=str(file.path),
                    hint="set format: text-lines or text-paragraphs to make several documents of it, or split the file",
                )
            if keep:
                content += buffer[:num_read]
    if content[: len(BOM)] == BOM:
        del content[: len(BOM)]
    return content
