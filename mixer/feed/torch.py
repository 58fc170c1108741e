"""PyTorch: a map-style data set, an iterable of steps, and a loader whose state is the cursor.

    loader = TrainLoader("out/my-mixture", batch_size=8, num_workers=2)  # rank and world from torch.distributed
    loader.load_state_dict(checkpoint["loader"])  # written by any number of ranks, workers, any batch size
    for batch in loader:  # {"input_ids", "labels"}, int64[8, 8192]
        loss = train_step(batch["input_ids"], batch["labels"])
        checkpoint["loader"] = loader.state_dict()  # seven values, the same on every rank

`mixer.feed.hf` is for Hugging Face's trainer, `mixer.feed.torchtitan` for torchtitan.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from mixer.errors import CursorError
from mixer.feed.cursor import Cursor
from mixer.feed.integers import MOST, check_whole, shown
from mixer.feed.order import Order
from mixer.feed.sequences import Batch, SequenceSet, open_build
from mixer.feed.steps import Last, NumEpochs, Steps, check_unmoved, num_epochs

Tensors = dict[str, torch.Tensor]


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


class SequenceDataset(Dataset[Tensors]):
    """Map-style: sequence i of the build is `{"input_ids", "labels"}`, int64[L] each; for your own samplers."""

    def __init__(self, sequences: SequenceSet, *, across_documents: bool = True) -> None:
        self.sequences = sequences
        self._across_documents = across_documents

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, number: int) -> Tensors:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[Tensors]:
        """Several at once, as DataLoader asks for a batch."""
        tensors = to_tensors(self.sequences[numbers], across_documents=self._across_documents)
        return [{name: tensor[row] for name, tensor in tensors.items()} for row in range(len(numbers))]


class StepDataset(IterableDataset[Tensors]):
    """The steps of one rank, in training order: each item is a whole batch, so use `batch_size=None`.

    Worker w of W makes the steps that are w modulo W, which a DataLoader puts in order again. It follows torchdata's
    protocol (`state_dict`, `load_state_dict`), so a StatefulDataLoader with as many workers can hold its state. Each
    iteration begins at the cursor, or where a state that was just loaded says.

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
        self._sequences = sequences
        self._cursor = cursor
        self._steps = Steps(batch_size=batch_size, rank=rank, world=world)
        self._num_steps = None if num_steps is None else check_whole(num_steps, "num_steps")
        self._form = {"across_documents": across_documents, "borders": borders}
        self._done = 0
        self._resumed = False

    def __iter__(self) -> Iterator[Tensors]:
        if not self._resumed:
            self._done = 0  # a worker that stays for another iteration has made steps ahead that nobody was handed
        self._resumed = False
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        order = self._cursor.order(self._sequences)
        first = self._done * workers + number
        for own in self._steps.iter_numbers(order, self._cursor, first=first, stride=workers, stop=self._num_steps):
            self._done += 1
            yield to_tensors(self._sequences.batch(own), **self._form)
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """The number of steps that this worker has made, and the cursor before them."""
        return {"done": self._done, "cursor": self._cursor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume after the steps of a state.

        Raises:
            CursorError: the state belongs to another build, order or start.
        """
        if not isinstance(state, Mapping) or set(state) != {"done", "cursor"}:
            raise CursorError(
                f"not a state of this data set: it is {shown(state)}", hint="pass the value that state_dict returned"
            )
        if self._cursor.resumed(state["cursor"]) != self._cursor:
            raise CursorError("the state starts at another cursor", hint="use TrainLoader to change ranks or workers")
        done = state["done"]
        if type(done) is not int or not 0 <= done <= MOST // self._steps.num_sequences:
            raise CursorError(
                f"the state says {shown(done)} steps, which is impossible",
                hint="the state is damaged: use an older one",
            )
        self._done = done
        self._resumed = True


class TrainLoader:
    """Batches for one rank, for some epochs or without end, with the cursor as its state.

    The state counts what was handed out, not what workers have made ahead, and is the same on every rank. Workers are
    told which sequences to read, batch by batch, and know nothing of the run: with `persistent_workers` they stay for
    the next iteration, from wherever it begins, until `close`.

    Args:
        build: a folder, a manifest, or an open build.
        batch_size: sequences of this rank in a step.
        rank: default: torch.distributed's, or RANK, or 0.
        world: default: torch.distributed's, or WORLD_SIZE, or 1.
        epochs: where it ends; default: after the build's epochs (its recipe's `epochs.count`); None: it does not end.
        last: `drop` or `pad`: what becomes of sequences at the end that fill no whole step of all ranks; see `Steps`.
        seed: of the order; default: the recipe's.
        shuffle_shards: how many shards are read from at a time; default: all.
        across_documents: see `to_tensors`.
        borders: see `to_tensors`.
        loader: further arguments of DataLoader: num_workers, pin_memory, persistent_workers, prefetch_factor, ...

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
        epochs: NumEpochs = "build",
        last: Last = "drop",
        seed: int | None = None,
        shuffle_shards: int | None = None,
        across_documents: bool = True,
        borders: bool = False,
        **loader: Any,
    ) -> None:
        self.sequences = build if isinstance(build, SequenceSet) else open_build(build)
        self.rank, self.world = _ranks(rank, world)
        self.cursor = Cursor.start(self.sequences, seed=seed, shuffle_shards=shuffle_shards)
        self._steps = Steps(
            batch_size=batch_size,
            rank=self.rank,
            world=self.world,
            epochs=num_epochs(epochs, self.sequences.manifest),
            last=last,
        )
        self._steps.check_fits(self.cursor)
        self._batches = _Batches(self.sequences, across_documents=across_documents, borders=borders)
        order = self.cursor.order(self.sequences)
        self._numbers = _Numbers(steps=self._steps, order=order, cursor=self.cursor)
        # DataLoader draws a seed for its workers: not from the generator that the model's dropout draws from.
        self._arguments = {"generator": torch.Generator(), **loader}
        self._loader = self._data_loader()
        # An iterator that is dropped takes its workers with it, so the loader keeps none alive.
        self._iterations: weakref.WeakSet[Generator[Tensors]] = weakref.WeakSet()

    def __len__(self) -> int:
        steps = self._steps.left(self.cursor)
        if steps is None:
            raise TypeError("the loader has no end: leave epochs out, or give their number")
        return steps

    def __iter__(self) -> Iterator[Tensors]:
        iteration = self._iterate()
        self._iterations.add(iteration)
        return iteration

    def _iterate(self) -> Generator[Tensors]:
        place = self._numbers.cursor = self.cursor
        for batch in self._loader:
            check_unmoved(self.cursor, place)
            place = self.cursor = place.advance(self._steps.num_sequences)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The cursor: the same on all ranks; a few numbers."""
        return self.cursor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume at a checkpoint, on any number of ranks and workers and any batch size, in the next iteration.

        Raises:
            CursorError: the checkpoint belongs to another build or order; the message says which.
        """
        self.cursor = self.cursor.resumed(state)

    def close(self) -> None:
        """End all iterations, stop all workers and release all maps; the next iteration starts them again."""
        for iteration in list(self._iterations):
            iteration.close()
        self._loader = self._data_loader()
        self.sequences.close()

    def _data_loader(self) -> DataLoader[Tensors]:
        return DataLoader(self._batches, sampler=self._numbers, batch_size=None, **self._arguments)


class _Batches(Dataset[Tensors]):
    """The batch of some sequences: what a worker makes."""

    def __init__(self, sequences: SequenceSet, **form: bool) -> None:
        self._sequences, self._form = sequences, form

    def __getitem__(self, numbers: np.ndarray) -> Tensors:
        return to_tensors(self._sequences.batch(numbers), **self._form)


@dataclass(slots=True, kw_only=True)
class _Numbers:
    """The numbers of each step from a cursor on: what a DataLoader calls its sampler, and iterates over itself."""

    steps: Steps
    order: Order
    cursor: Cursor

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.steps.iter_numbers(self.order, self.cursor)


def _ranks(rank: int | None, world: int | None) -> tuple[int, int]:
    """This process's rank and the number of ranks: as given, or torch.distributed's, or the launcher's."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if rank is None:
        rank = torch.distributed.get_rank() if distributed else int(os.environ.get("RANK", "0"))
    if world is None:
        world = torch.distributed.get_world_size() if distributed else int(os.environ.get("WORLD_SIZE", "1"))
    return rank, world
