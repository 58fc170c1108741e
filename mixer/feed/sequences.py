"""Random access to the sequences of a build: memory-mapped, ids without a copy where one sequence is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mixer.errors import IntegrityError, UsageError
from mixer.packing.columns import Columns
from mixer.shards.manifest import load_manifest
from mixer.shards.shard import REBUILD_HINT, RUN_COLUMNS, open_shard, read_columns

IGNORED = -100
"""The label of a position that is not learnt from."""
Verify = Literal["nothing", "size", "digest"]


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
        """The id after each id: int64[n, L], -100 where there is nothing to learn: padding, and the end of the stream.

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
    """The sequences of a build, in the order of the manifest. Shards are mapped when they are first read from.

    Args:
        folder: the build.
        manifest: its manifest, checked.
        verify: what is checked when a shard is opened: nothing, its `size`, or its `digest` too (needs xxhash).
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], verify: Verify = "size") -> None:
        self.folder = folder
        self.manifest = manifest
        self.sequence_length: int = manifest["sequence_length"]
        self.shard_sequences = np.array([shard["sequences"] for shard in manifest["shards"]], dtype=np.int64)
        self._stops = np.cumsum(self.shard_sequences)
        self._verify = verify
        self._batch_sequences: int = manifest["batch_sequences"]
        self._open: dict[int, list[Columns]] = {}

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    def __getstate__(self) -> dict[str, Any]:
        # Maps do not travel to a spawned worker; it opens its own.
        return {**self.__dict__, "_open": {}}

    def __getitem__(self, wanted: int | slice | np.ndarray) -> Batch:
        """One sequence, a slice, or the sequences of an index array, as a batch.

        Raises:
            IndexError: a number is outside.
            IntegrityError: a shard is missing, or not as its manifest says.
        """
        return self.batch(self._numbers(wanted))

    def ids(self, wanted: int | slice | np.ndarray) -> np.ndarray:
        """`input_ids` alone: int32[L] for one number (no copy, read-only), int32[n, L] otherwise."""
        if isinstance(wanted, int | np.integer):
            number = self._numbers(int(wanted))[0]
            shard, row = self._place(np.array([number]))
            batch, inside = divmod(int(row[0]), self._batch_sequences)
            return self._opened(int(shard[0]))[batch].input_ids[inside]
        numbers = self._numbers(wanted)
        out = np.empty((len(numbers), self.sequence_length), dtype=np.int32)
        self._copy_ids(numbers, out)
        return out

    def batch(self, numbers: np.ndarray) -> Batch:
        """The sequences of these numbers (int64), in their order."""
        input_ids = np.empty((len(numbers), self.sequence_length), dtype=np.int32)
        places = self._copy_ids(numbers, input_ids)
        runs: dict[str, list[np.ndarray]] = {name: [] for name in ("run_stop", *RUN_COLUMNS)}
        next_id, num_pad, run_counts = (np.empty(len(places), dtype=np.int64) for _ in range(3))
        for place, (shard, row) in enumerate(places):
            batch, inside = divmod(row, self._batch_sequences)
            columns = self._opened(shard)[batch]
            start, stop = columns.run_offsets[inside], columns.run_offsets[inside + 1]
            next_id[place], num_pad[place] = columns.next_id[inside], columns.num_pad[inside]
            run_counts[place] = stop - start
            for name, parts in runs.items():
                parts.append(getattr(columns, name)[start:stop])
        joined = {name: np.concatenate(parts) if parts else np.empty(0, np.int64) for name, parts in runs.items()}
        return Batch(
            input_ids=input_ids,
            next_id=next_id.astype(np.int32),
            num_pad=num_pad.astype(np.int32),
            document_ends=document_ends(self.manifest, input_ids, next_id),
            run_counts=run_counts,
            run_stops=joined["run_stop"],
            source=joined["segment_source"],
            row=joined["segment_row"],
            pass_number=joined["segment_pass"],
            start=joined["segment_start"],
        )

    def close(self) -> None:
        """Let go of all maps; the set opens them again when it is read from."""
        self._open.clear()

    def _numbers(self, wanted: int | slice | np.ndarray) -> np.ndarray:
        count = len(self)
        if isinstance(wanted, slice):
            return np.arange(*wanted.indices(count), dtype=np.int64)
        numbers = np.atleast_1d(np.asarray(wanted, dtype=np.int64))
        numbers = np.where(numbers < 0, numbers + count, numbers)
        if ((numbers < 0) | (numbers >= count)).any():
            raise IndexError(f"a sequence is outside the {count:,} of the build")
        return numbers

    def _place(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shard = np.searchsorted(self._stops, numbers, side="right")
        return shard, numbers - (self._stops[shard] - self.shard_sequences[shard])

    def _copy_ids(self, numbers: np.ndarray, out: np.ndarray) -> list[tuple[int, int]]:
        """Copy the ids of some sequences; returns shard and row of each."""
        shards, rows = self._place(numbers)
        places = list(zip(shards.tolist(), rows.tolist(), strict=True))
        step = self._batch_sequences
        for row_out, (shard, row) in zip(out, places, strict=True):
            row_out[:] = self._opened(shard)[row // step].input_ids[row % step]
        return places

    def _opened(self, shard: int) -> list[Columns]:
        """A shard's record batches as arrays; the ids are the map itself."""
        found = self._open.get(shard)
        if found is None:
            entry = self.manifest["shards"][shard]
            path = self.folder / entry["path"]
            check_shard(path, entry, self._verify)
            reader = open_shard(path)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            if sum(batch.num_rows for batch in batches) != entry["sequences"]:
                raise IntegrityError(
                    f"it does not hold the {entry['sequences']:,} sequences of the manifest",
                    where=str(path),
                    hint=REBUILD_HINT,
                )
            found = self._open[shard] = [read_columns(batch) for batch in batches]
        return found


