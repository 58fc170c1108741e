"""Rows with text as a Parquet file with row groups of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.system.disk import DiskFile

_ZSTD_LEVEL = 1
_PAGE_VALUES = 64
"""Values between two looks at a page's size: texts are long, and a page must stay far below 2 GB."""


def write_rows(file: DiskFile, schema: pa.Schema, pieces: Iterable[pa.RecordBatch], row_group_bytes: int) -> None:
    """Write rows as Parquet, without a row group if there are no rows. The same pieces give the same bytes.

    Args:
        file: a new file.
        schema: of the rows.
        pieces: rows, in order.
        row_group_bytes: as many pieces go into a row group as fit; one that is larger is one by itself.

    Raises:
        OSError: no space, no permission.
    """
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        write_batch_size=_PAGE_VALUES,
        write_page_checksum=True,  # checked whenever a page is read
    ) as writer:
        for group in _groups(pieces, row_group_bytes):
            writer.write_table(group, row_group_size=len(group))


def _groups(pieces: Iterable[pa.RecordBatch], row_group_bytes: int) -> Iterator[pa.Table]:
    group: list[pa.RecordBatch] = []
    num_bytes = 0
    for piece in pieces:
        if group and num_bytes + piece.nbytes > row_group_bytes:
            yield pa.Table.from_batches(group)
            group, num_bytes = [], 0
        group.append(piece)
        num_bytes += piece.nbytes
        del piece  # or the generator would keep a large one until the next is there
    if group:
        yield pa.Table.from_batches(group)
