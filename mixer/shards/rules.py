"""The rules of format.md, section 2, that every record batch keeps. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mixer.packing.columns import NO_ID, Columns
from mixer.shards.records import Manifest
from mixer.shards.shard import RUN_COLUMNS, read_columns


def _items_are_null(column: pa.Array) -> bool:
    return pa.types.is_nested(column.type) and column.flatten().null_count > 0


def run_lengths(columns: Columns) -> np.ndarray:
    """Tokens of each run: int[runs]."""
    starts = np.concatenate([[0], columns.run_stop[:-1]])
    starts[columns.run_offsets[:-1]] = 0
    return columns.run_stop - starts


def batch_problem(batch: pa.RecordBatch, manifest: Manifest) -> str | None:
    """The first rule of the format that a record batch breaks; None where it keeps them all. Pure."""
    if any(column.null_count or _items_are_null(column) for column in batch.columns):
        return "there are nulls"
    columns = read_columns(batch)
    length = manifest.sequence.length
    num = batch.num_rows
    borders, offsets = np.asarray(batch["cu_seqlens"].flatten()), columns.run_offsets
    runs = np.diff(offsets)
    if (runs < 1).any():
        return "a sequence has no segment"
    for name in RUN_COLUMNS:
        if not np.array_equal(np.diff(np.asarray(batch[name].offsets)), runs):
            return f"{name} has not one entry a run"
    first = offsets[:-1] + np.arange(num)
    if borders[first].any() or (columns.run_stop[offsets[1:] - 1] != length).any():
        return f"cu_seqlens do not run from 0 to {length}"
    lengths = run_lengths(columns)
    if (lengths <= 0).any():
        return "cu_seqlens do not rise"
    vocab = manifest.tokenizer.vocab_size
    if columns.input_ids.size and not 0 <= int(columns.input_ids.min()) <= int(columns.input_ids.max()) < vocab:
        return f"an id is outside 0..{vocab - 1}"
    if ((columns.next_id != NO_ID) & ((columns.next_id < 0) | (columns.next_id >= vocab))).any():
        return "a next_id is neither an id nor -100"
    source = columns.segment_source
    if (source < -1).any() or (source >= len(manifest.sources)).any():
        return "a segment_source is not a source of the manifest"
    padding = source == -1
    is_last = np.zeros(len(source), dtype=bool)
    is_last[offsets[1:] - 1] = True
    if (padding & ~is_last).any():
        return "padding stands before the end of a sequence"
    pad = np.zeros(num, dtype=np.int64)
    pad[padding[offsets[1:] - 1]] = lengths[padding]
    if not np.array_equal(pad, columns.num_pad):
        return "num_pad is not the length of the padding run"
    tail = np.arange(length) >= length - pad[:, None]
    if (columns.input_ids[tail] != manifest.tokenizer.pad_id).any():
        return "padding holds other ids than the padding id"
    if (columns.next_id[pad > 0] != NO_ID).any():
        return "a padded sequence has a next_id"
    for name, empty in (("segment_row", -1), ("segment_pass", -1), ("segment_start", 0)):
        values = getattr(columns, name)
        if (values[padding] != empty).any() or (values[~padding] < 0).any():
            return f"{name} is wrong for a run"
    available = np.array([source.num_rows for source in manifest.sources])
    if (columns.segment_row[~padding] >= available[source[~padding]]).any():
        return "a segment_row is beyond its source's rows"
    return None


def joint_problem(before: Columns | None, columns: Columns, packing: str) -> str | None:
    """The first rule that neighbouring sequences of a shard break; None where they keep them all. Pure.

    Packing `concat` is one stream: a segment goes on with its document only across a border of sequences, all others
    begin theirs, and `next_id` is the first id of the sequence after. `best-fit` cuts documents every `length`.

    Args:
        before: the record batch before, None for a shard's first.
        columns: a record batch that keeps the rules of `batch_problem`.
        packing: the recipe's.
    """
    real = columns.segment_source >= 0
    if packing == "best-fit":
        inside_piece = columns.segment_start[real] % columns.input_ids.shape[1]
        return "a segment does not begin where its document was cut" if inside_piece.any() else None
    first_run = columns.run_offsets[:-1]
    real[first_run] = False
    if columns.segment_start[real].any():
        return "a segment inside a sequence does not begin its document"
    begins, ends, next_ids = _places(columns, first_run), _ends(columns), columns.next_id
    if before is not None:
        ends = np.concatenate([_ends(before)[-1:], ends])
        next_ids = np.concatenate([before.next_id[-1:], next_ids])
    elif begins[0, -1]:
        return "the first sequence does not begin a document"
    following = len(next_ids) - 1  # sequences that have one before them
    if (next_ids[:-1] != columns.input_ids[len(columns.input_ids) - following :, 0]).any():
        return "a next_id is not the first id of the next sequence"
    begins, ends = begins[len(begins) - following :], ends[:-1]
    goes_on = begins[:, -1] > 0
    if (begins[goes_on] != ends[goes_on]).any():
        return "a sequence does not go on where the one before it stopped"
    return None


def _places(columns: Columns, runs: np.ndarray) -> np.ndarray:
    """Source, row, pass and first token of some runs: int64[runs, 4]."""
    return np.stack([getattr(columns, name)[runs].astype(np.int64) for name in RUN_COLUMNS], axis=1)


def _ends(columns: Columns) -> np.ndarray:
    """The place in its document right after each sequence: as `_places`."""
    last_run = columns.run_offsets[1:] - 1
    ends = _places(columns, last_run)
    ends[:, -1] += run_lengths(columns)[last_run]
    return ends
