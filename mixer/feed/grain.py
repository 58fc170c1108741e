"""Grain: a random-access source, and the training order as a data set whose state is the cursor.

    batches = iter(StepDataset("out/my-mixture", batch_size=8, rank=0, world=1))  # as jax.process_index() and _count()
    batches.set_state(checkpoint["data"])  # written by any number of processes, any batch size
    for batch in batches:  # MaxText's names: inputs, targets, ..._position, ..._segmentation, int32[8, 8192]
        loss = train_step(batch["inputs"], batch["targets"], batch["inputs_segmentation"])
        checkpoint["data"] = batches.get_state()  # seven values, the same in every process

`SequenceSource` is for pipelines with their own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np

from mixer.feed.cursor import Cursor
from mixer.feed.features import Features, to_features
from mixer.feed.sequences import SequenceSet, open_build
from mixer.feed.steps import Last, NumEpochs, Steps, num_epochs


class SequenceSource(grain.sources.RandomAccessDataSource):
    """Sequence i of a build as its features, int32[L] each; for `grain.DataLoader` and `grain.MapDataset.source`.

    Args:
        build: a folder, a manifest, or an open build.
        across_documents: see `to_features`.
    """

    def __init__(self, build: str | Path | SequenceSet, *, across_documents: bool = False) -> None:
        self.sequences = build if isinstance(build, SequenceSet) else open_build(build)
        self._across_documents = across_documents

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, number: int) -> Features:
        features = to_features(self.sequences[number], across_documents=self._across_documents)
        return {name: array[0] for name, array in features.items()}

    def __repr__(self) -> str:
        # Grain's DataLoader keeps it in checkpoints, and refuses one of another source.
        return f"SequenceSource({self.sequences.manifest.id!r}, across_documents={self._across_documents})"


class StepDataset(grain.IterDataset):
    """The steps of one process in training order: each item is a batch of features, int32[batch_size, L] each.

    The state of its iterators is the cursor: the same in all processes, for any number of processes and any batch
    size. Threads that read ahead (`grain.experimental.ThreadPrefetchIterDataset`) leave it so. With `mp_prefetch`
    worker w of W makes the steps that are w modulo W, and the state is Grain's: it wants as many workers again.

    Args:
        build: a folder, a manifest, or an open build.
        batch_size: sequences of this process in a step.
        rank: of `world` processes.
        world: processes that read together.
        epochs: where it ends; default: after the build's epochs (its recipe's `epochs.count`); None: it does not end.
        last: `drop` or `pad`: what becomes of sequences at the end that fill no whole step; see `Steps`.
        seed: of the order; default: the recipe's.
        shuffle_shards: how many shards are read from at a time; default: all.
        across_documents: see `to_features`.

    Raises:
        UsageError: a rank outside its world, or a step that is larger than all epochs together.
    """

    def __init__(
        self,
        build: str | Path | SequenceSet,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        epochs: NumEpochs = "build",
        last: Last = "drop",
        seed: int | None = None,
        shuffle_shards: int | None = None,
        across_documents: bool = False,
    ) -> None:
        super().__init__()
        self.sequences = build if isinstance(build, SequenceSet) else open_build(build)
        self.start = Cursor.start(self.sequences, seed=seed, shuffle_shards=shuffle_shards)
        self.steps = Steps(
            batch_size=batch_size, rank=rank, world=world, epochs=num_epochs(epochs, self.sequences.manifest), last=last
        )
        self.steps.check_fits(self.start)
        self.across_documents = across_documents
        self.own = slice(0, None, 1)

    def set_slice(self, sl: slice, sequential_slice: bool = False) -> None:
        """Make only every n-th step: Grain's protocol for the workers of `mp_prefetch`.

        Raises:
            ValueError: consecutive steps are asked for, which a run without end does not have.
        """
        if sequential_slice:
            raise ValueError("the steps of a run cannot be cut into consecutive parts: leave sequential_slice out")
        self.own = slice(sl.start or 0, None, sl.step or 1)

    def __iter__(self) -> grain.DatasetIterator[Features]:
        return _StepIterator(self)

    def __str__(self) -> str:
        return f"StepDataset({self.steps})"


class _StepIterator(grain.DatasetIterator[Features]):
    """An iterator over the steps of a data set; between two steps it is at a cursor."""

    def __init__(self, dataset: StepDataset) -> None:
        super().__init__()
        self._dataset = dataset
        self._order = dataset.start.order(dataset.sequences)
        self._cursor = dataset.start.advance(dataset.own.start * dataset.steps.num_sequences)
        self._numbers = self._numbers_from(self._cursor)

    def __next__(self) -> Features:
        self._assert_not_closed()
        dataset = self._dataset
        features = to_features(dataset.sequences.batch(next(self._numbers)), across_documents=dataset.across_documents)
        self._cursor = self._cursor.advance(dataset.own.step * dataset.steps.num_sequences)
        return features

    def get_state(self) -> dict[str, Any]:
        """The cursor."""
        return self._cursor.state_dict()

    def set_state(self, state: dict[str, Any]) -> None:
        """Resume at a checkpoint.

        Raises:
            CursorError: the checkpoint belongs to another build or order; the message says which.
        """
        self._cursor = self._cursor.resumed(state)
        self._numbers = self._numbers_from(self._cursor)

    def _numbers_from(self, cursor: Cursor) -> Iterator[np.ndarray]:
        return self._dataset.steps.iter_numbers(self._order, cursor, stride=self._dataset.own.step)

    def __str__(self) -> str:
        return f"StepIterator({self._dataset.steps})"
