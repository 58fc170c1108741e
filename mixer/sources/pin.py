"""Pin a source: find its files, take their digests, count the rows of every block."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.digest import identity, xxh3_file
from mixer.errors import DataError
from mixer.sources import jsonl
from mixer.sources.cache import FileState, PinCache, default_cache_dir
from mixer.sources.counting import OnFile, counted
from mixer.sources.find import FoundFiles, check_format, common_format, find_files, patterns_of
from mixer.sources.formats import FORMATS
from mixer.sources.needs import Needs, needs_of
from mixer.sources.opening import reading
from mixer.sources.remote.address import is_remote
from mixer.sources.snapshot import Snapshot, SourceFile, make_snapshot

if TYPE_CHECKING:
    from mixer.recipe import Source

_MAX_THREADS = 16


def pin(
    name: str,
    source: Source,
    root: Path,
    cache: PinCache | None = None,
    on_file: OnFile | None = None,
    *,
    only: Sequence[str] | None = None,
) -> Snapshot:
    """The snapshot of a source: its files, their digests, all rows and kept rows of their blocks.

    A remote source has the snapshot that was kept when it was first pinned. Of a local one, every file is read once for
    its digest; JSON lines once more to count rows, and the columns of `where` to count those that are kept. What the
    cache knows is not read again. No thread is left running.

    Args:
        name: the source's name, for messages.
        source: its part of the recipe.
        root: the folder that relative paths start from.
        cache: what earlier builds learnt about files.
        on_file: told of each file that is done, how many are and how many there are; from several threads.
        only: the local files to pin, in this order, relative to the snapshot's base; None: all that are found.

    Raises:
        RecipeError: the paths, the format, `where` or the columns do not fit what is there.
        DataError: a file cannot be read, or changes meanwhile; or one of `only` is not there.
    """
    needs = needs_of(name, source)
    if _is_elsewhere(source):
        from mixer.sources.remote.kept import pin_remote  # with the clients of stores: not for local files

        return pin_remote(source, needs, cache or PinCache(default_cache_dir()), on_file)
    files = find_files(patterns_of(source), root, needs.place)
    if only is not None:
        files = _only(files, only, needs.place)
    format = common_format(files.paths, needs.place) if source.format == "auto" else source.format
    paths = [files.base / path for path in files.paths]
    if source.format != "auto":
        check_format(paths[0], source.format, needs.place)
    if format == "jsonl":
        jsonl.check_columns(paths, needs)  # Keys come and go from line to line: one file speaks for all.
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1, len(paths))) as pool:
        work = partial(_pin_file, format=format, needs=needs, cache=cache)
        pinned = list(pool.map(counted(work, len(paths), on_file), paths))
    return make_snapshot(
        format=format,
        files=[
            SourceFile(path=path, num_bytes=file.state.num_bytes, xxh3=file.xxh3)
            for path, file in zip(files.paths, pinned)
        ],
        base=files.base,
        rows=[file.rows for file in pinned],
        kept=[file.kept for file in pinned],
        mtimes_ns=[file.state.mtime_ns for file in pinned],
    )


def pin_anew(
    name: str, source: Source, root: Path, cache: PinCache, on_file: OnFile | None = None
) -> tuple[Snapshot | None, Snapshot]:
    """The snapshot of a source that was kept, and one of what is there now, which is kept from now on.

    Of a local source nothing is kept: files that changed are pinned as they are whenever a plan is made.

    Raises:
        RecipeError, DataError: as `pin`.
    """
    if not _is_elsewhere(source):
        return None, pin(name, source, root, cache, on_file)
    from mixer.sources.remote.kept import recall, repin

    needs = needs_of(name, source)
    return recall(source, needs, cache), repin(source, needs, cache, on_file)


def _is_elsewhere(source: Source) -> bool:
    return source.hub is not None or any(is_remote(pattern) for pattern in patterns_of(source))


def _only(found: FoundFiles, paths: Sequence[str], place: str) -> FoundFiles:
    """Some of the files that were found."""
    missing = sorted({*paths} - {*found.paths})
    if missing:
        raise DataError(
            f"{len(missing):,} of its files were removed, the first is '{missing[0]}'",
            where=place,
            hint="bring them back, or point --root at the data that the build was made from",
        )
    return FoundFiles(base=found.base, paths=tuple(paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class _PinnedFile:
    state: FileState
    xxh3: str
    # Per block.
    rows: list[int]
    kept: list[int]


def _pin_file(path: Path, *, format: str, needs: Needs, cache: PinCache | None) -> _PinnedFile:
    with reading(needs.at(path)):
        state = FileState.of(path)
        known = cache.recall(state) if cache else {}
        predicate = needs.predicate.text if needs.predicate else None
        key = identity([format, needs.text.list, list(needs.paths), predicate])
        match known.get(key):
            case [list(rows), list(kept)] if len(rows) == len(kept) and all(type(n) is int for n in rows + kept):
                pass
            case _:
                rows, kept = FORMATS[format].count_blocks(path, needs)
        match known:
            case {"xxh3": str(xxh3)}:
                pass
            case _:
                xxh3 = xxh3_file(path)
        if FileState.of(path) != state:
            raise DataError("the file changed while it was read", where=needs.at(path), hint="wait for its writer")
        facts = known | {"xxh3": xxh3, key: [rows, kept]}
        if cache and facts != known:
            cache.remember(state, facts)
        return _PinnedFile(state=state, xxh3=xxh3, rows=rows, kept=kept)
