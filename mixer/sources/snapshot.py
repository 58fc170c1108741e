"""A source pinned: its files with sizes and digests, and the rows of every block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixer.attributes.kept_rows import KeptRows
from mixer.digest import identity
from mixer.errors import FormatError
from mixer.sources.file_state import FileState

if TYPE_CHECKING:
    from mixer.sources.remote_copies import RemoteBase


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a snapshot."""

    # Relative to the snapshot's base, parts separated by '/', never '..'.
    path: str
    num_bytes: int
    # What tells these bytes from others, one of four. Of a local Parquet or Arrow IPC file the sha256 (hex) of its
    # footer; of another local file its xxh3-128 (hex); of a remote one its sha256 (hex), or, where its store tells
    # none, what the store calls this version.
    footer_sha256: str | None = None
    xxh3: str | None = None
    sha256: str | None = None
    etag: str | None = None

    def version(self) -> dict[str, str]:
        """The one known digest or etag, by its name."""
        kinds = ("footer_sha256", "xxh3", "sha256", "etag")
        known = {kind: getattr(self, kind) for kind in kinds}
        return {kind: value for kind, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A source pinned. Blocks are numbered through all files, in the order of `files`."""

    # "parquet", "arrow", "jsonl", "csv", "tsv", "text", "text-lines" or "text-paragraphs".
    format: str
    # Sorted by path; the files of one `save_to_disk` folder in the order of its state.json.
    files: tuple[SourceFile, ...]
    # Where the files are: a folder of this machine, which is no part of the identity; or an address, which is.
    base: Path | RemoteBase
    # int32[blocks]: index into `files`, rising; and the block's number in its file, from 0.
    block_file: np.ndarray
    block_in_file: np.ndarray
    # int64[blocks]: all rows, and those that are kept: by `where`, or as `kept_rows` says.
    block_rows: np.ndarray
    block_kept: np.ndarray
    # int64[blocks]: ordinal of the block's first row in the snapshot, all rows counted.
    block_first_row: np.ndarray
    # The files as they were when pinned, on this machine and by this process; None after `from_json`, and for remote
    # files.
    states: tuple[FileState, ...] | None = None
    # What a user should know of how it was pinned; no part of the identity.
    note: str | None = None
    # Which rows are kept, where row attributes have a say in it; no part of the identity.
    kept_rows: KeptRows | None = None

    @property
    def origin(self) -> str | None:
        """The address of the folder that holds the files; None for local ones."""
        return None if isinstance(self.base, Path) else str(self.base)

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
        """Rows that are kept; all of them without `where` and row attributes."""
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
        """The snapshot as JSON (format.md, "A snapshot"): one entry per file, without the kept rows.

        `origin`, the address of the folder that holds the files, exists only for remote files.
        """
        borders = np.searchsorted(self.block_file, np.arange(len(self.files) + 1))
        entries = [
            {"path": file.path, "bytes": file.num_bytes, **file.version(), "rows": self.block_rows[start:stop].tolist()}
            for file, start, stop in zip(self.files, borders, borders[1:])
        ]
        origin = {} if self.origin is None else {"origin": self.origin}
        return {"format": self.format, **origin, "files": entries}

    def kept_json(self) -> list[int] | None:
        """The kept rows of each block; None where all rows are kept."""
        return None if np.array_equal(self.block_kept, self.block_rows) else self.block_kept.tolist()

    @classmethod
    def from_json(cls, value: dict[str, Any], base: Path | RemoteBase, kept: Sequence[int] | None = None) -> Snapshot:
        """The snapshot from its `as_json`, with its files under `base`.

        Args:
            value: the JSON.
            base: where the files are.
            kept: what `kept_json` gave.

        Raises:
            FormatError: the value is not a snapshot.
        """
        try:
            entries = value["files"]
            kinds = ("footer_sha256", "xxh3") if isinstance(base, Path) else ("sha256", "etag")
            files = tuple(
                SourceFile(path=e["path"], num_bytes=e["bytes"], **{kind: e[kind] for kind in kinds if kind in e})
                for e in entries
            )
            if any(len(file.version()) != 1 for file in files):
                raise KeyError(*kinds)
            rows = [e["rows"] for e in entries]
            if kept is None:
                return make_snapshot(value["format"], files, base, rows, rows)
            borders = np.cumsum([0, *map(len, rows)]).tolist()
            if len(kept) != borders[-1]:
                raise ValueError(f"{len(kept)} kept rows for {borders[-1]} blocks")
            per_file = [kept[start:stop] for start, stop in pairwise(borders)]
            return make_snapshot(value["format"], files, base, rows, per_file)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as err:
            raise FormatError(f"not a snapshot: {err!r}", where="snapshot") from err


def make_snapshot(
    format: str,
    files: Sequence[SourceFile],
    base: Path | RemoteBase,
    rows: Sequence[Sequence[int]],
    kept: Sequence[Sequence[int]],
    states: Sequence[FileState] | None = None,
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
        states=None if states is None else tuple(states),
    )
