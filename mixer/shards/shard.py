"""One shard: its schema, and reading it (format.md, section 2)."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pyarrow as pa

from mixer.errors import IntegrityError
from mixer.packing.columns import Columns
from mixer.shards.records import FORMAT_VERSION

REBUILD_HINT = "`mixer repair OUT` makes damaged shards again"
BATCH_TOKENS = 1 << 19
"""Of a record batch: about 2 MiB of ids."""

RUN_COLUMNS = ("segment_source", "segment_row", "segment_pass", "segment_start")


def shard_schema(sequence_length: int) -> pa.Schema:
    """The columns of a shard. No field is nullable."""

    def items(kind: pa.DataType) -> pa.DataType:
        return pa.list_(pa.field("item", kind, nullable=False))

    fields = {
        "input_ids": pa.list_(pa.field("item", pa.int32(), nullable=False), sequence_length),
        "next_id": pa.int32(),
        "num_pad": pa.int32(),
        "cu_seqlens": items(pa.int32()),
        "segment_source": items(pa.int16()),
        "segment_row": items(pa.int64()),
        "segment_pass": items(pa.int32()),
        "segment_start": items(pa.int32()),
    }
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in fields.items()],
        metadata={"mixer.format_version": str(FORMAT_VERSION)},
    )


def batch_sequences(sequence_length: int, batch_tokens: int = BATCH_TOKENS) -> int:
    """Sequences of every record batch but a shard's last."""
    return max(1, batch_tokens // sequence_length)


def open_shard(path: Path) -> pa.ipc.RecordBatchFileReader:
    """A shard, memory-mapped; nothing of its content is checked yet.

    Raises:
        IntegrityError: there is no such file, or it is not an Arrow IPC file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise IntegrityError("the shard is not a regular file", where=str(path), hint=REBUILD_HINT)
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except FileNotFoundError as error:
        raise IntegrityError("the shard is missing", where=str(path), hint=REBUILD_HINT) from error
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"not a readable Arrow IPC file: {error}", where=str(path), hint=REBUILD_HINT) from error


def check_shard_schema(reader: pa.ipc.RecordBatchFileReader, sequence_length: int, path: Path) -> None:
    """Refuse a shard with other columns: reading it would access wrong memory.

    Raises:
        IntegrityError: the schema is not the schema of this format version.
    """
    if not reader.schema.equals(shard_schema(sequence_length), check_metadata=True):
        raise IntegrityError(
            f"the schema is not that of format version {FORMAT_VERSION}", where=str(path), hint=REBUILD_HINT
        )


def read_batch(reader: pa.ipc.RecordBatchFileReader, number: int, path: Path) -> pa.RecordBatch:
    """A record batch of a shard whose schema was checked, whole: no offset or length in it leads outside its memory.

    Raises:
        IntegrityError: it is damaged, or there is no such batch.
    """
    try:
        if not 0 <= number < reader.num_record_batches:
            raise ValueError(f"there are {reader.num_record_batches}")
        batch = reader.get_batch(number)
        batch.validate(full=True)
        if any(column.null_count for column in batch.columns):
            raise ValueError("there are nulls")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise IntegrityError(
            f"record batch {number}: not readable: {error}", where=str(path), hint=REBUILD_HINT
        ) from error
    return batch


def read_ids(batch: pa.RecordBatch) -> np.ndarray:
    """The `input_ids` of a record batch: int32[sequences, length], zero copy and read-only."""
    ids = batch.column("input_ids")
    return flat_numbers(ids.values).reshape(-1, ids.type.list_size)[ids.offset : ids.offset + len(ids)]


def read_columns(table: pa.RecordBatch | pa.Table) -> Columns:
    """The columns of some rows of a shard as flat arrays; zero copy from a record batch."""
    batch = table if isinstance(table, pa.RecordBatch) else table.combine_chunks().to_batches()[0]

    def lists(name: str) -> tuple[np.ndarray, np.ndarray]:
        column = batch.column(name)
        offsets = flat_numbers(column.offsets)
        return offsets, flat_numbers(column.values)[offsets[0] : offsets[-1]]

    cu_offsets, borders = lists("cu_seqlens")
    cu_offsets = cu_offsets.astype(np.int64) - int(cu_offsets[0])
    keep = np.ones(len(borders), dtype=bool)
    keep[cu_offsets[:-1]] = False
    flat = {name: lists(name)[1] for name in RUN_COLUMNS}
    return Columns(
        input_ids=read_ids(batch),
        next_id=flat_numbers(batch.column("next_id")),
        num_pad=flat_numbers(batch.column("num_pad")),
        run_offsets=cu_offsets - np.arange(len(cu_offsets)),
        run_stop=borders[keep],
        **flat,
    )


def flat_numbers(array: pa.Array) -> np.ndarray:
    """The values of an array of numbers where they lie, read-only.

    Without pyarrow's `to_numpy` and `flatten`: the first imports pandas wherever it is installed, the second all of
    pyarrow.compute, half a second and 50 MB of every process that reads.
    """
    dtype = np.dtype(array.type.to_pandas_dtype())
    if len(array) == 0:
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=array.offset * dtype.itemsize)
