"""The shards of a build as arrays over memory maps, as many of them as were read from last.

What is read for the first time is held against the rules of the format, so that damage is an IntegrityError and never a
crash or a batch out of shape: a shard when it is opened, a record batch when its ids are read, and the columns of its
runs when these are. `docs/decisions/` has what each of these checks costs.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from mixer.errors import IntegrityError, UsageError
from mixer.shards.records import Manifest, ShardEntry
from mixer.shards.rules import runs_problem
from mixer.shards.shard import REBUILD_HINT, check_shard_schema, open_shard, read_batch, read_columns, read_ids

Verify = Literal["nothing", "size", "digest"]
# What stays open, so that a process does not grow with the build. A shard holds a file descriptor, of which a process
# is often allowed 1024; the arrays of a record batch take some 5 kB beside the map, its ids less than one.
_OPEN_SHARDS = 512
_OPEN_BATCHES = 8192
# How far a record batch was checked.
_BUFFERS, _RUNS = 1, 2


class MappedShards:
    """Reads record batches of shards; several threads may read at once.

    `ids(shard, batch)` are the ids of a record batch, int32[sequences, length]: the map itself, read-only.
    `columns(shard, batch)` are all of its columns, which takes ten times as long. Both raise IntegrityError where the
    shard is missing, deleted or damaged. They are the caches themselves: a method round one costs as much.

    Args:
        folder: the build.
        manifest: its manifest, checked.
        verify: what is checked of a shard's file when it is first opened: nothing, its `size`, or its `digest` too
            (needs xxhash). After `close` it is checked again.
    """

    def __init__(self, folder: Path, manifest: Manifest, verify: Verify) -> None:
        self._arguments = folder, manifest, verify
        # By shard, how far each of its record batches was checked: what was pushed out of a cache is not checked again.
        self._checked: dict[int, bytearray] = {}
        # Over functions that do not know the set: it and its maps go when the last reference to it does.
        opened = lru_cache(maxsize=_OPEN_SHARDS)(partial(_open, folder, manifest, verify, self._checked))
        read = partial(_read, folder, manifest, self._checked, opened)
        self.ids = lru_cache(maxsize=_OPEN_BATCHES)(lambda shard, batch: read_ids(read(shard, batch, _BUFFERS)))
        self.columns = lru_cache(maxsize=_OPEN_BATCHES)(lambda shard, batch: read_columns(read(shard, batch, _RUNS)))
        self._opened = opened

    def __reduce__(self) -> tuple[type[MappedShards], tuple[Any, ...]]:
        # Maps do not travel to a spawned worker; it opens its own.
        return MappedShards, self._arguments

    def close(self) -> None:
        """Release all maps; shards are opened and checked again when they are read."""
        self.ids.cache_clear()
        self.columns.cache_clear()
        self._opened.cache_clear()
        self._checked.clear()


def check_verify(verify: str) -> None:
    """Refuse an unknown level of checks.

    Raises:
        UsageError: it is not nothing, size or digest.
    """
    if verify not in get_args(Verify):
        raise UsageError(f"verify is {verify!r:.80}; expected nothing, size or digest", where="verify")


def check_shard(path: Path, entry: ShardEntry, verify: Verify) -> None:
    """Check a shard's file against its entry in the manifest.

    Raises:
        IntegrityError: it was deleted, is missing, or has another size or digest.
    """
    if entry.file.state == "deleted":
        raise IntegrityError(
            "the shard was deleted: the manifest says that the build does not keep it",
            where=str(path),
            hint="read sequences of shards that exist, or build it again",
        )
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


def _open_checked(folder: Path, manifest: Manifest, shard: int, verify: Verify) -> pa.ipc.RecordBatchFileReader:
    """A shard, mapped, whose file, schema and number of record batches match the manifest.

    Raises:
        IntegrityError: the shard is missing, deleted or damaged.
    """
    entry = manifest.shards[shard]
    path = folder / entry.path
    check_shard(path, entry, verify)
    reader = open_shard(path)
    check_shard_schema(reader, manifest.sequence.length, path)
    if reader.num_record_batches != num_batches(manifest, shard):
        raise IntegrityError(
            f"it does not hold the {entry.sequences:,} sequences of the manifest", where=str(path), hint=REBUILD_HINT
        )
    return reader


def num_batches(manifest: Manifest, shard: int) -> int:
    """Record batches of a shard."""
    return -(-manifest.shards[shard].sequences // manifest.sequence.batch_sequences)


def _open(
    folder: Path, manifest: Manifest, verify: Verify, checked: dict[int, bytearray], shard: int
) -> pa.ipc.RecordBatchFileReader:
    """A shard, mapped; its file is checked once, however often it is opened."""
    reader = _open_checked(folder, manifest, shard, "nothing" if shard in checked else verify)
    checked.setdefault(shard, bytearray(num_batches(manifest, shard)))
    return reader


def _read(
    folder: Path,
    manifest: Manifest,
    checked: dict[int, bytearray],
    opened: Any,
    shard: int,
    batch: int,
    level: int,
) -> pa.RecordBatch:
    """A record batch, checked once as far as its reader needs it to be."""
    reader = opened(shard)
    marks = checked.get(shard)
    if marks is not None and marks[batch] >= level:
        return reader.get_batch(batch)
    found = _checked_batch(folder, manifest, reader, shard, batch, level)
    if marks is not None:  # None: closed by another thread
        marks[batch] = level
    return found


def _checked_batch(
    folder: Path, manifest: Manifest, reader: pa.ipc.RecordBatchFileReader, shard: int, batch: int, level: int
) -> pa.RecordBatch:
    entry = manifest.shards[shard]
    path = folder / entry.path
    found = read_batch(reader, batch, path)
    step = manifest.sequence.batch_sequences
    num_rows = min(step, entry.sequences - batch * step)
    problem = None
    # All record batches but the last are full (format.md, section 2): places are computed by it.
    if found.num_rows != num_rows:
        problem = f"{found.num_rows:,} sequences instead of {num_rows:,}"
    elif level >= _RUNS:
        problem = runs_problem(found, manifest)
    if problem is not None:
        raise IntegrityError(f"record batch {batch}: {problem}", where=str(path), hint=REBUILD_HINT)
    return found
