"""A sample of rows that refer to text: cells of neighbouring rows, with equal chances for all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixer import rng
from mixer.sources.snapshot import Snapshot

CELL_ROWS = 64
FileRows = tuple[int, int, int]
"""Of a file, by its number, the rows [start, stop)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSample:
    """Some rows of a source with their text, in cells of neighbouring rows."""

    # Of the files with the text: the rows that are kept of those that were read.
    snapshot: Snapshot
    # int64[blocks]: the cell that each block's rows are of.
    block_cell: np.ndarray
    # int64[cells]: rows that were read of each.
    cell_rows: np.ndarray
    # Of the whole source.
    num_rows: int

    @property
    def num_read(self) -> int:
        """Rows that were read."""
        return int(self.cell_rows.sum())


def sample_cells(file_rows: list[int], count: int, seed: int, name: str) -> list[list[FileRows]]:
    """Cells of 64 rows, chosen by a key, in their order: all cells if there are no more.

    The rows of all files, one after the other, are cut into cells, so that every row is as likely as any other; a cell
    may have rows of several files.
    """
    total = sum(file_rows)
    num_cells = -(-total // CELL_ROWS)
    chosen = np.sort(rng.permutation(num_cells, seed, "contents", name)[:count])
    stops = np.cumsum(file_rows)
    cells = []
    for first in (chosen * CELL_ROWS).tolist():
        cell, place, end = [], first, min(first + CELL_ROWS, total)
        while place < end:
            file = int(np.searchsorted(stops, place, side="right"))
            begin = int(stops[file]) - file_rows[file]
            stop = min(end, int(stops[file]))
            cell.append((file, place - begin, stop - begin))
            place = stop
        cells.append(cell)
    return cells
