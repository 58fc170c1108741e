"""`megatron`: `train.bin` and `train.idx` (MMIDIDX, version 1), read by Megatron-LM's `IndexedDataset`.

The format is that of `megatron/core/datasets/indexed_dataset.py` (`_IndexWriter`); give training the path without an
ending: `--data-path out/megatron/train`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from mixer.export.documents import documents_of
from mixer.export.folder import OnShard, has_size
from mixer.export.shards import read_shard, token_dtype
from mixer.export.stream import write_end_to_end
from mixer.feed.sequences import SequenceSet
from mixer.system.publish import publishing

_DTYPE_CODES = {"uint16": 8, "int32": 4}
_CHUNK_DOCUMENTS = 1 << 20


def write_megatron(sequences: SequenceSet, folder: Path, on_shard: OnShard) -> np.dtype:
    """Write the documents, each as one of Megatron's sequences; memory: a shard, and four bytes a document.

    Returns:
        The type of the ids: uint16, or int32 where the vocabulary is larger; Megatron knows no uint32.
    """
    manifest, index_path = sequences.manifest, folder / "train.idx"
    dtype = token_dtype(manifest.tokenizer.vocab_size, wide="<i4")
    if index_path.exists() and has_size(folder / "train.bin", manifest.totals.tokens * dtype.itemsize):
        on_shard(len(manifest.shards))
        return dtype
    lengths: dict[int, np.ndarray] = {}

    def read(number: int) -> np.ndarray:
        documents = documents_of(read_shard(sequences, number))
        lengths[number] = documents.lengths().astype("<i4")
        return documents.ids

    write_end_to_end(folder / "train.bin", sequences, dtype, read, on_shard)
    numbers = range(len(manifest.shards))
    for number in numbers:
        if number not in lengths:  # written by an earlier run
            read(number)
    _publish_index(index_path, np.concatenate([lengths[number] for number in numbers]), dtype)
    return dtype


def _publish_index(path: Path, lengths: np.ndarray, dtype: np.dtype) -> None:
    """Header, then of each document: its length, where it begins in bytes; then the documents' borders."""
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, _DTYPE_CODES[dtype.name], len(lengths), len(lengths) + 1)
    with publishing(path) as file:
        file.write(header)
        file.write(lengths.data)
        for chunk in chain(_begins(lengths, dtype.itemsize), _borders(len(lengths))):
            file.write(chunk.data)


def _begins(lengths: np.ndarray, itemsize: int) -> Iterator[np.ndarray]:
    """The byte at which each document begins: int64[documents] in chunks."""
    begin = 0
    for start in range(0, len(lengths), _CHUNK_DOCUMENTS):
        stops = begin + np.cumsum(lengths[start : start + _CHUNK_DOCUMENTS], dtype="<i8") * itemsize
        yield np.concatenate([[begin], stops[:-1]]).astype("<i8")
        begin = int(stops[-1])


def _borders(num_documents: int) -> Iterator[np.ndarray]:
    """0 to the number of documents: one of Megatron's sequences each."""
    for start in range(0, num_documents + 1, _CHUNK_DOCUMENTS):
        yield np.arange(start, min(start + _CHUNK_DOCUMENTS, num_documents + 1), dtype="<i8")
