"""Parquet files: a block is a row group; only the leaves that are needed are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.sources.needs import Needs, check_schema, leaf_paths
from mixer.sources.opening import open_file
from mixer.sources.piece import PIECE_BYTES, Piece

_MAX_PIECE_ROWS = 65_536


def count_blocks(path: Path, needs: Needs) -> tuple[list[int], list[int]]:
    """Rows and kept rows of each row group: from the footer alone, unless there is a `where`."""
    with _open(path, needs) as file:
        rows = [file.metadata.row_group(block).num_rows for block in range(file.num_row_groups)]
        if needs.predicate is None:
            return rows, rows
        kept = [
            sum(needs.predicate.mask(batch).true_count for batch in _batches(file, block, needs.predicate.columns))
            for block in range(len(rows))
        ]
        return rows, kept


def read_block(path: Path, block: int, needs: Needs, skip_rows: int) -> Iterator[Piece]:
    """The row group's rows, in order. Pages cannot be skipped, so they come from row 0 on whatever is to be skipped."""
    first_row = 0
    with _open(path, needs) as file:
        for batch in _batches(file, block, needs.paths):
            yield Piece(batch=batch, first_row=first_row)
            first_row += len(batch)


@contextmanager
def _open(path: Path, needs: Needs) -> Iterator[pq.ParquetFile]:
    with open_file(path) as mapped, pq.ParquetFile(mapped, pre_buffer=False) as file:
        check_schema(file.schema_arrow, needs, path)
        yield file


def _batches(file: pq.ParquetFile, block: int, paths: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """A row group in batches of about 8 MB, with the leaves at or under these paths."""
    group, names = file.metadata.row_group(block), []
    num_bytes = 0
    wanted = tuple(paths)
    leaves = (path for field in file.schema_arrow for path, _ in leaf_paths(field))
    for number, leaf in enumerate(leaves):
        if any(leaf == path or leaf.startswith(f"{path}.") for path in wanted):
            names.append(group.column(number).path_in_schema)  # `files.text` is `files.list.element.text` here.
            num_bytes += group.column(number).total_uncompressed_size
    batch_rows = PIECE_BYTES * group.num_rows // max(1, num_bytes)
    return file.iter_batches(
        min(max(1, batch_rows), _MAX_PIECE_ROWS), row_groups=[block], columns=names, use_threads=False
    )
