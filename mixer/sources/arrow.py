"""Arrow IPC, as files or as streams: a block is a record batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from mixer.sources.needs import Needs, check_schema
from mixer.sources.opening import open_file
from mixer.sources.piece import PIECE_BYTES, Piece

_FILE_MAGIC = b"ARROW1"


def count_blocks(path: Path, needs: Needs) -> tuple[list[int], list[int]]:
    """Rows and kept rows of each record batch."""
    rows, kept = [], []
    with closing(_batches(path, needs, 0)) as batches:
        for batch in batches:
            rows.append(len(batch))
            kept.append(len(batch) if needs.predicate is None else needs.predicate.mask(batch).true_count)
    return rows, kept


def read_block(path: Path, block: int, needs: Needs, skip_rows: int) -> Iterator[Piece]:
    """The record batch's rows from row `skip_rows` on, in order."""
    with closing(_batches(path, needs, block)) as batches:
        for batch in batches:
            piece_rows = max(1, PIECE_BYTES * len(batch) // max(1, batch.nbytes))
            for first_row in range(skip_rows, len(batch), piece_rows):
                yield Piece(batch=batch.slice(first_row, piece_rows), first_row=first_row)
            return


def _batches(path: Path, needs: Needs, first: int) -> Generator[pa.RecordBatch]:
    """The record batches from number `first` on, with the top-level columns that are needed."""
    with open_file(path) as file:
        is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        opener = pa.ipc.open_file if is_file else pa.ipc.open_stream
        file.seek(0)
        schema = opener(file).schema
        check_schema(schema, needs, path)
        wanted = sorted({schema.get_field_index(path.split(".")[0]) for path in needs.paths})
        file.seek(0)
        reader = opener(file, options=pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False))
        if is_file:
            for number in range(first, reader.num_record_batches):
                yield reader.get_batch(number)
        else:
            for number, batch in enumerate(reader):
                if number >= first:
                    yield batch
