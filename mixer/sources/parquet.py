"""Parquet files: a block is a row group; only the leaves that are needed are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mixer.sources.files import open_file
from mixer.sources.needs import Needs, check_schema, is_list
from mixer.sources.piece import PIECE_BYTES, Piece

_MAX_PIECE_ROWS = 65_536


def count_blocks(path: Path, needs: Needs) -> tuple[list[int], list[int]]:
    """Rows and kept rows of each row group: from the footer alone, unless there is a `where`."""
    with pq.ParquetFile(open_file(path), pre_buffer=False) as file:
        check_schema(file.schema_arrow, needs, str(path))
        rows = [file.metadata.row_group(block).num_rows for block in range(file.num_row_groups)]
        if needs.predicate is None:
            return rows, rows
        columns = _leaves(file, needs.predicate.columns)
        kept = []
        for block in range(len(rows)):
            batches = file.iter_batches(_MAX_PIECE_ROWS, row_groups=[block], columns=columns, use_threads=False)
            kept.append(sum(needs.predicate.mask(batch).true_count for batch in batches))
        return rows, kept


def read_block(path: Path, block: int, needs: Needs, skip_rows: int) -> Iterator[Piece]:
    """The row group's rows from row `skip_rows` on or from somewhat before, in order."""
    with pq.ParquetFile(open_file(path), pre_buffer=False) as file:
        check_schema(file.schema_arrow, needs, str(path))
        columns = _leaves(file, needs.paths)
        group = file.metadata.row_group(block)
        wanted = set(columns)
        chunks = (group.column(index) for index in range(group.num_columns))
        num_bytes = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in wanted)
        per_row = max(1, num_bytes // max(1, group.num_rows))
        batch_rows = int(np.clip(PIECE_BYTES // per_row, 1, _MAX_PIECE_ROWS))
        first_row = 0
        for batch in file.iter_batches(batch_rows, row_groups=[block], columns=columns, use_threads=False):
            yield Piece(batch=batch, first_row=first_row)
            first_row += len(batch)


def _leaves(file: pq.ParquetFile, paths: Iterable[str]) -> list[str]:
    """The Parquet names of the leaves at or under these paths: `files.text` may be `files.list.element.text`."""
    names = (file.schema.column(index).path for index in range(len(file.schema.names)))
    leaves = zip(names, (path for field in file.schema_arrow for path in _leaf_paths(field, "")))
    wanted = tuple(paths)
    return [name for name, path in leaves if any(path == want or path.startswith(f"{want}.") for want in wanted)]


def _leaf_paths(field: pa.Field, above: str) -> Iterator[str]:
    """The dotted path of each leaf of an Arrow field, list levels left out, in the order of Parquet's columns."""
    path = f"{above}{field.name}"
    kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    while is_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        for child in kind.fields:
            yield from _leaf_paths(child, f"{path}.")
    elif pa.types.is_map(kind):
        yield from _leaf_paths(kind.key_field, f"{path}.")
        yield from _leaf_paths(kind.item_field, f"{path}.")
    else:
        yield path
