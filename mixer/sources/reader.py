"""Read the kept rows of a source's blocks as text: any range, in order, in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.errors import DataError
from mixer.sources.file_state import change_of
from mixer.sources.formats import FORMATS
from mixer.sources.formats.footer import footer_digest, read_footer
from mixer.sources.formats.piece import Piece
from mixer.sources.opening import OpenedFile, opened, reading
from mixer.sources.scan import ScanSpec, needs_of
from mixer.sources.snapshot import Snapshot, SourceFile
from mixer.sources.text import documents, invalid_rows, text_offsets

if TYPE_CHECKING:
    from mixer.recipe import Source
    from mixer.sources.prefetch import RemoteBlocks

MAX_CHUNK_BYTES = 16 << 20
MAX_OPEN_BYTES = 32 << 20
"""A block stays open behind a chunk of at most so many bytes: what decodes it holds on to that chunk."""

_INVALID = "the text is not valid UTF-8"
_ENCODING_HINT = "convert the file, as with iconv -f LATIN1 -t UTF-8, or set on_bad_row: skip"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """Kept rows of a block, in order."""

    # LargeString[rows]: null where a row has no text.
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
    """A block that is being read."""

    block: int
    # The number, among the block's kept rows, of the next row: the first of `rest`, else of the next chunk.
    position: int
    # What is decoded already.
    rest: Texts | None
    chunks: Iterator[Texts]
    # Bytes of text in the last chunk.
    last_bytes: int = 0


class SourceReader:
    """Reads the kept rows of one source, one range at a time.

    The last block stays open where reading stopped, so that consecutive ranges decode nothing twice.

    Args:
        name: the source's name, for messages.
        source: its part of the recipe.
        snapshot: the source pinned.
        on_bad_row: "error" raises at the first row of a range that cannot be read; "skip" gives it as bad.
        scan: what is read of each row; None: what the recipe says.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        snapshot: Snapshot,
        on_bad_row: str = "error",
        *,
        scan: ScanSpec | None = None,
    ) -> None:
        # What is read of each row.
        self.scan = scan or needs_of(name, source)
        if snapshot.kept_rows is not None:  # which knows what `where` keeps: its columns are not read again
            self.scan = replace(self.scan, predicate=None)
        self._snapshot = snapshot
        # Where the blocks of a remote source come from; None for a local one.
        self.remote = None if isinstance(snapshot.base, Path) else _remote_blocks(snapshot, self.scan)
        self._on_bad_row = on_bad_row
        self._stream: _Stream | None = None
        # What is wrong with the bad rows met in the open block, by ordinal.
        self._reasons: dict[int, str] = {}

    def read(self, block: int, start: int, stop: int) -> Iterator[Texts]:
        """The kept rows [start, stop) of a block, in order.

        Chunks hold at most 16 MB of text; a longer document is a chunk by itself.

        Raises:
            ValueError: the range is not within the block.
            DataError: the file changed since it was pinned, cannot be read, or has a bad row in the range.
        """
        num_kept = int(self._snapshot.block_kept[block])
        if not 0 <= start <= stop <= num_kept:
            raise ValueError(f"rows [{start}, {stop}) of block {block}, which has {num_kept}")
        stream, self._stream = self._stream, None
        if stream is None or stream.block != block or stream.position > start:
            self._reasons = {}
            stream = _Stream(block=block, position=start, rest=None, chunks=self._iter_chunks(block, start))
        while start < stop:
            chunk = stream.rest or next(stream.chunks, None)
            if chunk is None:
                raise self.too_few_rows(block, stream.position)
            stream.last_bytes = chunk.text.nbytes
            skipped, taken = min(start - stream.position, len(chunk)), min(stop - stream.position, len(chunk))
            stream.position += taken
            stream.rest = chunk.part(taken, len(chunk)) if taken < len(chunk) else None
            if skipped < taken:
                wanted = chunk.part(skipped, taken)
                start += len(wanted)
                self._check_rows(block, wanted)
                self._stream = stream  # Kept only while it is whole: not after an error, nor by a range within a range.
                yield wanted
                self._stream = None
        if stream.last_bytes <= MAX_OPEN_BYTES:
            self._stream = stream
        else:
            pa.default_memory_pool().release_unused()

    @property
    def open_block(self) -> int | None:
        """The block that is still open where reading stopped."""
        return None if self._stream is None else self._stream.block

    @contextmanager
    def pieces(self, block: int, first: int) -> Iterator[tuple[OpenedFile, Iterator[Piece]]]:
        """The file of a block, and all rows of the block from number `first` on, kept or not, in order.

        Raises:
            DataError: the file changed since it was pinned, or cannot be read.
        """
        scan = self.remote.needs_of(block) if self.remote else self.scan
        read_block = FORMATS[self._snapshot.format].read_block
        with self._opened(block) as file, reading(self._at(block)):
            yield file, read_block(file, int(self._snapshot.block_in_file[block]), scan, first)

    def _iter_chunks(self, block: int, first: int) -> Iterator[Texts]:
        """The kept rows of a block from number `first` on, in chunks."""
        if self._snapshot.kept_rows is not None:
            yield from self._iter_marked(block, np.flatnonzero(self._snapshot.kept_rows.mask(block))[first:])
            return
        predicate = self.scan.predicate
        with self.pieces(block, 0 if predicate else first) as (_, pieces):
            position = 0
            for piece in pieces:
                if predicate is None:
                    position, kept = piece.first_row, np.arange(len(piece.batch))
                else:
                    mask = predicate.mask(piece.batch).to_numpy(zero_copy_only=False)
                    mask[list(piece.bad)] = True
                    kept = np.flatnonzero(mask)
                wanted = kept[max(0, first - position) :]
                position += len(kept)
                if len(wanted):
                    yield from _cut(self.texts(block, piece, wanted))

    def _iter_marked(self, block: int, wanted: np.ndarray) -> Iterator[Texts]:
        """The rows of a block with these numbers (int64, rising), in chunks; reading ends behind the last one."""
        if not len(wanted):
            return
        with self.pieces(block, int(wanted[0])) as (_, pieces):
            for piece in pieces:
                start, stop = np.searchsorted(wanted, [piece.first_row, piece.first_row + len(piece.batch)])
                if start < stop:
                    yield from _cut(self.texts(block, piece, wanted[start:stop] - piece.first_row))
                if stop == len(wanted):
                    return

    def texts(self, block: int, piece: Piece, wanted: np.ndarray) -> Texts:
        """The text of some rows of a piece, given by their numbers in it (int64, rising)."""
        whole = len(wanted) == wanted[-1] - wanted[0] + 1
        batch = piece.batch.slice(wanted[0], len(wanted)) if whole else piece.batch.take(pa.array(wanted))
        text = documents(batch, self.scan.text)
        rows = wanted + (int(self._snapshot.block_first_row[block]) + piece.first_row)
        reasons = dict.fromkeys(wanted[invalid_rows(text)].tolist(), _INVALID)
        reasons |= {row: piece.bad[row] for row in set(piece.bad).intersection(wanted.tolist() if piece.bad else ())}
        bad = np.isin(wanted, list(reasons))
        if reasons:
            text = pc.if_else(pa.array(bad), pa.scalar(None, text.type), text)
        for row, reason in reasons.items():
            line = "" if piece.lines is None else f" (line {piece.lines[row]})"
            self._reasons[int(rows[0] - wanted[0] + row)] = f"{line}: {reason}"
        return Texts(text=text, rows=rows, bad=bad)

    def _check_rows(self, block: int, texts: Texts) -> None:
        """Raises: DataError: a row is bad and bad rows are errors."""
        if self._on_bad_row != "error" or not texts.bad.any():
            return
        row = int(texts.rows[texts.bad][0])
        first_block = int(np.searchsorted(self._snapshot.block_file, self._snapshot.block_file[block]))
        row_in_file = row - int(self._snapshot.block_first_row[first_block])
        paths = " and ".join(f"'{path}'" for path in self.scan.text_paths)
        raise DataError(
            f"row {row_in_file}{self._reasons[row]}; expected one record with text at {paths}",
            where=self._at(block),
            hint=_ENCODING_HINT if _INVALID in self._reasons[row] else "fix the row, or set on_bad_row: skip",
        )

    @contextmanager
    def _opened(self, block: int) -> Iterator[OpenedFile]:
        """An open file that holds the block at its own offset."""
        if self.remote:
            with self.remote.opened(block) as path, opened(path) as file:
                yield file
            return
        place = self._at(block)
        with reading(place), opened(self._path(block), place) as file:
            index = int(self._snapshot.block_file[block])
            states = self._snapshot.states
            if states is None:
                change = _change_of_pinned(file, self._snapshot.files[index], self._snapshot.format, place)
            else:
                change = change_of(states[index], file.state())
            if change is not None:
                raise DataError(
                    f"the file changed since it was pinned: {change}",
                    where=place,
                    hint="restore the pinned file and run the same command again, or plan a new build",
                )
            yield file

    def too_few_rows(self, block: int, position: int) -> DataError:
        """The error for a block with fewer rows than pinned."""
        return DataError(
            f"the block ended after {position} kept rows; {self._snapshot.block_kept[block]} were pinned",
            where=self._at(block),
            hint="the file or its `where` changed since it was pinned: plan a new build",
        )

    def _path(self, block: int) -> Path:
        assert isinstance(self._snapshot.base, Path)
        return self._snapshot.base / self._snapshot.files[self._snapshot.block_file[block]].path

    def _at(self, block: int) -> str:
        file = self.remote.needs_of(block).at(Path()) if self.remote else self.scan.at(self._path(block))
        return f"{file}: block {self._snapshot.block_in_file[block]}"


def _change_of_pinned(file: OpenedFile, pinned: SourceFile, format: str, place: str) -> str | None:
    """How a local file differs from the pinned one, by its size and its footer, if it has one."""
    num_bytes = file.state().num_bytes
    if num_bytes != pinned.num_bytes:
        return f"{pinned.num_bytes} bytes then, {num_bytes} bytes now"
    footer = None if pinned.footer_sha256 is None else read_footer(file, format, place)
    if footer is not None and footer_digest(footer) != pinned.footer_sha256:
        return "its footer is another one"
    return None


def _remote_blocks(snapshot: Snapshot, scan: ScanSpec) -> RemoteBlocks:
    from mixer.sources.prefetch import RemoteBlocks  # with the clients of stores: not for local files

    return RemoteBlocks(snapshot, scan)


def _cut(texts: Texts) -> Iterator[Texts]:
    """Texts in parts of at most 16 MB, or of one row."""
    ends, start = text_offsets(texts.text), 0
    while start < len(texts):
        fitting = int(np.searchsorted(ends, ends[start] + MAX_CHUNK_BYTES, "right")) - 1
        stop = min(max(fitting, start + 1), len(texts))
        yield texts.part(start, stop)
        start = stop
