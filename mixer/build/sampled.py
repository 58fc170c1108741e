"""A sample of a source whose contents are not all fetched: which rows, and what they tell of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixer import rng
from mixer.tokens.measure import measure_sample
from mixer.tokens.measurement import Measurement, measurement

if TYPE_CHECKING:
    from mixer.recipe import Recipe, Source
    from mixer.sources import Snapshot
    from mixer.tokens.tokenizer import Tokenizer

CELL_ROWS = 64
Window = tuple[int, int, int]
"""Of a file, by its number, the rows [start, stop)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContentsSample:
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

    @property
    def kept(self) -> Measurement:
        """The share of the rows that is kept, and its error: neighbours resemble one another, so a cell is one look."""
        kept = np.bincount(self.block_cell, self.snapshot.block_kept, len(self.cell_rows)).astype(np.int64)
        cells = np.repeat(np.arange(len(kept)), self.cell_rows)
        number_in_cell = np.arange(len(cells)) - np.repeat(np.cumsum(self.cell_rows) - self.cell_rows, self.cell_rows)
        return measurement(
            (number_in_cell < kept[cells]).astype(np.int64), cells, num_bytes=0, total_rows=self.num_rows
        )

    @property
    def num_kept(self) -> int:
        """The rows that the source will probably have with its text."""
        return max(1, round(self.num_rows * self.kept.tokens_per_row))

    def measured(self, name: str, source: Source, tokenizer: Tokenizer, recipe: Recipe) -> Measurement:
        """The tokens of a row.

        Raises:
            DataError: no row has any text.
        """
        return measure_sample(
            name,
            source,
            self.snapshot,
            tokenizer,
            recipe,
            block_cluster=self.block_cell,
            total_rows=max(self.num_kept, self.snapshot.num_kept),
        )


def sample_cells(file_rows: list[int], count: int, seed: int, name: str) -> list[list[Window]]:
    """Cells of 64 rows, chosen by a key, in their order: all of them where there are no more.

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
