"""Pin a remote source: a revision becomes a commit, files their size and digest or etag, blocks their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mixer.digest import identity
from mixer.sources.find import common_format, patterns_of
from mixer.sources.formats import FORMATS, jsonl, parquet
from mixer.sources.opening import opened, reading
from mixer.sources.pin_cache import PinCache, RemoteState
from mixer.sources.pin_progress import OnRead, PinCounter
from mixer.sources.prefetch import naming
from mixer.sources.remote_copies import RemoteBase, columns_entry, read_remote_footer, whole_entry
from mixer.sources.scan import ScanSpec, check_schema
from mixer.sources.snapshot import Snapshot, SourceFile, make_snapshot
from mixer.stores.address import Address
from mixer.stores.hub_card import config_patterns
from mixer.stores.listing import FoundRemote, at_commit, find_remote, parse_addresses
from mixer.stores.store import MAX_CONNECTIONS, RemoteFile
from mixer.system.progress import OnAdvance, silent

if TYPE_CHECKING:
    from mixer.recipe import Source

_CONNECTIONS = MAX_CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Rows and kept rows of each block of a file."""

    rows: list[int]
    kept: list[int]


def pin_remote_anew(source: Source, scan: ScanSpec, cache: PinCache, on_advance: OnAdvance = silent) -> Snapshot:
    """A new snapshot of a remote source.

    Footers are read over several connections at a time. Of JSON lines and Arrow files every byte is read once, to
    count rows; so are the columns of `where`. Counts are remembered by file, so that an interrupted pinning resumes. No
    thread is left running.

    Raises:
        RecipeError: the addresses, `where` or the columns do not fit the data.
        DataError: a store cannot be read.
    """
    with naming(scan.place):
        found = find_source(source, scan.place)
        base = RemoteBase(address=found.base, cache=cache.blocks)
        if source.format == "auto":
            format = common_format([file.path for file in found.files], scan.place)
        else:
            format = source.format
        if format == "jsonl":
            _check_lines(base, found.files, scan)
        counts = _count_all(base, found.files, format, scan, cache, on_advance)
    return make_snapshot(
        format=format,
        files=source_files(found),
        base=base,
        rows=[one.rows for one in counts],
        kept=[one.kept for one in counts],
    )


def asked_address(source: Source, place: str) -> Address:
    """The store and revision of a source, as the recipe spells them."""
    if source.hub is not None:
        repo, _, revision = source.hub.partition("@")
        return parse_addresses([f"hf://datasets/{repo}" + f"@{quote(revision, safe='')}" * bool(revision)], place)[0]
    return parse_addresses(patterns_of(source), place)[0]


def find_source(source: Source, place: str) -> FoundRemote:
    """The files of a source as they are now, at one commit.

    Raises:
        RecipeError: the addresses or the config match nothing.
        DataError: the store cannot be listed.
    """
    pinned = at_commit(asked_address(source, place))
    if source.hub is not None:
        patterns = config_patterns(pinned, source.config, place)
        return find_remote([pinned.with_path(pattern) for pattern in patterns], place)
    addresses = parse_addresses(patterns_of(source), place)
    return find_remote([pinned.with_path(address.path) for address in addresses], place)


def source_files(found: FoundRemote) -> list[SourceFile]:
    """The found files as a snapshot has them."""
    skipped = len(found.base.path) + 1 if found.base.path else 0
    return [
        SourceFile(path=file.path[skipped:], num_bytes=file.num_bytes, sha256=file.sha256, etag=file.etag)
        for file in found.files
    ]


def _check_lines(base: RemoteBase, files: Sequence[RemoteFile], scan: ScanSpec) -> None:
    """Check the needed keys on the first lines: keys come and go from line to line, so one file speaks for all."""
    addresses: dict[Path, str] = {}

    def copies() -> Iterator[Path]:
        for file in files:
            entry = whole_entry(base, file)
            addresses[entry.path] = base.place(file)
            try:
                yield entry.path
            finally:
                entry.close()

    jsonl.check_columns(copies(), scan, lambda path: f"{scan.place}: {addresses[path]}")


def _count_all(
    base: RemoteBase,
    files: Sequence[RemoteFile],
    format: str,
    scan: ScanSpec,
    cache: PinCache,
    on_advance: OnAdvance,
) -> list[_Counted]:
    work = partial(_count_remembered, base, format=format, scan=scan, cache=cache)
    counter = PinCounter(scan.name, [file.num_bytes for file in files], on_advance)
    return counter.map(work, files, num_threads=_CONNECTIONS)


def _count_remembered(
    base: RemoteBase, file: RemoteFile, on_read: OnRead, *, format: str, scan: ScanSpec, cache: PinCache
) -> _Counted:
    state = RemoteState(path=f"{base.address.store}/{file.path}", num_bytes=file.num_bytes, version=file.version)
    known = cache.recall(state)
    key = identity([format, scan.text.list, list(scan.paths), scan.predicate.text if scan.predicate else None])
    match known.get(key):
        case [list(rows), list(kept)] if len(rows) == len(kept) and all(type(n) is int for n in rows + kept):
            return _Counted(rows=rows, kept=kept)
    rows, kept = _count(base, file, format, replace(scan, address=base.place(file)))
    cache.remember(state, known | {key: [rows, kept]})
    return _Counted(rows=rows, kept=kept)


def _count(base: RemoteBase, file: RemoteFile, format: str, scan: ScanSpec) -> tuple[list[int], list[int]]:
    if format == "parquet" and scan.predicate is None:
        footer = read_remote_footer(base, file)
        with reading(scan.at(Path())):
            metadata, schema = parquet.parse_footer(footer)
            check_schema(schema, scan, Path())
        rows = parquet.block_rows(metadata)
        return rows, rows
    if format == "parquet":
        assert scan.predicate is not None
        entry = columns_entry(base, file, scan, scan.predicate.columns)
    else:
        entry = whole_entry(base, file)
    try:
        with reading(scan.at(Path())), opened(entry.path) as copy:
            rows, kept = FORMATS[format].count_blocks(copy, scan)
            return rows, kept
    finally:
        entry.close()
