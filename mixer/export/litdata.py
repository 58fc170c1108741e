"""`litdata`: sequences as blocks of tokens, read by LitData's `StreamingDataset` and by LitGPT.

    from litdata import StreamingDataset, TokensLoader

    rows = StreamingDataset("out/litdata", item_loader=TokensLoader(block_size=8192 + 1), shuffle=True)
    rows[0]  # int32[8193]: inputs are all but the last, targets all but the first

LitGPT asks for blocks of one token more than the model's length, for the targets. So a block here is a sequence and the
id that follows it: no block spans two sequences, and labels lose no position.

The format is described in the project, in `litdata/streaming/writer.py` (`BinaryWriter`): a chunk is the number of
items and their offsets (uint32), then the items; `index.json` has the chunks, with `dim` tokens each, and how to
decode them: `no_header_tensor` and the number of a type in `litdata/constants.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mixer.export.folder import OnShard
from mixer.export.samples import FILE_BYTES, FilePart, offset_table, parts_of, publish_parts
from mixer.export.shards import token_dtype
from mixer.feed.sequences import SequenceSet
from mixer.packing.columns import NO_ID, Columns
from mixer.system.publish import publish_bytes

_DTYPE_CODES = {"int32": 16, "uint16": 20}
_ONE_TENSOR = '[1, {"type": null, "context": null, "children_spec": []}]'
"""An item that is a tensor, and no tree of them: a tree's specification as torch writes it."""


def write_litdata(sequences: SequenceSet, folder: Path, on_shard: OnShard, file_bytes: int = FILE_BYTES) -> np.dtype:
    """Write `chunk-0-N.bin` and `index.json`; an item is a sequence with its padding, and the id after it.

    Where nothing follows, and after padding, that id is the padding's: a target to be left out of the loss.

    Returns:
        The type of the ids: uint16, or int32 where the vocabulary is larger; LitData knows no uint32.
    """
    manifest, tokenizer = sequences.manifest, sequences.manifest.tokenizer
    dtype = token_dtype(tokenizer.vocab_size, wide="<i4")
    block = manifest.sequence.length + 1

    def path_of(number: int) -> Path:
        return folder / f"chunk-0-{number}.bin"

    def encode(columns: Columns) -> bytes:
        following = np.where(columns.next_id == NO_ID, tokenizer.pad_id, columns.next_id)
        items = np.concatenate([columns.input_ids, following[:, None]], axis=1).astype(dtype)
        return offset_table(np.full(len(items), items[0].nbytes)) + items.tobytes()

    def entry(number: int, part: FilePart) -> dict[str, Any]:
        path, count = path_of(number), part.num_sequences
        return {"chunk_bytes": path.stat().st_size, "chunk_size": count, "dim": count * block, "filename": path.name}

    parts = parts_of(manifest, dtype.itemsize, file_bytes)
    publish_parts(sequences, parts, path_of, encode, on_shard)
    index = {
        "chunks": [entry(number, part) for number, part in enumerate(parts)],
        "config": {
            "chunk_bytes": max(file_bytes, FILE_BYTES),
            "chunk_size": None,
            "compression": None,
            "data_format": [f"no_header_tensor:{_DTYPE_CODES[dtype.name]}"],
            "data_spec": _ONE_TENSOR,
            "encryption": None,
            "item_loader": "TokensLoader",
        },
        # LitData keeps what it has downloaded until this string changes. The id does when the content does.
        "updated_at": manifest.id,
    }
    publish_bytes(folder / "index.json", json.dumps(index, sort_keys=True).encode())
    return dtype
