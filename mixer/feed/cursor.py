"""The cursor: where a run is, in a few numbers that mean the same on any number of ranks.

A run reads its epochs one after the other as one stream, each in its own order. The cursor counts the sequences that
all ranks together have consumed; nothing in it belongs to a rank, so a run may go on with other ranks, workers or
batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixer.errors import CursorError, UsageError
from mixer.feed.epochs import Epochs
from mixer.feed.order import Order
from mixer.feed.sequences import SequenceSet

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A build, an order of training, and a place in it. Immutable: `advance` gives the next one.

    `manifest` is the id of the build's manifest; `seed` and `window` are the order's.
    """

    manifest: str
    seed: int
    window: int | None
    epochs: Epochs
    epoch: int = 0
    consumed: int = 0

    @classmethod
    def start(cls, sequences: SequenceSet, *, seed: int | None = None, window: int | None = None) -> Cursor:
        """The beginning of the first epoch; the seed is the recipe's unless given.

        Raises:
            UsageError: the build has no sequences.
        """
        if not len(sequences):
            raise UsageError("the build has no sequences to train on", where=str(sequences.folder))
        start = cls(
            manifest=sequences.manifest.id,
            seed=sequences.manifest.seed if seed is None else seed,
            window=window,
            epochs=Epochs.of(sequences.manifest),
        )
        return start.advance(0)  # past a first epoch without sequences: more epochs are redrawn than there are of them

    def advance(self, num_sequences: int) -> Cursor:
        """The cursor after all ranks together have consumed so many more sequences."""
        epoch, consumed = self.epochs.locate(np.array(self.place + num_sequences))
        return replace(self, epoch=int(epoch), consumed=int(consumed))

    @property
    def place(self) -> int:
        """Sequences consumed since the beginning of the first epoch."""
        return self.epochs.begin(self.epoch) + self.consumed

    def order(self, sequences: SequenceSet) -> Order:
        """The order of training that this cursor is a place in."""
        return Order(sequences.shard_sequences, self.seed, self.window, num_parts=self.epochs.num_parts)

    def state_dict(self) -> dict[str, Any]:
        """The few values that a checkpoint keeps: JSON, nothing per rank."""
        return {
            "version": _VERSION,
            "manifest": self.manifest,
            "seed": self.seed,
            "window": self.window,
            "epoch": self.epoch,
            "consumed": self.consumed,
        }

    def resumed(self, state: Mapping[str, Any]) -> Cursor:
        """This run's cursor, moved to where a checkpoint was.

        Raises:
            CursorError: the checkpoint is of another build or order, damaged, or of a newer mixer; the message says
                which.
        """
        expected = self.state_dict()
        if set(state) != set(expected) or state.get("version") != _VERSION:
            raise CursorError(
                f"not a cursor of version {_VERSION}: it has {', '.join(sorted(map(str, state)))}",
                hint="use the mixer that wrote the checkpoint, or a newer one",
            )
        for key, meaning in (("manifest", "build"), ("seed", "order"), ("window", "order")):
            if state[key] != expected[key]:
                raise CursorError(
                    f"the checkpoint belongs to another {meaning}: its {key} is {state[key]}, "
                    f"here it is {expected[key]}",
                    hint="open the build that the run began with, with the same seed and window",
                )
        epoch, consumed = state["epoch"], state["consumed"]
        if not (isinstance(epoch, int) and isinstance(consumed, int) and epoch >= 0 and consumed >= 0):
            raise CursorError(f"the checkpoint says {consumed!r} sequences of epoch {epoch!r}, which cannot be")
        start, stop = self.epochs.part(epoch)
        if consumed >= stop - start:
            raise CursorError(
                f"the checkpoint says {consumed:,} sequences of epoch {epoch}, which has {stop - start:,}"
            )
        return replace(self, epoch=epoch, consumed=consumed)


def stream(order: Order, cursor: Cursor, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The epoch and the sequence at some places of the stream.

    Args:
        order: the order of training.
        cursor: where the places are counted from.
        offsets: int64, places after the cursor, from 0.

    Returns:
        Epoch and sequence of each place: int64 both.
    """
    epochs, positions = cursor.epochs.locate(cursor.place + np.asarray(offsets, dtype=np.int64))
    found = np.empty(len(positions), dtype=np.int64)
    for epoch in np.unique(epochs).tolist():
        here = epochs == epoch
        found[here] = order.sequences(epoch, positions[here])
    return epochs, found


def rank_offsets(steps: np.ndarray, *, rank: int, world: int, batch: int) -> np.ndarray:
    """The places after a cursor that one rank takes in some steps: int64[steps, batch].

    Ranks take turns in the global order: a step consumes world x batch sequences, of which rank r takes those whose
    place is r modulo world.

    Args:
        steps: which steps, counted from the cursor; int64[steps].
        rank: of `world` ranks.
        world: how many ranks there are.
        batch: sequences of a rank in a step.

    Raises:
        UsageError: the rank is not one of the world, or a number is not positive.
    """
    if world < 1 or batch < 1 or not 0 <= rank < world:
        raise UsageError(f"rank {rank} of {world} with batches of {batch}", hint="ranks count from 0; batches from 1")
    return steps[:, None].astype(np.int64) * (world * batch) + np.arange(batch, dtype=np.int64) * world + rank
