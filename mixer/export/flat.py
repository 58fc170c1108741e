"""`bin`: one file of token ids and nothing else, as nanoGPT and its kin map it with `np.memmap`.

The format is that of nanoGPT's `data/openwebtext/prepare.py`; nanoGPT itself expects uint16 in `train.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixer.export.folder import OnShard
from mixer.export.shards import read_shard, stream_of, token_dtype
from mixer.export.stream import write_end_to_end
from mixer.feed.sequences import SequenceSet


def write_flat(sequences: SequenceSet, folder: Path, on_shard: OnShard) -> np.dtype:
    """Write `train.bin`: all sequences in the order of the manifest, end to end, without padding.

    Returns:
        The type of its ids: uint16, or uint32 where the vocabulary is larger.
    """
    dtype = token_dtype(sequences.manifest.tokenizer.vocab_size)

    def read(number: int) -> np.ndarray:
        return stream_of(read_shard(sequences, number))

    write_end_to_end(folder / "train.bin", sequences, dtype, read, on_shard)
    return dtype
