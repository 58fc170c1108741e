"""Draws of one source -> the ranges of rows that a task reads.

Passes may differ in the rows that they read: the k-th draw of a source is row `k - (R_0 + ... + R_(p-1))` of pass p,
the first with which that is below R_p. Each pass takes the source's blocks in a new keyed order and the rows of a block
in their own order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        passes: rows of each block that can be drawn, int64[blocks], for each pass of a cycle; pass p reads those of
            p modulo their number. Every pass has a row.

    Example: passes of 3 and 2 rows: draws 0 to 2 are pass 0, 3 and 4 pass 1, 5 to 7 pass 2, which reads as pass 0.
    """

    def __init__(self, seed: int, source: str, passes: Sequence[np.ndarray]) -> None:
        self._seed = seed
        self._source = source
        self._passes = passes
        # int64[passes + 1]: draws of the cycle before each pass.
        self._borders = np.concatenate([[0], np.cumsum([int(rows.sum()) for rows in passes])])
        self._pass_number = -1
        self._blocks = np.empty(0, dtype=np.int64)
        self._stops = np.empty(0, dtype=np.int64)
        self.num_blocks = len(passes[0])

    @property
    def num_cycle_rows(self) -> int:
        """Draws after which the passes repeat."""
        return int(self._borders[-1])

    def locate(self, draw: int) -> tuple[int, int]:
        """The pass of a draw, and its row among those of the pass."""
        cycle, inside = divmod(draw, self.num_cycle_rows)
        number = int(np.searchsorted(self._borders, inside, side="right")) - 1
        return cycle * len(self._passes) + number, inside - int(self._borders[number])

    def first_draw(self, pass_number: int) -> int:
        """The first draw of a pass."""
        cycle, number = divmod(pass_number, len(self._passes))
        return cycle * self.num_cycle_rows + int(self._borders[number])

    def ranges(self, start: int, stop: int) -> Iterator[RowRange]:
        """The row ranges of the source's draws [start, stop), in draw order."""
        while start < stop:
            pass_number, row = self.locate(start)
            self._turn_to(pass_number)
            place = int(np.searchsorted(self._stops, row, side="right"))
            block = int(self._blocks[place])
            first = int(self._stops[place] - self._block_rows[block])
            taken = min(stop - start, int(self._stops[place]) - row)
            yield RowRange(pass_number=pass_number, block=block, start=row - first, stop=row - first + taken)
            start += taken

    def block_draws(self, block: int, pass_number: int) -> tuple[int, int]:
        """The draws [start, stop) that read a block on a pass: the inverse of `ranges`."""
        self._turn_to(pass_number)
        place = int(np.flatnonzero(self._blocks == block)[0])
        stop = self.first_draw(pass_number) + int(self._stops[place])
        return stop - int(self._block_rows[block]), stop

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
        if len(self._passes) == 1 and np.count_nonzero(self._passes[0]) == 1:  # one block has one order
            return draws % self.num_cycle_rows, (draws // self.num_cycle_rows).astype(np.int32)
        ranges = list(self.ranges(start, stop))
        lengths = [one.stop - one.start for one in ranges]
        begins = np.array([first_row[one.block] + one.start for one in ranges])
        within = np.arange(len(draws)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        passes = np.array([one.pass_number for one in ranges], dtype=np.int32)
        return np.repeat(begins, lengths) + within, np.repeat(passes, lengths)

    @property
    def _block_rows(self) -> np.ndarray:
        return self._passes[self._pass_number % len(self._passes)]

    def _turn_to(self, pass_number: int) -> None:
        """Compute the block order of a pass; tasks of one worker mostly stay on the same one."""
        if pass_number != self._pass_number:
            self._pass_number = pass_number
            self._blocks = rng.permutation(self.num_blocks, self._seed, "blocks", self._source, pass_number)
            self._stops = np.cumsum(self._block_rows[self._blocks])
