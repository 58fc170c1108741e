"""`olmo`: arrays of ids and the borders of their documents, as the dolma toolkit writes and OLMo-core reads them.

The format is that of dolma's `python/dolma/tokenizer/memmap_writer.py`, read by `olmo_core.data.NumpyFSLDataset` and
its kin. Those that keep documents apart look for EOS where the arrays are local; a document that the end of the build
cut has none. With `use_array_if_local=False` they take the borders that are written here.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from mixer.export.documents import WholeDocuments, documents_of
from mixer.export.folder import OnShard, has_size
from mixer.export.shards import read_shard, token_dtype
from mixer.feed.sequences import SequenceSet
from mixer.system.publish import publish_bytes


def write_olmo(sequences: SequenceSet, folder: Path, on_shard: OnShard) -> np.dtype:
    """Write `NNNNN.npy` and `NNNNN.csv.gz` for each shard.

    The former, in spite of its name, is what `np.memmap` maps: ids without a header. The latter has a line a document:
    start, end (in ids of the file), id (source/row/pass), source, row.

    Returns:
        The type of the ids: uint16, or uint32 where the vocabulary is larger.
    """
    manifest = sequences.manifest
    dtype = token_dtype(manifest.tokenizer.vocab_size)
    names = manifest.source_names
    for number, shard in enumerate(manifest.shards):
        ids_path, borders_path = folder / f"{number:05}.npy", folder / f"{number:05}.csv.gz"
        if not (borders_path.exists() and has_size(ids_path, shard.tokens * dtype.itemsize)):
            documents = documents_of(read_shard(sequences, number))
            publish_bytes(ids_path, documents.ids.astype(dtype).tobytes())
            publish_bytes(borders_path, gzip.compress(_borders(documents, names), mtime=0))
        on_shard(number + 1)
    return dtype


def _borders(documents: WholeDocuments, names: list[str]) -> memoryview:
    """The lines of a shard's documents. Pure."""
    source = pa.array(names, pa.string()).take(pa.array(documents.source))
    row, pass_number = pa.array(documents.row), pa.array(documents.pass_number)
    table = pa.table(
        {
            "start": documents.stops - documents.lengths(),
            "end": documents.stops,
            "id": pc.binary_join_element_wise(source, row.cast(pa.string()), pass_number.cast(pa.string()), "/"),
            "src": source,
            "loc": row,
        }
    )
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return memoryview(sink.getvalue())
