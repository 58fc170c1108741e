"""A snapshot cut into chunks, the jobs in which its facts are computed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixer.sources.snapshot import Snapshot

CHUNK_BYTES = 256 << 20
"""Bytes of files in a chunk, about: minutes of work at most, and few files."""
CHUNK_ROWS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FactChunk:
    """Consecutive blocks of a snapshot."""

    number: int
    # [start, stop).
    blocks: tuple[int, int]
    # Rows of these blocks, [start, stop), by ordinal.
    rows: tuple[int, int]


def fact_chunks(snapshot: Snapshot) -> list[FactChunk]:
    """The chunks of a snapshot: whole blocks, up to a size in bytes and rows; a larger block is one by itself.

    They depend on the snapshot alone, so that a computation that was stopped goes on wherever it is run again.
    """
    file_bytes = np.array([file.num_bytes for file in snapshot.files], dtype=np.float64)
    file_rows = np.bincount(snapshot.block_file, snapshot.block_rows, minlength=len(snapshot.files))
    per_row = file_bytes / np.maximum(file_rows, 1)
    block_bytes = snapshot.block_rows * per_row[snapshot.block_file]
    chunks: list[FactChunk] = []
    start, num_bytes, num_rows = 0, 0.0, 0
    for block in range(snapshot.num_blocks):
        more_bytes, more_rows = float(block_bytes[block]), int(snapshot.block_rows[block])
        if block > start and (num_bytes + more_bytes > CHUNK_BYTES or num_rows + more_rows > CHUNK_ROWS):
            chunks.append(_chunk(snapshot, len(chunks), start, block))
            start, num_bytes, num_rows = block, 0.0, 0
        num_bytes, num_rows = num_bytes + more_bytes, num_rows + more_rows
    if start < snapshot.num_blocks:
        chunks.append(_chunk(snapshot, len(chunks), start, snapshot.num_blocks))
    return [chunk for chunk in chunks if chunk.rows[0] < chunk.rows[1]]


def _chunk(snapshot: Snapshot, number: int, start: int, stop: int) -> FactChunk:
    first = int(snapshot.block_first_row[start])
    last = int(snapshot.block_first_row[stop - 1] + snapshot.block_rows[stop - 1])
    return FactChunk(number=number, blocks=(start, stop), rows=(first, last))
