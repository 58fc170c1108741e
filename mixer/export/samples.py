"""Files of samples behind a table of their offsets, as MDS and LitData have them.

Both begin with the number of samples n and n + 1 offsets, uint32: where each sample begins in the file, and its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixer.export.folder import OnShard
from mixer.export.shards import read_shard
from mixer.feed.sequences import SequenceSet
from mixer.packing.columns import Columns
from mixer.shards.records import Manifest
from mixer.shards.shard import RUN_COLUMNS
from mixer.system.publish import publish_bytes

FILE_BYTES = 1 << 26
"""Of ids in a file: what both readers' own writers take by default, and far from the 4 GiB that offsets can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """Sequences [start, stop) of shard `shard`, which become one file."""

    shard: int
    start: int
    stop: int

    @property
    def num_sequences(self) -> int:
        """The number of sequences."""
        return self.stop - self.start


def parts_of(manifest: Manifest, itemsize: int, file_bytes: int) -> list[FilePart]:
    """The files of an export: the build's sequences in order, a shard's in as few files as `file_bytes` allows. Pure.

    shards of 3 and 5 sequences, 4 to a file: 0[0:3]  1[0:4]  1[4:5]
    """
    most = max(1, file_bytes // (manifest.sequence.length * itemsize))
    return [
        FilePart(shard=number, start=start, stop=min(start + most, shard.sequences))
        for number, shard in enumerate(manifest.shards)
        for start in range(0, shard.sequences, most)
    ]


def publish_parts(
    sequences: SequenceSet,
    parts: Sequence[FilePart],
    path_of: Callable[[int], Path],
    encode: Callable[[Columns], bytes],
    on_shard: OnShard,
) -> None:
    """Write the missing files; memory: a shard and a file.

    Args:
        sequences: the build.
        parts: what is in each file, all of a shard one after the other.
        path_of: where the n-th file goes.
        encode: its bytes.
        on_shard: told after each shard.
    """
    read, columns = -1, None
    for number, part in enumerate(parts):
        if not has_whole_samples(path_of(number), part.num_sequences):
            if columns is None or read != part.shard:
                read, columns = part.shard, read_shard(sequences, part.shard)
            publish_bytes(path_of(number), encode(cut(columns, part.start, part.stop)))
        if part.stop == sequences.shard_sequences[part.shard]:
            on_shard(part.shard + 1)


def cut(columns: Columns, start: int, stop: int) -> Columns:
    """Sequences [start, stop) of a shard, without a copy. Pure."""
    offsets = columns.run_offsets[start : stop + 1]
    runs = slice(int(offsets[0]), int(offsets[-1]))
    return Columns(
        input_ids=columns.input_ids[start:stop],
        next_id=columns.next_id[start:stop],
        num_pad=columns.num_pad[start:stop],
        run_offsets=offsets - offsets[0],
        **{name: getattr(columns, name)[runs] for name in ("run_stop", *RUN_COLUMNS)},
    )


def offset_table(sizes: np.ndarray, between: int = 0) -> bytes:
    """The beginning of a file of n samples.

    Args:
        sizes: bytes of each; int64[n].
        between: bytes between the table and the first sample.
    """
    table = np.empty(len(sizes) + 2, dtype="<u4")
    table[0], table[1] = len(sizes), table.nbytes + between
    table[2:] = table[1] + np.cumsum(sizes)
    return table.tobytes()


def has_whole_samples(path: Path, num_samples: int) -> bool:
    """Whether a file exists, has so many samples, and ends with the last one."""
    if not path.is_file():
        return False
    table = np.fromfile(path, dtype="<u4", count=num_samples + 2)
    return len(table) == num_samples + 2 and table[0] == num_samples and table[-1] == path.stat().st_size
