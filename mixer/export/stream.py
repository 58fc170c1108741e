"""One file with the tokens of all shards end to end, which a later run can resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mixer.export.folder import OnShard, has_size
from mixer.feed.sequences import SequenceSet
from mixer.system.publish import publishing_in_parts


def write_end_to_end(
    path: Path, sequences: SequenceSet, dtype: np.dtype, read: Callable[[int], np.ndarray], on_shard: OnShard
) -> None:
    """Write one file with the tokens of all shards; it appears when it is complete.

    What an interrupted run wrote is kept, and gone on with.

    Args:
        path: the file.
        sequences: the build.
        dtype: what a token becomes.
        read: the tokens of a shard, as many as the manifest says.
        on_shard: told after each shard.
    """
    stops = np.cumsum([shard.tokens for shard in sequences.manifest.shards], dtype=np.int64) * dtype.itemsize
    if has_size(path, int(stops[-1])):
        return on_shard(len(stops))
    with publishing_in_parts(path) as file:
        # A shard is on the disk once the next one has begun: of the last one in the file that is not known.
        done = int(np.searchsorted(stops, os.fstat(file.fileno()).st_size))
        file.truncate(int(stops[done - 1]) if done else 0)
        for number in range(done, len(stops)):
            file.write(read(number).astype(dtype).data)
            file.sync()
            on_shard(number + 1)
