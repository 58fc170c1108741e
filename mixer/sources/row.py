"""One row by its ordinal: its place in its file, and its text or why it has none. Reads only its block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixer.sources.formats import parquet
from mixer.sources.formats.footer import read_footer
from mixer.sources.formats.piece import Piece
from mixer.sources.opening import OpenedFile
from mixer.sources.reader import SourceReader
from mixer.sources.snapshot import Snapshot
from mixer.sources.text import documents, invalid_rows

if TYPE_CHECKING:
    from mixer.recipe import Source

_INVALID = "the text is not valid UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlace:
    """The place of a row of a snapshot; parts that its format lacks, or that were not looked up, are None."""

    # Path of this machine, or address.
    file: str
    # In the snapshot, and in the file, from 0.
    block: int
    block_in_file: int
    # In the file, and in the block, from 0.
    row_in_file: int
    row_in_block: int
    # Of JSON lines: from 1, blank lines counted.
    line: int | None = None
    # Of Arrow files, from 0.
    record_batch: int | None = None
    # Of Parquet files, from 0.
    row_group: int | None = None
    row_in_group: int | None = None

    def words(self) -> str:
        """The place in words, such as `docs-1.jsonl.zst, line 251` or `part-3.parquet, row group 2, row 17`."""
        name = self.file.rpartition("/")[2]
        if self.line is not None:
            return f"{name}, line {self.line}"
        if self.row_group is not None:
            return f"{name}, row group {self.row_group}, row {self.row_in_group}"
        if self.record_batch is not None:
            return f"{name}, record batch {self.record_batch}, row {self.row_in_block}"
        return f"{name}, row {self.row_in_file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """A row of a snapshot: its text, or why it is not drawn or has none."""

    place: RowPlace
    text: str | None
    # "where" where the predicate drops it, "not_kept" where row attributes do; "null_text", "empty_text" or "bad_row"
    # as builds count what they skip.
    reason: str | None = None
    # What is wrong with a bad row.
    detail: str | None = None


def place_of_row(snapshot: Snapshot, row: int) -> RowPlace:
    """The place of a row as far as the snapshot shows it: file, block, and its number in both. Pure.

    Raises:
        ValueError: the snapshot has no such row.
    """
    if not 0 <= row < snapshot.num_rows:
        raise ValueError(f"row {row} of a snapshot of {snapshot.num_rows} rows")
    block = int(np.searchsorted(snapshot.block_first_row + snapshot.block_rows, row, side="right"))
    index = int(snapshot.block_file[block])
    first_block = int(np.searchsorted(snapshot.block_file, index))
    base = str(snapshot.base).rstrip("/")
    return RowPlace(
        file=f"{base}/{snapshot.files[index].path}",
        block=block,
        block_in_file=int(snapshot.block_in_file[block]),
        row_in_file=row - int(snapshot.block_first_row[first_block]),
        row_in_block=row - int(snapshot.block_first_row[block]),
        record_batch=int(snapshot.block_in_file[block]) if snapshot.format == "arrow" else None,
    )


def read_row(name: str, source: Source, snapshot: Snapshot, row: int) -> FoundRow:
    """A row with its place to the line, row group or record batch, and its text or why it has none.

    Args:
        name: the source's name, for messages.
        source: its part of the recipe.
        snapshot: the source pinned.
        row: the row's ordinal in the snapshot, all rows counted.

    Raises:
        ValueError: the snapshot has no such row.
        DataError: the file changed since it was pinned, or cannot be read.
    """
    place = place_of_row(snapshot, row)
    reader = SourceReader(name, source, snapshot)
    with reader.pieces(place.block, place.row_in_block) as (file, pieces):
        if snapshot.format == "parquet":
            place = _in_row_group(place, file)
        piece = next((one for one in pieces if place.row_in_block < one.first_row + len(one.batch)), None)
        if piece is None:
            raise reader.too_few_rows(place.block, place.row_in_block)
        found = _found(place, piece, reader)
    kept = snapshot.kept_rows
    if kept is not None and not kept.mask(place.block)[place.row_in_block]:
        return replace(found, reason="not_kept")
    return found


def _found(place: RowPlace, piece: Piece, reader: SourceReader) -> FoundRow:
    number = place.row_in_block - piece.first_row
    if piece.lines is not None:
        place = replace(place, line=int(piece.lines[number]))
    if number in piece.bad:
        return FoundRow(place=place, text=None, reason="bad_row", detail=piece.bad[number])
    batch = piece.batch.slice(number, 1)
    text = documents(batch, reader.scan.text)
    if invalid_rows(text):
        return FoundRow(place=place, text=None, reason="bad_row", detail=_INVALID)
    content = text[0].as_py()
    predicate = reader.scan.predicate
    if predicate is not None and not predicate.mask(batch)[0].as_py():
        return FoundRow(place=place, text=content, reason="where")
    reason = "null_text" if content is None else "empty_text" if not content else None
    return FoundRow(place=place, text=content, reason=reason)


def _in_row_group(place: RowPlace, file: OpenedFile) -> RowPlace:
    """The place with the row group of a Parquet file: a block is some neighbouring ones."""
    footer = read_footer(file, "parquet", str(Path(place.file)))
    assert footer is not None
    metadata, _ = parquet.parse_footer(footer)
    row = place.row_in_block
    for group in parquet.blocks_of(metadata.num_row_groups)[place.block_in_file]:
        num_rows = metadata.row_group(group).num_rows
        if row < num_rows:
            return replace(place, row_group=group, row_in_group=row)
        row -= num_rows
    return place