def document_ends(manifest: Mapping[str, Any], input_ids: np.ndarray, next_id: np.ndarray) -> np.ndarray:
    """Whether a document ends with each sequence: bool[n].

    BOS and EOS tell, which no text can hold; without both it is not known, and False.
    """
    spec, tokenizer = manifest["recipe"]["sequence"], manifest["tokenizer"]
    if spec.get("eos", True):
        return input_ids[:, -1] == tokenizer["eos_id"]
    return next_id == tokenizer["bos_id"] if spec.get("bos", True) else np.zeros(len(next_id), dtype=bool)


def check_shard(path: Path, entry: Mapping[str, Any], verify: Verify) -> None:
    """Hold a shard's file against its entry of the manifest.

    Raises:
        IntegrityError: it is missing, or has another size or digest.
    """
    if verify == "nothing":
        return
    try:
        num_bytes = path.stat().st_size
    except OSError as error:
        raise IntegrityError(f"cannot read the shard: {error.strerror}", where=str(path), hint=REBUILD_HINT) from error
    if num_bytes != entry["bytes"]:
        raise IntegrityError(
            f"it has {num_bytes:,} bytes, the manifest says {entry['bytes']:,}", where=str(path), hint=REBUILD_HINT
        )
    if verify == "digest":
        from mixer.digest import xxh3_file

        digest = xxh3_file(path)
        if digest != entry["file_xxh3"]:
            raise IntegrityError(
                f"its digest is {digest}, the manifest says {entry['file_xxh3']}", where=str(path), hint=REBUILD_HINT
            )


def open_build(path: str | Path, *, verify: Verify = "size") -> SequenceSet:
    """The sequences of a build, from its folder or its manifest. Shards are opened when they are read from.

    Raises:
        IntegrityError, FormatError: the manifest is missing, damaged, or of another version.
        UsageError: `verify` is none of nothing, size, digest.
    """
    if verify not in ("nothing", "size", "digest"):
        raise UsageError(f"verify is {verify!r}; it is nothing, size or digest", where="verify")
    path = Path(path)
    manifest = load_manifest(path)
    return SequenceSet(path if path.is_dir() else path.parent, manifest, verify)
