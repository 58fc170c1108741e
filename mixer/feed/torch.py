"""PyTorch: a map-style data set, an iterable of steps, and a loader whose state is the cursor.

loader = TrainLoader("out/my-mixture", batch_size=8, num_workers=2)      # rank and world from torch.distributed
loader.load_state_dict(checkpoint["loader"])                             # any number of ranks, workers, batches
for batch in loader:
    loss = model(batch["input_ids"], labels=batch["labels"]) ...
    checkpoint["loader"] = loader.state_dict()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from mixer.errors import CursorError, UsageError
from mixer.feed.cursor import Cursor, rank_offsets, stream
from mixer.feed.sequences import Batch, SequenceSet, open_build

Tensors = dict[str, torch.Tensor]
_NUMBERS_AT_ONCE = 4096


def to_tensors(batch: Batch, *, across_documents: bool = True, borders: bool = False) -> Tensors:
    """A batch as tensors.

    Args:
        batch: n sequences of L tokens.
        across_documents: whether a document's last token is to predict the next document's first.
        borders: add what attention within documents needs.

    Returns:
        `input_ids`, `labels` int64[n, L]; with `borders` `position_ids` int64[n, L], `cu_seqlens` int32[runs + 1] over
        the n sequences end to end, and `max_seqlen` int64[].
    """
    arrays = {"input_ids": batch.input_ids.astype(np.int64), "labels": batch.labels(across_documents=across_documents)}
    if borders:
        arrays |= {
            "position_ids": batch.position_ids(),
            "cu_seqlens": batch.cu_seqlens(),
            "max_seqlen": np.array(batch.max_seqlen()),
        }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class SequenceDataset(Dataset):
    """Map-style: sequence i of the build is `{"input_ids", "labels"}`, int64[L] each; for samplers of your own."""

    def __init__(self, sequences: SequenceSet, *, across_documents: bool = True) -> None:
        self.sequences = sequences
        self._across_documents = across_documents

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, number: int) -> Tensors:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[Tensors]:
        """Several at once, as DataLoader asks for a batch."""
        tensors = to_tensors(self.sequences[np.array(numbers)], across_documents=self._across_documents)
        return [{name: tensor[row] for name, tensor in tensors.items()} for row in range(len(numbers))]


class StepDataset(IterableDataset):
    """The steps of one rank, in training order: each item is a whole batch, so use `batch_size=None`.

    Worker w of W makes the steps that are w modulo W, which a DataLoader puts in order again. It follows torchdata's
    protocol (`state_dict`, `load_state_dict`), so a StatefulDataLoader with as many workers can hold its state.

    Args:
        sequences: the build.
        cursor: where the first step begins.
        batch_size: sequences of this rank in a step.
        rank: of `world` ranks.
        world: ranks that read together.
        num_steps: how many steps there are; None: no end.
        across_documents: see `to_tensors`.
        borders: see `to_tensors`.
    """

    def __init__(
        self,
        sequences: SequenceSet,
        cursor: Cursor,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        num_steps: int | None = None,
        across_documents: bool = True,
        borders: bool = False,
    ) -> None:
        rank_offsets(np.arange(0), rank=rank, world=world, batch=batch_size)
        self._sequences = sequences
        self._cursor = cursor
        self._batch_size, self._rank, self._world = batch_size, rank, world
        self._num_steps = num_steps
        self._form = {"across_documents": across_documents, "borders": borders}
        self._done = 0

    def __iter__(self) -> Iterator[Tensors]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        order = self._cursor.order(self._sequences)
        while True:
            # Numbers of some steps at once: for a few positions, the order costs more than the sequences.
            first = self._done * workers + number
            stop = first + max(1, _NUMBERS_AT_ONCE // self._batch_size) * workers
            steps = np.arange(first, stop if self._num_steps is None else min(stop, self._num_steps), workers)
            if len(steps) == 0:
                self._done = 0
                return
            offsets = rank_offsets(steps, rank=self._rank, world=self._world, batch=self._batch_size)
            _, numbers = stream(order, self._cursor, offsets.reshape(-1))
            for own in numbers.reshape(offsets.shape):
                self._done += 1
                yield to_tensors(self._sequences.batch(own), **self._form)

    def state_dict(self) -> dict[str, Any]:
        """How many steps this worker has made, and since which cursor."""
        return {"done": self._done, "cursor": self._cursor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the steps of a state.

        Raises:
            CursorError: the state is of another build, order or beginning.
        """
        if self._cursor.resumed(state["cursor"]) != self._cursor:
            raise CursorError("the state began at another cursor", hint="use TrainLoader to change ranks or workers")
        self._done = state["done"]


