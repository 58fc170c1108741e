"""Writing one shard, and its two digests (format.md, section 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from mixer.packing.columns import Columns
from mixer.shards.shard import RUN_COLUMNS, shard_schema
from mixer.system.disk import DiskFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDigests:
    """The digests of the file's bytes, and of its content in any encoding.

    xxh3 tells damage, and costs nothing; sha256 binds: no other content with the same one can be made.
    """

    num_bytes: int
    file_xxh3: str
    content_xxh3: str
    content_sha256: str


def write_shard(file: DiskFile, columns: Columns, batch_sequences: int) -> ShardDigests:
    """Write a shard; the caller publishes it.

    Args:
        file: a new file.
        columns: the sequences.
        batch_sequences: sequences of a record batch.

    Raises:
        OSError: no space, no permission.
    """
    num_sequences, sequence_length = columns.input_ids.shape
    schema = shard_schema(sequence_length)
    batch = pa.RecordBatch.from_arrays(_arrays(columns, schema), schema=schema)
    sink = _HashingSink(file)
    with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), schema) as writer:
        for start in range(0, num_sequences, batch_sequences):
            writer.write_batch(batch.slice(start, batch_sequences))
    digests = ContentDigests()
    for array in content_arrays(columns):
        digests.update(array)
    return ShardDigests(
        num_bytes=sink.tell(),
        file_xxh3=sink.hexdigest(),
        content_xxh3=digests.xxh3(),
        content_sha256=digests.sha256(),
    )


class _HashingSink:
    """A file that hashes what is written to it."""

    def __init__(self, file: DiskFile) -> None:
        self._file = file
        self._state = xxhash.xxh3_128()
        self._num_bytes = 0

    closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._state.update(view)
        self._num_bytes += len(view)
        return self._file.write(view)

    def tell(self) -> int:
        return self._num_bytes

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The opener of the file closes it."""

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


def content_arrays(columns: Columns) -> Iterator[np.ndarray]:
    """The arrays of the content digests, in their order (format.md, section 2.1)."""
    run_counts = np.diff(columns.run_offsets).astype(np.int32)
    yield columns.input_ids
    yield columns.next_id
    yield columns.num_pad
    yield run_counts + np.int32(1)
    yield _with_zeros(columns)
    for name in RUN_COLUMNS:
        yield run_counts
        yield getattr(columns, name)


class ContentDigests:
    """The xxh3-128 and the sha256 of arrays' little-endian bytes, one after the other."""

    def __init__(self) -> None:
        self._xxh3, self._sha256 = xxhash.xxh3_128(), hashlib.sha256()

    def update(self, array: np.ndarray) -> None:
        """Add the bytes of an array."""
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        data = little.reshape(-1).view(np.uint8).data
        self._xxh3.update(data)
        self._sha256.update(data)

    def xxh3(self) -> str:
        """The xxh3-128 so far (hex)."""
        return self._xxh3.hexdigest()

    def sha256(self) -> str:
        """The sha256 so far (hex)."""
        return self._sha256.hexdigest()
