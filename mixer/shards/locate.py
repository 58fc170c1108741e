"""From the number of a sequence to its shard, record batch and row. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixer.shards.records import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place of a sequence: the shard's index in the manifest, the row in the shard; batch and row in that."""

    shard: int
    row: int
    batch: int
    row_in_batch: int


class Locator:
    """Places of the sequences of a build, numbered through all shards in the order of the manifest.

    Args:
        shard_sequences: sequences of each shard.
        batch_sequences: sequences of every record batch but a shard's last.

    Example: shards of 3 and 2 sequences in record batches of 2: sequence 4 is row 1 of shard 1, in its batch 0.
    """

    def __init__(self, shard_sequences: Sequence[int], batch_sequences: int) -> None:
        self.shard_sequences = np.array(shard_sequences, dtype=np.int64)
        # As lists: a batch asks for a few sequences, and numpy's functions cost more than they find.
        self._stops: list[int] = np.cumsum(self.shard_sequences).tolist()
        self._starts: list[int] = [0, *self._stops[:-1]]
        self._step = batch_sequences

    @classmethod
    def of(cls, manifest: Manifest) -> Locator:
        """The locator of a build."""
        return cls([shard.sequences for shard in manifest.shards], manifest.sequence.batch_sequences)

    @property
    def num_sequences(self) -> int:
        """Sequences of all shards."""
        return self._stops[-1] if self._stops else 0

    def first_of(self, shard: int) -> int:
        """The number of a shard's first sequence."""
        return self._starts[shard]

    def place(self, number: int) -> Place:
        """The place of a sequence; its number is in [0, num_sequences)."""
        shard = bisect_right(self._stops, number)
        row = number - self._starts[shard]
        batch, row_in_batch = divmod(row, self._step)
        return Place(shard=shard, row=row, batch=batch, row_in_batch=row_in_batch)

    def batches(self, numbers: Sequence[int]) -> list[tuple[int, int, int]]:
        """Shard, record batch and row in that of some sequences: what the feed asks for, as plain tuples."""
        stops, starts, step = self._stops, self._starts, self._step
        places = []
        for number in numbers:
            shard = bisect_right(stops, number)
            batch, row = divmod(number - starts[shard], step)
            places.append((shard, batch, row))
        return places
