"""Random access to the sequences of a build: memory-mapped, ids of a single sequence are not copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixer.feed.integers import is_whole, shown
from mixer.feed.mapped import MappedShards, Verify, check_verify, num_batches
from mixer.packing.columns import Columns
from mixer.shards.locate import Locator
from mixer.shards.manifest import load_manifest
from mixer.shards.records import Manifest
from mixer.shards.shard import RUN_COLUMNS
from mixer.system.local_paths import check_local

IGNORED = -100
"""The label of a position that is not learnt from."""
SequencePlace = tuple[int, int, int]
"""Where a sequence is: its shard, the record batch in the shard, the row in the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some sequences; n is their number, L their length, r the runs (segments and padding) of all of them.

    `input_ids` int32[n, L]; `next_id`, `num_pad` int32[n]; `document_ends` bool[n]: the last document ends with the
    sequence; `run_counts` int64[n]; `run_stops` int32[r], where each run ends in its sequence. Provenance, as in
    format.md: `source` int16[r], -1 for padding; `row` int64[r], `pass_number` int32[r], `start` int32[r].
    """

    input_ids: np.ndarray
    next_id: np.ndarray
    num_pad: np.ndarray
    document_ends: np.ndarray
    run_counts: np.ndarray
    run_stops: np.ndarray
    source: np.ndarray
    row: np.ndarray
    pass_number: np.ndarray
    start: np.ndarray

    def labels(self, *, across_documents: bool = True) -> np.ndarray:
        """The id after each id: int64[n, L], -100 where nothing is learned: padding, and the end of the stream.

        Args:
            across_documents: whether a document's last token is to predict the next document's first.
        """
        labels = np.empty(self.input_ids.shape, dtype=np.int64)
        labels[:, :-1] = self.input_ids[:, 1:]
        labels[:, -1] = self.next_id
        length = self.input_ids.shape[1]
        for sequence in np.flatnonzero(self.num_pad).tolist():
            labels[sequence, length - int(self.num_pad[sequence]) - 1 :] = IGNORED
        if not across_documents:
            inside = self.run_stops < length
            labels[self._sequence_of_runs()[inside], self.run_stops[inside] - 1] = IGNORED
            labels[self.document_ends, -1] = IGNORED
        return labels

    def cu_seqlens(self) -> np.ndarray:
        """Borders of all runs of the batch, sequences end to end: int32[r + 1], from 0 to n x L."""
        offsets = np.repeat(np.arange(len(self.run_counts)) * self.input_ids.shape[1], self.run_counts)
        return np.concatenate([[0], self.run_stops + offsets]).astype(np.int32)

    def max_seqlen(self) -> int:
        """The longest run."""
        return int(np.diff(self.cu_seqlens()).max(initial=0))

    def position_ids(self) -> np.ndarray:
        """Places counted from the beginning of each run: int64[n, L]."""
        borders = self.cu_seqlens().astype(np.int64)
        places = np.arange(borders[-1], dtype=np.int64) - np.repeat(borders[:-1], np.diff(borders))
        return places.reshape(self.input_ids.shape)

    def segment_ids(self) -> np.ndarray:
        """The number of the run, from 1 in each sequence, 0 for padding: int32[n, L]."""
        first = np.cumsum(self.run_counts) - self.run_counts
        number = np.arange(len(self.run_stops)) - np.repeat(first, self.run_counts) + 1
        number[self.source < 0] = 0
        return np.repeat(number, np.diff(self.cu_seqlens())).astype(np.int32).reshape(self.input_ids.shape)

    def _sequence_of_runs(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.run_counts)), self.run_counts)


class SequenceSet:
    """The sequences of a build, in the order of the manifest.

    Shards are mapped when they are read from. Those that were read from last stay open: memory and open files are
    bounded, however large the build. Several threads may read at once.

    Args:
        folder: the build.
        manifest: its manifest, checked.
        verify: what is checked of a shard's file when it is first opened: nothing, its `size`, or its `digest` too
            (needs xxhash). The structure of what is read is always checked: damage can make values wrong, and no more;
            with `digest` not that either.
    """

    def __init__(self, folder: Path, manifest: Manifest, verify: Verify = "size") -> None:
        self.folder = folder
        self.manifest = manifest
        self.sequence_length: int = manifest.sequence.length
        self.locator = Locator.of(manifest)
        self.shard_sequences = self.locator.shard_sequences
        self._shards = MappedShards(folder, manifest, verify)

    def __len__(self) -> int:
        return self.locator.num_sequences

    def __getitem__(self, wanted: int | slice | np.ndarray | list[int]) -> Batch:
        """One sequence, a slice, or the sequences of an index array, as a batch.

        Raises:
            IndexError: a number is outside, or not a whole number; a mask is not an index.
            IntegrityError: a shard is missing, or differs from its manifest.
        """
        places = self._places(wanted)
        input_ids = self._copy_ids(places)
        runs: dict[str, list[np.ndarray]] = {name: [] for name in ("run_stop", *RUN_COLUMNS)}
        next_ids, num_pads, run_counts = (np.empty(len(places), dtype=np.int64) for _ in range(3))
        for place, (shard, batch, row) in enumerate(places):
            columns = self._shards.columns(shard, batch)
            start, stop = columns.run_offsets[row : row + 2].tolist()
            next_ids[place], num_pads[place] = columns.next_id[row], columns.num_pad[row]
            run_counts[place] = stop - start
            for name, parts in runs.items():
                parts.append(getattr(columns, name)[start:stop])
        joined = {name: np.concatenate(parts) if parts else np.empty(0, np.int64) for name, parts in runs.items()}
        return Batch(
            input_ids=input_ids,
            next_id=next_ids.astype(np.int32),
            num_pad=num_pads.astype(np.int32),
            document_ends=document_ends(self.manifest, input_ids, next_ids),
            run_counts=run_counts,
            run_stops=joined["run_stop"],
            source=joined["segment_source"],
            row=joined["segment_row"],
            pass_number=joined["segment_pass"],
            start=joined["segment_start"],
        )

    def ids(self, wanted: int | slice | np.ndarray | list[int]) -> np.ndarray:
        """`input_ids` alone: int32[L] for one number (no copy, read-only), int32[n, L] otherwise."""
        places = self._places(wanted)
        if is_whole(wanted):
            ((shard, batch, row),) = places
            return self._shards.ids(shard, batch)[row]
        return self._copy_ids(places)

    def batch(self, numbers: np.ndarray) -> Batch:
        """The sequences of these numbers (int64), in their order."""
        return self[numbers]

    def iter_columns(self, shard: int) -> Iterator[Columns]:
        """The columns of each record batch of a shard, checked and mapped.

        Raises:
            IntegrityError: the shard is missing, or differs from its manifest.
        """
        for batch in range(num_batches(self.manifest, shard)):
            yield self._shards.columns(shard, batch)

    def close(self) -> None:
        """Release all maps; the set opens them again when it is read."""
        self._shards.close()

    def _places(self, wanted: int | slice | np.ndarray | list[int]) -> list[SequencePlace]:
        count = len(self)
        inside = []
        numbers = _numbers(wanted, count)
        for number in numbers:
            inside.append(number + count if number < 0 else number)
            if not 0 <= inside[-1] < count:
                raise IndexError(f"sequence {shown(number)} is outside the {count:,} of the build")
        return self.locator.batches(inside)

    def _copy_ids(self, places: list[SequencePlace]) -> np.ndarray:
        ids = self._shards.ids
        rows = [ids(shard, batch)[row] for shard, batch, row in places]
        # One call for all of them: an assignment for each takes a quarter longer.
        joined = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
        return joined.reshape(len(rows), self.sequence_length)


def _numbers(wanted: Any, count: int) -> list[int]:
    """The numbers that an index means, as they were given: negative ones, and those outside, are still there.

    Raises:
        IndexError: it is a mask, or has something else that is not a whole number.
    """
    try:
        if isinstance(wanted, slice):
            return list(range(*wanted.indices(count)))
        if is_whole(wanted):
            return [int(wanted)]
        if isinstance(wanted, list | tuple) and any(isinstance(number, bool | np.bool_) for number in wanted):
            raise TypeError("it has a bool")
        array = np.asarray(wanted)
        if array.dtype.kind not in "iu" and array.size:
            raise TypeError(f"its type is {array.dtype}")
        return array.reshape(-1).tolist()
    except (TypeError, ValueError, OverflowError) as error:
        raise IndexError(
            f"{shown(wanted)} is not an index of sequences: {error}; give whole numbers, of a mask np.flatnonzero(mask)"
        ) from error


def document_ends(manifest: Manifest, input_ids: np.ndarray, next_id: np.ndarray) -> np.ndarray:
    """Whether a document ends with each sequence: bool[n].

    BOS and EOS tell, which no text can hold; without both it is not known, and False.
    """
    rules, tokenizer = manifest.sequence, manifest.tokenizer
    if rules.eos:
        return input_ids[:, -1] == tokenizer.eos_id
    return next_id == tokenizer.bos_id if rules.bos else np.zeros(len(next_id), dtype=bool)


def open_build(path: str | Path, *, verify: Verify = "size") -> SequenceSet:
    """The n sequences of a build, from its folder or its manifest: random access by number, 0 to n - 1.

    Shards are mapped when they are first read from. Needs NumPy and PyArrow alone (`verify="digest"`: xxhash too).

    Args:
        path: the folder of a build, or its `manifest.json`.
        verify: what is checked of a shard's file when it is first opened: `nothing`, its `size`, or its `digest`.

    Returns:
        A `SequenceSet` s: `len(s)` is n; `s[i]`, `s[a:b]` and `s[array of int]` are a `Batch` with `input_ids`
        int32[n, L]; `s.ids(i)` is int32[L] without a copy; `s.manifest` is the manifest.

    Raises:
        IntegrityError, FormatError: the manifest is missing, damaged, or of another version.
        UsageError: `verify` is not nothing, size or digest, or the path is the address of a store.
    """
    check_verify(verify)
    check_local(path, where="path")
    path = Path(path)
    manifest = load_manifest(path)
    return SequenceSet(path if path.is_dir() else path.parent, manifest, verify)
