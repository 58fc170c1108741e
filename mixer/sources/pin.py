"""Pin a source: find its files, identify each, count the rows of every block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.digest import identity
from mixer.errors import DataError
from mixer.sources.file_digest import WholeDigest
from mixer.sources.file_state import FileState, change_of
from mixer.sources.find import FoundFiles, check_format, common_format, find_files, patterns_of
from mixer.sources.formats import FORMATS, jsonl
from mixer.sources.formats.footer import footer_digest, read_footer
from mixer.sources.opening import OpenedFile, opened, reading
from mixer.sources.pin_cache import PinCache, default_cache_dir
from mixer.sources.pin_progress import OnRead, PinCounter
from mixer.sources.scan import ScanSpec, needs_of
from mixer.sources.snapshot import Snapshot, SourceFile, make_snapshot
from mixer.stores.address import is_remote
from mixer.system.processes import usable_cores
from mixer.system.progress import OnAdvance, silent

if TYPE_CHECKING:
    from mixer.recipe import Source

_MAX_THREADS = 16


def pin(
    name: str,
    source: Source,
    root: Path,
    cache: PinCache | None = None,
    on_advance: OnAdvance = silent,
    *,
    only: Sequence[str] | None = None,
) -> Snapshot:
    """The snapshot of a source: its files, their identities, and all rows and kept rows of their blocks.

    A remote source has the snapshot that was kept when it was first pinned. Of a local Parquet or Arrow IPC file the
    footer is read, and the columns of `where` to count the rows that are kept; JSON lines and Arrow IPC streams are
    read in full. What the cache knows is not read again. No thread is left running.

    Args:
        name: the source's name, for messages.
        source: its part of the recipe.
        root: the folder that relative paths start from.
        cache: what earlier builds learnt about files.
        on_advance: called with how far it is; from several threads, one at a time.
        only: the local files to pin, in this order, relative to the snapshot's base; None: all that are found.

    Raises:
        RecipeError: the paths, the format, `where` or the columns do not fit the data.
        DataError: a file cannot be read, or changes while it is read; or one of `only` is missing.
    """
    scan = needs_of(name, source)
    if _is_elsewhere(source):
        from mixer.sources.remote_snapshots import pin_remote  # with the clients of stores: not for local files

        return pin_remote(source, scan, cache or PinCache(default_cache_dir()), on_advance)
    files = find_files(patterns_of(source), root, scan.place)
    if only is not None:
        files = _only(files, only, scan.place)
    format = common_format(files.paths, scan.place) if source.format == "auto" else source.format
    paths = [files.base / path for path in files.paths]
    if source.format != "auto":
        check_format(paths[0], source.format, scan.place)
    if format == "jsonl":
        jsonl.check_columns(paths, scan)  # Keys come and go from line to line: one file speaks for all.
    work = partial(_pin_file, format=format, scan=scan, cache=cache)
    sizes = [_size_of(path) for path in paths]
    counter = PinCounter(scan.name, sizes, on_advance)
    pinned = counter.map(work, paths, num_threads=min(_MAX_THREADS, usable_cores()))
    return make_snapshot(
        format=format,
        files=[
            SourceFile(path=path, num_bytes=file.state.num_bytes, **file.version)
            for path, file in zip(files.paths, pinned)
        ],
        base=files.base,
        rows=[file.rows for file in pinned],
        kept=[file.kept for file in pinned],
        states=[file.state for file in pinned],
    )


def pin_anew(
    name: str, source: Source, root: Path, cache: PinCache, on_advance: OnAdvance = silent
) -> tuple[Snapshot | None, Snapshot]:
    """The kept snapshot of a source, and a new one of its present files, which replaces it.

    Of a local source nothing is kept: files that changed are pinned as they are whenever a plan is made.

    Raises:
        RecipeError, DataError: as `pin`.
    """
    if not _is_elsewhere(source):
        return None, pin(name, source, root, cache, on_advance)
    from mixer.sources.remote_snapshots import recall, repin

    scan = needs_of(name, source)
    return recall(source, scan, cache), repin(source, scan, cache, on_advance)


def _is_elsewhere(source: Source) -> bool:
    return source.hub is not None or any(is_remote(pattern) for pattern in patterns_of(source))


def _only(found: FoundFiles, paths: Sequence[str], place: str) -> FoundFiles:
    """Some of the files that were found."""
    missing = sorted({*paths} - {*found.paths})
    if missing:
        raise DataError(
            f"{len(missing):,} of its files were removed; the first is '{missing[0]}'",
            where=place,
            hint="restore them, or point --root at the data that the build was made from",
        )
    return FoundFiles(base=found.base, paths=tuple(paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class _PinnedFile:
    state: FileState
    # What identifies it, by the name of the field of a `SourceFile`.
    version: dict[str, str]
    # Per block.
    rows: list[int]
    kept: list[int]


def _pin_file(path: Path, on_read: OnRead, *, format: str, scan: ScanSpec, cache: PinCache | None) -> _PinnedFile:
    place = scan.at(path)
    with reading(place), opened(path, place) as file:
        state = file.state()
        known = cache.recall(state) if cache else {}
        predicate = scan.predicate.text if scan.predicate else None
        key = identity([format, scan.text.list, list(scan.paths), predicate])
        footer = read_footer(file, format, place)
        counts, digest = _counts(known.get(key)), known.get("xxh3")
        if footer is None and not isinstance(digest, str):
            counts, digest = _read_whole(file, on_read, counts, format, scan)
        elif counts is None:
            counts = FORMATS[format].count_blocks(_reporting(file, on_read), scan)
        change = change_of(state, file.state())
        if change is not None:
            raise DataError(
                f"the file changed while it was read: {change}", where=place, hint="wait until its writer has finished"
            )
        rows, kept = counts
        version = {"xxh3": str(digest)} if footer is None else {"footer_sha256": footer_digest(footer)}
        facts = known | {key: [rows, kept]} | ({"xxh3": digest} if footer is None else {})
        if cache and facts != known:
            cache.remember(state, facts)
        return _PinnedFile(state=state, version=version, rows=rows, kept=kept)


def _counts(fact: object) -> tuple[list[int], list[int]] | None:
    """The cached rows and kept rows per block; None if they are not in the cache."""
    match fact:
        case [list(rows), list(kept)] if len(rows) == len(kept) and all(type(n) is int for n in rows + kept):
            return rows, kept
    return None


def _read_whole(
    file: OpenedFile, on_read: OnRead, counts: tuple[list[int], list[int]] | None, format: str, scan: ScanSpec
) -> tuple[tuple[list[int], list[int]], str]:
    """The rows of each block, and the xxh3-128 (hex) of the file, in one reading where the format allows it."""
    digest = WholeDigest(on_read)
    counts = counts or FORMATS[format].count_blocks(replace(file, on_read=digest.update), scan)
    return counts, digest.finish(file)


def _reporting(file: OpenedFile, on_read: OnRead) -> OpenedFile:
    return replace(file, on_read=lambda piece: on_read(len(piece)))


def _size_of(path: Path) -> int:
    """The bytes of a file; 0 if it cannot be read, which its reader will report."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
