"""The first texts of sources, of files alone or as a recipe reads them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from mixer.errors import UsageError, shown_names
from mixer.intake.begin import seen_sources
from mixer.intake.columns import ColumnProfile, profile_columns, text_at
from mixer.intake.find import FoundSource, local_file, remote_file
from mixer.intake.group import LeftOut
from mixer.intake.look import SAMPLE_ROWS
from mixer.intake.peek import peek
from mixer.recipe import Recipe, Source
from mixer.sources.find import check_format, common_format, find_files, patterns_of
from mixer.sources.formats import FORMATS, jsonl
from mixer.sources.formats.piece import Piece
from mixer.sources.opening import opened, reading
from mixer.sources.pin_cache import PinCache
from mixer.sources.scan import ScanSpec, needs_of
from mixer.sources.text import documents, invalid_rows
from mixer.stores.address import is_remote

_MAX_BYTES = 256 << 20
"""Of decoded rows that are looked at for some that `where` keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The columns and texts at the start of a source."""

    name: str
    format: str
    num_files: int
    num_bytes: int
    # None where it would have to be read in full to know.
    num_rows: int | None
    columns: tuple[ColumnProfile, ...]
    # The path of the text, and why it is taken for it; of a recipe, what the recipe says.
    text_path: str | None
    why: str
    # Of the rows that were looked at: the bytes of each that has a text.
    lengths: tuple[int, ...]
    texts: tuple[str | None, ...]
    # Of a recipe: the rows looked at and kept, and the predicate.
    where: str | None = None
    looked_at: int = 0
    kept: int = 0
    note: str | None = None


def heads_of_data(data: str, only: str | None, *, folder: Path, num_texts: int) -> tuple[list[Head], list[LeftOut]]:
    """The heads of the sources of a path, glob, folder or address, and the files left out.

    Raises:
        RecipeError, DataError: it matches nothing that can be read.
        UsageError: there is no source of this name.
    """
    named, left_out = seen_sources([data], folder)
    heads = []
    for name, seen in named.items():
        if _is_wanted(name, only, list(named)):
            path = seen.choice.column.path if seen.choice else None
            texts = [] if path is None else [text_at(row, path) for row in seen.rows]
            heads.append(
                Head(
                    name=name,
                    format=seen.found.format,
                    num_files=len(seen.found.files),
                    num_bytes=seen.found.num_bytes,
                    num_rows=seen.num_rows if seen.is_counted else None,
                    columns=seen.columns,
                    text_path=path,
                    why=seen.choice.why if seen.choice else "",
                    lengths=_lengths(texts),
                    texts=tuple(texts[:num_texts]),
                    looked_at=len(seen.rows),
                    kept=len(seen.rows),
                    note=_note(seen.contents, path),
                )
            )
    return heads, left_out


def heads_of_recipe(
    recipe: Recipe, only: str | None, *, root: Path, cache: PinCache, num_texts: int
) -> tuple[list[Head], list[LeftOut]]:
    """The heads of a recipe's sources, as a build reads them: after `where`, by the recipe's text.

    Raises:
        RecipeError: the recipe does not fit the data.
        DataError: a source cannot be read.
        UsageError: there is no source of this name.
    """
    wanted = [name for name in recipe.sources if _is_wanted(name, only, list(recipe.sources))]
    return [_of_source(name, recipe.sources[name], root, cache, num_texts) for name in wanted], []


def _of_source(name: str, source: Source, root: Path, cache: PinCache, num_texts: int) -> Head:
    scan = needs_of(name, source)
    remote = source.hub is not None or any(map(is_remote, patterns_of(source)))
    found = _remote_source(name, source, scan) if remote else _local_source(name, source, root, scan)
    first = peek(found.files[0], found.format, SAMPLE_ROWS)
    columns = profile_columns(first.columns, first.rows)
    texts: list[str | None] = []
    looked_at = 0
    if source.contents is None:
        with closing(_pieces(found, source, scan, root, cache, remote)) as pieces:
            num_bytes = 0
            for piece in pieces:
                batch = piece.batch
                looked_at += len(batch)
                num_bytes += batch.nbytes
                kept = batch if scan.predicate is None else batch.filter(scan.predicate.mask(batch))
                text = documents(kept.slice(0, SAMPLE_ROWS - len(texts)), source.text)
                bad = set(invalid_rows(text))
                texts += [None if row in bad else text[row].as_py() for row in range(len(text))]
                if len(texts) >= max(num_texts, SAMPLE_ROWS) or num_bytes > _MAX_BYTES:
                    break
    path = None if source.contents else " and ".join(scan.text_paths)
    return Head(
        name=name,
        format=found.format,
        num_files=len(found.files),
        num_bytes=found.num_bytes,
        num_rows=first.num_rows if len(found.files) == 1 else None,
        columns=tuple(columns),
        text_path=path,
        why="as the recipe says",
        lengths=_lengths(texts),
        texts=tuple(texts[:num_texts]),
        where=source.where,
        looked_at=looked_at,
        kept=len(texts),
        note=_note("stack-v2" if source.contents else None, path),
    )


def _local_source(name: str, source: Source, root: Path, scan: ScanSpec) -> FoundSource:
    files = find_files(patterns_of(source), root, scan.place)
    format = common_format(files.paths, scan.place) if source.format == "auto" else source.format
    paths = [files.base / path for path in files.paths]
    if source.format != "auto":
        check_format(paths[0], source.format, scan.place)
    if format == "jsonl" and source.contents is None:
        jsonl.check_columns(paths, scan)
    return FoundSource(name=name, format=format, paths=patterns_of(source), files=tuple(map(local_file, paths)))


def _remote_source(name: str, source: Source, scan: ScanSpec) -> FoundSource:
    from mixer.sources.prefetch import naming
    from mixer.sources.remote_pin import find_source

    with naming(scan.place):
        found = find_source(source, scan.place)
    names = [file.path for file in found.files]
    format = common_format(names, scan.place) if source.format == "auto" else source.format
    files = tuple(remote_file(found.base, file) for file in found.files)
    return FoundSource(name=name, format=format, paths=(str(found.base),), files=files)


def _pieces(
    found: FoundSource, source: Source, scan: ScanSpec, root: Path, cache: PinCache, remote: bool
) -> Generator[Piece]:
    """The pieces of the files' blocks in order; of a remote source those of the first block, by way of the cache."""
    if remote:
        yield from _remote_pieces(found, source, scan, cache)
        return
    for file in found.files:
        path = Path(file.name)
        with reading(scan.at(path)), opened(path, scan.at(path)) as local:
            num_blocks = 1
            if found.format in ("parquet", "arrow"):
                num_blocks = len(FORMATS[found.format].count_blocks(local, replace(scan, predicate=None))[0])
            for block in range(num_blocks):
                yield from FORMATS[found.format].read_block(local, block, scan, 0)


def _remote_pieces(found: FoundSource, source: Source, scan: ScanSpec, cache: PinCache) -> Generator[Piece]:
    from mixer.sources.remote_copies import RemoteBase, block_entry
    from mixer.sources.remote_pin import find_source

    there = find_source(source, scan.place)
    entry = block_entry(RemoteBase(address=there.base, cache=cache.blocks), there.files[0], found.format, 0, scan)
    try:
        with reading(found.files[0].name), opened(entry.path) as copy:
            yield from FORMATS[found.format].read_block(copy, 0, scan, 0)
    finally:
        entry.close()


def _is_wanted(name: str, only: str | None, names: list[str]) -> bool:
    if only is not None and only not in names:
        raise UsageError(f"there is no source '{only}'", where="--source", hint=f"the sources are {shown_names(names)}")
    return only in (None, name)


def _lengths(texts: list[str | None]) -> tuple[int, ...]:
    return tuple(len(text.encode(errors="replace")) for text in texts if text)


def _note(contents: str | None, path: str | None) -> str | None:
    if contents is not None:
        return "the rows only name files: `contents: stack-v2` in a recipe fetches them, and `mixer fetch` does"
    return None if path is not None else "no column of text"
