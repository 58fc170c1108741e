"""One shard: sequences as an Arrow IPC file, and its two digests (format.md, "Shards")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from mixer.errors import IntegrityError
from mixer.packing.columns import Columns

FORMAT_VERSION = 1
_BATCH_TOKENS = 1 << 19

RUN_COLUMNS = ("segment_source", "segment_row", "segment_pass", "segment_start")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDigests:
    """`num_bytes` and `file_xxh3` of the file as it lies; `content_xxh3` of what it says, however it is encoded."""

    num_bytes: int
    file_xxh3: str
    content_xxh3: str


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


def batch_sequences(sequence_length: int) -> int:
    """Sequences of every record batch but a shard's last: a record batch is about 2 MiB of ids."""
    return max(1, _BATCH_TOKENS // sequence_length)


def write_shard(path: Path, columns: Columns) -> ShardDigests:
    """Write a shard to a path where nothing is yet; the caller publishes it by renaming.

    Raises:
        OSError: no space, no permission.
    """
    num_sequences, sequence_length = columns.input_ids.shape
    schema = shard_schema(sequence_length)
    batch = pa.RecordBatch.from_arrays(_arrays(columns, schema), schema=schema)
    step = batch_sequences(sequence_length)
    with path.open("wb", buffering=0) as file:
        sink = _HashingSink(file)
        with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), schema) as writer:
            for start in range(0, num_sequences, step):
                writer.write_batch(batch.slice(start, step))
    return ShardDigests(num_bytes=sink.tell(), file_xxh3=sink.hexdigest(), content_xxh3=content_digest(_flat(columns)))


class _HashingSink:
    """A raw file that hashes what is written to it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._state = xxhash.xxh3_128()
        self._num_bytes = 0

    closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._state.update(view)
        self._num_bytes += len(view)
        rest = view
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(view)

    def tell(self) -> int:
        return self._num_bytes

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The file is closed by who opened it."""

    def hexdigest(self) -> str:
        return self._state.hexdigest()


def _arrays(columns: Columns, schema: pa.Schema) -> list[pa.Array]:
    """The columns as Arrow arrays over the same memory."""
    num_sequences = len(columns.input_ids)
    offsets, borders = columns.run_offsets, _with_zeros(columns)
    runs = pa.py_buffer(offsets.astype(np.int32))
    ids = pa.array(columns.input_ids.reshape(-1))
    cu_offsets = pa.py_buffer((offsets + np.arange(num_sequences + 1)).astype(np.int32))

    def lists(name: str, list_offsets: pa.Buffer, values: np.ndarray) -> pa.Array:
        kind = schema.field(name).type
        return pa.Array.from_buffers(kind, num_sequences, [None, list_offsets], children=[pa.array(values)])

    return [
        pa.Array.from_buffers(schema.field("input_ids").type, num_sequences, [None], children=[ids]),
        pa.array(columns.next_id),
        pa.array(columns.num_pad),
        lists("cu_seqlens", cu_offsets, borders),
        *(lists(name, runs, getattr(columns, name)) for name in RUN_COLUMNS),
    ]


def _with_zeros(columns: Columns) -> np.ndarray:
    """`cu_seqlens` of all sequences end to end: each sequence's run ends after a 0."""
    return np.insert(columns.run_stop, columns.run_offsets[:-1], 0).astype(np.int32)


def _flat(columns: Columns) -> Iterator[np.ndarray]:
    """What the content digest covers, in its order."""
    run_counts = np.diff(columns.run_offsets).astype(np.int32)
    yield columns.input_ids
    yield columns.next_id
    yield columns.num_pad
    yield run_counts + np.int32(1)
    yield _with_zeros(columns)
    for name in RUN_COLUMNS:
        yield run_counts
        yield getattr(columns, name)


def content_digest(arrays: Iterator[np.ndarray]) -> str:
    """xxh3-128 of the arrays' little-endian bytes, one after the other."""
    state = xxhash.xxh3_128()
    for array in arrays:
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        state.update(little.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def open_shard(path: Path) -> pa.ipc.RecordBatchFileReader:
    """A shard, memory-mapped.

    Raises:
        IntegrityError: there is no such file, or it is not an Arrow IPC file.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except FileNotFoundError as error:
        raise IntegrityError("the shard is missing", where=str(path), hint="build again: it is made anew") from error
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"not a readable Arrow IPC file: {error}", where=str(path)) from error


def read_columns(table: pa.RecordBatch | pa.Table) -> Columns:
    """The columns of some rows of a shard as flat arrays; zero copy from a record batch."""
    batch = table if isinstance(table, pa.RecordBatch) else table.combine_chunks().to_batches()[0]

    def lists(name: str) -> tuple[np.ndarray, np.ndarray]:
        column = batch.column(name)
        return np.asarray(column.offsets), np.asarray(column.flatten())

    length = batch.schema.field("input_ids").type.list_size
    cu_offsets, borders = lists("cu_seqlens")
    cu_offsets = cu_offsets.astype(np.int64) - int(cu_offsets[0])
    keep = np.ones(len(borders), dtype=bool)
    keep[cu_offsets[:-1]] = False
    flat = {name: lists(name)[1] for name in RUN_COLUMNS}
    return Columns(
        input_ids=np.asarray(batch.column("input_ids").flatten()).reshape(-1, length),
        next_id=np.asarray(batch.column("next_id")),
        num_pad=np.asarray(batch.column("num_pad")),
        run_offsets=cu_offsets - np.arange(len(cu_offsets)),
        run_stop=borders[keep],
        **flat,
    )
