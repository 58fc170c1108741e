"""The order of preference: a total order on rows, which decides whose copy stays (format.md, "Order of preference").

Of two rows the one comes first whose source is preferred: sources that `prefer` lists in its order, then all others by
name. Within a source the row comes first that has the greater value of `prefer_by` (null and NaN last), then the longer
text in bytes, then the smaller ordinal. A row's *place* is its number in this order, from 0.

    sources b, a; prefer [b]      rows of a: 0, 1    of b: 2, 3, 4
    bytes of text                            7  9          5  5  6
    rows in order: 4, 2, 3, 1, 0             places of rows 0 to 4: 4, 3, 1, 2, 0

The order is of all rows, whatever later steps keep: whoever drops rows leaves the order of the others as it is. Rows of
one source have neighbouring places, so a place says its source.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixer.curate.scratch import ScratchColumn

_CHUNK_ROWS = 1 << 24
"""Rows of a source that are sorted in memory at a time, about 100 bytes each; more are sorted by way of files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceKeys:
    """What decides the order of a source's rows, by ordinal: arrays or maps of files."""

    name: str
    # int64[rows], UTF-8 bytes of the text; 0 for a null.
    text_bytes: np.ndarray
    # float64[rows], NaN for a null; None where the source has no such column.
    prefer_by: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOrder:
    """The order of preference of all rows. A row is `first_row[source] + ordinal`."""

    # int64[sources + 1], rising: the first row of each source.
    first_row: np.ndarray
    # int64[sources]: the sources' numbers, the preferred first.
    preferred: np.ndarray
    # int64[rows]: the place of each row; an array or a map of a file.
    places: np.ndarray
    # int64[rows]: the row at each place, the inverse of `places`.
    rows: np.ndarray

    @property
    def num_rows(self) -> int:
        """Rows of all sources."""
        return len(self.rows)

    @property
    def num_sources(self) -> int:
        """Sources, those without rows too."""
        return len(self.preferred)

    def source_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The source of each row: int64."""
        return np.searchsorted(self.first_row, rows, side="right") - 1

    def source_of_places(self, places: np.ndarray) -> np.ndarray:
        """The source of the row at each place: int64."""
        sizes = np.diff(self.first_row)[self.preferred]
        return self.preferred[np.searchsorted(np.cumsum(sizes), places, side="right")]


def preferred_sources(names: Sequence[str], prefer: Sequence[str]) -> list[int]:
    """The numbers of sources in their order of preference.

    Args:
        names: each source's name, by number.
        prefer: names, the preferred first; one that is no source's makes no difference.
    """
    listed = {name: place for place, name in enumerate(prefer)}
    return sorted(range(len(names)), key=lambda number: (listed.get(names[number], len(listed)), names[number]))


def order_rows(sources: Sequence[PreferenceKeys], prefer: Sequence[str], *, scratch: Path | None = None) -> RowOrder:
    """The order of preference of the rows of some sources.

    Deterministic. Cost: sorting. Memory: 16 bytes a row and the chunk that is sorted; with a scratch folder the chunk
    alone, and on disk 16 bytes a row that the result maps, and 24 a row of the source at work.

    Args:
        sources: their keys, by number.
        prefer: names of sources, the preferred first.
        scratch: a folder for files, which must outlive the result.

    Raises:
        TaskError: the disk is full or failing.
    """
    sizes = [len(source.text_bytes) for source in sources]
    first_row = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
    preferred = preferred_sources([source.name for source in sources], prefer)
    places = ScratchColumn(sum(sizes), np.int64, scratch and scratch / "places")
    rows = ScratchColumn(sum(sizes), np.int64, scratch and scratch / "rows")
    first_place = 0
    for number in preferred:
        if sizes[number] <= _CHUNK_ROWS or scratch is None:
            in_order = _sorted(_keys(sources[number], 0, sizes[number]))
            rows.write(first_place, first_row[number] + in_order)
            places.write(int(first_row[number]), first_place + _inverse(in_order))
        else:
            _sort_by_files(sources[number], int(first_row[number]), first_place, rows, places, scratch)
        first_place += sizes[number]
    return RowOrder(
        first_row=first_row,
        preferred=np.array(preferred, dtype=np.int64),
        places=places.array(),
        rows=rows.array(),
    )


def descending_key(values: np.ndarray) -> np.ndarray:
    """Numbers whose rising order is the falling order of floats, NaN last; -0 equals 0.

    Args:
        values: float64.

    Returns:
        uint64: the bits of the float with all turned if it is positive or zero, but the sign; NaN: 2^64 - 1.
    """
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.uint64)  # -0 + 0 is 0
    sign = np.uint64(1 << 63)
    keys = np.where(bits & sign, bits, ~(bits | sign))
    keys[np.isnan(values)] = np.uint64(2**64 - 1)
    return keys


def _keys(source: PreferenceKeys, start: int, stop: int) -> np.ndarray:
    """Keys of some rows of a source, the first that differs decides: uint64[2, rows]."""
    keys = np.zeros((2, stop - start), dtype=np.uint64)
    if source.prefer_by is not None:
        keys[0] = descending_key(source.prefer_by[start:stop])
    np.invert(source.text_bytes[start:stop].astype(np.uint64), out=keys[1])
    return keys


def _sorted(keys: np.ndarray) -> np.ndarray:
    """The order of rows by their keys, ties as they stand: int64[rows]."""
    if keys.shape[1] and keys[0].min() == keys[0].max():
        return np.argsort(keys[1], kind="stable")
    return np.lexsort((keys[1], keys[0]))


def _inverse(permutation: np.ndarray) -> np.ndarray:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse


def _sort_by_files(
    source: PreferenceKeys, first_row: int, first_place: int, rows: ScratchColumn, places: ScratchColumn, scratch: Path
) -> None:
    """The same for a source that does not fit into memory: sorted chunks, then slices of all of them together.

    A slice ends at a row, not at a key, and rows differ by their ordinal: many equal keys make no slice larger.
    """
    size = len(source.text_bytes)
    columns = [ScratchColumn(size, np.uint64, scratch / f"sorting-{name}") for name in ("first", "second", "ordinal")]
    starts = list(range(0, size, _CHUNK_ROWS))
    for start in starts:
        keys = _keys(source, start, min(start + _CHUNK_ROWS, size))
        in_order = _sorted(keys)
        for column, values in zip(columns, (*keys, np.arange(start, start + len(in_order))), strict=True):
            column.write(start, values[in_order].astype(np.uint64))
    first, second, ordinal = (column.array() for column in columns)
    place = ScratchColumn(size, np.int64, scratch / "sorting-place")
    done = 0
    for slices in _slices([first, second, ordinal], starts):
        keys, ordinals = np.stack([_joined(first, slices), _joined(second, slices)]), _joined(ordinal, slices)
        in_order = _sorted(keys)  # ties stand by ordinal: so they do in each chunk, and the chunks do
        rows.write(first_place + done, first_row + ordinals[in_order].astype(np.int64))
        found = first_place + done + _inverse(in_order)
        for piece in slices:
            place.write(piece.start, found[: piece.stop - piece.start])
            found = found[piece.stop - piece.start :]
        done += len(in_order)
    by_key = place.array()
    for start in starts:
        chunk = slice(start, min(start + _CHUNK_ROWS, size))
        by_ordinal = np.empty(chunk.stop - start, dtype=np.int64)
        by_ordinal[ordinal[chunk].astype(np.int64) - start] = by_key[chunk]
        places.write(first_row + start, by_ordinal)
    for name in ("first", "second", "ordinal", "place"):
        (scratch / f"sorting-{name}").unlink()


def _joined(column: np.ndarray, slices: list[slice]) -> np.ndarray:
    return np.concatenate([column[piece] for piece in slices])


def _slices(columns: list[np.ndarray], starts: list[int]) -> list[list[slice]]:
    """Cuts through sorted chunks: all rows of a cut come before those of the next, and one has a chunk's rows at most.

    Every `step`-th row of each chunk is a sample, and a cut ends at every second, third, ... sample of all chunks
    together: it has the rows between these samples, and at most `step` more of each chunk.
    """
    size = len(columns[0])
    stops = [*starts[1:], size]
    step = max(1, _CHUNK_ROWS // (2 * len(starts)))

    def key(row: int) -> tuple[int, ...]:
        return tuple(int(column[row]) for column in columns)

    samples = sorted(key(row) for start, stop in zip(starts, stops, strict=True) for row in range(start, stop, step))
    borders = samples[:: max(1, _CHUNK_ROWS // (2 * step))][1:]
    cuts, before = [], starts
    for border in borders:
        after = [bisect_left(range(stop), border, lo=start, key=key) for start, stop in zip(before, stops, strict=True)]
        cuts.append([slice(*bounds) for bounds in zip(before, after, strict=True)])
        before = after
    cuts.append([slice(*bounds) for bounds in zip(before, stops, strict=True)])
    return cuts
