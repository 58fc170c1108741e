"""The rules of snapshots and selections (format.md, sections 5 and 6), as JSON values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mixer.shards.decode import ShapeError, decode
from mixer.shards.records import SourceEntry, StageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: str
    bytes: int
    rows: tuple[int, ...]
    footer_sha256: Annotated[str, r"[0-9a-f]{64}"] | None = None
    xxh3: Annotated[str, r"[0-9a-f]{32}"] | None = None
    sha256: Annotated[str, r"[0-9a-f]{64}"] | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    format: Literal["parquet", "arrow", "jsonl", "csv", "tsv", "text", "text-lines", "text-paragraphs"]
    files: tuple[_File, ...]
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    where: str | None
    kept: tuple[tuple[int, ...], ...] | None
    # Of rows that row attributes choose: the digest of the set that marks them, and of those that decided it.
    rows: Annotated[str, r"[0-9a-f]{64}"] | None = None
    attributes: dict[str, str] | None = None


def snapshot_problem(value: Any, source: SourceEntry) -> str | None:
    """The first problem of a snapshot, by itself or for its source; None if there is none."""
    try:
        snapshot = decode(_Snapshot, value)
    except ShapeError as error:
        return f"not a snapshot: {error}"
    for number, file in enumerate(snapshot.files):
        if "\\" in file.path or any(part in ("", ".", "..") for part in file.path.split("/")):
            return f"files[{number}].path {file.path!r:.80} leads out of the folder"
        known = [file.footer_sha256, file.xxh3] if snapshot.origin is None else [file.sha256, file.etag]
        others = [file.sha256, file.etag] if snapshot.origin is None else [file.footer_sha256, file.xxh3]
        if sum(one is not None for one in known) != 1 or any(one is not None for one in others):
            return f"files[{number}] does not have the one digest that identifies its bytes"
    num_rows = sum(sum(file.rows) for file in snapshot.files)
    if num_rows != source.num_rows:
        return f"it has {num_rows:,} rows, the manifest says {source.num_rows:,}"
    return None


def selection_problem(value: Any, snapshot: Any, source: StageSource) -> str | None:
    """The first problem of a selection, by itself or for its snapshot; None if there is none."""
    try:
        selection = decode(_Selection, value)
    except ShapeError as error:
        return f"not a selection: {error}"
    block_rows = [rows for file in snapshot["files"] for rows in file["rows"]]
    passes = [tuple(block_rows)] if selection.kept is None else list(selection.kept)
    for number, kept in enumerate(passes):
        if len(kept) != len(block_rows) or any(one > rows for one, rows in zip(kept, block_rows)):
            return f"kept[{number}] does not fit the {len(block_rows)} blocks of the snapshot"
    if [sum(kept) for kept in passes] != list(source.pass_rows):
        return f"its passes have {[sum(kept) for kept in passes]} rows, the stage says {list(source.pass_rows)}"
    return None
