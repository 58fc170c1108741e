"""Hits of evaluation items as columns of facts, one list a row, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.curate.contamination import ItemHits

_ENTRIES = pa.list_(pa.int32())


def hits_as_columns(hits: ItemHits) -> dict[str, pa.Array]:
    """The hits of some rows: `hits`, a list a row, and `ngrams`, in how many rows each is, all with the first row."""
    entries = pa.ListArray.from_arrays(pa.array(hits.entry_offsets, pa.int32()), pa.array(hits.entries, pa.int32()))
    found = pa.StructArray.from_arrays(
        [pa.array(hits.item, pa.int32()), pa.array(hits.start), pa.array(hits.stop), entries],
        names=["item", "start", "stop", "entries"],
    )
    offsets = np.searchsorted(hits.row, np.arange(hits.num_documents + 1)).astype(np.int32)
    counts = pa.StructArray.from_arrays(
        [pa.array(hits.ngrams), pa.array(hits.ngram_documents)], names=["ngram", "documents"]
    )
    if not hits.num_documents:
        counts = counts[:0]
    all_first = np.full(hits.num_documents + 1, len(counts), dtype=np.int32)
    all_first[0] = 0
    return {
        "hits": pa.ListArray.from_arrays(pa.array(offsets), found),
        "ngrams": pa.ListArray.from_arrays(pa.array(all_first), counts),
    }


def hits_of_columns(hits: pa.ListArray, ngrams: pa.ListArray) -> ItemHits:
    """The hits of rows whose columns these are: the inverse of `hits_as_columns`, over all its parts end to end."""
    found, counts = hits.flatten(), ngrams.flatten()
    entries = pc.struct_field(found, "entries")
    distinct, number = np.unique(_numbers(pc.struct_field(counts, "ngram")), return_inverse=True)
    documents = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(documents, number, _numbers(pc.struct_field(counts, "documents")))
    lengths = _numbers(pc.list_value_length(entries)).astype(np.int64)
    return ItemHits(
        num_documents=len(hits),
        row=np.repeat(np.arange(len(hits)), _numbers(pc.list_value_length(hits))),
        item=_numbers(pc.struct_field(found, "item")),
        start=_numbers(pc.struct_field(found, "start")),
        stop=_numbers(pc.struct_field(found, "stop")),
        entries=_numbers(entries.flatten()),
        entry_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ngrams=distinct,
        ngram_documents=documents,
    )


def _numbers(array: pa.Array) -> np.ndarray:
    numbers: np.ndarray = array.to_numpy(zero_copy_only=False)
    return numbers
