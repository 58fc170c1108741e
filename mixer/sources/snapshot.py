"""A source pinned: its files with sizes and digests, and the rows of every block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mixer.digest import identity
from mixer.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a snapshot."""

    # Relative to the snapshot's base, parts separated by '/', never '..'.
    path: str
    num_bytes: int
    # xxh3-128 (hex) of the bytes as they are on disk.
    xxh3: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A source pinned. Blocks are numbered through all files, in the order of `files`."""

    # "parquet", "arrow" or "jsonl".
    format: str
    # Sorted by path; the files of one `save_to_disk` folder in the order of its state.json.
    files: tuple[SourceFile, ...]
    # Where the files are on this machine: no part of the identity.
    base: Path
    # int32[blocks]: index into `files`, rising; and the block's number in its file, from 0.
    block_file: np.ndarray
    block_in_file: np.ndarray
    # int64[blocks]: all rows, and those that pass `where`.
    block_rows: np.ndarray
    block_kept: np.ndarray
    # int64[blocks]: ordinal of the block's first row in the snapshot, all rows counted.
    block_first_row: np.ndarray
    # Modification times seen when pinned, of this machine and session; None after `from_json`.
    mtimes_ns: tuple[int, ...] | None = field(default=None)

    @property
    def num_blocks(self) -> int:
        """Blocks in all files."""
        return len(self.block_rows)

    @property
    def num_rows(self) -> int:
        """Rows in all blocks, kept or not."""
        return int(self.block_rows.sum())

    @property
    def num_kept(self) -> int:
        """Rows that pass `where`; all of them without one."""
        return int(self.block_kept.sum())

    @property
    def num_bytes(self) -> int:
        """Bytes of all files on disk."""
        return sum(file.num_bytes for file in self.files)

    @property
    def identity(self) -> str:
        """The sha256 (hex) of the canonical JSON: equal wherever the same files are pinned."""
        return identity(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """The snapshot as JSON: one entry a file; `kept` is left out where all rows of the file are kept."""
        borders = np.searchsorted(self.block_file, np.arange(len(self.files) + 1))
        entries = []
        for file, start, stop in zip(self.files, borders, borders[1:]):
            rows, kept = self.block_rows[start:stop].tolist(), self.block_kept[start:stop].tolist()
            entry = {"path": file.path, "bytes": file.num_bytes, "xxh3": file.xxh3, "rows": rows}
            entries.append(entry if kept == rows else entry | {"kept": kept})
        return {"format": self.format, "files": entries}

    @classmethod
    def from_json(cls, value: dict[str, Any], base: Path) -> Snapshot:
        """The snapshot back from `as_json`, with its files under `base`.

        Raises:
            FormatError: the value is not a snapshot.
        """
        try:
            entries = value["files"]
            files = tuple(SourceFile(path=e["path"], num_bytes=e["bytes"], xxh3=e["xxh3"]) for e in entries)
            rows = [e["rows"] for e in entries]
            kept = [e.get("kept", e["rows"]) for e in entries]
            return make_snapshot(value["format"], files, base, rows, kept)
        except (KeyError, TypeError, AttributeError) as err:
            raise FormatError(f"not a snapshot: {err!r}", where="snapshot") from err


def make_snapshot(
    format: str,
    files: Sequence[SourceFile],
    base: Path,
    rows: Sequence[Sequence[int]],
    kept: Sequence[Sequence[int]],
    mtimes_ns: Sequence[int] | None = None,
) -> Snapshot:
    """A snapshot from the rows and kept rows per block of each file."""
    counts = [len(blocks) for blocks in rows]
    block_rows = np.array([n for blocks in rows for n in blocks], np.int64)
    return Snapshot(
        format=format,
        files=tuple(files),
        base=base,
        block_file=np.repeat(np.arange(len(files), dtype=np.int32), counts),
        block_in_file=np.array([n for count in counts for n in range(count)], np.int32),
        block_rows=block_rows,
        block_kept=np.array([n for blocks in kept for n in blocks], np.int64),
        block_first_row=np.cumsum(block_rows) - block_rows,
        mtimes_ns=None if mtimes_ns is None else tuple(mtimes_ns),
    )
