"""The steps of a run: the sequences of each rank in each step, and the last step of the run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np

from mixer.errors import UsageError
from mixer.feed.cursor import Cursor, rank_offsets, stream
from mixer.feed.integers import check_whole
from mixer.feed.order import Order
from mixer.shards.records import Manifest

Last = Literal["drop", "pad"]
NumEpochs = int | Literal["build"] | None
"""Where a run ends: after so many epochs, after those of the `build` (its recipe's `epochs.count`), or None: never."""
MOST_EPOCHS = 1_000_000
_NUMBERS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How a run cuts the one stream of sequences into steps; a step takes `world` x `batch_size` of them.

    A step may be larger than an epoch, and there may be more ranks than sequences: it then goes on into the next
    epoch, and a sequence can be in it twice. The world need not divide the number of sequences: a step takes the end of
    one epoch and the beginning of the next.

    Args:
        batch_size: sequences of a rank in a step.
        rank: of `world` ranks.
        world: ranks that read together.
        epochs: how many epochs the run has, how_many from the first; None: it does not end.
        last: what becomes of sequences at the end that fill no whole step of all ranks: `drop` them, or `pad` the step
            with the first ones of another epoch.

    Raises:
        UsageError: the rank is not one of the world, a number is not positive, or `last` is neither.
    """

    batch_size: int
    rank: int = 0
    world: int = 1
    epochs: int | None = None
    last: Last = "drop"

    def __post_init__(self) -> None:
        rank_offsets(np.arange(0), rank=self.rank, world=self.world, batch=self.batch_size)
        if self.last not in ("drop", "pad"):
            raise UsageError(f"last is {self.last!r}; expected drop or pad", where="last")
        if self.epochs is not None:
            check_whole(self.epochs, "epochs", least=1, most=MOST_EPOCHS)

    @property
    def num_sequences(self) -> int:
        """Sequences that all ranks together take in a step."""
        return self.world * self.batch_size

    def check_fits(self, start: Cursor) -> None:
        """Refuse a run without a single step.

        Args:
            start: the beginning of the first epoch.

        Raises:
            UsageError: a step is larger than all epochs together, and an incomplete step is dropped.
        """
        if self.epochs is not None and not self.left(start):
            epochs = "the one epoch" if self.epochs == 1 else f"all {self.epochs} epochs"
            raise UsageError(
                f"a step of {self.world} ranks x {self.batch_size} is larger than {epochs} of the run, "
                f"{how_many(start.epochs.begin(self.epochs), 'sequence')}",
                hint="use a smaller batch, fewer ranks, more epochs, or last='pad'",
            )

    def left(self, cursor: Cursor) -> int | None:
        """The number of steps left after a cursor; None if the run has no end."""
        if self.epochs is None:
            return None
        sequences = max(0, cursor.epochs.begin(self.epochs) - cursor.place)
        return sequences // self.num_sequences if self.last == "drop" else -(-sequences // self.num_sequences)

    def iter_numbers(
        self, order: Order, cursor: Cursor, *, first: int = 0, stride: int = 1, stop: int | None = None
    ) -> Iterator[np.ndarray]:
        """The sequences of this rank, step by step: int64[batch_size] each.

        Args:
            order: the order of training.
            cursor: where step 0 begins.
            first: the first step to give.
            stride: give every stride-th step from there.
            stop: the step to stop before; None: where the run ends.
        """
        left = self.left(cursor)
        stops = [one for one in (stop, left) if one is not None]
        # Numbers of some steps at once: for a few positions, the order costs more than the sequences.
        at_once = max(1, _NUMBERS_AT_ONCE // self.batch_size) * stride
        for begin in count(first, at_once):
            steps = np.arange(begin, min([begin + at_once, *stops]), stride)
            if len(steps) == 0:
                return
            offsets = rank_offsets(steps, rank=self.rank, world=self.world, batch=self.batch_size)
            _, numbers = stream(order, cursor, offsets.reshape(-1))
            yield from numbers.reshape(offsets.shape)


def num_epochs(epochs: NumEpochs, manifest: Manifest) -> int | None:
    """The number of epochs that a caller means; None: the run does not end.

    Raises:
        UsageError: it is neither a number from 1 on, nor `build`, nor None.
    """
    if epochs is None:
        return None
    return manifest.epochs.count if epochs == "build" else check_whole(epochs, "epochs", least=1, most=MOST_EPOCHS)


def how_many(count: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def check_unmoved(cursor: Cursor, place: Cursor) -> None:
    """Refuse to continue an iteration whose loader was moved.

    Args:
        cursor: where the loader is.
        place: where the iteration left it.

    Raises:
        UsageError: they are not one object.
    """
    if cursor is not place:
        raise UsageError(
            "the loader was moved while it was iterated over, by load_state_dict or a second iteration",
            hint="start a new iteration after load_state_dict, and run one iteration at a time",
        )
