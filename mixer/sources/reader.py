"""Read the kept rows of a source's blocks as text: any range, in order, in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.errors import DataError
from mixer.sources.files import reading
from mixer.sources.needs import needs_of
from mixer.sources.piece import Piece
from mixer.sources.pin import FORMATS
from mixer.sources.snapshot import Snapshot
from mixer.sources.text import documents, invalid_rows, text_bytes

if TYPE_CHECKING:
    from mixer.recipe import Source

MAX_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """Kept rows of a block, in order."""

    # LargeString[rows], null where a row has no text.
    text: pa.LargeStringArray
    # int64[rows], rising: ordinals in the snapshot, all rows counted.
    rows: np.ndarray
    # bool[rows]: rows that could not be read; their text is null.
    bad: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> Texts:
        """The rows [start, stop), without a copy."""
        return Texts(text=self.text[start:stop], rows=self.rows[start:stop], bad=self.bad[start:stop])


@dataclass(slots=True, kw_only=True)
class _Stream:
    """A block that is being read: what comes next, and what was decoded already."""

    block: int
    # The number, among the block's kept rows, of the first row of `rest`, or of what comes next.
    position: int
    rest: Texts | None
    chunks: Iterator[Texts]


class SourceReader:
    """Reads the kept rows of one source.

    The last block stays open where reading stopped, so that consecutive ranges cost no second decoding.

    Args:
        name: the source's name, for messages.
        source: its part of the recipe.
        snapshot: the source pinned.
        on_bad_row: "error" raises at the first row of a range that cannot be read, "skip" gives it as bad.
    """

    def __init__(self, name: str, source: Source, snapshot: Snapshot, on_bad_row: str = "error") -> None:
        self._name = name
        self._needs = needs_of(source)
        self._snapshot = snapshot
        self._on_bad_row = on_bad_row
        self._stream: _Stream | None = None
        self._reasons: dict[int, str] = {}

    def read(self, block: int, start: int, stop: int) -> Iterator[Texts]:
        """The kept rows [start, stop) of a block, in order.

        Chunks hold at most 16 MB of text; a longer document is a chunk by itself.

        Raises:
            ValueError: the range is not within the block.
            DataError: the file is not as it was pinned, cannot be read, or has a bad row in the range.
        """
        num_kept = int(self._snapshot.block_kept[block])
        if not 0 <= start <= stop <= num_kept:
            raise ValueError(f"rows [{start}, {stop}) of block {block}, which has {num_kept}")
        stream = self._stream
        if stream is None or stream.block != block or stream.position > start:
            self._reasons = {}
            stream = _Stream(block=block, position=start, rest=None, chunks=self._chunks(block, start))
            self._stream = stream
        while start < stop:
            chunk = stream.rest or next(stream.chunks, None)
            if chunk is None:
                raise self._too_few_rows(block, stream.position)
            skipped = min(start - stream.position, len(chunk))
            taken = min(stop - stream.position, len(chunk))
            stream.position += taken
            stream.rest = chunk.part(taken, len(chunk)) if taken < len(chunk) else None
            wanted = chunk.part(skipped, taken)
            if len(wanted):
                start += len(wanted)
                self._check_rows(block, wanted)
                yield wanted

    def _chunks(self, block: int, first: int) -> Iterator[Texts]:
        """The kept rows of a block from number `first` on, in chunks of at most 16 MB."""
        snapshot = self._snapshot
        file_index, block_in_file = int(snapshot.block_file[block]), int(snapshot.block_in_file[block])
        path = snapshot.base / snapshot.files[file_index].path
        with reading(path, block_in_file):
            self._check_unchanged(file_index)
            skip = first if self._needs.predicate is None else 0
            position = 0
            for piece in FORMATS[snapshot.format].read_block(path, block_in_file, self._needs, skip):
                if self._needs.predicate is None:
                    position = piece.first_row
                    kept = np.arange(len(piece.batch))
                else:
                    mask = self._needs.predicate.mask(piece.batch).to_numpy(zero_copy_only=False)
                    mask[list(piece.bad)] = True
                    kept = np.flatnonzero(mask)
                wanted = kept[max(0, first - position) :]
                position += len(kept)
                if len(wanted):
                    yield from _cut(self._texts(piece, wanted, int(snapshot.block_first_row[block])))

    def _texts(self, piece: Piece, wanted: np.ndarray, block_first_row: int) -> Texts:
        """The text of some rows of a piece."""
        batch = piece.batch
        if wanted[-1] - wanted[0] == len(wanted) - 1:
            batch = batch.slice(wanted[0], len(wanted))
        else:
            batch = batch.take(pa.array(wanted))
        text = documents(batch, self._needs)
        rows = wanted + (block_first_row + piece.first_row)
        bad = np.zeros(len(wanted), bool)
        reasons = {int(np.searchsorted(wanted, row)): reason for row, reason in piece.bad.items() if row in wanted}
        reasons |= dict.fromkeys(invalid_rows(text), "the text is not valid UTF-8")
        if reasons:
            bad[list(reasons)] = True
            text = pc.if_else(pa.array(bad), pa.scalar(None, text.type), text)
            for row, reason in reasons.items():
                line = "" if piece.lines is None else f" (line {piece.lines[wanted[row]]})"
                self._reasons[int(rows[row])] = f"{line}: {reason}"
        return Texts(text=text, rows=rows, bad=bad)

    def _check_rows(self, block: int, texts: Texts) -> None:
        if self._on_bad_row != "error" or not texts.bad.any():
            return
        row = int(texts.rows[texts.bad][0])
        snapshot = self._snapshot
        file_index = snapshot.block_file[block]
        first_block = np.searchsorted(snapshot.block_file, file_index)
        row_in_file = row - int(snapshot.block_first_row[first_block])
        raise DataError(
            f"row {row_in_file}{self._reasons[row]}; expected one record with text at '{self._needs.text_path}'",
            where=f"sources.{self._name}: {snapshot.base / snapshot.files[file_index].path}",
            hint="mend the row, or set on_bad_row: skip",
        )

    def _check_unchanged(self, file_index: int) -> None:
        file = self._snapshot.files[file_index]
        path = self._snapshot.base / file.path
        found = path.stat()
        mtimes = self._snapshot.mtimes_ns
        if found.st_size != file.num_bytes:
            what = f"it has {found.st_size} bytes, {file.num_bytes} were pinned"
        elif mtimes is not None and found.st_mtime_ns != mtimes[file_index]:
            what = "it was written to"
        else:
            return
        raise DataError(
            f"the file changed since it was pinned: {what}",
            where=f"sources.{self._name}: {path}",
            hint="bring the pinned file back, or plan a new build",
        )

    def _too_few_rows(self, block: int, position: int) -> DataError:
        snapshot = self._snapshot
        return DataError(
            f"the block ended after {position} kept rows; {snapshot.block_kept[block]} were pinned",
            where=f"sources.{self._name}: {snapshot.base / snapshot.files[snapshot.block_file[block]].path}: "
            f"block {snapshot.block_in_file[block]}",
            hint="the file changed, or `where` is not the one that was pinned: plan a new build",
        )


def _cut(texts: Texts) -> Iterator[Texts]:
    """Texts in parts of at most 16 MB each, or of one row."""
    ends = text_bytes(texts.text)
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(ends, ends[start] + MAX_CHUNK_BYTES, "right")) - 1
        stop = min(max(stop, start + 1), len(texts))
        yield texts.part(start, stop)
        start = stop
