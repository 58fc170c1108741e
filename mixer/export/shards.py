"""A shard of the build as arrays: all its columns, and its sequences as one stream."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mixer.errors import IntegrityError
from mixer.feed.mapped import check_shard
from mixer.feed.sequences import SequenceSet
from mixer.packing.columns import Columns
from mixer.shards.shard import REBUILD_HINT, open_shard, read_columns


def token_dtype(vocab_size: int, wide: str = "<u4") -> np.dtype:
    """The narrowest type that holds every id, little-endian: two bytes, or `wide`."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else wide)


def read_shard(sequences: SequenceSet, number: int) -> Columns:
    """All of one shard; memory: its size.

    Its digest is checked: what is exported has no manifest that would tell of a damage later.

    Raises:
        IntegrityError: it is missing, or differs from the manifest.
    """
    entry = sequences.manifest.shards[number]
    path = sequences.folder / entry.path
    check_shard(path, entry, "digest")
    try:
        return read_columns(open_shard(path).read_all())
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"cannot read the shard: {error}", where=str(path), hint=REBUILD_HINT) from error


def stream_of(columns: Columns) -> np.ndarray:
    """The sequences end to end without padding: int32[tokens]. Pure."""
    length = columns.input_ids.shape[1]
    if not columns.num_pad.any():
        return columns.input_ids.reshape(-1)
    return columns.input_ids[np.arange(length) < length - columns.num_pad[:, None]]
