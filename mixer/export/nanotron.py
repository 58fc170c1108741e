"""`nanotron`: `.ds` files as datatrove's `DocumentTokenizer` writes them, read by nanotron and datatrove.

The format is that of datatrove's `src/datatrove/pipeline/tokens/tokenizer.py` (`TokenizedFile`); its reader is
`DatatroveFolderDataset`, on which nanotron's `Nanoset` is built.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixer.export.documents import documents_of
from mixer.export.folder import OnShard, has_size
from mixer.export.shards import read_shard, token_dtype
from mixer.feed.sequences import SequenceSet
from mixer.system.publish import publish_bytes


def write_nanotron(sequences: SequenceSet, folder: Path, on_shard: OnShard) -> np.dtype:
    """Write for each shard `NNNNN.ds`, the ids; `.ds.index`, where documents end; `.ds.metadata`, three lines.

    Returns:
        The type of the ids: uint16 (`token_size=2`), or uint32 (4) where the vocabulary is larger.
    """
    tokenizer = sequences.manifest.tokenizer
    dtype = token_dtype(tokenizer.vocab_size)
    name = tokenizer.name.replace("|", "_")  # which ends the name in the metadata
    for number, shard in enumerate(sequences.manifest.shards):
        path = folder / f"{number:05}.ds"
        metadata_path = folder / f"{path.name}.metadata"  # the last of the three
        num_tokens = shard.tokens
        if not (metadata_path.exists() and has_size(path, num_tokens * dtype.itemsize)):
            documents = documents_of(read_shard(sequences, number))
            publish_bytes(path, documents.ids.astype(dtype).tobytes())
            publish_bytes(folder / f"{path.name}.index", documents.stops.astype("<u8").tobytes())
            lines = [f"{name}|{dtype.itemsize}", str(num_tokens), f"{num_tokens / 1e6:.2f} MT"]
            publish_bytes(metadata_path, "\n".join(lines).encode())
        on_shard(number + 1)
    return dtype
