"""`mds`: sequences as samples of MosaicML Streaming, read by its `StreamingDataset` and by LLM Foundry.

    from streaming import StreamingDataset

    rows = StreamingDataset(local="out/mds", batch_size=8, shuffle=True)
    rows[0]["tokens"]  # int32[8192]

The format is documented at docs.mosaicml.com, "Streaming", "Dataset format", and is what `MDSWriter`
(`streaming/base/format/mds/writer.py`) writes: a file is the number of samples and their offsets (uint32), the shard's
columns as JSON, then the samples. A sample is the sizes of its columns of varying size, then all columns, by name.
`index.json` has an entry a file.
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
from mixer.packing.columns import Columns
from mixer.system.publish import publish_bytes


def write_mds(sequences: SequenceSet, folder: Path, on_shard: OnShard, file_bytes: int = FILE_BYTES) -> np.dtype:
    """Write `shard.NNNNN.mds` and `index.json`; a sample is a sequence with its padding.

    Its columns: `tokens`, the name that LLM Foundry looks for; `next_id` and `num_pad`, as in format.md, so that
    labels lose no position; `cu_seqlens`, the bytes of an int32 array, for attention within documents. As bytes,
    because the default collate of a DataLoader makes a list of them and cannot stack arrays of different lengths.

    Returns:
        The type of `tokens`: uint16, or int32 where the vocabulary is larger; torch does little with uint32.
    """
    manifest = sequences.manifest
    dtype = token_dtype(manifest.tokenizer.vocab_size, wide="<i4")
    columns = {
        "cu_seqlens": ("bytes", None),
        "next_id": ("int32", 4),
        "num_pad": ("int32", 4),
        "tokens": (
            f"ndarray:{dtype.name}:{manifest.sequence.length}",
            manifest.sequence.length * dtype.itemsize,
        ),
    }
    header = {
        "column_encodings": [encoding for encoding, _ in columns.values()],
        "column_names": list(columns),
        "column_sizes": [size for _, size in columns.values()],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": max(file_bytes, FILE_BYTES),
        "version": 2,
    }

    def path_of(number: int) -> Path:
        return folder / f"shard.{number:05}.mds"

    def encode(part: Columns) -> bytes:
        return _encode(part, dtype, _sorted_json(header))

    def entry(number: int, part: FilePart) -> dict[str, Any]:
        path = path_of(number)
        data = {"basename": path.name, "bytes": path.stat().st_size, "hashes": {}}
        return {**header, "raw_data": data, "samples": part.num_sequences, "zip_data": None}

    parts = parts_of(manifest, dtype.itemsize, file_bytes)
    publish_parts(sequences, parts, path_of, encode, on_shard)
    index = {"shards": [entry(number, part) for number, part in enumerate(parts)], "version": 2}
    publish_bytes(folder / "index.json", _sorted_json(index))
    return dtype


def _encode(columns: Columns, dtype: np.dtype, header: bytes) -> bytes:
    """A file of samples. Pure."""
    num_runs = np.diff(columns.run_offsets)
    border_sizes = (num_runs + 1).astype("<u4") * 4
    # 0, then where each run stops, sequence by sequence.
    borders = np.insert(columns.run_stop, columns.run_offsets[:-1], 0).astype("<i4")
    starts = columns.run_offsets + np.arange(len(columns.run_offsets))
    ids = columns.input_ids.astype(dtype)
    scalars = np.stack([columns.next_id, columns.num_pad], axis=1).astype("<i4")
    sizes = 4 + border_sizes.astype(np.int64) + scalars[0].nbytes + ids[0].nbytes
    pieces = [offset_table(sizes, between=len(header)), header]
    for number in range(len(ids)):
        own = borders[starts[number] : starts[number + 1]]
        pieces += [border_sizes[number].tobytes(), own.tobytes(), scalars[number].tobytes(), ids[number].data]
    return b"".join(pieces)


def _sorted_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