class TrainLoader:
    """Batches for one rank, endless or for some epochs, with the cursor as its state.

    The state counts what was handed out, not what workers have made ahead, and is the same on every rank.

    Args:
        build: a folder, a manifest, or an open build.
        batch_size: sequences of this rank in a step.
        rank: default: torch.distributed's, or RANK, or 0.
        world: default: torch.distributed's, or WORLD_SIZE, or 1.
        epochs: where it ends; None: it does not. The recipe's `epochs.count` is in the manifest.
        last: what becomes of sequences at the end that fill no whole step of all ranks: `drop` them, or `pad` the step
            with the first ones of another epoch.
        seed: of the order; default: the recipe's.
        window: shards read from at a time; default: all.
        num_workers: processes that make batches ahead; 0: none.
        across_documents: see `to_tensors`.
        borders: see `to_tensors`.
        loader: further arguments of DataLoader, such as pin_memory or prefetch_factor.

    Raises:
        UsageError: a rank outside its world, or a step that is larger than all epochs together.
    """

    def __init__(
        self,
        build: str | Path | SequenceSet,
        *,
        batch_size: int,
        rank: int | None = None,
        world: int | None = None,
        epochs: int | None = None,
        last: Literal["drop", "pad"] = "drop",
        seed: int | None = None,
        window: int | None = None,
        num_workers: int = 0,
        across_documents: bool = True,
        borders: bool = False,
        **loader: Any,
    ) -> None:
        self.sequences = build if isinstance(build, SequenceSet) else open_build(build)
        self.rank, self.world = _ranks(rank, world)
        self._step_sequences = self.world * batch_size
        if last not in ("drop", "pad"):
            raise UsageError(f"last is {last!r}; it is drop or pad", where="last")
        self._end = None if epochs is None else epochs * len(self.sequences)
        if self._end is not None and last == "drop" and self._step_sequences > self._end:
            raise UsageError(
                f"a step of {self.world} ranks x {batch_size} is larger than {epochs} epochs of "
                f"{len(self.sequences):,} sequences",
                hint="use a smaller batch, fewer ranks, more epochs, or last='pad'",
            )
        self._last = last
        self.cursor = Cursor.start(self.sequences, seed=seed, window=window)
        self._dataset: dict[str, Any] = {
            "batch_size": batch_size,
            "rank": self.rank,
            "world": self.world,
            "across_documents": across_documents,
            "borders": borders,
        }
        rank_offsets(np.arange(0), rank=self.rank, world=self.world, batch=batch_size)
        self._loader = {"num_workers": num_workers, **loader}

    def __len__(self) -> int:
        steps = self._steps_left()
        if steps is None:
            raise TypeError("the loader has no end: give it a number of epochs")
        return steps

    def __iter__(self) -> Iterator[Tensors]:
        dataset = StepDataset(self.sequences, self.cursor, num_steps=self._steps_left(), **self._dataset)
        for batch in DataLoader(dataset, batch_size=None, **self._loader):
            self.cursor = self.cursor.advance(self._step_sequences)
            yield batch

    def _steps_left(self) -> int | None:
        if self._end is None:
            return None
        left = max(0, self._end - self.cursor.epoch * len(self.sequences) - self.cursor.consumed)
        return left // self._step_sequences if self._last == "drop" else -(-left // self._step_sequences)

    def state_dict(self) -> dict[str, Any]:
        """The cursor: the same on all ranks; a few numbers."""
        return self.cursor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was, on any number of ranks, workers, and any batch size.

        Raises:
            CursorError: the checkpoint is of another build or order; the message says which.
        """
        self.cursor = self.cursor.resumed(state)


def _ranks(rank: int | None, world: int | None) -> tuple[int, int]:
    """This process's rank and the number of ranks: as given, or torch.distributed's, or the launcher's."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if rank is None:
        rank = torch.distributed.get_rank() if distributed else int(os.environ.get("RANK", "0"))
    if world is None:
        world = torch.distributed.get_world_size() if distributed else int(os.environ.get("WORLD_SIZE", "1"))
    return rank, world
