"""Draws of one source -> the ranges of rows that a task reads.

The k-th draw of a source is row `k mod rows` of pass `k div rows`; each pass takes the source's blocks in a new
keyed order and the rows of a block in their own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mixer import rng


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Kept rows [start, stop) of one block, drawn on pass `pass_number` (from 0)."""

    pass_number: int
    block: int
    start: int
    stop: int


class BlockOrder:
    """The order in which one source's rows are drawn.

    Args:
        seed: the recipe's seed.
        source: the source's name, part of the key.
        block_rows: rows of each block that can be drawn; int64[blocks], sum > 0.
    """

    def __init__(self, seed: int, source: str, block_rows: np.ndarray) -> None:
        self._seed = seed
        self._source = source
        self._block_rows = block_rows
        self._pass_number = -1
        self._blocks = np.empty(0, dtype=np.int64)
        self._stops = np.empty(0, dtype=np.int64)
        self.num_rows = int(block_rows.sum())
        self.num_blocks = len(block_rows)

    def ranges(self, start: int, stop: int) -> Iterator[RowRange]:
        """The row ranges of the source's draws [start, stop), in draw order."""
        while start < stop:
            pass_number, row = divmod(start, self.num_rows)
            self._turn_to(pass_number)
            place = int(np.searchsorted(self._stops, row, side="right"))
            block = int(self._blocks[place])
            first = int(self._stops[place] - self._block_rows[block])
            taken = min(stop - start, int(self._stops[place]) - row)
            yield RowRange(pass_number=pass_number, block=block, start=row - first, stop=row - first + taken)
            start += taken

    def rows(self, start: int, stop: int, first_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the source's draws [start, stop), for a source that is small enough to be held whole.

        Args:
            start: the first draw.
            stop: behind the last draw.
            first_row: where each block's rows begin among all rows; int64[blocks].

        Returns:
            Row among all rows, and pass, of each draw: int64[draws], int32[draws].
        """
        draws = np.arange(start, stop, dtype=np.int64)
        if np.count_nonzero(self._block_rows) == 1:  # one block has one order
            return draws % self.num_rows, (draws // self.num_rows).astype(np.int32)
        ranges = list(self.ranges(start, stop))
        lengths = [one.stop - one.start for one in ranges]
        begins = np.array([first_row[one.block] + one.start for one in ranges])
        within = np.arange(len(draws)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        passes = np.array([one.pass_number for one in ranges], dtype=np.int32)
        return np.repeat(begins, lengths) + within, np.repeat(passes, lengths)

    def _turn_to(self, pass_number: int) -> None:
        """Compute the block order of a pass; tasks of one worker mostly stay on the same one."""
        if pass_number != self._pass_number:
            self._blocks = rng.permutation(len(self._block_rows), self._seed, "blocks", self._source, pass_number)
            self._stops = np.cumsum(self._block_rows[self._blocks])
            self._pass_number = pass_number
