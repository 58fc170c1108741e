"""JAX: a loader of global arrays, sharded as the model needs them, whose state is the cursor.

    loader = TrainLoader("out/my-mixture", batch_size=64, sharding=NamedSharding(mesh, PartitionSpec("data")))
    loader.load_state_dict(checkpoint["data"])  # written on any mesh, any number of processes, any batch size
    for batch in loader:  # MaxText's names: inputs, targets, ..._position, ..._segmentation, int32[64, 8192]
        loss = train_step(batch["inputs"], batch["targets"], batch["inputs_segmentation"])
        checkpoint["data"] = loader.state_dict()  # seven values, the same in every process

`mixer.feed.grain` is for pipelines in Grain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mixer.errors import UsageError
from mixer.feed.cursor import Cursor
from mixer.feed.features import Features, to_features
from mixer.feed.sequences import SequenceSet, open_build
from mixer.feed.steps import Last, NumEpochs, Steps, check_unmoved, num_epochs

Arrays = dict[str, jax.Array]


class TrainLoader:
    """Batches of all processes together as global arrays, with the cursor as its state.

    Row i of a step's arrays is the i-th sequence of the step, on any mesh: processes and devices decide who reads a
    row, and never which rows there are. Each process reads the rows of its own devices alone, each row once.

    Args:
        build: a folder, a manifest, or an open build.
        batch_size: sequences of a step, over all processes.
        sharding: of an array [batch_size, L]; default: whole, on this process's first device.
        epochs: where it ends; default: after the build's epochs (its recipe's `epochs.count`); None: it does not end.
        last: `drop` or `pad`: what becomes of sequences at the end that fill no whole step; see `Steps`.
        seed: of the order; default: the recipe's.
        shuffle_shards: how many shards are read from at a time; default: all.
        across_documents: see `to_features`.

    Raises:
        UsageError: a step that is larger than all epochs together, or that the sharding does not divide.
    """

    def __init__(
        self,
        build: str | Path | SequenceSet,
        *,
        batch_size: int,
        sharding: jax.sharding.Sharding | None = None,
        epochs: NumEpochs = "build",
        last: Last = "drop",
        seed: int | None = None,
        shuffle_shards: int | None = None,
        across_documents: bool = False,
    ) -> None:
        self.sequences = build if isinstance(build, SequenceSet) else open_build(build)
        self.cursor = Cursor.start(self.sequences, seed=seed, shuffle_shards=shuffle_shards)
        self._order = self.cursor.order(self.sequences)
        self._steps = Steps(batch_size=batch_size, epochs=num_epochs(epochs, self.sequences.manifest), last=last)
        self._steps.check_fits(self.cursor)
        self._across_documents = across_documents
        self._shape = (batch_size, self.sequences.sequence_length)
        self._sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        try:
            parts = self._sharding.addressable_devices_indices_map(self._shape).values()
        except ValueError as error:
            raise UsageError(f"the sharding does not fit: {error}", where="sharding") from error
        self._parts = [part for part in parts if part is not None]

    def __iter__(self) -> Iterator[Arrays]:
        place = self.cursor
        for numbers in self._steps.iter_numbers(self._order, place):
            check_unmoved(self.cursor, place)
            arrays = self._arrays(numbers)
            place = self.cursor = place.advance(self._steps.num_sequences)
            yield arrays

    def _arrays(self, numbers: np.ndarray) -> Arrays:
        """The global arrays of a step, of which this process fills its own parts."""
        read: dict[tuple[int, int], Features] = {}
        for rows in {_bounds(part[0], len(numbers)) for part in self._parts}:
            batch = self.sequences.batch(numbers[slice(*rows)])
            read[rows] = to_features(batch, across_documents=self._across_documents)

        def array(name: str) -> jax.Array:
            def piece(part: Any) -> np.ndarray:
                rows, columns = part
                return read[_bounds(rows, len(numbers))][name][:, columns]

            # By place and not by process: a part that several devices hold, or a piece of each row, comes out right.
            return jax.make_array_from_callback(self._shape, self._sharding, piece)

        return {name: array(name) for name in next(iter(read.values()))}

    def state_dict(self) -> dict[str, Any]:
        """The cursor: the same in all processes; a few numbers."""
        return self.cursor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume at a checkpoint, on any mesh, number of processes and batch size, in the next iteration.

        Raises:
            CursorError: the checkpoint belongs to another build or order; the message says which.
        """
        self.cursor = self.cursor.resumed(state)


def _bounds(rows: slice, num_rows: int) -> tuple[int, int]:
    """The rows of a part of an array: [start, stop)."""
    start, stop, _ = rows.indices(num_rows)
    return start, stop
