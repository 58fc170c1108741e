"""The documents of a shard, put together from their segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mixer.packing.columns import Columns
from mixer.shards.rules import run_lengths
from mixer.shards.shard import RUN_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDocuments:
    """A shard's documents in order of appearance, each whole; d is their number.

    `ids` int32[tokens], end to end; `stops` int64[d], where each ends there; `source` int16[d]; `row` int64[d];
    `pass_number` int32[d].
    """

    ids: np.ndarray
    stops: np.ndarray
    source: np.ndarray
    row: np.ndarray
    pass_number: np.ndarray

    def lengths(self) -> np.ndarray:
        """Tokens of each document: int64[d]."""
        return np.diff(self.stops, prepend=0)


def documents_of(columns: Columns) -> WholeDocuments:
    """The documents of a shard, their segments joined wherever they stand. Pure.

    A segment goes on with its document where it starts at the token at which another one stopped. Where a build ends
    inside a document packed best-fit, a segment between two others may be left out; what comes after is a document
    of its own, so that no two tokens become neighbours that are not.

        segments   a[0:4]  b[0:2] c[0:4]  a[4:7]     documents   a[0:7]  b[0:2]  c[0:4]
    """
    real = np.flatnonzero(columns.segment_source >= 0)
    source, row, pass_number, start = (getattr(columns, name)[real] for name in RUN_COLUMNS)
    num_sequences, length = columns.input_ids.shape
    sequence = np.repeat(np.arange(num_sequences), np.diff(columns.run_offsets))
    lengths = run_lengths(columns).astype(np.int64)
    place = (sequence * length + columns.run_stop - lengths)[real]
    lengths = lengths[real]

    grouped = np.lexsort((start, pass_number, row, source))
    keys = np.stack([source, row, pass_number, start], axis=1, dtype=np.int64)[grouped]
    expected = keys[:-1].copy()
    expected[:, 3] += lengths[grouped][:-1]
    first = np.concatenate([[True], (keys[1:] != expected).any(axis=1)])
    document = np.cumsum(first) - 1  # of each grouped segment
    appearance = np.minimum.reduceat(grouped, np.flatnonzero(first))
    # Stable: the segments of a document stay in the order of their starts.
    order = grouped[np.argsort(appearance[document], kind="stable")]
    heads = np.sort(appearance)
    document_lengths = np.bincount(document, weights=lengths[grouped]).astype(np.int64)
    views = pa.LargeListViewArray.from_arrays(
        pa.array(place[order]), pa.array(lengths[order]), pa.array(columns.input_ids.reshape(-1))
    )
    return WholeDocuments(
        ids=np.asarray(views.flatten()),
        stops=np.cumsum(document_lengths[np.argsort(appearance)]),
        source=source[heads],
        row=row[heads],
        pass_number=pass_number[heads],
    )
