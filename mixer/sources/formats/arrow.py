"""Arrow IPC, as files or as streams: a block is a record batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

import pyarrow as pa

from mixer.sources.formats.arrow_footer import batch_rows
from mixer.sources.formats.footer import is_arrow_file, read_footer
from mixer.sources.formats.piece import PIECE_BYTES, Piece
from mixer.sources.opening import OpenedFile, open_file
from mixer.sources.scan import ScanSpec, check_schema


def count_blocks(file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
    """Rows and kept rows of each record batch: of a file from its metadata alone, unless there is a `where`."""
    footer = read_footer(file, "arrow", scan.at(file.path))
    if footer is not None and scan.predicate is None:
        with open_file(file) as mapped:
            check_schema(pa.ipc.open_file(mapped).schema, scan, file.path)
        rows = batch_rows(file, footer)
        return rows, rows
    rows, kept = [], []
    with closing(_batches(file, scan, 0)) as batches:
        for batch in batches:
            rows.append(len(batch))
            kept.append(len(batch) if scan.predicate is None else scan.predicate.mask(batch).true_count)
    return rows, kept


def read_block(file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
    """The record batch's rows from row `skip_rows` on, in order."""
    with closing(_batches(file, scan, block)) as batches:
        for batch in batches:
            piece_rows = max(1, PIECE_BYTES * len(batch) // max(1, batch.nbytes))
            for first_row in range(skip_rows, len(batch), piece_rows):
                yield Piece(batch=batch.slice(first_row, piece_rows), first_row=first_row)
            return


def _batches(file: OpenedFile, scan: ScanSpec, first: int) -> Generator[pa.RecordBatch]:
    """The record batches from number `first` on, with the top-level columns that are needed."""
    is_file = is_arrow_file(file)
    opener = pa.ipc.open_file if is_file else pa.ipc.open_stream
    with open_file(file) as mapped:
        schema = opener(mapped).schema
        check_schema(schema, scan, file.path)
        wanted = sorted({schema.get_field_index(path.split(".")[0]) for path in scan.paths})
        mapped.seek(0)
        reader = opener(mapped, options=pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False))
        if is_file:
            for number in range(first, reader.num_record_batches):
                yield reader.get_batch(number)
        else:
            for number, batch in enumerate(reader):
                if number >= first:
                    yield batch
