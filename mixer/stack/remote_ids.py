"""Rows without text in a store: found at one commit, and copied a few row groups at a time.

A host that fetches a sixteenth of the rows downloads a sixteenth of the files, and not all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow.parquet as pq

from mixer.digest import identity, xxh3
from mixer.sources.column_ranges import column_ranges
from mixer.sources.formats import parquet
from mixer.sources.opening import reading
from mixer.sources.remote_copies import RemoteBase, read_remote_footer
from mixer.sources.snapshot import SourceFile
from mixer.stores.address import Address
from mixer.stores.block_cache import BlockCache, CacheEntry, Ranges
from mixer.stores.listing import at_commit, find_remote
from mixer.stores.ranges import merged
from mixer.stores.store import RemoteFile
from mixer.stores.transfer import copy_ranges
from mixer.system import disk


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePath:
    """A file of a store, in one version."""

    base: RemoteBase
    file: RemoteFile

    def __str__(self) -> str:
        return self.base.place(self.file)

    @property
    def name(self) -> str:
        """Relative to the folder that holds all files, parts separated by '/'."""
        folder = self.base.address.path
        return self.file.path[len(folder) + 1 if folder else 0 :]

    def version(self) -> dict[str, str]:
        """The digest or etag of these bytes, by its name; empty if a web server has none."""
        known = {"sha256": self.file.sha256, "etag": self.file.etag}
        return {kind: value for kind, value in known.items() if value is not None}


def find_remote_ids(asked: Address, commit: str | None, cache: BlockCache) -> list[RemotePath]:
    """The files of an address, all at one commit if the store has commits.

    Args:
        asked: the address, which may have a glob.
        commit: the one to find them at; None: that of the address's revision now.
        cache: what they are read through.

    Raises:
        RecipeError: the address matches nothing.
        DataError: the store cannot be listed.
    """
    pinned = at_commit(asked) if commit is None else replace(asked, revision=commit)
    found = find_remote([pinned], "SRC")
    base = RemoteBase(address=found.base, cache=cache)
    return [RemotePath(base=base, file=file) for file in found.files]


def pinned_remote_ids(base: RemoteBase, files: Sequence[SourceFile]) -> list[RemotePath]:
    """The files of a snapshot of a store."""
    above = f"{base.address.path}/" if base.address.path else ""
    return [
        RemotePath(
            base=base,
            file=RemoteFile(path=above + file.path, num_bytes=file.num_bytes, sha256=file.sha256, etag=file.etag),
        )
        for file in files
    ]


def footer_of(path: RemotePath) -> bytes:
    """The end of a parquet file: its footer, the footer's length and the magic.

    Raises:
        DataError: the file cannot be read, or is not a Parquet file.
    """
    return read_remote_footer(path.base, path.file)


def copy_row_groups(path: RemotePath, choose: Callable[[pq.FileMetaData], range]) -> CacheEntry:
    """A copy of a file with at least some row groups, and holes elsewhere; the caller closes it.

    Args:
        path: the file.
        choose: which row groups, given its footer.

    Raises:
        DataError: the file cannot be read, or has another version.
        TaskError: the cache cannot be written to.
    """
    footer = footer_of(path)
    with reading(str(path)):
        metadata, schema = parquet.parse_footer(footer)
    groups, file = choose(metadata), path.file
    place = file.sha256 or [path.base.address.store, file.path, file.etag]
    # With the footer: a web server may tell no version.
    key = identity([place, file.num_bytes, xxh3(footer), "row groups", groups.start, groups.stop])
    body_stop = file.num_bytes - len(footer)

    def fill(descriptor: int) -> Ranges:
        body = merged(column_ranges(metadata, schema, groups, schema.names), body_stop)
        os.ftruncate(descriptor, file.num_bytes)
        disk.write_at(descriptor, footer, body_stop)
        copy_ranges(path.base.address, file, body, descriptor)
        return merged([*body, (body_stop, file.num_bytes)], file.num_bytes, max_gap=0)

    cache = path.base.cache
    return cache.find(key, ".parquet") or cache.make(key, ".parquet", fill)
