"""LitData: chunks of tokens written by its `optimize`, read by `StreamingDataset` and `TokensLoader`, shuffled.

It shuffles the chunks, and the sequences inside each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from feed_clock import BATCH, SEED, main
from litdata import StreamingDataset, TokensLoader, optimize

_CHUNK_SEQUENCES = 2_048


class _Ids:
    """The ids of one sequence, by its number; pickled into LitData's writing process."""

    def __init__(self, sequences: np.ndarray) -> None:
        self._path, self._shape = sequences.base.filename, sequences.shape

    def __call__(self, number: int) -> torch.Tensor:
        ids = np.memmap(self._path, dtype=np.int32, mode="r", shape=self._shape)
        return torch.from_numpy(ids[number].copy())


def write(sequences: np.ndarray, folder: Path) -> None:
    """One worker, chunks of whole sequences: 64 MiB at 8192 ids."""
    length = sequences.shape[1]
    optimize(
        fn=_Ids(sequences),
        inputs=list(range(len(sequences))),
        output_dir=str(folder),
        chunk_size=_CHUNK_SEQUENCES * length,
        num_workers=1,
        reorder_files=False,
        item_loader=TokensLoader(block_size=length),
        verbose=False,
    )
    (folder / "length").write_text(str(length))


def read(folder: Path, mode: str) -> tuple[Iterator[torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    """Batches, int32."""
    length = int((folder / "length").read_text())
    rows = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=length), shuffle=True, seed=SEED)
    return _batches(rows), lambda batch: batch


def _batches(rows: StreamingDataset) -> Iterator[torch.Tensor]:
    # What DataLoader's collation does, without the rest of it.
    waiting = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == BATCH:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)


if __name__ == "__main__":
    main("litdata", write, read)
