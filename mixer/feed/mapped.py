"""The shards of a build as arrays over memory maps, as many of them as were read from last."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mixer.errors import IntegrityError
from mixer.shards.records import Manifest, ShardEntry
from mixer.shards.shard import REBUILD_HINT, open_shard, read_columns, read_ids

Verify = Literal["nothing", "size", "digest"]
# What stays open, so that a process does not grow with the build. A shard holds a file descriptor, of which a process
# is often allowed 1024; the arrays of a record batch take some 5 kB beside the map, its ids less than one.
_OPEN_SHARDS = 512
_OPEN_BATCHES = 8192


class MappedShards:
    """Reads record batches of shards; several threads may read at once.

    `ids(shard, batch)` are the ids of a record batch, int32[sequences, length]: the map itself, read-only.
    `columns(shard, batch)` are all of its columns, which takes ten times as long. Both raise IntegrityError where the
    shard is missing, or not as the manifest says. They are the caches themselves: a method round one costs as much.

    Args:
        folder: the build.
        manifest: its manifest, checked.
        verify: what is checked when a shard is first opened: nothing, its `size`, or its `digest` too (needs xxhash).
    """

    def __init__(self, folder: Path, manifest: Manifest, verify: Verify) -> None:
        self._arguments = folder, manifest, verify
        checked: set[int] = set()
        # Over functions that do not know the set: it and its maps go when the last reference to it does.
        opened = lru_cache(maxsize=_OPEN_SHARDS)(partial(_open, folder, manifest, verify, checked))
        self.ids = lru_cache(maxsize=_OPEN_BATCHES)(lambda shard, batch: read_ids(opened(shard).get_batch(batch)))
        self.columns = lru_cache(maxsize=_OPEN_BATCHES)(
            lambda shard, batch: read_columns(opened(shard).get_batch(batch))
        )
        self._opened = opened

    def __reduce__(self) -> tuple[type[MappedShards], tuple[Any, ...]]:
        # Maps do not travel to a spawned worker; it opens its own.
        return MappedShards, self._arguments

    def close(self) -> None:
        """Let go of all maps; they are opened again when they are read from."""
        self.ids.cache_clear()
        self.columns.cache_clear()
        self._opened.cache_clear()


def check_shard(path: Path, entry: ShardEntry, verify: Verify) -> None:
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
    if num_bytes != entry.file.bytes:
        raise IntegrityError(
            f"it has {num_bytes:,} bytes, the manifest says {entry.file.bytes:,}", where=str(path), hint=REBUILD_HINT
        )
    if verify == "digest":
        from mixer.digest import xxh3_file

        digest = xxh3_file(path)
        if digest != entry.file.xxh3:
            raise IntegrityError(
                f"its digest is {digest}, the manifest says {entry.file.xxh3}", where=str(path), hint=REBUILD_HINT
            )


def _open(
    folder: Path, manifest: Manifest, verify: Verify, checked: set[int], shard: int
) -> pa.ipc.RecordBatchFileReader:
    """A shard, mapped, with as many sequences as the manifest says; checked once, however often it is opened."""
    entry = manifest.shards[shard]
    path = folder / entry.path
    if shard not in checked:
        check_shard(path, entry, verify)
    reader = open_shard(path)
    # All record batches but the last are full (format.md, section 2): no need to look into each.
    num_full, last = divmod(entry.sequences - 1, manifest.sequence.batch_sequences)
    if reader.num_record_batches != num_full + 1 or reader.get_batch(num_full).num_rows != last + 1:
        raise IntegrityError(
            f"it does not hold the {entry.sequences:,} sequences of the manifest",
            where=str(path),
            hint=REBUILD_HINT,
        )
    checked.add(shard)
    return reader
