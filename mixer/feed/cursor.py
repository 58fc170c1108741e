"""The cursor: the position of a run, in a few numbers that mean the same on any number of ranks.

A run reads its epochs one after the other as one stream, each in its own order. The cursor counts the sequences that
all ranks together have consumed; nothing in it belongs to a rank, so a run may resume with other ranks, workers or
batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixer.errors import CursorError, UsageError
from mixer.feed.epochs import Epochs
from mixer.feed.integers import MOST, check_whole, shown
from mixer.feed.order import Order
from mixer.feed.sequences import SequenceSet

_VERSION = 2
_ORDER = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A build, an order of training, and a place in it. Immutable: `advance` gives the next one.

    `manifest` is the id of the build's manifest; `seed` and `shuffle_shards` are the order's.
    """

    manifest: str
    seed: int
    shuffle_shards: int | None
    epochs: Epochs
    epoch: int = 0
    consumed: int = 0

    @classmethod
    def start(cls, sequences: SequenceSet, *, seed: int | None = None, shuffle_shards: int | None = None) -> Cursor:
        """The beginning of the first epoch; the seed is the recipe's unless given.

        Raises:
            UsageError: the build has no sequences, or a number is not a whole number.
        """
        if not len(sequences):
            raise UsageError("the build has no sequences to train on", where=str(sequences.folder))
        start = cls(
            manifest=sequences.manifest.id,
            seed=sequences.manifest.seed if seed is None else check_whole(seed, "seed", least=-MOST),
            shuffle_shards=None if shuffle_shards is None else check_whole(shuffle_shards, "shuffle_shards", least=1),
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
        return Order(sequences.shard_sequences, self.seed, self.shuffle_shards, num_parts=self.epochs.num_parts)

    def state_dict(self) -> dict[str, Any]:
        """The few values that a checkpoint keeps: JSON, nothing per rank."""
        return {
            "version": _VERSION,
            "order": _ORDER,
            "manifest": self.manifest,
            "seed": self.seed,
            "shuffle_shards": self.shuffle_shards,
            "epoch": self.epoch,
            "consumed": self.consumed,
        }

    def resumed(self, state: Mapping[str, Any]) -> Cursor:
        """This run's cursor, moved to the place of a checkpoint.

        Raises:
            CursorError: the checkpoint is damaged, or of another build, order or version; the message says
                which.
        """
        if not isinstance(state, Mapping):
            raise CursorError(f"not a cursor: it is {shown(state)}", hint="pass the value that state_dict returned")
        expected = self.state_dict()
        version = state.get("version")
        if type(version) is not int or version != _VERSION:
            raise CursorError(
                f"the cursor is of version {shown(version)}; this mixer reads {_VERSION}",
                hint="use the version of mixer that wrote the checkpoint: the order may differ in others",
            )
        if set(state) != set(expected):
            raise CursorError(
                f"not a cursor of version {_VERSION}: it has {', '.join(sorted(map(shown, state)))}",
                hint="pass the value that state_dict returned",
            )
        for key, meaning in (("manifest", "build"), ("order", "order"), ("seed", "order"), ("shuffle_shards", "order")):
            # True == 1 == 1.0, and none but the 1 was written here.
            if type(state[key]) is not type(expected[key]) or state[key] != expected[key]:
                raise CursorError(
                    f"the checkpoint belongs to another {meaning}: its {key} is {shown(state[key])}, "
                    f"here it is {expected[key]}",
                    hint="open the build that the run began with, with the same seed and shuffle_shards",
                )
        epoch, consumed = state["epoch"], state["consumed"]
        if not (type(epoch) is int and type(consumed) is int and epoch >= 0 and consumed >= 0):
            raise CursorError(
                f"the checkpoint says {shown(consumed)} sequences of epoch {shown(epoch)}, which is impossible",
                hint="the checkpoint is damaged: use an older one",
            )
        start, stop = self.epochs.part(epoch)
        if self.epochs.begin(epoch) > MOST:
            raise CursorError(
                f"the checkpoint says epoch {shown(epoch)}, which no run reaches",
                hint="the checkpoint is damaged: use an older one",
            )
        if consumed >= stop - start:
            raise CursorError(
                f"the checkpoint says {shown(consumed)} sequences of epoch {shown(epoch)}, which has {stop - start:,}",
                hint="the checkpoint is damaged: use an older one",
            )
        return replace(self, epoch=epoch, consumed=consumed)


def stream(order: Order, cursor: Cursor, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The epochs and the sequences at some places of the stream.

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
        UsageError: the rank is not one of the world, or a number is not a positive whole one.
    """
    for value, name in ((rank, "rank"), (world, "world"), (batch, "batch_size")):
        check_whole(value, name, least=-MOST)
    check_whole(int(world) * int(batch), "world x batch_size", least=-MOST)
    if world < 1 or batch < 1 or not 0 <= rank < world:
        raise UsageError(
            f"rank {rank} of {world} with batches of {batch} is impossible", hint="ranks start at 0, batch sizes at 1"
        )
    return steps[:, None].astype(np.int64) * (world * batch) + np.arange(batch, dtype=np.int64) * world + rank
