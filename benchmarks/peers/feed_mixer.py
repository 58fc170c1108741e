"""mixer: the build as it is, in the order of its first epoch, in the modes of `MODES`. `mixer build` has written it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from feed_clock import BATCH, main

import mixer.feed


def read(folder: Path, mode: str) -> tuple[Iterable[Any], Callable[[Any], Any]]:
    """Batches as the mode says."""
    return MODES[mode](folder)


def _ids(folder: Path) -> tuple[Iterable[Any], Callable[[Any], Any]]:
    """The ids alone, int32."""
    sequences = mixer.feed.open(folder)
    return (sequences.ids(numbers) for numbers in _numbers(sequences)), lambda batch: batch


def _batch(folder: Path) -> tuple[Iterable[Any], Callable[[Any], Any]]:
    """Ids int32 with borders and provenance, and labels int64."""
    sequences = mixer.feed.open(folder)
    batches = (sequences.batch(numbers) for numbers in _numbers(sequences))
    return ((batch, batch.labels()) for batch in batches), lambda made: made[0].input_ids


def _loader(folder: Path, num_workers: int) -> tuple[Iterable[Any], Callable[[Any], Any]]:
    """Tensors of ids and labels, int64, from a torch DataLoader."""
    from mixer.feed.torch import TrainLoader

    loader = TrainLoader(folder, batch_size=BATCH, epochs=1, rank=0, world=1, num_workers=num_workers)
    return loader, lambda batch: batch["input_ids"]


def _numbers(sequences: mixer.feed.SequenceSet) -> Iterator[np.ndarray]:
    order = mixer.feed.Cursor.start(sequences).order(sequences)
    numbers = order.sequences(0, np.arange(len(sequences)))
    for start in range(0, len(numbers), BATCH):
        yield numbers[start : start + BATCH]


MODES: dict[str, Callable[[Path], tuple[Iterable[Any], Callable[[Any], Any]]]] = {
    "ids": _ids,
    "batch": _batch,
    "loader": partial(_loader, num_workers=0),
    "loader-2": partial(_loader, num_workers=2),
}

if __name__ == "__main__":
    main("mixer", None, read)
