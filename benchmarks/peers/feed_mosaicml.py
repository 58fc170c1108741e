"""MosaicML Streaming: MDS shards written by its `MDSWriter`, read by `StreamingDataset`.

Its default shuffle, `py1e`, permutes the shards, and moves each sequence by a bounded distance.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from feed_clock import BATCH, SEED, main

# The package's own __init__ imports torchvision, for data sets of images.
if found := importlib.util.find_spec("streaming"):
    package = sys.modules["streaming"] = ModuleType("streaming")
    package.__path__ = list(found.submodule_search_locations)
from streaming.base import MDSWriter, StreamingDataset


def write(sequences: np.ndarray, folder: Path) -> None:
    """Shards of the default size, uncompressed."""
    columns = {"input_ids": f"ndarray:int32:{sequences.shape[1]}"}
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for sequence in sequences:
            writer.write({"input_ids": np.asarray(sequence)})


def read(folder: Path, mode: str) -> tuple[Iterator[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Batches, int32."""
    rows = StreamingDataset(local=str(folder), shuffle=True, shuffle_seed=SEED, batch_size=BATCH)
    return _batches(rows), lambda batch: batch


def _batches(rows: StreamingDataset) -> Iterator[np.ndarray]:
    waiting = []
    for row in rows:
        waiting.append(row["input_ids"])
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


if __name__ == "__main__":
    main("mosaicml-streaming", write, read)
