"""Pin a source: find its files, take their digests, count the rows of every block."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mixer.digest import identity, xxh3_file
from mixer.errors import DataError, RecipeError
from mixer.sources import arrow, jsonl, parquet
from mixer.sources.cache import FileState, PinCache
from mixer.sources.files import find_files, format_of, reading
from mixer.sources.needs import Needs, needs_of
from mixer.sources.snapshot import Snapshot, SourceFile, make_snapshot

if TYPE_CHECKING:
    from mixer.recipe import Source

FORMATS: dict[str, ModuleType] = {"parquet": parquet, "arrow": arrow, "jsonl": jsonl}
_MAX_THREADS = 16


def pin(name: str, source: Source, root: Path, cache: PinCache | None = None) -> Snapshot:
    """The snapshot of a source: its files, their digests, and all rows and kept rows of their blocks.

    Every file is read once for its digest; JSON lines are read again to count rows, and the columns of `where` to
    count those that are kept. What the cache remembers is not read. No thread is left running.

    Args:
        name: the source's name, for messages.
        source: its part of the recipe.
        root: the folder that relative paths start from.
        cache: what is known of files from earlier builds.

    Raises:
        RecipeError: the paths, `where` or the columns do not fit what is there.
        DataError: a file cannot be read, or changes meanwhile; there are no rows.
    """
    where = f"sources.{name}"
    needs = needs_of(source)
    patterns = (source.path,) if isinstance(source.path, str) else tuple(source.path)
    files = find_files(patterns, root, where)
    format = source.format if source.format != "auto" else _common_format(files.paths, where)
    paths = [files.base / path for path in files.paths]
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1, len(paths))) as pool:
        pinned = list(pool.map(lambda path: _pin_file(path, format, needs, cache), paths))
    if format == "jsonl":
        # Keys come and go from line to line: the first file with rows speaks for all.
        with reading(paths[0]):
            any(jsonl.check_columns(path, needs) for path in paths)
    snapshot = make_snapshot(
        format,
        [
            SourceFile(path=path, num_bytes=state.num_bytes, xxh3=xxh3)
            for path, (state, xxh3, _) in zip(files.paths, pinned)
        ],
        files.base,
        [rows for _, _, (rows, _) in pinned],
        [kept for _, _, (_, kept) in pinned],
        [state.mtime_ns for state, _, _ in pinned],
    )
    if snapshot.num_kept == 0:
        why = (
            f"none of {snapshot.num_rows} rows passes '{source.where}'"
            if snapshot.num_rows
            else "the files have no rows"
        )
        raise DataError(
            f"{why} ({len(paths)} files in {files.base})", where=where, hint="leave the source out or fix it"
        )
    return snapshot


def _common_format(paths: tuple[str, ...], where: str) -> str:
    formats = {format_of(path, where): path for path in reversed(paths)}
    if len(formats) > 1:
        shown = ", ".join(f"{format} ('{path}')" for format, path in sorted(formats.items()))
        raise RecipeError(f"files of several formats: {shown}", where=where, hint="make one source of each format")
    return next(iter(formats))


def _pin_file(
    path: Path, format: str, needs: Needs, cache: PinCache | None
) -> tuple[FileState, str, tuple[list[int], list[int]]]:
    with reading(path):
        state = FileState.of(path)
        predicate = needs.predicate.text if needs.predicate else None
        count_key = identity([format, *needs.paths, predicate])
        xxh3 = cache.get(state, "xxh3") if cache else None
        counts = cache.get(state, count_key) if cache else None
        if not isinstance(xxh3, str):
            xxh3 = xxh3_file(path)
            if cache:
                cache.put(state, "xxh3", xxh3)
        if not _are_counts(counts):
            counts = FORMATS[format].count_blocks(path, needs)
            if cache:
                cache.put(state, count_key, counts)
        if FileState.of(path) != state:
            raise DataError("the file changed while it was pinned", where=str(path), hint="wait for its writer")
        return state, xxh3, (counts[0], counts[1])


def _are_counts(value: object) -> bool:
    """Whether a value from the cache is two lists of as many integers."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(part, list) and all(type(n) is int for n in part) for part in value)
        and len(value[0]) == len(value[1])
    )
