"""The rows of every record batch of an Arrow IPC file from its metadata alone: pyarrow would decompress the bodies.

Two FlatBuffers tables are read, as Arrow's `File.fbs` and `Message.fbs` define them:

    Footer.recordBatches (field 3): vector of Block { offset: int64, metaDataLength: int32, (pad), bodyLength: int64 }
    Message.header (field 2), of type (field 1) 3: RecordBatch { length (field 0): int64 }
"""

from __future__ import annotations

import struct

import pyarrow as pa

from mixer.sources.opening import OpenedFile

_BLOCK = struct.Struct("<qi4xq")
_CONTINUATION = b"\xff\xff\xff\xff"
_RECORD_BATCH = 3


def batch_rows(file: OpenedFile, footer: bytes) -> list[int]:
    """The rows of each record batch; reads the batches' metadata, a few hundred bytes each.

    Args:
        file: an Arrow IPC file.
        footer: its end, as `read_footer` gives it.

    Raises:
        ArrowInvalid: the metadata are damaged.
        OSError: the file cannot be read.
    """
    try:
        table = _Table(footer, _number("<I", footer, 0))
        blocks = table.field(3)
        if blocks is None:
            return []
        vector = blocks + _number("<I", footer, blocks)
        count = _number("<I", footer, vector)
        found = [_BLOCK.unpack_from(footer, vector + 4 + _BLOCK.size * number) for number in range(count)]
        return [_rows_of(file.read_at(offset, length)) for offset, length, _ in found]
    except (struct.error, IndexError, ValueError) as error:
        raise pa.ArrowInvalid(f"the metadata of its record batches are damaged ({error})") from error


def _rows_of(message: bytes) -> int:
    """The rows of a record batch, from its message with the length before it; old files have no continuation mark."""
    start = 8 if message.startswith(_CONTINUATION) else 4
    table = _Table(message, start + _number("<I", message, start))
    kind, header = table.field(1), table.field(2)
    if kind is None or header is None or message[kind] != _RECORD_BATCH:
        raise ValueError("a block is not a record batch")
    length = _Table(message, header + _number("<I", message, header)).field(0)
    rows = 0 if length is None else _number("<q", message, length)  # a default is not written
    if rows < 0:
        raise ValueError(f"a record batch of {rows} rows")
    return rows


class _Table:
    """A FlatBuffers table: the offsets of its fields."""

    def __init__(self, buffer: bytes, start: int) -> None:
        self._buffer, self._start = buffer, start
        self._places = start - _number("<i", buffer, start)
        self._num_bytes = _number("<H", buffer, self._places)

    def field(self, number: int) -> int | None:
        """The offset of a field in the buffer; None if it is absent."""
        slot = 4 + 2 * number
        if slot + 2 > self._num_bytes:
            return None
        offset = _number("<H", self._buffer, self._places + slot)
        return self._start + offset if offset else None


def _number(kind: str, buffer: bytes, place: int) -> int:
    if place < 0:
        raise ValueError("an offset before the first byte")
    return int(struct.unpack_from(kind, buffer, place)[0])
