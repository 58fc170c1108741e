"""The limit: one bare file of ids, mapped, and batches copied out of it by a random permutation.

Mode `loader-2` is the limit of a torch DataLoader with two workers: it does the same in them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from feed_clock import BATCH, SEED, main, stored


def write(sequences: np.ndarray, folder: Path) -> None:
    """The file as it is, and beside it the length of a sequence."""
    folder.mkdir()
    shutil.copyfile(sequences.base.filename, folder / "ids.bin")
    (folder / "length").write_text(str(sequences.shape[1]))


def read(folder: Path, mode: str) -> tuple[Iterable[Any], Callable[[Any], Any]]:
    """Batches, int32."""
    # A plain array over the map: numpy's memmap class makes every slice slower.
    ids = np.asarray(stored(folder / "ids.bin", int((folder / "length").read_text())))
    if not mode:
        return (ids[numbers] for numbers in _numbers(len(ids))), lambda batch: batch
    import torch
    from torch.utils.data import DataLoader

    class Batches(torch.utils.data.Dataset):
        def __getitem__(self, numbers: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(ids[numbers])

    loader = DataLoader(Batches(), sampler=_numbers(len(ids)), batch_size=None, num_workers=2)
    return loader, lambda batch: batch


def _numbers(num_sequences: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng(SEED).permutation(num_sequences)
    for start in range(0, num_sequences, BATCH):
        yield order[start : start + BATCH]


if __name__ == "__main__":
    main("numpy", write, read)
