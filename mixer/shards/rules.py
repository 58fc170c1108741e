"""The rules of format.md, section 2, that every record batch keeps. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mixer.packing.columns import NO_ID, Columns
from mixer.shards.records import Manifest
from mixer.shards.shard import RUN_COLUMNS, flat_numbers, read_columns


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
    if problem := runs_problem(batch, manifest):
        return problem
    columns = read_columns(batch)
    length, vocab = manifest.sequence.length, manifest.tokenizer.vocab_size
    if columns.input_ids.size and not 0 <= int(columns.input_ids.min()) <= int(columns.input_ids.max()) < vocab:
        return f"an id is outside 0..{vocab - 1}"
    tail = np.arange(length) >= length - columns.num_pad[:, None]
    if (columns.input_ids[tail] != manifest.tokenizer.pad_id).any():
        return "padding holds other ids than the padding id"
    source = columns.segment_source
    padding = source == -1
    for name, empty in (("segment_row", -1), ("segment_pass", -1), ("segment_start", 0)):
        values = getattr(columns, name)
        if (values[padding] != empty).any() or (values[~padding] < 0).any():
            return f"{name} is wrong for a run"
    available = np.array([source.num_rows for source in manifest.sources])
    if (columns.segment_row[~padding] >= available[source[~padding]]).any():
        return "a segment_row is beyond its source's rows"
    return None


def runs_problem(batch: pa.RecordBatch, manifest: Manifest) -> str | None:
    """The first rule about runs, their sources, padding and next ids that a record batch breaks; None: it keeps them.

    Whoever makes arrays of a batch's columns relies on these. Pure; no id is read, which would page in the whole batch.

    Example of length 4, two documents and padding: cu_seqlens [[0, 3, 4], [0, 1, 4]], segment_source [[0, 1], [1, -1]]
    and num_pad [0, 3]: one source a run, -1 for the padding at the end. The run offsets are [0, 2, 4], one less a
    sequence than those of cu_seqlens, [0, 3, 6].

    Args:
        batch: validated in full, of the format's schema.
        manifest: the build's.
    """
    length = manifest.sequence.length
    if batch.num_rows == 0:
        return "there is no sequence"
    offsets = flat_numbers(batch.column("cu_seqlens").offsets)
    firsts, lasts = offsets[:-1], offsets[1:] - 1
    if (lasts <= firsts).any():
        return "a sequence has no segment"
    run_offsets = offsets - offsets[0] - np.arange(len(offsets), dtype=np.int32)
    for name in RUN_COLUMNS:
        found = flat_numbers(batch.column(name).offsets)
        if not np.array_equal(found - found[0], run_offsets):
            return f"{name} has not one entry a run"
    borders = flat_numbers(batch.column("cu_seqlens").values)
    if borders[firsts].any() or (borders[lasts] != length).any():
        return f"cu_seqlens do not run from 0 to {length}"
    rises = borders[offsets[0] + 1 : offsets[-1]] > borders[offsets[0] : offsets[-1] - 1]
    rises[firsts[1:] - offsets[0] - 1] = True  # from one sequence to the next
    if not rises.all():
        return "cu_seqlens do not rise"
    next_id, vocab = flat_numbers(batch.column("next_id")), manifest.tokenizer.vocab_size
    if ((next_id != NO_ID) & ((next_id < 0) | (next_id >= vocab))).any():
        return "a next_id is neither an id nor -100"
    start = flat_numbers(batch.column("segment_source").offsets)[0]
    source = flat_numbers(batch.column("segment_source").values)[start : start + run_offsets[-1]]
    if source.min() < -1 or source.max() >= len(manifest.sources):
        return "a segment_source is not a source of the manifest"
    padded = source[run_offsets[1:] - 1] < 0
    if np.count_nonzero(source < 0) != np.count_nonzero(padded):
        return "padding stands before the end of a sequence"
    pad = np.where(padded, length - borders[lasts - 1], 0)
    if not np.array_equal(pad, flat_numbers(batch.column("num_pad"))):
        return "num_pad is not the length of the padding run"
    if pad.any():
        if (pad == length).any():
            return "a sequence is padding alone"
        if (next_id[padded] != NO_ID).any():
            return "a padded sequence has a next_id"
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
        return "a sequence does not continue where the one before it stopped"
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
