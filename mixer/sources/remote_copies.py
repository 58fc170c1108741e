"""Parts of remote files fetched into the cache: footers, the columns of a block, whole files."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mixer.digest import identity
from mixer.sources.column_ranges import column_ranges
from mixer.sources.formats import parquet
from mixer.sources.formats.footer import PARQUET, TAIL_BYTES, footer_bytes
from mixer.sources.opening import COMPRESSIONS, reading
from mixer.sources.scan import ScanSpec, check_schema
from mixer.stores.address import Address
from mixer.stores.block_cache import BlockCache, CacheEntry, Ranges
from mixer.stores.ranges import merged
from mixer.stores.retry import DAMAGED, RetryPolicy, RetryState, TransferFailed
from mixer.stores.store import RemoteFile
from mixer.stores.transfer import copy_ranges, read_bytes
from mixer.system import disk

_DIGEST_BYTES = 8 << 20
_DAMAGED_POLICY = RetryPolicy(max_failures=3)
"""A whole file that has another digest is fetched twice more; it is then damaged where it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBase:
    """The address of a remote source's files, and the cache that they are read through."""

    # The folder that holds them all, at a commit where there are commits.
    address: Address
    cache: BlockCache

    def place(self, file: RemoteFile) -> str:
        """A file's address, as messages name it."""
        return str(self.address.with_path(file.path))

    def __str__(self) -> str:
        return str(self.address)


def block_entry(base: RemoteBase, file: RemoteFile, format: str, block: int, scan: ScanSpec) -> CacheEntry:
    """A copy of the file with at least the needed columns of one block; the caller closes it.

    Of parquet files only these columns are fetched; other formats are fetched whole, and checked against their digest.

    Raises:
        DataError: the file cannot be read, has another version, or is damaged.
        TaskError: the cache cannot be written to.
    """
    if format != "parquet":
        return whole_entry(base, file)
    return _columns_entry(base, file, block, scan, scan.paths)


def columns_entry(base: RemoteBase, file: RemoteFile, scan: ScanSpec, paths: frozenset[str]) -> CacheEntry:
    """A copy of a Parquet file with some columns of all blocks; the caller closes it."""
    return _columns_entry(base, file, None, scan, tuple(sorted(paths)))


def whole_entry(base: RemoteBase, file: RemoteFile) -> CacheEntry:
    """A copy of the file, checked against its digest; the caller closes it."""
    key, suffix = _key(base, file, "whole"), _suffix(file.path)
    return base.cache.find(key, suffix) or base.cache.make(key, suffix, partial(_fill_whole, base, file))


def read_remote_footer(base: RemoteBase, file: RemoteFile) -> bytes:
    """The end of a parquet file: its footer, the footer's length and the magic; one request, or two for a long one.

    Raises:
        DataError: the file cannot be read, or is not a Parquet file.
    """
    start = max(0, file.num_bytes - TAIL_BYTES)
    tail = read_bytes(base.address, file, start, file.num_bytes)
    num_bytes = footer_bytes(tail, file.num_bytes, PARQUET, base.place(file))
    if num_bytes > len(tail):
        tail = read_bytes(base.address, file, file.num_bytes - num_bytes, start) + tail
    return tail[-num_bytes:]


def _columns_entry(
    base: RemoteBase, file: RemoteFile, block: int | None, scan: ScanSpec, paths: tuple[str, ...]
) -> CacheEntry:
    """A copy of a parquet file with some columns of one block, or of all."""
    key = _key(base, file, ["columns", parquet.MAX_BLOCKS, block, sorted(paths)])
    entry = base.cache.find(key, ".parquet")
    if entry is not None:
        return entry
    footer = _cached_footer(base, file)  # before the block's own lock: nobody waits for a lock while holding another
    with reading(base.place(file)):
        metadata, schema = parquet.parse_footer(footer)
    check_schema(schema, scan, Path(file.path))
    groups = range(metadata.num_row_groups) if block is None else parquet.blocks_of(metadata.num_row_groups)[block]
    body_stop = file.num_bytes - len(footer)
    body = merged(column_ranges(metadata, schema, groups, paths), body_stop)

    def fill(descriptor: int) -> Ranges:
        os.ftruncate(descriptor, file.num_bytes)
        disk.write_at(descriptor, footer, body_stop)
        copy_ranges(base.address, file, body, descriptor)
        return merged([*body, (body_stop, file.num_bytes)], file.num_bytes, max_gap=0)

    return base.cache.make(key, ".parquet", fill)


def _cached_footer(base: RemoteBase, file: RemoteFile) -> bytes:
    key = _key(base, file, "footer")

    def fill(descriptor: int) -> Ranges:
        footer = read_remote_footer(base, file)
        disk.write_at(descriptor, footer, 0)
        return [(0, len(footer))]

    entry = base.cache.find(key, ".footer") or base.cache.make(key, ".footer", fill)
    try:
        return entry.path.read_bytes()
    finally:
        entry.close()


def _fill_whole(base: RemoteBase, file: RemoteFile, descriptor: int) -> Ranges:
    """Fetch a whole file; once more if its digest is not the store's."""
    retry_state = RetryState(base.place(file), _DAMAGED_POLICY)
    before = None
    while True:
        os.ftruncate(descriptor, file.num_bytes)
        copy_ranges(base.address, file, [(0, file.num_bytes)], descriptor)
        expected, found = _digests(base, file, descriptor)
        # The etag of an encrypted bucket looks like an MD5 and is none: then two transfers are alike, and not like it.
        is_no_digest = base.address.scheme == "s3" and found == before
        if expected is None or found == expected or is_no_digest:
            return [(0, file.num_bytes)]
        before = found
        retry_state.failed(
            TransferFailed(DAMAGED, f"the file's digest is {found}, and not {expected} as its store says")
        )


def _digests(base: RemoteBase, file: RemoteFile, descriptor: int) -> tuple[str | None, str]:
    """The digest from the store, or None, and the digest of the received bytes."""
    etag = file.etag or ""
    if file.sha256 is not None:
        expected, state = file.sha256, hashlib.sha256()
    elif base.address.scheme == "hf" and len(etag) == 40:
        expected, state = etag, hashlib.sha1(b"blob %d\0" % file.num_bytes)  # as git names a file that is not large
    elif base.address.scheme == "s3" and re.fullmatch("[0-9a-f]{32}", etag):
        expected, state = etag, hashlib.md5(usedforsecurity=False)
    else:
        return None, ""
    with os.fdopen(os.dup(descriptor), "rb", buffering=0) as copy:
        copy.seek(0)
        while piece := copy.read(_DIGEST_BYTES):
            state.update(piece)
    return expected, state.hexdigest()


def _key(base: RemoteBase, file: RemoteFile, part: Any) -> str:
    place = file.sha256 or [base.address.store, file.path, file.etag]
    return identity([place, file.num_bytes, part])


def _suffix(path: str) -> str:
    """The suffix of a copy's name, which shows its compression."""
    suffix = Path(path).suffix.lower()
    return suffix if suffix in COMPRESSIONS else ".data"
