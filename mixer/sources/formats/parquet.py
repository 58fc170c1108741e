"""Parquet files: a block is a row group, or several neighbouring ones; only the needed leaves are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.sources.formats.footer import read_footer
from mixer.sources.formats.piece import PIECE_BYTES, Piece
from mixer.sources.opening import OpenedFile, open_file
from mixer.sources.scan import ScanSpec, check_schema, leaf_paths

_MAX_PIECE_ROWS = 65_536
MAX_BLOCKS = 64
"""Blocks of a file. Opening one parses the footer of the whole file, so a file of 700 small row groups, as FineWeb's
are, would cost more to open than to decode: there, blocks are runs of ceil(groups / 64) neighbouring row groups."""


def count_blocks(file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
    """Rows and kept rows of each block: from the footer alone, unless the source has a `where`."""
    if scan.predicate is None:
        footer = read_footer(file, "parquet", scan.at(file.path))
        assert footer is not None
        metadata, schema = parse_footer(footer)
        check_schema(schema, scan, file.path)
        rows = block_rows(metadata)
        return rows, rows
    with _open(file, scan) as parquet:
        kept = [
            sum(scan.predicate.mask(batch).true_count for batch in _batches(parquet, groups, scan.predicate.columns))
            for groups in blocks_of(parquet.num_row_groups)
        ]
        return block_rows(parquet.metadata), kept


def parse_footer(footer: bytes) -> tuple[pq.FileMetaData, pa.Schema]:
    """The metadata in the footer of a file: row groups, column chunks and schema.

    Not by way of `FileMetaData.schema`: that and its metadata hold each other until a garbage collection, which 30,000
    footers would wait for.
    """
    with pq.ParquetFile(pa.BufferReader(footer)) as file:
        return file.metadata, file.schema_arrow


def block_rows(metadata: pq.FileMetaData) -> list[int]:
    """The rows of each block, from a footer."""
    blocks = blocks_of(metadata.num_row_groups)
    return [sum(metadata.row_group(group).num_rows for group in groups) for groups in blocks]


def blocks_of(num_groups: int) -> list[range]:
    """The row groups of each block."""
    step = max(1, -(-num_groups // MAX_BLOCKS))
    return [range(first, min(first + step, num_groups)) for first in range(0, num_groups, step)]


def read_block(file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
    """The block's rows, in order. Pages cannot be skipped, but row groups can: rows come from the first needed one."""
    first_row = 0
    with _open(file, scan) as parquet:
        groups = blocks_of(parquet.num_row_groups)[block]
        while len(groups) > 1 and first_row + parquet.metadata.row_group(groups[0]).num_rows <= skip_rows:
            first_row += parquet.metadata.row_group(groups[0]).num_rows
            groups = groups[1:]
        for batch in _batches(parquet, groups, scan.paths):
            yield Piece(batch=batch, first_row=first_row)
            first_row += len(batch)


@contextmanager
def _open(file: OpenedFile, scan: ScanSpec) -> Iterator[pq.ParquetFile]:
    with open_file(file) as mapped, _opened(mapped) as parquet:
        check_schema(parquet.schema_arrow, scan, file.path)
        yield parquet


def _opened(mapped: pa.NativeFile) -> pq.ParquetFile:
    """The file's reader, which checks pages against their checksums if the file has them."""
    return pq.ParquetFile(mapped, pre_buffer=False, page_checksum_verification=True)


def _batches(file: pq.ParquetFile, groups: range, paths: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """Row groups in batches of about 8 MB, with the leaves at or under these paths."""
    metadata = [file.metadata.row_group(group) for group in groups]
    needed = needed_columns(file.schema_arrow, paths)
    # `files.text` is `files.list.element.text` here.
    names = [metadata[0].column(number).path_in_schema for number in needed]
    num_bytes = sum(group.column(number).total_uncompressed_size for group in metadata for number in needed)
    batch_rows = PIECE_BYTES * sum(group.num_rows for group in metadata) // max(1, num_bytes)
    return file.iter_batches(
        min(max(1, batch_rows), _MAX_PIECE_ROWS), row_groups=list(groups), columns=names, use_threads=False
    )


def needed_columns(schema: pa.Schema, paths: Iterable[str]) -> list[int]:
    """The numbers of the leaves at or under these paths."""
    wanted = tuple(paths)
    leaves = enumerate(path for field in schema for path, _ in leaf_paths(field))
    return [number for number, leaf in leaves if any(leaf == path or leaf.startswith(f"{path}.") for path in wanted)]
