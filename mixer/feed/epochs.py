"""The start and end of each epoch in the one stream of sequences that a run reads. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixer.shards.records import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """The epochs of a build of `num_sequences`, which are cut into `num_parts` as equal as can be.

    Epoch e reads part e modulo `num_parts`: all sequences in mode reshuffle (one part); in mode redraw the ones that
    its own draws made, until these come round again.

    Example: 10 sequences in 3 parts: epochs 0, 1, 2, 3 read 0-2, 3-5, 6-9, 0-2.
    """

    num_sequences: int
    num_parts: int = 1

    @classmethod
    def of(cls, manifest: Manifest) -> Epochs:
        """The epochs of a build."""
        return cls(num_sequences=manifest.totals.sequences, num_parts=manifest.epochs.num_parts)

    def part(self, epoch: int) -> tuple[int, int]:
        """The sequences that an epoch reads: [start, stop)."""
        number = epoch % self.num_parts
        return self._border(number), self._border(number + 1)

    def begin(self, epoch: int) -> int:
        """The number of sequences in the epochs before this one."""
        rounds, number = divmod(epoch, self.num_parts)
        return rounds * self.num_sequences + self._border(number)

    def locate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The epoch, and the position in it, at some places of the stream: int64 both, the shape of `places`."""
        rounds, inside = np.divmod(np.asarray(places, dtype=np.int64), self.num_sequences)
        # The last part whose first sequence is not after this one.
        number = ((inside + 1) * self.num_parts - 1) // self.num_sequences
        return rounds * self.num_parts + number, inside - number * self.num_sequences // self.num_parts

    def _border(self, number: int) -> int:
        return number * self.num_sequences // self.num_parts
