"""Layout + tokens -> the columns of a shard, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mixer.packing.layout import Layout

NO_ID = -100
"""`next_id` where nothing follows; the usual "ignore" label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of some sequences. A run is a segment or the padding at a sequence's end.

    `input_ids` int32[sequences, length]; `next_id`, `num_pad` int32[sequences]; `run_offsets` int64[sequences + 1]
    into the runs; `run_stop` int32[runs], the run's end in its sequence; `segment_source` int16, `segment_row` int64,
    `segment_pass` int32, `segment_start` int32, all [runs], -1 for padding (`segment_start`: 0).
    """

    input_ids: np.ndarray
    next_id: np.ndarray
    num_pad: np.ndarray
    run_offsets: np.ndarray
    run_stop: np.ndarray
    segment_source: np.ndarray
    segment_row: np.ndarray
    segment_pass: np.ndarray
    segment_start: np.ndarray


def documents_stream(
    ids: np.ndarray, offsets: np.ndarray, order: np.ndarray, *, with_bos: bool, with_eos: bool
) -> np.ndarray:
    """The documents in a new order, end to end, each with BOS and EOS: int32[tokens].

    One compiled gather: every document, and the one-token strings BOS and EOS, are binary values of an Arrow array
    that is taken from.

    Args:
        ids: uint32[offsets[-1] + 2]: the documents' ids end to end, then the id of BOS and that of EOS.
        offsets: int64[documents + 1] into `ids`.
        order: int64, which document comes at each place.
        with_bos: whether BOS stands before each document.
        with_eos: whether EOS stands after each document.

    Example: documents [7, 8] and [9], so ids [7, 8, 9, BOS, EOS] and offsets [0, 2, 3]; order [1, 0] with both gives
    [BOS, 9, EOS, BOS, 7, 8, EOS].
    """
    num_documents = len(offsets) - 1
    used = int(offsets[-1])
    bounds = np.empty(num_documents + 3, dtype=np.int64)
    np.multiply(offsets, 4, out=bounds[:-2])
    bounds[-2:] = (used + 1) * 4, (used + 2) * 4
    values = pa.Array.from_buffers(
        pa.large_binary(), num_documents + 2, [None, pa.py_buffer(bounds), pa.py_buffer(ids[: used + 2])]
    )
    width = 1 + with_bos + with_eos
    picked = np.empty((len(order), width), dtype=np.int64)
    picked[:, int(with_bos)] = order
    if with_bos:
        picked[:, 0] = num_documents
    if with_eos:
        picked[:, -1] = num_documents + 1
    taken = values.take(pa.array(picked.reshape(-1)))
    data = taken.buffers()[2]
    return np.frombuffer(data, dtype=np.int32) if data is not None else np.empty(0, dtype=np.int32)


def build_columns(
    layout: Layout,
    stream: np.ndarray,
    lengths: np.ndarray,
    *,
    end_to_end: bool,
    pad_id: int,
    source: np.ndarray,
    row: np.ndarray,
    pass_number: np.ndarray,
) -> Columns:
    """The columns of a layout.

    Args:
        layout: what stands where; documents are numbered as in `lengths`.
        stream: the documents' tokens end to end; int32[sum of lengths].
        lengths: tokens of each document; int64[documents].
        end_to_end: the layout is `lay_end_to_end` of `lengths`, or its first sequences: no token moves.
        pad_id: fills the end of sequences.
        source: each document's source; int16[documents].
        row: each document's row in its source; int64[documents].
        pass_number: the pass on which it was drawn; int32[documents].

    Example: documents [1, 2, 3] and [4, 5] in sequences of 4 end to end, padded with 0: input_ids [[1, 2, 3, 4],
    [5, 0, 0, 0]], next_id [5, NO_ID], num_pad [0, 3], run_offsets [0, 2, 4], run_stop [3, 4, 1, 4], segment_start
    [0, 0, 1, 0]; the last run is the padding.
    """
    document_start = np.cumsum(lengths) - lengths
    num_pad = layout.num_pad()
    position = document_start[layout.document] + layout.start
    if end_to_end:
        input_ids = _fold(stream, layout, int(num_pad.sum()), pad_id)
        following = np.arange(1, layout.num_sequences + 1, dtype=np.int64) * layout.sequence_length
        has_next = following < len(stream)
    else:
        input_ids = _gather(stream, position, layout, num_pad, pad_id)
        last = np.searchsorted(layout.sequence, np.arange(layout.num_sequences), side="right") - 1
        following = position[last] + layout.length[last]
        ends = layout.start[last] + layout.length[last] == lengths[layout.document[last]]
        has_next = (num_pad == 0) & ~ends
    next_id = np.full(layout.num_sequences, NO_ID, dtype=np.int32)
    next_id[has_next] = stream[following[has_next]]

    segments = np.bincount(layout.sequence, minlength=layout.num_sequences)
    segment_offsets = np.concatenate([[0], np.cumsum(segments)])
    padded = np.flatnonzero(num_pad)
    at = segment_offsets[padded + 1]  # a padding run stands after the last segment of its sequence
    filled = np.cumsum(layout.length) - layout.sequence * layout.sequence_length
    filled += np.concatenate([[0], np.cumsum(num_pad)])[layout.sequence]
    return Columns(
        input_ids=input_ids,
        next_id=next_id,
        num_pad=num_pad.astype(np.int32),
        run_offsets=segment_offsets + np.concatenate([[0], np.cumsum(num_pad > 0)]),
        run_stop=np.insert(filled, at, layout.sequence_length).astype(np.int32),
        segment_source=np.insert(source[layout.document], at, -1).astype(np.int16),
        segment_row=np.insert(row[layout.document], at, -1).astype(np.int64),
        segment_pass=np.insert(pass_number[layout.document], at, -1).astype(np.int32),
        segment_start=np.insert(layout.start, at, 0).astype(np.int32),
    )


def _fold(stream: np.ndarray, layout: Layout, num_pad: int, pad_id: int) -> np.ndarray:
    """The stream as rows of sequences; copied only where padding has to be added."""
    wanted = layout.num_sequences * layout.sequence_length
    if num_pad:
        stream = np.concatenate([stream, np.full(num_pad, pad_id, dtype=np.int32)])
    return stream[:wanted].reshape(layout.num_sequences, layout.sequence_length)


def _gather(stream: np.ndarray, position: np.ndarray, layout: Layout, num_pad: np.ndarray, pad_id: int) -> np.ndarray:
    """Segments and padding put together by one compiled gather of binary values."""
    starts = np.concatenate([position, np.full(len(num_pad), len(stream))])
    lengths = np.concatenate([layout.length, num_pad])
    source = np.concatenate([stream, np.full(int(num_pad.max(initial=0)), pad_id, dtype=np.int32)])
    order = np.argsort(np.concatenate([layout.sequence, np.arange(len(num_pad))]), kind="stable")
    views = pa.LargeListViewArray.from_arrays(pa.array(starts[order]), pa.array(lengths[order]), pa.array(source))
    return np.asarray(views.flatten()).reshape(layout.num_sequences, layout.sequence_length)
